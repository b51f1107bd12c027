"""Write fixed images to a layout, to a new archive, or with skopeo.

Nothing that exists is modified, except that a layout gets blobs and a tag. It is valid at any
moment: blobs get their names when they are complete, and `index.json` is replaced in the end. An
archive is written under another name first. A failure is undone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tarfile
import tempfile
from typing import IO, TYPE_CHECKING, cast

from uvshim.errors import ImageError
from uvshim.images.blob import Folder, in_memory
from uvshim.images.fix import names
from uvshim.images.reference import DIR, DOCKER_ARCHIVE, OCI, OCI_ARCHIVE
from uvshim.images.sources import docker, layout, skopeo
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from uvshim.images.blob import Blob
    from uvshim.images.fix.image import FixedImage
    from uvshim.images.fix.names import Named
    from uvshim.images.image import Json
    from uvshim.images.reference import Reference

_LAYOUT_FILE = "oci-layout"

# The content of the first (OCI image-layout specification, "oci-layout file"), and of a new index.
_LAYOUT = {"imageLayoutVersion": "1.0.0"}
_NO_IMAGES: Json = {"schemaVersion": 2, "manifests": []}

# The suffix of unfinished files; a killed run leaves one, and the next run overwrites it.
_UNFINISHED = ".uvshim-unfinished"

_PIECE = 1024 * 1024


def write(target: Reference, images: Sequence[FixedImage]) -> str | None:
    """Write `images` to `target`; return the digest if it changes there.

    Raise `ImageError`; then nothing has changed.
    """
    named = [names.named(target, each) for each in images]
    tags = [(each.tag, *(each.names if target.transport != OCI else ())) for each in named]
    if len(set(tags)) < len(tags):
        message = (
            f"two images would be called {shown(str(tags[0][0]))}. "
            f"Name one of them, such as `{images[0].entry.reference}`"
        )
        raise ImageError(message)
    try:
        if target.transport == OCI:
            _to_layout(os.path.abspath(target.path), named)
        elif target.transport in {OCI_ARCHIVE, DOCKER_ARCHIVE}:
            _to_archive(os.path.realpath(target.path), named)
        else:
            return _through_skopeo(target, images[0])
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else target.path
        message = f"`{place}` cannot be written: {error.strerror or error}"
        raise ImageError(message) from None
    return None


# --- a layout -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Hold an exclusive lock on `directory`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(ImportError, OSError):  # some file systems have no locks
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which releases the lock


def _to_layout(path: str, images: Sequence[Named]) -> None:
    """Add `images` to the layout at `path`, which is created if it is missing."""
    with contextlib.ExitStack() as undo:
        _make_directory(path, undo)
        with _locked(path), contextlib.ExitStack() as changes:
            changes.callback(_remove, os.unlink, os.path.join(path, _UNFINISHED))
            for name, content in ((_LAYOUT_FILE, _LAYOUT), (layout.INDEX, _NO_IMAGES)):
                if not os.path.lexists(os.path.join(path, name)):
                    _replace(path, name, _dumped(content))
                    changes.callback(_remove, os.unlink, os.path.join(path, name))
            raw, listed = layout.index_of(Folder(path))
            for one in images:
                for blob in one.image.blobs.values():
                    _add_blob(path, blob, changes)
            new = [names.descriptor(each, full=False) for each in images]
            tags = {each.tag for each in images} - {None}
            old = [one.raw for one in listed if one.tag not in tags and one.raw not in new]
            _replace(path, layout.INDEX, _dumped({**raw, "manifests": old + new}))
            changes.pop_all()
        undo.pop_all()


def _make_directory(path: str, undo: contextlib.ExitStack) -> None:
    """Create the directory `path` and its parents, if they are missing."""
    if os.path.isdir(path):
        return
    _make_directory(os.path.dirname(path), undo)
    with contextlib.suppress(FileExistsError):  # another run has just created it
        os.mkdir(path)
        undo.callback(_remove, os.rmdir, path)


def _remove(how: Callable[[str], None], path: str) -> None:
    with contextlib.suppress(OSError):
        how(path)


def _add_blob(path: str, blob: Blob, undo: contextlib.ExitStack) -> None:
    """Add `blob` to the layout at `path`, unless it exists."""
    final = os.path.join(path, layout.path_of(blob.digest or ""))
    if os.path.isfile(final) and os.path.getsize(final) == blob.size:
        return
    _make_directory(os.path.dirname(final), undo)
    unfinished = os.path.join(path, _UNFINISHED)
    with _new_file(unfinished) as file:
        _copy(blob, file)
    undo.callback(_remove, os.unlink, final)
    os.replace(unfinished, final)


def _replace(path: str, name: str, content: bytes) -> None:
    """Replace the file `name` in the layout at `path` atomically; keep its mode and owner."""
    unfinished, final = os.path.join(path, _UNFINISHED), os.path.join(path, name)
    with _new_file(unfinished) as file:
        file.write(content)
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(final)
        with contextlib.suppress(PermissionError):
            os.chown(unfinished, status.st_uid, status.st_gid)
        os.chmod(unfinished, stat.S_IMODE(status.st_mode))
    os.replace(unfinished, final)


def _new_file(path: str) -> IO[bytes]:
    """Create the file `path`; replace a link of that name instead of following it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return open(path, "xb")


def _copy(blob: Blob, file: IO[bytes]) -> None:
    """Write the content of `blob` to `file`. Raise `ImageError` if it is damaged."""
    with contextlib.closing(blob.open()) as source:
        while piece := source.read(_PIECE):
            file.write(piece)
        source.finish()


def _dumped(raw: object) -> bytes:
    return json.dumps(raw, separators=(",", ":")).encode()


# --- an archive -----------------------------------------------------------------------------------


def _to_archive(path: str, images: Sequence[Named]) -> None:
    """Write a new archive to `path` that is an OCI layout and has Docker's manifest.json.

    `docker load` and readers of ``oci-archive:`` find the same images in it.
    """
    unfinished = path + _UNFINISHED
    with _locked(os.path.dirname(path)), contextlib.ExitStack() as stack:
        stack.callback(_remove, os.unlink, unfinished)
        with _new_file(unfinished) as file, tarfile.open(fileobj=file, mode="w") as archive:
            blobs = {digest: blob for one in images for digest, blob in one.image.blobs.items()}
            for digest, blob in blobs.items():
                _add_member(archive, layout.path_of(digest), blob)
            listed = [names.descriptor(each, full=True) for each in images]
            documents = {
                _LAYOUT_FILE: _LAYOUT,
                layout.INDEX: {**_NO_IMAGES, "manifests": listed},
                docker.LISTING: [_listed(each) for each in images],
            }
            for name, document in documents.items():
                _add_member(archive, name, in_memory(_dumped(document)))
        if os.path.lexists(path):
            raise FileExistsError(None, "it exists now", path)
        os.rename(unfinished, path)


def _listed(named: Named) -> Json:
    """Return the entry in manifest.json: for one platform, this machine's if possible."""
    wanted = f"linux/{_ARCHITECTURES.get(os.uname().machine, os.uname().machine)}"
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


# Go's names of architectures that the kernel calls otherwise.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def _add_member(archive: tarfile.TarFile, name: str, blob: Blob) -> None:
    header = tarfile.TarInfo(name)
    header.size = blob.size or 0
    header.mode = 0o644
    with contextlib.closing(blob.open()) as file:
        archive.addfile(header, cast("IO[bytes]", file))
        file.finish()


# --- skopeo ---------------------------------------------------------------------------------------


def _through_skopeo(target: Reference, fixed: FixedImage) -> str:
    """Copy `fixed` to `target` with skopeo, and return its digest there.

    The source is a directory (`dir:`), which keeps both kinds of manifests.
    """
    with tempfile.TemporaryDirectory(prefix="uvshim-") as folder:
        place = os.path.join(folder, "image")
        os.mkdir(place)
        for digest, blob in fixed.blobs.items():
            name = digest.partition(":")[2]
            if digest in fixed.manifests:
                name = "manifest.json" if digest == fixed.digest else f"{name}.manifest.json"
            with open(os.path.join(place, name), "xb") as file:
                _copy(blob, file)
        with open(os.path.join(place, "version"), "x", encoding="utf-8") as text:
            text.write("Directory Transport Version: 1.1\n")
        digest_file = os.path.join(folder, "digest")
        failing = f"skopeo cannot write `{target.text}`"
        with _new_directory(target) as name:
            skopeo.copy(f"dir:{place}", name, failing, None, "--digestfile", digest_file)
        with open(digest_file, encoding="utf-8") as text:
            return text.read().strip()


@contextlib.contextmanager
def _new_directory(target: Reference) -> Iterator[str]:
    """Yield the name for skopeo to write `target`; a directory is renamed at the end."""
    if target.transport != DIR:
        yield target.text
        return
    path = os.path.abspath(target.path)
    unfinished = path + _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed run
    try:
        yield f"dir:{unfinished}"
        os.rename(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
