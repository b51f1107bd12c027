"""The names of fixed images, in forms that Docker, skopeo and containerd accept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from uvshim.errors import ImageError
from uvshim.images import archive, image, reference
from uvshim.images.image import FULL_NAME, TAG, Descriptor, Entry, Json
from uvshim.images.reference import DIR, DOCKER_ARCHIVE, OCI, OCI_ARCHIVE, Reference
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uvshim.images.fix.image import FixedImage

# What is written as an OCI layout, where each image has its own tag.
LAYOUTS = (OCI, OCI_ARCHIVE, DOCKER_ARCHIVE)

# Where names are those of Docker: a repository, and perhaps a tag.
_NAMED_BY_DOCKER = ("docker-daemon", "docker", "containers-storage")

# The suffix of the image's tag if --output has no tag.
_SUFFIX = "-fixed"

# The annotation in an index of a fixed image: the digest of the image from which it was made.
FIXED_FROM = "uvshim.fixed-from"

# Tags in an index (OCI annotations, "ref.name"), and names for Docker (distribution, "reference"):
# a registry's host may be in front of the repository.
_REF_NAME = re.compile(r"[A-Za-z0-9]+([-._:@/+]+[A-Za-z0-9]+)*", re.ASCII)
_LABEL = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*(?::\d+)?"
_IS_HOST = r"localhost/|[^/]*[.:][^/]*/"
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_NAME = re.compile(
    rf"((?:(?={_IS_HOST}){_HOST}/|(?!{_IS_HOST})){_PART}(?:/{_PART})*)(?::{_TAG.pattern})?",
    re.ASCII,
)

_IDENTIFIER = re.compile(r"(sha256:)?[0-9a-f]{64}")  # for Docker, the identifier of an image
_LONGEST = 255


class Named(NamedTuple):
    """An image and its new names."""

    image: FixedImage
    tag: str | None
    names: list[str]
    chosen: bool
    """Whether a person named the tag."""


def parse(text: str) -> Reference:
    """Return the reference for --output. Raise `ImageError` if nothing can have that name."""
    transport, colon, rest = text.partition(":")
    if not colon or transport not in (*reference.DIRECT, *reference.THROUGH_SKOPEO):
        raise ImageError(
            f"`{text}` does not say what to write. Begin with the kind of place, "
            "as in: oci:DIRECTORY:TAG or docker://REGISTRY/NAME:TAG"
        )
    path, _, tag = rest.partition(":") if transport in LAYOUTS else (rest, "", "")
    target = reference.Reference(text, transport, path, tag or None)
    if transport in {*LAYOUTS, DIR} and (not path or path.endswith(("@sha256", "@sha512"))):
        raise ImageError(f"`{text}` does not name a place and a tag, as in: oci:DIRECTORY:TAG")
    if transport in reference.DIRECT and path == archive.STANDARD_INPUT:
        raise ImageError(f"`{text}`: an image cannot be written to standard output. Name a file")
    if transport in _NAMED_BY_DOCKER:
        name, is_valid = path, _is_valid(_without_place(path))
    elif transport == DOCKER_ARCHIVE:
        name, is_valid = tag, not tag or _is_valid(tag)
    else:
        name, is_valid = tag, not tag or bool(_REF_NAME.fullmatch(tag) and len(tag) <= _LONGEST)
    if not is_valid:
        raise ImageError(f"`{text}`: {shown(name)} is not a valid name for an image")
    return target


def _is_valid(name: str) -> bool:
    """Return True if `docker load` accepts `name`."""
    found = _NAME.fullmatch(name)
    return bool(found and len(_full(found[1])) <= _LONGEST and not _IDENTIFIER.fullmatch(found[1]))


def _without_place(path: str) -> str:
    """Return the name in the `path` of a reference to a registry or an engine's storage."""
    return re.sub(r"^(//|\[.*\])", "", path)


def holds_several(target: Reference) -> bool:
    """Return True if several images can be written to `target`, each under its own tag."""
    return target.transport in LAYOUTS and target.tag is None


def completed(target: Reference, fixed: FixedImage) -> str:
    """Return the name `target` of the image `fixed`, with the default tag if it has none.

    A registry's `latest` is replaced only if a person names it. Raise `ImageError` if neither
    `target` nor the image has a tag: a registry's is replaced whatever it was made from.
    """
    direct = target.transport in reference.DIRECT
    name = _without_place(target.path)
    has_tag = target.tag or (not direct and ("@" in name or _tag_of(name)))
    if has_tag or target.transport == DIR:
        return target.text
    entry = fixed.entry
    if target.transport in _NAMED_BY_DOCKER and _tag_before(entry) is None:
        example = f"{target.text}:1.0{_SUFFIX}"
        raise ImageError(
            f"`{entry.reference}` has no tag. Name one in `--output`, as in: {example}"
        )
    _, tag, names, _ = named(target, fixed)
    if target.transport == DOCKER_ARCHIVE:
        tag = names[0] if len(names) == 1 else None
    elif tag and target.transport in _NAMED_BY_DOCKER:
        tag = _tag_of(tag) or tag  # without a repository of its own
    return f"{target.text.removesuffix(':')}:{tag}" if tag else target.text


def named(target: Reference, fixed: FixedImage) -> Named:
    """Return `fixed` with its names in `target`: by default, the old ones with a suffix.

    What is unchanged and has it keeps its names: a second run adds none.
    """
    entry = fixed.entry
    before = _names_of(entry)
    repositories = sorted({name.rpartition(":")[0] for name in before})
    tag: str | None = target.tag
    if tag is None:
        tag = _suffixed(_tag_before(entry) or "latest", fixed)
        names = [_suffixed(name, fixed) for name in before]
    elif target.transport == DOCKER_ARCHIVE:
        names = [image.familiar(tag)]
        tag = _tag_of(names[0])
    elif _TAG.fullmatch(tag):
        names = [f"{each}:{tag}" for each in repositories]
    else:
        names = [image.familiar(tag)] if ":" in tag and "@" not in tag else []
    valid = [each for each in names if _is_valid(each)]
    if target.transport in {OCI_ARCHIVE, DOCKER_ARCHIVE} and valid != names:
        invalid = next(each for each in names if each not in valid)
        raise ImageError(f"{shown(invalid)} is not a valid name for an image")
    return Named(fixed, tag, valid, target.tag is not None)


def _names_of(entry: Entry) -> list[str]:
    """Return the names that `entry` has, each a repository and a tag; [] if none is known.

    podman, buildah and skopeo write such a name where a layout has a tag.
    """
    transport, _, path = entry.reference.partition(":")
    known = entry.names
    if transport in _NAMED_BY_DOCKER:
        name = _without_place(path).partition("@")[0]
        known = () if not name or _IDENTIFIER.fullmatch(name) else (name,)
    elif not known and entry.tag and ":" in entry.tag and _is_valid(entry.tag):
        known = (entry.tag,)
    return [image.familiar(name) for name in known]


def _suffixed(name: str, fixed: FixedImage) -> str:
    return name if name.endswith(_SUFFIX) and not fixed.changed else name + _SUFFIX


def _tag_before(entry: Entry) -> str | None:
    """Return the tag of the image `entry`; None if it is known by its digest or not at all."""
    transport, _, path = entry.reference.partition(":")
    name = _without_place(path)
    if transport in _NAMED_BY_DOCKER and "@" in name:
        return _tag_of(name)
    known = _names_of(entry)
    return entry.tag or (_tag_of(known[0]) if known else None)


def _fixed_from(entry: Entry) -> object:
    """Return the digest of the image from which uvshim made `entry`, if its index says so."""
    return entry.descriptor and entry.descriptor.annotations.get(FIXED_FROM)


def _tag_of(name: str) -> str | None:
    name = name.partition("@")[0]
    tag = name.rpartition(":")[2]
    return tag if tag != name and _TAG.fullmatch(tag) else None


def index(
    before: Sequence[Descriptor], images: Sequence[Named]
) -> tuple[list[Json], list[str | None]]:
    """Return what an index lists that listed `before`, with `images`; and the first tag of each.

    An image replaces the one of the same name: tag and, where it is known, repository. There, a tag
    has no repository: if it belongs to another one, and nobody named it, ours becomes a part of it.
    Raise `ImageError`.
    """
    listed = list(before)
    tags = [[_add(listed, each) for each in _by_name(one)] for one in images]
    return [one.raw for one in listed], [first for first, *_ in tags]


def _add(listed: list[Descriptor], named: Named) -> str | None:
    """Add the image that is `named` so to those `listed`, and return its tag."""
    new = _described(named)
    if not named.chosen and named.names and any(_is_of_other(one, new) for one in listed):
        new = _described(named._replace(tag=re.sub(r"[/:]", "-", named.names[0])))
    for one in [*listed]:
        if one.tag == new.tag or (new.full_name and one.full_name == new.full_name):
            _check_replaced(one, new, named)
            listed.remove(one)
    listed.append(new)
    return new.tag


def _by_name(named: Named) -> list[Named]:
    """Return `named` for each of its names: containerd reads no other list of them.

    A tag that a person has chosen belongs to one.
    """
    if named.chosen or not named.names[1:]:
        return [named]
    return [named._replace(tag=_tag_of(each), names=[each]) for each in named.names]


def _is_of_other(one: Descriptor, new: Descriptor) -> bool:
    return one.tag == new.tag and one.full_name not in {None, new.full_name}


def _check_replaced(one: Descriptor, new: Descriptor, named: Named) -> None:
    """Raise `ImageError` if `new`, the image that is `named` so, must not replace `one`.

    A tag that nobody named replaces only what was made from the same image.
    """
    tag = shown(new.tag or "")
    if _is_of_other(one, new):
        other = shown(one.full_name or "")
        raise ImageError(f"the tag {tag} belongs to {other} there. Choose another one")
    if not named.chosen and one.annotations.get(FIXED_FROM) != new.annotations[FIXED_FROM]:
        made = f"was made from another image than `{named.image.entry.reference}`"
        raise ImageError(f"{tag} is there, and {made}. Name a tag in `--output`")


def before(fixed: FixedImage) -> str | None:
    """Return the digest of the image from which `fixed` was made."""
    descriptor = fixed.entry.descriptor
    return descriptor.digest if descriptor else fixed.platforms[0].image.digest


def _described(named: Named) -> Descriptor:
    raw = named.image.descriptor
    annotations = dict(image.as_object(raw.get("annotations")))
    annotations.pop(FULL_NAME, None)
    made_from = None if named.image.changed else _fixed_from(named.image.entry)
    annotations |= {TAG: named.tag, FIXED_FROM: made_from or before(named.image)}
    if named.names:
        annotations[FULL_NAME] = _full(named.names[0])
    return image.descriptor({**raw, "annotations": annotations}, "the new index")


def _full(name: str) -> str:
    """Return the `name` of an image with its registry, as containerd writes it."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"
