"""The files of a release: their contents, and every way to install them."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import interpreters
from tools.zipapp import ROOT
from uvshim import __version__

if TYPE_CHECKING:
    from tests.places import Venv

pytestmark = pytest.mark.index

COMMANDS = Path(sys.executable).parent
WHEEL = f"uvshim-{__version__}-py3-none-any.whl"
SDIST = f"uvshim-{__version__}.tar.gz"
LICENCES = ["LICENSE", "LICENSE-APACHE", "LICENSE-MIT"]
SHARED = {
    f"share/{path}"
    for command in ("uvpip", "uvshim")
    for path in (
        f"bash-completion/completions/{command}",
        f"fish/vendor_completions.d/{command}.fish",
        f"man/man1/{command}.1",
        f"zsh/site-functions/_{command}",
    )
}
OLDEST = [python for python in interpreters() if python.name == "python3.10"]


def run(*words: str | Path, cwd: Path | None = None, **variables: str) -> str:
    """Run a command that must succeed, and return all that it said."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("UVSHIM_", "VIRTUAL_ENV", "PYTHON"))
    }
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**kept, "PATH": f"{COMMANDS}{os.pathsep}{kept['PATH']}", **variables},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def committed() -> list[str]:
    """Return the files of the project that git tracks or would add."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of the project."""
    directory = tmp_path_factory.mktemp("checkout") / "project"
    for name in committed():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, directory / name)
    return directory


def build(checkout: Path, output: Path, *what: str, **variables: str) -> Path:
    """Build as `make dist` does."""
    constraints: tuple[str | Path, ...] = (
        "--build-constraints",
        ROOT / "tools" / "build-constraints.txt",
    )
    words = ("uv", "build", "--quiet", "--out-dir", output, *constraints, *what, checkout)
    run(*words, cwd=None, **variables)
    return output


@pytest.fixture(scope="module")
def release(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(checkout, tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def wheel(release: Path) -> Path:
    return release / WHEEL


def works(uvpip: Path, venv: Venv, wheels: Path) -> None:
    """Assert that an installed `uvpip` and its `uvshim` work."""
    wanted = ("--python", venv.path, "--no-index", "--find-links", wheels, "simple")
    said = run(uvpip, *wanted)
    assert " ~ zope.deferred==1.2\n" in said
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    assert f"uvshim {__version__}\n" in run(uvpip, "--version")
    assert run(uvpip.with_name("uvshim"), "--version") == f"uvshim {__version__}\n"
    assert ": ok (" in run(uvpip.with_name("uvshim"), "check", venv.path)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        members = set(archive.namelist())
    package = {name for name in committed() if name.startswith("uvshim/")}
    assert "uvshim/py.typed" in package
    info = f"uvshim-{__version__}.dist-info"
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt"}
    about |= {f"licenses/{name}" for name in LICENCES}
    shared = {
        name.replace("share/", f"uvshim-{__version__}.data/data/share/", 1) for name in SHARED
    }
    assert members == package | shared | {f"{info}/{name}" for name in about}


def test_the_sdist_holds_what_builds_and_tests_it_and_nothing_else(release: Path) -> None:
    with tarfile.open(release / SDIST) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    parts = (".github/", "docs/", "image/", "recipes/", "share/", "tests/", "tools/", "uvshim/")
    single = {"Makefile", "CHANGELOG.md", "README.md", "pyproject.toml", ".gitignore", *LICENCES}
    single |= {"CONTRIBUTING.md", "SECURITY.md", "action.yml", "mkdocs.yml"}
    single |= {".pre-commit-config.yaml", ".pre-commit-hooks.yaml"}
    expected = {name for name in committed() if name.startswith(parts) or name in single}
    assert members == expected | {"PKG-INFO"}


def test_it_is_the_same_byte_for_byte_wherever_and_whenever_it_is_built(
    checkout: Path, release: Path, tmp_path: Path
) -> None:
    elsewhere = shutil.copytree(checkout, tmp_path / "elsewhere")
    for path in elsewhere.rglob("*"):
        os.utime(path, (1234567890, 1234567890))
    mask = os.umask(0o077)
    try:
        again = build(elsewhere, tmp_path / "again", TZ="Asia/Tokyo", PYTHONHASHSEED="7")
    finally:
        os.umask(mask)
    assert (again / WHEEL).read_bytes() == (release / WHEEL).read_bytes()
    assert (again / SDIST).read_bytes() == (release / SDIST).read_bytes()


def test_the_sdist_builds_the_same_wheel(release: Path, tmp_path: Path) -> None:
    with tarfile.open(release / SDIST) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    again = build(unpacked, tmp_path / "again", "--wheel")
    assert (again / WHEEL).read_bytes() == (release / WHEEL).read_bytes()


def test_the_index_would_take_it(release: Path) -> None:
    said = run("twine", "--no-color", "check", "--strict", release / WHEEL, release / SDIST)
    assert said.count("PASSED") == 2
    run("check-wheel-contents", release / WHEEL)


def test_its_metadata_is_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"uvshim-{__version__}.dist-info/METADATA").decode()
    metadata = email.message_from_string(text)
    assert metadata["Version"] == __version__
    assert metadata["Author"] == "The uvshim developers"
    classifiers = str(metadata.get_all("Classifier"))
    assert all(f"Python :: 3.{minor}" in classifiers for minor in range(10, 16))
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "Apache-2.0 OR MIT"
    assert metadata.get_all("License-File") == LICENCES
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "# uvshim" in str(metadata.get_payload())


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__.partition(".dev")[0]


def test_pip_installs_it(wheel: Path, tmp_path: Path, venv: Venv, wheels: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "tool")
    pip = (tmp_path / "tool" / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", wheel)
    works(tmp_path / "tool" / "bin" / "uvpip", venv, wheels)
    run(*pip, "check")
    run(*pip, "uninstall", "--quiet", "--yes", "uvshim")
    assert not list((tmp_path / "tool").rglob("*uvshim*"))
    assert not list((tmp_path / "tool").rglob("*uvpip*"))


def test_pip_installs_it_from_the_sdist(
    release: Path, tmp_path: Path, venv: Venv, wheels: Path
) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "tool")
    pip = (tmp_path / "tool" / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", release / SDIST)
    works(tmp_path / "tool" / "bin" / "uvpip", venv, wheels)


def test_uv_installs_it_with_the_uv_of_its_extra(
    wheel: Path, tmp_path: Path, venv: Venv, wheels: Path
) -> None:
    run("uv", "venv", "--quiet", tmp_path / "tool")
    run("uv", "pip", "install", "--python", tmp_path / "tool", f"uvshim[uv] @ {wheel.as_uri()}")
    commands = tmp_path / "tool" / "bin"
    assert (commands / "uv").exists()
    nowhere = os.pathsep.join(
        each
        for each in os.environ["PATH"].split(os.pathsep)
        if Path(each) != COMMANDS and not Path(each, "uv").exists()
    )
    said = run(commands / "uvpip", "--version", PATH=nowhere)
    assert said.startswith(f"uvshim {__version__}\nuv ")
    works(commands / "uvpip", venv, wheels)


def test_uv_installs_it_as_a_tool(wheel: Path, tmp_path: Path, venv: Venv, wheels: Path) -> None:
    run(
        *("uv", "tool", "install", "--quiet", wheel),
        UV_TOOL_DIR=str(tmp_path / "tools"),
        UV_TOOL_BIN_DIR=str(tmp_path / "bin"),
    )
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"uvpip", "uvshim"}
    works(tmp_path / "bin" / "uvpip", venv, wheels)


def test_pipx_installs_it(wheel: Path, tmp_path: Path, venv: Venv, wheels: Path) -> None:
    run(
        *("pipx", "install", "--python", sys.executable, wheel),
        PIPX_HOME=str(tmp_path / "pipx"),
        PIPX_BIN_DIR=str(tmp_path / "bin"),
        PIPX_MAN_DIR=str(tmp_path / "man"),
    )
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"uvpip", "uvshim"}
    works(tmp_path / "bin" / "uvpip", venv, wheels)
    manuals = {path.name for path in (tmp_path / "man" / "man1").iterdir()}
    assert manuals == {"uvpip.1", "uvshim.1"}


def test_a_project_that_brings_another_uvpip_does_no_harm(
    wheel: Path, tmp_path: Path, venv: Venv
) -> None:
    tool = tmp_path / "tool"
    run("uv", "venv", "--quiet", tool)
    run("uv", "pip", "install", "--quiet", "--python", tool, wheel)
    run("uv", "pip", "install", "--quiet", "--python", tool, "uvpip-cli==1.1.0")
    warned = "`uvpip` on PATH is another project's"
    path = f"{tool / 'bin'}{os.pathsep}{os.environ['PATH']}"
    said = run(tool / "bin" / "uvshim", "check", venv.path, PATH=path)
    assert said.count(warned) == 1
    assert "use `uvshim pip`" in said
    assert warned not in run(tool / "bin" / "uvshim", "check", "-q", venv.path, PATH=path)
    assert f"uvshim {__version__}\nuv " in run(tool / "bin" / "uvshim", "pip", "--version")
    run("uv", "pip", "install", "--quiet", "--python", tool, "--reinstall", "--no-deps", wheel)
    assert warned not in run(tool / "bin" / "uvshim", "check", venv.path, PATH=path)


def test_uvx_runs_it_without_installing_it(wheel: Path, venv: Venv, wheels: Path) -> None:
    said = run(
        *("uvx", "--from", wheel, "uvpip", "--python", venv.path),
        *("--no-index", "--find-links", wheels, "simple"),
    )
    assert " ~ zope.deferred==1.2\n" in said
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    assert ": ok (" in run("uvx", "--from", wheel, "uvshim", "check", venv.path)


def test_python_runs_it_as_a_module(wheel: Path, tmp_path: Path, venv: Venv) -> None:
    run("uv", "venv", "--quiet", tmp_path / "tool")
    run("uv", "pip", "install", "--quiet", "--python", tmp_path / "tool", wheel)
    python = tmp_path / "tool" / "bin" / "python"
    assert run(python, "-m", "uvshim", "--version") == f"uvshim {__version__}\n"
    assert ": empty" in run(python, "-m", "uvshim", "check", venv.path)


def test_programs_get_its_types(wheel: Path, tmp_path: Path) -> None:
    run("uv", "venv", "--quiet", tmp_path / "tool")
    run("uv", "pip", "install", "--quiet", "--python", tmp_path / "tool", wheel)
    program = tmp_path / "program.py"
    program.write_text("""\
import uvshim

before: uvshim.Snapshot = uvshim.Snapshot.take(["lib"])
for renamed in uvshim.renormalize("lib", since=before).renamed:
    reveal_type(renamed.name)
for finding in uvshim.diagnose(uvshim.DiskTree(), ["lib"]).findings:
    reveal_type(finding.kind)
""")
    interpreter = ("--python-executable", tmp_path / "tool" / "bin" / "python")
    said = run("mypy", "--strict", *interpreter, program, cwd=tmp_path)
    assert said.count('Revealed type is "str"') == 2, said
    assert "Success: no issues found" in said


@pytest.mark.skipif(not OLDEST, reason="there is no Python 3.10 here")
def test_it_works_with_the_oldest_versions_that_it_says_it_needs(
    wheel: Path, tmp_path: Path, venv: Venv, wheels: Path
) -> None:
    run("uv", "venv", "--quiet", "--python", OLDEST[0], tmp_path / "tool")
    wanted = ("--resolution", "lowest-direct", "--python", tmp_path / "tool", wheel)
    run("uv", "pip", "install", "--no-cache", *wanted, "packaging>=22", "tomli>=2")
    installed = run("uv", "pip", "freeze", "--python", tmp_path / "tool")
    assert "packaging==22.0" in installed
    assert "tomli==2.0" in installed
    works(tmp_path / "tool" / "bin" / "uvpip", venv, wheels)
