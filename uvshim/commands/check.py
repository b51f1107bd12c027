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
    gate = report.Gate(config.exclusions(process.working_directory()), strict=options.strict)
    words, names = images.apart(options)
    reports = [] if names and not words else _environments(words, gate)
    answers = images.answers(names, gate, options) if names else []
    reports += images.reports(answers)
    if options.format == "json":
        more = {"images": images.as_json(answers)} if names else {}
        sys.stdout.write(as_json(reports, **more))
    else:
        style = Style(options.color, sys.stdout)
        for each in reports:
            if len(names) > 1 and each.image is not None and not options.verbose:
                continue  # the table says it
            if each.broken or each.diagnosis.refused or not options.quiet:
                sys.stdout.write(as_text(each, style, everything=options.verbose > 0))
        if len(names) > 1:
            sys.stdout.write(images.as_table(answers, style, only_broken=options.quiet > 0))
            sys.stdout.write(images.summary(answers))
        else:
            sys.stdout.writelines(images.without_environments(answers))
    sys.stdout.flush()
    for answer in answers:
        if answer.error is not None:
            messages.error(answer.error)
    if any(answer.error is not None for answer in answers):
        return images.NOT_EXAMINED
    return BROKEN if any(each.broken for each in reports) else 0


def _environments(words: list[str], gate: Gate) -> list[Report]:
    """Return what is found out about each environment that `words` name."""
    reports = []
    for place in named.installations(words):
        for directory in place.mendable:
            os.listdir(directory)  # what cannot be looked at is not an environment without faults
        reports.append(report.examine(place, gate))
    return reports
