"""Where a mended image is written: into a layout, to an archive, or wherever skopeo copies to.

What was there before stays: blobs and a tag are added. A layout is never anything but valid: its
blobs get their names when they are complete, and `index.json` is replaced in the end. An archive is
written beside and then takes its place. Two at once wait for one another, so that neither loses
what the other has added. Whatever fails is undone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from uvshim.errors import ImageError
from uvshim.images import layout, reference, tar
from uvshim.images.layout import CONFIG_TYPES, Archive, Folder, Layout
from uvshim.images.mend import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from uvshim.images.layout import Json, Layer
    from uvshim.images.mend import New
    from uvshim.images.reference import Reference

_LAYOUT_FILE = "oci-layout"
_INDEX = "index.json"
_DOCKERS = "manifest.json"

# The content of the first (OCI image-layout specification, "oci-layout file"), and of the second
# where there is nothing yet.
_LAYOUT = {"imageLayoutVersion": "1.0.0"}
_NO_IMAGES: Json = {"schemaVersion": 2, "manifests": []}

# What is being written and has no other name yet; a run that was killed leaves it, and the next one
# writes over it.
_UNFINISHED = ".uvshim-unfinished"

# In an archive of `docker save`, other lists of what is in it than the one that is written anew.
_OTHER_LISTS = (_INDEX, _LAYOUT_FILE, "repositories")

_PIECE = 1024 * 1024


class Tagged(NamedTuple):
    """An image to be written, and the name it gets there."""

    image: New
    tag: str | None
    before: str | None
    """The name that it had."""


def parse(text: str) -> Reference:
    """Return the reference to what may be written in `text`. Raises `ImageError`."""
    transport = text.partition(":")[0]
    found = reference.parse(text) if transport in reference.TRANSPORTS else None
    if found is None or not found.transport:
        message = (
            f"`{text}` does not say what to write. It begins with the kind of place, "
            "as in: oci:DIRECTORY:TAG or docker://REGISTRY/NAME:TAG"
        )
        raise ImageError(message)
    if not _is_direct(found) and shutil.which("skopeo") is None:
        message = (
            f"`{text}` is written with skopeo, which is not installed. Install the package "
            "`skopeo` of your system, as in: apt-get install skopeo"
        )
        raise ImageError(message)
    return found


def holds_several(target: Reference) -> bool:
    """Say whether several images can be written to `target` at once, each under its own tag."""
    return target.transport in {reference.OCI, reference.OCI_ARCHIVE} and target.tag is None


def same_place(one: Reference, other: Reference) -> bool:
    """Say whether `one` and `other` lie in the same layout or archive."""
    return (
        (_is_direct(one) or not one.transport)
        and _is_direct(other)
        and os.path.realpath(one.path) == os.path.realpath(other.path)
    )


def write(target: Reference, images: Sequence[Tagged]) -> str | None:
    """Write `images` to `target`; return the digest, if it is another one there.

    Raises `ImageError`, and has changed nothing.
    """
    try:
        if target.transport == reference.OCI:
            _to_layout(os.path.abspath(target.path), images)
        elif target.transport == reference.OCI_ARCHIVE:
            _to_archive(target, lambda archive, old: _oci_members(archive, old, images))
        elif target.transport == reference.DOCKER_ARCHIVE:
            _to_archive(target, lambda archive, old: _docker_members(archive, old, images[0]))
            return _parts(images[0].image)[0].digest
        else:
            return _through_skopeo(target, images[0].image)
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else target.path
        message = f"`{place}` cannot be written: {error.strerror or error}"
        raise ImageError(message) from None
    return None


def _is_direct(target: Reference) -> bool:
    return target.transport in {reference.OCI, reference.OCI_ARCHIVE, reference.DOCKER_ARCHIVE}


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Wait until no other uvshim writes to `directory`, and keep others waiting meanwhile."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(ImportError, OSError):  # some file systems know no locks
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which gives the lock back


def _new_file(path: str) -> IO[bytes]:
    """Open the file `path`, which no link leads elsewhere from, to be written."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return open(path, "xb")


def _looks_like(path: str, old: str) -> None:
    """Give the file `path` mode and owner of the file `old`, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(old)
        with contextlib.suppress(PermissionError):
            os.chown(path, status.st_uid, status.st_gid)
        os.chmod(path, stat.S_IMODE(status.st_mode))


def _copy(blob: Layer, file: IO[bytes]) -> None:
    """Write the content of `blob` to `file`. Raises `ImageError` if that is damaged."""
    with contextlib.closing(blob.open()) as source:
        while piece := source.read(_PIECE):
            file.write(piece)
        source.finish()


# --- a layout -------------------------------------------------------------------------------------


def _to_layout(path: str, images: Sequence[Tagged]) -> None:
    with contextlib.ExitStack() as undo:
        _make_directory(path, undo)
        with _alone(path), contextlib.ExitStack() as changes:
            _begin_layout(path, changes)
            raw, listed = Layout(Folder(path), path).index()
            for image in images:
                for blob in image.image.blobs:
                    _add_blob(path, blob, changes)
            old = [one.raw for one in listed]
            _replace(path, _INDEX, _dumped({**raw, "manifests": _listing(old, images)}))
            changes.pop_all()
        undo.pop_all()


def _make_directory(path: str, undo: contextlib.ExitStack) -> None:
    """Make the directory `path`, and those above it, where they are missing."""
    if os.path.isdir(path):
        return
    _make_directory(os.path.dirname(path), undo)
    with contextlib.suppress(FileExistsError):  # of another run, in this moment
        os.mkdir(path)
        undo.callback(_remove, os.rmdir, path)


def _remove(how: Callable[[str], None], path: str) -> None:
    with contextlib.suppress(OSError):
        how(path)


def _begin_layout(path: str, undo: contextlib.ExitStack) -> None:
    """Make an empty layout of the directory `path`, where it is none."""
    undo.callback(_remove, os.unlink, os.path.join(path, _UNFINISHED))
    for name, content in ((_LAYOUT_FILE, _LAYOUT), (_INDEX, _NO_IMAGES)):
        if not os.path.lexists(os.path.join(path, name)):
            _replace(path, name, _dumped(content))
            undo.callback(_remove, os.unlink, os.path.join(path, name))


def _add_blob(path: str, blob: Layer, undo: contextlib.ExitStack) -> None:
    """Add `blob` to the layout at `path`, unless it is there."""
    algorithm, _, value = (blob.digest or "").partition(":")
    directory = os.path.join(path, "blobs", algorithm)
    final = os.path.join(directory, value)
    if os.path.isfile(final) and os.path.getsize(final) == blob.size:
        return
    _make_directory(directory, undo)
    unfinished = os.path.join(path, _UNFINISHED)
    with _new_file(unfinished) as file:
        _copy(blob, file)
    undo.callback(_remove, os.unlink, final)
    os.replace(unfinished, final)


def _replace(path: str, name: str, content: bytes) -> None:
    """Put a file `name` with `content` into the layout at `path` in one step."""
    unfinished = os.path.join(path, _UNFINISHED)
    with _new_file(unfinished) as file:
        file.write(content)
    _looks_like(unfinished, os.path.join(path, name))
    os.replace(unfinished, os.path.join(path, name))


def _listing(old: Sequence[Json], images: Sequence[Tagged]) -> list[Json]:
    """Return the descriptors of an index that listed `old`, with `images` in it."""
    new = [named(each.image.described, each.tag, each.before) for each in images]
    tags = {_tag(one) for one in new} - {None}
    return [one for one in old if _tag(one) not in tags and one not in new] + new


def _tag(raw: Json) -> object:
    return layout.described(raw, _INDEX).tag


def _dumped(raw: object) -> bytes:
    return json.dumps(raw, separators=(",", ":")).encode()


# --- archives -------------------------------------------------------------------------------------


def _to_archive(
    target: Reference, fill: Callable[[tarfile.TarFile, Layout | Archive | None], None]
) -> None:
    """Write what `fill` adds, and knows of the archive that is there, in place of that."""
    path = os.path.realpath(target.path)
    unfinished = f"{path}{_UNFINISHED}"
    with _alone(os.path.dirname(path)), contextlib.ExitStack() as stack:
        old = None
        if os.path.lexists(path):
            found = reference.place(target, stack)
            old = None if isinstance(found, layout.Layer) else found
        stack.callback(_remove, os.unlink, unfinished)
        with _new_file(unfinished) as file, tarfile.open(fileobj=file, mode="w") as archive:
            fill(archive, old)
        _looks_like(unfinished, path)
        os.replace(unfinished, path)


def _oci_members(
    archive: tarfile.TarFile, old: Layout | Archive | None, images: Sequence[Tagged]
) -> None:
    """Fill an archive of a layout: what the `old` one has, and `images`."""
    raw, listed = _NO_IMAGES, []
    written = {_INDEX}
    if isinstance(old, Layout):
        raw, descriptors = old.index()
        listed = [one.raw for one in descriptors]
        written |= _kept(archive, cast("Archive", old.source), {_INDEX})
    if _LAYOUT_FILE not in written:
        _member(archive, _LAYOUT_FILE, _dumped(_LAYOUT))
    for image in images:
        for blob in image.image.blobs:
            name = Layout(blob.source, "").path(blob.digest or "")
            if name not in written:
                _member_of(archive, name, blob)
                written.add(name)
    _member(archive, _INDEX, _dumped({**raw, "manifests": _listing(listed, images)}))


def _docker_members(archive: tarfile.TarFile, old: Layout | Archive | None, tagged: Tagged) -> None:
    """Fill an archive as `docker save` writes it: what the `old` one has, and an image."""
    config, layers = _parts(tagged.image)
    content = layout.content(config)
    entries: list[Json] = []
    written: set[str] = set()
    if isinstance(old, Archive):
        entries = [kept for one in layout.saved(old) if (kept := _without(one, tagged.tag))]
        written = _kept(archive, old, {_DOCKERS, *_OTHER_LISTS})
    names = []
    diff_ids = json.loads(content)["rootfs"]["diff_ids"]
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        names.append(f"{diff_id.partition(':')[2]}.tar")
        if names[-1] not in written:
            _plain_member(archive, names[-1], layer, diff_id)
            written.add(names[-1])
    name = f"{(config.digest or '').partition(':')[2]}.json"
    if name not in written:
        _member(archive, name, content)
    tags = [] if tagged.tag is None else [tagged.tag]
    entry = {"Config": name, "RepoTags": tags, "Layers": names}
    entries = [*(one for one in entries if one != entry), entry]
    _member(archive, _DOCKERS, _dumped(entries))


def _parts(image: New) -> tuple[Layer, list[Layer]]:
    """Return config and layers of an `image` for one platform. Raises `ImageError`."""
    blobs = {blob.digest: blob for blob in image.blobs}
    found = [
        (config, layout.all_described(raw, "layers", "its manifest"))
        for raw in image.manifests.values()
        if "config" in raw
        for config in [layout.described(raw.get("config"), "its manifest")]
        if config.media_type in CONFIG_TYPES
    ]
    if len(found) != 1:
        message = (
            "an archive of `docker save` holds an image for one platform, and this is one for "
            f"{len(found)}: write it to an `oci-archive:`"
        )
        raise ImageError(message)
    config, layers = found[0]
    return blobs[config.digest], [blobs[layer.digest] for layer in layers]


def _without(raw: Json, tag: str | None) -> Json | None:
    """Return the entry `raw` of a manifest.json without `tag`, which another image gets.

    None: it had no other name.
    """
    tags = raw.get("RepoTags")
    if not isinstance(tags, list) or tag not in tags:
        return raw
    kept = [one for one in tags if one != tag]
    return {**raw, "RepoTags": kept} if kept else None


def _kept(archive: tarfile.TarFile, old: Archive, left_out: set[str]) -> set[str]:
    """Add the members of `old`, but those to be `left_out`; return their names."""
    names = [name for name in old.names() if name not in left_out and old.has(name)]
    for name in names:
        with contextlib.closing(old.open(name)) as file:
            archive.addfile(_header(name, old.size(name)), file)
    return set(names)


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = size
    return header


def _member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_header(name, len(content)), io.BytesIO(content))


def _member_of(archive: tarfile.TarFile, name: str, blob: Layer) -> None:
    with contextlib.closing(blob.open()) as file:
        archive.addfile(_header(name, blob.size or 0), cast("IO[bytes]", file))
        file.finish()


def _plain_member(archive: tarfile.TarFile, name: str, layer: Layer, diff_id: str) -> None:
    """Add the tar that `layer` is, whose digest must be `diff_id`. Raises `ImageError`."""
    with (
        tempfile.TemporaryFile(prefix="uvshim-") as plain,
        contextlib.closing(layer.open()) as blob,
    ):
        found = hashlib.new(diff_id.partition(":")[0])
        stream = tar.decompressed(blob, tar.called(layer.digest))
        try:
            while piece := stream.read(_PIECE):
                found.update(piece)
                plain.write(piece)
        except tar.errors() as error:
            message = f"{tar.called(layer.digest)} cannot be decompressed: {error}"
            raise ImageError(message) from None
        blob.finish()
        if f"{diff_id.partition(':')[0]}:{found.hexdigest()}" != diff_id:
            message = f"{tar.called(layer.digest)} is not the {diff_id} that the config names"
            raise ImageError(message)
        size = plain.tell()
        plain.seek(0)
        archive.addfile(_header(name, size), cast("IO[bytes]", plain))


# --- skopeo ---------------------------------------------------------------------------------------


def _through_skopeo(target: Reference, image: New) -> str:
    """Copy `image` to `target` with skopeo, and return the digest that it has there.

    It is copied from a directory of the transport `dir:`, which keeps manifests of either kind.
    """
    with tempfile.TemporaryDirectory(prefix="uvshim-") as folder:
        place = os.path.join(folder, "image")
        os.mkdir(place)
        for blob in image.blobs:
            digest = blob.digest or ""
            name = digest.partition(":")[2]
            if digest in image.manifests:
                name = _DOCKERS if digest == image.described["digest"] else f"{name}.manifest.json"
            with open(os.path.join(place, name), "xb") as file:
                _copy(blob, file)
        with open(os.path.join(place, "version"), "x", encoding="utf-8") as text:
            text.write("Directory Transport Version: 1.1\n")
        told = os.path.join(folder, "digest")
        failing = f"skopeo cannot write `{target.text}`"
        reference.skopeo_copy(f"dir:{place}", target.text, failing, "--digestfile", told)
        with open(told, encoding="utf-8") as text:
            return text.read().strip()
