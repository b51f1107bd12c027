"""`uvshim check`: report problems in environments and images, and their consequences."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from uvshim import config
from uvshim.check import report, required
from uvshim.check.output import as_json, as_text
from uvshim.commands import targets
from uvshim.messages import Style
from uvshim.uv import process

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from uvshim.check.report import Gate, Report
    from uvshim.messages import Messages

# The exit code if something is broken.
BROKEN = 1


def main(options: argparse.Namespace, messages: Messages) -> int:
    """Diagnose every environment and image, and print the result to standard output."""
    exclusions = config.exclusions(process.working_directory())
    gate = report.Gate(exclusions, strict=options.strict, verify=options.verify)
    words, names = targets.apart(options)
    reports = [] if names and not words else _environments(words, gate, messages)
    if names or options.format == "html":
        return _with_images(reports, names, gate, options, messages)
    is_json = options.format == "json"
    return _end(reports, [as_json(reports)] if is_json else _texts(reports, options))


def _with_images(
    reports: list[Report],
    names: list[str],
    gate: Gate,
    options: argparse.Namespace,
    messages: Messages,
) -> int:
    """Diagnose the images called `names` as well, and print everything."""
    from uvshim.commands import images
    from uvshim.images import page

    if options.format == "html":
        page.require()  # before hours of work
    answers = images.answers(names, gate, options)
    everything = reports + images.reports(answers)
    if options.format == "json":
        text: Iterable[str] = [as_json(everything, images=images.as_json(answers))]
    elif options.format == "html":
        text = [page.as_html(answers, reports)]
    else:
        of_images = images.as_text(answers, Style(options.color, sys.stdout), options)
        text = [*_texts(reports, options), *of_images]
    status = _end(everything, text)
    return images.end(answers, messages) or status


def _end(reports: list[Report], text: Iterable[str]) -> int:
    """Print the `text` about `reports`, and return the exit code."""
    sys.stdout.writelines(text)
    sys.stdout.flush()
    return BROKEN if any(each.broken for each in reports) else 0


def _texts(reports: list[Report], options: argparse.Namespace) -> Iterator[str]:
    """Yield the text about each environment; with -q only if something is wrong."""
    style = Style(options.color, sys.stdout)
    for each in reports:
        if each.broken or not options.quiet:
            yield as_text(each, style, everything=options.verbose > 0)


def _environments(words: list[str], gate: Gate, messages: Messages) -> list[Report]:
    found = targets.environments(words, messages)
    spelled = required.Spelled(found) if len(found) > 1 else None
    return [report.examine(each, gate, spelled=spelled) for each in found]
