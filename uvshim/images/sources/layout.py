"""OCI image layouts: in a directory, in an archive, or as `skopeo copy` writes it to ``dir:``."""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
from typing import IO, TYPE_CHECKING

from uvshim.errors import ImageError
from uvshim.images import image
from uvshim.images.blob import Blob, Folder, Place, in_memory
from uvshim.images.budget import ENTRY, Budget
from uvshim.images.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    Entry,
    Image,
    Json,
    Platform,
)
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


INDEX = "index.json"
_MANIFEST = "manifest.json"  # in a directory of skopeo

# Docker's and OCI's layers; their content shows the compression.
_LAYER_TYPE = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+\w+)?"
    r"|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.\w+)?)"
)

# BuildKit's annotation of attestations.
_NOT_AN_IMAGE = ("vnd.docker.reference.type", "attestation-manifest")

# How deep indexes may be nested.
_DEEPEST_INDEX = 4


class SkopeoFolder(Folder):
    """A directory that `skopeo copy` has written (its transport ``dir:``), read like a layout.

    Blobs are called by bare digests, and manifests have special names. Unlike in a layout, skopeo
    keeps Docker's manifests unchanged.
    """

    def __init__(self, path: str) -> None:
        """Use the directory at `path`."""
        super().__init__(path)
        self._digest = ""  # of the manifest or the index that was copied

    def open(self, name: str) -> IO[bytes]:
        """Open a file; see `blob.Place.open`."""
        if name == INDEX:
            return io.BytesIO(image.dumped({"manifests": [self._described()]}))
        return super().open(self._own(name) or _MANIFEST)

    def has(self, name: str) -> bool:
        """Return True if there is a file; see `blob.Place.has`."""
        if self._own(name) is not None:
            return True
        is_manifest = name == INDEX or posixpath.basename(name) == self._digest
        return super().has(_MANIFEST) and is_manifest

    def _own(self, name: str) -> str | None:
        digest = posixpath.basename(name)
        names = (digest, f"{digest}.{_MANIFEST}")
        return next((one for one in names if super(SkopeoFolder, self).has(one)), None)

    def _described(self) -> Json:
        content = Blob(Folder(self.path), _MANIFEST, None, None).document()
        raw = image.loaded_object(content, _MANIFEST, Budget())
        if "fsLayers" in raw:
            raise ImageError("its manifest is of schema 1. Convert it: skopeo copy --format oci")
        kinds = INDEX_TYPES if "manifests" in raw else MANIFEST_TYPES
        given = raw.get("mediaType")
        kind = given if isinstance(given, str) else kinds[0]
        self._digest = hashlib.sha256(content).hexdigest()
        return {"mediaType": kind, "digest": f"sha256:{self._digest}", "size": len(content)}


def path_of(digest: str) -> str:
    """Return the relative path of the blob with a valid `digest` in a layout."""
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def index_of(place: Place, budget: Budget) -> tuple[Json, tuple[Descriptor, ...]]:
    """Return index.json, and the descriptors in it. Raise `ImageError`."""
    raw = image.loaded_object(Blob(place, INDEX, None, None).document(), INDEX, budget)
    listed = image.descriptors(raw, "manifests", INDEX)
    budget.list(len(listed), INDEX)
    return raw, listed


def read(place: Place, name: str, wanted: str | None, budget: Budget) -> list[Entry]:
    """Return the entries called `wanted` in the layout `place`, or all entries.

    `name` is the layout's name with the transport; `wanted` is a tag, a full name, a
    digest, or ``@N`` for the Nth in the index. Raise `ImageError`.
    """
    listed = index_of(place, budget)[1]
    called_so = _by_name(listed)
    numbers = range(len(listed)) if wanted is None else sorted(called_so(wanted))
    if not numbers and wanted is not None:
        known = sorted({one.full_name or one.tag or "" for one in listed} - {""})[:8]
        tags = shown(", ".join(known) or "none", 300)
        raise ImageError(f"there is no image {shown(wanted)} in it; its tags: {tags}")
    reading = _Reading(place, budget)
    found = []
    for group in _groups(listed, numbers):
        entry = _together([reading.entry(listed[number]) for number in group])
        first = listed[group[0]]
        called = first.full_name or first.tag
        alike = called_so(called) if called else range(len(listed))
        if not set(group).issuperset(alike):
            called = f"@{group[0]}"
        names = (first.full_name,) if first.full_name else ()
        reference = f"{name}:{called}" if called else name
        found.append(_called(entry._replace(tag=first.tag, names=names), reference))
    return found


def _by_name(listed: Sequence[Descriptor]) -> Callable[[str], set[int]]:
    """Return a function that returns which of those `listed` have a name, as in `read`."""
    exact: dict[str | None, set[int]] = {}
    full: dict[str, set[int]] = {}
    for number, one in enumerate(listed):
        for key in (one.tag, one.digest, f"@{number}"):
            exact.setdefault(key, set()).add(number)
        if one.full_name is not None:
            full.setdefault(one.full_name, set()).add(number)
    return lambda name: exact.get(name, set()) | full.get(image.familiar(name), set())


def _called(entry: Entry, reference: str) -> Entry:
    own = entry.image and entry.image._replace(reference=reference)
    children = tuple(_called(child, reference) for child in entry.children)
    return entry._replace(reference=reference, image=own, children=children)


def _groups(listed: Sequence[Descriptor], numbers: Iterable[int]) -> list[list[int]]:
    """Return the `numbers` in groups: an index may list an image once for each platform."""
    groups: dict[object, list[int]] = {}
    platforms: dict[object, set[object]] = {}
    for number in numbers:
        own = listed[number].platform
        key: object = (listed[number].full_name, listed[number].tag)
        known = platforms.setdefault(key, set())
        if known and (own is None or own in known or None in known):
            groups[key, number] = [number]
        else:
            known.add(own)
            groups.setdefault(key, []).append(number)
    return list(groups.values())


def _together(entries: list[Entry]) -> Entry:
    """Return one entry for `entries`, the platforms of an image: an index if there are several."""
    if len(entries) == 1:
        return entries[0]
    children = tuple(
        one._replace(descriptor=one.descriptor and image.descriptor(_nameless(one.descriptor), ""))
        for one in entries
    )
    manifests = [one.descriptor.raw for one in children if one.descriptor]
    raw = {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": manifests}
    blob = in_memory(image.dumped(raw))
    described = {"mediaType": INDEX_TYPES[0], "digest": blob.digest, "size": blob.size}
    return Entry(image.descriptor(described, INDEX), raw, children=children, blobs=(blob,))


def _nameless(descriptor: Descriptor) -> Json:
    names = {image.TAG, image.FULL_NAME}
    kept = {key: value for key, value in descriptor.annotations.items() if key not in names}
    others = {key: value for key, value in descriptor.raw.items() if key != "annotations"}
    return {**others, "annotations": kept} if kept else others


def may_be_image(descriptor: Descriptor) -> bool:
    """Return False if an index lists `descriptor` as an attestation."""
    key, value = _NOT_AN_IMAGE
    return descriptor.annotations.get(key) != value


class _Reading:
    """The entries of one layout; each manifest and index is read once, however often it is listed.

    Indexes that list each other may lead to more images than there are bytes.
    """

    def __init__(self, place: Place, budget: Budget) -> None:
        self._place = place
        self._budget = budget
        self._objects: dict[tuple[str | None, int | None], Json] = {}

    def entry(self, descriptor: Descriptor, depth: int = _DEEPEST_INDEX) -> Entry:
        own = _blob(self._place, descriptor)
        is_image = may_be_image(descriptor)
        is_index = descriptor.media_type in INDEX_TYPES
        if not is_index and descriptor.media_type not in MANIFEST_TYPES:
            return Entry(descriptor, {}, blobs=(own,) if own.exists else ())
        named = depth < _DEEPEST_INDEX or descriptor.tag or descriptor.platform
        if not own.exists and named:
            return Entry(descriptor, {}, absent=is_image)
        raw = self._object(own)
        if not is_index:
            return self._of_manifest(descriptor, raw, is_image=is_image)
        if depth == 0:
            raise ImageError(f"{descriptor.digest} is an index nested too deep in others")
        listed = image.descriptors(raw, "manifests", descriptor.digest)
        self._budget.list(len(listed), descriptor.digest)
        children = tuple(self.entry(each, depth - 1) for each in listed)
        return Entry(descriptor, raw, children=children, blobs=(own,))

    def _object(self, blob: Blob) -> Json:
        key = (blob.digest, blob.size)
        if key not in self._objects:
            content = blob.document()
            self._objects[key] = image.loaded_object(content, blob.called, self._budget)
        return self._objects[key]

    def _of_manifest(self, descriptor: Descriptor, raw: Json, *, is_image: bool) -> Entry:
        """Return the image, or the artifact, with the manifest `raw`. Raise `ImageError`."""
        described = image.descriptor(raw.get("config"), f"`config` in {descriptor.digest}")
        listed = image.descriptors(raw, "layers", descriptor.digest)
        self._budget.keep(ENTRY * len(listed), descriptor.digest)
        blobs = tuple(_blob(self._place, each) for each in (described, *listed, descriptor))
        tars = [_LAYER_TYPE.fullmatch(each.media_type) is not None for each in listed]
        # cosign's signatures have the config of an image, and layers that are not tar files.
        is_image &= described.media_type in image.CONFIG_TYPES and (any(tars) or not tars)
        if not all(blob.exists for blob in blobs):
            return Entry(descriptor, raw, absent=is_image)
        if not is_image:
            return Entry(descriptor, raw, blobs=blobs)
        if not all(tars):
            other = listed[tars.index(False)]
            raise ImageError(f"its layer {other.digest} is not a tar: {shown(other.media_type)}")
        config = self._object(blobs[0])
        identities = image.diff_ids(config, len(listed))
        layers = tuple(
            blob._replace(diff_id=diff_id)
            for blob, diff_id in zip(blobs[1:-1], identities, strict=True)
        )
        platform = image.platform_of(config)
        if _is_finer(descriptor.platform, platform):
            platform = descriptor.platform
        found = Image("", descriptor.digest, platform, config, layers, self._budget)
        return Entry(descriptor, raw, found, blobs=blobs)


def _is_finer(listed: Platform | None, own: Platform | None) -> bool:
    """Return True if the platform that an index has `listed` says more than the config's."""
    return listed is not None and (own is None or (not own.variant and listed.matches(str(own))))


def _blob(place: Place, descriptor: Descriptor) -> Blob:
    return Blob(place, path_of(descriptor.digest), descriptor.digest, descriptor.size)
