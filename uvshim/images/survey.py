"""What is wrong in images: each is diagnosed as its unpacked root would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvshim.check import report
from uvshim.environments import installation
from uvshim.images import changes, layers

if TYPE_CHECKING:
    from uvshim.check.report import Gate, Report
    from uvshim.images.layout import Image


def examine(image: Image, gate: Gate) -> list[Report]:
    """Return what is found out about every environment in `image`. Raises `ImageError`."""
    tree = layers.tree(image.layers, [changes.read(layer) for layer in image.layers])
    return [
        report.examine(found, gate)._replace(
            image=image.reference, digest=image.digest, platform=image.platform
        )
        for found in installation.in_image(tree)
    ]
