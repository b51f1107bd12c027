"""Remove temporary files before a signal ends the run.

A copy of an image has hundreds of megabytes, in a place that the user does not know.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class _Ended(SystemExit):
    """A signal has arrived. As a BaseException it leaves every `with`.

    It ends an idle process of a pool silently.
    """

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
