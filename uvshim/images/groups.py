"""Which of many images are best examined by one process: those that share nearly all they hold.

What one process has read, another one would have to read once more, or wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvshim.errors import ImageError
from uvshim.images import reference

if TYPE_CHECKING:
    from uvshim.images.layout import Layer
    from uvshim.images.reference import Reference

# How much of an image the others in its group have, too, and how many these are at most: the
# smaller a group, the sooner other processes have something to do.
_NEARLY_ALL = 0.9
_MOST = 16


def of(named: list[Reference | str]) -> list[list[Reference | str]]:
    """Return what is `named` in groups, in the order of their first ones."""
    groups: list[list[Reference | str]] = []
    latest: dict[object, list[Reference | str]] = {}
    for one in named:
        shared = _bulk(one)
        group = latest.get(shared)
        if shared is None or group is None or len(group) == _MOST:
            group = []
            groups.append(group)
        group.append(one)
        latest[shared] = group
    return groups


def _bulk(named: Reference | str) -> frozenset[str] | None:
    """Return the layers that make up nearly all of what is `named`; None: that is not known.

    An image that would have to be copied or decompressed to know is in a group of its own.
    """
    if isinstance(named, str) or not reference.is_directory(named):
        return None
    try:
        with reference.opened(named) as images:
            layers = {layer for image in images for layer in image.layers}
    except ImageError:  # which is said once it is examined
        return None
    left = _NEARLY_ALL * sum(map(_size, layers))
    bulk = set()
    for layer in sorted(layers, key=_size, reverse=True):
        if left <= 0:
            break
        bulk.add(layer.identity or "")
        left -= _size(layer)
    return frozenset(bulk)


def _size(layer: Layer) -> int:
    return layer.size or 0
