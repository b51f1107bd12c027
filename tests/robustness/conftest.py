"""Fixtures of the robustness tests."""

from __future__ import annotations

import compileall
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import uvshim
from tests.places import Venv, bundled_pip, tree
from tests.robustness.disks import Overlay, Plain, mount, unmount
from tests.robustness.invariants import Tools
from tests.robustness.ready import Ready
from tests.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import MakeVenv, Run

# Two dotted names as today's backends write them, and what their directories shall be called.
NAMES = ["zope.deferred", "XStatic-JQuery.TableSorter"]
NORMALIZED = ["zope_deferred-1.2.dist-info", "xstatic_jquery_tablesorter-2.14.5.3.dist-info"]
DOTTED = ["zope.deferred-1.2.dist-info", "XStatic_JQuery.TableSorter-2.14.5.3.dist-info"]

TRY_MOUNTS = "mounting a tmpfs and an overlay (needs root)"


@pytest.fixture(scope="session")
def strace() -> None:
    """Skip, if processes cannot be traced here."""
    if shutil.which("strace") is None:
        pytest.skip("NOT TRIED: strace is not installed")
    if subprocess.run(["strace", "-o", os.devnull, "true"], check=False).returncode != 0:
        pytest.skip("NOT TRIED: strace may not trace here")


@pytest.fixture(scope="session")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip, if nothing can be mounted here."""
    directory = tmp_path_factory.mktemp("mounts")
    try:
        mount("tmpfs", directory / "memory", "size=1m")
        for name in ("lower", "upper", "work"):
            (directory / "memory" / name).mkdir()
        inside = directory / "memory"
        options = f"lowerdir={inside}/lower,upperdir={inside}/upper,workdir={inside}/work"
        mount("overlay", inside / "merged", options)
        unmount(inside / "merged")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"NOT TRIED: {TRY_MOUNTS} is not possible")
    finally:
        unmount(directory / "memory")


@pytest.fixture(scope="session")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that pip can be imported from."""
    directory = tmp_path_factory.mktemp("pip")
    shutil.unpack_archive(bundled_pip(), directory, "zip")
    return directory


@pytest.fixture
def own_cache(tmp_path: Path, variables: dict[str, str]) -> Path:
    """uv's cache, for this test alone."""
    variables["UV_CACHE_DIR"] = str(tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the commands as they are now: every run makes the same system calls."""
    directory = tmp_path_factory.mktemp("frozen")
    shutil.copytree(Path(uvshim.__file__).parent, directory / "uvshim")
    for name, module in (("uvpip", "uvpip"), ("uvshim-command", "cli")):
        command = directory / name
        command.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(directory)!r})\n"
            f"from uvshim.{module} import main\nsys.exit(main())\n"
        )
        command.chmod(0o755)
    compileall.compile_dir(directory, quiet=1)
    return directory


@pytest.fixture(scope="session")
def uvshim_ready(frozen: Path) -> Iterator[Ready]:
    """A Python that has loaded all of those commands."""
    found = pkgutil.walk_packages([str(frozen / "uvshim")], "uvshim.")
    modules = ", ".join(each.name for each in found if each.name != "uvshim.__main__")
    load = (
        f"sys.path.insert(0, {str(frozen)!r})\nimport {modules}\n"
        "import argparse\nargparse.ArgumentParser()"  # for what that loads and compiles
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ready = Ready(sys.executable, load=load, variables=kept)
    yield ready
    ready.close()


@pytest.fixture
def tools(
    uv: Path,
    frozen: Path,
    pip: Path,
    variables: dict[str, str],
    own_cache: Path,
    uvshim_ready: Ready,
) -> Iterator[Tools]:
    """The commands under test, and those that test the result."""
    ready: dict[tuple[str, Path], Ready] = {}
    commands = (frozen / "uvpip", frozen / "uvshim-command")
    yield Tools(uv, pip, *commands, variables, uvshim_ready, ready)
    for each in ready.values():
        each.close()


@pytest.fixture(scope="session")
def two_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with wheels of the two dotted names, one of them with a directory inside."""
    wheels = tmp_path_factory.mktemp("two-wheels")
    build_wheel(
        wheels,
        "zope.deferred",
        "1.2",
        entry_points="[zope]\ndeferred = zope_deferred\n",
        files={"zope_deferred-1.2.dist-info/licenses/LICENSE.txt": "ZPL\n"},
    )
    build_wheel(wheels, "XStatic-JQuery.TableSorter", "2.14.5.3")
    return wheels


@pytest.fixture
def bare(make_venv: MakeVenv) -> Venv:
    """A virtual environment with nothing in it."""
    return make_venv("bare")


@pytest.fixture
def empty(bare: Venv) -> set[str]:
    """What is in the site-packages of a virtual environment with nothing in it."""
    return set(tree(bare.site_packages))


@pytest.fixture
def installed(make_venv: MakeVenv, run: Run, uv: Path, own_cache: Path, two_wheels: Path) -> Venv:
    """A virtual environment with the two distributions as uv left them."""
    venv = make_venv("installed")
    choice = ("--python", venv.python, "--no-index", "--find-links", two_wheels)
    done = run(uv, "pip", "install", *choice, *NAMES)
    assert done.returncode == 0, done.stderr
    assert venv.dist_infos() == sorted(NORMALIZED)
    return venv


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, uv: Path, two_wheels: Path) -> Venv:
    """Such an environment for all tests of one process, which take copies of it."""
    directory = tmp_path_factory.mktemp("prepared")
    venv = Venv(directory / "venv")
    variables = {"UV_CACHE_DIR": str(directory / "cache"), "UV_PYTHON": sys.executable}
    choice = ("--quiet", "--no-config", "--no-index", "-f", two_wheels)
    subprocess.run([uv, "venv", "--quiet", "--no-config", venv.path], check=True, env=variables)
    install: list[str | Path] = [uv, "pip", "install", "--python", venv.path, *choice, *NAMES]
    subprocess.run(install, check=True, env=variables)
    assert venv.dist_infos() == sorted(NORMALIZED)
    return venv


@pytest.fixture
def plain(tmp_path: Path) -> Callable[[Venv], Plain]:
    """Put an environment on an ordinary file system."""
    return lambda venv: Plain(venv.path, tmp_path)


@pytest.fixture
def overlay(tmp_path: Path, mounts: None) -> Iterator[Callable[[Venv], Overlay]]:
    """Put an environment into the lower layer of an overlay."""
    made = []

    def make(venv: Venv) -> Overlay:
        made.append(Overlay(venv.path, tmp_path))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """Count what was tried, for the summary at the end of the run."""
    return lambda what, number: request.node.user_properties.append(("tried", (what, number)))
