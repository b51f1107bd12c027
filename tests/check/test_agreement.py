"""`fix` ends with 0 exactly if `check` then ends with 0, and a dry run foretells it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.corpus import installed, metadata, write
from tests.random_environments import environment
from uvshim.check import required
from uvshim.check.report import Gate, examine
from uvshim.commands.fix_report import Fixed
from uvshim.environments import discovery
from uvshim.rename import on_disk
from uvshim.rename.on_disk import Outcome
from uvshim.rename.planned import PlannedTree

if TYPE_CHECKING:
    from pathlib import Path

    from uvshim.environments.environment import Environment

SITE = "lib/python3.11/site-packages"
RELEASES = ["44.1.1", "59.6.0", "65.7.0", "75.8.0", "80.9.0", "82.0.0"]


def made(root: Path, number: int) -> Path:
    """Make the environment `number`, of which a second place is inherited."""
    chance = random.Random(number)
    places = environment(number)
    inherits = str(len(places) > 1).lower()
    settings = f"home = {root}/base/bin\ninclude-system-site-packages = {inherits}\n"
    files: dict[str, str | bytes] = {"env/pyvenv.cfg": settings, "base/bin/python3.11": ""}
    for place, found in zip(("env", "base"), places, strict=False):
        for path, content in found.items():
            own = path.partition("/")[0]
            files[f"{place}/{SITE}/{path}"] = content
            if own.endswith(".dist-info"):
                record = f"{own}/METADATA,,\n{own}/RECORD,,\n{own}/entry_points.txt,,\n"
                if chance.random() < 0.1:
                    record += f"gone_{number}.py,,\n"
                if chance.random() < 0.9:
                    files[f"{place}/{SITE}/{own}/RECORD"] = record
    release = chance.choice(RELEASES)
    files[f"env/{SITE}/setuptools-{release}.dist-info/METADATA"] = metadata("setuptools", release)
    write(files, root)
    return root / "env"


def fix(found: Environment, spelled: required.Spelled, *, dry_run: bool) -> Fixed:
    outcome = Outcome([], [])
    for directory in found.on_disk:
        paths = [path for path in found.dist_infos if path.startswith(f"{directory}/")]
        spellings = spelled.at(directory)
        outcome.add(on_disk.rename(paths, lambda _: True, spellings=spellings, dry_run=dry_run))
    seen = found.in_tree(PlannedTree(found.tree, outcome.plans)) if dry_run else found
    return Fixed(outcome, examine(seen, Gate(), names_only=True))


@pytest.mark.parametrize("begin", range(0, 400, 50))
def test_fix_agrees_with_check_and_a_dry_run_with_both(tmp_path: Path, begin: int) -> None:
    complete = 0
    for number in range(begin, begin + 50):
        path = made(tmp_path / str(number), number)
        (found,) = discovery.find(str(path))
        spelled = required.Spelled([found])
        foretold = fix(found, spelled, dry_run=True)
        done = fix(found, spelled, dry_run=False)
        assert foretold.complete == done.complete, number
        assert foretold.outcome.renamed == done.outcome.renamed, number
        broken = examine(found, Gate()).broken
        assert done.complete == (not broken), number
        assert not broken or done.rest or done.left_alone or done.unresolvable
        again = fix(found, spelled, dry_run=False)
        assert (again.outcome.renamed, again.complete) == ([], done.complete), number
        complete += done.complete
    assert 0 < complete < 50


def test_what_an_earlier_directory_hides_is_no_problem(tmp_path: Path) -> None:
    own = installed("a.b-2.0", "a.b"), metadata("setuptools", "75.8.0")
    base = {**installed("a_b-1.0", "a.b"), **installed("c_d-1.0", "c.d")}
    settings = f"home = {tmp_path}/base/bin\ninclude-system-site-packages = true\n"
    setuptools = f"env/{SITE}/setuptools-75.8.0.dist-info/METADATA"
    files: dict[str, str | bytes] = {
        "env/pyvenv.cfg": settings,
        "base/bin/python3.11": "",
        setuptools: own[1],
    }
    files.update({f"env/{SITE}/{path}": text for path, text in own[0].items()})
    files.update({f"base/{SITE}/{path}": text for path, text in base.items()})
    write(files, tmp_path)
    (found,) = discovery.find(str(tmp_path / "env"))
    report = examine(found, Gate())
    assert [each.name for each in report.diagnosis.findings] == ["c.d"]
