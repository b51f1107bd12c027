"""`uvshim check`: say what is broken in environments, and what breaks because of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from uvshim import config
from uvshim.check import report
from uvshim.check.output import as_json, as_text
from uvshim.commands import images, named
from uvshim.messages import Style
from uvshim.uv import process

if TYPE_CHECKING:
    import argparse

    from uvshim.check.report import Gate, Report
    from uvshim.messages import Messages

# The exit code where something is broken.
BROKEN = 1


def main(options: argparse.Namespace, _messages: Messages) -> int:
    """Diagnose every environment, and print the result to standard output."""
    gate = report.Gate(config.exclusions(process.working_directory()), strict=options.strict)
    words, references = images.apart(options.environments)
    reports = [] if references and not words else _environments(words, gate)
    for reference in references:
        reports += images.examined(reference, gate)
    if options.format == "json":
        sys.stdout.write(as_json(reports))
    else:
        style = Style(options.color, sys.stdout)
        for each in reports:
            if each.broken or each.diagnosis.refused or not options.quiet:
                sys.stdout.write(as_text(each, style, everything=options.verbose > 0))
    sys.stdout.flush()
    return BROKEN if any(each.broken for each in reports) else 0


def _environments(words: list[str], gate: Gate) -> list[Report]:
    """Return what is found out about each environment that `words` name."""
    reports = []
    for place in named.installations(words):
        for directory in place.mendable:
            os.listdir(directory)  # what cannot be looked at is not an environment without faults
        reports.append(report.examine(place, gate))
    return reports
