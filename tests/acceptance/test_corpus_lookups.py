"""How many lookups of each kind fail in real sets of packages, for each release of setuptools.

After plain uv and after uvpip, as the real pkg_resources answers and as `uvshim check` reports.
`UVSHIM_TABLE=FILE` writes the table that docs/cause.md shows.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.corpus import CORPORA
from tests.lookups import RELEASES

if TYPE_CHECKING:
    from tests.conftest import MakeVenv, Run
    from tests.places import Venv

pytestmark = pytest.mark.index

# Each lookup of each distribution in site-packages, by the name in its METADATA.
FAILING_LOOKUPS = """
import json, os, re, sys, sysconfig
import pkg_resources
from pkg_resources import Environment, Requirement, WorkingSet, working_set

site_packages = sysconfig.get_path("purelib")
environment = Environment()
active = {each.egg_info: each for each in working_set}
groups = {group for each in active.values() for group in each.get_entry_map()}
yielded = {
    (entry.dist.egg_info, group, entry.name)
    for group in groups for entry in working_set.iter_entry_points(group)
}

def fails(lookup):
    try:
        return not lookup()
    except Exception:
        return True

def normalized(name):
    return re.sub("[-_.]+", "-", name).lower()

def load(name, dist):
    for group, entries in dist.get_entry_map().items():
        for entry, point in entries.items():
            if all(normalized(each.project_name) in names for each in dist.requires(point.extras)):
                pkg_resources.get_distribution(name).get_entry_info(group, entry).require()
    return True

def failing(name, dist):
    requirement = Requirement.parse(name)
    lookups = {
        "require": lambda: pkg_resources.require(name),
        "get_distribution": lambda: pkg_resources.get_distribution(name),
        "best_match": lambda: environment.best_match(Requirement.parse(name), working_set),
        "by_key": lambda: requirement.key in working_set.by_key,
        "Environment": lambda: environment[requirement.key],
        "in Requirement": lambda: dist in Requirement.parse(name),
        "project_name": lambda: dist.project_name.lower() == requirement.key,
        "iter_entry_points": lambda: all(
            (dist.egg_info, group, entry) in yielded
            for group, entries in dist.get_entry_map().items() for entry in entries
        ),
        "load_entry_point": lambda: load(name, dist),
    }
    return [lookup for lookup, holds in lookups.items() if fails(holds)]

installed = {}
for directory in sorted(os.listdir(site_packages)):
    if directory.endswith(".dist-info"):
        path = os.path.join(site_packages, directory)
        with open(os.path.join(path, "METADATA"), encoding="utf-8") as file:
            installed[path] = next(line for line in file if line.startswith("Name:"))[5:].strip()
names = set(map(normalized, installed.values()))
answers = {name: failing(name, active[path]) for path, name in installed.items()}
print(json.dumps({name: lookups for name, lookups in answers.items() if lookups}))
"""

KEY_LOOKUPS = {"by_key", "Environment", "in Requirement", "project_name"}


@pytest.mark.parametrize("corpus", ["openstack-2025.2", "plone-6.2"])
def test_check_counts_the_lookups_that_fail(
    corpus: str, run: Run, uv: Path, uvpip: Path, uvshim: Path, make_venv: MakeVenv
) -> None:
    constraints = CORPORA / "build-constraints.txt"
    options: list[str | Path] = ["--no-deps", "--build-constraints", constraints]
    table: dict[str, dict[str, dict[str, int]]] = {}
    venvs = {"plain": make_venv("plain"), "uvpip": make_venv("uvpip")}
    installers: dict[str, list[str | Path]] = {"plain": [uv, "pip", "install"], "uvpip": [uvpip]}
    for name, venv in venvs.items():
        listed = ("-r", CORPORA / f"{corpus}.txt")
        done = run(*installers[name], "-q", "-p", venv.path, *options, *listed)
        assert done.returncode == 0, done.stderr
    for release in RELEASES:
        for name, venv in venvs.items():
            wanted = ("-q", "-p", venv.path, "--no-deps", f"setuptools=={release}")
            assert run(*installers[name], *wanted).returncode == 0
            real = real_answers(venv)
            assert reported(run, uvshim, venv) == real, (release, name)
            counted = Counter(lookup for lookups in real.values() for lookup in lookups)
            table.setdefault(release, {})[name] = dict(sorted(counted.items()))
            if name == "uvpip" and release != "44.1.1":
                assert real == {}, release
        plain = table[release]["plain"]
        assert plain.keys() >= KEY_LOOKUPS  # a vendored distribution may answer one of them
        assert ("require" in plain) is (release in {"44.1.1", "62.6.0", "69.5.1", "75.8.0"})
    if where := os.environ.get("UVSHIM_TABLE"):
        Path(where).with_suffix(f".{corpus}.json").write_text(json.dumps(table, indent=1))


def real_answers(venv: Venv) -> dict[str, list[str]]:
    """Return the lookups that fail, by distribution, as the environment's pkg_resources has it."""
    done = venv.run(FAILING_LOOKUPS)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def reported(run: Run, uvshim: Path, venv: Venv) -> dict[str, list[str]]:
    """Return the same as `uvshim check` reports it."""
    done = run(uvshim, "check", "--format", "json", venv.path)
    (environment,) = json.loads(done.stdout)["environments"]
    return {each["name"]: each["failing"] for each in environment["lookups"]}
