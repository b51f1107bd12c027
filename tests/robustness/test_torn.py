"""A kill inside a write to RECORD loses nothing, whatever part was written."""

from __future__ import annotations

import csv
import importlib.metadata
import os
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.places import Venv, record_faults
from tests.robustness.conftest import DOTTED, NAMES, NORMALIZED
from tests.robustness.invariants import remains
from tests.robustness.test_disks import PAGE, pad
from tests.robustness.test_killed import fixed_by
from tests.wheels import build_wheel
from uvshim.rename import on_disk
from uvshim.rename.record import UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import MakeVenv, Run
    from tests.robustness.disks import Place, Plain
    from tests.robustness.invariants import Tools


class Writes(NamedTuple):
    """What a rename in place writes to one RECORD: both writes, and what is there before."""

    old: Path
    new: Path
    before: bytes
    appended: bytes
    after: bytes

    def torn_while_appending(self, length: int) -> None:
        """Leave the directory as a kill does after `length` bytes of the first write."""
        self._leave(self.old, self.before + self.appended[:length])

    def torn_while_overwriting(self, length: int) -> None:
        """Leave the directory as a kill does after `length` bytes of the second write."""
        self._leave(self.new, self.after[:length] + self.before[length:] + self.appended)

    def _leave(self, path: Path, record: bytes) -> None:
        for other in (self.old, self.new):
            if other.exists() and other != path:
                other.rename(path)
        (path / "RECORD").write_bytes(record)


def writes(site: Path, old: str, new: str) -> Writes:
    """Rename the directory `old` in `site` to `new` in place, and return what was written."""
    seen = []
    pwrite = os.pwrite

    def watched(file: int, content: bytes, offset: int) -> int:
        seen.append((content, offset))
        return pwrite(file, content, offset)

    before, inode = (site / old / "RECORD").read_bytes(), os.stat(site / old / "RECORD").st_ino
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", watched)
        outcome = on_disk.rename([str(site / old)], lambda _name: True)
    assert [each.path for each in outcome.renamed] == [str(site / new)]
    assert os.stat(site / new / "RECORD").st_ino == inode
    (appended, end), (after, start) = seen
    assert (end, start) == (len(before), 0)
    assert (site / new / "RECORD").read_bytes() == after
    assert len(after) == len(before)
    return Writes(site / old, site / new, before, appended, after)


def listed(path: Path) -> set[str]:
    """Return the paths in a RECORD as pip reads it, which takes rows of any length."""
    rows = csv.reader((path / "RECORD").read_text(encoding="utf-8").splitlines())
    return {row[0] for row in rows}


def is_found_listed_and_completed(one: Writes, name: str, own: set[str]) -> None:
    """Assert that of a torn RECORD, with the files `own` of its directory."""
    site = one.old.parent
    path = one.old if one.old.exists() else one.new
    (found,) = importlib.metadata.distributions(name=name, path=[str(site)])
    assert found.metadata["Name"] == name
    assert found.files
    assert {f"{path.name}/{each}" for each in own} <= listed(path)
    outcome = on_disk.rename([str(path)], lambda _name: True)
    assert outcome.left_alone == []
    assert (one.new / "RECORD").read_bytes() == one.after
    assert not (one.new / UNFINISHED).exists()
    assert on_disk.rename([str(one.new)], lambda _name: True).renamed == []


@pytest.fixture
def two(prepared: Venv, plain: Callable[[Venv], Plain]) -> Place:
    """Where copies of an environment with the two distributions are."""
    return plain(prepared)


@pytest.mark.parametrize("number", [0, 1])
def test_after_every_length_of_each_write_all_is_found_listed_and_completed(
    two: Place, number: int, tried: Callable[[str, int], None]
) -> None:
    site = two.fresh().site_packages
    one = writes(site, NORMALIZED[number], DOTTED[number])
    own = {str(each.relative_to(one.new)) for each in one.new.rglob("*") if each.is_file()}
    lengths = range(len(one.appended) + 1)
    for length in lengths:
        one.torn_while_appending(length)
        is_found_listed_and_completed(one, NAMES[number], own)
    for length in range(len(one.after) + 1):
        one.torn_while_overwriting(length)
        is_found_listed_and_completed(one, NAMES[number], own)
    assert record_faults(one.new) == []
    tried("torn writes", len(lengths) + len(one.after) + 1)


def uninstalled_and_fixed(two: Place, tools: Tools, venv: Venv, empty: set[str]) -> None:
    """Assert that the real uv and pip remove every file, and that `fix` completes it."""
    tools.finds(venv, NAMES)
    for uninstall in (tools.uninstall, tools.uninstall_by_pip):
        copy = two.copy()
        done = uninstall(copy, NAMES)
        assert done.returncode == 0, done.stderr
        assert remains(copy, empty) == []
    fixed_by(tools, two.copy())


@pytest.mark.parametrize("number", [0, 1])
def test_the_real_uv_and_pip_uninstall_what_a_torn_write_has_left(
    two: Place, tools: Tools, empty: set[str], number: int, tried: Callable[[str, int], None]
) -> None:
    venv = two.fresh()
    one = writes(venv.site_packages, NORMALIZED[number], DOTTED[number])
    chance = random.Random(number)
    lengths = [0, 1, *chance.sample(range(len(one.after)), 6), len(one.after)]
    for length in lengths:
        one.torn_while_overwriting(length)
        uninstalled_and_fixed(two, tools, venv, empty)
    # No kernel tears a row that is within a page. If it did, uv would refuse to uninstall.
    for length in chance.sample(range(1, len(one.appended)), 4):
        one.torn_while_appending(length)
        copy = two.copy()
        done = tools.uninstall(copy, NAMES)
        if done.returncode != 0:
            assert "RECORD" in done.stderr
            fixed_by(tools, two.copy())
            done = tools.uninstall_by_pip(copy, NAMES)
        assert done.returncode == 0, done.stderr
        assert remains(copy, empty) == []
    tried("torn writes, uninstalled by uv and pip", len(lengths) + 4)


@pytest.fixture
def many_rows(make_venv: MakeVenv, run: Run, uv: Path, own_cache: Path, tmp_path: Path) -> Venv:
    """An environment with the two names, whose RECORDs have several pages."""
    wheels = tmp_path / "many-rows"
    wheels.mkdir()
    for name, normalized in zip(NAMES, NORMALIZED, strict=True):
        module = normalized.partition("-")[0]
        files = {f"{module}/{'x' * (number % 40)}{number}.py": "" for number in range(90)}
        files |= {
            f"{normalized}/licenses/{'L' * (number % 30)}{number}": "" for number in range(70)
        }
        build_wheel(wheels, name, normalized.split("-")[1].removesuffix(".dist"), files=files)
    venv = make_venv("many-rows-venv")
    choice = ("--python", venv.python, "--no-index", "--find-links", wheels)
    done = run(uv, "pip", "install", *choice, *NAMES)
    assert done.returncode == 0, done.stderr
    assert venv.dist_infos() == sorted(NORMALIZED)
    return venv


def borders(start: int, length: int) -> Iterator[int]:
    """Yield after how many bytes a write of `length` bytes at `start` comes to the end of a page."""
    return (border - start for border in range(PAGE, start + length, PAGE) if border > start)


@pytest.mark.parametrize("room", [0, 100, 1000, 3000, PAGE - 1])
def test_of_a_record_with_many_pages_any_may_be_missing_from_a_write(
    many_rows: Venv,
    plain: Callable[[Venv], Plain],
    tools: Tools,
    empty: set[str],
    room: int,
    tried: Callable[[str, int], None],
) -> None:
    pad(many_rows.site_packages / NORMALIZED[0], room)
    place = plain(many_rows)
    venv = place.fresh()
    one = writes(venv.site_packages, NORMALIZED[0], DOTTED[0])
    own = {str(each.relative_to(one.new)) for each in one.new.rglob("*") if each.is_file()}
    chance = random.Random(room)
    appending = list(borders(len(one.before), len(one.appended)))
    overwriting = list(borders(0, len(one.after)))
    assert len(appending) >= 1
    assert len(overwriting) >= 3
    for length in (*appending, *chance.sample(range(len(one.appended)), 20)):
        one.torn_while_appending(length)
        is_found_listed_and_completed(one, NAMES[0], own)
    for length in (*overwriting, *chance.sample(range(len(one.after)), 20)):
        one.torn_while_overwriting(length)
        is_found_listed_and_completed(one, NAMES[0], own)
    tears = [(one.torn_while_appending, each) for each in appending]
    tears += [(one.torn_while_overwriting, each) for each in chance.sample(overwriting, 2)]
    for tear, length in tears:
        tear(length)
        uninstalled_and_fixed(place, tools, venv, empty)
    tried("torn writes", len(appending) + len(overwriting) + 40)
    tried("torn writes, uninstalled by uv and pip", len(tears))
