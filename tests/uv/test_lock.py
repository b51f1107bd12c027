"""uv's lock: held, waited for, interrupted, and missing."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

import pytest

from uvshim.uv.lock import LockInterruptedError, uv_lock

if TYPE_CHECKING:
    from pathlib import Path


def is_free(path: Path) -> bool:
    """Return True if another process could lock it now."""
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / ".lock").touch()
    return tmp_path / ".lock"


def test_the_lock_is_held_inside_and_released_after_an_error(path: Path) -> None:
    def work() -> None:
        with uv_lock(str(path)):
            assert not is_free(path)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert is_free(path)


def test_a_lock_that_is_free_is_not_waited_for(path: Path) -> None:
    said: list[str] = []
    with uv_lock(str(path), lambda: True, said.append):
        assert not is_free(path)
    assert said == []


class Time:
    """A time that passes only during `time.sleep`, and another uv that ends at `end`."""

    def __init__(self, path: Path, end: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "sleep", self.sleep)
        self.now = 0.0
        self._end = end
        self._other: int | None = os.open(path, os.O_RDWR)
        fcntl.flock(self._other, fcntl.LOCK_EX)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self._other is not None and self.now >= self._end:
            os.close(self._other)
            self._other = None


@pytest.mark.parametrize("end", [0.5, 0.9, 1.1, 300])
def test_the_wait_for_a_lock_is_reported_once_after_a_second(
    path: Path, end: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = Time(path, end, monkeypatch)
    said: list[tuple[str, bool]] = []

    def waiting(lock: str) -> None:
        said.append((lock, 1 < passed.now < 1.1))

    with uv_lock(str(path), waiting=waiting):
        assert not is_free(path)
        assert end <= passed.now < end + 0.1
    assert said == ([(str(path), True)] if end > 1 else [])
    assert is_free(path)


def test_a_wait_that_is_interrupted_ends_and_holds_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = Time(path, 300, monkeypatch)

    def interrupted() -> bool:
        return passed.now > 5

    with pytest.raises(LockInterruptedError), uv_lock(str(path), interrupted):
        pytest.fail("the lock was not free")
    assert 5 < passed.now < 5.1
    passed.sleep(300)  # the other one ends
    assert is_free(path)


@pytest.mark.parametrize("kind", ["none", "missing", "directory"])
def test_where_there_is_no_lock_file_nothing_is_held_and_none_made(
    tmp_path: Path, kind: str
) -> None:
    path = {"none": None, "missing": str(tmp_path / ".lock"), "directory": str(tmp_path)}[kind]
    with uv_lock(path):
        assert os.listdir(tmp_path) == []


def test_a_file_system_without_locks_is_used_without(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: int, _operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with uv_lock(str(path)):
        pass
