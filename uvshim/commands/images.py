"""The part of `uvshim check` that looks into container images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvshim.images import reference, survey

if TYPE_CHECKING:
    from uvshim.check.report import Gate, Report
    from uvshim.images.reference import Reference


def apart(words: list[str]) -> tuple[list[str], list[Reference]]:
    """Return those of `words` that name environments, and those that name images."""
    references = {word: reference.parse(word) for word in words}
    return (
        [word for word in words if references[word] is None],
        [found for found in references.values() if found is not None],
    )


def examined(named: Reference, gate: Gate) -> list[Report]:
    """Return what is found out about each environment in the images that are `named`.

    Raises `ImageError`.
    """
    with reference.opened(named) as images:
        return [found for image in images for found in survey.examine(image, gate)]
