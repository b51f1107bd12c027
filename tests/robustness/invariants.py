"""What must be true of an environment at every moment, tested with the real uv, pip and Python."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from tests.places import Venv, record_faults, tree
from tests.robustness.ready import Ready

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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


_UVSHIM = """
from uvshim.cli import main
sys.exit(main())
"""
_PIP = """
from pip._internal.cli.main import main
sys.exit(main())
"""
# All that pip loads for an uninstall. What it would tell an index of this machine takes longer than
# all the rest, and is never sent.
_LOAD_PIP = """
import argparse
import pip._internal.cli.main, pip._internal.commands.uninstall
import pip._internal.metadata.importlib, pip._internal.metadata.pkg_resources
import pip._internal.network.session
pip._internal.network.session.user_agent = lambda: "pip"
"""


class Tools(NamedTuple):
    """The commands that test an environment, and their variables."""

    uv: Path
    pip: Path
    """A directory that pip can be imported from."""
    uvpip: Path
    uvshim: Path
    variables: Mapping[str, str]
    uvshim_ready: Ready
    """A Python that has loaded all of uvshim."""
    ready: dict[tuple[str, Path], Ready]
    """The environments' own Pythons that are ready, by what for."""

    def run(self, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            env={**self.variables, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def run_uvshim(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `uvshim` in the Python that has loaded it."""
        return self.uvshim_ready.run(_UVSHIM, words, self.variables)

    def stopped_uvshim(self, *words: str | Path, directory: Path) -> int:
        """Begin that in the working directory `directory`, stopped; return its process number."""
        return self.uvshim_ready.stopped(_UVSHIM, words, self.variables, directory)

    def check(self, venv: Venv, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run_uvshim("check", *options, venv.path)

    def fix(self, venv: Venv) -> subprocess.CompletedProcess[str]:
        return self.run_uvshim("fix", venv.path)

    def uninstall(self, venv: Venv, names: list[str]) -> subprocess.CompletedProcess[str]:
        return self.run(self.uv, "pip", "uninstall", "--python", venv.python, *names)

    def uninstall_by_pip(self, venv: Venv, names: list[str]) -> subprocess.CompletedProcess[str]:
        more = {"PYTHONPATH": str(self.pip), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        variables = {**self.variables, **more}
        if ("pip", venv.path) not in self.ready:
            self.ready["pip", venv.path] = Ready(
                venv.python, "-W", "ignore", load=_LOAD_PIP, variables=variables
            )
        return self.ready["pip", venv.path].run(_PIP, ["uninstall", "--yes", *names], variables)

    def finds(self, venv: Venv, names: list[str], *, first: bool = True) -> None:
        """Assert that importlib.metadata in the environment finds all of `names`.

        With `first`, they must be what it finds first, too.
        """
        if ("metadata", venv.path) not in self.ready:
            self.ready["metadata", venv.path] = Ready(
                venv.python, "-I", load="from importlib import metadata", variables=self.variables
            )
        code = _FINDS + _FINDS_FIRST if first else _FINDS
        done = self.ready["metadata", venv.path].run(code, names, self.variables)
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
    """Copy a tree, and keep its hard links to uv's cache."""

    def copy(one: str, other: str) -> str:
        if os.lstat(one).st_nlink > 1 and not os.path.islink(one):
            os.link(one, other)
        else:
            shutil.copy2(one, other, follow_symlinks=False)
        return other

    shutil.copytree(source, destination, symlinks=True, copy_function=copy)
    return destination
