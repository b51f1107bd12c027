"""The rename of dist-info directories on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.places import dist_infos, record_faults, tree
from uvshim.rename import plan
from uvshim.rename.on_disk import LeftAlone, Outcome, Renamed, rename

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"  # of nothing


def distribution(
    site: Path, directory: str, name: str, version: str = "1.0", *, listed_as: str | None = None
) -> Path:
    """Install the distribution `name` under `directory`, as RECORD lists it under `listed_as`."""
    path = site / f"{directory}.dist-info"
    path.mkdir()
    (path / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (path / "licenses").mkdir()
    (path / "licenses" / "MIT").touch()
    (site / "code.py").touch()
    listed = f"{listed_as or directory}.dist-info"
    (path / "RECORD").write_text(
        f"code.py,{DIGEST},0\n{listed}/METADATA,,\n{listed}/RECORD,,\n"
        f"{listed}/licenses/MIT,{DIGEST},0\n"
    )
    return path


def renamed(*paths: Path, dry_run: bool = False) -> Outcome:
    """Rename the directories `paths`, and return the outcome without the time."""
    return compared(rename([str(path) for path in paths], lambda _name: True, dry_run=dry_run))


def compared(outcome: Outcome) -> Outcome:
    """Return `outcome` without what differs between two runs that do the same."""
    outcome.seconds = 0.0
    outcome.plans = []
    return outcome


@pytest.mark.parametrize(
    ("directory", "name", "wanted"),
    [
        ("a_b-1.0", "a.b", "a.b-1.0"),
        ("a_b_c-1.0", "A-B.c", "A_B.c-1.0"),
        ("a.b-info", "a.b", "a.b-1.0"),
        ("a.b", "a.b", "a.b-1.0"),
        ("A-B.c-1.0", "A-B.c", "A_B.c-1.0"),
        ("a_B-1.0", "a.b", "a.b-1.0"),
        ("a-b-1.0", "a-b", "a_b-1.0"),
    ],
)
def test_a_directory_gets_its_name_and_record_says_so(
    tmp_path: Path, directory: str, name: str, wanted: str
) -> None:
    before = distribution(tmp_path, directory, name)
    after = tmp_path / f"{wanted}.dist-info"
    assert renamed(before) == Outcome([Renamed(name, "1.0", str(before), str(after))], [])
    assert dist_infos(tmp_path) == [after.name]
    assert record_faults(after) == []
    assert renamed(after) == Outcome([], [])


@pytest.mark.parametrize("listed_as", ["a_b-1.0", "A_B-1.0", "a.b-info", "a-b-1.0", "a_b-0.9"])
def test_a_record_that_speaks_of_another_name_is_fixed(tmp_path: Path, listed_as: str) -> None:
    path = distribution(tmp_path, "a.b-1.0", "a.b", listed_as=listed_as)
    assert renamed(path) == Outcome([Renamed("a.b", "1.0", str(path), str(path))], [])
    assert record_faults(path) == []
    assert renamed(path) == Outcome([], [])


def test_a_record_of_which_a_part_would_be_lost_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = distribution(tmp_path, "a_b-1.0", "a.b")
    before = tree(tmp_path)
    size = (path / "RECORD").stat().st_size
    monkeypatch.setattr(plan, "RECORD_LIMIT", size)
    assert renamed(path) == Outcome([], [LeftAlone(str(path), "its RECORD is too long")])
    assert tree(tmp_path) == before
    monkeypatch.setattr(plan, "RECORD_LIMIT", size + 1)
    assert renamed(path).left_alone == []


def test_a_record_that_lists_the_files_of_another_directory_there_is_left_so(
    tmp_path: Path,
) -> None:
    other = distribution(tmp_path, "a.b-0.9", "a.b", "0.9")
    path = distribution(tmp_path, "a.b-1.0", "a.b", listed_as="a.b-0.9")
    before = tree(tmp_path)
    assert renamed(path, other) == Outcome([], [])
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("plain-1.0", "plain"),
        ("a_b-1.0", "a-b"),
        ("A_B-1.0", "a-b"),
        ("a.b-1.0", "a.b"),
        ("A.b-1.0", "a.B"),
        ("a.b__c-1.0", "a.b_-c"),
    ],
)
def test_what_is_right_or_has_no_dot_is_not_touched(
    tmp_path: Path, directory: str, name: str
) -> None:
    path = distribution(tmp_path, directory, name)
    before = {each: os.lstat(each).st_ctime_ns for each in tmp_path.rglob("*")}
    assert renamed(path) == Outcome([], [])
    assert {each: os.lstat(each).st_ctime_ns for each in tmp_path.rglob("*")} == before


def test_directories_that_are_not_concerned_are_not_touched(tmp_path: Path) -> None:
    path = distribution(tmp_path, "a_b-1.0", "a.b")
    asked = []

    def concerns(name: str) -> bool:
        asked.append(name)
        return False

    assert compared(rename([str(path)], concerns)) == Outcome([], [])
    assert asked == ["a.b"]
    assert dist_infos(tmp_path) == ["a_b-1.0.dist-info"]


def test_a_dry_run_says_the_same_and_touches_nothing(tmp_path: Path) -> None:
    one = distribution(tmp_path, "a_b-1.0", "a.b")
    two = distribution(tmp_path, "c_d-1.0", "c.d")
    before = {each: os.lstat(each).st_ctime_ns for each in tmp_path.rglob("*")}
    said = renamed(one, two, dry_run=True)
    assert {each: os.lstat(each).st_ctime_ns for each in tmp_path.rglob("*")} == before
    assert said == renamed(one, two)


@pytest.mark.parametrize("kind", ["a distribution", "a file"])
def test_what_has_the_new_name_is_not_overwritten(tmp_path: Path, kind: str) -> None:
    one = distribution(tmp_path, "a_b-1.0", "a.b")
    if kind == "a file":
        (tmp_path / "a.b-1.0.dist-info").touch()
    else:
        distribution(tmp_path, "a.b-1.0", "a.b")
    before = tree(tmp_path)
    for dry in (True, False):
        outcome = renamed(one, dry_run=dry)
        assert outcome == Outcome([], [LeftAlone(str(one), "`a.b-1.0.dist-info` exists already")])
        assert tree(tmp_path) == before


def test_files_that_an_uninstall_has_left_stay_where_they_are(tmp_path: Path) -> None:
    one = distribution(tmp_path, "a_b-1.0", "a.b")
    left = tmp_path / "a.b-1.0.dist-info"
    left.mkdir()
    (left / ".tmpXY").write_text("left")
    outcome = renamed(left, one)
    assert [each.path for each in outcome.renamed] == [str(left)]
    assert outcome.left_alone == []
    assert dist_infos(tmp_path) == ["a.b-1.0.dist-info"]
    assert (left / ".tmpXY").read_text() == "left"


def test_files_of_a_directory_with_the_new_name_are_not_overwritten(tmp_path: Path) -> None:
    one = distribution(tmp_path, "a_b-1.0", "a.b")
    left = tmp_path / "a.b-1.0.dist-info"
    left.mkdir()
    (left / "WHEEL").write_text("foreign")
    (one / "WHEEL").write_text("own")
    before = tree(tmp_path)
    assert len(renamed(one).left_alone) == 1
    assert tree(tmp_path) == before


@pytest.mark.parametrize("killed", [False, True])
def test_an_earlier_installation_of_the_same_version_is_removed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed: bool,  # noqa: FBT001
) -> None:
    """A file in it that others have made, which no RECORD lists, stays."""
    really = os.rename

    def interrupted(source: str, target: str) -> None:
        really(source, target)
        if target.endswith(".uvshim"):
            raise KeyboardInterrupt

    old = distribution(tmp_path, "a.b-1.0", "a.b")
    (old / "sboms").mkdir()
    (old / "sboms/more").touch()
    (old / "etc").symlink_to("/etc")
    new = distribution(tmp_path, "a_b-1.0", "a.b")
    if killed:  # when it was put aside
        monkeypatch.setattr(os, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            rename([str(new)], lambda _name: True, new={str(new)})
        monkeypatch.undo()
        assert not old.exists()
        outcome = renamed(new)
    else:
        outcome = compared(rename([str(new)], lambda _name: True, new={str(new)}))
    assert outcome.left_alone == []
    assert [each.path for each in outcome.renamed] == [str(old)]
    assert [each for each in os.listdir(tmp_path) if "-1.0" in each] == ["a.b-1.0.dist-info"]
    assert record_faults(old) == ["more is not listed"]
    assert (old / "sboms/more").exists()
    assert (old / "etc").is_symlink()


def test_two_files_of_one_name_in_two_installations_are_kept_apart(tmp_path: Path) -> None:
    old = distribution(tmp_path, "a.b-1.0", "a.b")
    new = distribution(tmp_path, "a_b-1.0", "a.b")
    for directory in (old, new):
        (directory / "more").write_text(directory.name)
    before = tree(tmp_path)
    outcome = compared(rename([str(new)], lambda _name: True, new={str(new)}))
    assert [each.reason for each in outcome.left_alone] == [
        "`a.b-1.0.dist-info/more` exists already"
    ]
    assert tree(tmp_path) == before


def test_what_an_interrupted_uninstall_has_left_is_replaced_as_uv_would_have(
    tmp_path: Path,
) -> None:
    """It was under the new name; plain uv installs into the directory of the old one."""
    old = distribution(tmp_path, "a.b-1.0", "a.b")
    new = distribution(tmp_path, "a_b-1.0", "a.b")
    for name in ("INSTALLER", "METADATA", "RECORD"):
        (old / name).unlink(missing_ok=True)
    assert os.listdir(old)
    (old / "more").write_text("somebody's")
    outcome = renamed(new)
    assert (outcome.left_alone, [each.name for each in outcome.renamed]) == ([], ["a.b"])
    assert not new.exists()
    assert (old / "more").read_text() == "somebody's"
    assert record_faults(old) == ["more is not listed"]


@pytest.mark.parametrize("kind", ["a dangling link", "a file"])
def test_what_is_no_directory_stops_nothing(tmp_path: Path, kind: str) -> None:
    one, two = distribution(tmp_path, "a_b-1.0", "a.b"), distribution(tmp_path, "c_d-1.0", "c.d")
    other = tmp_path / "a_b-0.1.dist-info"
    other.symlink_to("/nowhere") if kind == "a dangling link" else other.touch()
    assert [each.name for each in renamed(one, two).renamed] == ["a.b", "c.d"]


def test_a_dry_run_knows_what_may_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = distribution(tmp_path, "a_b-1.0", "a.b")
    really = os.access

    def access(path: str, *arguments: Any, **more: Any) -> bool:
        return path != str(one) and really(path, *arguments, **more)

    # Only the directory above is written to, and RECORD. (root may write everywhere.)
    monkeypatch.setattr(os, "access", access)
    assert renamed(one, dry_run=True).left_alone == []
    monkeypatch.setattr(os, "access", lambda path, *_, **__: path != str(tmp_path))
    (left,) = renamed(one, dry_run=True).left_alone
    assert left.reason.startswith("permission denied")


def test_what_a_wrong_rename_has_left_replaces_no_later_installation(tmp_path: Path) -> None:
    """The widespread snippet makes `-info` of each version, and RECORD lists the name as before."""
    later = distribution(tmp_path, "a.b-1.0", "a.b")
    stale = distribution(tmp_path, "x", "a.b").rename(tmp_path / "a.b-info.dist-info")
    (stale / "RECORD").write_text((later / "RECORD").read_text())
    before = tree(tmp_path)
    outcome = compared(renamed(stale))
    assert [each.reason for each in outcome.left_alone] == ["`a.b-1.0.dist-info` exists already"]
    assert tree(tmp_path) == before


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("other", ["a.b-1.0.dist-info", "a.b-2.0.dist-info", "a.b-2.0.egg-info"])
def test_neither_of_two_directories_of_a_project_is_renamed(
    tmp_path: Path,
    other: str,
    dry_run: bool,  # noqa: FBT001
) -> None:
    """Which of them is found depends on their names."""
    one = distribution(tmp_path, "a_b-1.0", "a.b")
    two = distribution(tmp_path, "x", "a.b", "2.0").rename(tmp_path / other)
    os.utime(one / "RECORD", ns=(0, os.lstat(two / "RECORD").st_mtime_ns + 1))
    before = tree(tmp_path)
    paths = [each for each in (one, two) if each.suffix == ".dist-info"]
    outcome = renamed(*paths, dry_run=dry_run)
    assert outcome.renamed == outcome.plans == []
    assert {each.reason for each in outcome.left_alone} == {plan.TWIN}
    assert tree(tmp_path) == before


@pytest.mark.parametrize("listed_as", ["a_b-1.0", "a_b-info"])
def test_what_is_new_and_not_renamed_beside_an_older_one_is_reported(
    tmp_path: Path, listed_as: str
) -> None:
    one = distribution(tmp_path, "a_b-1.0", "a.b", listed_as=listed_as)
    (tmp_path / "a.b-0.5.egg-info").mkdir()
    outcome = rename([str(one)], lambda _name: True, new={str(one)})
    assert outcome.renamed == []
    assert [each.path for each in outcome.left_alone] == [str(one)]


@pytest.mark.parametrize("kind", ["with a file", "empty"])
def test_a_directory_without_metadata_of_the_same_project_counts(tmp_path: Path, kind: str) -> None:
    """As pkg_resources sees it: it takes the name of a directory, unless that is empty."""
    one = distribution(tmp_path, "a_b-1.0", "a.b")
    left = tmp_path / "a.b-0.5.dist-info"
    left.mkdir()
    if kind != "empty":
        (left / "foreign").touch()
    assert bool(renamed(one, left).renamed) == (kind == "empty")
    assert left.is_dir()


def test_of_two_directories_the_one_that_no_tool_can_read_is_renamed(tmp_path: Path) -> None:
    one = distribution(tmp_path, "a_b-2.0", "a.b", "2.0")
    two = distribution(tmp_path, "a.b-info", "a.b", "1.0")
    assert [each.path for each in renamed(one, two).renamed] == [
        str(tmp_path / "a.b-1.0.dist-info")
    ]
    assert one.is_dir()


@pytest.mark.parametrize("kind", ["a link", "a dangling link", "a file", "a directory", "empty"])
def test_what_is_not_ours_is_neither_in_the_way_nor_removed(tmp_path: Path, kind: str) -> None:
    one = distribution(tmp_path, "a_b-1.0", "a.b")
    foreign = tmp_path / "a.b-1.0.dist-info.uvshim"
    if kind.endswith("link"):
        foreign.symlink_to(tmp_path if kind == "a link" else "nowhere")
    elif kind == "a file":
        foreign.touch()
    else:
        foreign.mkdir()
        if kind != "empty":
            (foreign / "mine").touch()
    before = {each: each.lstat().st_ctime_ns for each in (foreign, foreign / "mine")[:1]}
    for dry_run in (True, False):
        assert len(renamed(one, dry_run=dry_run).renamed) == 1
    assert record_faults(tmp_path / "a.b-1.0.dist-info") == []
    assert {each: each.lstat().st_ctime_ns for each in before} == before
    assert (foreign / "mine").exists() == (kind == "a directory")


def test_an_empty_directory_with_the_right_name_is_ignored(tmp_path: Path) -> None:
    empty = tmp_path / "a.b-1.0.dist-info"
    empty.mkdir()
    assert renamed(empty) == Outcome([], [])
    new = distribution(tmp_path, "a_b-1.0", "a.b")
    assert renamed(empty, new).left_alone == []
    assert dist_infos(tmp_path) == [empty.name]
    assert record_faults(empty) == []


@pytest.mark.parametrize("name", ["METADATA", "RECORD"])
def test_a_half_written_directory_is_left_and_named(tmp_path: Path, name: str) -> None:
    path = distribution(tmp_path, "a_b-1.0", "a.b")
    (path / name).unlink()
    before = tree(tmp_path)
    assert renamed(path) == Outcome([], [LeftAlone(str(path), f"it has no {name}")])
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("directory", "name", "missing"),
    [("plain-1.0", "plain", "METADATA"), ("a.b-1.0", "a.b", "RECORD"), ("x-1", "x", "RECORD")],
)
def test_problems_that_cannot_be_fixed_here_are_skipped(
    tmp_path: Path, directory: str, name: str, missing: str
) -> None:
    path = distribution(tmp_path, directory, name)
    (path / missing).unlink()
    assert renamed(path) == Outcome([], [])


def test_a_failure_does_not_stop_later_renames(tmp_path: Path) -> None:
    one = distribution(tmp_path, "a_b-1.0", "a.b")
    (one / "RECORD").write_text("")
    two = distribution(tmp_path, "c_d-1.0", "c.d")
    outcome = renamed(one, two)
    assert [each.name for each in outcome.renamed] == ["c.d"]
    assert outcome.left_alone == [LeftAlone(str(one), "its RECORD is empty")]


def test_no_other_file_is_written_and_none_changes_its_inode(tmp_path: Path) -> None:
    path = distribution(tmp_path, "a_b-1.0", "a.b")
    before = {
        each.relative_to(path): (os.lstat(each).st_ino, os.lstat(each).st_mtime_ns)
        for each in path.rglob("*")
        if each.name != "RECORD"
    }
    renamed(path)
    new = tmp_path / "a.b-1.0.dist-info"
    after = {
        each.relative_to(new): (os.lstat(each).st_ino, os.lstat(each).st_mtime_ns)
        for each in new.rglob("*")
        if each.name != "RECORD"
    }
    assert after == before
