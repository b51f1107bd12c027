"""Signals at any moment of an install: all processes end, complete directories are right."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.robustness.disks import Plain
from tests.robustness.invariants import checksum
from tests.wheels import build_wheel, normalized
from uvshim.rename import record_file
from uvshim.rename.record import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.places import Venv
    from tests.robustness.invariants import Tools

pytestmark = pytest.mark.on_macos_too

NAMES = [f"Signal.{number}-x" for number in range(40)]
TRIALS = 15

# A process that has this in its environment is one of ours, or a child of one.
MARK = "UVSHIM_TEST_TRIAL"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Wheels of forty distributions with twenty files each."""
    wheels = tmp_path / "many"
    for name in NAMES:
        files = {f"{normalized(name)}/m{n}.py": f"{n}\n" for n in range(20)}
        build_wheel(wheels, name, files=files)
    return wheels


def still_running(mark: str) -> list[str]:
    """Return the command lines of the processes that have `mark` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or not ours
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def listens(started: subprocess.Popen[bytes]) -> bool:
    """Return True if the process blocks signals; until then, Python handles an interrupt.

    That is while the interpreter itself starts, when nothing has been begun.
    """
    status = Path(f"/proc/{started.pid}/status").read_text()
    (blocked,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")]
    return bool(int(blocked, 16) >> (signal.SIGTERM - 1) & 1)


def written(venv: Venv) -> int:
    """Return the progress of an install: its written entries, renamed ones counted twice."""
    names = os.listdir(venv.site_packages)
    return sum(2 if name.startswith("Signal.") else 1 for name in names)


def wrong(venv: Venv, *, fixed: bool = False) -> list[str]:
    """Return the complete dist-info directories whose name or RECORD is not right.

    Until it is `fixed`, a renamed one that is not complete counts as well.
    """
    found = []
    for path in venv.site_packages.glob("*.dist-info"):
        try:
            listed = record_file.read(str(path))
            (path / "METADATA").read_bytes()
            is_complete = all((venv.site_packages / each).exists() for each in listed.paths())
        except (RecordError, OSError):
            is_complete = False
        if not is_complete:  # uv was interrupted in the middle of it: only `fix` renames it
            if "Signal." in path.name and not fixed:
                found.append(f"{path.name} is not complete")
        elif "Signal." not in path.name or listed.directories != {path.name}:
            found.append(path.name)
    return found


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP", "terminal"])
def test_a_signal_at_any_moment_of_an_install_ends_all_and_leaves_what_is_whole_right(
    bare: Venv,
    tools: Tools,
    many: Path,
    tmp_path: Path,
    tried: Callable[[str, int], None],
    how: str,
) -> None:
    place = Plain(bare.path, tmp_path)
    venv = place.fresh()
    choice = ("--no-index", "--find-links", many, "--offline")
    command: list[str | Path] = [tools.uvpip, "--python", venv.python, *choice, *NAMES]
    assert tools.run(*command).returncode == 0
    all_written, nothing_written = written(venv), written(place.fresh())
    cache = checksum(tmp_path / "cache")
    chance = random.Random(how)
    number = signal.SIGINT if how == "terminal" else signal.Signals[how]
    sent = ended_by_it = partly = 0
    for trial in range(TRIALS):
        venv = place.fresh()
        # Random moments, spread over the whole install.
        moment = nothing_written + int(
            (all_written - nothing_written) * (trial + chance.random()) / TRIALS
        )
        mark = f"{how}-{os.getpid()}-{trial}"
        main, terminal = pty.openpty()
        started = subprocess.Popen(
            ["setsid", "--ctty", *command] if how == "terminal" else command,
            env={**tools.variables, MARK: mark},
            stdin=terminal,
            stdout=subprocess.DEVNULL,
            stderr=(tmp_path / "said").open("w"),
        )
        os.close(terminal)
        while not listens(started) and started.poll() is None:
            time.sleep(0.001)
        while written(venv) < moment and started.poll() is None:
            time.sleep(0.0001)
        for again in chance.choice([(False,), (False, True)]):
            now = written(venv)
            while again and written(venv) == now and started.poll() is None:
                time.sleep(0.001)  # until something comes of the first
            if how == "terminal":
                os.write(main, b"\x03")
            elif started.poll() is None:
                started.send_signal(number)
            sent += 1
        status = started.wait(60)
        os.close(main)
        said = (tmp_path / "said").read_text()
        assert still_running(mark) == []
        assert status in {0, -number}, (status, said)
        assert "warning" not in said or status != 0, said
        ended_by_it += status != 0
        assert wrong(venv) == [], said
        partly += 0 < len(venv.dist_infos()) < len(NAMES)
        done = tools.fix(venv)
        assert done.returncode in {0, 3}, done.stderr
        assert "Traceback" not in done.stderr
        assert wrong(venv, fixed=True) == []
    assert checksum(tmp_path / "cache") == cache
    print(f"{how}: {sent} sent, {ended_by_it} ended by it, {partly} with a part installed")
    tried(f"signals sent ({how})", sent)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["the question", "the install"])
def test_a_signal_while_uv_is_at_work_ends_all_and_installs_nothing(
    bare: Venv, tools: Tools, many: Path, tmp_path: Path, number: int, when: str
) -> None:
    question, install = "exec sleep 60", f'exec "{tools.uv}" "$@"'
    if when == "the install":
        question, install = install, question
    wrapper = tmp_path / "slow-uv"
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *--dry-run*) {question} ;; *) {install} ;; esac\n'.replace(
            "exec sleep", f"touch {tmp_path}/asked; exec sleep"
        )
    )
    wrapper.chmod(0o755)
    mark = f"work-{os.getpid()}-{number}-{when}"
    started = subprocess.Popen(
        [tools.uvpip, "--python", bare.python, "--no-index", "--find-links", many, *NAMES],
        env={**tools.variables, MARK: mark, "UVSHIM_UV": str(wrapper)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # no terminal: what comes is not from its keys
    )
    while not (tmp_path / "asked").exists():
        assert started.poll() is None
        time.sleep(0.01)
    started.send_signal(number)
    _, said = started.communicate(timeout=30)
    assert started.returncode == -number
    assert said == ""
    assert still_running(mark) == []
    assert bare.dist_infos() == []
