"""uv's lock on the environment: held during a rename, never while uv runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pytest

from tests.robustness.conftest import DOTTED, NAMES, NORMALIZED
from tests.robustness.faults import trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.places import Venv
    from tests.robustness.invariants import Tools

SAID = "Waiting for another uv to release its lock at `"


def test_the_lock_is_held_during_the_rename_and_not_while_uv_runs(
    strace: None, bare: Venv, tools: Tools, two_wheels: Path, tmp_path: Path
) -> None:
    choice = ("--python", bare.python, "--no-index", "--find-links", two_wheels)
    calls = ("flock", "close", "rename", "renameat2", "vfork", "clone", "clone3", "wait4")
    traced = trace([tools.uvpip, *choice, *NAMES], tools.variables, tmp_path, calls=calls)
    assert traced.status == 0, traced.output
    lock = str(bare.path / ".lock")
    held = False
    children = renames = 0
    started = 0
    for call in traced.calls:
        if call.name == "flock" and "LOCK_EX" in call.text and call.text.endswith("= 0"):
            assert lock in call.text
            assert children == 0
            held = True
        elif call.name == "close" and lock in call.text:
            held = False
        elif call.name in {"vfork", "clone", "clone3"}:
            assert not held
            children += 1
            started += 1
        elif call.name == "wait4" and "WIFEXITED" in call.text:
            children -= 1
        elif call.name.startswith("rename") and str(bare.path) in call.text:
            assert held
            renames += 1
    assert started == 2  # the question and the install
    assert renames == len(NAMES)


class Held:
    """The lock on an environment, held by the test until it is released."""

    def __init__(self, venv: Venv) -> None:
        self._file = os.open(venv.path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        os.close(self._file)


class Started:
    """A running command, and its output so far."""

    def __init__(self, command: list[str | Path], tools: Tools, **variables: str) -> None:
        self.process = subprocess.Popen(
            command,
            env={**tools.variables, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        self._reader.start()

    def _read(self, stream: TextIO) -> None:
        for line in stream:
            self.said += line

    def waits_for(self, said: str) -> None:
        """Wait for that output."""
        while said not in self.said:
            assert self.process.poll() is None, self.said
            time.sleep(0.01)

    def has_open(self, path: Path) -> bool:
        """Return True if it has that file open."""
        with contextlib.suppress(OSError):  # closed while we look
            for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
                if each.readlink() == path:
                    return True
        return False

    def end(self) -> int:
        status = self.process.wait(30)
        self._reader.join()
        return status


# A fix does not call what macOS lacks.
COMMANDS = pytest.mark.parametrize(
    ("waiting", "system"),
    [("fix", "linux"), ("uvpip", "linux"), ("uvpip", "like macOS")],
    indirect=True,
)


@pytest.fixture
def waiting(
    request: pytest.FixtureRequest, system: str, tools: Tools, tmp_path: Path, two_wheels: Path
) -> Iterator[tuple[Started, Held, Venv]]:
    """`uvshim fix` or `uvpip`, for which another process has the lock."""
    if request.param == "fix":
        venv: Venv = request.getfixturevalue("installed")
        held = Held(venv)
        started = Started([tools.uvshim, "fix", venv.path], tools)
    else:
        venv = request.getfixturevalue("bare")
        wrapper = tmp_path / "slow-uv"
        wrapper.write_text(
            f'#!/bin/sh\n"{tools.uv}" "$@" || exit\ncase "$*" in *--dry-run*) exit ;; esac\n'
            f"touch {tmp_path}/done; until [ -e {tmp_path}/locked ]; do sleep 0.02; done\n"
        )
        wrapper.chmod(0o755)
        choice = ("--python", venv.python, "--no-index", "--find-links", two_wheels)
        started = Started([tools.uvpip, *choice, *NAMES], tools, UVSHIM_UV=str(wrapper))
        while not (tmp_path / "done").exists():
            assert started.process.poll() is None, started.said
            time.sleep(0.01)
        held = Held(venv)
        (tmp_path / "locked").touch()
    yield started, held, venv
    if started.process.poll() is None:
        started.process.kill()
    started.end()


@COMMANDS
def test_the_wait_for_a_lock_is_reported(
    waiting: tuple[Started, Held, Venv],
) -> None:
    started, held, venv = waiting  # after how much time: see tests/uv/test_lock.py
    started.waits_for(f"{SAID}{venv.path}/.lock`\n")
    assert venv.dist_infos() == sorted(NORMALIZED)
    assert started.process.poll() is None
    held.release()
    assert started.end() == 0
    assert started.said.count(SAID) == 1
    assert venv.dist_infos() == sorted(DOTTED)


@COMMANDS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_wait_for_the_lock(
    waiting: tuple[Started, Held, Venv], number: int
) -> None:
    started, held, venv = waiting
    while not started.has_open(venv.path / ".lock"):
        assert started.process.poll() is None, started.said
        time.sleep(0.01)
    started.process.send_signal(number)
    assert started.end() == -number
    assert "Traceback" not in started.said
    assert "Interrupted while another uv had the lock" in started.said
    assert venv.dist_infos() == sorted(NORMALIZED)
    held.release()
