"""The lock that uv holds on an environment while it installs there."""

from __future__ import annotations

import fcntl
import os
import time

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable


_PAUSE = 0.02
_A_SECOND = 51  # pauses


class LockInterruptedError(Exception):
    """A signal ended the wait for the lock."""


class uv_lock:  # noqa: N801  # used like a function, without the 3 ms that contextlib costs
    """Hold the lock file `path`, so that no uv installs into its environment.

    uv uses `flock(LOCK_EX)` on that file. If it cannot be opened, or `path` is None, nothing is
    held: uv continues without a lock, too.

    While another process holds it, `interrupted` is called repeatedly. After a second, `waiting` is
    called once with `path`.

    Entering raises `LockInterruptedError` if `interrupted` returns something true while it waits.
    """

    def __init__(
        self,
        path: str | None,
        interrupted: Callable[[], object] = lambda: None,
        waiting: Callable[[str], None] = lambda _path: None,
    ) -> None:
        """Store the arguments; nothing is opened yet."""
        self._path = path or ""
        self._interrupted = interrupted
        self._waiting = waiting
        self._file: int | None = None

    def __enter__(self) -> None:
        """Wait for the lock."""
        try:
            self._file = os.open(self._path, os.O_RDWR)
        except OSError:
            return
        waits = 0
        while not _is_taken(self._file):
            if self._interrupted():
                self.__exit__()
                raise LockInterruptedError
            if waits == _A_SECOND:
                self._waiting(self._path)
            time.sleep(_PAUSE)
            waits += 1

    def __exit__(self, *_error: object) -> None:
        """Release the lock."""
        if self._file is not None:
            os.close(self._file)


def _is_taken(file: int) -> bool:
    """Try to lock. Return True if that worked, or if the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
