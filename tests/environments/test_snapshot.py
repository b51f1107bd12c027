"""Which dist-info directories are new since a snapshot."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.robustness.disks import unmount
from uvshim.environments.environment import Environment
from uvshim.environments.snapshot import Snapshot, may_be_dotted

if TYPE_CHECKING:
    from collections.abc import Iterator
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
def test_changes_since_a_moment_are_found_with_the_clock_of_the_file_system(
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
    assert Snapshot.of(environment).new_since(before, environment.lock) == [str(new)]
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


OLD = "old.x-1.dist-info"


@pytest.fixture
def coarse(tmp_path: Path) -> Iterator[Path]:
    """An ext4 whose times are whole seconds, with a directory in it that is years old."""
    image, place, source = (tmp_path / name for name in ("image", "coarse", "source"))
    (source / OLD).mkdir(parents=True)
    place.mkdir()
    commands: list[list[str | Path]] = [
        ["mkfs.ext4", "-q", "-I", "128", "-d", source, image, "32M"],
        ["debugfs", "-w", "-R", f"set_inode_field /{OLD} ctime 20100101", image],
        ["mount", "-o", "loop", image, place],
    ]
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("NOT TRIED: an ext4 with times of one second (needs root, and e2fsprogs)")
    yield place
    unmount(place)


def test_where_times_are_too_coarse_to_tell_what_may_have_changed_is_new(coarse: Path) -> None:
    new = coarse / "new.x-1.dist-info"
    for _ in range(100):
        new.mkdir()
        before = Snapshot.take([str(coarse)])
        new.rmdir()  # and another directory gets its inode
        new.mkdir()
        now = Snapshot.take([str(coarse)])
        if now.states == before.states:
            break
        new.rmdir()
    assert now.states == before.states
    assert now.new_since(before) == [str(new)]
    assert before.is_outdated(Environment(str(coarse), None, [str(coarse)]))


def test_a_change_matters_only_beside_a_dotted_directory(tmp_path: Path) -> None:
    environment = Environment(str(tmp_path), None, [str(tmp_path)])
    for name, outdated in (("a_b-1.dist-info", False), ("a.b-1.dist-info", True)):
        (tmp_path / name).mkdir()
        before = Snapshot.of(environment)
        assert not before.is_outdated(environment)
        (tmp_path / f"other_{outdated}").touch()
        assert before.is_outdated(environment) == outdated
