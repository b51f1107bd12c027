"""The cache of layer contents on disk: a file for each layer, named by its digest.

It holds what layers contain, never what uvshim concludes from it. A damaged entry counts as
missing. Several processes and versions may use one directory. uvshim deletes only files that have
exactly the names it gives them, in a directory that it has marked as its own.
"""

from __future__ import annotations

import contextlib
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
from uvshim.images.layer import changes
from uvshim.images.layer.changes import Changes, File, Folder, HardLink, Link, Special, Whiteout

if TYPE_CHECKING:
    from collections.abc import Iterator

# The form of the entries, and what they hold: another one is another directory.
_FORM = f"layers-2-{zlib.crc32(repr(changes.kept()).encode()):08x}"

# What is deleted when it is old: these names, in directories with such names.
_FORMS = re.compile(r"layers-\d+-[0-9a-f]{8}")
_ENTRIES = re.compile(r"sha(256-[0-9a-f]{64}|512-[0-9a-f]{128})|\.new-[a-z0-9_]{8}|\.lock-\d\d?")

# After how many seconds without use an entry is deleted, and how often old ones are looked for.
_MONTH = 30 * 24 * 60 * 60
_DAY = 24 * 60 * 60

_LOCKS = 64

# The longest entry that is read, in bytes, compressed or not.
_LONGEST = 512 * 1024 * 1024

# What marks the directory as a cache (Cache Directory Tagging Specification), and as uvshim's.
_TAG = "CACHEDIR.TAG"
_MARK = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# The cache of uvshim. Delete it at any time.\n"
)


def usual_directory() -> str:
    """Return the directory that is used by default (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "uvshim", "images")


class Cache:
    """The cache in one directory."""

    def __init__(self, directory: str) -> None:
        """Use `directory`. Raise `ImageError` if somebody else's files are in it."""
        try:
            names = os.listdir(directory)
        except OSError:  # not there yet, or not ours to read: nothing is kept then
            names = []
        if names and not _is_ours(directory, names):
            message = (
                f"`{directory}` is neither empty nor a cache of uvshim. "
                "Name another directory with --cache-dir"
            )
            raise ImageError(message)
        self._directory = directory
        self._layers = os.path.join(directory, _FORM)
        _prune(directory, names)

    def load(self, identity: str) -> Changes | None:
        """Return what was saved for the layer `identity`, or None."""
        path = self._path(identity)
        try:
            content = files.read(path, _LONGEST) or b""
            _use(path)
            return _restored(json.loads(zlib.decompressobj().decompress(content, _LONGEST)))
        except (OSError, ValueError, zlib.error, RecursionError):
            return None

    def has(self, identity: str | None) -> bool:
        """Return True if something was saved for the layer `identity`."""
        return identity is not None and os.path.exists(self._path(identity))

    def save(self, found: Changes) -> None:
        """Save what the layer `found.identity` changes, if the disk allows it."""
        content = zlib.compress(json.dumps(_flat(found), separators=(",", ":")).encode(), 1)
        temporary = None
        try:
            self._make()
            descriptor, temporary = tempfile.mkstemp(dir=self._layers, prefix=".new-")
            with open(descriptor, "wb") as file:
                file.write(content)
            os.replace(temporary, self._path(found.identity))
        except OSError:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)

    @contextlib.contextmanager
    def locked(self, identity: str, *, wait: bool) -> Iterator[bool]:
        """Hold the lock on an entry; yield False if it is taken and not to `wait`."""
        try:
            import fcntl

            self._make()
            number = int(hashlib.sha256(identity.encode()).hexdigest()[:8], 16) % _LOCKS
            flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
            lock = os.open(os.path.join(self._layers, f".lock-{number}"), flags, 0o600)
        except (ImportError, OSError):  # two processes may read the same layer then
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
    """Return True if uvshim has marked `directory`, or another process is just marking it."""
    try:
        with open(os.path.join(directory, _TAG), "rb") as file:
            found = file.read(len(_MARK))
    except OSError:
        return False
    return found == _MARK or (names == [_TAG] and _MARK.startswith(found))


def _use(path: str) -> None:
    """Note that an entry is used, unless that was noted today."""
    with contextlib.suppress(OSError):  # it may be another user's
        if os.stat(path).st_mtime < time.time() - _DAY:
            os.utime(path)


def _prune(directory: str, names: list[str]) -> None:
    """Delete entries that were not used for a month from our own `directory`; look once a day."""
    mark = os.path.join(directory, _TAG)
    now = time.time()
    with contextlib.suppress(OSError):  # another user's
        if not names or os.stat(mark).st_mtime > now - _DAY:
            return
        os.utime(mark)
        for form in filter(_FORMS.fullmatch, names):
            place = os.path.join(directory, form)
            for name in filter(_ENTRIES.fullmatch, os.listdir(place)):
                with contextlib.suppress(OSError):
                    path = os.path.join(place, name)
                    if os.lstat(path).st_mtime < now - _MONTH:
                        os.unlink(path)
            if form != _FORM:
                with contextlib.suppress(OSError):
                    os.rmdir(place)


# --- the changes of a layer as JSON ---------------------------------------------------------------

# A file is its number, its size and its content, if that is kept; others begin with a letter.
_LETTERS = {Link: "l", HardLink: "h", Special: "s", Folder: "d", Whiteout: "w"}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}


def _flat(found: Changes) -> object:
    groups = [
        [directory, [[name, *_flat_entry(entry)] for name, entry in entries]]
        for directory, entries in found.groups
    ]
    return [found.identity, groups, found.removes, found.wanted_links]


def _flat_entry(entry: changes.Entry) -> list[object]:
    if isinstance(entry, File):
        flat: list[object] = [entry.number, entry.size]
        if entry.content is not None:
            flat.append(entry.content.decode("utf-8", "surrogateescape"))
        return flat
    if isinstance(entry, Whiteout):
        return [_LETTERS[Whiteout], entry.opaque]
    return [_LETTERS[type(entry)], *entry[1:]]


def _restored(flat: Any) -> Changes | None:
    """Return the changes that `flat` was made of; None if it is something else."""
    try:
        identity, groups, removes, wanted_links = flat
        return Changes(
            identity,
            [
                (directory, [(entry[0], _restored_entry(identity, entry)) for entry in entries])
                for directory, entries in groups
            ],
            removes,
            [(path, limit) for path, limit in wanted_links],
        )
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return None


def _restored_entry(identity: str, flat: list[Any]) -> changes.Entry:
    _, what, *more = flat
    if isinstance(what, int):
        size, *content = more
        kept = content[0].encode("utf-8", "surrogateescape") if content else None
        return File(identity, what, size, kept)
    if what == _LETTERS[Whiteout]:
        return Whiteout(*more)
    return _KINDS[what](identity, *more)  # type: ignore[no-any-return]
