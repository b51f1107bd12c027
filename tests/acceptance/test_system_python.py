"""The diagnosis of the system's own Python, and of an environment that inherits from it."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from tests.corpus import RealPkgResources
from uvshim.check.diagnosis import diagnose
from uvshim.check.distributions import NOT_FOUND, by_project_name
from uvshim.environments import discovery
from uvshim.environments.search_path import search_path

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
    names = by_project_name(found.tree, search_path(found.tree, found.visible))
    with contextlib.closing(RealPkgResources(python)) as real:
        outcomes = real.outcomes(None, names)
    told = {each.name: each.error for each in diagnosis.failures}
    told |= {each.name: NOT_FOUND for each in diagnosis.unresolvable}
    assert told == {name: error for name, (error, _) in outcomes.items() if error is not None}
