"""Wait for a program that was started, with the signals that are meant for it passed on."""

from __future__ import annotations

import os
import sys

from uvshim.uv import process

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping

    from uvshim.uv.process import Child
else:
    try:
        # The module signal adds enumerations to this one, whose import takes 4 ms.
        import _signal as signal
    except ImportError:
        import signal

# What ends a program that does not handle it: sent by a key on the terminal, a container engine, a
# service manager, a timer, a limit.
_ENDING = """
    SIGALRM SIGHUP SIGINT SIGPROF SIGPWR SIGQUIT SIGTERM SIGUSR1 SIGUSR2 SIGVTALRM SIGXCPU
""".split()

# What a key on the terminal sends to the whole foreground process group.
_KEYS = frozenset({signal.SIGINT, signal.SIGQUIT})


class Supervisor:
    """Holds back the signals that would end this process, and passes them on to its child.

    From its creation on they wait until `finish`: a rename that has begun is completed. While
    `wait` runs they go to the child, each once: one that the terminal sent has reached the whole
    foreground process group already, the child among it. A signal that is ignored when the process
    starts (nohup, a shell's background job) stays ignored.

    Where the operating system has no `sigwaitinfo` (macOS) nobody can tell who sent a signal: there
    those that a key sends are left to the child, if keys can reach it.
    """

    def __init__(self) -> None:
        """Hold back the signals from here on."""
        self._held = {
            number
            for name in _ENDING
            if (number := getattr(signal, name, None)) is not None
            and signal.getsignal(number) != signal.SIG_IGN
        }
        # If it were ignored, as a parent may have left it, nobody would know how a child ended.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._usual_mask = set(
            signal.pthread_sigmask(signal.SIG_BLOCK, self._held | {signal.SIGCHLD})
        )
        self._passed_on: list[int] = []  # those that came while the last child was waited for
        self._early: set[int] = set()  # those that came before, or while, it was started

    def start(
        self,
        command: list[str],
        environment: Mapping[str, str] | None = None,
        *,
        keep_output: bool = False,
    ) -> Child:
        """Start `command` as `process.start` does, with the signals as they were for us."""
        child = process.start(
            command,
            environment,
            keep_output=keep_output,
            setsigmask=self._usual_mask,
            setsigdef=[getattr(signal, name) for name in process.IGNORED_BY_PYTHON],
        )
        self._early = self._waiting()
        return child

    def wait(self, child: Child, meanwhile: Callable[[], object] | None = None) -> int:
        """Wait for `child` and return its exit code, negative if a signal ended it.

        `meanwhile` is called once if the child is still at work after a tenth of a second: the
        place for what will be needed then, and would delay the answer otherwise.
        """
        self._passed_on = []
        if not hasattr(signal, "sigwaitinfo"):
            return self._wait_with_handlers(child)
        while True:
            ended, status = os.waitpid(child.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            received = self._next_signal(within=0.1 if meanwhile else None)
            if received is None and meanwhile:
                meanwhile()
                meanwhile = None
            elif received and received.si_signo != signal.SIGCHLD:
                self._passed_on.append(received.si_signo)
                if not self._has_reached_the_child(received):
                    os.kill(child.pid, received.si_signo)

    def wait_for_answer(self, child: Child) -> int:
        """Wait for `child` as `wait` does; a signal that comes meanwhile is meant for us as well.

        It goes on waiting for `interrupted`, `end_if_interrupted` and `finish`.
        """
        status = self.wait(child)
        for number in self._passed_on:
            os.kill(os.getpid(), number)
        return status

    def _next_signal(self, within: float | None) -> signal.struct_siginfo | None:
        """Wait for a held signal or the end of a child, `within` seconds or for ever."""
        signals = self._held | {signal.SIGCHLD}
        if within is None:
            return signal.sigwaitinfo(signals)
        return signal.sigtimedwait(signals, within)

    def _has_reached_the_child(self, received: signal.struct_siginfo) -> bool:
        """Say whether the kernel has sent this signal for the terminal, to the child as well."""
        if received.si_code <= 0 or received.si_signo in self._early:
            return False
        if received.si_signo == signal.SIGHUP:  # whoever leads the session hears it first, alone
            return os.getsid(0) != os.getpid()
        return received.si_signo in _KEYS

    def _wait_with_handlers(self, child: Child) -> int:
        """Wait for `child` where there is no `sigwaitinfo`, and return its exit code."""
        late = []

        def pass_on(number: int, _frame: object) -> None:
            self._passed_on.append(number)
            if number not in _KEYS or not _in_the_foreground():
                try:
                    os.kill(child.pid, number)
                except ProcessLookupError:  # it has just ended: this one is for us
                    late.append(number)

        before = {number: signal.signal(number, pass_on) for number in self._held}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._held)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, self._held)
            for number, handler in before.items():
                signal.signal(number, handler)
            for number in late:
                os.kill(os.getpid(), number)

    def _waiting(self) -> set[int]:
        """Return the held signals that wait to be heard."""
        return self._held.intersection(signal.sigpending())

    def interrupted(self) -> bool:
        """Say whether a signal that was held back is waiting to end this process."""
        return bool(self._waiting())

    def end_if_interrupted(self) -> None:
        """End this process by the signal that waits to end it, if there is one.

        To be called before anything is begun.
        """
        if waiting := self._waiting():
            raise SystemExit(self.finish(-min(waiting)))

    def release(self) -> None:
        """Let the held signals take effect, and hold none from here on."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._usual_mask)

    def finish(self, status: int) -> int:
        """Let the held signals take effect, then return the exit code for `status`.

        If `status` is negative this process dies of the same signal as the child did, so that
        a shell, make or a container engine sees what it would have seen without us.
        """
        sys.stdout.flush()  # standard error holds nothing back
        if signal.SIGINT in self._held:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.release()
        if status >= 0:
            # There is nothing to be torn down, and Python would take 1.5 ms to find that out.
            os._exit(status)
        if -status != signal.SIGKILL:  # which has no other effect anyway
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
        return 128 - status


def _in_the_foreground() -> bool:
    """Say whether the keys of a terminal send signals to this process, and so to its child."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:  # there is none
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
