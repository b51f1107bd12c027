"""The sources of images. Each module reads one format, which is recognized by content."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from uvshim.errors import ImageError
from uvshim.images import archive, image
from uvshim.images.blob import Blob, Folder
from uvshim.images.budget import Budget
from uvshim.images.image import Entry, Image
from uvshim.images.reference import DIR, DOCKER_ARCHIVE, OCI, OCI_ARCHIVE, THROUGH_SKOPEO, Reference
from uvshim.images.sources import docker, layout, skopeo

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def opened(reference: Reference, platform: str | None = None) -> Iterator[list[Entry]]:
    """Yield the entries that `reference` names, readable in the context.

    With a `platform`, such as ``linux/arm64``, only images for it. Raise `ImageError`.
    """
    with contextlib.ExitStack() as stack:
        found = _read(reference, platform, stack)
        present = {one.platform for entry in found for one in entry.images}
        if platform is not None:
            found = [one for entry in found if (one := entry.limited_to(platform))]
        images = [one for entry in found for one in entry.images]
        absent = [one for entry in found for one in entry.lacking]
        if not images and absent:
            raise ImageError(f"the files of {named(absent[0])} are not in it")
        if not images:
            raise image.none_for(platform, present)
        yield found


def named(absent: Entry) -> str:
    """Return the name in messages of the image `absent`, whose files are missing."""
    platform = absent.descriptor and absent.descriptor.platform
    digest = absent.descriptor and absent.descriptor.digest
    return f"{platform} ({digest})" if platform else str(digest)


def _read(reference: Reference, platform: str | None, stack: contextlib.ExitStack) -> list[Entry]:
    _, transport, path, tag = reference
    budget = Budget()
    if transport in THROUGH_SKOPEO:
        return skopeo.read(reference, platform, stack, budget)
    if not os.path.exists(path) and path != archive.STANDARD_INPUT:
        raise ImageError(f"`{path}` does not exist")
    if transport == DIR:
        return layout.read(layout.SkopeoFolder(path), reference.text, None, budget)
    if not transport and os.path.isdir(path) and not os.path.exists(f"{path}/{layout.INDEX}"):
        raise ImageError(f"`{path}` is a directory and not an OCI layout: it has no {layout.INDEX}")
    if transport == OCI or (not transport and os.path.isdir(path)):
        return layout.read(Folder(path), f"{OCI}:{path}", tag, budget)
    return _in_archive(archive.opened(path, stack, budget), reference, budget)


def _in_archive(found: archive.Archive, reference: Reference, budget: Budget) -> list[Entry]:
    _, transport, path, tag = reference
    if transport and found.is_packed:
        raise ImageError(f"`{path}` is a root file system and not an archive of images")
    is_layout = found.has(layout.INDEX) and found.has("oci-layout")
    if transport == OCI_ARCHIVE or (not transport and is_layout):
        return layout.read(found, f"{OCI_ARCHIVE}:{path}", tag, budget)
    if transport == DOCKER_ARCHIVE or docker.is_one(found):
        return docker.read(found, f"{DOCKER_ARCHIVE}:{path}", tag, budget)
    if found.is_root:
        root = Image(path, None, None, {}, (Blob(found, "", None, None),), budget)
        return [Entry(None, {}, root, reference=path)]
    raise archive.unknown(found)
