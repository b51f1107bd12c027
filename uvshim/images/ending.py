"""Remove temporary files before a signal ends the run.

A copy of an image has hundreds of megabytes, and nobody else would find it. What a killed run has
left, the next one removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# How the names of temporary directories begin.
_PREFIX = "uvshim.run-"

# What is in them and in no other directory: this file, and the directory that is used.
_MARK = "temporary-directory-of-uvshim"
_USED = "content"

# PR_SET_PDEATHSIG of prctl(2).
_ON_PARENTS_DEATH = 1

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

_AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB


class _Ended(BaseException):
    """A signal has arrived. It leaves every `with`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def cleanly() -> Iterator[None]:
    """If a signal arrives in this context, clean up, then end by that signal.

    Use it in the main thread. A signal that is ignored, as after `nohup`, stays ignored.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        yield
    except _Ended as ended:
        signal.signal(ended.number, signal.SIG_DFL)
        os.kill(os.getpid(), ended.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def undisturbed() -> Iterator[Callable[[], None]]:
    """Block such signals until the yielded function is called, or until the end.

    A signal during the start of a process would leave that process running. The system's mask of
    signals does not help: another thread, such as tqdm's, would take the signal.
    """
    came: list[int] = []
    before = [number for number in _SIGNALS if signal.getsignal(number) is _end]

    def release() -> None:
        while before:
            signal.signal(before.pop(), _end)
        if came:
            _end(came.pop(), None)

    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield release
    finally:
        release()


def lead_group() -> None:
    """Let this new process lead a process group, and let signals or its parent's end end it."""
    os.setpgrp()
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    with contextlib.suppress(ImportError, OSError, AttributeError):  # only Linux has this call
        import ctypes

        ctypes.CDLL(None).prctl(_ON_PARENTS_DEATH, int(signal.SIGKILL))


def _end(number: int, _frame: object) -> NoReturn:
    for each in _SIGNALS:  # nothing may interrupt the removal
        signal.signal(each, _nothing)
    raise _Ended(number)


def _nothing(_number: int, _frame: object) -> None:
    """Do nothing. Python reports a signal that has come before its handler became SIG_IGN."""


@contextlib.contextmanager
def directory(parent: str | None = None, prefix: str = _PREFIX) -> Iterator[str]:
    """Yield a new directory in `parent`, by default the one for temporary files; remove it at last.

    It is in another one, whose name begins with `prefix`, beside the file `_MARK`. That one is
    locked as long as this run uses it. Raise OSError.
    """
    parent = parent or tempfile.gettempdir()
    remove_left(parent, prefix)
    with locked(lambda: tempfile.mkdtemp(prefix=prefix, dir=parent)) as path:
        used = os.path.join(path, _USED)
        try:
            os.close(os.open(os.path.join(path, _MARK), os.O_CREAT | os.O_EXCL))
            os.mkdir(used)
            yield used
        finally:
            with undisturbed():
                _remove(path)


@contextlib.contextmanager
def locked(make: Callable[[], str], waiting: Callable[[str], object] = str) -> Iterator[str]:
    """Make a directory with `make`, and yield its path while a lock on it is held.

    Another run may remove it until it is locked: then it is made again. `waiting` is called with
    the path if another run has the lock. Raise OSError.
    """
    descriptor = None
    while descriptor is None:
        path = make()
        descriptor = _locked(path, waiting)
    try:
        yield path
    finally:
        os.close(descriptor)  # which releases the lock


def _locked(path: str, waiting: Callable[[str], object]) -> int | None:
    """Lock the directory at `path`; return its descriptor, or None if it was removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):  # some file systems have no locks
        try:
            fcntl.flock(descriptor, _AT_ONCE)
        except BlockingIOError:
            waiting(path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    os.close(descriptor)
    return None


def remove_left(parent: str | None = None, prefix: str = _PREFIX) -> None:
    """Remove the directories with `prefix` in `parent` that killed runs have left. Raise OSError.

    Those are the marked ones that nobody has locked. The defaults are those of `directory`.
    """
    parent = parent or tempfile.gettempdir()
    for name in os.listdir(parent):
        if name.startswith(prefix):
            with contextlib.suppress(OSError):  # it is no directory, or in use
                _remove_left(os.path.join(parent, name))


def _remove_left(path: str) -> None:
    """Remove the directory at `path` if it is one of ours. Raise OSError if a run uses it."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        listed = set(os.listdir(lock))  # nothing: it was killed before it was marked
        is_ours = listed in ({_MARK, _USED}, {_MARK}, set())
        if is_ours and os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, _AT_ONCE)
            _remove(path)
    finally:
        os.close(lock)


def _remove(path: str) -> None:
    """Remove the temporary directory at `path`, and its mark last: a kill may come in between."""
    shutil.rmtree(os.path.join(path, _USED), ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)
