"""Real programs that use pkg_resources, in an environment by plain uv and in one by uvpip."""

from __future__ import annotations

import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.conftest import interpreters
from tests.wheels import build_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeVenv, Run
    from tests.places import Venv

pytestmark = pytest.mark.index

LOAD_ADD_ONS = """
import logging; logging.disable(logging.CRITICAL)
from plone.autoinclude.loader import load_z3c_packages
try: print(sorted(load_z3c_packages("plone")))
except ModuleNotFoundError as error: print(error)
"""

LOAD_APPLICATION = """
import pkg_resources
from paste.deploy import loadapp
try: print(loadapp("config:app.ini", relative_to="."))
except pkg_resources.DistributionNotFound as error: print(error)
"""

BUILDOUT = """
[buildout]
parts = app
offline = true
[app]
recipe = zc.recipe.egg
eggs = acme.web
interpreter = py
"""


class Pair:
    """The same packages, installed by plain uv and by uvpip."""

    def __init__(self, plain: Venv, ours: Venv) -> None:
        self.plain = plain
        self.ours = ours

    def outputs(self, code: str, where: Path) -> list[str]:
        """Return what `code` prints in each, at last."""
        answers = []
        for venv in (self.plain, self.ours):
            done = subprocess.run(
                [venv.python, "-W", "ignore", "-c", code],
                cwd=where,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout, done.stderr
            answers.append(done.stdout.splitlines()[-1])
        return answers


@pytest.fixture
def add_on(tmp_path: Path) -> Path:
    """A directory with the wheels of a dotted add-on and a dotted application."""
    directory = tmp_path / "wheels"
    entry_points = {
        "acme.plug": "[z3c.autoinclude.plugin]\ntarget = plone\n",
        "acme.web": "[paste.app_factory]\nmain = acme.web:application\n",
    }
    code = "def application(settings, **more):\n    return 'the application'\n"
    for name, points in entry_points.items():
        files = {f"{name.replace('.', '/')}/__init__.py": code}
        path = build_wheel(directory, name, entry_points=points, files=files)
        # Its module is called like the project, unlike the one that `build_wheel` adds.
        without(path, name.replace(".", "_") + "/")
    return directory


def without(wheel: Path, directory: str) -> None:
    """Remove the files below `directory` from a `wheel`."""
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in contents.items():
            rows = content.splitlines(keepends=True)
            kept = [row for row in rows if not row.startswith(directory.encode())]
            if not name.startswith(directory):
                archive.writestr(name, b"".join(kept) if name.endswith("/RECORD") else content)


@pytest.fixture
def install(run: Run, uv: Path, uvpip: Path, make_venv: MakeVenv, add_on: Path) -> Install:
    return Install(run, uv, uvpip, make_venv, add_on)


class Install:
    """Installs the same words with plain uv and with uvpip."""

    def __init__(self, run: Run, uv: Path, uvpip: Path, make_venv: MakeVenv, add_on: Path) -> None:
        self.run = run
        self._installers: dict[str, list[str | Path]] = {
            "plain": [uv, "pip", "install"],
            "ours": [uvpip],
        }
        self._make_venv = make_venv
        self._wheels = add_on

    def __call__(self, *words: str, series: str = "3.11") -> Pair:
        python = next((each for each in interpreters() if each.name == f"python{series}"), None)
        if python is None:
            pytest.skip(f"NOT TRIED: there is no Python {series} here")
        venvs = []
        for name, installer in self._installers.items():
            venv = self._make_venv(name, python=python)
            options = ("-q", "-p", venv.path, "--find-links", self._wheels)
            done = self.run(*installer, *options, *words)
            assert done.returncode == 0, done.stderr
            venvs.append(venv)
        return Pair(*venvs)


@pytest.mark.parametrize("setuptools", ["75.8.0", "81.0.0"])
@pytest.mark.parametrize("version", ["1.0.0", "1.0.1", "2.0.0"])
def test_plone_autoinclude_loads_a_dotted_add_on(
    version: str, setuptools: str, install: Install, run: Run, uvshim: Path, tmp_path: Path
) -> None:
    wanted = (f"plone.autoinclude=={version}", f"setuptools=={setuptools}", "acme.plug")
    pair = install(*wanted)
    plain, ours = pair.outputs(LOAD_ADD_ONS, tmp_path)
    assert ours == "['acme.plug']"
    is_affected = version.startswith("1.")
    assert (plain == ours) is not is_affected
    assert plain == ours or plain.startswith("No module named 'acme")
    checked = run(uvshim, "check", pair.plain.path)
    named = f"plone.autoinclude=={version} takes module names from project_name"
    assert (named in checked.stdout) is is_affected
    assert checked.returncode == int(is_affected or setuptools == "75.8.0")
    assert run(uvshim, "check", "--strict", pair.ours.path).returncode == 0


@pytest.mark.parametrize(
    ("version", "pip", "is_affected"),
    [("0.13.2", "20.3.4", True), ("2.3.0", "20.3.4", True), ("2.3.1", "24.0", False)],
)
def test_pipdeptree_finds_what_is_installed(
    version: str, pip: str, *, is_affected: bool, install: Install, run: Run, uvshim: Path
) -> None:
    wanted = (f"pipdeptree=={version}", f"pip=={pip}", "setuptools==81.0.0")
    pair = install(*wanted, "oslo.i18n==6.7.2", "oslo.config==10.2.0")
    lines = []
    for venv in (pair.plain, pair.ours):
        done = run(venv.python, "-W", "ignore", "-m", "pipdeptree")
        lines.append(next(each for each in done.stdout.splitlines() if "oslo.i18n [" in each))
    assert ("installed: ?" in lines[0]) is is_affected
    assert "installed: 6.7.2" in lines[1]
    checked = run(uvshim, "check", pair.plain.path)
    assert checked.returncode == int(is_affected)
    assert (f"pipdeptree=={version} looks names up by their keys" in checked.stdout) is is_affected
    assert run(uvshim, "check", pair.ours.path).returncode == 0


@pytest.mark.parametrize(("setuptools", "works"), [("75.8.0", False), ("81.0.0", True)])
def test_paste_deploy_loads_an_application_of_a_dotted_egg(
    setuptools: str, *, works: bool, install: Install, tmp_path: Path
) -> None:
    (tmp_path / "app.ini").write_text("[app:main]\nuse = egg:acme.web\n")
    wanted = ("PasteDeploy==2.1.1", f"setuptools=={setuptools}", "acme.web")
    plain, ours = install(*wanted, series="3.10").outputs(LOAD_APPLICATION, tmp_path)
    assert ours == "the application"
    assert (plain == ours) is works
    assert works or plain.startswith("The 'acme.web' distribution was not found")


def test_buildout_finds_a_dotted_recipe_and_a_dotted_egg(install: Install, tmp_path: Path) -> None:
    wanted = ("zc.buildout==4.0", "zc.recipe.egg==2.0.7", "setuptools==75.1.0", "pip", "wheel")
    pair = install(*wanted, "acme.web")
    outcomes = []
    for name, venv in (("plain", pair.plain), ("ours", pair.ours)):
        directory = tmp_path / f"buildout-{name}"
        directory.mkdir()
        (directory / "buildout.cfg").write_text(BUILDOUT)
        done = install.run(venv.path / "bin" / "buildout", cwd=directory)
        outcomes.append(done.returncode == 0)
        if outcomes[-1]:
            script = directory / "bin" / "py"
            assert install.run(script, "-c", "import acme.web").returncode == 0
    assert outcomes == [False, True]
