"""A self-contained HTML page about images and environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvshim import __version__
from uvshim.errors import UvshimError
from uvshim.messages import counted, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uvshim.check.report import Report
    from uvshim.images.survey import DiagnosedImage, Surveyed

_SCRIPTS = ("console_scripts", "gui_scripts")


def as_html(answers: Sequence[Surveyed], environments: Sequence[Report] = ()) -> str:
    """Return the page about `answers` and about `environments` on disk.

    All text from images is escaped. Raise `UvshimError` if the library for it is missing.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        message = "--format html needs a library: uv pip install 'uvshim[images]'"
        raise UvshimError(message) from None
    from importlib import resources

    template = resources.files("uvshim.images").joinpath("page.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters.update(printable=lambda text: printable(text or ""), lost=lost)
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


def lost(image: DiagnosedImage) -> list[tuple[str, list[str]]]:
    """Return the entry points of `image` that a plugin loader may miss, by group, scripts last."""
    groups: dict[str, set[str]] = {}
    for report in image.reports:
        hidden = {one.name for one in report.diagnosis.hidden}
        for entry in report.diagnosis.entry_points:
            if entry.distribution in hidden:
                groups.setdefault(entry.group, set()).add(entry.name)
    return [
        (group, sorted(names))
        for group, names in sorted(groups.items(), key=lambda item: (item[0] in _SCRIPTS, item[0]))
    ]
