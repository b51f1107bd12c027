"""Signals that arrive before anything is begun: the command ends by them, and begins nothing."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.places import Venv

# It stands in for a uv that waits for another one's lock when it is asked.
WAITING = """\
#!/bin/sh
case "$*" in *--dry-run*) touch {here}/asked; exec sleep 60 ;; --version) exit ;; esac
touch {here}/begun
"""

COMMANDS = {
    "uvpip": ("uvpip", "x"),
    "uvshim run": ("uvshim", "run", "--", "touch", "begun"),
    "uvshim fix": ("uvshim", "fix", "python"),
    "uvshim fix, no ENV": ("uvshim", "fix"),
    "uvshim check, no ENV": ("uvshim", "check"),
}


def appears(path: Path, started: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert started.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_signal_while_uv_is_asked_ends_the_command_and_nothing_is_begun(
    command: tuple[str, ...],
    number: signal.Signals,
    variables: dict[str, str],
    installation: Path,
    venv: Venv,
    tmp_path: Path,
) -> None:
    uv = tmp_path / "waiting"
    uv.write_text(WAITING.format(here=tmp_path))
    uv.chmod(0o755)
    (site_packages,) = installation.glob("lib/*/site-packages")
    misnamed = site_packages / "a_b-1.0.dist-info"
    misnamed.mkdir()
    (misnamed / "METADATA").write_text("Name: a.b\nVersion: 1.0\n")
    (misnamed / "RECORD").write_text("a_b-1.0.dist-info/METADATA,,\na_b-1.0.dist-info/RECORD,,\n")
    started = subprocess.Popen(
        [os.path.join(os.path.dirname(sys.executable), command[0]), *command[1:]],
        cwd=tmp_path,
        env={**variables, "UVSHIM_UV": str(uv)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    appears(tmp_path / "asked", started)
    started.send_signal(number)
    assert started.communicate(timeout=30) == ("", "")
    assert started.returncode == -number
    assert not (tmp_path / "begun").exists()
    assert misnamed.exists()


# Runs uvpip, and looks around for as long as it takes until a key has been pressed.
SLOW_LOOK = """
import signal, sys, time
from uvshim import uvpip
from uvshim.environments import snapshot
def look(environment, take=snapshot.Snapshot.of):
    open("looks", "w").close()
    end = time.monotonic() + 30
    while signal.SIGINT not in signal.sigpending() and time.monotonic() < end:
        time.sleep(0.01)
    return take(environment)
snapshot.Snapshot.of = look
sys.exit(uvpip.main())
"""


def test_a_key_between_the_question_and_the_start_of_uv_ends_uvpip_and_uv_is_not_started(
    variables: dict[str, str], venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", SLOW_LOOK, "--no-index", "-f", str(wheels), "zope.deferred"]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, words, variables)
    end = time.monotonic() + 30
    while not (tmp_path / "looks").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGINT
    os.close(terminal)
    assert venv.dist_infos() == []
