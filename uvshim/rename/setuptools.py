"""What each release of setuptools finds: every version threshold of pkg_resources, once.

Each lookup of pkg_resources belongs to one of two groups:

- *requirement lookups*: `require`, `get_distribution`, `load_entry_point`, `Environment.best_match`
  with a working set. They accept any spelling that `WorkingSet.find` does.
- *key lookups*: `working_set.by_key[…]`, `Environment()[…]`, `dist in Requirement`,
  `dist.project_name`. They use only the name in the directory's name.

`iter_entry_points` yields the entry points of every distribution, whatever its directory's name;
loading one is a requirement lookup. So an installed `oslo.cache` is found:

| setuptools   | in `oslo_cache-….dist-info`                    | in `oslo.cache-….dist-info`     |
| ------------ | ---------------------------------------------- | ------------------------------- |
| before 62    | by no lookup as `oslo.cache`                   | by all, as `oslo.cache` only    |
| 62 to 75.8.1 | by no lookup as `oslo.cache`                   | by all; `oslo-cache`: see below |
| 75.8.2 to 81 | by requirement lookups (pypa/setuptools 4856)  | by all; `oslo-cache`: see below |
| 82 and later | has no pkg_resources                           | has no pkg_resources            |

From 62 on (pypa/setuptools 3153) requirement lookups also find the dotted directory as
`oslo-cache`. Distributions such as `standard-pkg-resources` bring pkg_resources back beside
setuptools 82: such a copy is recognized by its source.

A run of `uvpip` with nothing to rename may load this module: it imports nothing more.
"""

from __future__ import annotations

import os

from uvshim.environments.environment import OWNERS

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from uvshim.environments.snapshot import Snapshot
    from uvshim.environments.tree import Tree
    from uvshim.rename.spelling import Spellings

# Releases that changed something.
_FINDS_EVERY_SPELLING = (62,)
_IN_ALPHABETICAL_ORDER = (66,)
_NEEDS_NO_IMPIMPORTER = (66, 1)
_REPLACES_INVALID_VERSIONS = (67, 5, 1)
_PUBLIC_VENDORED = (71,)
_FINDS_NORMALIZED = (75, 8, 2)
_REMOVED = (82,)

# The last Python older than 62. Python 3.12 cannot even import an older pkg_resources.
LAST_PYTHON = (3, 10)

# The first Python without `pkgutil.ImpImporter`.
_WITHOUT_IMPIMPORTER = (3, 12)

# What to install so that requirement lookups find every spelling of a dotted directory, or names in
# normalized directories too, and the first Python for which there is such a release.
EVERY_SPELLING = "setuptools>=62,<82", (3, 7)
NORMALIZED_TOO = "setuptools>=75.8.2,<82", (3, 9)

# Recognize a pkg_resources without a setuptools by its source: code that a release added. Newest
# first; the source of 67.0 to 67.5.0 is that of 66.1.1.
_MARKS = (
    (_FINDS_NORMALIZED, b'.replace(".", "-")'),
    (_PUBLIC_VENDORED, b"'_vendor')) not in sys.path"),
    (_REPLACES_INVALID_VERSIONS, b"_forgiving_parsed_version"),
    (_IN_ALPHABETICAL_ORDER, b"in sorted(entries)"),
    (_FINDS_EVERY_SPELLING, b"normalized_to_canonical_keys"),
)
_OLDER = (61,)

# The limit of one file, in bytes. The longest real pkg_resources has a hundredth of it.
_FILE_LIMIT = 16 * 1024 * 1024

# Where the vendored distributions are, relative to the directory of the package pkg_resources.
_VENDORED = "setuptools/_vendor"


class PkgResources:
    """The pkg_resources of one release of setuptools, or its absence."""

    def __init__(self, release: tuple[int, ...] | None, vendored: str = _VENDORED) -> None:
        """`release` is that of setuptools, as in ``(75, 8, 0)``; None: there is no setuptools.

        `vendored` is the directory of its vendored distributions, relative to site-packages.
        """
        known = release if release is not None and release < _REMOVED else ()
        self.release = known or None
        self.entry: str | None = None
        """The entry of `sys.path` from which it is imported, if that is known."""
        self.exists = bool(known)
        # Requirement lookups find a dotted directory by each spelling, or there are no lookups.
        self.finds_every_spelling = not known or known >= _FINDS_EVERY_SPELLING
        # Requirement lookups do not find a dotted name in a normalized directory.
        self.needs_dots = self.exists and known < _FINDS_NORMALIZED
        # The directory that importing it adds to `sys.path`: the vendored distributions.
        self.vendored = vendored if known >= _PUBLIC_VENDORED else None
        # Versions and specifiers outside PEP 440 are accepted.
        self.accepts_any_version = known < (67,)
        # The newer one of two versions in one directory is active.
        self.sees_newest_first = known < _IN_ALPHABETICAL_ORDER
        # This order knows parts of file names that are not versions; else, all are 0.
        self.sorts_invalid_versions = known < (59, 1, 1)
        # A single invalid version breaks each look beyond the active distributions.
        self.needs_valid_versions = _IN_ALPHABETICAL_ORDER <= known < _REPLACES_INVALID_VERSIONS
        # Its markers read Python 3.10 as Python 3.1.
        self.shortens_python_version = known < (49,)

    def is_imported_by(self, python: str) -> bool:
        """Return False if a Python of the version `python`, as in ``3.12.1``, cannot import it."""
        is_old = self.release is not None and self.release < _NEEDS_NO_IMPIMPORTER
        return not (is_old and _numbers(python) >= _WITHOUT_IMPIMPORTER)

    @classmethod
    def of_version(cls, version: str) -> PkgResources:
        """Return that of a `version` of setuptools; none if it does not begin with a number."""
        return cls(_numbers(version) or None)

    @classmethod
    def of_source(cls, code: bytes) -> PkgResources:
        """Return the pkg_resources whose ``pkg_resources/__init__.py`` has the content `code`."""
        release = next((release for release, mark in _MARKS if mark in code), _OLDER)
        is_backport = b"'pkg_resources', '_vendor'" in code
        return cls(release, "pkg_resources/_vendor" if is_backport else _VENDORED)

    @classmethod
    def at(cls, path: str) -> PkgResources:
        """Return the pkg_resources of the setuptools whose metadata directory is at `path`."""
        return cls.of_version(os.path.basename(path).partition("-")[2])


def imported_from(tree: Tree, path: Iterable[str]) -> tuple[str | None, PkgResources]:
    """Return the version of the first setuptools on `path`, and the pkg_resources that is imported.

    `path` is the `sys.path` of an environment in `tree`. A pkg_resources without a setuptools, as
    in Debian's package python3-pkg-resources, is recognized by its source.
    """
    first = None
    for entry in path:
        version = _setuptools_in(tree, entry)
        first = first or version
        source = f"{entry}/pkg_resources/__init__.py"
        # A slimmed image may have a setuptools without it.
        has_none = tree.is_file(f"{entry}/setuptools/__init__.py") and not tree.is_file(source)
        found = PkgResources.of_version(version) if version and not has_none else None
        if found is not None and found.exists:
            first = version
        elif tree.is_file(source):
            found = PkgResources.of_source(tree.read(source, _FILE_LIMIT) or b"")
        else:
            continue
        found.entry = entry
        return first, found
    return first, PkgResources(None)


def _setuptools_in(tree: Tree, entry: str) -> str | None:
    """Return the version of the setuptools in `entry`, a directory or an egg; None if it has none.

    Of several it is the newest: pip leaves the older ones in a target.
    """
    is_egg = entry.lower().endswith(".egg")
    found = []
    for name in [os.path.basename(entry)] if is_egg else sorted(tree.names(entry)):
        stem, suffix = os.path.splitext(name)
        project, _, version = stem.partition("-")
        if project.lower() == "setuptools" and (is_egg or suffix in {".dist-info", ".egg-info"}):
            found.append(version.partition("-")[0])
    return max(found, key=_numbers, default=None)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that `version` begins with."""
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers += [int(digits[:9])] if digits else []
        if digits != part:
            break
    return tuple(numbers)


def beside(now: Snapshot) -> dict[str, PkgResources]:
    """Return the pkg_resources in each site-packages directory of the snapshot `now` with one."""
    found = {os.path.dirname(path): PkgResources.at(path) for path in now.setuptools}
    return {place: one for place, one in found.items() if one.exists}


def missed_names(
    before: Snapshot,
    imported: Mapping[str, PkgResources],
    chosen: Callable[[], Spellings | None],
) -> Iterator[str]:
    """Yield the project names of directories in `before` that their pkg_resources misses.

    `imported` has that of each site-packages directory. Before setuptools 62, a directory keeps its
    name if the spellings that `chosen` returns require that.
    """
    for path in before.states:
        site_packages, directory = os.path.split(path)
        project = directory.partition("-")[0]
        found = imported.get(site_packages)
        if found is None or not found.needs_dots or "." in project:
            continue
        name = _head(f"{path}/METADATA").partition("\nName:")[2].partition("\n")[0].strip()
        if "." not in name or installer_of(path) in OWNERS:
            continue
        if found.finds_every_spelling or not ((spelled := chosen()) and spelled.require(project)):
            yield name


def installer_of(path: str) -> str:
    """Return what the file INSTALLER in the dist-info directory `path` says; "" without one."""
    return _head(f"{path}/INSTALLER").strip().lower()


def _head(path: str) -> str:
    """Return the beginning of the file `path`, or "". Opening a pipe does not block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:
            return (file.read(1024) or b"").decode("ascii", "replace")
    except OSError:
        return ""
