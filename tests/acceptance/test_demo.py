"""`make demo`: what a newcomer runs first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools import demo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.index


def demonstrate(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, demo.__file__],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_shows_the_fault_and_the_fix() -> None:
    done = demonstrate()
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("pkg_resources.DistributionNotFound") == 1
    assert done.stdout.count("\n  oslo.cache 3.10.2\n") == 2  # installed with uvpip, and fixed
    assert re.findall(r"Exit code ([01]): a build (\w+) here", done.stdout) == [
        ("1", "stops"),
        ("0", "continues"),
        ("0", "continues"),
    ]
    assert " - oslo-cache==3.10.2\n" in done.stdout
    assert done.stdout.endswith("uvpip and uvshim fix remove it.\n")


def test_it_fails_if_the_fault_does_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("requirements.txt", "constraints.txt"):
        text = (demo.RECIPES / name).read_text()
        (tmp_path / name).write_text(text.replace("setuptools==75.8.0", "setuptools==80.9.0"))
    monkeypatch.setattr(demo, "RECIPES", tmp_path)
    assert demo.main() == 1
    assert "FAILED: plain uv: pkg_resources finds the project\n" in capfd.readouterr().out


def test_it_fails_if_uvpip_renames_nothing(tmp_path: Path) -> None:
    (tmp_path / "uvshim.toml").write_text('exclude = ["oslo.*"]\n')
    done = demonstrate(TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert "FAILED: uvpip: pkg_resources does not find it" in done.stdout
