"""Pythons that are not virtual environments, and environments that inherit from them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import interpreters
from tests.corpus import RealPkgResources
from tests.places import copy_installation
from tests.wheels import build_wheel
from uvshim.check.diagnosis import diagnose
from uvshim.check.metadata import NOT_FOUND
from uvshim.check.working_set import WorkingSet
from uvshim.environments import discovery
from uvshim.environments.search_path import search_path
from uvshim.rename.setuptools import imported_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Run
    from uvshim.environments.environment import Environment

pytestmark = pytest.mark.index

SYSTEM = Path("/usr/bin/python3")


@pytest.fixture(params=["itself", "inherited"])
def python(request: pytest.FixtureRequest, tmp_path: Path, uv: Path) -> Path:
    """The system's Python, or that of an environment with a dotted name which inherits from it."""
    if not SYSTEM.exists():
        pytest.skip("there is no Python of the system here")
    if subprocess.run([SYSTEM, "-c", "import pkg_resources"], check=False).returncode != 0:
        pytest.skip("the system's Python has no pkg_resources: install python3-pkg-resources")
    if request.param == "itself":
        return SYSTEM.resolve()
    environment = tmp_path / "e"
    subprocess.run(
        [uv, "venv", "-q", "--system-site-packages", "-p", SYSTEM, environment], check=True
    )
    python = environment / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "-p", python, "zope.component"], check=True)
    return python


def test_the_diagnosis_agrees_with_its_pkg_resources(python: Path) -> None:
    (found,) = discovery.find(str(python))
    diagnosis = diagnose(found.tree, found.visible)
    names = names_in(found)
    with contextlib.closing(RealPkgResources(python)) as real:
        outcomes = real.outcomes(None, names)
    told = {each.name: each.error for each in diagnosis.failures}
    told |= {each.name: NOT_FOUND for each in diagnosis.unresolvable}
    assert told == {name: error for name, (error, _) in outcomes.items() if error is not None}


def names_in(found: Environment) -> list[str]:
    """Return the names of all that is installed there, as METADATA has them."""
    tree, visible = found.tree, found.visible
    _, pkg_resources = imported_from(tree, search_path(tree, visible))
    return list(WorkingSet.in_environment(tree, visible, pkg_resources).installed)


def agrees(python: Path, environ: dict[str, str]) -> dict[str, str]:
    """Return what `require` raises by name, as the real pkg_resources and the diagnosis say."""
    (found,) = discovery.find(str(python))
    names = names_in(found)
    code = (
        "import pkg_resources, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try: pkg_resources.require(name)\n"
        "    except Exception as error: print(name, type(error).__name__)\n"
    )
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code, *names],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    outcomes = dict(line.split() for line in done.stdout.splitlines())
    diagnosis = diagnose(found.tree, found.visible)
    told = {each.name: each.error for each in diagnosis.failures}
    told |= {each.name: NOT_FOUND for each in diagnosis.unresolvable}
    assert told == outcomes
    return outcomes


@pytest.fixture(scope="module")
def setuptools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of setuptools 59.6.0."""
    directory = tmp_path_factory.mktemp("setuptools")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "setuptools==59.6.0"]
    subprocess.run(command, check=True, cwd=directory)
    return next(directory.iterdir())


def unpacked(wheel: Path, directory: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)


def in_egg(wheel: Path, site_packages: Path, _home: Path) -> None:
    """Install setuptools as `easy_install` did."""
    egg = site_packages / "setuptools-59.6.0-py3.10.egg"
    unpacked(wheel, egg)
    (egg / "setuptools-59.6.0.dist-info").rename(egg / "EGG-INFO")
    (egg / "EGG-INFO/METADATA").rename(egg / "EGG-INFO/PKG-INFO")
    (site_packages / "setuptools.pth").write_text(f"./{egg.name}\n")


def in_pth_directory(wheel: Path, site_packages: Path, home: Path) -> None:
    """Install setuptools in a directory that a .pth file names."""
    unpacked(wheel, home / "shared")
    (site_packages / "shared.pth").write_text(f"{home / 'shared'}\n")


def in_user_site(wheel: Path, _site_packages: Path, home: Path) -> None:
    """Install setuptools as ``pip install --user`` does."""
    unpacked(wheel, home / ".local/lib/python3.10/site-packages")


@pytest.mark.parametrize("place", [in_egg, in_pth_directory, in_user_site])
def test_an_old_setuptools_is_respected_wherever_it_is(
    run: Run,
    uv: Path,
    uvpip: Path,
    variables: dict[str, str],
    tmp_path: Path,
    wheels: Path,
    setuptools: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: Callable[[Path, Path, Path], None],
) -> None:
    """In a Python that is not a virtual environment."""
    (original,) = (each for each in interpreters() if each.name == "python3.10")
    monkeypatch.setenv("HOME", variables["HOME"])
    root = copy_installation(tmp_path / "prefix", original)
    python = root / "bin/python3.10"
    site_packages = root / "lib/python3.10/site-packages"
    place(setuptools, site_packages, Path(variables["HOME"]))
    build_wheel(wheels, "zope.x", "1.0")
    build_wheel(wheels, "ud", "1.0", requires=["zope-x"])
    build_wheel(wheels, "uw", "1.0", requires=["zope.deferred"])
    to = ("-p", python, "--break-system-packages", "--no-index", "-f", wheels)

    assert run(uv, "pip", "install", *to, "ud", "uw").returncode == 0
    plain = agrees(python, variables)
    assert {"ud", "uw", "zope.x"} & plain.keys() == {"uw", "zope.x"}
    assert run(uvpip, *to, "--reinstall", "ud", "uw").returncode == 0
    assert agrees(python, variables).keys() == {"zope.x"}  # by its own name, as after plain uv
    assert (site_packages / "zope_x-1.0.dist-info").is_dir()
    assert (site_packages / "zope.deferred-1.2.dist-info").is_dir()


def test_the_interpreter_that_uv_named_is_asked_and_not_another_one_beside_it(
    run: Run,
    uv: Path,
    uvpip: Path,
    variables: dict[str, str],
    tmp_path: Path,
    wheels: Path,
    setuptools: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is Debian's pypy3, in a prefix with a CPython."""
    if shutil.which("apt-get") is None:
        pytest.skip("this is not Debian")
    words = ["apt-get", "download", "-o", "APT::Sandbox::User=root", "pypy3", "pypy3-lib"]
    done = run(*words)
    if done.returncode != 0:
        pytest.skip(f"there is no pypy3 here: {done.stderr}")
    for package in tmp_path.glob("pypy3*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, tmp_path / "debian"], check=True)
    root = copy_installation(tmp_path / "prefix")
    shutil.copytree(tmp_path / "debian/usr", root, symlinks=True, dirs_exist_ok=True)
    libraries = next(root.glob("lib/*/libpypy3*.so")).parent
    monkeypatch.setenv("HOME", variables["HOME"])
    variables["LD_LIBRARY_PATH"] = str(libraries)
    (python,) = root.glob("bin/pypy3.*")
    to = ("-p", python, "--break-system-packages", "--no-index", "-f", wheels)

    build_wheel(wheels, "needs-cffi", "1.0", requires=["cffi", "zope.deferred"])
    build_wheel(wheels, "zope.deferred", "1.2")
    wanted = ("--no-deps", "needs-cffi", "zope.deferred", setuptools)
    done = run(uvpip, *to, *wanted)
    assert done.returncode == 0, done.stderr
    assert "Renormalized 1 distribution " in done.stderr
    assert list(root.glob(f"local/lib/{python.name}/dist-packages/zope.deferred-1.2.dist-info"))
    # PyPy comes with cffi, in its standard library.
    assert agrees(python, variables) == {}
    done = run(uv, "venv", "-q", "-p", python, tmp_path / "e")
    assert done.returncode == 0, done.stderr
    environment = ("-p", tmp_path / "e", "--no-index", "-f", wheels)
    assert run(uvpip, *environment, *wanted).returncode == 0
    assert agrees(tmp_path / "e/bin/python", variables) == {}
