"""`uvshim`, the command: what all of its parts have in common."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from uvshim import __version__, cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Run
    from tests.places import Venv


def test_output_that_cannot_be_written_is_no_traceback(
    run: Run, uvshim: Path, uvpip: Path, broken: Venv
) -> None:
    done = run(uvshim, "check", broken.path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 1
    assert "\\u2192" in done.stdout
    done = run("/bin/sh", "-c", f"{uvshim} check {broken.path} > /dev/full")
    assert (done.returncode, done.stderr) == (
        2,
        "error: standard output: No space left on device\n",
    )
    done = run("/bin/sh", "-c", f"{uvshim} check {broken.path} | true")
    assert (done.returncode, done.stderr) == (0, "")
    done = run(uvpip, "--help", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_system_refuses_elsewhere_is_not_taken_for_a_closed_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A disk that fails in the middle of a file names no file. It cannot be had here: a fake."""

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("uvshim.commands.check.main", failing)
    monkeypatch.setattr(sys, "argv", ["uvshim", "check", str(tmp_path)])
    try:
        assert cli.main() == 2
    finally:
        gc.enable()
    assert capfd.readouterr().err == "error: Input/output error\n"


def test_the_version_is_that_of_the_package(run: Run, uvshim: Path) -> None:
    assert run(uvshim, "--version").stdout == f"uvshim {__version__}\n"
    assert run(sys.executable, "-m", "uvshim", "--version").stdout == f"uvshim {__version__}\n"


@pytest.mark.parametrize(
    "path",
    [
        lambda venv: venv.path,
        lambda venv: venv.python,
        lambda venv: venv.site_packages,
        lambda venv: os.path.relpath(venv.path, venv.path.parent),
    ],
    ids=["virtual environment", "interpreter", "site-packages", "relative"],
)
def test_an_environment_can_be_named_in_every_way(
    run: Run, uvshim: Path, broken: Venv, path: Callable[[Venv], str | Path]
) -> None:
    assert run(uvshim, "check", path(broken)).returncode == 1
    assert run(uvshim, "fix", path(broken)).returncode == 0
    assert run(uvshim, "check", path(broken)).returncode == 0


def test_every_environment_in_the_root_of_a_file_system_is_found_and_its_links_stay_inside(
    run: Run, uvshim: Path, broken: Venv, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for directory in ("etc", "usr/lib/python3/dist-packages", "usr/bin", "opt"):
        (root / directory).mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    shutil.copytree(broken.path, root / "opt" / "app", symlinks=True)
    (root / "usr" / "local").symlink_to("/opt/app")
    done = run(uvshim, "check", "--format", "json", root)
    found = {each["path"]: each for each in json.loads(done.stdout)["environments"]}
    assert set(found) == {str(root / "opt/app"), str(root / "usr")}
    assert len(found[str(root / "opt/app")]["findings"]) == 2
    assert run(uvshim, "fix", root).returncode == 0
    assert run(uvshim, "check", root).returncode == 0
    assert len(list(root.glob("opt/app/lib/*/site-packages/zope.deferred-1.2.dist-info"))) == 1
    assert broken.dist_infos()[-1] == "zope_deferred-1.2.dist-info"


@pytest.mark.parametrize("word", ["nowhere", "file.txt", "empty"])
def test_what_is_no_environment_is_refused_in_one_line(
    run: Run, uvshim: Path, tmp_path: Path, word: str
) -> None:
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "empty").mkdir()
    for command in ("check", "fix"):
        done = run(uvshim, command, word)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: `{word}` ")
        assert len(done.stderr.splitlines()) == 1


def test_what_pip_has_put_aside_is_no_distribution(run: Run, uvshim: Path, broken: Venv) -> None:
    assert run(uvshim, "fix", broken.path).returncode == 0
    info = broken.site_packages / "zope.deferred-1.2.dist-info"
    shutil.copytree(info, info.with_name("~ope.deferred-1.2.dist-info"))
    assert run(uvshim, "check", broken.path).returncode == 0
    assert run(uvshim, "fix", broken.path).returncode == 0
