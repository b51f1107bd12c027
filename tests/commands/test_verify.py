"""`uvshim check --verify`, which proves that a rename changes only names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.damage import spoil_with_dash, spoil_with_snippet, spoil_without_record
from tests.places import Venv
from tests.robustness.conftest import mounts, overlay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeVenv, Run
    from tests.robustness.disks import Overlay

__all__ = ["mounts", "overlay"]


def verified(run: Run, uvshim: Path, venv: Venv) -> None:
    """Assert that nothing is broken in `venv`, and that every file is as RECORD says."""
    done = run(uvshim, "check", "--verify", venv.path)
    assert done.returncode == 0, done.stdout
    assert "  All files are as RECORD lists them\n" in done.stdout
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


@pytest.mark.parametrize("mode", ["clone", "copy", "hardlink", "symlink"])
def test_after_uvpip_every_file_is_what_record_says(
    run: Run, uvpip: Path, uvshim: Path, venv: Venv, offline: dict[str, Any], mode: str
) -> None:
    done = run(uvpip, "--link-mode", mode, "simple", **offline)
    assert done.returncode == 0, done.stderr
    verified(run, uvshim, venv)


@pytest.mark.parametrize(
    "spoil",
    [Venv.dist_infos, spoil_with_snippet, spoil_with_dash, spoil_without_record],
    ids=["plain uv", "the snippet", "a dash in the name", "RECORD left alone"],
)
def test_after_fix_every_file_is_what_record_says(
    run: Run, uvshim: Path, broken: Venv, spoil: Callable[[Venv], object]
) -> None:
    spoil(broken)
    assert run(uvshim, "fix", broken.path).returncode == 0
    verified(run, uvshim, broken)


def test_after_fix_in_a_layer_every_file_is_what_record_says(
    run: Run, uvshim: Path, broken: Venv, overlay: Callable[[Venv], Overlay]
) -> None:
    here = overlay(broken).fresh()
    assert run(uvshim, "fix", here.path).returncode == 0
    verified(run, uvshim, here)


def test_after_run_every_file_is_what_record_says(
    run: Run, uv: Path, uvshim: Path, venv: Venv, offline: dict[str, Any]
) -> None:
    assert run(uvshim, "run", "--", uv, "pip", "install", "simple", **offline).returncode == 0
    verified(run, uvshim, venv)


def test_changed_removed_and_added_files_are_reported_and_fail_the_check(
    run: Run, uvshim: Path, broken: Venv, make_venv: MakeVenv
) -> None:
    assert run(uvshim, "fix", broken.path).returncode == 0
    place = broken.site_packages
    (place / "simple" / "__init__.py").unlink()
    (place / "simple" / "__init__.py").write_text("version = '4.1'\n")
    (place / "plain_name" / "__init__.py").unlink()
    (place / "zope.deferred-1.2.dist-info" / "extra").write_text("")
    assert run(uvshim, "check", broken.path).returncode == 0

    done = run(uvshim, "check", "--verify", broken.path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith(f"{broken.path}: broken (")
    assert done.stdout.splitlines()[1:5] == [
        "  3 distributions with files that differ from RECORD",
        "    plain_name==3.0: missing plain_name/__init__.py",
        "    simple==4.0: changed simple/__init__.py",
        "    zope.deferred==1.2: not in RECORD zope.deferred-1.2.dist-info/extra",
    ]
    again = "--no-deps --reinstall --no-cache plain_name==3.0 simple==4.0 zope.deferred==1.2\n"
    assert again in done.stdout

    done = run(uvshim, "check", "--verify", "--format", "json", broken.path)
    (environment,) = json.loads(done.stdout)["environments"]
    assert environment["broken"] is True
    assert environment["differences"][1] == {
        "name": "simple",
        "version": "4.0",
        "path": str(place / "simple-4.0.dist-info"),
        "missing": [],
        "changed": ["simple/__init__.py"],
        "unlisted": [],
        "fault": "",
    }
    done = run(uvshim, "check", "--format", "json", broken.path)
    assert json.loads(done.stdout)["environments"][0]["differences"] is None


def test_the_system_s_own_packages_are_not_verified_unless_they_are_named(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    packages = tmp_path / "root/usr/lib/python3/dist-packages"
    (packages / "six-1.16.0.dist-info").mkdir(parents=True)
    (packages / "six-1.16.0.dist-info" / "METADATA").write_text("Name: six\nVersion: 1.16.0\n")
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/usr/lib/python3.11").mkdir()
    done = run(uvshim, "check", "--verify", tmp_path / "root")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(uvshim, "check", "--verify", packages)
    assert done.returncode == 1
    assert "six==1.16.0: it has no RECORD" in done.stdout
