"""Streams and environment variables of this process, and the programs that it finds."""

from __future__ import annotations

import os
import sys

from uvshim.errors import CannotRunError, UvLoopError, UvNotFoundError

TYPE_CHECKING = False  # type checkers know this name; importing `typing` costs 8 ms
if TYPE_CHECKING:
    from typing import IO

# The path of the uv that answers where it installs, set for that uv. If it runs uvpip, and that
# uvpip would run the same uv again, this would never end.
ASKED = "UVSHIM_ASKED"

# The directories of uv's cache that hold environments (each name ends in a format number).
_CACHED_ENVIRONMENTS = ("archive-v", "builds-v", "environments-v")


def open_standard_streams() -> None:
    """Open /dev/null on every closed standard stream. Call this first.

    Otherwise the next file that is opened would become that stream, also in child processes.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.get_inheritable(number)
        except OSError:
            # A new file gets the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003
        if getattr(sys, name) is None:
            setattr(sys, name, _text(number, "w" if number else "r"))


def write(text: str) -> None:
    """Write `text` to standard output at once, as UTF-8 like uv; ignore a failure."""
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    except OSError:
        give_up("stdout")


def give_up(name: str) -> None:
    """Replace the stream `name`, so that Python does not fail to flush it at exit."""
    setattr(sys, name, _text(os.open(os.devnull, os.O_WRONLY), "w"))


def _text(number: int, mode: str) -> IO[str]:
    """Return a text stream on the open descriptor `number` that can write any text."""
    return open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)


def restore_environment() -> None:
    """Remove environment variables that others have set for this program alone."""
    _restore_locale()
    _leave_throwaway_environment()


def _restore_locale() -> None:
    """Remove the LC_CTYPE that Python has set for itself (PEP 538), so that uv does not get it."""
    if os.environ.get("LC_CTYPE") in {"C.UTF-8", "C.utf8", "UTF-8"}:
        try:
            with open("/proc/self/environ", "rb") as given:
                if b"\0LC_CTYPE=" not in b"\0" + given.read():
                    del os.environ["LC_CTYPE"]
        except OSError:  # macOS, where such a locale is usual
            return


def _leave_throwaway_environment() -> None:
    """Remove the environment that uvx made for this program from PATH.

    uv would find it there and install into it. The environment of a project, which `uv run` also
    puts first on PATH, is the active one and stays.
    """
    if not os.environ.get("UV") or sys.prefix in {sys.base_prefix, os.environ.get("VIRTUAL_ENV")}:
        return
    bucket = os.path.dirname(os.path.realpath(sys.prefix))
    is_cached = os.path.basename(bucket).startswith(_CACHED_ENVIRONMENTS) and os.path.isfile(
        os.path.join(os.path.dirname(bucket), "CACHEDIR.TAG")
    )
    is_tool = os.path.isfile(os.path.join(sys.prefix, "uv-receipt.toml"))
    first, _, rest = os.environ.get("PATH", "").partition(os.pathsep)
    if first == os.path.join(sys.prefix, "bin") and (is_cached or is_tool):
        os.environ["PATH"] = rest


def find_uv() -> str:
    """Return the path of the uv to run.

    It is `$UVSHIM_UV`; else `$UV`, which uv sets for its children; else `uv` on PATH; else that
    of the `uv` distribution installed beside this package.

    Raise `UvNotFoundError` if there is none, `CannotRunError` if UVSHIM_UV names another file, and
    `UvLoopError` if that uv runs uvpip, and so this program.
    """
    chosen, started_by = os.environ.get("UVSHIM_UV"), os.environ.get("UV")
    if chosen:
        found = on_path(chosen)
    else:
        found = (started_by and on_path(started_by)) or on_path("uv") or _installed()
    if not found and chosen:
        message = f"`{chosen}`, which UVSHIM_UV names, is not a program that can be run"
        raise CannotRunError(message) if os.path.exists(chosen) else UvNotFoundError(message)
    if not found:
        raise UvNotFoundError(
            "There is no `uv` on PATH. Install it (`pip install uv`), "
            "or name it in the environment variable UVSHIM_UV"
        )
    asked = os.environ.get(ASKED)
    if asked and os.path.realpath(asked) == os.path.realpath(found):
        raise UvLoopError(found)
    return found


def is_script(program: str) -> bool:
    """Return True if the file `program` begins with ``#!``."""
    try:
        with open(program, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def on_path(name: str) -> str | None:
    """Return the path of the program `name`, which may itself be a path."""
    path = "" if os.path.dirname(name) else os.environ.get("PATH", os.defpath)
    for directory in path.split(os.pathsep):
        program = os.path.join(directory, name)
        if os.path.isfile(program) and os.access(program, os.X_OK):
            return program
    return None


def _installed() -> str | None:
    """Return the path of the uv in the `uv` distribution that is installed beside this package."""
    # It is usually beside Python; importing the package takes a third of uv's own time.
    if beside := on_path(os.path.join(os.path.dirname(sys.executable), "uv")):
        return beside
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        return None


def working_directory() -> str:
    """Return the working directory, or "" if it no longer exists."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
