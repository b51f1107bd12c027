"""Start other programs, beside us or in our place; to wait for one is the supervisor's part."""

from __future__ import annotations

import os
import sys

from uvshim.errors import CannotRunError, UvNotFoundError

TYPE_CHECKING = False  # the name alone tells type checkers; importing `typing` costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO, Any, NoReturn

# Python ignores these for itself; the programs it starts should find them as Python found them.
IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")


def open_standard_streams() -> None:
    """Let each standard stream that was closed before us lead to nowhere. To be called first.

    The next file that is opened would be taken for that stream, by the programs we start too.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.get_inheritable(number)
        except OSError:
            # It gets the lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003
        if getattr(sys, name) is None:
            setattr(sys, name, _text(number, "w" if number else "r"))


def write(text: str) -> None:
    """Write `text` to standard output at once, as UTF-8 as uv does; do without if that fails."""
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    except OSError:
        give_up("stdout")


def give_up(name: str) -> None:
    """Write no more to the stream `name`, so that Python does not try, and fail, at its end."""
    setattr(sys, name, _text(os.open(os.devnull, os.O_WRONLY), "w"))


def _text(number: int, mode: str) -> IO[str]:
    """Return the open descriptor `number` as a stream that takes any text, as Python's own does."""
    return open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)


def leave_throwaway_environment() -> None:
    """Take the environment that uvx made for this program alone off PATH.

    uv would find it there, and install into a directory of its own cache. The one of a project
    that `uv run` has put there is also the active one, and stays.
    """
    if not os.environ.get("UV") or sys.prefix in {sys.base_prefix, os.environ.get("VIRTUAL_ENV")}:
        return
    first, _, rest = os.environ.get("PATH", "").partition(os.pathsep)
    if first == os.path.join(sys.prefix, "bin"):
        os.environ["PATH"] = rest


def find_uv() -> str:
    """Return the path of the uv to run.

    It is `$UVSHIM_UV`; else `$UV`, which uv sets for what it starts; else `uv` on PATH; else the
    one of the `uv` distribution that is installed beside this package.

    Raises `UvNotFoundError` if there is none.
    """
    if chosen := os.environ.get("UVSHIM_UV"):
        if found := on_path(chosen):
            return found
        message = f"`{chosen}`, which UVSHIM_UV names, is not a program that can be run"
        raise UvNotFoundError(message)
    if (started_by := os.environ.get("UV")) and (found := on_path(started_by)):
        return found
    if found := on_path("uv") or _installed():
        return found
    message = (
        "There is no `uv` on PATH. Install it (`pip install uv`), "
        "or name it in the environment variable UVSHIM_UV"
    )
    raise UvNotFoundError(message)


def on_path(name: str) -> str | None:
    """Return the path of the program `name`, which may itself be a path."""
    path = "" if os.path.dirname(name) else os.environ.get("PATH", os.defpath)
    for directory in path.split(os.pathsep):
        program = os.path.join(directory, name)
        if os.path.isfile(program) and os.access(program, os.X_OK):
            return program
    return None


def _installed() -> str | None:
    """Return the path of the uv that the `uv` distribution beside this package carries."""
    # Most often it is beside Python; to import the package would take a third of uv's own time.
    if beside := on_path(os.path.join(os.path.dirname(sys.executable), "uv")):
        return beside
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return None


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


def start(
    command: list[str],
    environment: Mapping[str, str] | None = None,
    *,
    keep_output: bool = False,
    **signals: Any,
) -> Child:
    """Start `command` (its first word is the path of the program) and return at once.

    It has our standard streams and open files, or with `keep_output` none but a file that
    `Child.output` reads. `signals` is what `os.posix_spawn` is told of them.

    Raises `CannotRunError` if the program cannot be started, OSError if no temporary file can be
    made for its output.
    """
    environment = os.environ if environment is None else environment
    output = _nameless_file() if keep_output else None
    try:
        streams: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = []
        if output is not None:
            streams = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ]
        pid = os.posix_spawn(command[0], command, environment, file_actions=streams, **signals)
    except OSError as error:
        raise CannotRunError(command[0], error) from error
    return Child(pid, output)


def replace(command: list[str]) -> NoReturn:
    """Become `command` (its first word is the path of the program), or raise `CannotRunError`."""
    import signal

    for name in IGNORED_BY_PYTHON:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # it is still we who have to say so
        raise CannotRunError(command[0], error) from error


def working_directory() -> str:
    """Return where we are, or an empty string if that directory no longer exists."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _nameless_file() -> int:
    """Return the descriptor of a new file that no name leads to and no kill can leave behind.

    Raises OSError if none can be made.
    """
    try:
        return os.memfd_create("uvshim")
    except (AttributeError, OSError):  # macOS; a kernel or a container's filter that forbids it
        import tempfile

        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
