"""What an image consists of: index, manifest, config and layers, in an OCI layout or an archive.

The formats are those of the OCI Image Format Specification (image-layout, index, manifest,
config, descriptor), Docker's manifests of schema 2, and the archives of `docker save`. Whatever
somebody else wrote is bounded in size, its types are looked at, and its digest is verified.
Nothing is unpacked or written.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import posixpath
import re
import tarfile
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol, cast

from uvshim.environments import files
from uvshim.errors import ImageError
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import NoReturn

    Json = Mapping[str, object]

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

# Layers of either kind, whatever they are compressed with: that is told by their content.
_LAYER_TYPE = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+\w+)?"
    r"|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.\w+)?)"
)

# The key of the tag in the annotations of an index (OCI annotations, pre-defined keys), and
# BuildKit's mark for what lies beside the images and is none.
TAG = "org.opencontainers.image.ref.name"
_NOT_AN_IMAGE = ("vnd.docker.reference.type", "attestation-manifest")

# A digest is a part of a path: nothing else may be one (descriptor, "Registered algorithms").
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")

# What registries take for a manifest is 4 MiB.
_JSON_LIMIT = 8 * 1024 * 1024

# How deep an index may lie in another, and how many things may be listed in one.
_DEEPEST_INDEX = 4
_LONGEST_LIST = 10_000

_PIECE = 1024 * 1024


# --- the facts ------------------------------------------------------------------------------------


class Descriptor(NamedTuple):
    """What points to a blob (OCI descriptor)."""

    media_type: str
    digest: str
    """``sha256:`` and 64 digits, or ``sha512:`` and 128; verified to be nothing else."""
    size: int
    raw: Json
    """All of it, as it is written."""

    @property
    def annotations(self) -> Json:
        """Its annotations, none if that is not an object."""
        return _object(self.raw.get("annotations"))

    @property
    def tag(self) -> str | None:
        """The name that it has in its index."""
        tag = self.annotations.get(TAG)
        return tag if isinstance(tag, str) else None

    @property
    def is_image(self) -> bool:
        """Whether it may be an image: an attestation is not."""
        key, value = _NOT_AN_IMAGE
        return self.annotations.get(key) != value


class Manifest(NamedTuple):
    """An image manifest: its config, and its layers from the lowest to the highest."""

    descriptor: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    raw: Json


class Layer(NamedTuple):
    """Where one layer of an image is read from."""

    source: Source
    name: str
    """Its path in `source`."""
    digest: str | None
    """Of its bytes as they lie there; None: it is not known, as of a tar without a manifest."""
    diff_id: str | None
    """Of the tar that it is when it is decompressed; None where `digest` is verified instead."""
    size: int | None
    """How long it must be, in bytes."""

    @property
    def identity(self) -> str | None:
        """What two layers share if they are the same one."""
        return self.digest or self.diff_id

    def open(self) -> Verified:
        """Return a reader of its bytes, which verifies `digest` and `size`. Raises `ImageError`."""
        return Verified(self.source.open(self.name), self.digest, self.size)


class Image(NamedTuple):
    """One image for one platform."""

    reference: str
    """What a person would call it, as skopeo writes names."""
    digest: str | None
    """That of its manifest; of its config where there is no manifest; None in a plain tar."""
    platform: str | None
    """``OS/ARCHITECTURE[/VARIANT]``."""
    layers: tuple[Layer, ...]
    """From the lowest to the highest."""
    manifest: Manifest | None = None
    config: Json | None = None


# --- where the bytes lie --------------------------------------------------------------------------


class Source(Protocol):
    """A directory or an archive with the files of a layout."""

    def open(self, name: str) -> IO[bytes]:
        """Return the regular file at the relative path `name`, open. Raises `ImageError`."""

    def has(self, name: str) -> bool:
        """Say whether there is a file at the relative path `name`."""


class Folder:
    """A directory on this machine."""

    def __init__(self, path: str) -> None:
        """Take the directory at `path`."""
        self.path = path

    def open(self, name: str) -> IO[bytes]:
        """Open a file, as `Source.open` says."""
        path = os.path.join(self.path, name)
        try:
            return files.open_regular(path)
        except OSError as error:
            message = f"`{path}` cannot be read: {error.strerror}"
            raise ImageError(message) from None

    def has(self, name: str) -> bool:
        """Say whether there is a file, as `Source.has` says."""
        return os.path.isfile(os.path.join(self.path, name))


class Copied(Folder):
    """A directory that `skopeo copy` has written (its transport ``dir:``), as if it was a layout.

    Blobs lie in it under their bare digests, and manifests under names of their own. Unlike in a
    layout, skopeo leaves them in it as they are, Docker's too.
    """

    def open(self, name: str) -> IO[bytes]:
        """Open a file, as `Source.open` says."""
        digest = posixpath.basename(name)
        if name == "index.json":
            return io.BytesIO(json.dumps({"manifests": [self._described()]}).encode())
        for own in (digest, f"{digest}.manifest.json"):
            if self.has(own):
                return super().open(own)
        return super().open("manifest.json")

    def _described(self) -> Json:
        """Return the descriptor of the manifest or the index that was copied."""
        with contextlib.closing(Verified(super().open("manifest.json"), None)) as file:
            content = _bounded(file, "manifest.json")
        raw = _json(content, "manifest.json")
        digest = hashlib.sha256(content).hexdigest()
        given = raw.get("mediaType")
        kind = (
            given
            if isinstance(given, str)
            else (INDEX_TYPES if "manifests" in raw else MANIFEST_TYPES)[0]
        )
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}


class Archive:
    """A tar archive that is not compressed, in an open file."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        """List the archive in `file`, which is called `path`. Raises `ImageError`."""
        self.path = path
        self._file = file
        self._members: dict[str, tuple[int, int] | str] = {}
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    name = _plain(member.name)
                    if member.isfile():
                        self._members[name] = (member.offset_data, member.size)
                    elif member.issym():  # as older versions of `docker save` point to a layer
                        self._members[name] = posixpath.join(
                            posixpath.dirname(name), member.linkname
                        )
                    elif member.islnk():
                        self._members[name] = member.linkname
                    archive.members = []  # type: ignore[attr-defined]  # or it would keep them all
                    if len(self._members) > _LONGEST_LIST:
                        message = f"`{path}` has more than {_LONGEST_LIST} files"
                        raise ImageError(message)
        except (tarfile.TarError, *_BROKEN, OSError) as error:
            message = f"`{path}` is not a tar archive that can be read: {error}"
            raise ImageError(message) from None

    def open(self, name: str) -> IO[bytes]:
        """Open a member, as `Source.open` says."""
        place = self._place(name)
        if place is None:
            message = f"`{self.path}` has no file {shown(name)}"
            raise ImageError(message)
        return cast("IO[bytes]", io.BufferedReader(_Window(self._file, *place), _PIECE))

    def has(self, name: str) -> bool:
        """Say whether there is a member, as `Source.has` says."""
        return self._place(name) is not None

    def names(self) -> list[str]:
        """Return the names of all members, in their order."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Return the size of a member in bytes; 0 if there is none."""
        return (self._place(name) or (0, 0))[1]

    def _place(self, name: str) -> tuple[int, int] | None:
        place: tuple[int, int] | str | None = name
        for _ in range(8):
            if not isinstance(place, str):
                return place
            place = self._members.get(_plain(place))
        return None


class Single:
    """One open file, whatever its name."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        """Take the open `file`, which is called `path`."""
        self.path = path
        self._file = file

    def open(self, name: str) -> IO[bytes]:  # noqa: ARG002
        """Return the file from its beginning, as `Source.open` says."""
        size = os.fstat(self._file.fileno()).st_size
        return cast("IO[bytes]", io.BufferedReader(_Window(self._file, 0, size), _PIECE))

    def has(self, name: str) -> bool:
        """Say whether `name` is this file's."""
        return name == self.path


class Memory:
    """One file that lies nowhere."""

    def __init__(self, content: bytes) -> None:
        """Take `content` for that of the file."""
        self._content = content

    def open(self, name: str) -> IO[bytes]:  # noqa: ARG002
        """Return the file from its beginning, as `Source.open` says."""
        return io.BytesIO(self._content)

    def has(self, name: str) -> bool:
        """Say that the only file has no name."""
        return not name


def in_memory(content: bytes) -> Layer:
    """Return the layer with `content`."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Layer(Memory(content), "", digest, None, len(content))


class _Window(io.RawIOBase):
    """A part of a file, read from its beginning whatever else is read of the file meanwhile."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._descriptor = file.fileno()
        self._at = start
        self._end = start + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = max(min(len(buffer), self._end - self._at), 0)
        got = os.preadv(self._descriptor, [buffer[:wanted]], self._at) if wanted else 0
        self._at += got
        return got


class Verified:
    """The bytes of a blob, whose digest and size are verified while they are read.

    They are good only once `finish` has returned.
    """

    def __init__(self, file: IO[bytes], digest: str | None, size: int | None = None) -> None:
        """Read `file`, which must have `digest` and `size` where these are known."""
        self._file = file
        self._digest = digest
        self._size = size
        self._hash = None if digest is None else hashlib.new(digest.partition(":")[0])
        self._read = 0
        self._head = b""

    def peek(self, length: int) -> bytes:
        """Return the first `length` bytes, which are read again afterwards."""
        self._head = self.read(length)
        return self._head

    def read(self, length: int = -1) -> bytes:
        """Return up to `length` bytes, none at the end. Raises `ImageError`."""
        if self._head:
            head, self._head = self._head[:length], self._head[length:]
            return head
        try:
            piece = self._file.read(_PIECE if length < 0 else length)
        except OSError as error:
            self._fail(error)
        self._take(piece)
        return piece

    def readinto(self, buffer: bytearray) -> int:
        """Read into `buffer`, and return how much. Raises `ImageError`."""
        view = memoryview(buffer)
        if self._head:
            piece = self.read(len(view))
            view[: len(piece)] = piece
            return len(piece)
        try:
            length: int = self._file.readinto(view)  # type: ignore[attr-defined]
        except OSError as error:
            self._fail(error)
        self._take(view[:length])
        return length

    def _take(self, piece: bytes | memoryview) -> None:
        """Count and hash the `piece`, which is the next one."""
        self._read += len(piece)
        if self._size is not None and self._read > self._size:
            message = f"{self._digest} is longer than the {self._size} bytes that it should have"
            raise ImageError(message)
        if self._hash is not None:
            self._hash.update(piece)

    def _fail(self, error: OSError) -> NoReturn:
        message = f"{self._digest or 'it'} cannot be read: {error.strerror or error}"
        raise ImageError(message) from None

    def finish(self) -> None:
        """Read what is left, and compare. Raises `ImageError` if the digest is another one."""
        while self.read(_PIECE):
            pass
        self.close()
        if self._size is not None and self._read != self._size:
            message = f"{self._digest} has {self._read} bytes instead of {self._size}"
            raise ImageError(message)
        if self._hash is not None and self._digest is not None:
            algorithm = self._digest.partition(":")[0]
            found = f"{algorithm}:{self._hash.hexdigest()}"
            if found != self._digest:
                message = f"{self._digest} is damaged: its digest is {found}"
                raise ImageError(message)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


# --- an OCI layout --------------------------------------------------------------------------------


class Layout:
    """An OCI image layout, in a directory or an archive."""

    def __init__(self, source: Source, name: str) -> None:
        """Take the layout in `source`; `name` is what a person calls it, transport included."""
        self.source = source
        self.name = name

    def index(self) -> tuple[Json, tuple[Descriptor, ...]]:
        """Return index.json, and the descriptors in it. Raises `ImageError`."""
        with contextlib.closing(Verified(self.source.open("index.json"), None)) as file:
            raw = _json(_bounded(file, "index.json"), "index.json")
        return raw, all_described(raw, "manifests", "index.json")

    def path(self, digest: str) -> str:
        """Return where the blob of a valid `digest` lies, as a relative path."""
        algorithm, _, value = digest.partition(":")
        return f"blobs/{algorithm}/{value}"

    def json(self, descriptor: Descriptor) -> Json:
        """Return the object in the blob of `descriptor`, verified. Raises `ImageError`."""
        file = Verified(
            self.source.open(self.path(descriptor.digest)), descriptor.digest, descriptor.size
        )
        with contextlib.closing(file):
            content = _bounded(file, descriptor.digest)
            file.finish()
        return _json(content, descriptor.digest)

    def nested(self, descriptor: Descriptor) -> tuple[Json, tuple[Descriptor, ...]]:
        """Return the index that `descriptor` points to, and the descriptors in it."""
        raw = self.json(descriptor)
        return raw, all_described(raw, "manifests", descriptor.digest)

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Return the manifest that `descriptor` points to. Raises `ImageError`."""
        raw = self.json(descriptor)
        config = described(raw.get("config"), f"the config in {descriptor.digest}")
        layers = all_described(raw, "layers", descriptor.digest)
        return Manifest(descriptor, config, layers, raw)

    def images(self, tag: str | None = None) -> list[Image]:
        """Return the images called `tag`, for every platform; without one, all there are.

        `tag` may also be a digest, or ``@N`` for the Nth in the index. What is not an image, such
        as an attestation or a signature, is left out. Raises `ImageError`.
        """
        found = [
            self._image(manifest, self.name + (f":{one.tag}" if one.tag else ""))
            for one in self.chosen(tag)
            for manifest in self._manifests(one, _DEEPEST_INDEX)
        ]
        if not found:
            message = "there is no container image in it"
            raise ImageError(message)
        return found

    def chosen(self, tag: str | None) -> list[Descriptor]:
        """Return what index.json has under the name `tag`, as `images` does. Raises `ImageError`.

        An index for several platforms is one descriptor.
        """
        _, descriptors = self.index()
        found = [one for number, one in enumerate(descriptors) if _called(one, number, tag)]
        if not found and tag is not None:
            names = ", ".join(sorted(one.tag for one in descriptors if one.tag)[:8]) or "none"
            message = f"there is no image {shown(tag)} in it; its tags: {shown(names, 300)}"
            raise ImageError(message)
        return found

    def _manifests(self, descriptor: Descriptor, depth: int) -> Iterator[Manifest]:
        """Yield the manifests of images that `descriptor` leads to."""
        if not descriptor.is_image:
            return
        if descriptor.media_type in INDEX_TYPES:
            if depth == 0:
                message = f"{descriptor.digest} is an index too deep in others"
                raise ImageError(message)
            for one in self.nested(descriptor)[1]:
                yield from self._manifests(one, depth - 1)
        elif descriptor.media_type in MANIFEST_TYPES:
            manifest = self.manifest(descriptor)
            if manifest.config.media_type in CONFIG_TYPES:
                yield manifest

    def _image(self, manifest: Manifest, reference: str) -> Image:
        config = self.json(manifest.config)
        for layer in manifest.layers:
            if not _LAYER_TYPE.fullmatch(layer.media_type):
                message = f"its layer {layer.digest} is not a tar: {shown(layer.media_type)}"
                raise ImageError(message)
        layers = tuple(
            Layer(self.source, self.path(each.digest), each.digest, None, each.size)
            for each in manifest.layers
        )
        digest = manifest.descriptor.digest
        return Image(reference, digest, _platform(config), layers, manifest, config)


def _called(descriptor: Descriptor, number: int, tag: str | None) -> bool:
    return tag is None or tag in {descriptor.tag, descriptor.digest, f"@{number}"}


def images_in(content: bytes) -> list[Descriptor] | None:
    """Return the descriptors of the images that a manifest or an index with `content` stands for.

    None: that takes more than this. Raises `ImageError`.
    """
    what = "the manifest"
    if len(content) > _JSON_LIMIT:
        return None
    raw = _json(content, what)
    if "manifests" in raw:
        listed = [one for one in all_described(raw, "manifests", what) if one.is_image]
        return listed if all(one.media_type in MANIFEST_TYPES for one in listed) else None
    config = described(raw.get("config"), what)
    if config.media_type not in CONFIG_TYPES:
        return None
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return [Descriptor(MANIFEST_TYPES[0], digest, len(content), raw)]


# --- an archive of `docker save` ------------------------------------------------------------------


def docker_archive(archive: Archive, name: str, wanted: str | None = None) -> list[Image]:
    """Return the images in an `archive` of `docker save`, or the one that is called `wanted`.

    `name` is what a person calls the archive, transport included; `wanted` a repository with or
    without a tag, or ``@N`` for the Nth. Raises `ImageError`.
    """
    found = []
    for number, raw in enumerate(saved(archive)):
        tags = [tag for tag in _list(raw.get("RepoTags") or [], "RepoTags") if isinstance(tag, str)]
        if wanted is None or wanted == f"@{number}" or _familiar(wanted) in map(_familiar, tags):
            tag = tags[0] if tags else f"@{number}"
            found.append(_docker_image(archive, raw, f"{name}:{tag}"))
    if not found:
        what = "there is no image in it" if wanted is None else f"it has no image {shown(wanted)}"
        raise ImageError(what)
    return found


def saved(archive: Archive) -> list[Json]:
    """Return what the manifest.json of `docker save` lists, an object for each image."""
    with contextlib.closing(Verified(archive.open("manifest.json"), None)) as file:
        content = _bounded(file, "manifest.json")
    return [_object(each) for each in _list(_loaded(content, "manifest.json"), "manifest.json")]


def _docker_image(archive: Archive, raw: Json, reference: str) -> Image:
    """Return one image of manifest.json, whose layers are verified by the diff_ids of its config.

    The config's digest stands in its name, whose form depends on the version of Docker.
    """
    name = _text(raw, "Config", "manifest.json")
    hexadecimal = re.search(r"(?:^|/)([0-9a-f]{64})(?:\.json)?$", name)
    digest = f"sha256:{hexadecimal[1]}" if hexadecimal else None
    file = Verified(archive.open(name), digest)
    with contextlib.closing(file):
        content = _bounded(file, shown(name))
        file.finish()
    config = _json(content, shown(name))
    rootfs = _object(config.get("rootfs"))
    diff_ids = [_digest(one, shown(name)) for one in _list(rootfs.get("diff_ids"), "diff_ids")]
    names = _list(raw.get("Layers"), "Layers")
    if len(names) != len(diff_ids):
        message = f"it has {len(names)} layers, and {len(diff_ids)} digests of layers"
        raise ImageError(message)
    layers = tuple(
        Layer(archive, _name(one), None, diff_id, None)
        for one, diff_id in zip(names, diff_ids, strict=True)
    )
    return Image(reference, digest, _platform(config), layers, None, config)


def _name(value: object) -> str:
    """Return `value` as the name of a file. Raises `ImageError` if it is not a string."""
    if not isinstance(value, str):
        message = f"it names a layer by something other than a string: {shown(str(value))}"
        raise ImageError(message)
    return value


def _familiar(name: str) -> str:
    """Return the name of an image as people write it: without Docker's own registry, with a tag."""
    name = name.removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


# --- JSON that somebody else wrote ----------------------------------------------------------------

# What Python raises for data that is not what it should be.
_BROKEN = (ValueError, OverflowError, RecursionError, KeyError, IndexError, EOFError)


def _bounded(file: Verified, what: str) -> bytes:
    """Return all of `file`. Raises `ImageError` if that is too long."""
    content = b""
    while piece := file.read(_JSON_LIMIT + 1 - len(content)):
        content += piece
        if len(content) > _JSON_LIMIT:
            message = f"{what} is longer than {_JSON_LIMIT} bytes"
            raise ImageError(message)
    return content


def content(blob: Layer) -> bytes:
    """Return all of a `blob`, which is not long. Raises `ImageError`."""
    with contextlib.closing(blob.open()) as file:
        found = _bounded(file, blob.digest or blob.name)
        file.finish()
    return found


def _loaded(content: bytes, what: str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        message = f"{what} is not JSON"
        raise ImageError(message) from None


def _json(content: bytes, what: str) -> Json:
    raw = _loaded(content, what)
    if not isinstance(raw, dict):
        message = f"{what} is not a JSON object"
        raise ImageError(message)
    return raw


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list) or len(value) > _LONGEST_LIST:
        message = f"{what} is not a list, or too long"
        raise ImageError(message)
    return value


def _text(raw: Json, key: str, what: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str):
        message = f"{what} has no `{key}` that is a text"
        raise ImageError(message)
    return value


def _digest(value: object, what: str) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        message = f"{what} has a digest that is not one: {shown(str(value))}"
        raise ImageError(message)
    return value


def all_described(raw: Json, key: str, what: str) -> tuple[Descriptor, ...]:
    """Return the descriptors in the list `key` of `raw`, which is called `what`.

    Raises `ImageError`, as `described` does.
    """
    listed = _list(raw.get(key), f"`{key}` in {what}")
    return tuple(described(each, f"`{key}` in {what}") for each in listed)


def described(value: object, what: str) -> Descriptor:
    """Return the descriptor that `value`, from `what`, is. Raises `ImageError` if it is none."""
    raw = _object(value)
    size = raw.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        message = f"{what} has a size that is not one: {shown(str(size))}"
        raise ImageError(message)
    media_type = _text(raw, "mediaType", what)
    return Descriptor(media_type, _digest(raw.get("digest"), what), size, raw)


def _platform(config: Json) -> str | None:
    parts = [config.get(key) for key in ("os", "architecture", "variant")]
    texts = [part for part in parts if isinstance(part, str) and part]
    return "/".join(texts) or None


def _plain(name: str) -> str:
    """Return `name` as a relative path without detours."""
    return posixpath.normpath("/" + name).lstrip("/")
