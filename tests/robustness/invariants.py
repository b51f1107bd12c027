"""What must be true of an environment at every instant, asked of the real uv, pip and Python."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.places import Venv, record_faults, tree

if TYPE_CHECKING:
    from collections.abc import Mapping

_FINDS = """
import sys
from importlib import metadata
for name in sys.argv[1:]:
    whole = [each for each in metadata.distributions(name=name) if each.metadata["Name"]]
    assert whole, name + " is not found"
    assert {each.metadata["Name"] for each in whole} == {name}, whole
    assert any(each.files for each in whole), name + " has no RECORD"
"""
_FINDS_FIRST = """
    assert metadata.version(name) == whole[0].version
"""


class Tools(NamedTuple):
    """The commands that judge, and the environment variables they run with."""

    uv: Path
    pip: Path
    """A directory that pip can be imported from."""
    uvpip: Path
    uvshim: Path
    variables: Mapping[str, str]

    def run(self, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            env={**self.variables, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def fix(self, venv: Venv) -> subprocess.CompletedProcess[str]:
        return self.run(self.uvshim, "fix", venv.path)

    def uninstall(self, venv: Venv, names: list[str]) -> subprocess.CompletedProcess[str]:
        return self.run(self.uv, "pip", "uninstall", "--python", venv.python, *names)

    def uninstall_by_pip(self, venv: Venv, names: list[str]) -> subprocess.CompletedProcess[str]:
        command = ("-W", "ignore", "-m", "pip", "uninstall", "--yes", *names)
        return self.run(
            venv.python, *command, PYTHONPATH=str(self.pip), PIP_DISABLE_PIP_VERSION_CHECK="1"
        )


def unpacked_pip(directory: Path) -> Path:
    """Unpack the pip that came with the running Python below `directory`, and return where."""
    code = (
        "import ensurepip, glob, os, sysconfig\n"
        "where = [os.path.join(os.path.dirname(ensurepip.__file__), '_bundled'),\n"
        "         sysconfig.get_config_var('WHEEL_PKG_DIR') or '/usr/share/python-wheels']\n"
        "print([w for d in where for w in glob.glob(os.path.join(d, 'pip-*.whl'))][0])\n"
    )
    base = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    done = subprocess.run([base, "-c", code], capture_output=True, text=True, check=True)
    shutil.unpack_archive(done.stdout.strip(), directory / "pip", "zip")
    return directory / "pip"


def finds(venv: Venv, names: list[str], *, first: bool = True) -> None:
    """Assert that importlib.metadata in the environment finds all of `names`.

    With `first`, they must be what it finds first, too.
    """
    code = _FINDS + _FINDS_FIRST if first else _FINDS
    done = subprocess.run(
        [venv.python, "-I", "-c", code, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def is_right(venv: Venv, directories: list[str]) -> None:
    """Assert that the dist-info directories are those, with RECORDs as they must be."""
    assert venv.dist_infos() == sorted(directories)
    assert list(venv.site_packages.glob("*.uvshim")) == []
    for name in directories:
        faults = record_faults(venv.site_packages / name)
        assert faults == [], faults


def remains(venv: Venv, empty: set[str]) -> list[str]:
    """Return what is in site-packages that was not there when it was `empty`; no caches."""
    return [
        path
        for path in sorted(tree(venv.site_packages))
        if path not in empty and "__pycache__" not in path
    ]


def checksum(directory: Path) -> str:
    """Return a digest of every name, mode, link and byte below `directory`."""
    digest = hashlib.sha256()
    for path, (kind, content) in sorted(tree(directory).items()):
        mode = os.lstat(directory / path).st_mode
        digest.update(repr((path, kind, mode, content)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def clone(source: Path, destination: Path) -> Path:
    """Copy a tree so that what was a hard link to uv's cache is one again, and nothing else is."""

    def copy(one: str, other: str) -> str:
        if os.lstat(one).st_nlink > 1 and not os.path.islink(one):
            os.link(one, other)
        else:
            shutil.copy2(one, other, follow_symlinks=False)
        return other

    shutil.copytree(source, destination, symlinks=True, copy_function=copy)
    return destination
