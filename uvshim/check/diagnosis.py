"""What is wrong with the names of the distributions in an environment, and what follows from it.

Everything is read through a `Tree`, and nothing of the environment is imported or run. What costs
time is done only where it can matter: a tree in which no directory can have a wrong name, and no
pkg_resources that would stumble over one, is told from its listing alone.
"""

from __future__ import annotations

import functools
import posixpath
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check import spelling
from uvshim.check.distributions import NOT_FOUND, by_project_name, metadata_in
from uvshim.environments import environment, interpreter
from uvshim.environments.search_path import search_path
from uvshim.rename import names, plan, record, setuptools
from uvshim.rename.plan import NORMALIZED_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from uvshim.check.distributions import Installed
    from uvshim.check.spelling import Spelling
    from uvshim.check.working_set import WorkingSet
    from uvshim.environments.tree import Tree
    from uvshim.rename.plan import Plan

# What can be wrong with a directory beside what `plan` names: no rename puts that right.
GHOST = "ghost"
DUPLICATE = "duplicate"

# What is read at most of a file that has no header to stop at. The longest real RECORD has a tenth.
_FILE_LIMIT = 64 * 1024 * 1024


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
    spellings: tuple[Spelling, ...] = ()
    """Names that are needed under a spelling by which they are not found: before setuptools 62."""

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
    (`interpreter.version_of` says how). What is wrong with a directory whose project name is
    `excluded` is told apart.

    Raises nothing for what is in the tree, whatever that is.
    """
    places = tuple(site_packages_in(tree) if site_packages is None else site_packages)
    model = _Model(tree, places, python)
    return model.consequences(_diagnosis(tree, places, model, excluded), excluded)


def diagnose_directories(
    tree: Tree,
    site_packages: Sequence[str] | None = None,
    *,
    excluded: Callable[[str], bool] = lambda _: False,
    known: Mapping[str, Plan] | None = None,
) -> Diagnosis:
    """Examine the dist-info directories as `diagnose` does, and them alone.

    What pkg_resources makes of them, which takes most of the time, is not looked at: nothing is
    `unresolvable` then, and there are no `failures`. Directories whose plan is `known` by their
    path are not read again, unless names depend on how others spell them.
    """
    places = tuple(site_packages_in(tree) if site_packages is None else site_packages)
    return _diagnosis(tree, places, _Model(tree, places, None), excluded, known)


def _diagnosis(
    tree: Tree,
    places: tuple[str, ...],
    model: _Model,
    excluded: Callable[[str], bool],
    known: Mapping[str, Plan] | None = None,
) -> Diagnosis:
    """Return what the directories themselves tell."""
    unreadable: list[Unreadable] = []
    findings: list[Finding] = []
    left_out: list[Finding] = []
    renames: dict[str, str] = {}
    in_use = model.keys_in_use
    for place in places:
        for one in _directories(tree, place, in_use, {} if in_use else known or {}):
            if one.plan is None:
                if one.fault:
                    unreadable.append(Unreadable(one.path, one.fault))
            elif excluded(one.plan.name):
                left_out += _findings(tree, one, one.plan)
            else:
                findings += _findings(tree, one, one.plan)
                renames[one.path] = one.plan.directory
    installed = sum(1 for place in places for _ in metadata_in(tree, place))
    return Diagnosis(
        site_packages=places,
        distributions=installed - len(unreadable),
        setuptools=model.setuptools,
        affected=model.pkg_resources.needs_dots,
        findings=tuple(sorted(findings, key=lambda one: one.path)),
        unresolvable=(),
        entry_points=(),
        failures=(),
        unreadable=tuple(unreadable),
        excluded=tuple(sorted(left_out, key=lambda one: one.path)),
        spellings=model.spellings(renames),
    )


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


def _directories(
    tree: Tree, place: str, in_use: Collection[str], known: Mapping[str, Plan]
) -> list[_Directory]:
    """Return the dist-info directories in `place`."""
    directories = []
    projects: Counter[str] = Counter()
    for own in environment.dist_infos(tree.names(place)):
        path, fault = f"{place}/{own}", ""
        one = known.get(path)
        try:
            one = one or plan.make(tree, path, in_use=in_use)
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
    for path in wanted.record.paths() if wanted.record else ():
        if not record.split(path)[0].endswith(names.SUFFIX):
            lists_code = True
            if tree.is_file(posixpath.normpath(posixpath.join(place, path.replace("\\", "/")))):
                return False
    return lists_code


# --- the environment ------------------------------------------------------------------------------


def site_packages_in(tree: Tree) -> list[str]:
    """Return the site-packages directories in the usual places of `tree`, or its root itself."""
    usual = environment.usual_site_packages("", tree.names)
    # A tree does not say which of two paths is a link. Two that list the same are one.
    return environment.existing(
        usual, tree.is_directory, lambda path: frozenset(tree.names(path))
    ) or ["."]


# --- the consequences -----------------------------------------------------------------------------


class _Model:
    """The pkg_resources of an environment. What it sees is looked for when it is asked for."""

    def __init__(self, tree: Tree, places: Sequence[str], python: str | None) -> None:
        """Find out which one it is; `python` is the version of its Python, if that is known."""
        self._tree = tree
        self._places = places
        self._python = python
        self.setuptools, self.pkg_resources = setuptools.imported_from(
            tree, search_path(tree, places)
        )

    @functools.cached_property
    def _working_set(self) -> WorkingSet:
        from uvshim.check.working_set import WorkingSet

        python = self._python or interpreter.version_of(self._tree, self._places)
        return WorkingSet.in_environment(self._tree, self._places, self.pkg_resources, python)

    @functools.cached_property
    def _projects(self) -> dict[str, Installed]:
        return by_project_name(self._tree, self._working_set.entries)

    @functools.cached_property
    def keys_in_use(self) -> Collection[str]:
        """The keys that a rename must leave findable, as `spelling.in_use` says."""
        if self.pkg_resources.finds_every_spelling:
            return ()
        return spelling.keys_in_use(self._working_set, self._projects)

    def spellings(self, renames: Mapping[str, str]) -> tuple[Spelling, ...]:
        """Return how names are spelled that are needed as they are not found.

        `renames` are the names that the directories should have, by their paths.
        """
        if self.pkg_resources.finds_every_spelling:
            return ()
        return tuple(spelling.told(self._working_set, self._projects, renames))

    def consequences(self, diagnosis: Diagnosis, excluded: Callable[[str], bool]) -> Diagnosis:
        """Return `diagnosis` with what `require` says of every distribution."""
        if not self.pkg_resources.exists:
            return diagnosis
        installed = {names.normalized(name) for name in self._projects}
        unresolvable, failures = [], []
        for name, version, _ in self._projects.values():
            error, missing, reason, _ = self._working_set.require(name)
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
                for group, entry in _entry_points(self._tree, self._projects[one.name].metadata)
            ),
            failures=tuple(failures),
        )


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
