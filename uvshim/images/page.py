"""A self-contained HTML page about images and environments."""

from __future__ import annotations

import functools
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from uvshim import __version__
from uvshim.check import output, remedies
from uvshim.errors import UvshimError
from uvshim.messages import Style, counted, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uvshim.check.report import Report
    from uvshim.images.survey import DiagnosedImage, Surveyed


def require() -> None:
    """Raise `UvshimError` if the library for a page is missing."""
    if find_spec("jinja2") is None:
        raise UvshimError("--format html needs jinja2, a library of the extra uvshim[images]")


def as_html(answers: Sequence[Surveyed], environments: Sequence[Report] = ()) -> str:
    """Return the page about `answers` and about `environments` on disk.

    All text from images is escaped. `require` says whether that works.
    """
    from importlib import resources

    from jinja2 import Environment, StrictUndefined

    template = resources.files("uvshim.images").joinpath("page.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    plain = Style("never", sys.stdout)
    environment.filters.update(
        printable=lambda text: printable(text or ""),
        lost=lost,
        heading=functools.partial(output.heading, style=plain),
        sections=functools.partial(output.sections, style=plain),
        notes=functools.partial(output.notes, style=plain),
        remedies=remedies.remedies,
    )
    images = [image for answer in answers for image in answer.images]
    counts = [
        f"{sum(one.broken for one in found)} of {counted(len(found), noun)} broken"
        for found, noun in ((images, "image"), (environments, "environment"))
        if found or (noun == "image" and not environments)
    ]
    return environment.from_string(template).render(
        title=", ".join(counts),
        images=images,
        environments=environments,
        failed=[answer for answer in answers if answer.error is not None],
        absent=[one for answer in answers for one in answer.absent],
        version=__version__,
    )


def lost(image: DiagnosedImage) -> int:
    """Return how many entry points of `image` a plugin loader may miss."""
    found: set[tuple[str, str]] = set()
    for report in image.reports:
        hidden = {one.name for one in report.diagnosis.hidden}
        entries = report.diagnosis.entry_points
        found.update((one.group, one.name) for one in entries if one.distribution in hidden)
    return len(found)
