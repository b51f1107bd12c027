"""An image with one more layer: its new config, manifest and index. All else in it stays.

The formats are those of the OCI Image Format Specification (config, manifest, index), and Docker's
of schema 2, which has the same keys. Nothing is written here: see `store`.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from uvshim import __version__
from uvshim.errors import ImageError, UvshimError
from uvshim.images import layout, renames, tar
from uvshim.images.layout import (
    CONFIG_TYPES,
    INDEX_TYPES,
    MANIFEST_TYPES,
    TAG,
    Archive,
    Image,
    Layer,
    Layout,
    docker_archive,
)
from uvshim.messages import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uvshim.check.report import Gate
    from uvshim.images.layout import Descriptor, Json, Manifest
    from uvshim.images.renames import Repair

# The one annotation that says of which manifest an attestation speaks (BuildKit, "Attestation
# storage"), and another name that containerd gives an image: it would be that of the old one.
_SPEAKS_OF = "vnd.docker.reference.digest"
_OTHER_NAME = "io.containerd.image.name"


class Mended(NamedTuple):
    """One platform of an image: what was done, and the digests that follow from it."""

    image: Image
    repair: Repair
    digest: str | None
    """Of its new manifest; None, if nothing had to be renamed."""
    layer: Layer | None
    """The new layer as it is written, compressed like its neighbours."""


class New(NamedTuple):
    """An image that can be written: one manifest, or an index of several."""

    described: Json
    """The descriptor of the manifest or the index."""
    blobs: tuple[Layer, ...]
    """All that it consists of, blobs that are no layers too; the new ones are in memory."""
    manifests: dict[str, Json]
    """Those of its blobs that are manifests or indexes, by digest."""


class Result(NamedTuple):
    """What became of one image, for all its platforms."""

    before: str | None
    """Its digest: of its manifest or index, in an archive of `docker save` of its config."""
    tag: str | None
    platforms: tuple[Mended, ...]
    dropped: int
    """How many attestations are not in it any more: they speak of the old digests."""
    new: New | None
    """None, if nothing had to be renamed in any of them."""


def mend(place: Layout | Archive | Layer, name: str, tag: str | None, gate: Gate) -> list[Result]:
    """Mend the images called `tag` in `place`, which is called `name`; without a tag, all of them.

    Nothing is done with what `gate` excludes. Raises `ImageError`.
    """
    if isinstance(place, Layer):
        message = (
            f"`{name}` is a root file system and not an image: unpack it, "
            "and name its directory to `uvshim fix`"
        )
        raise ImageError(message)
    if isinstance(place, Archive):
        return [_mended_archive(image, gate) for image in docker_archive(place, name, tag)]
    images = {image.digest: image for image in place.images(tag)}
    found = []
    for descriptor in place.chosen(tag):
        mending = _Mending(place, images, gate)
        described = mending.descriptor(descriptor)
        if mending.platforms:
            changed = described["digest"] != descriptor.digest
            new = mending.new(described) if changed else None
            platforms = tuple(mending.platforms.values())
            found.append(Result(descriptor.digest, descriptor.tag, platforms, mending.dropped, new))
    return found


# --- a layout -------------------------------------------------------------------------------------


class _Mending:
    """One image of a layout, with what is new in it."""

    def __init__(self, place: Layout, images: dict[str | None, Image], gate: Gate) -> None:
        self.platforms: dict[str, Mended] = {}
        self.dropped = 0
        self._layout = place
        self._images = images
        self._gate = gate
        self._new: dict[str, Layer] = {}

    def descriptor(self, descriptor: Descriptor) -> Json:
        """Return what points to the mended form of what `descriptor` points to."""
        if descriptor.media_type in INDEX_TYPES:
            return self._index(descriptor)
        image = self._images.get(descriptor.digest)
        if image is None or image.manifest is None or not descriptor.is_image:
            return descriptor.raw
        if descriptor.digest not in self.platforms:
            self.platforms[descriptor.digest] = self._image(image, image.manifest)
        digest = self.platforms[descriptor.digest].digest
        return descriptor.raw if digest is None else _pointing(descriptor.raw, self._new[digest])

    def new(self, described: Json) -> New:
        """Return the image that `described` points to, with all that it consists of."""
        blobs: dict[str, Layer] = {}
        manifests: dict[str, Json] = {}
        for each in self._walk(layout.described(described, "the new index"), manifests):
            blobs.setdefault(each.digest or "", each)
        return New(described, tuple(blobs.values()), manifests)

    def _index(self, descriptor: Descriptor) -> Json:
        raw, listed = self._layout.nested(descriptor)
        mended = [self.descriptor(one) for one in listed]
        changed = {old.digest for old, new in zip(listed, mended, strict=True) if new != old.raw}
        if not changed:
            return descriptor.raw
        kept = [
            new
            for old, new in zip(listed, mended, strict=True)
            if old.is_image or old.annotations.get(_SPEAKS_OF) not in changed
        ]
        self.dropped += len(listed) - len(kept)
        return _pointing(descriptor.raw, self._add(_dumped({**raw, "manifests": kept})))

    def _image(self, image: Image, manifest: Manifest) -> Mended:
        moment = _Moment.of(image.config or {})
        repair = renames.repair(image, self._gate, moment.seconds)
        if not repair.layer:
            return Mended(image, repair, None, None)
        kind = _ordinary(manifest.layers[-1].media_type)
        layer = self._add(_compressed(repair.layer, kind))
        config = self._add(_config(image.config or {}, repair, moment))
        described = {"mediaType": kind, "digest": layer.digest, "size": layer.size}
        raw = {
            **manifest.raw,
            "config": _pointing(manifest.config.raw, config),
            "layers": [*(one.raw for one in manifest.layers), described],
        }
        return Mended(image, repair, self._add(_dumped(raw)).digest, layer)

    def _add(self, content: bytes) -> Layer:
        blob = layout.in_memory(content)
        self._new[blob.digest or ""] = blob
        return blob

    def _walk(self, descriptor: Descriptor, manifests: dict[str, Json]) -> Iterator[Layer]:
        """Yield the blobs below `descriptor`, and itself last; put manifests into `manifests`."""
        blob = self._new.get(descriptor.digest) or Layer(
            self._layout.source,
            self._layout.path(descriptor.digest),
            descriptor.digest,
            None,
            descriptor.size,
        )
        parts: list[Descriptor] = []
        if descriptor.media_type in (*INDEX_TYPES, *MANIFEST_TYPES):
            raw = Layout(blob.source, self._layout.name).json(descriptor)
            manifests[descriptor.digest] = raw
            if descriptor.media_type in MANIFEST_TYPES:
                parts.append(layout.described(raw.get("config"), "its manifest"))
            listed = "layers" if descriptor.media_type in MANIFEST_TYPES else "manifests"
            parts += layout.all_described(raw, listed, descriptor.digest)
        for part in parts:
            yield from self._walk(part, manifests)
        yield blob


# --- an archive of `docker save` ------------------------------------------------------------------


def _mended_archive(image: Image, gate: Gate) -> Result:
    """Mend an `image` without a manifest: its layers lie as plain tars, known by their diff_ids."""
    before = image.config or {}
    moment = _Moment.of(before)
    repair = renames.repair(image, gate, moment.seconds)
    if not repair.layer:
        return Result(image.digest, None, (Mended(image, repair, None, None),), 0, None)
    layer = layout.in_memory(repair.layer)
    config = layout.in_memory(_config(before, repair, moment))
    layers = [*map(_described_layer, image.layers), layer]
    raw: Json = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPES[0],
        "config": _points_to(CONFIG_TYPES[0], config),
        "layers": [_points_to(_kind(one), one) for one in layers],
    }
    manifest = layout.in_memory(_dumped(raw))
    blobs = (*layers, config, manifest)
    new = New(_points_to(MANIFEST_TYPES[0], manifest), blobs, {manifest.digest or "": raw})
    return Result(image.digest, None, (Mended(image, repair, manifest.digest, layer),), 0, new)


def _described_layer(layer: Layer) -> Layer:
    """Return the `layer` of an archive of `docker save` with the digest of its bytes there."""
    assert isinstance(layer.source, Archive)  # noqa: S101
    size = layer.source.size(layer.name)
    if _kind(layer) == _PLAIN:
        return layer._replace(digest=layer.diff_id, size=size)
    with contextlib.closing(layer.open()) as file:
        found = hashlib.sha256()
        while piece := file.read(1024 * 1024):
            found.update(piece)
    return layer._replace(digest=f"sha256:{found.hexdigest()}", size=size)


def _kind(layer: Layer) -> str:
    """Return the media type of what is in the file of `layer`."""
    with contextlib.closing(layer.open()) as file:
        return _PLAIN + tar.suffix(file.peek(4))


# --- what is new ----------------------------------------------------------------------------------

_PLAIN = "application/vnd.oci.image.layer.v1.tar"


class _Moment(NamedTuple):
    """The time that new things have, so that the same image always gives the same digest."""

    text: str
    """As in the config of an image (RFC 3339)."""
    seconds: int

    @staticmethod
    def of(config: Json) -> _Moment:
        """Return the time of `SOURCE_DATE_EPOCH`, or that of the image with this `config`."""
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is not None:
            try:
                when = datetime.fromtimestamp(int(epoch), timezone.utc)
            except (ValueError, OverflowError, OSError):
                message = f"SOURCE_DATE_EPOCH is not a number of seconds: `{epoch}`"
                raise UvshimError(message) from None
            return _Moment(when.strftime("%Y-%m-%dT%H:%M:%SZ"), int(epoch))
        text = config.get("created")
        if not isinstance(text, str):
            return _Moment("1970-01-01T00:00:00Z", 0)
        try:  # the fraction may have more digits than Python reads, and the zone is UTC mostly
            when = datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc)
        except ValueError:
            return _Moment(text, 0)
        return _Moment(text, max(int(when.timestamp()), 0))


def _config(before: Json, repair: Repair, moment: _Moment) -> bytes:
    """Return the config of an image that is as `before` but for one layer more."""
    digest = f"sha256:{hashlib.sha256(repair.layer).hexdigest()}"
    rootfs = before.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    history = before.get("history")
    if not isinstance(rootfs, dict) or not isinstance(diff_ids, list):
        message = "its config does not list its layers (`rootfs.diff_ids`)"
        raise ImageError(message)
    entry = {
        "created": moment.text,
        "created_by": f"uvshim {__version__} fix",
        "comment": f"renormalized {counted(len(repair.renamed), 'distribution')}",
    }
    return _dumped(
        {
            **before,
            "rootfs": {**rootfs, "diff_ids": [*diff_ids, digest]},
            "history": [*(history if isinstance(history, list) else []), entry],
        }
    )


def _ordinary(media_type: str) -> str:
    """Return the type of a layer like one of `media_type` that may be distributed."""
    return media_type.replace(".nondistributable.", ".").replace(".foreign.", ".")


def _compressed(content: bytes, media_type: str) -> bytes:
    """Return `content` compressed as `media_type` says, without a date. Raises `ImageError`."""
    if media_type.endswith("gzip"):
        file = io.BytesIO()
        with gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as compressed:
            compressed.write(content)
        return file.getvalue()
    if media_type.endswith("zstd"):
        return tar.zstd_compressed(content)
    if media_type.endswith(".tar"):
        return content
    message = f"its layers are of a kind that cannot be written: {media_type}"
    raise ImageError(message)


def _dumped(raw: Json) -> bytes:
    """Return `raw` as JSON: every key in its place, and nothing that differs from run to run."""
    try:
        return json.dumps(raw, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        message = "its config or manifest has a number that JSON does not know"
        raise ImageError(message) from None


def _points_to(media_type: str, blob: Layer) -> Json:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _pointing(before: Json, blob: Layer) -> Json:
    """Return the descriptor that was `before`, for `blob` in place of what it pointed to."""
    kept = {key: value for key, value in before.items() if key not in {"data", "urls"}}
    return {**kept, "digest": blob.digest, "size": blob.size}


def named(described: Json, tag: str | None, before: str | None) -> Json:
    """Return the descriptor `described`, which was called `before`, with the name `tag`."""
    found = described.get("annotations")
    annotations = dict(found) if isinstance(found, dict) else {}
    annotations.pop(TAG, None)
    if tag != before:
        annotations.pop(_OTHER_NAME, None)
    if tag is not None:
        annotations[TAG] = tag
    others = {key: value for key, value in described.items() if key != "annotations"}
    return {**others, "annotations": annotations} if annotations else others
