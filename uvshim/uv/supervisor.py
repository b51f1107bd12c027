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

# What a terminal, a container engine or a service manager ends a program with.
_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP")


class Supervisor:
    """Holds back the signals that would end this process, and passes them on to its child.

    From its creation on SIGINT, SIGTERM and SIGHUP wait until `finish`: a rename that has begun
    is completed. While `wait` runs they go to the child, each once: one that the terminal sent
    has reached the whole foreground process group already, the child among it. A signal that is
    ignored when the process starts (nohup, a shell's background job) stays ignored.

    Where the operating system has no `sigwaitinfo` (macOS, Windows) the signals keep their usual
    effect, and a keyboard interrupt is left to the child.
    """

    def __init__(self) -> None:
        """Hold back the signals from here on."""
        self.signalled: int | None = None
        self._waits = hasattr(signal, "sigwaitinfo")
        self._held: set[int] = set()
        self._usual_mask: set[int] = set()
        if self._waits:
            self._held = {
                number
                for name in _PASSED_ON
                if signal.getsignal(number := getattr(signal, name)) != signal.SIG_IGN
            }
            # If it were ignored, as a parent may have left it, nobody would know how a child ended.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._usual_mask = set(
                signal.pthread_sigmask(signal.SIG_BLOCK, self._held | {signal.SIGCHLD})
            )

    def start(
        self,
        command: list[str],
        environment: Mapping[str, str] | None = None,
        *,
        keep_output: bool = False,
    ) -> Child:
        """Start `command` as `process.start` does, with the signals as they were for us."""
        if not hasattr(os, "posix_spawn"):
            return process.start(command, environment, keep_output=keep_output)
        return process.start(
            command,
            environment,
            keep_output=keep_output,
            setsigmask=self._usual_mask,
            setsigdef=[getattr(signal, name) for name in process.IGNORED_BY_PYTHON],
        )

    def wait(self, child: Child, meanwhile: Callable[[], object] | None = None) -> int:
        """Wait for `child` and return its exit code, negative if a signal ended it.

        `meanwhile` is called once if the child is still at work after a tenth of a second: the
        place for what will be needed then, and would delay the answer otherwise.
        """
        if not self._waits:
            return _wait_elsewhere(child.pid)
        while True:
            ended, status = os.waitpid(child.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            received = self._next_signal(within=0.1 if meanwhile else None)
            if received is None and meanwhile:
                meanwhile()
                meanwhile = None
            elif received and received.si_signo != signal.SIGCHLD:
                self.signalled = received.si_signo
                # A positive code: the kernel sent it, for a key on the terminal or for its end.
                if received.si_code <= 0:
                    os.kill(child.pid, received.si_signo)

    def _next_signal(self, within: float | None) -> signal.struct_siginfo | None:
        """Wait for a held signal or the end of a child, `within` seconds or for ever."""
        signals = self._held | {signal.SIGCHLD}
        if within is None:
            return signal.sigwaitinfo(signals)
        return signal.sigtimedwait(signals, within)

    def interrupted(self) -> bool:
        """Say whether a signal that was held back is waiting to end this process."""
        return self._waits and not self._held.isdisjoint(signal.sigpending())

    def release(self) -> None:
        """Let the held signals take effect, and hold none from here on."""
        if self._waits:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._usual_mask)

    def finish(self, status: int) -> int:
        """Let the held signals take effect, then return the exit code for `status`.

        If `status` is negative this process dies of the same signal as the child did, so that
        a shell, make or a container engine sees what it would have seen without us.
        """
        sys.stdout.flush()  # standard error holds nothing back
        if self._waits and signal.SIGINT in self._held:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.release()
        if status >= 0:
            # There is nothing to be torn down, and Python would take 1.5 ms to find that out.
            os._exit(status)
        if sys.platform != "win32":
            if -status != signal.SIGKILL:  # which has no other effect anyway
                signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        return 128 - status


def _wait_elsewhere(pid: int) -> int:
    """Wait for the process `pid` where there is no sigwaitinfo; keyboard interrupts are its own."""
    signal.signal(signal.SIGINT, lambda *_: None)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
