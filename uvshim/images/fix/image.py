"""A fixed image: one added layer, with a new config, manifest and index.

Other layers, keys and annotations stay the same. So do media types, except in an OCI layout: there
skopeo, podman and umoci find a tag only if it leads to OCI's media types. This module writes
nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from uvshim import __version__
from uvshim.errors import ImageError, UvshimError
from uvshim.images import compression
from uvshim.images.blob import Blob, in_memory
from uvshim.images.fix import layer as new_layer
from uvshim.images.image import (
    CONFIG_TYPES,
    MANIFEST_TYPES,
    PLAIN_LAYER,
    Entry,
    Image,
    Json,
    as_list,
    as_object,
    dumped,
    in_oci,
)
from uvshim.messages import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvshim.check.report import Gate, Report
    from uvshim.images.store import Store
    from uvshim.rename.on_disk import Outcome

# The annotation with the manifest of an attestation (BuildKit, "Attestation storage").
_SPEAKS_OF = "vnd.docker.reference.digest"

# The label, and the annotation of OCI manifests, that a fixed image gets.
FIXED_BY = "uvshim.fixed-by"


class FixedPlatform(NamedTuple):
    """One platform of a fixed image."""

    image: Image
    """The original image."""
    digest: str
    """The digest of its new manifest."""
    layer: Blob | None
    """The new layer, compressed like its neighbours; None if nothing was renamed."""
    environments: list[tuple[Outcome, Report]]
    """For each environment, what was renamed, and the report afterwards."""
    config: Blob
    layers: tuple[Blob, ...]


class FixedImage:
    """One image for all its platforms, ready to be written."""

    def __init__(
        self, entry: Entry, gate: Gate, *, for_layout: bool, store: Store | None = None
    ) -> None:
        """Fix the image `entry`, except names that `gate` excludes. Raise `ImageError`.

        It has OCI's media types if it is `for_layout`. Layers are read through the `store`, from
        `layer.store`, which several images may share; by default it is a new one.
        """
        self.entry = entry
        self.blobs: dict[str, Blob] = {}
        """All its files, by digest."""
        self.manifests: set[str] = set()
        """The digests of its manifests and indexes."""
        self.dropped = 0
        """The number of dropped attestations, which cover old digests."""
        self._gate = gate
        self._store = store or new_layer.store()
        self._typed: Callable[[Json], Json] = in_oci if for_layout else dict
        self._platforms: dict[str | None, FixedPlatform] = {}
        if entry.image is not None and not entry.blobs:
            raise ImageError(
                f"`{entry.reference}` is a root file system and not an image: unpack it, "
                "and name its directory to `uvshim fix`"
            )
        self.descriptor = self._entry(entry)
        """The descriptor of its new manifest or index."""

    @property
    def platforms(self) -> list[FixedPlatform]:
        """The image for each platform."""
        return list(self._platforms.values())

    @property
    def digest(self) -> str:
        """The digest of its manifest or index."""
        return str(self.descriptor["digest"])

    @property
    def changed(self) -> bool:
        """Whether it has a new layer."""
        return any(each.layer for each in self.platforms)

    def _add(self, *blobs: Blob) -> None:
        self.blobs.update((blob.digest or "", blob) for blob in blobs)

    def _add_manifest(self, blob: Blob) -> None:
        self._add(blob)
        self.manifests.add(blob.digest or "")

    def _entry(self, entry: Entry) -> Json:
        if image := entry.image:
            if image.digest not in self._platforms:
                self._platforms[image.digest] = self._image(entry, image)
            manifest = self.blobs[self._platforms[image.digest].digest]
            before = self._typed(entry.descriptor.raw) if entry.descriptor else {}
            return _pointing(before, manifest)
        assert entry.descriptor is not None  # noqa: S101  # only images can be without
        if "manifests" in entry.raw:
            return self._index(entry, self._typed(entry.descriptor.raw))
        self._add(*entry.blobs)
        if entry.raw:  # artifacts also have manifests
            self.manifests.add(entry.descriptor.digest)
        return entry.descriptor.raw

    def _index(self, entry: Entry, raw: Json) -> Json:
        """Add the new index without outdated attestations, and return its descriptor."""
        typed = self._typed(entry.raw)
        before = as_list(entry.raw["manifests"], "`manifests`")
        present = [child for child in entry.children if not child.absent]
        now: dict[int, Json] = {}
        kept: set[object] = {None}
        for child in sorted(present, key=lambda child: bool(_attested(child))):
            if _attested(child) in kept:
                now[id(child)] = self._entry(child)
                kept.add(now[id(child)]["digest"])
            else:
                self.dropped += 1
        listed = [now[id(child)] for child in present if id(child) in now]
        blob = entry.blobs[-1]
        if listed != before or typed != entry.raw:
            blob = in_memory(dumped({**typed, "manifests": listed}))
        self._add_manifest(blob)
        return _pointing(raw, blob)

    def _image(self, entry: Entry, image: Image) -> FixedPlatform:
        created, seconds = _moment(image.config)
        content, environments = new_layer.rename(image, self._gate, seconds, self._store)
        raw = self._typed(entry.raw)
        config, layers = entry.blobs[0], image.layers
        if not raw:  # an archive of `docker save` has no manifest
            config = config._replace(size=len(config.document()), digest=image.digest)
            kinds, layers = zip(*map(_measured, layers), strict=True) if layers else ((), ())
            raw = {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPES[0],
                "config": _points_to(CONFIG_TYPES[0], config),
                "layers": [*map(_points_to, kinds, layers)],
            }
        layer = None
        if content:
            listed = as_list(raw["layers"], "`layers`")
            kind = _written(str(as_object(listed[-1]).get("mediaType")))
            layer = in_memory(compression.compressed(content, kind))
            config = in_memory(_config(image, content, environments, created))
            layers = (*layers, layer)
            raw = {
                **raw,
                "config": _pointing(as_object(raw["config"]), config),
                "layers": [*listed, _points_to(kind, layer)],
            }
            if raw.get("mediaType", MANIFEST_TYPES[0]) == MANIFEST_TYPES[0]:
                annotations = {**as_object(raw.get("annotations")), FIXED_BY: _OURSELVES}
                raw = {**raw, "annotations": annotations}
        same = entry.descriptor is not None and raw == entry.raw
        manifest = entry.blobs[-1] if same else in_memory(dumped(raw))
        self._add(config, *layers)
        self._add_manifest(manifest)
        return FixedPlatform(image, manifest.digest or "", layer, environments, config, layers)


def _attested(child: Entry) -> str | None:
    """Return the digest of the manifest that `child` attests, or None."""
    about = child.descriptor and child.descriptor.annotations.get(_SPEAKS_OF)
    return about if isinstance(about, str) else None


def _measured(layer: Blob) -> tuple[str, Blob]:
    """Return the media type of a `layer` that has none, and the layer with its digest and size."""
    found = hashlib.sha256()
    size = 0
    with contextlib.closing(layer.open()) as file:
        kind = compression.suffix(file.peek(4))
        while piece := file.read(1024 * 1024):
            size += len(piece)
            if kind:
                found.update(piece)
    digest = f"sha256:{found.hexdigest()}" if kind else layer.diff_id
    return PLAIN_LAYER + kind, layer._replace(digest=digest, size=size)


_OURSELVES = f"uvshim {__version__}"


def _moment(config: Json) -> tuple[str, int]:
    """Return the time for new entries, as in a config (RFC 3339) and in seconds since 1970.

    It is `SOURCE_DATE_EPOCH`, or the date in `config`, so that the same image always
    gives the same digest.
    """
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        try:
            when = datetime.fromtimestamp(int(epoch), timezone.utc)
        except (ValueError, OverflowError, OSError):
            raise UvshimError(f"SOURCE_DATE_EPOCH is not a number of seconds: `{epoch}`") from None
        return when.strftime("%Y-%m-%dT%H:%M:%SZ"), int(epoch)
    text = config.get("created")
    if not isinstance(text, str):
        return "1970-01-01T00:00:00Z", 0
    try:  # the fraction may have more digits than Python reads, and the zone is mostly UTC
        when = datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc)
    except ValueError:
        return text, 0
    return text, max(int(when.timestamp()), 0)


def _config(
    image: Image, content: bytes, done: list[tuple[Outcome, Report]], created: str
) -> bytes:
    before = image.config
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    rootfs = as_object(before["rootfs"])
    config = as_object(before.get("config"))
    labels = {**as_object(config.get("Labels")), FIXED_BY: _OURSELVES}
    changed = {
        "rootfs": {**rootfs, "diff_ids": [*as_list(rootfs["diff_ids"], "`diff_ids`"), digest]},
        "config": {**config, "Labels": labels},
    }
    history = before.get("history")
    if isinstance(history, list) and len(image.layers) == sum(
        not as_object(each).get("empty_layer") for each in history
    ):  # buildah refuses an image whose history does not list every layer
        number = sum(len(outcome.renamed) for outcome, _ in done)
        entry = {
            "created": created,
            "created_by": f"{_OURSELVES} fix",
            "comment": f"renormalized {counted(number, 'distribution')}",
        }
        changed["history"] = [*history, entry]  # type: ignore[assignment]
    return dumped({**before, **changed})


def _written(media_type: str) -> str:
    """Return the media type of a new layer beside one with the `media_type`.

    It is distributable. OCI has none for xz and bzip2, which some tools read.
    """
    kind = media_type.replace(".nondistributable.", ".").replace(".foreign.", ".")
    is_known = kind.endswith((".tar", "zstd", "gzip"))
    return kind if is_known else PLAIN_LAYER + compression.GZIP


def _points_to(media_type: str, blob: Blob) -> Json:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _pointing(before: Json, blob: Blob) -> Json:
    if not before:
        return _points_to(MANIFEST_TYPES[0], blob)
    if before.get("digest") == blob.digest:
        return before
    kept = {key: value for key, value in before.items() if key not in {"data", "urls"}}
    return {**kept, "digest": blob.digest, "size": blob.size}
