"""The rename on an overlay: the result of each step is recognized and completed."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.places import dist_infos, record_faults, tree
from tests.rename.test_on_disk import distribution, renamed
from uvshim.rename import plan, record_file
from uvshim.rename.on_disk import LeftAlone, Outcome

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "a_b-1.0.dist-info", "a.b-1.0.dist-info"


@pytest.fixture
def lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `os.rename` fail for older directories, as on an overlay."""
    rename = os.rename

    def refuse(source: str, target: str) -> None:
        if source.endswith(".dist-info"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return distribution(tmp_path, "a_b-1.0", "a.b")


def test_a_directory_of_a_lower_layer_gets_its_name(old: Path, tmp_path: Path, lower: None) -> None:
    old.chmod(0o750)
    (old / "METADATA").chmod(0o640)
    (old / "link").symlink_to("METADATA")
    before = os.lstat(old)
    assert len(renamed(old).renamed) == 1
    new = tmp_path / NEW
    assert dist_infos(tmp_path) == [NEW]
    assert sorted(os.listdir(tmp_path)) == [NEW, "code.py"]
    assert [fault for fault in record_faults(new) if "link" not in fault] == []
    assert os.readlink(new / "link") == "METADATA"
    assert (new / "METADATA").stat().st_mode & 0o777 == 0o640
    assert (new.stat().st_mode, new.stat().st_uid) == (before.st_mode, before.st_uid)


def test_files_that_cannot_be_linked_are_copied(
    old: Path, tmp_path: Path, lower: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if os.geteuid() == 0:
        os.chown(old / "METADATA", 1234, 1235)
    (old / "METADATA").chmod(0o640)
    before = (old / "METADATA").stat()
    monkeypatch.setattr(os, "link", refuse)
    assert len(renamed(old).renamed) == 1
    assert record_faults(tmp_path / NEW) == []
    after = (tmp_path / NEW / "METADATA").stat()
    assert (after.st_mode, after.st_uid, after.st_gid, after.st_mtime_ns) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
        before.st_mtime_ns,
    )


def half_moved(old: Path, site: Path) -> Path:
    """Return a directory of the new name beside the old one, as it is in the middle of a move."""
    record_file.append(str(old), record_file.read(str(old)).added({OLD}, NEW))
    return shutil.copytree(old, site / NEW)


@pytest.mark.parametrize(
    "gone",
    [[], ["licenses"], ["licenses", "RECORD"], ["licenses", "RECORD", "METADATA"]],
    ids=["nothing", "some", "RECORD", "all"],
)
@pytest.mark.parametrize("turned", [False, True], ids=["old first", "new first"])
def test_what_is_left_of_the_old_directory_is_taken_away(
    old: Path, tmp_path: Path, gone: list[str], *, turned: bool
) -> None:
    new = half_moved(old, tmp_path)
    for name in gone:
        path = old / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    outcome = renamed(*((new, old) if turned else (old, new)))
    assert outcome.left_alone == []
    assert [each.name for each in outcome.renamed] == ["a.b"]
    assert dist_infos(tmp_path) == [NEW]
    assert record_faults(new) == []


class KilledError(BaseException):
    """Acts as a SIGKILL: nothing cleans up after it."""


def test_killed_while_it_removes_the_old_directory_it_leaves_no_unlisted_file(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one is completed last."""
    new = half_moved(old, tmp_path)
    building = record_file.read(str(new)).added({NEW}, NEW + plan.BUILDING)
    record_file.append(str(new), building)

    def killed(_source: str, _target: str) -> None:
        raise KilledError

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KilledError):
        renamed(new, old)
    assert dist_infos(tmp_path) == [NEW]
    listed = set(record_file.read(str(new)).paths())
    assert {f"{NEW}/{each.name}" for each in new.iterdir() if each.is_file()} <= listed


@pytest.mark.parametrize("what", ["another content", "another file"])
def test_an_old_directory_with_something_of_its_own_is_not_taken_away(
    old: Path, tmp_path: Path, what: str
) -> None:
    half_moved(old, tmp_path)
    if what == "another content":
        (old / "licenses" / "MIT").write_text("changed")
    else:
        (old / "more").touch()
    before = tree(tmp_path)
    outcome = renamed(old)
    assert outcome == Outcome([], [LeftAlone(str(old), f"`{NEW}` exists already")])
    assert tree(tmp_path) == before


def test_a_copy_left_by_a_killed_run_is_rebuilt_or_removed(
    old: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    building = tmp_path / (NEW + plan.BUILDING)
    building.mkdir()
    (building / "METADATA").write_text("half of i")
    listed = record_file.read(str(old))
    record_file.append(str(old), listed.added({OLD}, building.name))
    assert len(renamed(old).renamed) == 1
    assert sorted(os.listdir(tmp_path)) == [NEW, "code.py"]
    assert record_faults(tmp_path / NEW) == []


def test_nothing_is_deleted_through_a_link_that_has_the_old_name(old: Path, tmp_path: Path) -> None:
    """Somebody has made it after a kill, for a tool that wants that name."""
    listed = record_file.read(str(old))
    record_file.append(str(old), listed.added({OLD}, NEW))
    old.rename(tmp_path / NEW)
    old.symlink_to(NEW)
    before = sorted(os.listdir(tmp_path / NEW))
    renamed(tmp_path / NEW)
    assert sorted(os.listdir(tmp_path / NEW)) == before
    assert old.is_symlink()


def test_an_error_in_the_middle_is_reported_as_what_it_is(
    old: Path, tmp_path: Path, lower: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *_mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(os, "mkdir", refuse)
    (left,) = renamed(old).left_alone
    assert left.reason.startswith("no space left on device")
    monkeypatch.undo()
    assert len(renamed(old).renamed) == 1
    assert record_faults(tmp_path / NEW) == []
