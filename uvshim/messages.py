"""Every message for a person: on standard error, in uv's style."""

from __future__ import annotations

import os
import sys

from uvshim.errors import UvshimError, report_bug
from uvshim.uv import process

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from typing import TextIO

    from uvshim.rename.on_disk import Outcome

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"


class Style:
    """Colours and weights for what goes to one stream, or none of them."""

    def __init__(self, choice: str | None, stream: TextIO) -> None:
        """Decide for `stream`; `choice` is `always`, `never`, `auto`, or None if nobody chose."""
        self._colored = _colored(choice, stream)

    def paint(self, code: str, text: str) -> str:
        """Return `text` in the look that `code` stands for (ECMA-48, select graphic rendition)."""
        return f"\033[{code}m{text}\033[0m" if self._colored else text

    def label(self, color: str, word: str) -> str:
        """Return what a line such as ``error: …`` begins with."""
        return f"{self.paint(BOLD + ';' + color, word)}{self.paint(BOLD, ':')}"


class Messages:
    """Says what was done, in colour or not, as much as is wanted."""

    def __init__(
        self, *, color: str | None = None, quiet: bool = False, verbose: bool = False
    ) -> None:
        """Prepare; `color` is what an option asked for: `always`, `never`, `auto` or nothing."""
        self._style = Style(color, sys.stderr)
        self._quiet = quiet
        self._verbose = verbose

    def error(self, message: str) -> None:
        """Say why nothing further is done. This is said in any case."""
        self._say(f"{self._style.label(RED, 'error')} {message}")

    def warning(self, message: str) -> None:
        """Say what could not be done. This is said in any case."""
        self._say(f"{self._style.label(YELLOW, 'warning')} {message}")

    def detail(self, message: str) -> None:
        """Say what helps to find a fault."""
        if self._verbose:
            self._say(f"{self._style.paint(CYAN, 'DEBUG')} uvshim: {printable(message)}")

    def note(self, message: str) -> None:
        """Say what is worth knowing although nothing was done about it."""
        if not self._quiet:
            self._say(message)

    def waiting(self, lock: str) -> None:
        """Say that another uv has the lock on the environment."""
        self.note(f"Waiting for another uv to release its lock at `{printable(lock)}`")

    def os_error(self, error: OSError, where: str = "") -> None:
        """Say what the operating system refused; `where`, if the error names no file."""
        if error.filename is not None:
            where = f"`{printable(str(error.filename))}`"
        self.error(f"{where}: {error.strerror}" if where else str(error.strerror))

    def failure(self, error: Exception) -> int:
        """Say which `error` ended what was to be done, and return the exit code for it."""
        if isinstance(error, UvshimError):
            self.error(str(error))
            return error.exit_code
        if isinstance(error, OSError):
            self.os_error(error)
            return UvshimError.exit_code
        return report_bug(error, verbose=self._verbose)

    def outcome(self, outcome: Outcome, done: str = "Renormalized") -> None:
        """Say which distributions were renamed, in which time, and which were left alone."""
        if outcome.renamed and not self._quiet:
            count = self._style.paint(BOLD, counted(len(outcome.renamed), "distribution"))
            took = self._style.paint(DIM, f"in {_duration(outcome.seconds)}")
            self._say(f"{self._style.paint(DIM, done)} {count} {took}")
            for each in outcome.renamed:
                name = self._style.paint(BOLD, each.name)
                version = self._style.paint(DIM, f"=={each.version}")
                self._say(f" {self._style.paint(YELLOW, '~')} {name}{version}")
                self.detail(f"`{printable(each.before)}` is now `{printable(each.path)}`")
        for left in outcome.left_alone:
            self.warning(f"`{printable(left.path)}` was left alone: {printable(left.reason)}")

    def suggest_fix(self, environment: str) -> None:
        """Say which command renames what was left in `environment`, or says what else to do."""
        self.hint(f"`uvshim fix {quoted(environment)}` tries again")

    def suggest_first_fix(self, environment: str, name: str) -> None:
        """Name the command that renames what is in `environment` already, such as `name`."""
        command = f"uvshim fix {quoted(environment)}"
        self.hint(f"`{command}` renames what was installed earlier, such as {printable(name)}")

    def similar_subcommand(self, word: str, subcommand: str) -> None:
        """Say that `word` is a package here, although it looks like a `subcommand`."""
        taken = f"`{printable(word)}` is treated as a package"
        self.hint(f"{taken}; a similar subcommand exists: `{subcommand}`")

    def hint(self, message: str) -> None:
        """Say what can be done."""
        self._say(f"{self._style.label(CYAN, 'hint')} {message}")

    def _say(self, line: str) -> None:
        try:
            sys.stderr.write(line + "\n")
        except OSError:  # nobody reads it, such as `head` that has seen enough: what is done counts
            process.give_up("stderr")


def printable(text: str) -> str:
    """Return foreign `text` with all that could drive a terminal, or breaks a line, escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def quoted(text: str) -> str:
    r"""Return `text` as a person may paste it into a shell.

    What cannot be printed is written as in ``$'\x1b'``, which bash, zsh and busybox's shell read.
    """
    if text.isprintable():
        from shlex import quote

        return quote(text)
    plain = (c if c.isprintable() and c not in "\\'" else _escaped(c) for c in text)
    return f"$'{''.join(plain)}'"


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def counted(number: int, noun: str, several: str = "") -> str:
    """Return how many there are of something, such as ``2 distributions``."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"


def _colored(choice: str | None, stream: TextIO) -> bool:
    """Decide as uv does: its option, NO_COLOR, FORCE_COLOR, whether a terminal is there."""
    if choice in {"always", "never"}:
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE"):
        return True
    if os.environ.get("CLICOLOR") == "0" or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def _duration(seconds: float) -> str:
    """Return a time as uv says it: ``4ms``, ``1.25s``."""
    return f"{seconds:.2f}s" if seconds >= 1 else f"{max(round(seconds * 1000), 1)}ms"
