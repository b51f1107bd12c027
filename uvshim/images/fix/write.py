"""Where a fixed image is written: to a layout, to a new archive or directory, or through skopeo.

Nothing that exists is modified, except that a layout gets more blobs and a tag. Everything is
written under a unique name, and gets its own when it is complete. Whatever fails is undone.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from uvshim.errors import ImageError
from uvshim.images import ending
from uvshim.images.blob import Blob, Folder, in_memory
from uvshim.images.budget import Budget
from uvshim.images.fix import names
from uvshim.images.image import Json, dumped
from uvshim.images.reference import DIR, DIRECT, DOCKER_ARCHIVE, OCI, OCI_ARCHIVE, Reference
from uvshim.images.sources import docker, layout, skopeo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from uvshim.images.fix.image import FixedImage
    from uvshim.images.fix.names import Named

_LAYOUT_FILE = "oci-layout"

# The content of the first (OCI image-layout specification, "oci-layout file"), and of a new index.
_LAYOUT = {"imageLayoutVersion": "1.0.0"}
_NO_IMAGES: Json = {"schemaVersion": 2, "manifests": []}

# In the names of directories in which something is written.
_PREFIX = ".uvshim-"

# What is written as a whole, or not at all.
_WRITTEN_ONCE = (OCI_ARCHIVE, DOCKER_ARCHIVE, DIR)

# Where skopeo writes several platforms of an image; everywhere else there is one.
_HAS_INDEXES = "docker"

_PIECE = 1024 * 1024


def prepare(target: Reference) -> None:
    """Raise `ImageError` if `target` cannot be written: an archive exists, or skopeo is missing.

    What a killed run has left beside an archive is removed.
    """
    if target.transport not in DIRECT:
        skopeo.require(f"`{target.text}` is written with skopeo")
    if target.transport in _WRITTEN_ONCE and os.path.lexists(target.path):
        kind = "directory" if target.transport == DIR else "file"
        with contextlib.suppress(OSError):
            ending.remove_left(*_place_of(os.path.realpath(target.path)))
        raise ImageError(
            f"`{target.path}` exists, and uvshim does not modify it. Name a new {kind}"
        )


class Written(NamedTuple):
    """What became of images in the place to which they were written."""

    digest: str | None = None
    """The digest of the only one, if that has changed."""
    tags: Sequence[str | None] = ()
    """Their tags in a layout: other images may have had the usual ones."""


def write(
    target: Reference, images: Sequence[FixedImage], waiting: Callable[[str], object] = str
) -> Written:
    """Write `images` to `target`; return what became of them.

    `waiting` is called with the path of a layout that another run has locked. Raise `ImageError`;
    then nothing has changed.
    """
    named = [names.named(target, each) for each in images]
    path = os.path.realpath(target.path)
    try:
        if target.transport == OCI:
            return Written(tags=_to_layout(path, named, waiting))
        if target.transport in {OCI_ARCHIVE, DOCKER_ARCHIVE}:
            _to_archive(path, named)
        elif target.transport == DIR:
            with _new(path) as made:
                _to_folder(made, images[0], images[0].digest)
        else:
            name = names.completed(target, images[0])
            return Written(digest=_through_skopeo(target, name, images[0]))
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else target.path
        raise ImageError(f"`{place}` cannot be written: {error.strerror or error}") from None
    return Written()


def _place_of(path: str) -> tuple[str, str]:
    """Return where the new archive or directory `path` is written: the parent, and a prefix."""
    parent, name = os.path.split(path)
    return parent, f".{name}{_PREFIX}"


@contextlib.contextmanager
def _new(path: str) -> Iterator[str]:
    """Yield a path for what gets the name `path` in the end, unless something has that name."""
    with ending.directory(*_place_of(path)) as place:
        made = os.path.join(place, "new")
        yield made
        try:  # in one step
            (os.rename if os.path.isdir(made) else os.link)(made, path)
        except OSError:
            if os.path.lexists(path):
                raise FileExistsError(None, "it exists now", path) from None
            os.rename(made, path)  # some file systems have no hard links


@contextlib.contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    """Yield the new file `path`, open for writing. Errors name it."""
    try:
        with open(path, "xb") as file:
            yield file
    except OSError as error:
        error.filename = error.filename or path
        raise


def _copy(blob: Blob, path: str) -> None:
    with _open(path) as file, contextlib.closing(blob.open()) as source:
        while piece := source.read(_PIECE):
            file.write(piece)
        source.finish()


# --- a layout -------------------------------------------------------------------------------------


def _to_layout(
    path: str, images: Sequence[Named], waiting: Callable[[str], object]
) -> list[str | None]:
    """Add `images` to the layout at `path`, and return the first tag of each."""
    created: list[str] = []
    with ending.locked(lambda: _make_directory(path, created), waiting):
        try:
            with ending.directory(path, _PREFIX) as place:
                return _add_images(path, place, images, created)
        except BaseException:
            for each in reversed(created):
                with contextlib.suppress(OSError):
                    (os.rmdir if os.path.isdir(each) else os.unlink)(each)
            raise


def _add_images(
    path: str, place: str, images: Sequence[Named], created: list[str]
) -> list[str | None]:
    """Do what `_to_layout` does; what is new is written in `place`, and `created`."""
    for name, content in ((_LAYOUT_FILE, _LAYOUT), (layout.INDEX, _NO_IMAGES)):
        final = os.path.join(path, name)
        if not os.path.lexists(final):
            created.append(final)
            _replace(final, place, content)
    raw, listed = layout.index_of(Folder(path), Budget())
    now, tags = names.index(listed, images)
    made = os.path.join(place, "blob")
    for one in images:
        for digest, blob in one.image.blobs.items():
            name = layout.path_of(digest)
            final = os.path.join(path, name)
            if not os.path.lexists(final):
                _make_directory(os.path.dirname(final), created)
                created.append(final)
            elif _is_intact(blob._replace(place=Folder(path), name=name)):
                continue
            _copy(blob, made)
            os.replace(made, final)
    _replace(os.path.join(path, layout.INDEX), place, {**raw, "manifests": now})
    return tags


def _make_directory(path: str, created: list[str]) -> str:
    """Create the directory `path`, and those above it, where they are missing; return `path`."""
    if not os.path.isdir(path):
        _make_directory(os.path.dirname(path), created)
        with contextlib.suppress(FileExistsError):  # another run has just created it
            os.mkdir(path)
            created.append(path)
    return path


def _is_intact(blob: Blob) -> bool:
    """Return True if `blob` has its digest; after a power failure it may have only its size."""
    try:
        with contextlib.closing(blob.open()) as file:
            file.finish()
    except ImageError:
        return False
    return True


def _replace(path: str, place: str, content: Json) -> None:
    """Replace the file `path` in one step by one made in `place`; keep its mode and owner."""
    made, final = os.path.join(place, "document"), os.path.realpath(path)
    with _open(made) as file:
        file.write(dumped(content))
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(final)
        with contextlib.suppress(PermissionError):
            os.chown(made, status.st_uid, status.st_gid)
        os.chmod(made, stat.S_IMODE(status.st_mode))
    os.replace(made, final)


# --- an archive -----------------------------------------------------------------------------------


def _to_archive(path: str, images: Sequence[Named]) -> None:
    """Write a new archive to `path` that is an OCI layout and has Docker's manifest.json.

    `docker load` and readers of ``oci-archive:`` find the same images in it.
    """
    listed: list[Json] = []
    for each in map(_listed, images):
        if each not in listed:  # a fixed image beside the one it was made from
            listed.append(each)
    documents = {
        _LAYOUT_FILE: _LAYOUT,
        layout.INDEX: {**_NO_IMAGES, "manifests": names.index((), images)[0]},
        docker.LISTING: listed,
    }
    blobs = {digest: blob for one in images for digest, blob in one.image.blobs.items()}
    with (
        _new(path) as made,
        _open(made) as file,
        tarfile.open(fileobj=file, mode="w") as archive,
    ):
        for digest, blob in blobs.items():
            _add_member(archive, layout.path_of(digest), blob)
        for name, document in documents.items():
            _add_member(archive, name, in_memory(dumped(document)))


def _listed(named: Named) -> Json:
    """Return the entry in manifest.json: for one platform, this machine's if possible."""
    wanted = f"linux/{os.uname().machine}"
    platforms = named.image.platforms
    fitting = [
        one for one in platforms if one.image.platform and one.image.platform.matches(wanted)
    ]
    chosen = (fitting or platforms)[0]
    return {
        "Config": layout.path_of(chosen.config.digest or ""),
        "RepoTags": named.names,
        "Layers": [layout.path_of(layer.digest or "") for layer in chosen.layers],
    }


def _add_member(archive: tarfile.TarFile, name: str, blob: Blob) -> None:
    header = tarfile.TarInfo(name)
    header.size = blob.size or 0
    header.mode = 0o644
    with contextlib.closing(blob.open()) as file:
        archive.addfile(header, cast("IO[bytes]", file))
        file.finish()


# --- skopeo ---------------------------------------------------------------------------------------


def _to_folder(path: str, fixed: FixedImage, top: str) -> None:
    """Write `fixed` to the new directory `path` like skopeo's transport `dir`.

    That keeps manifests of either kind. `top` is the digest of the manifest or index to read first.
    """
    os.mkdir(path)
    for digest, blob in fixed.blobs.items():
        name = digest.partition(":")[2]
        if digest in fixed.manifests:
            name = "manifest.json" if digest == top else f"{name}.manifest.json"
        _copy(blob, os.path.join(path, name))
    _copy(in_memory(b"Directory Transport Version: 1.1\n"), os.path.join(path, "version"))


def _through_skopeo(target: Reference, name: str, fixed: FixedImage) -> str:
    """Copy `fixed` to `target` as `name` with skopeo; return the digest that it has there."""
    top = fixed.digest
    if target.transport != _HAS_INDEXES:
        if len(fixed.platforms) > 1:
            found = ", ".join(str(each.image.platform) for each in fixed.platforms)
            raise ImageError(f"`{name}` can have one platform. Choose it with --platform: {found}")
        top = fixed.platforms[0].digest
    with ending.directory() as folder:
        place, digest_file = os.path.join(folder, "image"), os.path.join(folder, "digest")
        _to_folder(place, fixed, top)
        failing = f"skopeo cannot write `{name}`"
        skopeo.copy(f"dir:{place}", name, failing, None, "--digestfile", digest_file)
        with open(digest_file, encoding="utf-8") as text:
            return text.read().strip()
