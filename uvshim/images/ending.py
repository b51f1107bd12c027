"""Remove temporary files before a signal ends the run.

A copy of an image has hundreds of megabytes, and nobody else would find it. What a killed run has
left, the next one removes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

# How the names of temporary directories begin.
_PREFIX = "uvshim.run-"

# What is in them and in no other directory: this file, and the directory that is used.
_MARK = "temporary-directory-of-uvshim"
_USED = "content"

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class _Ended(SystemExit):
    """A signal has arrived. It leaves every `with`, and ends an idle process of a pool silently."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
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

    A signal during the start of a process would leave that process running.
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


def _end(number: int, _frame: object) -> NoReturn:
    for each in _SIGNALS:  # nothing may interrupt the removal
        signal.signal(each, signal.SIG_IGN)
    raise _Ended(number)


@contextlib.contextmanager
def directory(parent: str | None = None, prefix: str = _PREFIX) -> Iterator[str]:
    """Yield a new directory in `parent`, by default the one for temporary files; remove it at last.

    It is in another one, whose name begins with `prefix`, beside the file `_MARK`. That one is
    locked as long as this run uses it, so all others like it that are not locked were left by
    killed runs, and are removed. Raise OSError.
    """
    parent = parent or tempfile.gettempdir()
    for name in os.listdir(parent):
        if name.startswith(prefix):
            _remove_if_left(os.path.join(parent, name))
    made = tempfile.mkdtemp(prefix=".uvshim-new-", dir=parent)  # nobody looks for it before it is
    path = os.path.join(parent, prefix + made[-8:])  # locked
    used = os.path.join(path, _USED)
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(lock)
        os.rename(made, path)
        os.close(os.open(os.path.join(path, _MARK), os.O_CREAT | os.O_EXCL))
        os.mkdir(used)
        yield used
    finally:
        for each in (path, made):
            _remove(each)
        os.close(lock)


def _lock(descriptor: int) -> bool:
    """Lock an open directory; return False if another run has locked it, or nothing can be."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _remove(path: str) -> None:
    """Remove the temporary directory at `path`, and its mark last: a kill may come in between."""
    shutil.rmtree(os.path.join(path, _USED), ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)


def _remove_if_left(path: str) -> None:
    """Remove the directory at `path` if it is one of ours, and no run uses it."""
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            listed = set(os.listdir(lock))  # nothing: it was killed before it was marked
            if listed in ({_MARK, _USED}, {_MARK}, set()) and _lock(lock):
                _remove(path)
        finally:
            os.close(lock)
