"""The part of `uvshim check` that looks into container images."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from uvshim.errors import UvshimError
from uvshim.images import reference, survey
from uvshim.messages import BOLD, GREEN, RED, Style, counted, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from uvshim.check.report import Gate, Report
    from uvshim.images.survey import Answer, DiagnosedImage

# The exit code where an image cannot be examined.
NOT_EXAMINED = UvshimError.exit_code


def apart(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return those words that name environments, and those that name images.

    Raises `UvshimError` if a file of names cannot be read.
    """
    listed = [name for path in options.images for name in _listed(path)]
    images = [word for word in options.environments if reference.parse(word)]
    environments = [word for word in options.environments if word not in images]
    return environments, list(dict.fromkeys(images + listed))


def _listed(path: str) -> list[str]:
    """Return the names in the file at `path`: one a line, without blank lines and comments."""
    try:
        if path == "-":
            lines = sys.stdin.read().splitlines()
        else:
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"`{path}` cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UvshimError(message) from None
    return [name for line in lines if (name := line.strip()) and not name.startswith("#")]


def answers(names: list[str], gate: Gate, options: argparse.Namespace) -> list[Answer]:
    """Return what there is to say of the images called `names`, in their order.

    Raises `UvshimError` if there is no such scheduler, or the library for it is missing.
    """
    with contextlib.ExitStack() as stack:
        cache: str | None = survey.USUAL
        if options.no_cache:
            cache = stack.enter_context(_kept_for_this_run(names))
        elif options.cache_dir is not None:
            cache = os.path.abspath(options.cache_dir)
        asked = survey.Options(gate, cache)
        if options.scheduler is not None:
            found = survey.on_cluster(names, options.scheduler, asked)
        else:
            jobs = min(options.jobs or os.cpu_count() or 1, len(names))
            found = survey.in_processes(names, jobs, asked)
        shown = _with_progress(found, len(names), quiet=options.quiet > 0)
        by_name = {each.reference: each for each in shown}
    return [by_name[name] for name in names]


@contextlib.contextmanager
def _kept_for_this_run(names: list[str]) -> Iterator[str | None]:
    """Give the directory where processes tell each other what they learn, if there are several."""
    if len(names) == 1:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="uvshim-") as directory:
        yield directory


def _with_progress(found: Iterable[Answer], total: int, *, quiet: bool) -> Iterable[Answer]:
    """Return `found`, with a bar on standard error while it comes if a person is looking on."""
    if quiet or total == 1 or not sys.stderr.isatty():
        return found
    try:
        from tqdm import tqdm
    except ImportError:
        return found
    bar: Iterable[Answer] = tqdm(found, total=total, unit="image", leave=False)
    return bar


def reports(found: Iterable[Answer]) -> list[Report]:
    """Return what is said of each environment in all images."""
    return [report for answer in found for image in answer.images for report in image.reports]


def as_json(found: Iterable[Answer]) -> list[dict[str, Any]]:
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


def as_table(found: Iterable[Answer], style: Style, *, only_broken: bool) -> str:
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
    diagnoses = [each.diagnosis for each in image.reports]
    hidden = {one.name for each in diagnoses for one in each.hidden}
    entry_points = [
        one for each in diagnoses for one in each.entry_points if one.distribution in hidden
    ]
    platform = f" ({image.platform})" if image.platform else ""
    return (
        printable(image.reference + platform),
        str(len(image.reports)),
        str(sum(each.broken for each in image.reports)),
        str(sum(len(each.hidden) for each in diagnoses)),
        str(len(entry_points)),
    )


def _line(row: Iterable[str], widths: list[int]) -> str:
    first, *others = (
        text.ljust(width) if number == 0 else text.rjust(width)
        for number, (text, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others])


def summary(found: list[Answer]) -> str:
    """Return how many images there were, and how many of them are broken or were not examined."""
    images = [image for answer in found for image in answer.images]
    failed = sum(answer.error is not None for answer in found)
    parts = [f"{sum(image.broken for image in images)} broken"]
    if failed:
        parts.append(f"{failed} not examined")
    return f"{counted(len(images) + failed, 'image')}: {', '.join(parts)}\n"


def without_environments(found: Iterable[Answer]) -> Iterator[str]:
    """Yield a line for each image in which no Python has a site-packages directory."""
    for answer in found:
        for image in answer.images:
            if not image.reports:
                yield f"{printable(image.reference)}: ok (no site-packages directory in it)\n"
