"""Which Python an environment has, and which pkg_resources, as far as its files tell."""

from __future__ import annotations

import posixpath
import re
import sys
from typing import TYPE_CHECKING

from uvshim.check.distributions import metadata_in
from uvshim.environments import installation
from uvshim.rename import names
from uvshim.rename.setuptools import PkgResources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvshim.environments.tree import Tree

# What is read at most of a file. The longest real pkg_resources has a hundredth of it.
_FILE_LIMIT = 16 * 1024 * 1024

_PATCH_UNKNOWN = "99"


def pkg_resources_of(tree: Tree, places: Iterable[str]) -> tuple[str | None, PkgResources]:
    """Return the version of the setuptools in `places`, and the pkg_resources that is imported.

    `places` are directories in the order of `sys.path`; the first setuptools counts. If that has no
    pkg_resources, a later one does. A pkg_resources without a setuptools, as in Debian's package
    python3-pkg-resources, is recognized by its source.
    """
    first = None
    for place in places:
        version = _setuptools_in(tree, place)
        first = first or version
        if version and (found := PkgResources.of_version(version)).exists:
            return version, found
        source = f"{place}/pkg_resources/__init__.py"
        if tree.is_file(source):
            return first, PkgResources.of_source(tree.read(source, _FILE_LIMIT) or b"")
    return first, PkgResources(None)


def _setuptools_in(tree: Tree, place: str) -> str | None:
    """Return the version of the setuptools in the directory `place`, or None."""
    for name in sorted(metadata_in(tree, place)):
        project, version = names.split(posixpath.splitext(name)[0])
        if project.lower() == "setuptools":
            return version.partition("-")[0]
    return None


def python_of(tree: Tree, site_packages: Iterable[str]) -> str:
    """Return the version of the Python that `site_packages` belong to, as in ``3.12.1``.

    The first two numbers stand in their paths (``lib/python3.12/``), or beside ``lib/python3``;
    all of them in a pyvenv.cfg, or in Python's own header files. Where the third is not known, it
    is taken to be a late one. Where nothing is known, it is the running Python's.
    """
    for path in site_packages:
        prefix = installation.root_of(path)
        series = installation.series(path) or _series_beside(tree, path)
        config = tree.read(posixpath.join(prefix, "pyvenv.cfg"), _FILE_LIMIT) or b""
        header = tree.read(posixpath.join(prefix, f"include/python{series}/patchlevel.h"), 65536)
        for pattern, content in (
            (rb"(?m)^version(?:_info)?\s*=\s*([0-9]+\.[0-9]+\.[0-9]+)", config),
            (rb'(?m)^#define\s+PY_VERSION\s+"([0-9]+\.[0-9]+\.[0-9]+)', header or b""),
        ):
            match = re.search(pattern, content)
            if match is not None:
                return match[1].decode()
        if series:
            return f"{series}.{_PATCH_UNKNOWN}"
    return ".".join(map(str, sys.version_info[:3]))


def _series_beside(tree: Tree, site_packages: str) -> str | None:
    """Return the newest Python beside ``lib/python3``, which Debian has for all of them."""
    lib, python = posixpath.split(posixpath.dirname(site_packages))
    return installation.newest(tree.names(lib)) if python == "python3" else None


def markers(python: str, places: Iterable[str]) -> dict[str, str]:
    """Return the variables of environment markers that follow from a version of Python.

    PyPy is told by the paths `places`. Those of the platform are left to be the running Python's.
    """
    is_pypy = any("/pypy" in place for place in places)
    return {
        "implementation_name": "pypy" if is_pypy else "cpython",
        "platform_python_implementation": "PyPy" if is_pypy else "CPython",
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "implementation_version": python,
    }
