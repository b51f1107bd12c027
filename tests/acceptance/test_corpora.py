"""Real sets of packages: what pkg_resources finds after uv alone, and after `uvpip`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.corpus import CORPORA
from tests.places import dist_infos, record_faults

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeVenv, Run
    from tests.places import Venv

pytestmark = pytest.mark.index

# Every distribution that importlib.metadata sees, and which of them `require` fails for.
REQUIRE_EVERY_ONE = """
import importlib.metadata, json, pkg_resources
names = {each.metadata["Name"] for each in importlib.metadata.distributions()}
failures = {}
for name in sorted(names):
    try:
        pkg_resources.require(name)
    except Exception as error:
        failures[name] = type(error).__name__
print(json.dumps([len(names), failures]))
"""

DRIVERS = """
import json, logging
logging.disable(logging.CRITICAL)
from stevedore import ExtensionManager
print(json.dumps(sorted(ExtensionManager("magnum.drivers").names())))
"""


def answer(venv: Venv, code: str) -> object:
    """Return what `code` prints in `venv`, as JSON."""
    done = venv.run(code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def failures(venv: Venv) -> dict[str, str]:
    """Return the exception that pkg_resources ends in, by distribution, where it fails."""
    found = answer(venv, REQUIRE_EVERY_ONE)
    assert isinstance(found, list)
    assert found[0] > 150
    return dict(found[1])


class Installed:
    """One corpus, installed twice: by uv alone and by uvpip."""

    def __init__(self, plain: Venv, ours: Venv, words: list[str | Path], said: str) -> None:
        self.plain = plain
        self.ours = ours
        self.words = words
        self.said = said


def install(corpus: str, run: Run, uv: Path, uvpip: Path, make_venv: MakeVenv) -> Installed:
    constraints = CORPORA / "build-constraints.txt"
    words: list[str | Path] = ["--no-deps", "--build-constraints", constraints]
    words += ["-r", CORPORA / corpus]
    plain, ours = make_venv("plain"), make_venv("ours")
    done = run(uv, "pip", "install", "-p", plain.path, *words)
    assert done.returncode == 0, done.stderr
    done = run(uvpip, "-p", ours.path, *words)
    assert done.returncode == 0, done.stderr
    return Installed(plain, ours, words, done.stderr)


def test_the_incident_all_five_drivers_are_found_where_uv_alone_leaves_one(
    run: Run, uv: Path, uvpip: Path, make_venv: MakeVenv
) -> None:
    both = install("magnum-2025.1.txt", run, uv, uvpip, make_venv)
    assert answer(both.plain, DRIVERS) == ["k8s_fedora_coreos_v1"]
    assert answer(both.ours, DRIVERS) == [
        "k8s_cluster_api_flatcar",
        "k8s_cluster_api_rockylinux",
        "k8s_cluster_api_ubuntu",
        "k8s_cluster_api_ubuntu_focal",
        "k8s_fedora_coreos_v1",
    ]
    assert len(failures(both.plain)) == 23
    assert failures(both.ours) == {}
    assert "Renormalized 4 distributions in " in both.said


def test_openstack_nothing_fails_and_uv_can_check_repeat_and_uninstall_it(
    run: Run, uv: Path, uvpip: Path, make_venv: MakeVenv
) -> None:
    both = install("openstack-2025.2.txt", run, uv, uvpip, make_venv)
    assert len(failures(both.plain)) == 62
    assert failures(both.ours) == {}
    assert "Renormalized 27 distributions in " in both.said

    names = dist_infos(both.ours.site_packages)
    assert len(names) == 265
    renamed = sorted(set(names) - set(dist_infos(both.plain.site_packages)))
    assert len(renamed) == 27
    faults = {name: record_faults(both.ours.site_packages / name) for name in renamed}
    assert {name: found for name, found in faults.items() if found} == {}

    checks = [run(uv, "pip", "check", "-p", venv.path) for venv in (both.plain, both.ours)]
    complaints = [sorted(check.stderr.splitlines()[1:]) for check in checks]
    assert [line for line in complaints[1] if "Checked" not in line] == [
        line for line in complaints[0] if "Checked" not in line
    ]
    assert checks[0].returncode == checks[1].returncode

    before = states(both.ours.path)
    again = run(uvpip, "-p", both.ours.path, *both.words)
    assert (again.returncode, "Renormalized" in again.stderr) == (0, False)
    assert states(both.ours.path) == before

    listed = json.loads(run(uv, "pip", "list", "--format=json", "-p", both.ours.path).stdout)
    assert len(listed) == 265
    done = run(uv, "pip", "uninstall", "-p", both.ours.path, *(each["name"] for each in listed))
    assert done.returncode == 0, done.stderr
    assert "Uninstalled 265 packages" in done.stderr
    assert dist_infos(both.ours.site_packages) == []


def test_plone_most_names_have_a_dot_and_nothing_fails(
    run: Run, uv: Path, uvpip: Path, make_venv: MakeVenv
) -> None:
    both = install("plone-6.2.txt", run, uv, uvpip, make_venv)
    assert len(failures(both.plain)) == 193
    assert failures(both.ours) == {}
    assert "Renormalized 177 distributions in " in both.said


def states(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Return the inode, mtime and ctime of every file below `directory`, by its path."""
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_ctime_ns)
        for path in directory.rglob("*")
        if path.name not in {".lock", "__pycache__"} and path.suffix != ".pyc"
    }
