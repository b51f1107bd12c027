"""uv's lock: held, waited for, given up; and done without where there is none to be had."""

from __future__ import annotations

import fcntl
import os
import threading
from typing import TYPE_CHECKING

import pytest

from uvshim.uv.lock import LockInterruptedError, UvLock

if TYPE_CHECKING:
    from pathlib import Path


def is_free(path: Path) -> bool:
    """Say whether somebody else could have the lock now."""
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


def test_the_lock_is_held_inside_and_given_back_after_an_error(path: Path) -> None:
    def work() -> None:
        with UvLock(str(path)):
            assert not is_free(path)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert is_free(path)


def test_a_lock_that_is_free_is_not_waited_for(path: Path) -> None:
    said: list[str] = []
    with UvLock(str(path), lambda: True, said.append):
        assert not is_free(path)
    assert said == []


def test_a_lock_held_elsewhere_is_waited_for(path: Path) -> None:
    said: list[str] = []
    other = os.open(path, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    threading.Timer(1.3, os.close, [other]).start()
    with UvLock(str(path), waiting=said.append):
        assert not is_free(path)
    assert said == [str(path)]


def test_a_wait_that_is_interrupted_ends_and_holds_nothing(path: Path) -> None:
    other = os.open(path, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(LockInterruptedError), UvLock(str(path), lambda: True):
        pytest.fail("the lock was not free")
    os.close(other)
    assert is_free(path)


@pytest.mark.parametrize("kind", ["none", "missing", "directory"])
def test_where_there_is_no_lock_file_nothing_is_held_and_none_made(
    tmp_path: Path, kind: str
) -> None:
    path = {"none": None, "missing": str(tmp_path / ".lock"), "directory": str(tmp_path)}[kind]
    with UvLock(path):
        assert os.listdir(tmp_path) == []


def test_a_file_system_that_knows_no_locks_is_gone_on_without(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: int, _operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with UvLock(str(path)):
        pass
