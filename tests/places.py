"""A test's virtual environment, and questions to it from outside."""

from __future__ import annotations

import base64
import csv
import fnmatch
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Venv(NamedTuple):
    """A virtual environment at `path`."""

    path: Path

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        (found,) = (self.path / "lib").glob("*/site-packages")
        return found

    def dist_infos(self) -> list[str]:
        """Return the names of the dist-info directories, sorted."""
        return dist_infos(self.site_packages)

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run Python `code` in the environment, isolated from everything around it."""
        return subprocess.run(
            [self.python, "-I", "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=False,
        )

    def requires(self, name: str) -> bool:
        """Return True if the environment's own pkg_resources finds `name` and all it needs."""
        done = self.run(
            "import sys, pkg_resources\n"
            f"try: pkg_resources.require({name!r})\n"
            "except pkg_resources.DistributionNotFound: sys.exit(9)\n"
        )
        assert done.returncode in {0, 9}, done.stderr
        return done.returncode == 0


def copy_installation(root: Path, python: Path | None = None) -> Path:
    """Make `root` an installation of the Python that runs the tests, with no packages in it.

    The interpreter is a copy, so that `root` is its prefix; the standard library is that of
    the original, which may also be that of another interpreter, `python`.
    """
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    original = Path(sys.base_prefix)
    if python is not None:
        name, original = python.name, python.resolve().parent.parent
    library = root / "lib" / name
    (library / "site-packages").mkdir(parents=True)
    with os.scandir(original / "lib" / name) as found:
        for each in found:
            if each.name not in {"site-packages", "EXTERNALLY-MANAGED"}:
                os.symlink(each.path, library / each.name)
    (root / "bin").mkdir()
    # No hard link: that changes the original, and uv would examine every environment made with it again.
    shutil.copy(original / "bin" / name, root / "bin" / name)
    for alias in ("python", "python3"):
        (root / "bin" / alias).symlink_to(name)
    return root


def bundled_pip() -> Path:
    """Return the wheel of the pip that came with the Python that runs the tests."""
    code = (
        "import ensurepip, glob, os, sysconfig\n"
        "where = [os.path.join(os.path.dirname(ensurepip.__file__), '_bundled'),\n"
        "         sysconfig.get_config_var('WHEEL_PKG_DIR') or '/usr/share/python-wheels']\n"
        "print([w for d in where for w in glob.glob(os.path.join(d, 'pip-*.whl'))][0])\n"
    )
    base = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    done = subprocess.run([base, "-c", code], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def dist_infos(site_packages: Path) -> list[str]:
    """Return the names of the dist-info directories in `site_packages`, sorted."""
    return sorted(each.name for each in site_packages.glob("*.dist-info"))


def tree(directory: Path) -> dict[str, tuple[str, bytes]]:
    """Return every file below `directory`: by its path, its kind and its content."""
    found: dict[str, tuple[str, bytes]] = {}
    for parent, directories, names in os.walk(directory):
        for name in directories:
            path = Path(parent, name)
            kind = "link" if path.is_symlink() else "directory"
            found[str(path.relative_to(directory))] = (kind, b"")
        for name in names:
            path = Path(parent, name)
            if path.is_symlink():
                found[str(path.relative_to(directory))] = ("link", os.readlink(path).encode())
            else:
                found[str(path.relative_to(directory))] = ("file", path.read_bytes())
    return found


def record_faults(dist_info: Path) -> list[str]:
    """Return the faults of the RECORD of `dist_info`.

    Every file it lists exists with the hash and size it says, once; every file in the dist-info
    directory is listed.
    """
    faults = []
    site_packages = dist_info.parent
    text = (dist_info / "RECORD").read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines()))
    paths = [row[0] for row in rows]
    if len(set(paths)) != len(paths):
        faults.append("a path twice")
    for path, digest, size in rows:
        file = site_packages / path
        if not file.is_file():
            faults.append(f"{path} does not exist")
        elif digest:
            data = file.read_bytes()
            name, _, value = digest.partition("=")
            hashed = base64.urlsafe_b64encode(hashlib.new(name, data).digest()).decode()
            if hashed.rstrip("=") != value or len(data) != int(size):
                faults.append(f"{path} has another content")
    return faults + [
        f"{file.name} is not listed"
        for file in sorted(dist_info.rglob("*"))
        if file.is_file() and str(file.relative_to(site_packages)) not in paths
    ]


def found_below(root: Path, *patterns: str) -> list[str]:
    """Return every path below `root`, relative to it, whose name fits a pattern, whatever its case.

    They are sorted by name; links are not followed.
    """
    found = [
        os.path.relpath(os.path.join(parent, name), root)
        for parent, directories, names in os.walk(root)
        for name in [*directories, *names]
        if any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)
    ]
    return sorted(found, key=os.path.basename)
