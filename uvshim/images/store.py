"""Cached contents of layers: in memory for this run, and on disk.

The cache on disk has a file for each layer, named by its digest, so entries do not expire. It has
the contents of layers, never conclusions. A damaged entry counts as missing. Several
processes and versions may use one directory. uvshim deletes only files with names
that it gives, in a directory that it has marked.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import json
import os
import re
import tempfile
import time
import zlib
from typing import TYPE_CHECKING, Any

from uvshim.environments import files
from uvshim.errors import ImageError
from uvshim.images import union
from uvshim.images.layer import changes
from uvshim.images.layer.changes import Changes, Entry
from uvshim.images.layer.header import FILE
from uvshim.images.tree import ImageTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from uvshim.images.blob import Blob
    from uvshim.images.budget import Budget
    from uvshim.images.image import Image
    from uvshim.images.union import Directory

# How many bytes of layers are held in memory for later images.
_HELD = 64 << 20

# The format of entries and their contents: another format has another directory.
_FORM = f"layers-4-{zlib.crc32(repr(changes.kept()).encode()):08x}"

# Files with these names are deleted when they are old, in directories with these names.
_FORMS = re.compile(r"layers-\d+-[0-9a-f]{8}")
_ENTRIES = re.compile(r"sha(256-[0-9a-f]{64}|512-[0-9a-f]{128})|\.new-[a-z0-9_]{8}|\.lock-\d\d?")

# After how many seconds without use an entry is deleted, and how often this is checked.
_MONTH = 30 * 24 * 60 * 60
_DAY = 24 * 60 * 60

_LOCKS = 64

# What an entry of another shape raises.
_OF_ANOTHER_SHAPE = (ValueError, TypeError, AttributeError, RecursionError)

# The longest entry that is read, in bytes after decompression.
_LONGEST = 512 * 1024 * 1024

# The file that marks a directory as a cache (Cache Directory Tagging Specification) of uvshim.
_TAG = "CACHEDIR.TAG"
_MARK = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# The cache of uvshim. Delete it at any time.\n"
)


class Store:
    """The layers in memory and in the cache."""

    def __init__(self, directory: str | None, threads: int = 1) -> None:
        """Use the cache in `directory`, or none. Raise `ImageError` if it is not uvshim's.

        Several `threads` read the layers of one image: most of the time is in libraries that
        release Python's lock.
        """
        self._threads = threads
        self._cache = None if directory is None else Cache(directory)
        self._known: dict[str, Changes] = {}
        self._roots: dict[str, Directory] = {}
        self._held = 0

    def tree(self, image: Image) -> ImageTree:
        """Return the tree of the layers of `image`. Raise `ImageError`."""
        self._forget({layer.identity for layer in image.layers})
        budget = image.budget.of_image()
        before = budget.memory + sum(
            self._known[layer.identity].cost
            for layer in dict.fromkeys(image.layers)
            if layer.identity in self._known
        )
        root = union.unite([], budget)
        chain = ""
        for one in self._changes(image.layers, budget):
            # As in the OCI Image Format Specification, "Layer ChainID".
            chain = hashlib.sha256(f"{chain} {one.identity}".encode()).hexdigest()
            root = self._roots.get(chain) or union.unite([one], budget, root)
            if one.identity:
                self._roots[chain] = root
        self._held += budget.memory - before
        return ImageTree(root, budget, image.layers, image.platform)

    def _forget(self, needed: set[str | None]) -> None:
        """If much is held in memory, forget all but the `needed` layers."""
        if self._held > _HELD:
            self._roots.clear()
            self._known = {name: found for name, found in self._known.items() if name in needed}
            self._held = sum(each.cost for each in self._known.values())

    def _changes(self, layers: Sequence[Blob], budget: Budget) -> list[Changes]:
        """Return the changes of each layer; read those last that another process is reading."""
        known = {
            layer: self._known[layer.identity] for layer in layers if layer.identity in self._known
        }
        for layer, one in known.items():
            budget.keep(one.cost, layer.called)
        for wait in (False, True):
            missing = [layer for layer in dict.fromkeys(layers) if layer not in known]
            missing.sort(key=lambda layer: layer.size or 0, reverse=True)
            found = self._each(missing, budget, wait=wait)
            known.update((layer, one) for layer, one in found if one is not None)
        return [known[layer] for layer in layers]

    def _each(
        self, layers: list[Blob], budget: Budget, *, wait: bool
    ) -> Iterable[tuple[Blob, Changes | None]]:
        read = functools.partial(self._of_layer, budget=budget, wait=wait)
        if self._threads == 1 or len(layers) <= 1:
            return ((layer, read(layer)) for layer in layers)
        from concurrent.futures import ThreadPoolExecutor

        if self._cache is None or not all(self._cache.has(one.identity) for one in layers):
            layers[0].touch()  # start skopeo in this thread, which gets the signals
        with ThreadPoolExecutor(self._threads) as executor:
            found = executor.map(read, layers)
            import packaging.requirements  # noqa: F401  # which the diagnosis will need

            return list(zip(layers, found, strict=True))

    def _of_layer(self, layer: Blob, budget: Budget, *, wait: bool) -> Changes | None:
        """Return the changes of `layer`; None if another process reads it, and not `wait`."""
        identity, cache = layer.identity, self._cache
        if identity is None or cache is None:
            found: Changes | None = changes.read(layer, budget)
        elif found := cache.load(identity):
            budget.keep(found.cost, layer.called)
        else:
            with cache.locked(identity, wait=wait) as free:
                if free and wait and (found := cache.load(identity)):
                    budget.keep(found.cost, layer.called)
                elif free:
                    found = changes.read(layer, budget)
                    cache.save(found)
        if found is not None and identity is not None:
            self._known[identity] = found
        return found


def usual_directory() -> str:
    """Return the default directory (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "uvshim", "images")


class Cache:
    """The cache in one directory."""

    def __init__(self, directory: str) -> None:
        """Use `directory`. Raise `ImageError` if it has files that are not uvshim's."""
        try:
            names = os.listdir(directory)
        except OSError:  # missing, or unreadable: then nothing is cached
            names = []
        if names and not _is_ours(directory, names):
            raise ImageError(
                f"`{directory}` is neither empty nor a cache of uvshim. "
                "Name another directory with --cache-dir"
            )
        self._directory = directory
        self._layers = os.path.join(directory, _FORM)
        if os.path.islink(self._layers):
            raise ImageError(
                f"`{self._layers}` is a link, and uvshim follows none there. Remove it"
            )
        _prune(directory, names)

    def load(self, identity: str) -> Changes | None:
        """Return the saved changes of the layer `identity`, or None."""
        path = self._path(identity)
        try:
            with files.open_regular(path) as raw, gzip.open(raw) as file:
                _use(path)
                return _restored(_pieces(file), identity)
        except (OSError, EOFError, zlib.error, *_OF_ANOTHER_SHAPE):
            return None

    def has(self, identity: str | None) -> bool:
        """Return True if there is an entry for the layer `identity`."""
        return identity is not None and os.path.exists(self._path(identity))

    def save(self, found: Changes) -> None:
        """Save the changes of a layer, if the disk allows it."""
        temporary = None
        try:
            self._make()
            descriptor, temporary = tempfile.mkstemp(dir=self._layers, prefix=".new-")
            with open(descriptor, "wb") as raw, gzip.open(raw, "wb", 1) as file:
                for piece in _flat(found):  # one after the other: it may be large
                    file.write(json.dumps(piece, separators=(",", ":")).encode() + b"\n")
            os.replace(temporary, self._path(found.identity))
        except OSError:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)

    @contextlib.contextmanager
    def locked(self, identity: str, *, wait: bool) -> Iterator[bool]:
        """Hold the lock on an entry; yield False if it is taken, and not `wait`."""
        try:
            import fcntl

            self._make()
            number = int(hashlib.sha256(identity.encode()).hexdigest()[:8], 16) % _LOCKS
            flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
            lock = os.open(os.path.join(self._layers, f".lock-{number}"), flags, 0o600)
        except (ImportError, OSError):  # then two processes may read the same layer
            yield True
            return
        free = True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            free = False
        except OSError:  # some file systems have no locks
            pass
        try:
            yield free
        finally:
            os.close(lock)

    def _path(self, identity: str) -> str:
        return os.path.join(self._layers, identity.replace(":", "-"))

    def _make(self) -> None:
        """Create the directory, marked as uvshim's own. Raise OSError."""
        if not os.path.isdir(self._layers):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            with open(os.path.join(self._directory, _TAG), "wb") as file:
                file.write(_MARK)
            os.makedirs(self._layers, mode=0o700, exist_ok=True)


def _is_ours(directory: str, names: list[str]) -> bool:
    """Return True if uvshim has marked `directory`, or another process is marking it now."""
    try:
        with open(os.path.join(directory, _TAG), "rb") as file:
            found = file.read(len(_MARK))
    except OSError:
        return False
    return found == _MARK or (names == [_TAG] and _MARK.startswith(found))


def _use(path: str) -> None:
    """Update the time of an entry, at most once a day."""
    with contextlib.suppress(OSError):  # the file may belong to another user
        if os.stat(path).st_mtime < time.time() - _DAY:
            os.utime(path)


def _prune(directory: str, names: list[str]) -> None:
    """Delete entries that were not used for a month from `directory`, at most once a day."""
    mark = os.path.join(directory, _TAG)
    now = time.time()
    with contextlib.suppress(OSError):  # another user's
        if not names or os.stat(mark).st_mtime > now - _DAY:
            return
        os.utime(mark)
        for form in filter(_FORMS.fullmatch, names):
            place = os.path.join(directory, form)
            if os.path.islink(place):  # to files that uvshim has not written
                continue
            for name in filter(_ENTRIES.fullmatch, os.listdir(place)):
                with contextlib.suppress(OSError):
                    path = os.path.join(place, name)
                    if os.lstat(path).st_mtime < now - _MONTH:
                        os.unlink(path)
            if form != _FORM:
                with contextlib.suppress(OSError):
                    os.rmdir(place)


# --- the changes of a layer as JSON ---------------------------------------------------------------


def _flat(found: Changes) -> Iterator[object]:
    """Yield what JSON can hold of the changes `found`: first all but the groups."""
    yield (found.identity, found.removes, found.cost, len(found.groups))
    for directory, entries in found.groups:
        yield directory, [(name, *_flat_entry(entry)) for name, entry in entries]


def _flat_entry(entry: Entry) -> tuple[object, ...]:
    """Return the fields of `entry` without the layer; most are files without content."""
    _, number, size, content, *others = entry
    if content is None:
        return (number, size) if entry.kind == FILE else (number, size, None, *others)
    return number, size, content.decode("utf-8", "surrogateescape")


def _pieces(file: gzip.GzipFile) -> Iterator[Any]:
    """Yield the pieces that are in `file`, one in each line. Raise ValueError."""
    left = _LONGEST
    while left > 0 and (line := file.readline(left)):
        left -= len(line)
        yield json.loads(line)


def _restored(pieces: Iterator[Any], wanted: str) -> Changes:
    """Return the changes of the layer `wanted` that `_flat` made `pieces` of.

    Raise ValueError or TypeError if they are anything else.
    """
    first: Any = next(pieces, [None] * 4)
    identity, removes, cost, count = first
    groups = [
        ("" + directory, [("" + name, _restored_entry(identity, *one)) for name, *one in entries])
        for directory, entries in pieces
    ]
    if len(groups) != count or identity != wanted:
        raise ValueError(wanted)
    return Changes(identity, groups, bool(removes), 0 | cost)


def _restored_entry(
    identity: str, number: int, size: int, content: str | None = None, *others: str
) -> Entry:
    kept = None if content is None else content.encode("utf-8", "surrogateescape")
    return Entry(identity, 0 | number, 0 | size, kept, *map("".__add__, others))  # or a TypeError
