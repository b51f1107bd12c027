"""Write `share/`: shell completion of `uvshim`, and the manual pages of both commands.

The completion is generated from the command line's parser, the manual from docs/reference.md. The
files are committed, so that building a wheel needs neither library. Completion of `uvpip` is
written by hand and calls uv's completion.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

import shtab
from markdown import Markdown

from uvshim import __version__, cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference.md"
COMPLETIONS = {
    "bash": "bash-completion/completions/uvshim",
    "fish": "fish/vendor_completions.d/uvshim.fish",
    "zsh": "zsh/site-functions/_uvshim",
}
COMPLETED = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "ENV": shtab.FILE, "ENV|IMAGE": shtab.FILE}


class Manual(NamedTuple):
    """A manual page: the command, what it does, and the page to see also."""

    command: str
    does: str
    see: str


MANUALS = [
    Manual("uvpip", "run uv pip install and keep dotted names findable by pkg_resources", "uvshim"),
    Manual("uvshim", "check and fix the dist-info names of environments and images", "uvpip"),
]
COMMANDS = [manual.command for manual in MANUALS]


def main() -> int:
    """Write the files to the directory that `--output` names."""
    parser = argparse.ArgumentParser(description="Write completion files and manual pages.")
    parser.add_argument("--output", type=Path, default=ROOT / "share", help="default: share")
    output = parser.parse_args().output
    for path, text in {**completions(), **manuals()}.items():
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        (output / path).write_text(text)
    return 0


def completions() -> dict[str, str]:
    """Return the completion files of `uvshim`, by their paths."""
    parser = cli.parser()
    for command in [parser, *_commands(parser)]:
        for action in command._actions:  # noqa: SLF001
            if action.metavar in COMPLETED:
                action.complete = COMPLETED[action.metavar]  # type: ignore[attr-defined]
    files = {path: shtab.complete(parser, shell) for shell, path in COMPLETIONS.items()}
    return {path: f"{text.strip()}\n" for path, text in files.items()}


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action.choices, dict):
            yield from action.choices.values()


def manuals() -> dict[str, str]:
    """Return the manual pages, by their paths."""
    text = re.sub(r'--8<-- "(.*)"', lambda match: _included(match[1]), REFERENCE.read_text())
    html = Markdown(extensions=["def_list", "fenced_code"]).convert(text)
    sections = re.split("(?=<h2>)", html)[1:]
    pages = {}
    for manual in MANUALS:
        its = [each for each in sections if each.startswith(f"<h2>{manual.command}")]
        lines = [
            f'.TH {manual.command.upper()} 1 "" "uvshim {__version__}" "User Commands"',
            f".SH NAME\n{manual.command} \\- {_escaped(manual.does)}",
            *(line for section in its for line in _blocks(_parsed(section))),
            f".SH SEE ALSO\n.BR {manual.see} (1)",
        ]
        pages[f"man/man1/{manual.command}.1"] = "\n".join(lines) + "\n"
    return pages


def _included(path: str) -> str:
    return (ROOT / path).read_text().rstrip()


def _parsed(html: str) -> Element:
    return ET.fromstring(f"<body>{html}</body>")  # noqa: S314  (our own page)


def _blocks(parent: Element) -> Iterator[str]:
    """Yield the lines of the blocks in `parent`, an HTML element."""
    for block in parent:
        if block.tag == "h2":
            section = _inline(block)
            yield f".SH {'DESCRIPTION' if section in COMMANDS else section.upper()}"
        elif block.tag == "h3":
            yield f".SS {_inline(block)}"
        elif block.tag == "pre":
            yield f".PP\n.RS 4\n.nf\n{_inline(block[0]).rstrip()}\n.fi\n.RE"
        elif block.tag == "dl":
            yield from (
                f".TP\n{_inline(each)}" if each.tag == "dt" else _inline(each) for each in block
            )
        elif block.tag in {"ul", "ol"}:
            yield from (f".IP \\(bu 2\n{_inline(each)}" for each in block)
        else:
            yield f".PP\n{_inline(block)}"


def _inline(element: Element) -> str:
    """Return the text of `element`, its lines as roff reads them."""
    bold, italic = ("strong", "code", "dt"), ("em",)
    text = _escaped(element.text or "")
    for part in element:
        font = "B" if part.tag in bold else "I" if part.tag in italic else ""
        inner = _inline(part)
        text += f"\\f{font}{inner}\\fR" if font else inner
        text += _escaped(part.tail or "")
    lines = text.strip("\n").split("\n")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


if __name__ == "__main__":
    sys.exit(main())
