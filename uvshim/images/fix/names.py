"""The names of fixed images, in forms that Docker, skopeo and containerd accept."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from uvshim.errors import ImageError
from uvshim.images import image, reference
from uvshim.images.image import FULL_NAME, TAG
from uvshim.images.reference import DIR, DOCKER_ARCHIVE, OCI, OCI_ARCHIVE
from uvshim.images.sources import docker, skopeo
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uvshim.images.fix.image import FixedImage
    from uvshim.images.image import Json
    from uvshim.images.reference import Reference

# The suffix of the image's tag if --output has no tag.
_SUFFIX = "-fixed"

# Tags in an index (OCI annotations, "ref.name"), and what Docker accepts as repository and tag
# (distribution, "reference"). A registry's host may be in front of the repository.
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_REF_NAME = re.compile(r"[A-Za-z0-9]+([-._:@/+]+[A-Za-z0-9]+)*", re.ASCII)
_PART = re.compile(r"[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*", re.ASCII)
_HOST = re.compile(
    r"[A-Za-z0-9]+(-+[A-Za-z0-9]+)*(\.[A-Za-z0-9]+(-+[A-Za-z0-9]+)*)*(:\d+)?", re.ASCII
)

_IDENTIFIER = re.compile(r"[0-9a-f]{64}")  # for Docker, the identifier of an image
_LONGEST = 255


class Named(NamedTuple):
    """An image and its new names."""

    image: FixedImage
    tag: str | None
    names: list[str]


def parse(text: str) -> Reference:
    """Return the reference for --output. Raise `ImageError` if it cannot be written."""
    transport, colon, rest = text.partition(":")
    if not colon or transport not in (*reference.DIRECT, *reference.THROUGH_SKOPEO):
        message = (
            f"`{text}` does not say what to write. Begin with the kind of place, "
            "as in: oci:DIRECTORY:TAG or docker://REGISTRY/NAME:TAG"
        )
        raise ImageError(message)
    direct = (OCI, OCI_ARCHIVE, DOCKER_ARCHIVE)
    path, _, tag = rest.partition(":") if transport in direct else (rest, "", "")
    target = reference.Reference(text, transport, path, tag or None)
    if transport not in direct:
        skopeo.require(f"`{text}` is written with skopeo")
    if transport in {*direct, DIR} and (not path or path.endswith(("@sha256", "@sha512"))):
        message = f"`{text}` does not name a place and a tag, as in: oci:DIRECTORY:TAG"
        raise ImageError(message)
    if transport in {OCI_ARCHIVE, DOCKER_ARCHIVE, DIR} and os.path.lexists(path):
        kind = "directory" if transport == DIR else "file"
        message = f"`{path}` exists, and uvshim does not modify it. Name a new {kind}"
        raise ImageError(message)
    if transport in {"docker-daemon", "docker", "containers-storage"}:
        _check(re.sub(r"^(//|\[.*\])", "", path))
    elif tag and transport == DOCKER_ARCHIVE:
        _check(tag)
    elif tag and (not _REF_NAME.fullmatch(tag) or len(tag) > _LONGEST):
        message = f"`{text}`: {shown(tag)} is not a valid name for an image"
        raise ImageError(message)
    return target


def _check(name: str) -> None:
    """Raise `ImageError` if `name` is not one that `docker load` accepts (distribution, reference).

    The first part is a host if it has a dot or a port, or is ``localhost``.
    """
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, "latest"
    full = _full(repository)
    host, _, path = full.partition("/")
    if not (
        _HOST.fullmatch(host)
        and all(map(_PART.fullmatch, path.split("/")))
        and _TAG.fullmatch(tag)
        and len(full) <= _LONGEST
        and not _IDENTIFIER.fullmatch(repository)
    ):
        message = f"{shown(name)} is not a valid name for an image"
        raise ImageError(message)


def holds_several(target: Reference) -> bool:
    """Return True if several images can be written to `target`, each under its own tag."""
    return target.transport in {OCI, OCI_ARCHIVE, DOCKER_ARCHIVE} and target.tag is None


def completed(target: Reference, images: Sequence[FixedImage]) -> Reference:
    """Return `target` with the default tag, if it has none and there is one image.

    A registry's `latest` is replaced only if a person names it.
    """
    direct = target.transport in {OCI, OCI_ARCHIVE, DOCKER_ARCHIVE}
    has_tag = target.tag or (not direct and ("@" in target.path or _tag_of(target.path)))
    if has_tag or len(images) != 1 or target.transport == DIR:
        return target
    _, tag, names = named(target, images[0])
    if target.transport == DOCKER_ARCHIVE:
        if len(names) != 1:
            return target
        tag = names[0]
    text = f"{target.text}:{tag}"
    if not direct:
        return reference.Reference(text, target.transport, f"{target.path}:{tag}", None)
    return reference.Reference(text, target.transport, target.path, tag)


def named(target: Reference, fixed: FixedImage) -> Named:
    """Return `fixed` with its names in `target`: by default, the old ones with a suffix."""
    entry = fixed.entry
    before = [docker.familiar(name) for name in entry.names]
    repositories = sorted({name.rpartition(":")[0] for name in before})
    tag: str | None = target.tag
    if tag is None:
        tag = entry.tag or _tag_of([*before, entry.reference.partition(":")[2]][0]) or "latest"
        tag += _SUFFIX
        names = [name + _SUFFIX for name in before]
    elif target.transport == DOCKER_ARCHIVE:
        names = [docker.familiar(tag)]
        tag = _tag_of(names[0])
    elif _TAG.fullmatch(tag):
        names = [f"{each}:{tag}" for each in repositories]
    else:
        names = [docker.familiar(tag)] if ":" in tag and "@" not in tag else []
    if target.transport in {OCI_ARCHIVE, DOCKER_ARCHIVE}:
        for name in names:
            _check(name)
    return Named(fixed, tag, names)


def _tag_of(name: str) -> str | None:
    """Return the tag in the `name` of an image; None if it has none."""
    name = name.partition("@")[0]
    tag = name.rpartition(":")[2]
    return tag if tag != name and _TAG.fullmatch(tag) else None


def descriptor(named: Named, *, full: bool) -> Json:
    """Return the descriptor of an image with its names, for an index."""
    annotations = dict(image.as_object(named.image.descriptor.get("annotations")))
    annotations.pop(TAG, None)
    if annotations.get(FULL_NAME) and named.tag != named.image.entry.tag:
        del annotations[FULL_NAME]
    if named.tag is not None:
        annotations[TAG] = named.tag
    if full and named.names:
        annotations[FULL_NAME] = _full(named.names[0])
    others = {key: value for key, value in named.image.descriptor.items() if key != "annotations"}
    return {**others, "annotations": annotations} if annotations else others


def _full(name: str) -> str:
    """Return the `name` of an image with its registry, as containerd writes it."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"
