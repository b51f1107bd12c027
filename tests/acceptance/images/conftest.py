"""What the black-box tests of images share: the commands, and the tools that make images."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.acceptance.images import formats
from tests.acceptance.images.contents import SITE, site_packages, tar
from tests.acceptance.images.engines import Buildah, Containerd, Docker, storage
from tests.conftest import DOWNLOADED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


# After so many seconds a run is killed: nothing here may take that long.
_LONGEST = 60

# Runs a command and writes its peak memory, in KiB, to an open file. A process starts with the peak
# of the one that started it: pytest's may be high, that of this one is small. Python may have
# changed its own variables, so the command gets those that were given.
_MEASURED = """
import os, signal, sys, threading
measured, longest, *command = sys.argv[1:]
with open("/proc/self/environ", "rb") as file:
    given = dict(each.partition(b"=")[::2] for each in file.read().split(b"\\0") if each)
number = os.posix_spawn(command[0], command, given)
bound = threading.Timer(int(longest), os.kill, (number, signal.SIGKILL))
bound.start()
_, status, used = os.wait4(number, 0)
bound.cancel()
os.write(int(measured), b"%d" % used.ru_maxrss)
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
"""


class Done:
    """The exit code, the output and the cost of a run of `uvshim`."""

    def __init__(self, status: int, stdout: bytes, stderr: bytes, rss: int, seconds: float) -> None:
        self.status = status
        self.stdout = stdout.decode("utf-8", "surrogateescape")
        self.stderr = stderr.decode("utf-8", "surrogateescape")
        self.mebibytes = rss // 1024
        self.seconds = seconds

    @property
    def said(self) -> str:
        return self.stdout + self.stderr

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    @property
    def wrong(self) -> list[str]:
        """The names of the distributions with a wrong name, each once."""
        found = self.json["environments"]
        return sorted({one["name"] for each in found for one in each["findings"]})

    @property
    def images(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json["images"]
        return found

    def __repr__(self) -> str:
        return f"exit {self.status}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


class Uvshim:
    """The command `uvshim` as a black box."""

    def __init__(self, program: Path, variables: Mapping[str, str], directory: Path) -> None:
        self._program = program
        self.variables = dict(variables)
        self.directory = directory

    def command(self, words: Sequence[str | Path]) -> list[str]:
        return [str(self._program), *map(str, words)]

    def __call__(
        self,
        *words: str | Path,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        cwd: Path | None = None,
        **more: str | None,
    ) -> Done:
        """Run `uvshim`; nothing that a person may cause ends in a traceback."""
        measuring = [sys.executable, "-IS", "-c", _MEASURED]
        variables = {k: v for k, v in {**self.variables, **more}.items() if v is not None}
        begin = time.monotonic()
        with (
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            tempfile.TemporaryFile() as measured,
        ):
            process = subprocess.Popen(
                [*measuring, str(measured.fileno()), str(_LONGEST), *self.command(words)],
                stdin=stdin,
                stdout=out,
                stderr=err,
                cwd=cwd or self.directory,
                env=variables,
                pass_fds=[measured.fileno()],
            )
            status = process.wait()
            seconds = time.monotonic() - begin
            for file in (out, err, measured):
                file.seek(0)
            done = Done(status, out.read(), err.read(), int(measured.read()), seconds)
        assert "Traceback" not in done.stderr, done
        return done

    def check(self, *words: str | Path, **more: Any) -> Done:
        return self("check", "--no-cache", "--format", "json", *words, **more)

    def fix(self, source: str | Path, target: str | Path, *words: str, **more: Any) -> Done:
        return self("fix", source, "--output", target, *words, **more)


@pytest.fixture
def box(uvshim: Path, variables: dict[str, str], tmp_path: Path) -> Uvshim:
    """The command `uvshim` with its own home and temporary directory."""
    (tmp_path / "spool").mkdir()
    return Uvshim(uvshim, {**variables, "TMPDIR": str(tmp_path / "spool")}, tmp_path)


@pytest.fixture(scope="session")
def installed(uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site-packages that uv has installed, with four wrong names in it."""
    directory = tmp_path_factory.mktemp("installed")
    wheels = directory / "wheels"
    wheels.mkdir()
    (setuptools,) = DOWNLOADED.glob("setuptools-75.8.0-*.whl")
    shutil.copy(setuptools, wheels)
    return site_packages(uv, wheels, directory / "site-packages")


@pytest.fixture(scope="session")
def base() -> bytes:
    """The lower layer of most images: a small root without packages."""
    return tar({"etc/os-release": "ID=debian\n", "usr/bin": None, "tmp": None, "root": None})


@pytest.fixture(scope="session")
def packages(installed: Path) -> bytes:
    """The upper layer of most images: an environment in /opt/app."""
    return tar({"opt/app/pyvenv.cfg": "home = /usr/bin\nversion = 3.11.2\n", SITE: installed})


@pytest.fixture(scope="session")
def image(base: bytes, packages: bytes) -> formats.Image:
    """An image of two layers, with four wrong names."""
    return formats.image(base, packages)


@pytest.fixture(scope="session")
def fine(base: bytes) -> formats.Image:
    """An image with nothing to fix."""
    files = {
        f"{SITE}/plain-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: plain\nVersion: 1.0\n"
    }
    return formats.image(base, tar(files))


@pytest.fixture
def source(image: formats.Image, tmp_path: Path) -> Path:
    """An OCI layout with that image as `1.0`."""
    return formats.layout(tmp_path / "source", image).path


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    with storage("docker") as directory, Docker.started(directory) as found:
        yield found


@pytest.fixture(scope="session")
def containerd() -> Iterator[Containerd]:
    with storage("containerd") as directory, Containerd.started(directory) as found:
        yield found


@pytest.fixture(scope="session")
def buildah() -> Iterator[Buildah]:
    with storage("buildah") as directory, Buildah.ready(directory) as found:
        yield found


@pytest.fixture(scope="session")
def podman() -> Iterator[Buildah]:
    with storage("podman") as directory, Buildah.ready(directory, "podman") as found:
        yield found
