"""Environments with every known kind of damage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run
    from tests.places import Venv


def spoil_with_snippet(venv: Venv) -> None:
    """Rename as the copy-and-paste snippet does: its version is always `info`."""
    for info in venv.site_packages.glob("*.dist-info"):
        lines = (info / "METADATA").read_text().splitlines()
        name = next(line[6:] for line in lines if line.startswith("Name: "))
        if "." in name:
            version = info.name.rsplit("-", 1)[1].removesuffix(".dist-info")
            info.rename(info.parent / f"{name}-{version}.dist-info")


def spoil_with_dash(venv: Venv) -> None:
    """Rename with the version right, but a `-` in the name part, and RECORD left alone."""
    for info in venv.site_packages.glob("xstatic_*.dist-info"):
        info.rename(info.parent / "XStatic-JQuery.TableSorter-2.14.5.3.dist-info")


def spoil_without_record(venv: Venv) -> None:
    """Rename correctly, but do not change RECORD."""
    for old, new in (
        ("xstatic_jquery_tablesorter", "XStatic_JQuery.TableSorter"),
        ("zope_deferred", "zope.deferred"),
    ):
        for info in venv.site_packages.glob(f"{old}-*.dist-info"):
            info.rename(info.parent / info.name.replace(old, new))


def follow_hints(run: Run, uvshim: Path, place: Venv | Path, variables: dict[str, Any]) -> None:
    """Run every command that check prints, as a person would paste it into a shell."""
    path = place if isinstance(place, os.PathLike) else place.path
    lines = run(uvshim, "check", path).stdout.splitlines()
    hints = [line.partition("hint: ")[2] for line in lines if "hint: " in line]
    commands = [hint for hint in hints if hint.startswith("uv")]  # the others are advice
    assert commands
    search = f"{uvshim.parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        done = run("/bin/sh", "-c", command, PATH=search, **variables)
        assert done.returncode in {0, 3}, done.stderr
