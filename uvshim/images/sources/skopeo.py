"""Images that skopeo copies from and to registries and the storage of engines."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING

from uvshim.errors import ImageError
from uvshim.images import ending, image
from uvshim.images.sources import layout
from uvshim.messages import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from uvshim.images.budget import Budget
    from uvshim.images.image import Descriptor, Entry, Json
    from uvshim.images.reference import Reference

_INSTALL = "Install your system's package `skopeo`, as in: apt-get install skopeo"
_DAEMON = "docker-daemon"
_REGISTRY = "docker"

# The variable with the number of seconds that skopeo may wait for a registry, and the default: it
# waits up to 60 seconds itself where a registry asks for that. Fewer bytes are no progress.
TIMEOUT = "UVSHIM_REGISTRY_TIMEOUT"
_PATIENCE = "120"
_PROGRESS = 16 * 1024


def read(
    reference: Reference, platform: str | None, stack: ExitStack, budget: Budget
) -> list[Entry]:
    """Return the images that `reference` names, readable until `stack` is closed.

    Without a `platform` these are all platforms. Raise `ImageError`.
    """
    failing = f"skopeo cannot read `{reference.text}`"
    is_daemon = reference.transport == _DAEMON
    without = f"Try: docker save {reference.path} | uvshim check -"
    require(failing, without if is_daemon else _INSTALL)
    folder = stack.enter_context(ending.directory())
    source = f"{reference.transport}:{reference.path}"

    def fetch(path: str) -> None:
        try:
            if platform and not is_daemon:
                place.listed = _chosen(source, platform, failing, budget)
            one = place.listed and str(place.listed.platform)
            copy(source, f"dir:{path}", failing, one)
        except ImageError as error:
            if not is_daemon:
                raise
            raise ImageError(f"{error}. {without}") from None

    place = _Remote(folder, fetch)
    if reference.transport == _REGISTRY and platform is None:
        place.inspect(source, failing)
    return layout.read(place, reference.text, None, budget)


def _chosen(source: str, platform: str, failing: str, budget: Budget) -> Descriptor | None:
    """Return what the index of the image `source` lists for `platform`, if that is one image.

    Otherwise everything is copied: of several variants, skopeo would choose one. Raise
    `ImageError`.
    """
    status, manifest, _ = _ran(["skopeo", "inspect", "--raw", source], failing)
    if status != 0 or b'"manifests"' not in manifest:
        return None
    raw = image.loaded_object(manifest, "its index", budget)
    found = image.descriptors(raw, "manifests", "its index")
    listed = [one for one in found if layout.may_be_image(one)]
    fitting = [one for one in listed if not one.platform or one.platform.matches(platform)]
    if not fitting:
        raise image.none_for(platform, (one.platform for one in listed))
    return fitting[0] if len(fitting) == 1 and fitting[0].platform else None


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
        self.listed: Descriptor | None = None
        """What the index lists for the only platform that was copied, if one was."""

    def inspect(self, source: str, failing: str) -> None:
        """Save manifest and config of the image `source` (skopeo's name), if that works."""
        status, manifest, _ = _ran(["skopeo", "inspect", "--raw", source], failing)
        if status == 0 and b'"config"' in manifest:
            status, config, _ = _ran(["skopeo", "inspect", "--raw", "--config", source], failing)
            if status == 0:
                digest = hashlib.sha256(config).hexdigest()
                for name, content in (("manifest.json", manifest), (digest, config)):
                    with open(os.path.join(self.path, name), "wb") as file:
                        file.write(content)

    def open(self, name: str) -> IO[bytes]:
        if self._fetch is not None and not super().has(name):
            with self._lock:
                if self._fetch is not None:
                    copied = os.path.join(self._folder, "image")
                    os.mkdir(copied)
                    self._fetch(copied)
                    self.path, self._fetch = copied, None
        return super().open(name)

    def has(self, name: str) -> bool:
        return self._fetch is not None or super().has(name)

    def _described(self) -> Json:
        found = super()._described()
        return {**found, "platform": self.listed.raw["platform"]} if self.listed else found


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
        chosen = zip(names, image.platform_parts(platform), strict=False)
        command = [*(f"--override-{name}={value}" for name, value in chosen), "copy", "--quiet"]
    status, _, error = _ran(["skopeo", *command, *options, source, target], failing)
    if status != 0:
        text = error.decode(errors="replace")
        said = re.findall(r'msg="((?:[^"\\]|\\.)*)"', text) or [text.strip()]
        reason = said[-1].replace('\\"', '"')
        raise ImageError(f"{failing}: {reason}")


def require(failing: str, advice: str = _INSTALL) -> None:
    """Raise `ImageError`, from `failing` to `advice`, if skopeo is not installed."""
    if shutil.which("skopeo") is None:
        raise ImageError(f"{failing}: it is not installed. {advice}")


def _ran(command: list[str], failing: str) -> tuple[int, bytes, bytes]:
    """Run `command`; return its exit code, standard output and standard error.

    Raise `ImageError`, which begins with `failing`, if a registry keeps it waiting for too long.
    """
    pipe = subprocess.PIPE
    patience = _patience() if any(word.startswith(f"{_REGISTRY}:") for word in command) else None
    with (
        ending.undisturbed() as release,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process,
    ):
        try:
            release()
            output, error = _awaited(process, patience, failing)
        except BaseException:
            process.kill()
            raise
        return process.returncode, output, error


def _awaited(
    process: subprocess.Popen[bytes], patience: int | None, failing: str
) -> tuple[bytes, bytes]:
    """Return what `process` prints. Raise `ImageError` if it waits for `patience` seconds."""
    before, since = 0, time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=patience and 1)
        moved = _moved(process.pid)
        if moved is None or moved - before > _PROGRESS:
            before, since = moved or 0, time.monotonic()
        elif patience and time.monotonic() - since > patience:
            raise ImageError(
                f"{failing}: no progress for {counted(patience, 'second')} ({TIMEOUT})"
            )


def _moved(process: int) -> int | None:
    """Return how many bytes a `process` has read and written; None if the system does not say."""
    try:
        with open(f"/proc/{process}/io", encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in itertools.islice(file, 2))
    except (OSError, ValueError):
        return None


def _patience() -> int:
    """Return how many seconds skopeo may wait for a registry. Raise `ImageError`."""
    text = os.environ.get(TIMEOUT) or _PATIENCE
    if not text.isdecimal() or not int(text):
        raise ImageError(f"{TIMEOUT} is not a number of seconds: `{text}`")
    return int(text)
