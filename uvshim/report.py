"""All that is said to a person, on standard error, in the manner of uv."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # see uv.py
if TYPE_CHECKING:
    from uvshim.renormalize import Left, Renamed

_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN = "1", "2", "31", "32", "33", "36"


class Report:
    """Says what was done, in colour or not, as much as is wanted."""

    def __init__(
        self, *, color: str | None = None, quiet: bool = False, verbose: bool = False
    ) -> None:
        """Prepare; `color` is what an option asked for: `always`, `never`, `auto` or nothing."""
        self._colored = _colored(color)
        self._quiet = quiet
        self._verbose = verbose

    def error(self, message: str) -> None:
        """Say why nothing further is done. This is said in any case."""
        self._say(f"{self._in(_BOLD + ';' + _RED, 'error')}{self._in(_BOLD, ':')} {message}")

    def warning(self, message: str) -> None:
        """Say what could not be done. This is said in any case."""
        self._say(f"{self._in(_BOLD + ';' + _YELLOW, 'warning')}{self._in(_BOLD, ':')} {message}")

    def detail(self, message: str) -> None:
        """Say what is of use to somebody who looks for a fault."""
        if self._verbose:
            self._say(f"{self._in(_CYAN, 'DEBUG')} uvshim: {message}")

    def waiting(self, lock: str) -> None:
        """Say that another uv has the lock on the environment."""
        if not self._quiet:
            self._say(f"Waiting for another uv to release its lock at `{lock}`")

    def renamed(self, renamed: list[Renamed], seconds: float, done: str = "Renormalized") -> None:
        """Say which distributions were put right, and in which time."""
        if self._quiet or not renamed:
            return
        count = f"{len(renamed)} distribution" + ("s" if len(renamed) > 1 else "")
        took = self._in(_DIM, f"in {_duration(seconds)}")
        self._say(f"{self._in(_DIM, done)} {self._in(_BOLD, count)} {took}")
        for each in renamed:
            version = self._in(_DIM, f"=={each.version}")
            self._say(f" {self._in(_YELLOW, '~')} {self._in(_BOLD, each.name)}{version}")
            self.detail(f"`{each.before}` is now `{each.path}`")

    def left(self, left: list[Left], environment: str) -> None:
        """Say which directories of `environment` were left alone, why, and what to do then."""
        for each in left:
            self.warning(f"`{printable(each.path)}` was left alone: {printable(each.reason)}")
        if left:
            self.mend(environment)

    def mend(self, environment: str) -> None:
        """Say which command puts right what was left in `environment`, or says what else to do."""
        from shlex import quote  # noqa: PLC0415

        hint = f"{self._in(_BOLD + ';' + _CYAN, 'hint')}{self._in(_BOLD, ':')}"
        self._say(f"{hint} `uvshim fix {quote(environment)}` tries again")

    def _in(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colored else text

    def _say(self, line: str) -> None:
        sys.stderr.write(line + "\n")


def printable(text: str) -> str:
    """Return foreign `text` with all that could drive a terminal, or breaks a line, escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _colored(choice: str | None) -> bool:
    """Decide as uv does: its option, NO_COLOR, FORCE_COLOR, whether a terminal is there."""
    if choice in {"always", "never"}:
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE"):
        return True
    if os.environ.get("CLICOLOR") == "0" or os.environ.get("TERM") == "dumb":
        return False
    return sys.stderr.isatty()


def _duration(seconds: float) -> str:
    """Return a time as uv says it: ``4ms``, ``1.25s``."""
    return f"{seconds:.2f}s" if seconds >= 1 else f"{max(round(seconds * 1000), 1)}ms"
