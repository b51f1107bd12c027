"""The real tools that make and load images, each with its own storage, and stopped at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# After so many seconds a daemon is stopped, even if the tests were killed.
_LIFETIME = 900

_WAIT = 20

# Run in a container: which distributions the real pkg_resources finds with all they require.
QUESTION = """
import sys, warnings
warnings.simplefilter("ignore")
import pkg_resources
for name in sys.argv[1:]:
    try:
        pkg_resources.require(name)
        print(name, "found")
    except pkg_resources.DistributionNotFound as error:
        print(name, "misses", error.req.name)
"""


def need(*tools: str) -> None:
    """Skip the test, and say so in the summary, unless `tools` are installed."""
    if os.geteuid() != 0:
        pytest.skip("NOT TRIED: container tools, for they need root")
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"NOT TRIED: {tool} is not installed")


def output(*command: str | Path, **variables: str) -> str:
    """Run `command`, which must succeed, and return what it prints."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(str(path)) == 0


@contextlib.contextmanager
def _daemon(command: list[str], log: Path, sock: Path) -> Iterator[None]:
    """Run a daemon, which is stopped after a while even if this process is killed."""
    bounded = ["timeout", "--kill-after=10", str(_LIFETIME), *command]
    with log.open("wb") as file:
        process = subprocess.Popen(
            bounded, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    try:
        end = time.monotonic() + _WAIT
        while not _answers(sock):
            if process.poll() is not None or time.monotonic() > end:
                said = log.read_text(errors="replace")[-600:]
                pytest.skip(f"NOT TRIED: {command[0]} does not start here ({said!r})")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_WAIT)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def mounted_below(directory: Path) -> list[str]:
    """Return what is mounted below `directory`, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [line.split(" ")[4] for line in lines]
    return sorted((each for each in places if each.startswith(f"{directory}/")), reverse=True)


@contextlib.contextmanager
def storage(prefix: str) -> Iterator[Path]:
    """Give a new directory whose path is short enough for a socket in it; remove it at the end.

    It stays if something is still mounted there: that may be a directory of this machine.
    """
    directory = Path(tempfile.mkdtemp(prefix=f"uvshim-{prefix}-", dir="/tmp"))
    try:
        yield directory
    finally:
        if not mounted_below(directory):
            shutil.rmtree(directory, ignore_errors=True)


class Docker:
    """Docker's daemon, without rights on the network: it loads and saves, and runs nothing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "s"

    @classmethod
    @contextlib.contextmanager
    def started(cls, directory: Path) -> Iterator[Docker]:
        need("docker", "dockerd", "timeout")
        found = cls(directory)
        command = ["dockerd", "--host", f"unix://{found._socket}"]
        command += [f"--data-root={directory}/data", f"--exec-root={directory}/exec"]
        command += [f"--pidfile={directory}/pid", "--storage-driver=vfs"]
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        with _daemon(command, directory / "log", found._socket):
            yield found

    def __call__(self, *words: str | Path) -> str:
        return output("docker", "--host", f"unix://{self._socket}", *words)

    @property
    def variables(self) -> dict[str, str]:
        """The variables with the daemon's address."""
        return {"DOCKER_HOST": f"unix://{self._socket}"}

    def load(self, archive: Path) -> list[str]:
        """Load `archive`, and return the names that Docker says it has loaded."""
        said = self("load", "--input", archive).splitlines()
        return [line.partition(": ")[2] for line in said if line.startswith("Loaded image")]

    def names(self, image: str) -> list[str]:
        """Return the dist-info directories of what a container of `image` has."""
        container = self("create", image, "true")
        exported = self._directory / "exported.tar"
        self("export", "--output", exported, container)
        self("rm", container)
        with tarfile.open(exported) as archive:
            found = dist_infos(archive.getnames())
        exported.unlink()
        return found


class Containerd:
    """containerd, and its command `ctr`."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "s"

    @classmethod
    @contextlib.contextmanager
    def started(cls, directory: Path) -> Iterator[Containerd]:
        need("containerd", "ctr", "timeout")
        found = cls(directory)
        settings = directory / "config.toml"
        settings.write_text(
            f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{found._socket}"\n'
        )
        with _daemon(["containerd", "--config", str(settings)], directory / "log", found._socket):
            yield found

    def __call__(self, *words: str | Path) -> str:
        return output("ctr", "--address", self._socket, *words)

    def load(self, archive: Path, base: str = "docker.io/library/app") -> list[str]:
        """Import all platforms in `archive`, and return the names of all images."""
        options = ("--no-unpack", "--all-platforms", "--base-name", base)
        self("images", "import", *options, archive)
        return self("images", "list", "--quiet").splitlines()


class Buildah:
    """Buildah, or Podman, with a storage of its own."""

    def __init__(self, directory: Path, program: str = "buildah") -> None:
        self._program = program
        self._directory = directory
        self._driver = "overlay"

    @classmethod
    @contextlib.contextmanager
    def ready(cls, directory: Path, program: str = "buildah") -> Iterator[Buildah]:
        need(program)
        found = cls(directory, program)
        if program == "buildah" and not found._has_overlay():
            found._driver = "vfs"
        yield found
        if program == "buildah":
            found("rm", "--all")
        for place in mounted_below(directory):
            subprocess.run(["umount", "-l", place], check=False, capture_output=True)

    def _has_overlay(self) -> bool:
        try:
            container = self("from", "scratch")
            self("mount", container)
            self("rm", container)
        except AssertionError:
            return False
        return True

    @property
    def has_overlay(self) -> bool:
        return self._driver == "overlay"

    def __call__(self, *words: str | Path) -> str:
        storage = ("--root", self._directory / "root", "--runroot", self._directory / "run")
        return output(self._program, *storage, *words, STORAGE_DRIVER=self._driver)

    def container(self, image: str) -> tuple[str, Path]:
        """Return a new container of `image`, and where its root is mounted."""
        container = self("from", "--pull-never" if ":" not in image else "--quiet", image)
        return container, Path(self("mount", container))

    def ask(self, container: str, site_packages: str, *names: str) -> dict[str, str]:
        """Return what the real pkg_resources in `container` says of `names`.

        The image has no Python: this one is mounted with the libraries that it needs.
        """
        prefix = os.path.realpath(sys.base_prefix)
        mounted = {prefix, "/usr", "/lib", "/lib64"}
        volumes = [f"--volume={each}:{each}:ro" for each in sorted(mounted) if Path(each).exists()]
        python = os.path.realpath(sys.executable)
        said = self(
            *("run", "--isolation", "chroot", *volumes, container, "--", "/usr/bin/env"),
            *(f"PYTHONPATH=/{site_packages}", python, "-S", "-c", QUESTION, *names),
        )
        return dict(line.split(" ", 1) for line in said.splitlines())


def dist_infos(paths: list[str] | Iterator[str]) -> list[str]:
    """Return the names of dist-info directories that are in no vendored copy."""
    return sorted(
        {
            part
            for path in paths
            if "_vendor" not in path
            for part in path.split("/")
            if part.endswith(".dist-info")
        }
    )


def names_below(root: Path) -> list[str]:
    """Return the names of dist-info directories below `root`, without vendored ones."""
    return dist_infos(str(path.relative_to(root)) for path in root.rglob("*.dist-info"))
