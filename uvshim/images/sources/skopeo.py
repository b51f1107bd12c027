"""Images that skopeo copies: from registries, from the storage of engines, and to them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import threading
from typing import IO, TYPE_CHECKING

from uvshim.errors import ImageError
from uvshim.images import ending
from uvshim.images.sources import layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from uvshim.images.budget import Budget
    from uvshim.images.image import Entry
    from uvshim.images.reference import Reference

_INSTALL = "Install your system's package `skopeo`, as in: apt-get install skopeo"
_DAEMON = "docker-daemon"
_REGISTRY = "docker"

# How many seconds a registry may take to answer, and how many bytes each second it must transfer.
PATIENCE = 120
SLOWEST = 10_000


def read(
    reference: Reference, platform: str | None, stack: ExitStack, budget: Budget
) -> list[Entry]:
    """Return the images that `reference` names, readable until `stack` is closed.

    Without a `platform` these are all platforms. Raise `ImageError`.
    """
    failing = f"skopeo cannot read `{reference.text}`"
    if reference.transport == _DAEMON and shutil.which("skopeo") is None:
        name = reference.path
        message = f"{failing}: it is not installed. Try: docker save {name} | uvshim check -"
        raise ImageError(message)
    require(failing)
    folder = stack.enter_context(ending.directory())
    source = f"{reference.transport}:{reference.path}"

    def fetch(path: str) -> None:
        try:
            watched = path if reference.transport == _REGISTRY else None
            copy(source, f"dir:{path}", failing, platform, watched=watched)
        except ImageError as error:
            if reference.transport != _DAEMON:
                raise
            message = f"{error}. Try: docker save {reference.path} | uvshim check -"
            raise ImageError(message) from None

    place = _Remote(folder, fetch)
    if reference.transport == _REGISTRY and platform is None:
        place.inspect(source, failing)
    return layout.read(place, reference.text, None, budget)


class _Remote(layout.SkopeoFolder):
    """An image elsewhere, which is copied when a blob is read that is not known yet.

    Where the cache has the contents of all layers, manifest and config are enough.
    """

    def __init__(self, folder: str, fetch: Callable[[str], None]) -> None:
        super().__init__(os.path.join(folder, "known"))
        os.mkdir(self.path)
        self._folder = folder
        self._lock = threading.Lock()
        self._fetch: Callable[[str], None] | None = fetch

    def inspect(self, source: str, failing: str) -> None:
        """Save manifest and config of the image that skopeo calls `source`, if that works.

        Raise `ImageError`, which begins with `failing`, if there is no answer.
        """
        status, manifest, _ = _ran(["skopeo", "inspect", "--raw", source], failing, "")
        if status == 0 and b'"config"' in manifest:
            command = ["skopeo", "inspect", "--raw", "--config", source]
            status, config, _ = _ran(command, failing, "")
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
    source: str,
    target: str,
    failing: str,
    platform: str | None = None,
    *options: str,
    watched: str | None = None,
) -> None:
    """Copy the image that skopeo calls `source` to `target`, unchanged.

    Without a `platform`, copy all platforms. The directory that is `watched` has to grow. Raise
    `ImageError`: `failing`, and skopeo's reason.
    """
    if platform is None:
        command = ["copy", "--quiet", "--all"]
    else:
        names = ("os", "arch", "variant")
        chosen = zip(names, platform.split("/"), strict=False)
        command = [*(f"--override-{name}={value}" for name, value in chosen), "copy", "--quiet"]
    require(failing)
    if target.startswith(f"{_DAEMON}:"):
        command += _host("dest")
    elif source.startswith(f"{_DAEMON}:"):
        command += _host("src")
    status, _, error = _ran(["skopeo", *command, *options, source, target], failing, watched)
    if status != 0:
        text = error.decode(errors="replace")
        said = re.findall(r'msg="((?:[^"\\]|\\.)*)"', text) or [text.strip()]
        reason = said[-1].replace('\\"', '"')
        message = f"{failing}: {reason}"
        raise ImageError(message)


def require(failing: str) -> None:
    """Raise `ImageError`, which begins with `failing`, if skopeo is not installed."""
    if shutil.which("skopeo") is None:
        message = f"{failing}: it is not installed. {_INSTALL}"
        raise ImageError(message)


def _host(side: str) -> list[str]:
    """Return the option for the daemon that Docker's own variable names; skopeo ignores that."""
    host = os.environ.get("DOCKER_HOST")
    return [f"--{side}-daemon-host={host}"] if host else []


def _ran(command: list[str], failing: str, watched: str | None) -> tuple[int, bytes, bytes]:
    """Run `command`; return its exit code, standard output and standard error.

    Raise `ImageError`, which begins with `failing`, if it takes too long, or the directory that is
    `watched` grows too slowly. If that is None, it may take any time.
    """
    pipe = subprocess.PIPE
    with (
        ending.undisturbed() as release,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process,
    ):
        try:
            release()
            size = 0
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    wait = None if watched is None else PATIENCE
                    output, error = process.communicate(timeout=wait)
                    return process.returncode, output, error
                before, size = size, _size(watched)
                if size - before < PATIENCE * SLOWEST:
                    break
        except BaseException:
            process.kill()
            raise
        process.kill()
    message = f"{failing}: there was no answer, or a very slow one"
    raise ImageError(message)


def _size(directory: str | None) -> int:
    """Return how many bytes the files in `directory` have."""
    size = 0
    if not directory:
        return 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for each in entries:
            with contextlib.suppress(OSError):  # it has another name by now
                size += each.stat().st_size
    return size
