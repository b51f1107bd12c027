"""The part of `uvshim check` that looks into container images."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from uvshim.check import output
from uvshim.errors import UvshimError
from uvshim.images import ending, page, survey
from uvshim.messages import BOLD, GREEN, RED, counted, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from uvshim.check.report import Gate, Report
    from uvshim.images.survey import DiagnosedImage, Surveyed
    from uvshim.messages import Messages, Style


# How many more objects there have to be before Python looks for cycles among all of them: what is
# made of a layer are some hundred thousand, and none is in a cycle.
_LITTLE_GARBAGE = 100_000


def answers(names: list[str], gate: Gate, options: argparse.Namespace) -> list[Surveyed]:
    """Return what there is to say of the images called `names`, in their order.

    Raises `UvshimError` if there is no such scheduler, or the library for it is missing.
    """
    gc.set_threshold(_LITTLE_GARBAGE)
    gc.enable()  # one image after the other goes
    cache: str | None = survey.USUAL
    if options.no_cache:
        cache = None
    elif options.cache_dir is not None:
        cache = os.path.abspath(options.cache_dir)
    asked = survey.Options(gate, cache)
    if options.scheduler is not None:
        found = survey.on_cluster(names, options.scheduler, asked)
    else:
        found = survey.in_processes(names, options.jobs or _processors(), asked)
    with ending.cleanly(), contextlib.closing(found):
        shown = _with_progress(found, len(names), quiet=options.quiet > 0)
        by_name = {each.reference: each for each in shown}
    gc.freeze()  # or Python would look for cycles once more before it ends
    return [by_name[name] for name in names]


def _processors() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def _with_progress(found: Iterable[Surveyed], total: int, *, quiet: bool) -> Iterable[Surveyed]:
    """Return `found`, with a bar on standard error while it comes if a person is looking on."""
    if quiet or total == 1 or not sys.stderr.isatty():
        return found
    try:
        from tqdm import tqdm
    except ImportError:
        return found
    bar: Iterable[Surveyed] = tqdm(found, total=total, unit="image", leave=False)
    return bar


def reports(found: Iterable[Surveyed]) -> list[Report]:
    """Return what is said of each environment in all images."""
    return [report for answer in found for image in answer.images for report in image.reports]


def as_json(found: Iterable[Surveyed]) -> list[dict[str, Any]]:
    """Return an object for each image, whether it holds environments or cannot be examined."""
    listed: list[dict[str, Any]] = []
    for answer in found:
        if answer.error is not None:
            listed.append({"image": answer.reference, "error": answer.error})
        listed.extend(
            {
                "image": image.reference,
                "digest": image.digest,
                "platform": image.platform,
                "environments": len(image.reports),
                "broken": image.broken,
                "error": None,
            }
            for image in answer.images
        )
    return listed


def as_html(found: list[Surveyed]) -> str:
    """Return a page about all images. Raises `UvshimError` if the library for it is missing."""
    return page.as_html(found)


def as_text(found: list[Surveyed], style: Style, options: argparse.Namespace) -> Iterator[str]:
    """Yield what is said to people: of one image all that matters, of several a line of each."""
    images = [image for answer in found for image in answer.images]
    alone = len(found) == len(images) == 1
    for image in images:
        if alone and not image.reports and not options.quiet:
            yield f"{printable(image.reference)}: ok (no site-packages directory in it)\n"
        for report in image.reports if alone or options.verbose else ():
            if report.broken or report.diagnosis.refused or not options.quiet:
                yield output.as_text(report, style, everything=options.verbose > 0)
    if found and not alone:
        yield as_table(found, style, only_broken=options.quiet > 0)
        yield summary(found)


def end(found: Iterable[Surveyed], messages: Messages) -> int:
    """Say which images could not be examined, and return the exit code for that; 0 if none."""
    failed = [answer.error for answer in found if answer.error is not None]
    for error in failed:
        messages.error(error)
    return UvshimError.exit_code if failed else 0


def as_table(found: Iterable[Surveyed], style: Style, *, only_broken: bool) -> str:
    """Return a line for each image, for people, under a line with titles."""
    rows = [
        _row(image)
        for answer in found
        for image in answer.images
        if image.broken or not only_broken
    ]
    if not rows:
        return ""
    titles = ("image", "environments", "broken", "unresolvable", "entry points")
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = [style.paint(BOLD, _line(titles, widths))]
    for row in rows:
        color = GREEN if row[2] == "0" else RED
        lines.append(style.paint(color, _line(row, widths)))
    return "".join(f"{line}\n" for line in lines)


def _row(image: DiagnosedImage) -> tuple[str, ...]:
    platform = f" ({image.platform})" if image.platform else ""
    return (
        printable(image.reference + platform),
        str(len(image.reports)),
        str(sum(each.broken for each in image.reports)),
        str(sum(len(each.diagnosis.hidden) for each in image.reports)),
        str(sum(len(names) for _, names in page.lost(image))),
    )


def _line(row: Iterable[str], widths: list[int]) -> str:
    first, *others = (
        text.ljust(width) if number == 0 else text.rjust(width)
        for number, (text, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others])


def summary(found: list[Surveyed]) -> str:
    """Return how many images there were, and how many of them are broken or were not examined."""
    images = [image for answer in found for image in answer.images]
    failed = sum(answer.error is not None for answer in found)
    parts = [f"{sum(image.broken for image in images)} broken"]
    if failed:
        parts.append(f"{failed} not examined")
    return f"{counted(len(images) + failed, 'image')}: {', '.join(parts)}\n"
