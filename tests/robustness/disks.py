"""Places for a test's environment: the disk, a layer of an overlay, a small tmpfs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

from tests.places import Venv
from tests.robustness.invariants import clone


class Place(Protocol):
    """A place for copies of a prepared environment."""

    def fresh(self) -> Venv:
        """Return a new copy of the prepared environment."""

    def copy(self) -> Venv:
        """Return a copy of the environment as it is now, and forget the copy before."""


class Plain:
    """An ordinary file system."""

    def __init__(self, prepared: Path, directory: Path) -> None:
        self._prepared = prepared
        self._here = directory / "here"
        self._copy = directory / "copy"

    def fresh(self) -> Venv:
        shutil.rmtree(self._here, ignore_errors=True)
        return Venv(clone(self._prepared, self._here))

    def copy(self) -> Venv:
        shutil.rmtree(self._copy, ignore_errors=True)
        return Venv(clone(self._here, self._copy))


class Overlay:
    """An overlay file system in memory, with the prepared environment in its lower layer."""

    def __init__(self, prepared: Path, directory: Path) -> None:
        self._memory = directory / "memory"
        mount("tmpfs", self._memory, "size=200m")
        self._lower = self._memory / "lower"
        subprocess.run(["cp", "-a", prepared, self._lower], check=True)
        for inside in filter(Path.is_dir, list(self._lower.rglob("*.dist-info/*"))):
            # The newest name is the first that a tmpfs lists: the order that is hardest to get
            # right, as pip leaves a directory in which it has removed nothing but directories.
            inside.rename(inside.with_name("renamed")).rename(inside)

    def fresh(self) -> Venv:
        return Venv(self._mounted("here", None))

    def copy(self) -> Venv:
        return Venv(self._mounted("copy", self._memory / "here-upper"))

    def close(self) -> None:
        for name in ("here", "copy"):
            unmount(self._memory / name)
        unmount(self._memory)

    def _mounted(self, name: str, upper: Path | None) -> Path:
        parts = [self._memory / (name + part) for part in ("", "-upper", "-work")]
        unmount(parts[0])
        for part in parts:
            shutil.rmtree(part, ignore_errors=True)
        if upper is not None:
            subprocess.run(["cp", "-a", upper, parts[1]], check=True)
        for part in parts:
            part.mkdir(exist_ok=True)
        options = f"lowerdir={self._lower},upperdir={parts[1]},workdir={parts[2]}"
        mount("overlay", parts[0], options)
        return parts[0]


def mount(kind: str, where: Path, options: str) -> None:
    """Mount a file system of that kind, whose directory is made if need be."""
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", kind, kind, "-o", options, where], check=True)


def unmount(where: Path) -> None:
    """Unmount what is mounted there, if anything is."""
    if os.path.ismount(where):
        subprocess.run(["umount", "--lazy", where], check=True)
