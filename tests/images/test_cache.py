from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from uvshim.images import cache

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "0" * 64
DAY = 24 * 60 * 60


def aged(path: Path, days: float) -> Path:
    """Let `path` be as old as that, and return it."""
    before = time.time() - days * DAY
    os.utime(path, (before, before))
    return path


def entry(directory: Path, kind: str, name: str, days: float, form: str = cache._FORM) -> Path:
    path = directory / form / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return aged(path, days)


def test_an_entry_comes_back(tmp_path: Path) -> None:
    path = cache.place(str(tmp_path), "results", DIGEST)
    assert cache.load(path) is None
    cache.save(path, ["x", {"y": 1}])
    assert cache.load(path) == ["x", {"y": 1}]
    assert os.listdir(os.path.dirname(path)) == [DIGEST]


def test_what_nobody_has_used_for_a_month_goes_away(tmp_path: Path) -> None:
    old = [
        entry(tmp_path, "layers", f"sha256-{DIGEST}", 31),
        entry(tmp_path, "results", DIGEST, 31),
        entry(tmp_path, "results", ".new-x1_y", 31),
        entry(tmp_path, "layers", f"sha512-{DIGEST}{DIGEST}", 31, "1-0.0.9"),
        entry(tmp_path, "locks", "7", 31, "1-0.0.9"),
        entry(tmp_path, ".", "pruned", 31, "1-0.0.9"),
    ]
    kept = [
        entry(tmp_path, "layers", f"sha256-{DIGEST[1:]}1", 29),
        entry(tmp_path, "results", DIGEST, 29, "2-9.0rc1"),
    ]
    cache.prune(str(tmp_path))
    assert not [path for path in old if path.exists()]
    assert all(path.exists() for path in kept)
    assert not (tmp_path / "1-0.0.9").exists()


def test_what_is_used_stays(tmp_path: Path) -> None:
    path = cache.place(str(tmp_path), "results", DIGEST)
    cache.save(path, 1)
    aged(tmp_path / path, 31)
    assert cache.load(path) == 1
    cache.prune(str(tmp_path))
    assert cache.load(path) == 1


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    """A person may name any directory."""
    others = [
        entry(tmp_path, "layers", "mine.txt", 1000),
        entry(tmp_path, "mine", DIGEST, 1000),
        entry(tmp_path, "layers", DIGEST, 1000, "mine"),
        entry(tmp_path, "layers", DIGEST, 1000, "1-mine"),
        aged(entry(tmp_path, "layers/0", DIGEST, 1000).parent, 1000) / DIGEST,
    ]
    cache.prune(str(tmp_path))
    assert all(path.exists() for path in others)


def test_it_is_looked_for_once_a_day(tmp_path: Path) -> None:
    entry(tmp_path, "results", DIGEST, 0)
    cache.prune(str(tmp_path))
    old = entry(tmp_path, "results", DIGEST, 31)
    cache.prune(str(tmp_path))
    assert old.exists()
    aged(tmp_path / cache._FORM / "pruned", 1.5)
    cache.prune(str(tmp_path))
    assert not old.exists()


@pytest.mark.parametrize("name", ["none", "file"])
def test_where_there_is_no_cache_nothing_is_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    cache.prune(str(tmp_path / name))
    assert os.listdir(tmp_path) == ["file"]
