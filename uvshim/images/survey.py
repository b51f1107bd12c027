"""What is wrong in images: each is diagnosed as its unpacked root would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvshim.check.diagnosis import diagnose
from uvshim.check.output import Examined
from uvshim.environments import installation
from uvshim.images import changes, layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvshim.images.layout import Image


def examine(image: Image, excluded: Callable[[str], bool]) -> list[Examined]:
    """Return every environment in `image`, with what was found out about it.

    Nothing is told of a project name that is `excluded`. Raises `ImageError`.
    """
    tree = layers.tree(image.layers, [changes.read(layer) for layer in image.layers])
    about = (image.reference, image.digest, image.platform)
    return [
        Examined(found, diagnose(found.tree, found.visible, excluded=excluded), excluded, *about)
        for found in installation.in_image(tree)
    ]
