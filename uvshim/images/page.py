"""A page in HTML about many images, to hand on: one file that needs nothing from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvshim import __version__
from uvshim.errors import UvshimError
from uvshim.messages import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uvshim.images.survey import DiagnosedImage, Surveyed

_SCRIPTS = ("console_scripts", "gui_scripts")


def as_html(answers: Sequence[Surveyed]) -> str:
    """Return the page about `answers`.

    Whatever stands in an image is escaped. Raises `UvshimError` if the library for it is missing.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        message = "To write HTML takes a library: uv pip install 'uvshim[images]'"
        raise UvshimError(message) from None
    from importlib import resources

    template = resources.files("uvshim.images").joinpath("page.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters.update(printable=printable, lost=lost)
    images = [image for answer in answers for image in answer.images]
    return environment.from_string(template).render(
        images=images,
        failed=[answer for answer in answers if answer.error is not None],
        broken=sum(image.broken for image in images),
        version=__version__,
    )


def lost(image: DiagnosedImage) -> list[tuple[str, list[str]]]:
    """Return what a plugin loader may drop of `image`: groups of entry points, scripts last."""
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
