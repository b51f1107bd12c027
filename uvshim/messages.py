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
    """Colours and weights for the text on one stream, if it is coloured."""

    def __init__(self, choice: str | None, stream: TextIO) -> None:
        """Decide for `stream`; `choice` is `always`, `never`, `auto` or None (as `auto`)."""
        self._colored = _colored(choice, stream)

    def paint(self, code: str, text: str) -> str:
        """Return `text` with the graphic rendition `code` (ECMA-48)."""
        return f"\033[{code}m{text}\033[0m" if self._colored else text

    def label(self, color: str, word: str) -> str:
        """Return the coloured label of a line, such as ``error:``."""
        return f"{self.paint(BOLD + ';' + color, word)}{self.paint(BOLD, ':')}"


class Messages:
    """Prints messages, coloured and as detailed as the options say."""

    def __init__(
        self, *, color: str | None = None, quiet: bool = False, verbose: bool = False
    ) -> None:
        """`color` is the option's value: `always`, `never`, `auto` or None."""
        self._style = Style(color, sys.stderr)
        self._quiet = quiet
        self._verbose = verbose

    def error(self, message: str) -> None:
        """Print an error, also with -q."""
        self._say(f"{self._style.label(RED, 'error')} {message}")

    def warning(self, message: str) -> None:
        """Print a warning, also with -q."""
        self._say(f"{self._style.label(YELLOW, 'warning')} {message}")

    def detail(self, message: str) -> None:
        """Print details with -v."""
        if self._verbose:
            self._say(f"{self._style.paint(CYAN, 'DEBUG')} uvshim: {printable(message)}")

    def note(self, message: str) -> None:
        """Print `message`, but not with -q."""
        if not self._quiet:
            self._say(message)

    def waiting(self, lock: str) -> None:
        """Print that another uv has the lock on the environment."""
        self.note(f"Waiting for another uv to release its lock at `{printable(lock)}`")

    def os_error(self, error: OSError, where: str = "") -> None:
        """Print an `error` of the operating system; `where` is used if it names no file."""
        if error.filename is not None:
            where = f"`{printable(str(error.filename))}`"
        self.error(f"{where}: {error.strerror}" if where else str(error.strerror))

    def failure(self, error: Exception) -> int:
        """Print the `error` that ended the command, and return its exit code."""
        if isinstance(error, UvshimError):
            self.error(str(error))
            return error.exit_code
        if isinstance(error, OSError):
            self.os_error(error)
            return UvshimError.exit_code
        return report_bug(error, verbose=self._verbose)

    def outcome(self, outcome: Outcome, done: str = "Renormalized") -> None:
        """Print which distributions were renamed, how long it took, and which were skipped."""
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
        """Suggest the command that tries the skipped renames in `environment` again."""
        self.hint(f"`uvshim fix {quoted(environment)}` tries again, or names what helps")

    def suggest_first_fix(self, environment: str, name: str) -> None:
        """Suggest the command that renames what is older in `environment`, but not with -q."""
        if not self._quiet:
            command = f"uvshim fix {quoted(environment)}"
            self.hint(f"`{command}` renames what was installed earlier, such as {printable(name)}")

    def hint(self, message: str) -> None:
        """Print a hint."""
        self._say(f"{self._style.label(CYAN, 'hint')} {message}")

    def _say(self, line: str) -> None:
        try:
            sys.stderr.write(line + "\n")
        except OSError:  # the reader is gone, such as `head`; the result must not depend on it
            process.give_up("stderr")


def printable(text: str) -> str:
    """Return foreign `text` with control characters and line breaks escaped."""
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
    """Return a count with its noun, such as ``2 distributions``."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"


def _colored(choice: str | None, stream: TextIO) -> bool:
    """Decide as uv does: by option, NO_COLOR, FORCE_COLOR, and whether `stream` is a terminal."""
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
    return f"{seconds:.2f}s" if seconds >= 1 else f"{max(round(seconds * 1000), 1)}ms"
