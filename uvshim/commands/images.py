"""The part of `uvshim check` that examines container images."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from uvshim.check import output
from uvshim.errors import UvshimError
from uvshim.images import blob, ending, page, survey
from uvshim.images.store import Cache
from uvshim.images.survey import Absent
from uvshim.messages import BOLD, GREEN, RED, counted, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from uvshim.check.report import Gate, Report
    from uvshim.images.survey import DiagnosedImage, Surveyed
    from uvshim.messages import Messages, Style


# The threshold of garbage collection: a layer has 100,000 objects and no cycle.
_LITTLE_GARBAGE = 100_000


def answers(names: list[str], gate: Gate, options: argparse.Namespace) -> list[Surveyed]:
    """Return the answers for the images called `names`, in their order.

    Raise `UvshimError` if the cache directory is not uvshim's, the scheduler does not answer, or
    the library for it is missing.
    """
    gc.set_threshold(_LITTLE_GARBAGE)
    gc.enable()  # images are examined one at a time
    kept: str | None = survey.USUAL
    if options.no_cache:
        kept = None
    elif options.cache_dir is not None:
        kept = os.path.abspath(options.cache_dir)
        Cache(kept)
    asked = survey.Options(gate, kept, platform=options.platform)
    if options.scheduler is not None:
        found = survey.on_cluster(names, options.scheduler, asked)
    else:
        found = survey.in_processes(names, options.jobs or _processors(), asked)
    with ending.cleanly(), contextlib.closing(found):
        shown = _with_progress(found, len(names), quiet=options.quiet > 0)
        by_name = {each.reference: each for each in shown}
    gc.freeze()  # or Python would look for cycles again before it ends
    return [by_name[name] for name in names]


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def _with_progress(found: Iterable[Surveyed], total: int, *, quiet: bool) -> Iterable[Surveyed]:
    """Yield `found`, with a progress bar on standard error if that is a terminal.

    For several images it shows how many are done, for one how much has been read.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        yield from found
        return
    off = quiet or not sys.stderr.isatty()
    columns, rows = shutil.get_terminal_size()  # not 0, which some terminals say of themselves
    look: dict[str, Any] = {"leave": False, "disable": off, "ncols": columns, "nrows": rows}
    if total > 1:
        yield from tqdm(found, total=total, unit="image", **look)
        return
    with tqdm(unit="B", unit_scale=True, desc="reading", mininterval=0.05, **look) as bar:
        blob.on_read = bar.update
        yield from found


def reports(found: Iterable[Surveyed]) -> list[Report]:
    """Return the reports of all environments in all images."""
    return [report for answer in found for image in answer.images for report in image.reports]


def as_json(found: Iterable[Surveyed]) -> list[dict[str, Any]]:
    """Return an object for each image, whether it has environments or cannot be examined."""
    listed: list[dict[str, Any]] = []
    for answer in found:
        if answer.error is not None:
            failed = Absent(answer.reference, None, None)
            listed.append({**_as_json(failed, ()), "error": answer.error})
        listed.extend(_as_json(one, one.reports) for one in answer.images)
        listed.extend({**_as_json(one, ()), "absent": True} for one in answer.absent)
    return listed


def _as_json(one: DiagnosedImage | Absent, found: Sequence[Report]) -> dict[str, Any]:
    return {
        "image": one.reference,
        "digest": one.digest,
        "platform": one.platform,
        "environments": len(found),
        "broken": any(each.broken for each in found),
        "absent": False,
        "error": None,
    }


def as_text(found: list[Surveyed], style: Style, options: argparse.Namespace) -> Iterator[str]:
    """Yield the text for people: details of a single image, or one line for each image."""
    images = [image for answer in found for image in answer.images]
    alone = len(found) == len(images) == 1
    for image in images:
        if alone and not image.reports and not options.quiet:
            yield f"{printable(image.reference)}: no Python packages in it\n"
        for report in image.reports if alone or options.verbose else ():
            if report.broken or report.diagnosis.refused or not options.quiet:
                yield output.as_text(report, style, everything=options.verbose > 0)
    if found and not alone:
        yield from _table([each for each in images if each.broken or not options.quiet], style)
        failed = sum(answer.error is not None for answer in found)
        broken = f"{sum(image.broken for image in images)} broken"
        unknown = f", {failed} not examined" if failed else ""
        yield f"{counted(len(images) + failed, 'image')}: {broken}{unknown}\n"


def end(found: list[Surveyed], messages: Messages) -> int:
    """Report the images that could not be examined. Return 0 if all could be, else 2."""
    for answer in found:
        for one in answer.absent:
            name = f"`{printable(one.reference)}` for {one.platform or one.digest}"
            messages.note(f"{name} was not examined: its files are missing")
    failed = [answer.error for answer in found if answer.error is not None]
    for error in failed:
        messages.error(error)
    return UvshimError.exit_code if failed else 0


def _table(images: list[DiagnosedImage], style: Style) -> Iterator[str]:
    """Yield the lines of a table of `images`; without images, nothing."""
    if not images:
        return
    titles = ("image", "environments", "broken", "unresolvable", "entry points")
    rows = [titles, *map(_row, images)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for image, row in zip([None, *images], rows, strict=True):
        cells = [text.rjust(width) for text, width in zip(row, widths, strict=True)]
        line = "  ".join([row[0].ljust(widths[0]), *cells[1:]])
        if image is None:
            line = style.paint(BOLD, line)
        elif image.reports:
            line = style.paint(RED if image.broken else GREEN, line)
        yield f"{line}\n"


def _row(image: DiagnosedImage) -> tuple[str, ...]:
    platform = f" ({image.platform})" if image.platform else ""
    return (
        printable(image.reference + platform),
        str(len(image.reports)),
        str(sum(each.broken for each in image.reports)),
        str(sum(len(each.diagnosis.hidden) for each in image.reports)),
        str(page.lost(image)),
    )
