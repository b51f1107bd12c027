"""The cache of layer contents, which never deletes foreign files."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.images.making import tar
from uvshim.errors import ImageError
from uvshim.images import blob
from uvshim.images.budget import Budget
from uvshim.images.layer import changes
from uvshim.images.store import _FORM, _MARK, Cache

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "0" * 64
DAY = 24 * 60 * 60


def aged(path: Path, days: float) -> Path:
    """Set the age of `path`, and return it."""
    before = time.time() - days * DAY
    os.utime(path, (before, before))
    return path


def entry(directory: Path, name: str, days: float, form: str = _FORM) -> Path:
    path = directory / form / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return aged(path, days)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A directory that uvshim has marked as its own, two days ago."""
    directory = tmp_path / "cache"
    directory.mkdir()
    (directory / "CACHEDIR.TAG").write_bytes(_MARK)
    aged(directory / "CACHEDIR.TAG", 2)
    return directory


def states(directory: Path) -> dict[str, float]:
    return {str(path): path.lstat().st_mtime for path in directory.rglob("*")}


def test_an_entry_comes_back(tmp_path: Path) -> None:
    found = changes.read(blob.in_memory(tar({"a/": "", "a/x.pth": "1"})), Budget())
    cache = Cache(str(tmp_path / "new"))
    assert cache.load(found.identity) is None
    cache.save(found)
    assert cache.load(found.identity) == Cache(str(tmp_path / "new")).load(found.identity) == found
    assert sorted(os.listdir(tmp_path / "new")) == ["CACHEDIR.TAG", _FORM]
    assert os.listdir(tmp_path / "new" / _FORM) == [found.identity.replace(":", "-")]


@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
def test_what_is_no_regular_file_is_no_entry(tmp_path: Path, kind: str) -> None:
    found = changes.read(blob.in_memory(tar({"a": ""})), Budget())
    cache = Cache(str(tmp_path / "new"))
    cache.save(found)
    path = tmp_path / "new" / _FORM / found.identity.replace(":", "-")
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
        for number in range(64):
            os.mkfifo(path.parent / f".lock-{number}")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert cache.load(found.identity) is None
    with cache.locked(found.identity, wait=True) as free:
        assert free


def form() -> object:
    """Return the form of entries in a new copy of the module."""
    spec = importlib.util.find_spec("uvshim.images.store")
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy._FORM


def test_other_files_to_keep_are_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version that needs more of a layer does not mistake old entries for complete."""
    assert form() == _FORM
    monkeypatch.setitem(changes._METADATA_FILES, "more.txt", 1)
    assert form() != _FORM


def test_what_was_not_used_for_a_month_is_deleted(ours: Path) -> None:
    old = [
        entry(ours, f"sha256-{DIGEST}", 31),
        entry(ours, ".new-x1_yabcd", 31),
        entry(ours, f"sha512-{DIGEST}{DIGEST}", 31, "layers-1-0123abcd"),
        entry(ours, ".lock-7", 31, "layers-1-0123abcd"),
    ]
    kept = [
        entry(ours, f"sha256-{DIGEST[1:]}1", 29),
        entry(ours, f"sha256-{DIGEST}", 29, "layers-3-0123abcd"),
    ]
    Cache(str(ours))
    assert not [path for path in old if path.exists()]
    assert all(path.exists() for path in kept)
    assert not (ours / "layers-1-0123abcd").exists()


def test_what_is_used_stays(ours: Path) -> None:
    found = changes.read(blob.in_memory(tar({"a": ""})), Budget())
    Cache(str(ours)).save(found)
    aged(ours / _FORM / found.identity.replace(":", "-"), 31)
    aged(ours / "CACHEDIR.TAG", 0)
    assert Cache(str(ours)).load(found.identity) == found
    aged(ours / "CACHEDIR.TAG", 2)
    assert Cache(str(ours)).load(found.identity) == found


def test_only_exact_names_are_deleted_from_our_own_directory(ours: Path) -> None:
    others = [
        entry(ours, "mine.txt", 1000),
        entry(ours, DIGEST, 1000),
        entry(ours, f"sha256-{DIGEST}.txt", 1000),
        entry(ours, "7", 1000),
        entry(ours, f"sha256-{DIGEST}", 1000, "mine"),
        entry(ours, f"sha256-{DIGEST}", 1000, "layers-1"),
        entry(ours, f"sha256-{DIGEST}", 1000, "2024-01"),
    ]
    Cache(str(ours))
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("mark", [None, b"", b"Signature: 8a477f597d28d172789f06886806bc55\n"])
def test_a_directory_with_foreign_files_is_refused(tmp_path: Path, mark: bytes | None) -> None:
    """A person may name any directory, such as one of photos by month."""
    for form in ("2024-01", _FORM, "1-0.1.0/layers"):
        entry(tmp_path, f"sha256-{DIGEST}", 1000, form)
        entry(tmp_path, "15", 1000, form)
    if mark is not None:
        (tmp_path / "CACHEDIR.TAG").write_bytes(mark)
    before = states(tmp_path)
    with pytest.raises(ImageError, match="is neither empty nor a cache of uvshim"):
        Cache(str(tmp_path))
    assert states(tmp_path) == before


def test_a_directory_that_is_just_being_marked_is_accepted(tmp_path: Path) -> None:
    """Another process may have created the directory of entries already."""
    (tmp_path / "CACHEDIR.TAG").write_bytes(_MARK[:10])
    Cache(str(tmp_path))
    (tmp_path / _FORM).mkdir()
    Cache(str(tmp_path))


def test_a_new_form_of_entries_leaves_the_mark_as_it_is(ours: Path) -> None:
    """Otherwise other processes could read it while it is empty."""
    before = (ours / "CACHEDIR.TAG").stat()
    Cache(str(ours)).save(changes.read(blob.in_memory(tar({"a": ""})), Budget()))
    after = (ours / "CACHEDIR.TAG").stat()
    assert (ours / _FORM).is_dir()
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)


def test_old_entries_are_looked_for_once_a_day(ours: Path) -> None:
    Cache(str(ours))
    old = entry(ours, f"sha256-{DIGEST}", 31)
    Cache(str(ours))
    assert old.exists()
    aged(ours / "CACHEDIR.TAG", 1.5)
    Cache(str(ours))
    assert not old.exists()


@pytest.mark.parametrize("name", ["none", "file"])
def test_where_there_is_no_cache_nothing_is_created(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    Cache(str(tmp_path / name))
    assert os.listdir(tmp_path) == ["file"]


SHAPES: list[list[object]] = [
    [],
    [7],
    [[False]],
    [[False, 1], 7],
    [[False, 1], ["usr", [["a", 1]]]],
    [[False, 1], ["usr", [["a", 1, 2, None, "f", "", 4]]]],
]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_entry_of_another_shape_counts_as_missing(tmp_path: Path, shape: list[object]) -> None:
    found = changes.read(blob.in_memory(tar({"usr/a": ""})), Budget())
    cache = Cache(str(tmp_path / "new"))
    cache.save(found)
    path = tmp_path / "new" / _FORM / found.identity.replace(":", "-")
    lines = "".join(json.dumps(each) + "\n" for each in shape)
    path.write_bytes(gzip.compress(lines.encode()))
    assert cache.load(found.identity) is None
    cache.save(found)
    assert cache.load(found.identity) == found


def test_a_link_among_the_entries_leads_to_no_file_of_others(ours: Path, tmp_path: Path) -> None:
    """Whoever may write to a shared directory could have others delete anything."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    kept = foreign / f"sha256-{DIGEST}"
    kept.write_text("a model")
    aged(kept, 60)
    (ours / "layers-2-0123abcd").symlink_to(foreign)
    Cache(str(ours))
    assert kept.read_text() == "a model"
    (ours / _FORM).symlink_to(foreign)
    with pytest.raises(ImageError, match="is a link, and uvshim follows none there"):
        Cache(str(ours))
