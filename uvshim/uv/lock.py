"""The lock that uv holds on an environment while it installs there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class LockInterruptedError(Exception):
    """The wait for the lock was given up, because a signal asks this process to end."""


@contextlib.contextmanager
def uv_lock(
    path: str | None,
    interrupted: Callable[[], bool] = lambda: False,
    waiting: Callable[[str], None] = lambda _path: None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock file `path`, so that no uv installs into its environment meanwhile.

    uv takes `flock(LOCK_EX)` on that file; so does this. Where there is no lock file to be had (no
    path, no right to open it) nothing is held: uv goes on without a lock in that case, too.

    While somebody else has it, `interrupted` is asked again and again; after a second `waiting`
    hears of `path`, once. `clock` tells seconds, and `sleep` lets so many of them pass.

    Raises `LockInterruptedError` if `interrupted` says so before the lock is ours.
    """
    file = _opened(path)
    begin, told = clock(), False
    try:
        while file is not None and not _taken(file):
            if interrupted():
                raise LockInterruptedError
            if path and not told and clock() - begin > 1:
                waiting(path)
                told = True
            sleep(0.02)
        yield
    finally:
        if file is not None:
            os.close(file)  # which gives the lock back


def _opened(path: str | None) -> int | None:
    """Return a descriptor of the lock file, None where there is none to be had."""
    try:
        return None if path is None else os.open(path, os.O_RDWR)
    except OSError:
        return None


def _taken(file: int) -> bool:
    """Say whether the lock is ours now, or the file system does not know locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
