"""A root file system in a tar, as `docker export` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvshim.images.blob import Blob
from uvshim.images.image import Entry, Image

if TYPE_CHECKING:
    from uvshim.images.blob import Place


def read(place: Place, path: str) -> list[Entry]:
    """Return the one image that the whole file in `place` is, called `path`."""
    image = Image(path, None, None, {}, (Blob(place, path, None, None),))
    return [Entry(None, {}, image, reference=path)]
