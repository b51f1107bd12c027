"""Wait for a child process, and pass signals on to it."""

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

# The signals that do not end a program by default, that cannot be blocked, or
# that the kernel sends because of a fault in the program itself. Supervisor blocks all others.
_NOT_ENDING = frozenset(
    """
    SIGCHLD SIGCONT SIGINFO SIGTSTP SIGTTIN SIGTTOU SIGURG SIGWINCH
    SIGKILL SIGSTOP
    SIGBUS SIGEMT SIGFPE SIGILL SIGSEGV SIGTRAP
    """.split()
)

# The signals that a key on the terminal sends to the whole foreground process group.
_KEYS = frozenset({signal.SIGINT, signal.SIGQUIT})


class Supervisor:
    """Blocks the signals that would end this process, and passes them on to its child.

    From its creation until `finish` they stay pending, so a rename is completed. While `wait`
    runs, the child gets each of them once: a signal from the terminal has already reached the whole
    foreground process group, including the child. A signal that is ignored when the process starts
    (nohup, a shell's background job) stays ignored.

    Without `sigwaitinfo` (macOS) the sender of a signal is unknown. There, signals from
    the terminal are not passed on if the child gets them anyway.
    """

    def __init__(self) -> None:
        """Block the signals."""
        self._held = {
            int(number)
            for number in signal.valid_signals()
            if signal.getsignal(number) != signal.SIG_IGN
        } - {int(number) for name in _NOT_ENDING if (number := getattr(signal, name, None))}
        # If a parent has ignored SIGCHLD, the exit code of a child would be lost.
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
        """Start `command` as `process.start` does, with our original signal mask."""
        child = process.start(
            command,
            environment,
            keep_output=keep_output,
            setsigmask=self._usual_mask,
            setsigdef=[getattr(signal, name) for name in process.IGNORED_BY_PYTHON],
        )
        self._early = self._waiting()
        return child

    def wait(self, child: Child, while_waiting: Callable[[], object] | None = None) -> int:
        """Wait for `child` and return its exit code, negative if a signal ended it.

        `while_waiting` is called once if the child runs for a tenth of a second. It may do what
        will be needed later. A failure is ignored: the child must be waited for.
        """
        self._passed_on = []
        if not hasattr(signal, "sigwaitinfo"):
            return self._wait_with_handlers(child)
        while True:
            ended, status = os.waitpid(child.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            signals = self._held | {signal.SIGCHLD}
            received = (
                signal.sigtimedwait(signals, 0.1) if while_waiting else signal.sigwaitinfo(signals)
            )
            if received is None and while_waiting:
                try:  # noqa: SIM105
                    while_waiting()
                except Exception:  # noqa: BLE001, S110
                    pass  # it fails again when it is needed
                while_waiting = None
            elif received and received.si_signo != signal.SIGCHLD:
                self._passed_on.append(received.si_signo)
                if not self._has_reached_the_child(received):
                    os.kill(child.pid, received.si_signo)

    def wait_for_answer(self, child: Child) -> int:
        """Wait for `child` as `wait` does. A signal that comes first also stays pending for us.

        `interrupted`, `end_if_interrupted` and `finish` see it.
        """
        status = self.wait(child)
        for number in self._passed_on:
            os.kill(os.getpid(), number)
        return status

    def _has_reached_the_child(self, received: signal.struct_siginfo) -> bool:
        """Return True if the terminal sent this signal, so that the child has it, too."""
        if received.si_code <= 0 or received.si_signo in self._early:
            return False
        if received.si_signo == signal.SIGHUP:  # the session's leader gets it first, alone
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
                except ProcessLookupError:  # it has just ended: this signal is for us
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
        """Return the blocked signals that are pending."""
        return self._held.intersection(signal.sigpending())

    def interrupted(self) -> bool:
        """Return True if a signal that would end this process is pending."""
        return bool(self._waiting())

    def end_if_interrupted(self) -> None:
        """End this process by the pending signal, if there is one.

        Call this before anything is started.
        """
        if waiting := self._waiting():
            raise SystemExit(self.finish(-min(waiting)))

    def release(self) -> None:
        """Unblock the signals, so that pending ones take effect."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._usual_mask)

    def finish(self, status: int) -> int:
        """Unblock the signals, then return the exit code for `status`.

        If `status` is negative, this process ends by the same signal as the child: a shell,
        make or a container engine sees the same as without uvshim.
        """
        sys.stdout.flush()  # standard error is not buffered
        if signal.SIGINT in self._held:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.release()
        if status >= 0:
            # Nothing needs to be cleaned up, and Python would take 1.5 ms to find that out.
            os._exit(status)
        if -status != signal.SIGKILL:  # SIGKILL and SIGSTOP cannot be handled
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
        return 128 - status


def _in_the_foreground() -> bool:
    """Return True if this process and its child get signals from a terminal's keys."""
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
