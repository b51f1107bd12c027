"""Open images by name."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from uvshim.images import reference, sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from uvshim.images.image import Image


@contextlib.contextmanager
def opened(text: str | Path, platform: str | None = None) -> Iterator[list[Image]]:
    """Yield the images that `text` names."""
    named = reference.parse(str(text))
    assert named is not None, text
    with sources.opened(named, platform) as entries:
        yield [image for entry in entries for image in entry.images]
