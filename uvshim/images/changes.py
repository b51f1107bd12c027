"""What one layer of an image changes in the layers below it, as far as the diagnosis asks for it.

A layer is a tar of changes (OCI Image Format Specification, "Image Layer Filesystem Changeset").
What is kept of it is small: the names in it, and the content of the few files that are `wanted`.
"""

from __future__ import annotations

import functools
import posixpath
from typing import TYPE_CHECKING, NamedTuple, Protocol

from uvshim.errors import ImageError
from uvshim.images import tar
from uvshim.rename.names import shown

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Collection, Iterator, Mapping
    from typing import TypeAlias

    from uvshim.images import layout

# The longest path in bytes, as in the Linux kernel.
_LONGEST_PATH = 4096

# How much of the contents of one layer is kept. Real ones have some megabytes.
KEPT_LIMIT = 128 * 1024 * 1024

# What takes a name of the layers below away, and all names that a directory had there.
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_RESERVED = ".wh..wh."  # AUFS kept its own files under such names


class File(NamedTuple):
    """A regular file."""

    layer: str
    """The identity of the layer that holds its content."""
    number: int
    """Which entry of that layer it is, counted from 0."""
    size: int
    content: bytes | None
    """The beginning of it, as far as it is kept; None if it is not."""


class Link(NamedTuple):
    """A symbolic link."""

    layer: str
    number: int
    target: str


class HardLink(NamedTuple):
    """Another name of a file, which stands for that file once the layers are put together."""

    layer: str
    number: int
    target: str


class Special(NamedTuple):
    """A device, a pipe or whatever else is there and has no content."""

    layer: str
    number: int


class Folder(NamedTuple):
    """A directory, as one layer speaks of it."""

    layer: str
    number: int


class Whiteout(NamedTuple):
    """What removes a name of the layers below, or (`opaque`) all names in a directory."""

    opaque: bool


Entry: TypeAlias = "File | Link | HardLink | Special | Folder | Whiteout"

# A directory, and changes in it in the order of the tar. A directory may have several.
Group: TypeAlias = "tuple[str, list[tuple[str, Entry]]]"


class Changes(NamedTuple):
    """All that is kept of one layer."""

    identity: str
    groups: list[Group]
    removes: bool
    """Whether it removes anything of the layers below."""
    wanted_links: list[tuple[str, int]]
    """Each path to a file that is wanted and that a link leads to, and how much of it is wanted.

    What lies where the link leads to may have a name that nobody asks for.
    """


def wanted(directory: str, name: str) -> int:
    """Return how many bytes are kept of the file `name` in `directory`; 0 for most files.

    This is what the diagnosis and the search for installations read, and no more than they read.
    """
    if _holds_metadata(directory):
        return _METADATA_FILES.get(name, 0)
    if name in _BY_PLACE:
        return _BY_PLACE[name].get(posixpath.basename(directory), 0)
    return _BY_NAME.get(name) or _BY_SUFFIX.get(name[name.rfind(".") :].lower(), 0)


@functools.lru_cache  # entries of one directory mostly stand beside each other
def _holds_metadata(path: str) -> bool:
    name = posixpath.basename(path)
    return name[-10:].lower().endswith((".dist-info", ".egg-info")) or name == "EGG-INFO"


_METADATA = 1024 * 1024
_LONG = 8 * 1024 * 1024

_METADATA_FILES = {
    "METADATA": _METADATA,
    "PKG-INFO": _METADATA,
    "RECORD": _LONG,
    "depends.txt": _METADATA,
    "entry_points.txt": _METADATA,
    "requires.txt": _METADATA,
}
_BY_NAME = {"pyvenv.cfg": 64 * 1024}
_BY_PLACE = {
    "__init__.py": {"pkg_resources": _METADATA},
    "patchlevel.h": {f"python3.{minor}": 64 * 1024 for minor in range(100)},
}
_BY_SUFFIX = {
    ".dist-info": _METADATA,
    ".egg": 2,  # enough to tell a zip
    ".egg-info": _METADATA,
    ".egg-link": 64 * 1024,
    ".pth": 64 * 1024,
}


class Keeper(Protocol):
    """Somebody who needs more of a layer than the diagnosis does, while it is read."""

    def limit(self, directory: str) -> int:
        """Return how many bytes are to be kept of every file in `directory`."""

    def add(self, key: tuple[str, int], path: str, header: tarfile.TarInfo, content: bytes) -> None:
        """Take the entry `key`: its layer and its number there, as a `File` has them.

        `header` is a `tar.Header`.
        """


def read(layer: layout.Layer, keeper: Keeper | None = None) -> Changes:
    """Read `layer` from its beginning to its end, and return what it changes.

    A `keeper` is shown every entry that is not a whiteout.
    Raises `ImageError` for a wrong digest, for what is not a tar, and for one that is too large.
    """
    identity = layer.identity or ""
    found = Changes(identity, [], removes=False, wanted_links=[])
    asked = wanted if keeper is None else functools.partial(_most_wanted, keeper)
    latest = None
    entries: list[tuple[str, Entry]] = []
    kept = 0
    removes = False
    with tar.LayerTar(layer) as archive:
        for number, header in archive:
            path = _checked(header.name)
            directory, _, name = path.rpartition("/")
            if directory != latest:
                latest, entries = directory, []
                found.groups.append((directory, entries))
            if name.startswith(_WHITEOUT):
                entries += _whiteouts(name)
                removes = True
                continue
            content = None
            if header.isreg():
                if limit := asked(directory, name):
                    content = archive.content(header, limit)
                    kept += len(content)
                entries.append((name, File(identity, number, header.size, content)))
            else:
                entry = _other(identity, number, header)
                if isinstance(entry, (Link, HardLink)):
                    found.wanted_links.extend(_wanted_behind(directory, name))
                entries.append((name, entry))
            if keeper is not None:
                keeper.add((identity, number), path, header, content or b"")
            if kept > KEPT_LIMIT:
                message = f"{archive.name} has more than {KEPT_LIMIT} bytes of metadata"
                raise ImageError(message)
    return found._replace(removes=removes)


def _most_wanted(keeper: Keeper, directory: str, name: str) -> int:
    """Return how many bytes are to be kept for the diagnosis and for `keeper`."""
    return max(wanted(directory, name), keeper.limit(directory))


def _whiteouts(name: str) -> list[tuple[str, Entry]]:
    """Return what a file with the `name` of a whiteout changes in its directory."""
    if name.startswith(_RESERVED) and name != _OPAQUE:
        return []
    return [(name.removeprefix(_WHITEOUT), Whiteout(name == _OPAQUE))]


def _wanted_behind(directory: str, name: str) -> Iterator[tuple[str, int]]:
    """Yield the paths that are wanted where `name` in `directory` is a link, with their limits."""
    path = posixpath.join(directory, name)
    if limit := wanted(directory, name):
        yield path, limit
    if _holds_metadata(name):
        for file, limit in _METADATA_FILES.items():
            yield f"{path}/{file}", limit


def _other(identity: str, number: int, header: tarfile.TarInfo) -> Entry:
    """Return what a `header` says that is not a regular file's."""
    if header.isdir():
        return Folder(identity, number)
    if header.issym():
        return Link(identity, number, _short(header.linkname))
    if header.islnk():
        return HardLink(identity, number, _checked(header.linkname))
    return Special(identity, number)


def entries(
    layer: layout.Layer, limits: Mapping[int, int]
) -> Iterator[tuple[int, tarfile.TarInfo, bytes]]:
    """Yield some entries of `layer`: of each its number, its header, and its content.

    `limits` has the numbers of those that are wanted, each with the most bytes of content. This is
    for what `read` does not keep. The layer is read, and verified, once more.
    Raises `ImageError`.
    """
    import tarfile

    with tar.LayerTar(layer, tarfile.TarInfo) as archive:
        for number, header in archive:
            if number in limits:
                content = archive.content(header, limits[number]) if header.isreg() else b""
                yield number, header, content


def digests(
    layer: layout.Layer, numbers: Collection[int], algorithm: str
) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the digest of the regular files of `layer` that have these `numbers`.

    The layer is read, and verified, once more. Raises `ImageError`.
    """
    with tar.LayerTar(layer) as archive:
        for number, header in archive:
            if number in numbers and header.isreg():
                yield number, archive.hashed(header, algorithm)


def _checked(name: str) -> str:
    """Return the `name` of an entry as a relative path without detours; the root is the empty one.

    As in a container, no ``..`` leads out of it. Raises `ImageError` if it cannot be a path.
    """
    name = name.removeprefix("./")
    if "/." in name or "//" in name or name[:1] in {".", "/"} or name[-1:] == "/":
        name = posixpath.normpath(f"/{name}").lstrip("/")
    return _short(name)


def _short(path: str) -> str:
    if len(path) > _LONGEST_PATH or "\0" in path:
        message = f"there is a path in it that no file can have: {shown(path)}"
        raise ImageError(message)
    return path
