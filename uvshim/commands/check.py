"""`uvshim check`: say what is broken in environments, and what breaks because of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from uvshim import config
from uvshim.check.diagnosis import diagnose
from uvshim.check.output import Examined, as_json, as_text
from uvshim.commands import images, named
from uvshim.messages import Style
from uvshim.uv import process

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from uvshim.messages import Messages

# The exit code where something is broken.
BROKEN = 1


def main(options: argparse.Namespace, _messages: Messages) -> int:
    """Diagnose every environment, and print the result to standard output."""
    excluded = config.matcher(config.excluded(process.working_directory()))
    words, references = images.apart(options.environments)
    examined = [] if references and not words else _environments(words, excluded)
    for reference in references:
        examined += images.examined(reference, excluded)
    if options.format == "json":
        sys.stdout.write(as_json(examined))
    else:
        style = Style(options.color, sys.stdout)
        for each in examined:
            if each.broken or not options.quiet:
                sys.stdout.write(as_text(each, style, everything=options.verbose > 0))
    sys.stdout.flush()
    return BROKEN if any(each.broken for each in examined) else 0


def _environments(words: list[str], excluded: Callable[[str], bool]) -> list[Examined]:
    """Return what is found out about each environment that `words` name."""
    examined = []
    for found in named.installations(words):
        for directory in found.mendable:
            os.listdir(directory)  # what cannot be looked at is no environment without faults
        diagnosis = diagnose(found.tree, found.visible, excluded=excluded)
        examined.append(Examined(found, diagnosis, excluded))
    return examined
