"""The directory where what was learnt is kept: an entry is a file, which is written in one step.

An entry that is damaged is as good as none. Several processes may use one directory, and several
versions: each has a place of its own in it. What nobody has used for a month goes away.
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

from uvshim import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

# The form of the entries: another one is another place.
_FORM = f"1-{__version__}"

# What such a place is called, and what is in it: nothing else is ever removed.
_FORMS = re.compile(r"\d+-\d[\w.+!]*")
_ENTRIES = re.compile(r"(sha\d+-)?[0-9a-f]{64,128}|\.new-\w+|\d+|pruned")
_KINDS = ("layers", "locks", "results")

# After how many seconds an entry goes away that nobody has used, and how often that is looked for.
_MONTH = 30 * 24 * 60 * 60
_DAY = 24 * 60 * 60

# By how many files the locks on entries are kept apart.
_LOCKS = 64


def usual_directory() -> str:
    """Return where things are kept if nobody says where (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "uvshim")


def load(path: str) -> Any:
    """Return what was saved at `path`, or None."""
    try:
        with open(path, "rb") as file:
            _use(file.fileno())
            return json.loads(zlib.decompress(file.read()))
    except (OSError, ValueError, zlib.error, RecursionError):
        return None


def _use(descriptor: int) -> None:
    """Note that an entry is used, unless that was noted today."""
    with contextlib.suppress(OSError):  # it may be another user's
        if os.fstat(descriptor).st_mtime < time.time() - _DAY:
            os.utime(descriptor)


def save(path: str, value: object) -> None:
    """Save `value`, which JSON can hold, at `path`; where that cannot be, do without."""
    content = zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)
    temporary = None
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def place(directory: str, kind: str, name: str) -> str:
    """Return the path of the entry `name`, which is one of `_KINDS`, in a cache `directory`."""
    return os.path.join(directory, _FORM, kind, name)


@contextlib.contextmanager
def locked(path: str, *, wait: bool) -> Iterator[bool]:
    """Hold the lock on the entry at `path`; give False if it is taken and not to `wait`."""
    try:
        import fcntl

        directory = os.path.join(os.path.dirname(os.path.dirname(path)), "locks")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        number = int(hashlib.sha256(os.fsencode(path)).hexdigest()[:8], 16) % _LOCKS
        file = open(os.path.join(directory, str(number)), "wb")  # noqa: SIM115
    except (ImportError, OSError):  # then it may be read twice
        yield True
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass
        yield True


def prune(directory: str) -> None:
    """Remove what nobody has used for a month from the cache `directory`; looks once a day."""
    now = time.time()
    mark = os.path.join(directory, _FORM, "pruned")
    try:
        if os.path.exists(mark) and os.stat(mark).st_mtime > now - _DAY:
            return
        with open(mark, "wb") as file:
            os.utime(file.fileno())
        forms = list(filter(_FORMS.fullmatch, os.listdir(directory)))
    except OSError:  # it is not there yet, or another user's
        return
    for form in forms:
        for kind in _KINDS:
            _prune(os.path.join(directory, form, kind), now - _MONTH)
        if form != _FORM:
            _prune(os.path.join(directory, form), now - _MONTH)


def _prune(directory: str, oldest: float) -> None:
    """Remove the entries in `directory` that are older than `oldest`, and itself if it is empty."""
    with contextlib.suppress(OSError):
        for name in filter(_ENTRIES.fullmatch, os.listdir(directory)):
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                if os.lstat(path).st_mtime < oldest:
                    os.unlink(path)
        os.rmdir(directory)
