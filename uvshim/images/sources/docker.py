"""Archives with manifest.json, from `docker save`, crane, ko, kaniko, apko and jib."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from uvshim.errors import ImageError
from uvshim.images import budget as prices
from uvshim.images import image
from uvshim.images.blob import Blob
from uvshim.images.image import Entry, Image, Json
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from uvshim.images.archive import Archive
    from uvshim.images.budget import Budget

LISTING = "manifest.json"

# Docker's and crane's names of a config, which contain its digest.
_CONFIG = re.compile(r"(?:^|/|sha256:)([0-9a-f]{64})(?:\.json)?$")


def is_one(archive: Archive) -> bool:
    """Return True if `archive` has a manifest.json with images."""
    if not archive.has(LISTING):
        return False
    try:
        return bool(_listed(archive, prices.Budget()))
    except ImageError:
        return False


def read(archive: Archive, name: str, wanted: str | None, budget: Budget) -> list[Entry]:
    """Return the images in `archive`, or the one that is `wanted`. Raise `ImageError`.

    `name` is the archive's name with the transport; `wanted` is a repository with
    or without a tag, or ``@N`` for the Nth image.
    """
    found = []
    reading = _Reading(archive, budget)
    for number, raw in enumerate(_listed(archive, budget)):
        tags = image.as_list(raw.get("RepoTags"), "`RepoTags`")
        names = tuple(tag for tag in tags if isinstance(tag, str) and tag and tag.isprintable())
        asked = [tag for tag in names if wanted and image.familiar(tag) == image.familiar(wanted)]
        if wanted is None or wanted == f"@{number}" or asked:
            called = (asked or [*names, f"@{number}"])[0]
            found.append(reading.entry(raw, f"{name}:{called}", tuple(asked) or names))
    if not found:
        what = "there is no image in it" if wanted is None else f"it has no image {shown(wanted)}"
        raise ImageError(what)
    return found


def _listed(archive: Archive, budget: Budget) -> list[Json]:
    """Return the objects in manifest.json, one for each image. Raise `ImageError`."""
    content = Blob(archive, LISTING, None, None).document()
    listed = image.as_list(image.loaded(content, LISTING, budget), LISTING)
    budget.list(len(listed), LISTING)
    return [each for one in listed if "Config" in (each := image.as_object(one))]


class _Reading:
    """The images of one archive; a config is read once, however many images have it."""

    def __init__(self, archive: Archive, budget: Budget) -> None:
        self._archive = archive
        self._budget = budget
        self._configs: dict[str, tuple[Blob, str, Json]] = {}

    def entry(self, raw: Json, reference: str, names: tuple[str, ...]) -> Entry:
        """Return one image of manifest.json. Its layers are verified by the config's diff_ids."""
        path = image.as_text(raw.get("Config"), f"`Config` in {LISTING}")
        if path not in self._configs:
            self._configs[path] = self._config(path)
        own, digest, config = self._configs[path]
        listed = image.as_list(raw.get("Layers"), f"`Layers` in {LISTING}")
        self._budget.keep(prices.ENTRY * len(listed), LISTING)
        paths = [image.as_text(each, f"a name in `Layers` in {LISTING}") for each in listed]
        layers = tuple(
            Blob(self._archive, each, None, None, diff_id)
            for each, diff_id in zip(paths, image.diff_ids(config, len(paths)), strict=True)
        )
        platform = image.platform_of(config)
        found = Image(reference, digest, platform, config, layers, self._budget)
        return Entry(None, {}, found, blobs=(own,), names=names, reference=reference)

    def _config(self, path: str) -> tuple[Blob, str, Json]:
        hexadecimal = _CONFIG.search(path)
        own = Blob(self._archive, path, f"sha256:{hexadecimal[1]}" if hexadecimal else None, None)
        content = own.document()
        digest = own.digest or f"sha256:{hashlib.sha256(content).hexdigest()}"
        return own, digest, image.loaded_object(content, shown(path), self._budget)
