"""OCI image layouts: in a directory, in an archive, or as `skopeo copy` writes it to ``dir:``."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import re
from typing import IO, TYPE_CHECKING

from uvshim.errors import ImageError
from uvshim.images import image
from uvshim.images.blob import Blob, Folder, in_memory
from uvshim.images.image import INDEX_TYPES, MANIFEST_TYPES, Descriptor, Entry, Image
from uvshim.images.sources import docker
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uvshim.images.blob import Place
    from uvshim.images.image import Json

INDEX = "index.json"

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

    def open(self, name: str) -> IO[bytes]:
        """Open a file; see `blob.Place.open`."""
        if name == INDEX:
            return io.BytesIO(json.dumps({"manifests": [self._described()]}).encode())
        return super().open(self._own(name) or "manifest.json")

    def has(self, name: str) -> bool:
        """Return True if there is a file; see `blob.Place.has`."""
        if self._own(name) is not None:
            return True
        has_manifest = super().has("manifest.json")
        return has_manifest and (name == INDEX or posixpath.basename(name) == self._digest())

    def _own(self, name: str) -> str | None:
        digest = posixpath.basename(name)
        names = (digest, f"{digest}.manifest.json")
        return next((one for one in names if super(SkopeoFolder, self).has(one)), None)

    def _content(self) -> bytes:
        return Blob(Folder(self.path), "manifest.json", None, None).document()

    def _digest(self) -> str:
        return hashlib.sha256(self._content()).hexdigest()

    def _described(self) -> Json:
        """Return the descriptor of the copied manifest or index."""
        raw = image.loaded_object(self._content(), "manifest.json")
        kinds = INDEX_TYPES if "manifests" in raw else MANIFEST_TYPES
        given = raw.get("mediaType")
        kind = given if isinstance(given, str) else kinds[0]
        size = len(self._content())
        return {"mediaType": kind, "digest": f"sha256:{self._digest()}", "size": size}


def path_of(digest: str) -> str:
    """Return the relative path of the blob with a valid `digest` in a layout."""
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def index_of(place: Place) -> tuple[Json, tuple[Descriptor, ...]]:
    """Return index.json, and the descriptors in it. Raise `ImageError`."""
    raw = image.loaded_object(Blob(place, INDEX, None, None).document(), INDEX)
    return raw, image.descriptors(raw, "manifests", INDEX)


def read(place: Place, name: str, wanted: str | None) -> list[Entry]:
    """Return the entries called `wanted` in the layout `place`, or all entries.

    `name` is the layout's name with the transport; `wanted` is a tag, a full name, a
    digest, or ``@N`` for the Nth in the index. Raise `ImageError`.
    """
    listed = index_of(place)[1]
    numbers = [number for number, one in enumerate(listed) if _is_called(one, number, wanted)]
    if not numbers and wanted is not None:
        known = sorted({one.full_name or one.tag or "" for one in listed} - {""})[:8]
        tags = shown(", ".join(known) or "none", 300)
        message = f"there is no image {shown(wanted)} in it; its tags: {tags}"
        raise ImageError(message)
    found = []
    for group in _groups([(number, listed[number]) for number in numbers]):
        entry = _together([_entry(place, one, _DEEPEST_INDEX) for _, one in group])
        number, first = group[0]
        called = docker.familiar(first.full_name) if first.full_name else first.tag
        own = {each for each, _ in group}
        alike = {each for each, one in enumerate(listed) if _is_called(one, each, called)}
        if not alike <= own:
            called = f"@{number}"
        names = (first.full_name,) if first.full_name else ()
        reference = f"{name}:{called}" if called else name
        found.append(_called(entry._replace(tag=first.tag, names=names), reference))
    return found


def _is_called(one: Descriptor, number: int, wanted: str | None) -> bool:
    if wanted is None or wanted in {one.tag, one.digest, f"@{number}"}:
        return True
    return one.full_name is not None and docker.same_name(one.full_name, wanted)


def _called(entry: Entry, reference: str) -> Entry:
    """Return `entry` and all images in it with the name `reference`."""
    own = entry.image and entry.image._replace(reference=reference)
    children = tuple(_called(child, reference) for child in entry.children)
    return entry._replace(reference=reference, image=own, children=children)


def _groups(
    listed: Sequence[tuple[int, Descriptor]],
) -> list[list[tuple[int, Descriptor]]]:
    """Return the descriptors in groups: an index may list an image once for each platform."""
    groups: dict[object, list[tuple[int, Descriptor]]] = {}
    for number, one in listed:
        key: object = (one.full_name, one.tag)
        group = groups.get(key)
        platforms = [other.platform for _, other in group or ()]
        if one.platform is None or None in platforms or one.platform in platforms:
            key = (*key, number) if group else key  # type: ignore[misc]
        groups.setdefault(key, []).append((number, one))
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
    blob = in_memory(json.dumps(raw, separators=(",", ":")).encode())
    described = {"mediaType": INDEX_TYPES[0], "digest": blob.digest, "size": blob.size}
    return Entry(image.descriptor(described, INDEX), raw, children=children, blobs=(blob,))


def _nameless(descriptor: Descriptor) -> Json:
    """Return `descriptor` as JSON without its names."""
    names = {image.TAG, image.FULL_NAME}
    kept = {key: value for key, value in descriptor.annotations.items() if key not in names}
    others = {key: value for key, value in descriptor.raw.items() if key != "annotations"}
    return {**others, "annotations": kept} if kept else others


def _entry(place: Place, descriptor: Descriptor, depth: int) -> Entry:
    """Return the entry of `descriptor`. Raise `ImageError`."""
    own = _blob(place, descriptor)
    is_index = descriptor.media_type in INDEX_TYPES
    if not is_index and descriptor.media_type not in MANIFEST_TYPES:
        return Entry(descriptor, {}, blobs=(own,) if own.exists else ())
    attests = descriptor.annotations.get(_NOT_AN_IMAGE[0]) == _NOT_AN_IMAGE[1]
    if not own.exists and (depth < _DEEPEST_INDEX or descriptor.tag or descriptor.platform):
        return Entry(descriptor, {}, absent=not attests)
    raw = image.loaded_object(own.document(), descriptor.digest)
    if is_index:
        if depth == 0:
            message = f"{descriptor.digest} is an index nested too deep in others"
            raise ImageError(message)
        listed = image.descriptors(raw, "manifests", descriptor.digest)
        children = tuple(_entry(place, each, depth - 1) for each in listed)
        return Entry(descriptor, raw, children=children, blobs=(own,))
    return _of_manifest(place, descriptor, raw, is_image=not attests)


def _of_manifest(place: Place, descriptor: Descriptor, raw: Json, *, is_image: bool) -> Entry:
    """Return the image, or the artifact, with the manifest `raw`. Raise `ImageError`."""
    described = image.descriptor(raw.get("config"), f"`config` in {descriptor.digest}")
    listed = image.descriptors(raw, "layers", descriptor.digest)
    blobs = tuple(_blob(place, each) for each in (described, *listed, descriptor))
    tars = [_LAYER_TYPE.fullmatch(each.media_type) is not None for each in listed]
    # cosign's signatures have the config of an image, and layers that are not tar files.
    is_image = is_image and described.media_type in image.CONFIG_TYPES and (any(tars) or not tars)
    if not all(blob.exists for blob in blobs):
        return Entry(descriptor, raw, absent=is_image)
    if not is_image:
        return Entry(descriptor, raw, blobs=blobs)
    if not all(tars):
        other = listed[tars.index(False)]
        message = f"its layer {other.digest} is not a tar: {shown(other.media_type)}"
        raise ImageError(message)
    config = image.loaded_object(blobs[0].document(), described.digest)
    identities = image.diff_ids(config, len(listed))
    layers = tuple(
        blob._replace(diff_id=diff_id)
        for blob, diff_id in zip(blobs[1:-1], identities, strict=True)
    )
    found = Image("", descriptor.digest, image.platform_of(config), config, layers)
    return Entry(descriptor, raw, found, blobs=blobs)


def _blob(place: Place, descriptor: Descriptor) -> Blob:
    return Blob(place, path_of(descriptor.digest), descriptor.digest, descriptor.size)
