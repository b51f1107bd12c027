"""The changes of one layer of an image that matter to the diagnosis.

A layer is a tar of changes (OCI Image Format Specification, "Image Layer Filesystem Changeset").
Only its names and the content of a few `wanted` files are kept.
"""

from __future__ import annotations

import functools
import posixpath
import tarfile
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from uvshim.errors import ImageError
from uvshim.images.budget import ENTRY, GROUP, Budget, size
from uvshim.images.layer import tar
from uvshim.images.layer.header import FILE, FOLDER, HARD_LINK, LINK, Header
from uvshim.rename.names import SUFFIX, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from uvshim.images.blob import Blob

# The longest path in bytes, as in the Linux kernel.
_LONGEST_PATH = 4096

# What a copy may need is kept of each file in a dist-info directory, and what a header takes.
_FOR_COPY = 1024 * 1024
_HEADER = 2 * tarfile.BLOCKSIZE

# How much of a directory is in one group, so that the cache can write one after the other.
_LARGEST_GROUP = 1024 * 1024

# Whiteouts: they hide one name, or all names in a directory, from lower layers.
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_RESERVED = ".wh..wh."  # AUFS's own files have such names


class Entry(NamedTuple):
    """What entry `number` of a layer, counted from 0, adds."""

    layer: str
    """The identity of the layer."""
    number: int
    size: int = 0
    content: bytes | None = None
    """The beginning of a file, if it is kept."""
    kind: str = FILE
    target: str = ""
    """The target of a link."""
    header: Header | None = None
    """Its header, if it is kept for a copy."""


# The identity of a layer and the number of an entry in it.
Key: TypeAlias = "tuple[str, int]"

# A directory and what is added to it, in the order of the tar. A directory may occur again.
Group: TypeAlias = "tuple[str, list[tuple[str, Entry]]]"


class Changes(NamedTuple):
    """The kept parts of one layer."""

    identity: str
    groups: list[Group]
    hidden: list[tuple[str, str | None]]
    """What it hides from lower layers: directories, and a name in each or None for all names."""
    cost: int = 0
    """How many bytes of memory all that takes."""


def wanted(directory: str, name: str) -> int:
    """Return how many bytes are kept of the file `name` in `directory`; 0 for most files.

    These are the files that the diagnosis and the search for environments read.
    """
    if _holds_metadata(directory):
        return _METADATA_FILES.get(name, 0)
    if name in _BY_PLACE:
        return _BY_PLACE[name].get(posixpath.basename(directory), 0)
    if directory.endswith("/bin"):
        return _PROGRAM
    return _BY_NAME.get(name) or _BY_SUFFIX.get(name[name.rfind(".") :].lower(), 0)


@functools.lru_cache  # entries of one directory are mostly consecutive
def _holds_metadata(path: str) -> bool:
    name = posixpath.basename(path)
    return name[-10:].lower().endswith((".dist-info", ".egg-info")) or name == "EGG-INFO"


_METADATA = 1024 * 1024
_LONG = 8 * 1024 * 1024
_PROGRAM = 1024  # enough for the machine type, or for the imports of a script

_METADATA_FILES = {
    "INSTALLER": 64,
    "METADATA": _METADATA,
    "PKG-INFO": _METADATA,
    "RECORD": _LONG,
    "depends.txt": _METADATA,
    "direct_url.json": _METADATA,
    "ORIGINAL.uvshim": 256,
    "entry_points.txt": _METADATA,
    "requires.txt": _METADATA,
}
_BY_NAME = {"CACHEDIR.TAG": 64, "pyvenv.cfg": 64 * 1024}
_BY_PLACE = {
    "__init__.py": {"pkg_resources": _METADATA},
    "patchlevel.h": {f"python3.{minor}": 64 * 1024 for minor in range(100)},
}
_BY_SUFFIX = {
    ".dist-info": _METADATA,
    ".egg": 2,  # enough to recognize a zip
    ".egg-info": _METADATA,
    ".egg-link": 64 * 1024,
    ".pth": 64 * 1024,
}


def kept() -> object:
    """Return which files are kept, and how much of each: the cache depends on this."""
    return _METADATA_FILES, _BY_NAME, _BY_PLACE, _BY_SUFFIX, _PROGRAM


def read(layer: Blob, budget: Budget, *, for_copy: bool = False) -> Changes:
    """Read all of `layer`, and return what it changes, for which `budget` pays.

    With `for_copy`, directories and dist-info directories are kept with their headers as long as
    there is room, and the diff_id is verified too. Raise `ImageError` for a wrong digest, and for a
    tar that is damaged or too large.
    """
    identity = layer.identity or ""
    found = Changes(identity, [], [])
    latest = None
    entries: list[tuple[str, Entry]] = []
    cost = due = 0
    copies = False
    with tar.opened(layer, budget, strict=for_copy) as archive:
        for number, header in archive:
            path = _checked(header.name)
            directory, _, name = path.rpartition("/")
            if directory != latest or due > _LARGEST_GROUP:
                budget.keep(due, archive.name)
                cost, due = cost + due, GROUP
                latest, entries = directory, []
                found.groups.append((directory, entries))
                copies = for_copy and budget.has_room
            due += ENTRY + size(path)
            if name.startswith(_WHITEOUT):
                if name == _OPAQUE or not name.startswith(_RESERVED):
                    hidden = None if name == _OPAQUE else name.removeprefix(_WHITEOUT)
                    found.hidden.append((directory, hidden))
                continue
            content = None
            target = ""
            if header.kind == FILE:
                limit = wanted(directory, name)
                if copies and SUFFIX in directory:
                    limit = max(limit, _FOR_COPY)
                if limit:
                    content = archive.content(header, limit)
                    due += 2 * len(content)  # it will be parsed
            elif header.kind in {LINK, HARD_LINK}:
                target = (_short if header.kind == LINK else _checked)(header.link)
                due += len(target)
            kept = None
            if copies and (header.kind == FOLDER or SUFFIX in path):
                kept = header
                due += _cost(header)
            entry = Entry(identity, number, header.size, content, header.kind, target, kept)
            entries.append((name, entry))
        budget.keep(due, archive.name)
    return found._replace(cost=cost + due)


def entries(
    layer: Blob, wanted: Collection[Key], budget: Budget
) -> Iterator[tuple[Key, Header, tar.Tar]]:
    """Yield the key and the header of the `wanted` entries, and the tar, which has their content.

    The layer is read and verified again. `budget` pays for the headers. Raise `ImageError`.
    """
    with tar.opened(layer, budget) as archive:
        for number, header in archive:
            key = (layer.identity or "", number)
            if key in wanted:
                budget.keep(ENTRY + _cost(header), archive.name)
                yield key, header, archive


def _cost(header: Header) -> int:
    return _HEADER + size(*header.fields, *header.fields.values())


def _checked(name: str) -> str:
    """Return the `name` of an entry as a relative path without ``.`` or ``..``; the root is "".

    As in a container, no ``..`` leads out of the root. Raise `ImageError` for an invalid path.
    """
    name = name.removeprefix("./")
    if "/." in name or "//" in name or name[:1] in {".", "/"} or name[-1:] == "/":
        name = posixpath.normpath(f"/{name}").lstrip("/")
    return _short(name)


def _short(path: str) -> str:
    if len(path) > _LONGEST_PATH or "\0" in path:
        raise ImageError(f"it has an invalid path: {shown(path)}")
    return path
