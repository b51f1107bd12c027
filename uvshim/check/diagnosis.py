"""What is wrong with the names of the distributions in an environment, and what follows from it.

Everything is read through a `Tree`, and nothing of the environment is imported or run. What costs
time is done only where it can matter: a tree in which no directory can have a wrong name, and no
pkg_resources that would stumble over one, is told from its listing alone.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from uvshim.environments import environment
from uvshim.rename import names, plan, record
from uvshim.rename.plan import NORMALIZED_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from uvshim.environments.tree import Tree
    from uvshim.rename.plan import Plan

# What can be wrong with a directory beside what `plan` names: no rename puts that right.
GHOST = "ghost"
DUPLICATE = "duplicate"

# The first release whose pkg_resources finds normalized names (pypa/setuptools issue 4856), and
# the first one without a pkg_resources.
_FINDS_NORMALIZED = (75, 8, 2)
_WITHOUT_PKG_RESOURCES = (82,)

# What is read at most of a file that has no header to stop at. The longest real RECORD has a tenth.
_FILE_LIMIT = 64 * 1024 * 1024

_PATCH_UNKNOWN = "99"


class Finding(NamedTuple):
    """Something wrong with one dist-info directory."""

    kind: str
    """`normalized-name`: pkg_resources looks for a name with dots, and the directory's has none.

    `misnamed`: the name part, or the version part, of its name is neither the one nor the other.
    `stale-record`: its RECORD lists files of its own under another dist-info directory.
    `ghost`: of the files that RECORD lists outside of dist-info directories, none exists.
    `duplicate`: there is another dist-info directory of this distribution beside it.
    """
    name: str
    """The distribution's name, as METADATA has it."""
    version: str
    path: str
    """The path of the directory in the tree."""
    expected: str
    """The name that the directory should have."""


class Unresolvable(NamedTuple):
    """A distribution that `pkg_resources.require` does not find, or not all that it needs."""

    name: str
    """Its name, as METADATA has it."""
    version: str
    missing: tuple[str, ...]
    """The names that cannot be found, as the requirements have them."""
    absent: tuple[str, ...]
    """Those of `missing` that are not installed under any spelling: no wrong name is the cause."""
    excluded: tuple[str, ...] = ()
    """Those of `missing` that are to be left alone: their wrong names are meant."""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Those of `missing` that are installed, and not found because of a wrong name."""
        others = {*self.absent, *self.excluded}
        return tuple(name for name in self.missing if name not in others)


class Failure(NamedTuple):
    """A distribution for which `pkg_resources.require` ends in another exception."""

    name: str
    version: str
    error: str
    """The exception's name: `VersionConflict`, `InvalidVersion`, `UnknownExtra`, …"""
    reason: str = ""
    """What led to it, as a clause; empty where the exception's name has to do."""


class EntryPoint(NamedTuple):
    """An entry point of an unresolvable distribution: a plugin that may be dropped in silence."""

    group: str
    name: str
    distribution: str


class Unreadable(NamedTuple):
    """A dist-info directory of which nothing can be said, and why: a clause after "because"."""

    path: str
    reason: str


class Diagnosis(NamedTuple):
    """All that was found out about one environment."""

    site_packages: tuple[str, ...]
    distributions: int
    """How many there are in `site_packages`."""
    setuptools: str | None
    """The version of setuptools in the environment."""
    affected: bool
    """Its pkg_resources does not find a distribution with dots under its normalized name."""
    findings: tuple[Finding, ...]
    unresolvable: tuple[Unresolvable, ...]
    """All for which `require` ends in DistributionNotFound; none without a pkg_resources."""
    entry_points: tuple[EntryPoint, ...]
    failures: tuple[Failure, ...]
    unreadable: tuple[Unreadable, ...]
    excluded: tuple[Finding, ...] = ()
    """What would be among `findings` if the names of its distributions were not excluded."""

    @property
    def wrong(self) -> list[Finding]:
        """The findings that break something here."""
        return [one for one in self.findings if self.matters(one)]

    def matters(self, finding: Finding) -> bool:
        """Say whether `finding` breaks something here.

        A normalized name breaks nothing where no pkg_resources fails to find it.
        """
        return self.affected or finding.kind != NORMALIZED_NAME

    @property
    def harmless(self) -> int:
        """How many normalized names there are that break nothing."""
        return len(self.findings) - len(self.wrong)

    @property
    def hidden(self) -> list[Unresolvable]:
        """What `require` fails for because of a wrong name: its own, or that of one it needs."""
        return [one for one in self.unresolvable if one.hidden]

    @property
    def refused(self) -> list[Unresolvable | Failure]:
        """What `require` fails for, and would fail for if every name were right."""
        incomplete = [one for one in self.unresolvable if one.absent and not one.hidden]
        return [*incomplete, *self.failures]

    @property
    def broken(self) -> bool:
        """Whether a name, a directory or a RECORD is wrong in a way that matters."""
        return bool(self.wrong or self.hidden or self.unreadable)


def diagnose(
    tree: Tree,
    site_packages: Sequence[str] | None = None,
    *,
    python: str | None = None,
    excluded: Callable[[str], bool] = lambda _: False,
) -> Diagnosis:
    """Examine the environment in `tree` that has the directories `site_packages`.

    `site_packages` are paths in the tree, in the order of the environment's `sys.path`; without
    them those in the usual places of a virtual environment, a prefix or the tree itself are taken.
    `python` is the version of its Python, as in ``3.12.1``; without one it is read from the tree
    (`python_of` says how). What is wrong with a directory whose project name is `excluded` is told
    apart.

    Raises nothing for what is in the tree, whatever that is.
    """
    diagnosis = diagnose_directories(tree, site_packages, excluded=excluded)
    release = _release(tree, diagnosis)
    if release is None:
        return diagnosis
    markers = _markers(python or python_of(tree, diagnosis.site_packages), diagnosis.site_packages)
    return _with_consequences(tree, diagnosis, release, markers, excluded)


def diagnose_directories(
    tree: Tree,
    site_packages: Sequence[str] | None = None,
    *,
    excluded: Callable[[str], bool] = lambda _: False,
) -> Diagnosis:
    """Examine the dist-info directories as `diagnose` does, and them alone.

    What pkg_resources makes of them, which takes most of the time, is not looked at: nothing is
    `unresolvable` then, and there are no `failures`.
    """
    places = tuple(site_packages_in(tree) if site_packages is None else site_packages)
    unreadable: list[Unreadable] = []
    findings: list[Finding] = []
    left_out: list[Finding] = []
    for place in places:
        for one in _directories(tree, place):
            if one.plan is None:
                if one.fault:
                    unreadable.append(Unreadable(one.path, one.fault))
            else:
                told = left_out if excluded(one.plan.name) else findings
                told += _findings(tree, one, one.plan)
    diagnosis = Diagnosis(
        site_packages=places,
        distributions=sum(1 for place in places for _ in _installed(tree, place)) - len(unreadable),
        setuptools=_setuptools(tree, places),
        affected=False,
        findings=tuple(sorted(findings, key=lambda one: one.path)),
        unresolvable=(),
        entry_points=(),
        failures=(),
        unreadable=tuple(unreadable),
        excluded=tuple(sorted(left_out, key=lambda one: one.path)),
    )
    release = _release(tree, diagnosis)
    return diagnosis._replace(affected=release is not None and release < _FINDS_NORMALIZED)


# --- one directory --------------------------------------------------------------------------------


class _Directory(NamedTuple):
    """One dist-info directory."""

    path: str
    plan: Plan | None
    """What would be done with it; None, where nothing can be known of it."""
    fault: str
    """Why that is so, where it matters."""
    has_twin: bool
    """There is another directory of the same distribution beside it."""


def _directories(tree: Tree, place: str) -> list[_Directory]:
    """Return the dist-info directories in `place`, without what pip has put aside (``~``)."""
    listed = sorted(name for name in tree.names(place) if name.endswith(names.SUFFIX))
    directories = []
    projects: Counter[str] = Counter()
    for own in listed:
        if own[0] == "~":
            continue
        one, fault = None, ""
        try:
            one = plan.make(tree, f"{place}/{own}")
        except names.MetadataError as error:
            fault = str(error)
        project = names.normalized(one.name if one else names.split(own)[0])
        if one or plan.is_beyond_doubt(own):
            projects[project] += 1
        directories.append((own, one, fault, project))
    return [
        _Directory(
            f"{place}/{own}",
            one,
            "" if plan.is_beyond_doubt(own) and projects[project] == 1 else fault,
            has_twin=projects[project] > 1,
        )
        for own, one, fault, project in directories
    ]


def _findings(tree: Tree, directory: _Directory, wanted: Plan) -> Iterator[Finding]:
    """Yield what is wrong with `directory`, by the plan `wanted` for it and what is beside it.

    Of two directories of one distribution only one can keep its name: nothing is said of it.
    """
    kinds = [DUPLICATE] if directory.has_twin else [*wanted.wrong]
    if (kinds or "." in wanted.name) and _is_ghost(tree, wanted):
        kinds.append(GHOST)
    for kind in kinds:
        yield Finding(kind, wanted.name, wanted.version, wanted.path, wanted.directory)


def _is_ghost(tree: Tree, wanted: Plan) -> bool:
    """Say whether RECORD lists code and all of it is gone."""
    place = posixpath.dirname(wanted.path)
    lists_code = False
    for path in wanted.listed.paths():
        if not record.top(path).endswith(names.SUFFIX):
            lists_code = True
            if tree.is_file(posixpath.normpath(posixpath.join(place, path.replace("\\", "/")))):
                return False
    return lists_code


def _installed(tree: Tree, place: str) -> Iterator[str]:
    return (name for name in tree.names(place) if name.endswith((names.SUFFIX, ".egg-info")))


# --- the environment ------------------------------------------------------------------------------


def site_packages_in(tree: Tree) -> list[str]:
    """Return the site-packages directories in the usual places of `tree`, or its root itself."""
    usual = environment.usual_site_packages("", tree.names)
    # A tree does not say which of two paths is a link. Two that list the same are one.
    return environment.existing(
        usual, tree.is_directory, lambda path: frozenset(tree.names(path))
    ) or ["."]


def _setuptools(tree: Tree, places: Iterable[str]) -> str | None:
    """Return the version of the setuptools in `places`, or None."""
    for place in places:
        for name in sorted(_installed(tree, place)):
            project, version = names.split(posixpath.splitext(name)[0])
            if project.lower() == "setuptools":
                return version.partition("-")[0]
    return None


def _release(tree: Tree, diagnosis: Diagnosis) -> tuple[int, ...] | None:
    """Return the release of setuptools that the environment's pkg_resources is of.

    None: it has got none. A pkg_resources without a setuptools, as Debian's package
    python3-pkg-resources, is asked itself whether it tries the name with dashes.
    """
    if diagnosis.setuptools is not None:
        match = re.match(r"[0-9]{1,9}(\.[0-9]{1,9})*", diagnosis.setuptools)
        release = tuple(map(int, match[0].split("."))) if match else _WITHOUT_PKG_RESOURCES
        return release if release < _WITHOUT_PKG_RESOURCES else None
    for place in diagnosis.site_packages:
        source = tree.read(f"{place}/pkg_resources/__init__.py", _FILE_LIMIT)
        if source is not None:
            fixed = b'.replace(".", "-")' in source
            return _FINDS_NORMALIZED if fixed else (*_FINDS_NORMALIZED[:2], 1)
    return None


def python_of(tree: Tree, site_packages: Iterable[str]) -> str:
    """Return the version of the Python that `site_packages` belong to, as in ``3.12.1``.

    The first two numbers stand in their paths (``lib/python3.12/``), or beside ``lib/python3``;
    all of them in a pyvenv.cfg, or in Python's own header files. Where the third is not known, it
    is taken to be a late one. Where nothing is known, it is the running Python's.
    """
    for path in site_packages:
        prefix, series = _series(tree, path)
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


def _series(tree: Tree, site_packages: str) -> tuple[str, str]:
    """Return the prefix of the directory `site_packages`, and the Python's first two numbers."""
    match = re.fullmatch(
        r"(?:(.*)/)?lib(?:64)?/(?:python|pypy)([0-9.]+)t?/(?:site|dist)-packages/*", site_packages
    )
    if match is None:
        return site_packages.removesuffix("/").removesuffix("Lib/site-packages"), ""
    prefix, series = match[1] or ("/" if site_packages.startswith("/") else ""), match[2]
    if series == "3":
        beside = tree.names(posixpath.join(prefix, "lib"))
        minors = [int(m[1]) for name in beside if (m := re.fullmatch("python3.([0-9]{1,3})", name))]
        series = f"3.{max(minors)}" if minors else ""
    return prefix, series


def _markers(python: str, places: Iterable[str]) -> dict[str, str]:
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


# --- the consequences -----------------------------------------------------------------------------


def _with_consequences(
    tree: Tree,
    diagnosis: Diagnosis,
    release: tuple[int, ...],
    markers: Mapping[str, str],
    excluded: Callable[[str], bool],
) -> Diagnosis:
    """Return `diagnosis` with what `require` says of every distribution."""
    from uvshim.check.distributions import search_path
    from uvshim.check.working_set import NOT_FOUND, Dialect, WorkingSet

    dialect = Dialect.of(release)
    path = search_path(tree, diagnosis.site_packages)
    if dialect.vendored_path:
        path += [f"{place}/setuptools/_vendor" for place in diagnosis.site_packages]
    named = _by_project_name(tree, path)
    working_set = WorkingSet(tree, path, dialect, markers)
    installed = {names.normalized(name) for name in named}
    unresolvable, failures = [], []
    for name, (version, _) in named.items():
        error, missing, reason = working_set.require(name)
        if error == NOT_FOUND:
            absent = tuple(one for one in missing if names.normalized(one) not in installed)
            meant = tuple(one for one in missing if one not in absent and excluded(one))
            unresolvable.append(Unresolvable(name, version, missing, absent, meant))
        elif error is not None:
            failures.append(Failure(name, version, error, reason))
    return diagnosis._replace(
        unresolvable=tuple(unresolvable),
        entry_points=tuple(
            EntryPoint(group, entry, one.name)
            for one in unresolvable
            for group, entry in _entry_points(tree, named[one.name][1])
        ),
        failures=tuple(failures),
    )


def _by_project_name(tree: Tree, path: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the distributions on `path` by name as METADATA has it: version, and directory."""
    named: dict[str, tuple[str, str]] = {}
    for entry in path:
        for own in sorted(_installed(tree, entry)):
            directory = f"{entry}/{own}"
            for file in ("/METADATA", "/PKG-INFO", ""):
                metadata = tree.read(directory + file, names.HEADER_LIMIT)
                if metadata is not None:
                    break
            try:
                identity = names.parse_metadata(metadata or b"")
            except names.MetadataError:
                continue
            named.setdefault(identity.name, (identity.version, directory))
    return named


def _entry_points(tree: Tree, directory: str) -> Iterator[tuple[str, str]]:
    """Yield the group and the name of each entry point in the metadata `directory`.

    The format is that of the "Entry points" specification: sections and ``name = object``.
    """
    content = tree.read(f"{directory}/entry_points.txt", _FILE_LIMIT) or b""
    group = ""
    for line in map(str.strip, content.decode("utf-8", "replace").splitlines()):
        name, equals, _ = line.partition("=")
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif equals and group and not line.startswith(("#", ";")):
            yield group, name.strip()
