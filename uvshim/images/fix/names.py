"""The names of fixed images, in forms that Docker, skopeo and containerd accept."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from uvshim.errors import ImageError
from uvshim.images import archive, image, reference
from uvshim.images.image import FULL_NAME, TAG
from uvshim.images.reference import DIR, DOCKER_ARCHIVE, OCI, OCI_ARCHIVE
from uvshim.images.sources import docker, skopeo
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uvshim.images.fix.image import FixedImage
    from uvshim.images.image import Descriptor, Json
    from uvshim.images.reference import Reference

# The suffix of the image's tag if --output has no tag.
_SUFFIX = "-fixed"

# The annotation in an index of a fixed image: the digest of the image from which it was made.
FIXED_FROM = "uvshim.fixed-from"

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
    chosen: bool
    """Whether a person named the tag."""


def parse(text: str) -> Reference:
    """Return the reference for --output. Raise `ImageError` if it cannot be written."""
    transport, colon, rest = text.partition(":")
    if not colon or transport not in (*reference.DIRECT, *reference.THROUGH_SKOPEO):
        raise ImageError(
            f"`{text}` does not say what to write. Begin with the kind of place, "
            "as in: oci:DIRECTORY:TAG or docker://REGISTRY/NAME:TAG"
        )
    direct = (OCI, OCI_ARCHIVE, DOCKER_ARCHIVE)
    path, _, tag = rest.partition(":") if transport in direct else (rest, "", "")
    target = reference.Reference(text, transport, path, tag or None)
    if transport not in reference.DIRECT:
        skopeo.require(f"`{text}` is written with skopeo")
    if transport in {*direct, DIR} and (not path or path.endswith(("@sha256", "@sha512"))):
        raise ImageError(f"`{text}` does not name a place and a tag, as in: oci:DIRECTORY:TAG")
    if transport in reference.DIRECT and path == archive.STANDARD_INPUT:
        raise ImageError(f"`{text}`: an image cannot be written to standard output. Name a file")
    if transport in {OCI_ARCHIVE, DOCKER_ARCHIVE, DIR} and os.path.lexists(path):
        kind = "directory" if transport == DIR else "file"
        raise ImageError(f"`{path}` exists, and uvshim does not modify it. Name a new {kind}")
    if transport in {"docker-daemon", "docker", "containers-storage"}:
        _check(re.sub(r"^(//|\[.*\])", "", path))
    elif tag and transport == DOCKER_ARCHIVE:
        _check(tag)
    elif tag and (not _REF_NAME.fullmatch(tag) or len(tag) > _LONGEST):
        raise ImageError(f"`{text}`: {shown(tag)} is not a valid name for an image")
    return target


def _check(name: str) -> None:
    """Raise `ImageError` if `name` is not one that `docker load` accepts."""
    if not _is_valid(name):
        raise ImageError(f"{shown(name)} is not a valid name for an image")


def _is_valid(name: str) -> bool:
    """Return True if `docker load` accepts `name` (distribution, "reference").

    The first part is a host if it has a dot or a port, or is ``localhost``.
    """
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, "latest"
    full = _full(repository)
    host, _, path = full.partition("/")
    return bool(
        _HOST.fullmatch(host)
        and all(map(_PART.fullmatch, path.split("/")))
        and _TAG.fullmatch(tag)
        and len(full) <= _LONGEST
        and not _IDENTIFIER.fullmatch(repository)
    )


def holds_several(target: Reference) -> bool:
    """Return True if several images can be written to `target`, each under its own tag."""
    return target.transport in {OCI, OCI_ARCHIVE, DOCKER_ARCHIVE} and target.tag is None


def completed(target: Reference, images: Sequence[FixedImage]) -> str:
    """Return the name `target`, with the default tag if it has none and gets one image.

    A registry's `latest` is replaced only if a person names it.
    """
    direct = target.transport in reference.DIRECT
    has_tag = target.tag or (not direct and ("@" in target.path or _tag_of(target.path)))
    if has_tag or len(images) != 1 or target.transport == DIR:
        return target.text
    _, tag, names, _ = named(target, images[0])
    if target.transport == DOCKER_ARCHIVE:
        tag = names[0] if len(names) == 1 else None
    return f"{target.text.removesuffix(':')}:{tag}" if tag else target.text


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
    return Named(fixed, tag, list(filter(_is_valid, names)), target.tag is not None)


def _tag_of(name: str) -> str | None:
    """Return the tag in the `name` of an image; None if it has none."""
    name = name.partition("@")[0]
    tag = name.rpartition(":")[2]
    return tag if tag != name and _TAG.fullmatch(tag) else None


def index(before: Sequence[Descriptor], images: Sequence[Named]) -> list[Json]:
    """Return what an index lists that listed `before`, with `images`. Raise `ImageError`.

    An image replaces the one of the same name: tag and, where it is known, repository. There, a tag
    has no repository: if it belongs to another one, and nobody named it, ours becomes a part of it.
    """
    listed = list(before)
    for named in images:
        each = named
        if not named.chosen and any(_is_of_other(one, named) for one in listed):
            each = named._replace(tag=re.sub(r"[/:]", "-", named.names[0]))
        new = _described(each)
        listed = [one for one in listed if one.raw != new.raw and not _is_replaced(one, new, each)]
        listed.append(new)
    return [one.raw for one in listed]


def _is_of_other(one: Descriptor, named: Named) -> bool:
    """Return True if `one` has the tag of the image `named`, and another repository."""
    is_known = one.full_name and named.names
    return bool(
        is_known
        and one.tag == named.tag
        and not docker.same_name(one.full_name or "", _full(named.names[0]))
    )


def _is_replaced(one: Descriptor, new: Descriptor, named: Named) -> bool:
    """Return True if `new`, which is `named` so, replaces `one`; False if `one` stays.

    A tag that nobody named replaces only what was made from the same image. Raise `ImageError`.
    """
    tag, name = shown(new.tag or ""), new.full_name
    same_name = one.full_name and docker.same_name(one.full_name, name or "")
    if not same_name and one.tag != new.tag:
        return False
    if one.full_name and not same_name:
        other = shown(docker.familiar(one.full_name))
        raise ImageError(f"the tag {tag} belongs to {other} there. Choose another one")
    if not named.chosen and one.annotations.get(FIXED_FROM) != new.annotations[FIXED_FROM]:
        made = f"was made from another image than `{named.image.entry.reference}`"
        raise ImageError(f"{tag} is there, and {made}. Name a tag in `--output`")
    return True


def before(fixed: FixedImage) -> str | None:
    """Return the digest of the image from which `fixed` was made."""
    descriptor = fixed.entry.descriptor
    return descriptor.digest if descriptor else fixed.platforms[0].image.digest


def _described(named: Named) -> Descriptor:
    """Return the descriptor of an image with its names, for an index."""
    raw = named.image.descriptor
    annotations = dict(image.as_object(raw.get("annotations")))
    annotations.pop(FULL_NAME, None)
    annotations |= {TAG: named.tag, FIXED_FROM: before(named.image)}
    if named.names:
        annotations[FULL_NAME] = _full(named.names[0])
    return image.descriptor({**raw, "annotations": annotations}, "the new index")


def _full(name: str) -> str:
    """Return the `name` of an image with its registry, as containerd writes it."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"
