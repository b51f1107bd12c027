"""Start a child process, wait for it, and pass signals on to it."""

from __future__ import annotations

import os
import sys

from uvshim.errors import CannotRunError

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping
    from typing import NoReturn
else:
    try:
        # The module signal adds enumerations to this one, whose import takes 4 ms.
        import _signal as signal
    except ImportError:
        import signal

# The signals that do not end a program by default, or that cannot be blocked. Supervisor blocks all
# others. The kernel ends a program for a fault of its own, whatever that blocks.
_NOT_ENDING = frozenset(
    "SIGCHLD SIGCONT SIGINFO SIGTSTP SIGTTIN SIGTTOU SIGURG SIGWINCH SIGKILL SIGSTOP".split()
)

# Python ignores these signals. The programs that it starts should find them unchanged.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

# The signals that a key on the terminal sends to the whole foreground process group.
_KEYS = frozenset({signal.SIGINT, signal.SIGQUIT})


class Child:
    """A program that was started: its process number, and what it wrote."""

    def __init__(self, pid: int, output: int | None) -> None:
        """`output` is the descriptor of the file that it writes to, or None."""
        self.pid = pid
        self._output = output

    def output(self) -> str:
        """Return what the ended program wrote to both streams. Call this once."""
        if self._output is None:
            return ""
        os.lseek(self._output, 0, os.SEEK_SET)
        with open(self._output, "rb") as kept:
            return os.fsdecode(kept.read())


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
        # If SIGCHLD is ignored, the exit code of a child is lost; without a handler, macOS
        # does not keep the signal until it is waited for.
        self._usual_handler = signal.signal(signal.SIGCHLD, lambda *_: None)
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
        """Start `command` (its first word is the path of the program) and return at once.

        It gets our standard streams, open files and original signal mask. With `keep_output` it
        writes to a file, which `Child.output` reads. Raise `CannotRunError`.
        """
        output = _nameless_file() if keep_output else None
        streams: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = []
        if keep_output:
            streams = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0)]
            kept = 0 if output is None else output
            streams += [(os.POSIX_SPAWN_DUP2, kept, number) for number in (1, 2)]
        try:
            pid = os.posix_spawn(
                command[0],
                command,
                os.environ if environment is None else environment,
                file_actions=streams,
                setsigmask=self._usual_mask,
                setsigdef=_IGNORED_BY_PYTHON,
            )
        except OSError as error:
            raise _cannot_run(command[0], error) from error
        self._early = self.interrupted()
        return Child(pid, output)

    def wait(self, child: Child, while_waiting: Callable[[], object] | None = None) -> int:
        """Wait for `child` and return its exit code, negative if a signal ended it.

        `while_waiting` is called once if the child runs for a tenth of a second. It may do what
        will be needed later. A failure is ignored: the child must be waited for.
        """
        self._passed_on = []
        refused: list[int] = []
        while True:
            ended, status = os.waitpid(child.pid, os.WNOHANG)
            if ended:
                for number in refused:
                    os.kill(os.getpid(), number)
                return os.waitstatus_to_exitcode(status)
            received = self._receive(0.1 if while_waiting else None)
            if received is None and while_waiting:
                try:  # noqa: SIM105
                    while_waiting()
                except Exception:  # noqa: BLE001, S110
                    pass  # it fails again when it is needed
                while_waiting = None
            elif received and received[0] != signal.SIGCHLD:
                self._passed_on.append(received[0])
                if not self._has_reached_the_child(*received):
                    try:
                        os.kill(child.pid, received[0])
                    except PermissionError:  # it is another user's, such as sudo: we end afterwards
                        refused.append(received[0])

    def _receive(self, seconds: float | None) -> tuple[int, int | None] | None:
        """Wait for a signal. Return its number and its code, or None if the `seconds` pass.

        macOS neither tells the code nor when to stop waiting.
        """
        signals = self._held | {signal.SIGCHLD}
        if not hasattr(signal, "sigwaitinfo"):
            return signal.sigwait(signals), None
        told = signal.sigtimedwait(signals, seconds) if seconds else signal.sigwaitinfo(signals)
        return told and (told.si_signo, told.si_code)

    def wait_for_answer(self, child: Child) -> int:
        """Wait for `child` as `wait` does. A signal that comes first also stays pending for us.

        `interrupted`, `end_if_interrupted` and `finish` see it.
        """
        status = self.wait(child)
        for number in self._passed_on:
            os.kill(os.getpid(), number)
        return status

    def ask(self, command: list[str]) -> str:
        """Return what `command` writes to both streams; "" if it cannot be run, or fails.

        `NO_COLOR` is set for it: what it writes is read by a program.
        """
        try:
            child = self.start(command, {**os.environ, "NO_COLOR": "1"}, keep_output=True)
        except CannotRunError:
            return ""
        return child.output() if self.wait_for_answer(child) == 0 else ""

    def _has_reached_the_child(self, number: int, code: int | None) -> bool:
        """Return True if the terminal sent this signal, so that the child has it, too."""
        if code is None:
            return number in _KEYS and _in_the_foreground()
        if code <= 0 or number in self._early:
            return False
        if number == signal.SIGHUP:  # the session's leader gets it first, alone
            return os.getsid(0) != os.getpid()
        return number in _KEYS

    def interrupted(self) -> set[int]:
        """Return the pending signals that would end this process."""
        return self._held.intersection(signal.sigpending())

    def end_if_interrupted(self) -> None:
        """End this process by the pending signal, if there is one.

        Call this before anything is started.
        """
        if pending := self.interrupted():
            raise SystemExit(self.finish(-min(pending)))

    def replace(self, command: list[str]) -> NoReturn:
        """Become `command` (its first word is the path of the program), or end by a pending signal.

        Raise `CannotRunError`.
        """
        self.end_if_interrupted()
        self.release()
        signal.signal(signal.SIGCHLD, self._usual_handler)
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execv(command[0], command)  # noqa: S606
        except OSError as error:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # this process continues, and reports it
            raise _cannot_run(command[0], error) from error

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


def _cannot_run(program: str, error: OSError) -> CannotRunError:
    return CannotRunError(f"`{program}` cannot be run: {error.strerror}")


def _nameless_file() -> int | None:
    """Return the descriptor of a new file that vanishes after a kill; None if that fails."""
    try:
        return os.memfd_create("uvshim")
    except (AttributeError, OSError):  # macOS; a kernel or a container's filter that forbids it
        import tempfile
    try:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    except OSError:
        return None


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
