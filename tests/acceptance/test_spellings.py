"""What any pkg_resources resolves after plain uv it resolves after `uvpip` and `fix`, too.

On 177 distributions that spell each other's names in every way, for nine releases of setuptools.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conftest import interpreters
from tests.corpus import CORPORA, RealPkgResources
from tests.places import Venv
from uvshim.check.diagnosis import diagnose
from uvshim.check.distributions import NOT_FOUND
from uvshim.environments.tree import DiskTree
from uvshim.rename.names import parse_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

pytestmark = pytest.mark.index

LISTED = CORPORA / "spellings.txt"
CONSTRAINTS = CORPORA / "build-constraints.txt"

# How many `require(name)` fail after plain uv, and after uvpip. Before 62 what disagrees stays as
# it is: Twisted spells zope-interface, 34 others zope.interface.
FAILURES = {
    "44.1.1": (80, 18),
    "59.6.0": (70, 40),
    "61.3.1": (70, 40),
    "62.6.0": (70, 0),
    "65.5.0": (70, 0),
    "69.5.1": (70, 0),
    "75.3.0": (65, 0),
    "75.8.0": (65, 0),
    "80.9.0": (0, 0),
}


class Installed(NamedTuple):
    """An environment, and what fails in it."""

    venv: Venv

    def failures(self) -> dict[str, str]:
        """Return what `require` raises, as the real pkg_resources says and the model does."""
        site_packages = self.venv.site_packages
        names = {
            parse_metadata(path.read_bytes())[0]
            for path in site_packages.glob("*.dist-info/METADATA")
        }
        with contextlib.closing(RealPkgResources(self.venv.python)) as real:
            outcomes = real.outcomes(None, names)
        failures = {name: error for name, (error, _) in outcomes.items() if error is not None}
        told = diagnose(DiskTree(), [str(site_packages)])
        modelled = {each.name: each.error for each in told.failures}
        modelled |= {each.name: NOT_FOUND for each in told.unresolvable}
        assert {name: modelled.get(name) for name in names} == {
            name: failures.get(name) for name in names
        }
        return failures


@pytest.fixture(scope="module")
def old_python() -> Path:
    """Python 3.10, the last for which every one of these releases works."""
    for each in interpreters():
        if each.name == "python3.10":
            return each
    pytest.skip("there is no Python 3.10 here: old releases of setuptools work on no newer one")


@pytest.mark.parametrize("version", FAILURES)
def test_nothing_that_pkg_resources_resolved_is_lost(
    run: Run, uv: Path, uvpip: Path, uvshim: Path, old_python: Path, tmp_path: Path, version: str
) -> None:
    def make(name: str, *installer: str | Path) -> Installed:
        path = tmp_path / name
        assert run(uv, "venv", "-q", "-p", old_python, path).returncode == 0
        wanted = ("--no-deps", "--build-constraints", CONSTRAINTS, "-r", LISTED)
        done = run(*installer, "-q", "-p", path, *wanted, f"setuptools=={version}")
        assert done.returncode == 0, done.stderr
        return Installed(Venv(path))

    plain = make("plain", uv, "pip", "install")
    before = plain.failures()
    renamed = make("renamed", uvpip)
    after = renamed.failures()
    assert after.keys() <= before.keys()
    assert (len(before), len(after)) == FAILURES[version]

    assert run(uvshim, "fix", plain.venv.path).returncode == 0
    assert plain.venv.dist_infos() == renamed.venv.dist_infos()
    again = run(uvshim, "fix", renamed.venv.path)
    assert "Renormalized" not in again.stderr
    assert plain.venv.dist_infos() == renamed.venv.dist_infos()
    shutil.rmtree(tmp_path / "plain")
