"""The lock that uv holds on an environment while it installs there."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

try:
    import fcntl
except ImportError:  # Windows, where uv's lock is of another kind: there we go without
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable


class LockInterruptedError(Exception):
    """The wait for the lock was given up, because a signal asks this process to end."""


class UvLock:
    """A context in which no uv installs into the environment whose lock file is `path`.

    uv takes `flock(LOCK_EX)` on that file; so does this. Where there is no lock file to be had (no
    path, no right to open it) the context holds nothing: uv goes on without one in that case, too.
    """

    def __init__(
        self,
        path: str | None,
        interrupted: Callable[[], bool] = lambda: False,
        waiting: Callable[[str], None] = lambda _path: None,
    ) -> None:
        """Prepare to lock `path`; `waiting` hears of it after a second, `interrupted` is asked."""
        self._path = path
        self._interrupted = interrupted
        self._waiting = waiting
        self._file: int | None = None

    def __enter__(self) -> None:
        """Wait until the lock is ours. Raises `LockInterruptedError` if `interrupted` says so."""
        if self._path is None or fcntl is None:
            return
        try:
            self._file = os.open(self._path, os.O_RDWR)
        except OSError:
            return
        begin = time.monotonic()
        told = False
        while not self._taken():
            if self._interrupted():
                self.__exit__()
                raise LockInterruptedError
            if not told and time.monotonic() - begin > 1:
                self._waiting(self._path)
                told = True
            time.sleep(0.02)

    def __exit__(self, *_exception: object) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _taken(self) -> bool:
        if self._file is None:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system that knows no locks
            return True
        return True
