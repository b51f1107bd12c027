"""How a run ends that a signal interrupts: temporary files are removed first.

A copy of an image has hundreds of megabytes, and nobody else would find it.
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
    """A signal has come: every `with` is left, and no `except Exception` is in the way.

    It ends an idle process of a pool silently.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextlib.contextmanager
def cleanly() -> Iterator[None]:
    """If a signal comes, clean up in the context, and then end by that signal.

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
    """Hold such signals back until the function that is yielded is called, or to the end.

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
    for each in _SIGNALS:  # one is enough, and nothing interrupts the removal
        signal.signal(each, signal.SIG_IGN)
    raise _Ended(number)
