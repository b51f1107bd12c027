"""Cached contents of layers: in memory for this run, and on disk.

The cache on disk has a file for each layer, named by its digest, so entries do not expire. It has
the contents of layers, never conclusions. A damaged entry counts as missing. Several
processes and versions may use one directory. uvshim deletes only files with names
that it gives, in a directory that it has marked.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from uvshim.environments.tree import open_regular
from uvshim.errors import ImageError
from uvshim.images import compression, union
from uvshim.images.budget import Budget
from uvshim.images.image import Image, dumped
from uvshim.images.layer import changes
from uvshim.images.layer.changes import Changes, Entry, Group
from uvshim.images.layer.header import FILE
from uvshim.images.tree import ImageTree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from uvshim.images.blob import Blob
    from uvshim.images.union import Directory

# How many bytes of layers are held in memory for later images.
_HELD = 64 << 20

# The format of entries and their contents: another format has another directory.
_FORM = f"layers-6-{zlib.crc32(repr(changes.kept()).encode()):08x}"

# Files with these names are deleted when they are old, in directories with these names.
_FORMS = re.compile(r"layers-\d+-[0-9a-f]{8}")
_ENTRIES = re.compile(r"sha(256-[0-9a-f]{64}|512-[0-9a-f]{128})|\.new-[a-z0-9_]{8}|\.lock-\d\d?")

# After how many seconds without use an entry is deleted, and how often this is checked.
_MONTH = 30 * 24 * 60 * 60
_DAY = 24 * 60 * 60

_LOCKS = 64

# The exceptions for an entry that something else than uvshim has written.
_DAMAGED: tuple[type[Exception], ...] = (*compression.ERRORS, TypeError, AttributeError)

# How many layers are decompressed side by side at most: each may take 128 MiB (RFC 8878).
_SIDE_BY_SIDE = 2

# The file that marks a directory as a cache (Cache Directory Tagging Specification) of uvshim.
_TAG = "CACHEDIR.TAG"
_MARK = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# The cache of uvshim. Delete it at any time.\n"
)


class Store:
    """The layers in memory and in the cache."""

    def __init__(self, directory: str | None, threads: int = 1, *, for_copy: bool = False) -> None:
        """Use the cache in `directory`, or none. Raise `ImageError` if it is not uvshim's.

        With several `threads`, two read the layers of one image: most of the time is in libraries
        that release Python's lock. `for_copy` is that of `changes.read`, and needs no cache.
        """
        self._for_copy = for_copy
        self._threads = min(threads, _SIDE_BY_SIDE)
        self._cache = None if directory is None else Cache(directory)
        self._known: dict[str, Changes] = {}
        self._roots: dict[str, Directory] = {}
        self._united = 0  # bytes in the roots

    def tree(self, image: Image) -> ImageTree:
        """Return the tree of the layers of `image`. Raise `ImageError`."""
        self._forget({layer.identity for layer in image.layers})
        budget = Budget(image.budget)
        changed = self._changes(image.layers, budget)
        before = budget.memory
        root = union.unite([], budget)
        chain = ""
        for one in changed:
            # As in the OCI Image Format Specification, "Layer ChainID".
            chain = hashlib.sha256(f"{chain} {one.identity}".encode()).hexdigest()
            root = self._roots.get(chain) or union.unite([one], budget, root)
            if one.identity:
                self._roots[chain] = root
        self._united += budget.memory - before
        return ImageTree(root, budget, image.layers, image.platform)

    def _forget(self, needed: set[str | None]) -> None:
        """If much is held in memory, forget all but the `needed` layers."""
        if self._united + sum(each.cost for each in self._known.values()) > _HELD:
            self._roots.clear()
            self._united = 0
            self._known = {name: found for name, found in self._known.items() if name in needed}

    def _changes(self, layers: Sequence[Blob], budget: Budget) -> list[Changes]:
        """Return the changes of each layer; read those last that another process is reading."""
        found: dict[Blob, Changes] = {}
        for layer in dict.fromkeys(layers):
            if one := self._known.get(layer.identity or "") or self._cached(layer):
                budget.keep(one.cost, layer.called)
                found[layer] = one
        for wait in (False, True):
            missing = [layer for layer in dict.fromkeys(layers) if layer not in found]
            missing.sort(key=lambda layer: layer.size or 0, reverse=True)
            read = functools.partial(self._read, budget=budget, wait=wait)
            changed: Iterator[Changes | None] = map(read, missing)
            if self._threads > 1 and len(missing) > 1:
                missing[0].open().close()  # start skopeo in this thread, which gets the signals
                with ThreadPoolExecutor(self._threads) as executor:
                    changed = executor.map(read, missing)
                    import packaging.requirements  # noqa: F401  # which the diagnosis will need
            found.update((layer, one) for layer, one in zip(missing, changed, strict=True) if one)
        self._known.update((one.identity, one) for one in found.values() if one.identity)
        return [found[layer] for layer in layers]

    def _cached(self, layer: Blob) -> Changes | None:
        return self._cache.load(layer.identity) if self._cache and layer.identity else None

    def _read(self, layer: Blob, budget: Budget, *, wait: bool) -> Changes | None:
        """Return the changes of `layer`; None if another process reads it, and not `wait`."""
        if self._cache is None or layer.identity is None:
            return changes.read(layer, budget, for_copy=self._for_copy)
        with self._cache.locked(layer.identity, wait=wait) as free:
            if not free:
                return None
            if wait and (found := self._cached(layer)):  # the other one has read it
                budget.keep(found.cost, layer.called)
                return found
            found = changes.read(layer, budget)
            self._cache.save(found)
            return found


def usual_directory() -> str | None:
    """Return the default directory (XDG Base Directory Specification).

    Return None for a user without a home directory.
    """
    for home in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):
        if os.path.isabs(home):
            return os.path.join(home, "uvshim", "images")
    return None


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
            what = "is a link, and uvshim follows none there. Remove it"
            raise ImageError(f"`{self._layers}` {what}")
        _prune(directory, names)

    def load(self, identity: str) -> Changes | None:
        """Return the saved changes of the layer `identity`, or None."""
        path = self._path(identity)
        try:
            with open_regular(path) as raw, compression.open_gzip(raw) as file:
                with contextlib.suppress(OSError):  # the file may belong to another user
                    os.utime(path)  # it is in use
                flat, cost = json.loads(file.readline())
                hidden = [(directory, name) for directory, name in flat]
                groups = [_restored(json.loads(line), identity) for line in file]
                return Changes(identity, groups, hidden, cost)
        except _DAMAGED:
            return None

    def save(self, found: Changes) -> None:
        """Save the changes of a layer, if the disk allows it."""
        temporary = None
        try:
            self._make()
            descriptor, temporary = tempfile.mkstemp(dir=self._layers, prefix=".new-")
            with open(descriptor, "wb") as raw, compression.open_gzip(raw, "wb", 1) as file:
                # One group after the other, because all together may be large.
                for each in ((found.hidden, found.cost), *map(_flat, found.groups)):
                    file.write(dumped(each) + b"\n")
            os.replace(temporary, self._path(found.identity))
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary or "")

    @contextlib.contextmanager
    def locked(self, identity: str, *, wait: bool) -> Iterator[bool]:
        """Hold the lock on an entry; yield False if it is taken, and not `wait`."""
        try:
            self._make()
            number = int(hashlib.sha256(identity.encode()).hexdigest()[:8], 16) % _LOCKS
            flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
            lock = os.open(os.path.join(self._layers, f".lock-{number}"), flags, 0o600)
        except OSError:  # then two processes may read the same layer
            yield True
            return
        with open(lock, "rb"):
            free = True
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError as error:  # some file systems have no locks
                free = not isinstance(error, BlockingIOError)
            yield free

    def _path(self, identity: str) -> str:
        return os.path.join(self._layers, identity.replace(":", "-"))

    def _make(self) -> None:
        """Create the directory, marked as uvshim's own. Raise OSError."""
        if not os.path.isdir(self._layers):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            tag = os.path.join(self._directory, _TAG)
            with contextlib.suppress(FileExistsError), open(tag, "xb") as file:
                file.write(_MARK)  # never again: others may be reading it
            os.makedirs(self._layers, mode=0o700, exist_ok=True)


def _is_ours(directory: str, names: list[str]) -> bool:
    """Return True if uvshim has marked `directory`, or another process is marking it now."""
    try:
        with open(os.path.join(directory, _TAG), "rb") as file:
            found = file.read(len(_MARK))
    except OSError:
        return False
    has_nothing_else = all(name == _TAG or _FORMS.fullmatch(name) for name in names)
    return found == _MARK or (has_nothing_else and _MARK.startswith(found))


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


def _flat(group: Group) -> object:
    """Return `group` as JSON can hold it: without the layer and what is usual."""
    directory, entries = group
    return directory, [(name, *_fields(entry)) for name, entry in entries]


def _fields(entry: Entry) -> tuple[object, ...]:
    _, number, size, content, kind, target, _ = entry
    if content is None and kind == FILE:
        return number, size
    text = None if content is None else content.decode("utf-8", "surrogateescape")
    return number, size, text, kind, target


def _restored(flat: Any, layer: str) -> Group:
    directory, entries = flat
    return directory, [(name, _entry(layer, *fields)) for name, *fields in entries]


def _entry(layer: str, number: int, size: int, content: str | None = None, *more: str) -> Entry:
    kept = None if content is None else content.encode("utf-8", "surrogateescape")
    kind, target = more or (FILE, "")
    return Entry(layer, number, size, kept, kind, target)
