"""How an image is named: as skopeo writes it (containers-transports(5)), or by a bare path.

`oci:`, `oci-archive:`, `docker-archive:` and `dir:` are read directly, and so are the path of a
layout, of such an archive, and of a tar with a plain root file system (`docker export`). Everything
else is copied by skopeo to a temporary directory first.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from uvshim.environments import files
from uvshim.errors import ImageError
from uvshim.images import ending, tar
from uvshim.images.layout import (
    Archive,
    Copied,
    Descriptor,
    Folder,
    Image,
    Layer,
    Layout,
    Single,
    Verified,
    docker_archive,
    images_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

OCI = "oci"
OCI_ARCHIVE = "oci-archive"
DOCKER_ARCHIVE = "docker-archive"
DIR = "dir"
DIRECT = (OCI, OCI_ARCHIVE, DOCKER_ARCHIVE, DIR)

# What skopeo copies from.
_THROUGH_SKOPEO = (
    "atomic",
    "containers-storage",
    "docker",
    "docker-daemon",
    "ostree",
    "sif",
    "tarball",
)

# All that a reference may begin with.
TRANSPORTS = (*DIRECT, *_THROUGH_SKOPEO)

# What lies at the top of an archive of `docker save`, or of an OCI layout.
_IN_ARCHIVE = re.compile(
    r"(blobs|oci-layout|index\.json|manifest\.json|repositories|[0-9a-f]{64}(\.json|\.tar)?)(/|$)"
)


class Reference(NamedTuple):
    """The name of one or more images."""

    text: str
    """As the person wrote it."""
    transport: str
    """``oci``, ``docker`` and so on; empty for a bare path."""
    path: str
    """What follows: a path, or for skopeo all the rest."""
    tag: str | None
    """A tag, the name of a repository, a digest, or ``@N``."""


def parse(text: str) -> Reference | None:
    """Return the reference to an image in `text`; None: it is something else.

    What exists under that very name is taken for a path, whatever it looks like.
    """
    transport, colon, rest = text.partition(":")
    if colon and not os.path.lexists(text):
        if transport in DIRECT:
            path, _, tag = rest.partition(":")
            if path.endswith(("@sha256", "@sha512")):  # DIR@sha256:… is DIR:sha256:…
                path, _, algorithm = path.rpartition("@")
                tag = f"{algorithm}:{tag}"
            return Reference(text, transport, path, tag or None)
        if transport in _THROUGH_SKOPEO:
            return Reference(text, transport, rest, None)
    if _is_layout(text) or _is_tar(text):
        return Reference(text, "", text, None)
    return None


def is_directory(reference: Reference) -> bool:
    """Say whether the images that `reference` names lie in a directory, each blob a file."""
    if reference.transport:
        return reference.transport in {OCI, DIR}
    return os.path.isdir(reference.path)


@contextlib.contextmanager
def opened(reference: Reference) -> Iterator[list[Image]]:
    """Give the images that `reference` names, which can be read until the end of the context.

    An image for several platforms is several. Raises `ImageError`.
    """
    with contextlib.ExitStack() as stack:
        yield _images(reference, stack)


def _images(reference: Reference, stack: contextlib.ExitStack) -> list[Image]:
    found = place(reference, stack)
    if isinstance(found, Layer):
        return [Image(reference.path, None, None, (found,))]
    if isinstance(found, Archive):
        return docker_archive(found, f"{DOCKER_ARCHIVE}:{reference.path}", reference.tag)
    images = found.images(None if reference.transport == DIR else reference.tag)
    if reference.transport in _THROUGH_SKOPEO:
        return [image._replace(reference=reference.text) for image in images]
    return images


def place(reference: Reference, stack: contextlib.ExitStack) -> Layout | Archive | Layer:
    """Return where `reference` leads, to be read until `stack` is closed.

    It is a layout, an archive of `docker save`, or the one layer that a plain root file system is.
    Raises `ImageError`.
    """
    _, transport, path, _ = reference
    if transport in _THROUGH_SKOPEO:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="uvshim-"))
        skopeo_copy(reference.text, f"{DIR}:{folder}", f"skopeo cannot read `{reference.text}`")
        return Layout(Copied(folder), reference.text)
    if not os.path.exists(path):
        message = f"`{path}` does not exist"
        raise ImageError(message)
    if transport == DIR:
        return Layout(Copied(path), reference.text)
    if is_directory(reference):
        return Layout(Folder(path), f"{OCI}:{path}")
    try:
        file = stack.enter_context(files.open_regular(path))
    except OSError as error:
        message = f"`{path}` cannot be read: {error.strerror}"
        raise ImageError(message) from None
    if not transport and not _is_image_archive(file, path):
        return _single(file, path)
    archive = Archive(_decompressed(file, path, stack), path)
    if transport == OCI_ARCHIVE or (not transport and archive.has("index.json")):
        return Layout(archive, f"{OCI_ARCHIVE}:{path}")
    return archive


def _is_layout(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "index.json")) and os.path.isdir(
        os.path.join(path, "blobs")
    )


def _is_tar(path: str) -> bool:
    """Say whether the file at `path` is a tar, compressed or not."""
    try:
        with files.open_regular(path) as file, tar.LayerTar(_single(file, path)) as archive:
            return any(True for _ in archive)
    except (OSError, ImageError):
        return False


def _is_image_archive(file: IO[bytes], path: str) -> bool:
    """Say whether the tar in `file` holds images, by the first name in it that is not the root."""
    with tar.LayerTar(_single(file, path)) as archive:
        for _, header in archive:
            if name := header.name.removeprefix("./").strip("/."):
                return _IN_ARCHIVE.match(name) is not None
    return False


def _single(file: IO[bytes], path: str) -> Layer:
    """Return the one layer that a whole `file` is."""
    return Layer(Single(file, path), path, None, None, None)


def _decompressed(file: IO[bytes], path: str, stack: contextlib.ExitStack) -> IO[bytes]:
    """Return the archive in `file`, in a temporary file if it is compressed: `docker save | gzip`.

    An archive is read at many places.
    """
    stream = tar.decompressed(_single(file, path).open(), f"`{path}`")
    if not isinstance(stream, Verified):
        temporary = tempfile.TemporaryFile(prefix="uvshim-")  # noqa: SIM115
        stack.enter_context(temporary)
        try:
            shutil.copyfileobj(stream, temporary, 1024 * 1024)
            temporary.flush()
        except tar.errors() as error:
            message = f"`{path}` cannot be decompressed: {error}"
            raise ImageError(message) from None
        return cast("IO[bytes]", temporary)
    return file


def remote_images(reference: Reference) -> list[Descriptor] | None:
    """Return what the images are that skopeo finds under `reference`, without their layers.

    None: `reference` is not read with skopeo, or more has to be looked at to tell.
    """
    skopeo = shutil.which("skopeo")
    if reference.transport not in _THROUGH_SKOPEO or skopeo is None:
        return None
    status, output, _ = _ran([skopeo, "inspect", "--raw", reference.text])
    try:
        return images_in(output) if status == 0 else None
    except ImageError:
        return None


def skopeo_copy(source: str, target: str, failing: str, *options: str) -> None:
    """Copy the image that skopeo calls `source` to `target`, for all platforms, as it is.

    Raises `ImageError` if that fails: `failing`, and what skopeo says.
    """
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        message = (
            f"{failing}: it is not installed. Install the package `skopeo` "
            "of your system, as in: apt-get install skopeo"
        )
        raise ImageError(message)
    command = [skopeo, "copy", "--quiet", "--all", *options, source, target]
    status, _, error = _ran(command)
    if status != 0:
        text = error.decode(errors="replace")
        said = re.findall(r'msg="((?:[^"\\]|\\.)*)"', text) or [text.strip()]
        reason = said[-1].replace('\\"', '"')
        message = f"{failing}: {reason}"
        raise ImageError(message)


def _ran(command: list[str]) -> tuple[int, bytes, bytes]:
    """Run `command`, and return its exit code, and what it says on standard output and error."""
    pipe = subprocess.PIPE
    with (
        ending.undisturbed() as release,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process,
    ):
        try:
            release()
            output, error = process.communicate()
        except BaseException:
            process.kill()
            raise
        return process.returncode, output, error
