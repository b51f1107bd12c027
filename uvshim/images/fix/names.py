"""The names of fixed images, as those who read them accept them."""

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
    from uvshim.images.fix.image import FixedImage
    from uvshim.images.image import Json
    from uvshim.images.reference import Reference

# What is added to the tag of an image where a person names none.
_SUFFIX = "-fixed"

# Tags in an index (OCI annotations, "ref.name"), and what Docker accepts as repository and tag
# (distribution, "reference"). A registry's host may be in front of the repository.
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_REF_NAME = re.compile(r"[A-Za-z0-9]+([-._:@/+]+[A-Za-z0-9]+)*", re.ASCII)
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?", re.ASCII
)

_IDENTIFIER = re.compile(r"[0-9a-f]{64}")  # for Docker, the identifier of an image
_LONGEST = 255


class Named(NamedTuple):
    """An image and the names that it gets."""

    image: FixedImage
    tag: str | None
    names: list[str]


def parse(text: str) -> Reference:
    """Return the reference to a place that can be written. Raise `ImageError`."""
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
    if transport in {OCI_ARCHIVE, DOCKER_ARCHIVE, DIR} and os.path.lexists(path):
        message = f"`{path}` exists: uvshim modifies no archive. Name a new file"
        raise ImageError(message)
    name, valid = tag, _REF_NAME
    if transport in {DOCKER_ARCHIVE, "docker-daemon", "docker", "containers-storage"}:
        valid = _NAME
        name = tag if transport == DOCKER_ARCHIVE else re.sub(r"^(//|\[.*\])", "", path)
    if name and (not valid.fullmatch(name) or len(name) > _LONGEST or _IDENTIFIER.fullmatch(name)):
        message = f"`{text}`: {shown(name)} is not a valid name for an image"
        raise ImageError(message)
    return target


def holds_several(target: Reference) -> bool:
    """Return True if several images can be written to `target`, each under its own tag."""
    return target.transport in {OCI, OCI_ARCHIVE, DOCKER_ARCHIVE} and target.tag is None


def named(target: Reference, fixed: FixedImage) -> Named:
    """Return `fixed` with its names in `target`: without a tag there, those before and a suffix."""
    entry = fixed.entry
    before = [docker.familiar(name) for name in entry.names]
    if target.tag is None:
        tag = entry.tag or _tag_of([*before, entry.reference.partition(":")[2]][0]) or "latest"
        return Named(fixed, tag + _SUFFIX, [name + _SUFFIX for name in before])
    if target.transport == DOCKER_ARCHIVE:
        name = docker.familiar(target.tag)
        return Named(fixed, _tag_of(name), [name])
    repositories = {name.rpartition(":")[0] for name in before}
    if _TAG.fullmatch(target.tag):
        return Named(fixed, target.tag, [f"{each}:{target.tag}" for each in sorted(repositories)])
    names = [docker.familiar(target.tag)] if _NAME.fullmatch(target.tag) else []
    return Named(fixed, target.tag, names)


def _tag_of(name: str) -> str | None:
    """Return the tag in the `name` of an image; None if it has none."""
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
