"""Archives with manifest.json, from `docker save`, crane, ko, kaniko, apko and jib."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from uvshim.errors import ImageError
from uvshim.images import image
from uvshim.images.blob import Blob
from uvshim.images.image import Entry, Image
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from uvshim.images.archive import Archive
    from uvshim.images.image import Json

LISTING = "manifest.json"

# Docker's and crane's names of a config, which contain its digest.
_CONFIG = re.compile(r"(?:^|/|sha256:)([0-9a-f]{64})(?:\.json)?$")


def is_one(archive: Archive) -> bool:
    """Return True if `archive` has a manifest.json with images."""
    if not archive.has(LISTING):
        return False
    try:
        return bool(_listed(archive))
    except ImageError:
        return False


def read(archive: Archive, name: str, wanted: str | None) -> list[Entry]:
    """Return the images in `archive`, or the one that is `wanted`. Raise `ImageError`.

    `name` is the archive's name with the transport; `wanted` is a repository with
    or without a tag, or ``@N`` for the Nth image.
    """
    found = []
    for number, raw in enumerate(_listed(archive)):
        tags = image.as_list(raw.get("RepoTags"), "`RepoTags`")
        names = tuple(tag for tag in tags if isinstance(tag, str) and tag and tag.isprintable())
        asked = [tag for tag in names if wanted is not None and same_name(tag, wanted)]
        if wanted is None or wanted == f"@{number}" or asked:
            called = (asked or [*names, f"@{number}"])[0]
            found.append(_entry(archive, raw, f"{name}:{called}", tuple(asked) or names))
    if not found:
        what = "there is no image in it" if wanted is None else f"it has no image {shown(wanted)}"
        raise ImageError(what)
    return found


def same_name(one: str, other: str) -> bool:
    """Return True if both names are the same for Docker: ``app`` is ``library/app:latest``."""
    return familiar(one) == familiar(other)


def familiar(name: str) -> str:
    """Return the name of an image without Docker's registry, and with a tag."""
    name = name.removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _listed(archive: Archive) -> list[Json]:
    """Return the objects in manifest.json, one for each image. Raise `ImageError`."""
    content = Blob(archive, LISTING, None, None).document()
    listed = image.as_list(image.loaded(content, LISTING), LISTING)
    return [each for one in listed if "Config" in (each := image.as_object(one))]


def _entry(archive: Archive, raw: Json, reference: str, names: tuple[str, ...]) -> Entry:
    """Return one image of manifest.json. Its layers are verified by the config's diff_ids."""
    path = image.as_text(raw.get("Config"), f"`Config` in {LISTING}")
    hexadecimal = _CONFIG.search(path)
    digest = f"sha256:{hexadecimal[1]}" if hexadecimal else None
    own = Blob(archive, path, digest, None)
    content = own.document()
    config = image.loaded_object(content, shown(path))
    listed = image.as_list(raw.get("Layers"), f"`Layers` in {LISTING}")
    paths = [image.as_text(each, f"a name in `Layers` in {LISTING}") for each in listed]
    layers = tuple(
        Blob(archive, each, None, None, diff_id)
        for each, diff_id in zip(paths, image.diff_ids(config, len(paths)), strict=True)
    )
    digest = digest or f"sha256:{hashlib.sha256(content).hexdigest()}"
    found = Image(reference, digest, image.platform_of(config), config, layers)
    return Entry(None, {}, found, blobs=(own,), names=names, reference=reference)
