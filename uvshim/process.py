"""Start other programs: one at a time, with the signals that are meant for it, or in our place."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # see uv.py
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

# What a terminal, a container engine or a service manager ends a program with.
_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP")

# Python ignores these for itself; the programs it starts should find them as Python found them.
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")


class Child:
    """A program that was started: its process number and the file its output goes to."""

    def __init__(self, pid: int, output: int | None) -> None:
        """Take over `pid`, and the file descriptor `output` if its output is kept."""
        self.pid = pid
        self._output = output

    def output(self) -> str:
        """Return what the program wrote to either stream, once it has ended. To be called once."""
        if self._output is None:
            return ""
        os.lseek(self._output, 0, os.SEEK_SET)
        with open(self._output, "rb") as kept:
            return os.fsdecode(kept.read())


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
                if signal.getsignal(number := getattr(signal, name)) is not signal.SIG_IGN
            }
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
        """Start `command` (its first word is the path of the program) and return at once.

        It has our standard streams and open files, or with `keep_output` none but a file that
        `Child.output` reads. Raises OSError if the program cannot be started.
        """
        environment = os.environ if environment is None else environment
        output = _nameless_file() if keep_output else None
        if not hasattr(os, "posix_spawn"):  # Windows
            return Child(_start_elsewhere(command, environment, output), output)
        streams: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = []
        if output is not None:
            streams = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ]
        pid = os.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=streams,
            setsigmask=self._usual_mask,
            setsigdef=[getattr(signal, name) for name in _IGNORED_BY_PYTHON],
        )
        return Child(pid, output)

    def wait(self, child: Child, meanwhile: Callable[[], object] | None = None) -> int:
        """Wait for `child` and return its exit code, negative if a signal ended it.

        `meanwhile` is called once if the child is still at work after a tenth of a second: the
        place for what will be needed then, and would delay the answer otherwise.
        """
        if not self._waits:
            return _wait_elsewhere(child.pid)
        signals = self._held | {signal.SIGCHLD}
        while True:
            if meanwhile is None:
                received = signal.sigwaitinfo(signals)
            elif (within := signal.sigtimedwait(signals, 0.1)) is not None:
                received = within
            else:
                meanwhile()
                meanwhile = None
                continue
            if received.si_signo == signal.SIGCHLD:
                ended, status = os.waitpid(child.pid, os.WNOHANG)
                if ended:
                    return os.waitstatus_to_exitcode(status)
            else:
                self.signalled = received.si_signo
                # A positive code: the kernel sent it, for a key on the terminal or for its end.
                if received.si_code <= 0:
                    os.kill(child.pid, received.si_signo)

    def interrupted(self) -> bool:
        """Say whether a signal that was held back is waiting to end this process."""
        return self._waits and not self._held.isdisjoint(signal.sigpending())

    def finish(self, status: int) -> int:
        """Let the held signals take effect, then return the exit code for `status`.

        If `status` is negative this process dies of the same signal as the child did, so that
        a shell, make or a container engine sees what it would have seen without us.
        """
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if self._waits:
            if signal.SIGINT in self._held:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._usual_mask)
        if status >= 0:
            return status
        if sys.platform != "win32":
            if -status != signal.SIGKILL:  # which has no other effect anyway
                signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        return 128 - status


def replace(command: list[str]) -> NoReturn:
    """Become `command` (its first word is the path of the program). Raises OSError if it can't."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if sys.platform == "win32":  # there, exec returns to the shell while the program still runs
        import subprocess  # noqa: PLC0415

        raise SystemExit(subprocess.call(command))
    for name in _IGNORED_BY_PYTHON:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606


def working_directory() -> str:
    """Return where we are, or an empty string if that directory is no more."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _nameless_file() -> int:
    """Return the descriptor of a new file that no name leads to and no kill can leave behind."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("uvshim")
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _start_elsewhere(command: list[str], environment: Mapping[str, str], output: int | None) -> int:
    """Start `command` where there is no posix_spawn, and return its process number."""
    import subprocess  # noqa: PLC0415

    stdin = None if output is None else subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdin=stdin, stdout=output, stderr=output).pid


def _wait_elsewhere(pid: int) -> int:
    """Wait for the process `pid` where there is no sigwaitinfo; keyboard interrupts are its own."""
    signal.signal(signal.SIGINT, lambda *_: None)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
