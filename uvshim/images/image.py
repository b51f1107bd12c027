"""The model of images that all formats share, and defensive reading of foreign JSON.

The formats are those of the OCI Image Format Specification (index, manifest, config, descriptor)
and Docker's schema 2, which has the same keys under other media types.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from uvshim.errors import ImageError
from uvshim.messages import counted
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from uvshim.images.blob import Blob
    from uvshim.images.budget import Budget

Json: TypeAlias = "Mapping[str, object]"

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs"
_RESTRICTED_LAYER = PLAIN_LAYER.replace("layer", "layer.nondistributable")

# OCI's media types for Docker's (OCI Image Format Specification, "Compatibility Matrix").
_OCI_TYPES = {
    **{docker: oci for oci, docker in (INDEX_TYPES, MANIFEST_TYPES, CONFIG_TYPES)},
    f"{_DOCKER_LAYER}.diff.tar": PLAIN_LAYER,
    f"{_DOCKER_LAYER}.diff.tar.gzip": f"{PLAIN_LAYER}+gzip",
    f"{_DOCKER_LAYER}.diff.tar.zstd": f"{PLAIN_LAYER}+zstd",
    f"{_DOCKER_LAYER}.foreign.diff.tar": _RESTRICTED_LAYER,
    f"{_DOCKER_LAYER}.foreign.diff.tar.gzip": f"{_RESTRICTED_LAYER}+gzip",
}

# Annotations of a descriptor in an index: the tag (OCI annotations), and containerd's full name.
TAG = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"

# A digest becomes a part of a path, so only registered algorithms are accepted (OCI descriptor).
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")

# How deep JSON may be nested. Python's own functions for it are recursive.
_DEEPEST = 100


# Go's names of architectures that the kernel calls otherwise.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class Platform(NamedTuple):
    """The platform in the config of an image, with Go's names (OCI config)."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        """Return ``OS/ARCHITECTURE[/VARIANT]``."""
        return "/".join(filter(None, self))

    def matches(self, wanted: str) -> bool:
        """Return True if `wanted`, such as ``linux/arm64``, names this platform.

        Docker and containerd write ``linux/arm64/v8`` for the same; the kernel has other names.
        """
        parts = platform_parts(wanted)
        own = [part for part in self if part]
        both = [each[:2] if each[1:] == ["arm64", "v8"] else each for each in (parts, own)]
        return both[0] == both[1][: len(both[0])]


def platform_parts(text: str) -> list[str]:
    """Return the parts of the platform `text`, with Go's names for the kernel's."""
    return [ARCHITECTURES.get(part, part) for part in text.split("/")]


def none_for(wanted: str | None, present: Iterable[Platform | None]) -> ImageError:
    """Return the error for an image that has only the platforms `present`, and not `wanted`."""
    limit = f" for {wanted}" if wanted else ""
    there = ", ".join(sorted({str(each) for each in present if each}))
    others = f", only for {there}" if limit and there else ""
    return ImageError(f"it has no container image{limit}{others}")


class Descriptor(NamedTuple):
    """What points to a blob (OCI descriptor)."""

    media_type: str
    digest: str
    """A valid digest."""
    size: int
    raw: Json
    """The JSON object, unchanged."""

    @property
    def annotations(self) -> Json:
        """Its annotations; empty if they are not an object."""
        return as_object(self.raw.get("annotations"))

    @property
    def tag(self) -> str | None:
        """Its tag in the index. Raise `ImageError` if that is not a valid name."""
        return self._name(TAG)

    @property
    def full_name(self) -> str | None:
        """The name with repository that containerd and Docker give it, in Docker's short form."""
        name = self._name(FULL_NAME)
        return name and familiar(name)

    @property
    def platform(self) -> Platform | None:
        """The platform that the index names."""
        return platform_of(as_object(self.raw.get("platform")))

    def _name(self, key: str) -> str | None:
        name = self.annotations.get(key)
        if not isinstance(name, str) or not name:
            return None
        if not name.isprintable():
            raise ImageError(f"the index has an invalid name: {shown(name)}")
        return name


class Image(NamedTuple):
    """One image for one platform."""

    reference: str
    """Its name, as skopeo writes names."""
    digest: str | None
    """The digest of its manifest, or else of its config; None for a root file system."""
    platform: Platform | None
    config: Json
    layers: tuple[Blob, ...]
    """Its layers, the lowest first."""
    budget: Budget
    """What its reference may still cost."""


class Entry(NamedTuple):
    """What one name leads to: an image, an index of several, or an artifact such as a signature."""

    descriptor: Descriptor | None
    """Its descriptor; None if the format has no manifests."""
    raw: Json
    """Its manifest or index."""
    image: Image | None = None
    children: tuple[Entry, ...] = ()
    """What an index lists."""
    blobs: tuple[Blob, ...] = ()
    """Its own files: config, layers, and its manifest or index."""
    absent: bool = False
    """True if some of its files are missing."""
    tag: str | None = None
    names: tuple[str, ...] = ()
    """Its names with repository and tag, as Docker has them."""
    reference: str = ""
    """Its name for people."""

    @property
    def images(self) -> Iterator[Image]:
        """All images in it."""
        if self.image is not None:
            yield self.image
        for child in self.children:
            yield from child.images

    @property
    def lacking(self) -> Iterator[Entry]:
        """All images in it with missing files."""
        if self.absent:
            yield self
        for child in self.children:
            yield from child.lacking

    def limited_to(self, platform: str) -> Entry | None:
        """Return the entry with images for `platform` only; None without such an image."""
        if self.image is not None or self.absent:
            listed = self.descriptor and self.descriptor.platform
            own = self.image.platform if self.image else listed
            return self if own is not None and own.matches(platform) else None
        kept = [one for child in self.children if (one := child.limited_to(platform))]
        return self._replace(children=tuple(kept)) if kept else None


def familiar(name: str) -> str:
    """Return the name of an image without Docker's registry, and with a tag.

    For Docker, ``app`` is ``docker.io/library/app:latest``.
    """
    name = name.removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


# --- foreign JSON ---------------------------------------------------------------------------------


def loaded(content: bytes, what: str, budget: Budget) -> object:
    """Return the JSON in `content`, called `what` in messages. Raise `ImageError`."""
    budget.parse(content, what)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ImageError(f"{what} is not JSON") from None
    level = [found]
    for _ in range(_DEEPEST):
        lists = [[*each.values()] if isinstance(each, dict) else each for each in level]
        level = [child for each in lists if isinstance(each, list) for child in each]
    if level:
        raise ImageError(f"{what} is JSON that is nested more than {_DEEPEST} deep")
    return found


def dumped(raw: object) -> bytes:
    """Return `raw` as JSON, keys in their order. Raise `ImageError`."""
    try:
        return json.dumps(raw, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        raise ImageError("it has a number that JSON does not know") from None


def loaded_object(content: bytes, what: str, budget: Budget) -> Json:
    """Return the JSON object in `content`; see `loaded`. Raise `ImageError`."""
    if not isinstance(raw := loaded(content, what, budget), dict):
        raise ImageError(f"{what} is not a JSON object")
    return raw


def in_oci(raw: Json) -> Json:
    """Return `raw`, a manifest, an index or a descriptor, with OCI's media types for Docker's.

    Elsewhere in it, such as in annotations, nothing changes.
    """
    changed = dict(raw)
    if isinstance(kind := raw.get("mediaType"), str):
        changed["mediaType"] = _OCI_TYPES.get(kind, kind)
    if "config" in raw:
        changed["config"] = in_oci(as_object(raw["config"]))
    for key in ("layers", "manifests"):
        if isinstance(listed := raw.get(key), list):
            changed[key] = [in_oci(as_object(each)) for each in listed]
    return changed


def as_object(value: object) -> Json:
    """Return `value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object, what: str) -> list[object]:
    """Return `value`, a list or null, as a list. Raise `ImageError`."""
    if value is None:  # Go writes an empty list as null
        return []
    if not isinstance(value, list):
        raise ImageError(f"{what} is not a list")
    return value


def as_text(value: object, what: str) -> str:
    """Return `value` if it is a string. Raise `ImageError`."""
    if not isinstance(value, str):
        raise ImageError(f"{what} is not a string")
    return value


def as_digest(value: object, what: str) -> str:
    """Return `value` if it is a valid digest. Raise `ImageError`."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ImageError(f"{what} has an invalid digest: {shown(str(value))}")
    return value


def descriptor(value: object, what: str) -> Descriptor:
    """Return `value`, from `what`, as a descriptor. Raise `ImageError`."""
    raw = as_object(value)
    size = raw.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ImageError(f"{what} has an invalid size: {shown(str(size))}")
    media_type = as_text(raw.get("mediaType"), f"`mediaType` in {what}")
    return Descriptor(media_type, as_digest(raw.get("digest"), what), size, raw)


def descriptors(raw: Json, key: str, what: str) -> tuple[Descriptor, ...]:
    """Return the descriptors in the list `key` of `raw` (`what`). Raise `ImageError`."""
    if key not in raw:
        raise ImageError(f"{what} has no `{key}`")
    where = f"`{key}` in {what}"
    return tuple(descriptor(each, where) for each in as_list(raw[key], where))


def diff_ids(config: Json, layers: int) -> list[str]:
    """Return the digests of the decompressed layers. Raise `ImageError` if there are not `layers`.

    `config` is that of the image.
    """
    listed = as_object(config.get("rootfs")).get("diff_ids")
    found = [as_digest(each, "`diff_ids` in its config") for each in as_list(listed, "`diff_ids`")]
    if len(found) != layers:
        listed = f"its config lists {len(found)} (`rootfs.diff_ids`)"
        raise ImageError(f"it has {counted(layers, 'layer')}, and {listed}")
    return found


def platform_of(config: Json) -> Platform | None:
    """Return the platform that a config, or `platform` in an index, names; None if it is unknown.

    Without a system it is Linux, as for Docker.
    """
    parts = [config.get(key) for key in ("os", "architecture", "variant")]
    texts = [part if isinstance(part, str) and part.isprintable() else "" for part in parts]
    system, architecture, variant = texts
    return Platform(system or "linux", architecture, variant) if architecture else None
