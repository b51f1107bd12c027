"""What each release of setuptools finds: every version threshold of pkg_resources, once.

| setuptools   | finds `oslo_cache-….dist-info` as `oslo.cache` | finds each spelling |
| ------------ | ---------------------------------------------- | ------------------- |
| before 62    | no                                             | no                  |
| 62 to 75.8.1 | no                                             | yes                 |
| 75.8.2 to 81 | by `require()` only (pypa/setuptools 4856)     | yes                 |
| 82 and later | has no pkg_resources                           |                     |

A run of `uvpip` with nothing to rename may load this module: it imports only `os`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from uvshim.environments.snapshot import Snapshot
    from uvshim.environments.tree import Tree

_FINDS_EVERY_SPELLING = (62,)
_FINDS_NORMALIZED = (75, 8, 2)
_REMOVED = (82,)

# The last Python that is older than that. Python 3.12 cannot even import an older pkg_resources.
LAST_PYTHON = (3, 10)

# Tells the release of a pkg_resources without a setuptools by its source: code that each release
# added. Newest first.
_MARKS = (
    (_FINDS_NORMALIZED, b'.replace(".", "-")'),
    (_FINDS_EVERY_SPELLING, b"normalized_to_canonical_keys"),
)
_OLDER = (61,)

# What is read at most of a file, in bytes. The longest real pkg_resources has a hundredth of it.
_FILE_LIMIT = 16 * 1024 * 1024


class PkgResources:
    """The pkg_resources of one release of setuptools, or the absence of one."""

    def __init__(self, release: tuple[int, ...] | None) -> None:
        """Take the `release` of setuptools, as in ``(75, 8, 0)``; None: there is no setuptools."""
        self.release = release if release is not None and release < _REMOVED else None

    @classmethod
    def of_version(cls, version: str) -> PkgResources:
        """Return the pkg_resources of a `version` of setuptools, as a dist-info name has it.

        A version that does not begin with a number is treated as one without a pkg_resources.
        """
        numbers = []
        for part in version.split("."):
            if not (part.isascii() and part.isdigit()):
                digits = part[: len(part) - len(part.lstrip("0123456789"))]
                numbers += [int(digits)] if digits else []
                break
            numbers.append(int(part[:9]))
        return cls(tuple(numbers) or None)

    @classmethod
    def of_source(cls, code: bytes) -> PkgResources:
        """Return the pkg_resources whose ``pkg_resources/__init__.py`` has the content `code`."""
        return cls(next((release for release, mark in _MARKS if mark in code), _OLDER))

    @property
    def exists(self) -> bool:
        """Whether this setuptools has a pkg_resources."""
        return self.release is not None

    @property
    def finds_every_spelling(self) -> bool:
        """Whether a dotted directory is found by each spelling of its name.

        True where there is no pkg_resources: nothing can be missed.
        """
        return self.release is None or self.release >= _FINDS_EVERY_SPELLING

    @property
    def needs_dots(self) -> bool:
        """Whether `require()` does not find a dotted name in a normalized directory."""
        return self.release is not None and self.release < _FINDS_NORMALIZED

    @classmethod
    def at(cls, path: str) -> PkgResources:
        """Return the pkg_resources of the setuptools whose metadata directory is at `path`."""
        name = os.path.basename(path).removesuffix(".dist-info")
        return cls.of_version(name.partition("-")[2])


def imported_from(tree: Tree, path: Iterable[str]) -> tuple[str | None, PkgResources]:
    """Return the version of the setuptools on `path`, and the pkg_resources that is imported.

    `path` is the `sys.path` of an environment in `tree`; the first setuptools counts. If that has
    no pkg_resources, a later one does. A pkg_resources without a setuptools, as in Debian's package
    python3-pkg-resources, is recognized by its source.
    """
    first = None
    for entry in path:
        version = _setuptools_in(tree, entry)
        first = first or version
        if version and (found := PkgResources.of_version(version)).exists:
            return version, found
        source = f"{entry}/pkg_resources/__init__.py"
        if tree.is_file(source):
            return first, PkgResources.of_source(tree.read(source, _FILE_LIMIT) or b"")
    return first, PkgResources(None)


def _setuptools_in(tree: Tree, entry: str) -> str | None:
    """Return the version of the setuptools in `entry`, a directory or an egg; None if it has none.

    It is in the name of the metadata directory, as in ``setuptools-59.6.0-py3.10.egg``.
    """
    is_egg = entry.lower().endswith(".egg")
    for name in [os.path.basename(entry)] if is_egg else sorted(tree.names(entry)):
        stem, suffix = os.path.splitext(name)
        project, _, version = stem.partition("-")
        if project.lower() == "setuptools" and (is_egg or suffix in {".dist-info", ".egg-info"}):
            return version.partition("-")[0]
    return None


def missed_names(before: Snapshot, now: Snapshot) -> Iterator[str]:
    """Yield the project names of directories in `before` that the setuptools in `now` misses.

    Only a setuptools in the same site-packages directory counts, and only one from 62 on: before,
    it also depends on the installed requirements. METADATA is read only beside such a setuptools.
    """
    beside = {
        os.path.dirname(path)
        for path in now.setuptools
        if (found := PkgResources.at(path)).needs_dots and found.finds_every_spelling
    }
    for path in before.states:
        site_packages, directory = os.path.split(path)
        if site_packages not in beside or "." in directory.partition("-")[0]:
            continue
        if "." in (name := _name_in(path)):
            yield name


def _name_in(path: str) -> str:
    """Return the name in the METADATA of the directory `path`, or "" if there is none.

    The field Name is near the beginning. (Opening a pipe must not block.)
    """
    try:
        file = os.open(os.path.join(path, "METADATA"), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        head = os.read(file, 1024)
    except OSError:
        return ""
    finally:
        os.close(file)
    return head.partition(b"\nName:")[2].partition(b"\n")[0].strip().decode("ascii", "replace")
