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


def main(options: argparse.Namespace, messages: Messages) -> int:
    """Diagnose every environment and image, and print the result to standard output."""
    exclusions = config.exclusions(process.working_directory())
    gate = report.Gate(exclusions, strict=options.strict, verify=options.verify)
    words, names = images.apart(options)
    reports = [] if names and not words else _environments(words, gate, messages)
    answers = images.answers(names, gate, options) if names else []
    everything = reports + images.reports(answers)
    if options.format == "json":
        more = {"images": images.as_json(answers)} if names else {}
        sys.stdout.write(as_json(everything, **more))
    elif options.format == "html":
        sys.stdout.write(images.as_html(answers))
    else:
        style = Style(options.color, sys.stdout)
        for each in reports:
            if each.broken or each.diagnosis.refused or not options.quiet:
                sys.stdout.write(as_text(each, style, everything=options.verbose > 0))
        sys.stdout.writelines(images.as_text(answers, style, options))
    sys.stdout.flush()
    return images.end(answers, messages) or (BROKEN if any(r.broken for r in everything) else 0)


def _environments(words: list[str], gate: Gate, messages: Messages) -> list[Report]:
    """Return what is found out about each environment that `words` name."""
    reports = []
    for place in named.installations(words, messages):
        for directory in place.mendable:
            os.listdir(directory)  # what cannot be looked at is not an environment without faults
        reports.append(report.examine(place, gate))
    return reports
