"""A kill before any call that changes a file loses nothing, and `fix` completes the rename."""

from __future__ import annotations

import os
import random
import shutil
import sys
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.robustness.conftest import DOTTED, NAMES, NORMALIZED
from tests.robustness.faults import Call, Traced, points, trace, trace_uvshim
from tests.robustness.invariants import checksum, is_right, remains
from tests.wheels import normalized as module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.places import Venv
    from tests.robustness.disks import Overlay, Place, Plain
    from tests.robustness.invariants import Tools


class Runs(Protocol):
    """A function that runs a traced command in `venv`, with an injection of strace."""

    def __call__(
        self, tools: Tools, venv: Venv, directory: Path, inject: str | None = None
    ) -> Traced: ...


def fix(tools: Tools, venv: Venv, directory: Path, inject: str | None = None) -> Traced:
    """Run `uvshim fix`."""
    return trace_uvshim(tools, ["fix", venv.path], directory, inject=inject)


def installing(wheels: Path) -> Runs:
    """Return what runs `uvpip` with the two distributions in `wheels`."""

    def uvpip(tools: Tools, venv: Venv, directory: Path, inject: str | None = None) -> Traced:
        choice = ("--python", venv.python, "--no-index", "--find-links", wheels)
        command: list[str | Path] = [tools.uvpip, *choice, *NAMES]
        return trace(command, tools.variables, directory, inject=inject)

    return uvpip


def killed_before(point: Call, run: Runs, tools: Tools, directory: Path, venv: Venv) -> Traced:
    """Do that run in `venv` and kill it before the call `point`."""
    traced = run(tools, venv, directory, f"{point.name}:signal=KILL:when={point.number}")
    assert traced.status == -9, traced.output
    assert traced.log.endswith("+++ killed by SIGKILL +++\n")
    assert (traced.calls[-1].name, traced.calls[-1].number) == (point.name, point.number)
    assert str(venv.path) in traced.calls[-1].text
    return traced


def all_is_well(
    place: Place, tools: Tools, venv: Venv, empty: set[str], installations: int = 1
) -> None:
    """Assert that the distributions are found, can be uninstalled, and can be fixed.

    `installations` says how often one of them was installed: pip uninstalls one at a time.
    """
    # Where a directory cannot be renamed as a whole, one of the new name is filled beside it and
    # then the old one emptied. Before the first link and after the last unlink such a one is
    # empty: an uninstall leaves it, and importlib.metadata may look at that of the old name first.
    held = {each.name: os.listdir(each) for each in venv.site_packages.glob("*.dist-info*")}
    emptied = without_files(venv)
    both = len(venv.dist_infos()) > len(NAMES)
    are_found(tools, venv)

    for uninstall in (tools.uninstall, tools.uninstall_by_pip):
        copy = place.copy()
        for _ in range(installations):
            done = uninstall(copy, NAMES)
            if done.returncode != 0:
                # Both are there, and both list all files of both. uv removes them, and then misses
                # the RECORD of the second: it ends with an error, and has to be asked again for
                # the rest.
                assert both, done.stderr
                assert "RECORD" in done.stderr
                done = uninstall(copy, NAMES)
        if done.returncode != 0:
            # For the last two calls the old directory has no RECORD: uv refuses.
            assert ["METADATA"] in held.values() or emptied, done.stderr
            assert "RECORD" in done.stderr
            there = [name for name in NAMES if (copy.site_packages / module(name)).exists()]
            tools.finds(copy, there, first=not emptied)
            tools.fix(copy)
            assert not there or uninstall(copy, there).returncode == 0
            assert set(remains(copy, empty)) <= emptied
        else:
            assert set(remains(copy, empty)) <= emptied, done.stderr

    fixed_by(tools, place.copy())


def are_found(tools: Tools, venv: Venv) -> None:
    """Assert that importlib.metadata finds the distributions, as promised."""
    tools.finds(
        venv,
        NAMES,
        first=all(any(venv.site_packages.joinpath(n).iterdir()) for n in venv.dist_infos()),
    )


def without_files(venv: Venv) -> set[str]:
    """Return the directories of distributions' metadata with no file in them; and those above."""
    empty = [
        each.relative_to(venv.site_packages)
        for each in venv.site_packages.glob("*.dist-info*/**")
        if each.is_dir() and not any(below.is_file() for below in each.rglob("*"))
    ]
    return {str(path) for each in empty for path in (each, *each.parents)}


def fixed_by(tools: Tools, venv: Venv) -> None:
    """Assert that `uvshim fix` completes the rename, and that a second one changes nothing."""
    done = tools.fix(venv)
    assert done.returncode == 0, done.stderr
    is_right(venv, DOTTED)
    tools.finds(venv, NAMES)
    after = checksum(venv.site_packages)
    done = tools.fix(venv)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"Nothing to fix in `{venv.path}`\n"
    assert checksum(venv.site_packages) == after


def killed_everywhere(
    place: Place,
    run: Runs,
    tools: Tools,
    directory: Path,
    empty: set[str],
    installations: int = 1,
) -> int:
    """Kill that run before each of its calls that change something, and check every time."""
    venv = place.fresh()
    whole = run(tools, venv, directory)
    assert whole.status == 0, whole.output
    is_right(venv, DOTTED)
    found = points(whole, venv.site_packages)
    for point in found:
        print("killed before", point.name, point.number)
        venv = place.fresh()
        cache = checksum(directory / "cache")
        killed_before(point, run, tools, directory, venv)
        assert checksum(directory / "cache") == cache
        all_is_well(place, tools, venv, empty, installations)
    return len(found)


def test_fix_killed_before_any_call_loses_nothing(
    strace: None,
    plain: Callable[[Venv], Plain],
    installed: Venv,
    tools: Tools,
    tmp_path: Path,
    empty: set[str],
    tried: Callable[[str, int], None],
) -> None:
    count = killed_everywhere(plain(installed), fix, tools, tmp_path, empty)
    assert count >= 2 * 6
    tried("kill points of uvshim fix", count)


@pytest.fixture(params=["quoted", "another length"])
def unusual(installed: Venv, request: pytest.FixtureRequest) -> Venv:
    """That environment with a RECORD that cannot be rewritten in place."""
    site = installed.site_packages
    record = site / NORMALIZED[0] / "RECORD"
    if request.param == "quoted":
        (site / "zope_deferred" / "with,comma.py").touch()
        record.write_text(record.read_text() + '"zope_deferred/with,comma.py",,\n')
    else:
        longer = NORMALIZED[0].replace("_", "__")
        record.write_text(record.read_text().replace(NORMALIZED[0], longer))
        (site / NORMALIZED[0]).rename(site / longer)
    return installed


def test_fix_killed_before_any_call_loses_nothing_where_record_is_replaced(
    strace: None,
    plain: Callable[[Venv], Plain],
    unusual: Venv,
    tools: Tools,
    tmp_path: Path,
    empty: set[str],
    tried: Callable[[str, int], None],
) -> None:
    count = killed_everywhere(plain(unusual), fix, tools, tmp_path, empty)
    assert count >= 6 + 9
    tried("kill points where RECORD is replaced", count)


def test_fix_killed_where_it_keeps_the_original_name_loses_nothing(
    strace: None,
    plain: Callable[[Venv], Plain],
    installed: Venv,
    tools: Tools,
    tmp_path: Path,
    empty: set[str],
    tried: Callable[[str, int], None],
) -> None:
    """As before setuptools 62."""
    setuptools = installed.site_packages / "setuptools-59.6.0.egg-info"
    setuptools.write_text("Metadata-Version: 2.1\nName: setuptools\nVersion: 59.6.0\n")
    place = plain(installed)
    count = killed_everywhere(place, fix, tools, tmp_path, empty | {setuptools.name})
    assert count >= 2 * 11
    assert len(list(place.fresh().site_packages.glob("*/ORIGINAL.uvshim"))) == 0
    assert fix(tools, venv := place.fresh(), tmp_path).status == 0
    assert len(list(venv.site_packages.glob("*/ORIGINAL.uvshim"))) == len(NAMES)
    tried("kill points of uvshim fix before setuptools 62", count)


def test_uvpip_killed_before_any_call_of_its_own_loses_nothing(
    strace: None,
    plain: Callable[[Venv], Plain],
    bare: Venv,
    tools: Tools,
    two_wheels: Path,
    tmp_path: Path,
    empty: set[str],
    tried: Callable[[str, int], None],
) -> None:
    count = killed_everywhere(plain(bare), installing(two_wheels), tools, tmp_path, empty)
    assert count >= 2 * 6
    tried("kill points of uvpip", count)


def test_fix_killed_before_any_call_loses_nothing_of_a_lower_layer(
    strace: None,
    overlay: Callable[[Venv], Overlay],
    installed: Venv,
    tools: Tools,
    tmp_path: Path,
    empty: set[str],
    tried: Callable[[str, int], None],
) -> None:
    count = killed_everywhere(overlay(installed), fix, tools, tmp_path, empty)
    assert count >= 2 * 20
    tried("kill points of uvshim fix on an overlay", count)


@pytest.fixture(params=["plain", "overlay"])
def anywhere(request: pytest.FixtureRequest) -> Callable[[Venv], Place]:
    """Make one place, or the other."""
    made: Callable[[Venv], Place] = request.getfixturevalue(request.param)
    return made


def test_what_is_killed_again_while_it_completes_loses_nothing(
    strace: None,
    anywhere: Callable[[Venv], Place],
    installed: Venv,
    tools: Tools,
    tmp_path: Path,
    empty: set[str],
    tried: Callable[[str, int], None],
) -> None:
    place = anywhere(installed)
    venv = place.fresh()
    first = points(fix(tools, venv, tmp_path), venv.site_packages)
    chance = random.Random(len(first))
    for _ in range(10):
        one = chance.choice(first[:-1])  # before the last call, nothing is left to be completed
        killed_before(one, fix, tools, tmp_path, place.fresh())
        copy = place.copy()
        second = points(fix(tools, copy, tmp_path), copy.site_packages)
        other = chance.choice(second)
        print("killed before", one.name, one.number, "and then before", other.name, other.number)
        killed_before(one, fix, tools, tmp_path, place.fresh())
        killed_before(other, fix, tools, tmp_path, venv)
        all_is_well(place, tools, venv, empty)
    tried("kills of a run that completes a killed one", 10)


AGAIN = """
import os, subprocess, sys
sys.path.insert(0, sys.argv[1])
import uvshim
before = uvshim.Snapshot.take(sys.argv[2:3])
subprocess.run(["mv", *sys.argv[3:]], check=True)
sys.exit(bool(uvshim.renormalize(sys.argv[2], before).left_alone))
"""


@pytest.fixture
def installed_twice(installed: Venv, tools: Tools) -> Venv:
    """That environment with one distribution fixed, and once more outside of site-packages."""
    shutil.copytree(installed.site_packages / NORMALIZED[0], installed.path / "again")
    assert tools.fix(installed).returncode == 0
    return installed


def install_again(tools: Tools, venv: Venv, directory: Path, inject: str | None = None) -> Traced:
    """Install it beside itself, and rename what a snapshot proves to be new."""
    site = venv.site_packages
    words = (tools.uvpip.parent, site, venv.path / "again", site / NORMALIZED[0])
    command: list[str | Path] = [sys.executable, "-c", AGAIN, *words]
    return trace(command, tools.variables, directory, inject=inject)


def test_killed_while_an_earlier_installation_makes_way_nothing_is_lost(
    strace: None,
    anywhere: Callable[[Venv], Place],
    installed_twice: Venv,
    tools: Tools,
    tmp_path: Path,
    empty: set[str],
    tried: Callable[[str, int], None],
) -> None:
    """Before the first change, nothing but the snapshot tells which one is new: `fix` names both."""
    place = anywhere(installed_twice)
    venv = place.fresh()
    whole = install_again(tools, venv, tmp_path)
    assert whole.status == 0, whole.output
    is_right(venv, DOTTED)
    found = points(whole, venv.site_packages)
    venv = place.fresh()
    shutil.move(venv.path / "again", venv.site_packages / NORMALIZED[0])
    untouched = checksum(venv.site_packages)
    begun = 0
    for point in found:
        print("killed before", point.name, point.number)
        venv = place.fresh()
        killed_before(point, install_again, tools, tmp_path, venv)
        if checksum(venv.site_packages) != untouched:
            begun += 1
            all_is_well(place, tools, venv, empty, installations=2)
            continue
        assert begun == 0
        are_found(tools, venv)
        assert tools.fix(venv).returncode == 3
        assert checksum(venv.site_packages) == untouched
        for uninstall in (tools.uninstall, tools.uninstall_by_pip):
            copy = place.copy()
            for _ in range(1 if uninstall == tools.uninstall else 2):
                assert uninstall(copy, NAMES).returncode == 0
            assert set(remains(copy, empty)) == set()
    assert begun >= 10
    tried("kill points where an earlier installation makes way", begun)
