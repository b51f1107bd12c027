"""Trees for the diagnosis to read, and the real pkg_resources to compare its answers with."""

from __future__ import annotations

import functools
import posixpath
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Files = Mapping[str, str | bytes]

CORPORA = Path(__file__).parent / "corpora"

# A service around pkg_resources: a line in is a search path and names, a line out is what `require`
# raises for each, and the requirement that it says it cannot find.
SERVICE = """
import json, sys, warnings
warnings.simplefilter("ignore")
{prelude}
import pkg_resources

def outcome(entries, name):
    try:
        pkg_resources.WorkingSet(entries).require(name)
    except pkg_resources.VersionConflict:
        return ["VersionConflict", None]
    except pkg_resources.DistributionNotFound as error:
        return ["DistributionNotFound", error.req.name]
    except Exception as error:
        return [type(error).__name__, None]

print(pkg_resources.__file__, flush=True)
for line in sys.stdin:
    entries, names = json.loads(line)
    path = list(sys.path) if entries is None else entries
    print(json.dumps({{name: outcome(path, name) for name in names}}), flush=True)
"""


class RealPkgResources(Service):
    """A pkg_resources in a separate Python, which answers many questions."""

    def __init__(self, python: str | Path = sys.executable, prelude: str = "") -> None:
        command = [str(python), "-I", "-W", "ignore", "-c", SERVICE.format(prelude=prelude)]
        super().__init__(command)
        self.location = Path(self.greeting)

    def outcomes(
        self, entries: Sequence[str | Path] | None, names: Iterable[str]
    ) -> dict[str, tuple[str | None, str | None]]:
        """Return, for each of `names`, what `require` raises, and which name it misses.

        `entries` are the search path; None: the `sys.path` of that Python.
        """
        path = None if entries is None else [str(entry) for entry in entries]
        answers = self.ask([path, list(names)])
        return {name: tuple(outcome or (None, None)) for name, outcome in answers.items()}


# It prefers the environment's packaging to the one it brings along; most have to be compared alone.
ALONE = """
import importlib.util, os
setuptools = os.path.dirname(importlib.util.find_spec("setuptools").origin)
sys.path.insert(0, os.path.join(setuptools, "_vendor"))
"""


@functools.cache
def installed_pkg_resources(prelude: str = ALONE) -> RealPkgResources:
    """Return the pkg_resources of the development environment: that of setuptools 75.8.0."""
    return RealPkgResources(prelude=prelude)


class MemoryTree:
    """A tree in memory: its files are a dictionary."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self.files: dict[str, bytes] = {}
        self.children: dict[str, set[str]] = {"": set()}
        self.asked: list[str] = []
        for path, content in files.items():
            below = _plain(path)
            self.files[below] = content.encode() if isinstance(content, str) else content
            while below:
                above, name = posixpath.split(below)
                self.children.setdefault(above, set()).add(name)
                below = above

    def names(self, directory: str) -> tuple[str, ...]:
        return tuple(self.children.get(_plain(directory), ()))

    def is_directory(self, path: str) -> bool:
        return _plain(path) in self.children

    def is_file(self, path: str) -> bool:
        return _plain(path) in self.files

    def read(self, path: str, limit: int) -> bytes | None:
        self.asked.append(path)
        content = self.files.get(_plain(path))
        return None if content is None else content[:limit]


def _plain(path: str) -> str:
    """Return `path` as a relative one without detours; the root is the empty one."""
    return posixpath.normpath("/" + path).lstrip("/")


class ZipTree:
    """The tree of a zip file, read on demand."""

    def __init__(self, path: Path) -> None:
        self._root = zipfile.Path(path)

    def names(self, directory: str) -> tuple[str, ...]:
        if not self.is_directory(directory):
            return ()
        return tuple(each.name for each in self._at(directory).iterdir())

    def is_directory(self, path: str) -> bool:
        return self._at(path).is_dir()

    def is_file(self, path: str) -> bool:
        return self._at(path).is_file()

    def read(self, path: str, limit: int) -> bytes | None:
        if not self.is_file(path):
            return None
        with self._at(path).open("rb") as file:
            return bytes(file.read(limit))

    def _at(self, path: str) -> zipfile.Path:
        plain = _plain(path)
        return self._root / plain if plain else self._root


def write_zip(files: Files, path: Path) -> Path:
    """Write `files` to a zip at `path` and return that."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write(files: Files, directory: Path) -> Path:
    """Write `files` below `directory` and return that. An empty file name makes a directory."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return directory


def metadata(
    name: str, version: str = "1.0", requires: Iterable[str] = (), extras: Iterable[str] = ()
) -> str:
    """Return a METADATA file."""
    return "".join(
        [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            *(f"Provides-Extra: {extra}\n" for extra in extras),
            *(f"Requires-Dist: {requirement}\n" for requirement in requires),
            "\nName: not.this\nRequires-Dist: nor-this\n",
        ]
    )


def installed(
    stem: str,
    name: str,
    requires: Iterable[str] = (),
    extras: Iterable[str] = (),
    *,
    record: str | None = None,
    code: bool = True,
    entry_points: str = "",
) -> dict[str, str | bytes]:
    """Return the files of a distribution `name` in the dist-info directory ``STEM.dist-info``.

    `record` is the stem that RECORD has instead, `code` whether its one module is there.
    """
    directory = f"{stem}.dist-info"
    version = stem.rpartition("-")[2]
    module = "module_of_" + "".join(c if c.isalnum() else "_" for c in stem) + ".py"
    lists = f"{record or stem}.dist-info"
    files: dict[str, str | bytes] = {
        f"{directory}/METADATA": metadata(
            name, version if version[:1].isdigit() else "1.0", requires, extras
        ),
        f"{directory}/RECORD": f"{lists}/METADATA,,\n{lists}/RECORD,,\n{module},,\n",
    }
    if code:
        files[module] = ""
    if entry_points:
        files[f"{directory}/entry_points.txt"] = entry_points
    return files


def under(directory: str, *parts: Files) -> dict[str, str | bytes]:
    """Return all `parts` as one, below `directory`."""
    return {f"{directory}/{name}": text for part in parts for name, text in part.items()}
