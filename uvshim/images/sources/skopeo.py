"""Images that skopeo copies from and to registries and the storage of engines."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from typing import IO, TYPE_CHECKING

from uvshim.errors import ImageError
from uvshim.images import ending
from uvshim.images.sources import layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from uvshim.images.image import Entry
    from uvshim.images.reference import Reference

_INSTALL = "Install your system's package `skopeo`, as in: apt-get install skopeo"
_DAEMON = "docker-daemon"
_REGISTRY = "docker"


def read(reference: Reference, platform: str | None, stack: ExitStack) -> list[Entry]:
    """Return the images that `reference` names, readable until `stack` is closed.

    Without a `platform` these are all platforms. Raise `ImageError`.
    """
    failing = f"skopeo cannot read `{reference.text}`"
    if reference.transport == _DAEMON and shutil.which("skopeo") is None:
        name = reference.path
        message = f"{failing}: it is not installed. Try: docker save {name} | uvshim check -"
        raise ImageError(message)
    require(failing)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="uvshim-"))
    source = f"{reference.transport}:{reference.path}"

    def fetch(path: str) -> None:
        try:
            copy(source, f"dir:{path}", failing, platform)
        except ImageError as error:
            if reference.transport != _DAEMON:
                raise
            message = f"{error}. Try: docker save {reference.path} | uvshim check -"
            raise ImageError(message) from None

    place = _Remote(folder, fetch)
    if reference.transport == _REGISTRY and platform is None:
        place.inspect(source)
    return layout.read(place, reference.text, None)


class _Remote(layout.SkopeoFolder):
    """An image elsewhere, which is copied when a missing blob is read.

    If the cache has all layers, only manifest and config are copied.
    """

    def __init__(self, folder: str, fetch: Callable[[str], None]) -> None:
        super().__init__(os.path.join(folder, "known"))
        os.mkdir(self.path)
        self._folder = folder
        self._lock = threading.Lock()
        self._fetch: Callable[[str], None] | None = fetch

    def inspect(self, source: str) -> None:
        """Save manifest and config of the image `source` (skopeo's name), if that works."""
        status, manifest, _ = _ran(["skopeo", "inspect", "--raw", source])
        if status == 0 and b'"config"' in manifest:
            status, config, _ = _ran(["skopeo", "inspect", "--raw", "--config", source])
            if status == 0:
                digest = hashlib.sha256(config).hexdigest()
                for name, content in (("manifest.json", manifest), (digest, config)):
                    with open(os.path.join(self.path, name), "wb") as file:
                        file.write(content)

    def open(self, name: str) -> IO[bytes]:
        """Open a file; see `blob.Place.open`."""
        if self._fetch is not None and not super().has(name):
            with self._lock:
                if self._fetch is not None:
                    copied = os.path.join(self._folder, "image")
                    os.mkdir(copied)
                    self._fetch(copied)
                    self.path, self._fetch = copied, None
        return super().open(name)

    def has(self, name: str) -> bool:
        """Return True if there is a file or it can be copied; see `blob.Place.has`."""
        return self._fetch is not None or super().has(name)


def copy(
    source: str, target: str, failing: str, platform: str | None = None, *options: str
) -> None:
    """Copy the image `source` to `target` (skopeo's names), unchanged.

    Without a `platform`, copy all. Raise `ImageError` with `failing` and skopeo's reason.
    """
    if platform is None:
        command = ["copy", "--quiet", "--all"]
    else:
        names = ("os", "arch", "variant")
        chosen = zip(names, platform.split("/"), strict=False)
        command = [*(f"--override-{name}={value}" for name, value in chosen), "copy", "--quiet"]
    require(failing)
    status, _, error = _ran(["skopeo", *command, *options, source, target])
    if status != 0:
        text = error.decode(errors="replace")
        said = re.findall(r'msg="((?:[^"\\]|\\.)*)"', text) or [text.strip()]
        reason = said[-1].replace('\\"', '"')
        message = f"{failing}: {reason}"
        raise ImageError(message)


def require(failing: str) -> None:
    """Raise `ImageError`, beginning with `failing`, if skopeo is not installed."""
    if shutil.which("skopeo") is None:
        message = f"{failing}: it is not installed. {_INSTALL}"
        raise ImageError(message)


def _ran(command: list[str]) -> tuple[int, bytes, bytes]:
    """Run `command`; return its exit code, standard output and standard error."""
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
