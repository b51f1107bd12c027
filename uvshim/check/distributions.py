"""The distributions that pkg_resources sees in a tree, by the names of files.

pkg_resources (pypa/setuptools) reads a distribution's name and version from the name of its
directory or file, not from METADATA. It counts dist-info and egg-info directories, egg-info files,
eggs and egg-links. Nothing in the tree is imported or run.
"""

from __future__ import annotations

import functools
import posixpath
import re
from typing import TYPE_CHECKING

from uvshim.check.metadata import (
    METADATA_LIMIT,
    Header,
    NoVersionError,
    RequireError,
    decoded,
    lines,
    read_entry_points,
    read_header,
)
from uvshim.check.versions import safe_version
from uvshim.environments.tree import pay
from uvshim.rename import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uvshim.check.requirements import ByExtra
    from uvshim.check.versions import Precedence
    from uvshim.environments.tree import Tree

# How many steps (see `tree.pay`) it takes to parse an entry point.
_PARSING = 20

# NAME, NAME-VERSION, NAME-VERSION-pyX.Y or NAME-VERSION-pyX.Y-PLATFORM, whatever follows. A name
# ends at the first `-`.
_FILE_NAME = re.compile(r"([^-]+)(?:-([^-]+)(?:-py([^-]+)(?:-(.+))?)?)?", re.IGNORECASE)

_SUFFIXES = (".dist-info", ".egg-info", ".egg", ".egg-link")


class Distribution:
    """A distribution as pkg_resources sees it.

    - `location`: the entry of the search path where it was found;
    - `metadata`: the path of the directory or file with its metadata;
    - `kind`: how that is written: ``.dist-info``, ``.egg-info`` or ``.egg``;
    - `is_direct`: not only `Environment` finds it;
    - `by_extra`: what `Requirements` has read of its requirements.
    """

    def __init__(self, tree: Tree, location: str, stem: str, metadata: str, kind: str) -> None:
        """Describe what has the file name `stem`, without the suffix."""
        self.location = location
        self.metadata = metadata
        self.kind = kind
        self.is_direct = True
        match = _FILE_NAME.match(stem)
        parts = match.groups("") if match else ("Unknown", "", "", "")
        name, self._version_in_name, self.python, self.platform = parts
        self.project_name = names.safe_name(name)
        self.key = self.project_name.lower()
        self.by_extra: ByExtra | None = None
        self.tree = tree

    @property
    def described(self) -> tuple[str, str] | None:
        """Its name and version as METADATA or PKG-INFO has them; None if that says nothing.

        A zipped egg is not looked into.
        """
        return self._header[0].described

    @property
    def header(self) -> Header:
        """The header of a dist-info directory's METADATA. Raise `RequireError`."""
        header, error = self._header
        if error:
            raise RequireError(error)
        return header

    @functools.cached_property
    def _header(self) -> tuple[Header, str]:
        """The header of METADATA or PKG-INFO, and the exception of pkg_resources for METADATA."""
        error = ""
        content = None
        for file in ("/METADATA", "/PKG-INFO", ""):  # the last if it is a file itself
            content = self.tree.read(self.metadata + file, METADATA_LIMIT)
            if content is not None:
                break
            error = "FileNotFoundError"
        content = content or b""
        try:
            decoded(content)
        except RequireError as failure:
            error = str(failure)
        return read_header(content.partition(b"\n\n")[0].partition(b"\r\n\r\n")[0]), error

    def read(self, name: str) -> str | None:
        """Return the text of the metadata file `name`; None if it is missing.

        Raise `RequireError` if pkg_resources could not decode it.
        """
        content = self.tree.read(f"{self.metadata}/{name}", METADATA_LIMIT)
        if content is None and self.kind == ".egg-info" and name == "PKG-INFO":
            content = self.tree.read(self.metadata, METADATA_LIMIT)
            return None if content is None else content.decode("utf-8", "replace")
        return None if content is None else decoded(content)

    @functools.cached_property
    def version(self) -> str:
        """The version, normalized if it can be. Raise `NoVersionError` or `RequireError`."""
        version = self._version_in_name
        if self.kind == ".egg-info" or not version:
            text = self.read("METADATA" if self.kind == ".dist-info" else "PKG-INFO") or ""
            said = (line for line in lines(text) if line.lower().startswith("version:"))
            version = next(said, "").partition(":")[2].strip() or version
        if not version:
            raise NoVersionError("ValueError")
        return safe_version(version)

    def requirement_lines(self) -> Iterator[tuple[str, str]]:
        """Yield every requirement, as a section and a line. Raise `RequireError`.

        In the requires.txt of an egg, a section is an extra, a marker after a colon, or both. If it
        is empty, the line is "". A dist-info directory has no sections.
        """
        if self.kind == ".dist-info":
            yield from (("", line) for line in self.header.requires)
            return
        for name in ("requires.txt", "depends.txt"):
            section = ""
            for line in lines(self.read(name) or ""):
                if not line.startswith("["):
                    yield section, line
                elif line.endswith("]"):
                    section = line[1:-1].strip()
                    yield section, ""
                else:
                    raise RequireError("ValueError")

    @functools.cached_property
    def entry_points(self) -> dict[str, dict[str, str]]:
        """The entry points, by group and name, each with its extras in brackets.

        Raise `RequireError` if pkg_resources cannot read them.
        """
        content = self.tree.read(f"{self.metadata}/entry_points.txt", METADATA_LIMIT) or b""
        pay(self.tree, _PARSING * (content.count(b"\n") + content.count(b"=")))
        return read_entry_points(content)


def find(
    tree: Tree,
    entry: str,
    order: Callable[[str], list[Precedence]] | None = None,
    within: tuple[str, ...] = (),
) -> Iterator[Distribution]:
    """Yield the distributions at `entry` of the search path, in the order of pkg_resources.

    `WorkingSet` finds those that are direct; `Environment` also finds eggs inside of `entry`, and
    the targets of egg-links. `order` is the sort key of file names, the greatest first
    (`by_version`); None: alphabetically. `within` are the entries this one was reached from.
    """
    if entry.lower().endswith(".egg") and (egg := _egg(tree, entry)):
        yield egg
        return
    found = sorted(name for name in tree.names(entry) if name.lower().endswith(_SUFFIXES))
    if order is not None:
        found.sort(key=order, reverse=True)
    for name in found:
        path = f"{entry}/{name}"
        stem, suffix = posixpath.splitext(name)
        kind = suffix.lower()
        nested: Iterator[Distribution | None] = iter(())
        if kind == ".egg":
            nested = iter([_egg(tree, path)])
        elif kind == ".egg-link":
            if entry not in within and (target := _link_target(tree, path)):
                nested = find(tree, target, order, (*within, entry))
        elif _is_metadata(tree, path):
            # `splitext` finds no suffix in a name that is only a suffix.
            yield Distribution(tree, entry, stem if kind else "", path, kind or ".egg")
        for each in filter(None, nested):
            each.is_direct = False
            yield each


def _is_metadata(tree: Tree, path: str) -> bool:
    """Return True if the ``.dist-info`` or ``.egg-info`` at `path` is not an empty directory."""
    if tree.is_file(f"{path}/METADATA") or tree.names(path):  # the first is cheaper
        return True
    return path.lower().endswith(".egg-info") and not tree.is_directory(path)


def _egg(tree: Tree, path: str) -> Distribution | None:
    """Return the distribution of the egg at `path`, or None if it is not an egg.

    A zipped egg is known by name only: its requirements are not read.
    """
    if tree.is_file(f"{path}/EGG-INFO/PKG-INFO") or tree.read(path, 2) == b"PK":
        stem = posixpath.basename(path)[: -len(".egg")]
        return Distribution(tree, path, stem, f"{path}/EGG-INFO", ".egg")
    return None


def _link_target(tree: Tree, path: str) -> str | None:
    """Return the path that the first line of an egg-link leads to."""
    text = (tree.read(path, METADATA_LIMIT) or b"").decode("utf-8", "replace")
    target = next(filter(None, map(str.strip, text.splitlines())), None)
    return target and posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
