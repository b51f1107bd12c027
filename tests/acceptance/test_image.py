"""`make image-test`: the documented Dockerfiles and patterns of others, built for real.

The image that it starts from is made by debootstrap, the build is buildah's. In place of the
package index there is a directory of wheels, which the configuration of uv in that image names:
so the Dockerfile stays as it is, and needs nothing of this machine's network.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tools import zipapp

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.index, pytest.mark.image]

RECIPES = zipapp.ROOT / "recipes"
CACHE = zipapp.ROOT / ".cache" / "image"

DOCKERFILE = (RECIPES / "Dockerfile").read_text()
WITH_PLAIN_UV = DOCKERFILE.replace("\nRUN uvpip ", "\nRUN uv pip install ")
FIX = (RECIPES / "Dockerfile.fix").read_text()
GATE = "RUN uvshim check ${VIRTUAL_ENV}\n"
WITH_PLAIN_UV_AND_NO_GATE = WITH_PLAIN_UV.replace(GATE, "")

QUESTION = 'import pkg_resources; print(pkg_resources.require("oslo.cache")[0])'

# What an image need not have to run Python, and what makes the test slow.
NOT_NEEDED = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt")


def output(*command: str | Path) -> str:
    """Run `command` and return what it printed to standard output."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def suite_and_mirror() -> tuple[str, str]:
    """Return the release of this Debian, and where its apt gets it from."""
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    targets = output("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)")
    return suite, next(
        line.partition(" ")[2] for line in targets.splitlines() if line.startswith(f"{suite} ")
    )


@pytest.fixture(scope="session")
def base() -> Path:
    """A small Debian with Python as a tar file; made once."""
    suite, mirror = suite_and_mirror()
    tar = CACHE / f"base-{suite}.tar"
    if not tar.exists():
        root = CACHE / f"base-{suite}"
        shutil.rmtree(root, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        output("debootstrap", "--variant=minbase", "--include=python3", suite, root, mirror)
        for directory in NOT_NEEDED:
            shutil.rmtree(root / directory, ignore_errors=True)
        (root / "etc" / "uv").mkdir()
        (root / "etc" / "uv" / "uv.toml").write_text('no-index = true\nfind-links = ["/wheels"]\n')
        unfinished = tar.with_suffix(".new")
        output("tar", "--directory", root, "--create", "--file", unfinished, ".")
        unfinished.rename(tar)
        shutil.rmtree(root)
    return tar


@pytest.fixture(scope="session")
def wheels(base: Path) -> Path:
    """The wheels of the recipe for the Python in the image; downloaded once."""
    listed = output("tar", "--list", "--file", base)
    python = next(
        name.removeprefix("./usr/bin/python")
        for name in listed.splitlines()
        if name.startswith("./usr/bin/python3.")
    )
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in (17, 28)]
    directory = CACHE / "wheels"
    output(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--dest", directory, "--no-deps", "--only-binary=:all:", f"--python-version={python}"),
        *(f"--platform={each}" for each in [*platforms, f"manylinux2014_{machine}"]),
        *("--requirement", RECIPES / "constraints.txt"),
    )
    # What builds a project: this one writes a normalized name.
    output(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--dest", directory, "--no-deps", "setuptools==80.9.0"),
    )
    return directory


# A project as OpenStack has them: pbr reads its name and its files from setup.cfg.
PROJECT = {
    "setup.cfg": "[metadata]\nname = acme.x\n[files]\npackages =\n    acme_x\n",
    "setup.py": "import setuptools\nsetuptools.setup(setup_requires=['pbr'], pbr=True)\n",
    "pyproject.toml": '[build-system]\nrequires = ["pbr>=6", "setuptools>=80"]\n'
    'build-backend = "setuptools.build_meta"\n',
    "acme_x/__init__.py": "",
}


class Image(NamedTuple):
    """An image that was built, and a container of it."""

    builder: Builder
    container: str
    root: Path

    def ask(self) -> subprocess.CompletedProcess[str]:
        """Ask pkg_resources in the container for a distribution and all it needs."""
        return self.builder.buildah(
            *("run", "--isolation", "chroot", self.container, "--"),
            *("python", "-W", "ignore", "-c", QUESTION),
        )

    def size(self) -> int:
        """Return the size of all files in it, without the bytecode of what was run."""
        return sum(
            path.lstat().st_size
            for path in self.root.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        )


class Builder:
    """buildah with a storage of its own."""

    def __init__(self, directory: Path, wheels: Path) -> None:
        self._directory = directory
        self._wheels = wheels
        self._context = directory / "context"
        self._context.mkdir()
        output(sys.executable, zipapp.__file__, "--output", self._context)
        for file in self._context.iterdir():
            file.chmod(0o644)  # as after a download
        for name in ("requirements.txt", "constraints.txt"):
            shutil.copy(RECIPES / name, self._context)
        for name, content in PROJECT.items():
            (self._context / "acme.x" / name).parent.mkdir(parents=True, exist_ok=True)
            (self._context / "acme.x" / name).write_text(content)

    def buildah(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        storage = ("--root", self._directory / "root", "--runroot", self._directory / "run")
        return subprocess.run(
            ["buildah", *storage, *words],
            env={**os.environ, "STORAGE_DRIVER": "vfs"},
            check=False,
            capture_output=True,
            text=True,
        )

    def must(self, *words: str | Path) -> str:
        done = self.buildah(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def image_of(self, what: Path, name: str, *place: str) -> None:
        """Make an image that holds one file, or the content of a tar file."""
        container = self.must("from", "scratch")
        self.must("add", "--quiet", container, what, *place)
        self.must("commit", "--quiet", container, name)
        self.must("rm", container)

    def build(self, dockerfile: str, name: str) -> subprocess.CompletedProcess[str]:
        file = self._directory / "Dockerfile"
        file.write_text(dockerfile)
        return self.buildah(
            *("build", "--isolation", "chroot", "--volume", f"{self._wheels}:/wheels:ro"),
            *("--build-arg", "BASE=localhost/base", "--build-arg", "UV=localhost/uv"),
            *("--build-arg", "BROKEN=localhost/plain", "--build-arg", "UVSHIM=localhost/uvshim"),
            *("--file", file, "--tag", name, self._context),
        )

    def open(self, name: str) -> Image:
        container = self.must("from", name)
        return Image(self, container, Path(self.must("mount", container)))


@pytest.fixture(scope="session")
def builder(
    base: Path, wheels: Path, uv: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Builder]:
    directory = tmp_path_factory.mktemp("buildah")
    builder = Builder(directory, wheels)
    builder.image_of(base, "localhost/base", "/")
    builder.image_of(uv, "localhost/uv", "/uv")
    done = builder.build((zipapp.ROOT / "image" / "Dockerfile").read_text(), "localhost/uvshim")
    assert done.returncode == 0, done.stdout + done.stderr
    yield builder
    builder.buildah("rm", "--all")
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def with_uvpip(builder: Builder) -> Image:
    """The image of the unchanged recipe."""
    done = builder.build(DOCKERFILE, "localhost/with-uvpip")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " ~ oslo.cache==3.10.2\n" in done.stdout + done.stderr
    return builder.open("localhost/with-uvpip")


@pytest.fixture(scope="session")
def plain(builder: Builder) -> Image:
    """The image of the recipe with plain uv and no gate."""
    done = builder.build(WITH_PLAIN_UV_AND_NO_GATE, "localhost/plain")
    assert done.returncode == 0, done.stdout + done.stderr
    return builder.open("localhost/plain")


def test_the_recipe_installs_with_uvpip_behind_a_gate() -> None:
    assert DOCKERFILE.count("\nRUN uvpip ") == 1
    assert DOCKERFILE.count(GATE) == 1


def test_in_the_image_of_the_recipe_everything_is_found(with_uvpip: Image) -> None:
    done = with_uvpip.ask()
    assert done.stdout == "oslo.cache 3.10.2\n", done.stderr


def test_with_plain_uv_the_check_stops_the_build_and_says_why(builder: Builder) -> None:
    done = builder.build(WITH_PLAIN_UV, "localhost/gated")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "/opt/app: broken (31 distributions, setuptools 75.8.0)\n" in said
    assert "dogpile.cache: oslo_cache." in said
    assert builder.buildah("inspect", "--type", "image", "localhost/gated").returncode != 0


def test_with_plain_uv_and_no_check_the_image_is_broken(plain: Image) -> None:
    done = plain.ask()
    assert done.returncode != 0
    assert "DistributionNotFound: The 'oslo.cache' distribution was not found" in done.stderr


def test_the_image_is_as_large_as_with_plain_uv_and_holds_nothing_of_uvshim(
    with_uvpip: Image, plain: Image
) -> None:
    names = {path.name for path in with_uvpip.root.rglob("*")}
    assert "oslo.cache-3.10.2.dist-info" in names
    assert not [name for name in names if name.startswith(("uvshim", "uvpip"))]
    assert not (with_uvpip.root / "usr" / "local" / "bin" / "uv").exists()
    assert with_uvpip.size() == plain.size()


def test_an_image_that_was_built_already_is_diagnosed_and_fixed_from_outside(
    builder: Builder, plain: Image, uvshim: Path
) -> None:
    image = builder.open("localhost/plain")
    checked = subprocess.run(
        [uvshim, "check", image.root], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 1
    assert "/opt/app: broken (31 distributions, setuptools 75.8.0)\n" in checked.stdout
    assert "DistributionNotFound" in image.ask().stderr
    fixed = subprocess.run([uvshim, "fix", image.root], check=False, capture_output=True, text=True)
    assert fixed.returncode == 0, fixed.stderr
    assert image.ask().stdout == "oslo.cache 3.10.2\n"


def test_an_image_that_cannot_be_rebuilt_is_fixed_by_a_dockerfile_alone(
    builder: Builder, plain: Image
) -> None:
    done = builder.build(FIX, "localhost/fixed")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "Renormalized 8 distributions" in said
    assert "/opt/app: ok (31 distributions, setuptools 75.8.0)" in said
    fixed = builder.open("localhost/fixed")
    assert fixed.ask().stdout == "oslo.cache 3.10.2\n"
    assert not [path for path in fixed.root.rglob("uvshim*") if path.stat().st_size]


# Patterns of other people's Dockerfiles. Each has `uvpip` where they have `uv pip install`.

FROM_IMAGES = """\
ARG BASE
ARG UV
ARG UVSHIM
FROM ${UV} AS uv
FROM ${UVSHIM} AS uvshim
FROM scratch AS source
COPY acme.x /acme.x
FROM ${BASE} AS build
ENV PBR_VERSION=1.0
"""
COPIED = """\
COPY --from=uv /uv /bin/uv
COPY --from=uvshim /uvpip /uvshim /bin/
COPY constraints.txt /upper-constraints.txt
"""


def without_heredocs(dockerfile: str) -> str:
    """Return `dockerfile` with each heredoc as a pipe: buildah reads them from 1.33 on."""

    def piped(match: re.Match[str]) -> str:
        lines = " ".join(shlex.quote(line) for line in match["body"].splitlines())
        return f"{match['before']}printf '%s\\n' {lines} | {match['command']}\n"

    pattern = r"(?P<before>RUN .*)<<EOF (?P<command>.*)\n(?P<body>(.*\n)*?)EOF\n"
    return re.sub(pattern, piped, dockerfile)


def built(builder: Builder, name: str, dockerfile: str) -> tuple[Image, str]:
    """Build an image in one of the ways below, and return it with what the build printed."""
    done = builder.build(without_heredocs(FROM_IMAGES + dockerfile), name)
    assert done.returncode == 0, done.stdout + done.stderr
    return builder.open(name), done.stdout + done.stderr


def dist_infos(image: Image) -> set[str]:
    return {path.name for path in image.root.rglob("*.dist-info")}


def test_the_image_holds_the_file_by_both_names_and_nothing_else(builder: Builder) -> None:
    image = builder.open("localhost/uvshim")
    (uvpip, uvshim) = sorted(path for path in image.root.iterdir())
    assert (uvpip.name, uvshim.name) == ("uvpip", "uvshim")
    assert uvpip.read_bytes() == uvshim.read_bytes()
    assert [path.stat().st_mode & 0o777 for path in (uvpip, uvshim)] == [0o755, 0o755]


def test_a_pbr_project_is_installed_from_a_mount_by_a_heredoc(builder: Builder) -> None:
    image, said = built(
        builder,
        "localhost/heredoc",
        f"""{COPIED}\
ENV PATH=/opt/app/bin:$PATH
RUN uv venv /opt/app
RUN --mount=type=bind,from=source,source=/acme.x,target=/src/acme.x,readwrite <<EOF bash -xe
uvpip --constraint /upper-constraints.txt setuptools /src/acme.x
uvshim check --strict /opt/app
EOF
""",
    )
    assert " ~ acme.x==1.0\n" in said
    assert "/opt/app: ok (" in said
    assert "acme.x-1.0.dist-info" in dist_infos(image)


def test_mounted_tools_and_a_mounted_cache_leave_nothing_in_the_image(builder: Builder) -> None:
    done = builder.build((RECIPES / "Dockerfile.mount").read_text(), "localhost/mount")
    assert done.returncode == 0, done.stdout + done.stderr
    image = builder.open("localhost/mount")
    assert image.ask().stdout == "oslo.cache 3.10.2\n"
    files = [path for path in image.root.rglob("*") if path.is_file() and path.stat().st_size]
    assert not [path for path in files if path.name.startswith(("uvshim", "uvpip"))]
    assert not [path for path in files if path.name == "uv"]


def test_one_file_is_mounted_from_the_image_of_uv(builder: Builder) -> None:
    """`--mount=from=…,source=/uv,target=/bin/uv`, as in uv's guide, and the same for uvpip."""
    image, said = built(
        builder,
        "localhost/files",
        """\
RUN --mount=type=bind,from=uv,source=/uv,target=/bin/uv \\
    --mount=type=bind,from=uvshim,source=/uvpip,target=/bin/uvpip \\
    --mount=type=cache,target=/root/.cache/uv \\
    uv venv /opt/app && uvpip --python /opt/app --no-deps oslo.cache==3.10.2
""",
    )
    assert " ~ oslo.cache==3.10.2\n" in said
    assert "oslo.cache-3.10.2.dist-info" in dist_infos(image)


def test_an_editable_project_goes_into_the_python_of_the_system(builder: Builder) -> None:
    image, said = built(
        builder,
        "localhost/system",
        f"""{COPIED}\
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_SYSTEM_PYTHON=1
COPY acme.x /src
WORKDIR /src
RUN uvpip --system --break-system-packages -c /upper-constraints.txt setuptools -e .
RUN python3 -W ignore -c "import pkg_resources; pkg_resources.require('acme.x')"
RUN uvshim check --strict /usr/bin/python3
""",
    )
    assert " ~ acme.x==1.0\n" in said
    assert "acme.x-1.0.dist-info" in dist_infos(image)


def test_another_user_installs(builder: Builder) -> None:
    image, said = built(
        builder,
        "localhost/user",
        f"""{COPIED}\
RUN mkdir /opt/app /home/app && chown 1000:1000 /opt/app /home/app
USER 1000:1000
ENV HOME=/home/app
RUN uv venv --allow-existing /opt/app && uvpip --python /opt/app --no-deps oslo.cache==3.10.2
RUN uvshim check /opt/app
""",
    )
    assert " ~ oslo.cache==3.10.2\n" in said
    (found,) = (image.root / "opt").rglob("oslo*.dist-info")
    assert {path.stat().st_uid for path in (found, *found.iterdir())} == {1000}


def test_a_prefix_is_copied_into_the_next_stage(builder: Builder) -> None:
    image, said = built(
        builder,
        "localhost/prefix",
        f"""{COPIED}\
COPY acme.x /src
WORKDIR /src
RUN uvpip --prefix=/install --constraint /upper-constraints.txt setuptools .
FROM ${{BASE}}
COPY --from=build /install /usr/local
COPY --from=uvshim /uvshim /bin/uvshim
RUN uvshim check --strict /usr/local
""",
    )
    assert " ~ acme.x==1.0\n" in said
    (found,) = image.root.rglob("acme*.dist-info")
    assert found.name == "acme.x-1.0.dist-info"
    assert found.relative_to(image.root).parts[:2] == ("usr", "local")


def test_a_gate_in_the_builder_does_not_see_the_setuptools_of_the_final_image(
    builder: Builder,
) -> None:
    stages = f"""{COPIED}\
RUN uv venv --system-site-packages /opt/app
RUN uv pip install --python /opt/app --no-deps oslo.cache==3.10.2
RUN uvshim check /opt/app
FROM ${{BASE}}
COPY --from=uv /uv /bin/uv
COPY --from=uvshim /uvpip /uvshim /bin/
RUN uv pip install --system --break-system-packages setuptools==75.8.0
COPY --from=build /opt/app /opt/app
"""
    _, said = built(builder, "localhost/unseen", stages)
    assert "/opt/app: ok (1 distribution, no setuptools" in said
    seen = builder.build(FROM_IMAGES + stages + "RUN uvshim check /opt/app\n", "localhost/seen")
    assert seen.returncode != 0
    assert "/opt/app: broken (" in seen.stdout + seen.stderr
