"""Which dist-info directories are new since a moment before."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from uvshim.environments.environment import Environment
from uvshim.environments.snapshot import Snapshot, may_be_dotted

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("directory", "answer"),
    [
        ("oslo_cache-1.0.dist-info", True),
        ("oslo.cache-1.0.dist-info", True),
        ("XStatic_JQuery.TableSorter-2.dist-info", True),
        ("_-1.dist-info", True),
        ("requests-2.0.dist-info", False),
        ("requests-2.0_1.dist-info", False),
        ("oslo_cache-1.0.egg-info", False),
        ("oslo_cache", False),
        ("~slo_cache-1.0.dist-info", False),
        ("~slo.cache-1.0.dist-info", False),
    ],
)
def test_only_a_name_with_a_dot_or_an_underscore_can_be_a_dotted_one(
    directory: str,
    answer: bool,  # noqa: FBT001
) -> None:
    assert may_be_dotted(directory) is answer


def test_new_is_what_was_not_there_or_has_changed(tmp_path: Path) -> None:
    for name in ("same", "renamed", "replaced", "touched", "written", "gone"):
        (tmp_path / f"{name}.x-1.dist-info").mkdir()
    before = Snapshot.take([str(tmp_path)])
    time.sleep(0.02)
    (tmp_path / "new.x-1.dist-info").mkdir()
    (tmp_path / "renamed.x-1.dist-info").rename(tmp_path / "other.x-1.dist-info")
    (tmp_path / "replaced.x-1.dist-info").rename(tmp_path / "kept")
    (tmp_path / "replaced.x-1.dist-info").mkdir()
    os.utime(tmp_path / "touched.x-1.dist-info", (0, 0))
    (tmp_path / "written.x-1.dist-info" / "RECORD").write_text("")
    (tmp_path / "gone.x-1.dist-info").rmdir()
    (tmp_path / "plain-1.dist-info").mkdir()
    found = Snapshot.take([str(tmp_path)]).new_since(before)
    assert [os.path.basename(path).partition(".")[0] for path in found] == [
        "new",
        "other",
        "replaced",
        "touched",
        "written",
    ]


@pytest.fixture(params=["nameless files", "no nameless files"])
def clocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clocks of this machine that are an hour ahead of its file system's."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * 1_000_000_000)
    if request.param != "nameless files":
        monkeypatch.delattr(os, "O_TMPFILE")


@pytest.mark.usefixtures("clocks")
def test_what_has_changed_since_a_moment_is_told_by_the_clock_of_its_file_system(
    tmp_path: Path,
) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    environment = Environment(str(tmp_path), str(lock), [str(tmp_path)])
    old, new = tmp_path / "old.x-1.dist-info", tmp_path / "new.x-1.dist-info"
    old.mkdir()
    time.sleep(0.1)
    before = Snapshot.of(None)
    new.mkdir()
    os.utime(new, (0, 0))
    names = sorted(os.listdir(tmp_path))
    assert before.new_in(environment) == [str(new)]
    assert sorted(os.listdir(tmp_path)) == names


def test_a_directory_that_cannot_be_listed_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert Snapshot.take([str(tmp_path / "none"), str(tmp_path / "file")]).states == {}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    link = tmp_path / "a.b-1.dist-info"
    link.symlink_to("away")
    before = Snapshot.take([str(tmp_path)])
    (tmp_path / "away" / "METADATA").touch()
    assert Snapshot.take([str(tmp_path)]).new_since(before) == []
