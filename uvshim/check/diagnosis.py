"""The problems with distributions' names in an environment, and their consequences.

Everything is read through a `Tree`; no code of the environment is imported or run. Slow steps
are skipped where they cannot matter: if no directory can have a wrong name, and there is no
pkg_resources that such a name would break, the listing is enough.
"""

from __future__ import annotations

import contextlib
import functools
import posixpath
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check import entry_points, known_programs, required
from uvshim.check import lookups as lookups_of
from uvshim.check.distributions import (
    METADATA_LIMIT,
    NOT_FOUND,
    by_project_name,
    metadata_in,
)
from uvshim.check.lookups import REQUIRE, Lookups
from uvshim.environments import environment, interpreter
from uvshim.environments.search_path import search_path
from uvshim.rename import names, plan, record, setuptools
from uvshim.rename.plan import NORMALIZED_NAME
from uvshim.rename.spelling import Spellings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from uvshim.check.distributions import Installed
    from uvshim.check.known_programs import AffectedProgram
    from uvshim.check.required import Spelling
    from uvshim.check.working_set import WorkingSet
    from uvshim.environments.tree import Tree
    from uvshim.rename.plan import Plan

# Problems of a directory that no rename fixes; `plan` has the others.
GHOST = "ghost"
DUPLICATE = "duplicate"

# The groups whose entry points are scripts.
SCRIPTS = frozenset({"console_scripts", "gui_scripts"})

# The limit for files without a header, in bytes. The longest real RECORD has a tenth of it.
_FILE_LIMIT = 64 * 1024 * 1024


class Finding(NamedTuple):
    """A problem with one dist-info directory."""

    kind: str
    """`normalized-name`: the project's name has a dot, and the directory's has none.

    `misnamed`: the name part, or the version part, of its name is not valid.
    `stale-record`: its RECORD lists files of its own under another dist-info directory.
    `ghost`: no file exists that RECORD lists outside of dist-info directories.
    `duplicate`: another dist-info directory of this distribution exists.
    """
    name: str
    """The distribution's name, as METADATA has it."""
    version: str
    path: str
    """The path of the directory in the tree."""
    expected: str
    """The name that the directory should have."""
    owner: str = ""
    """The package manager that owns the directory, which therefore must not be renamed, or ""."""


class Unresolvable(NamedTuple):
    """A distribution for which `pkg_resources.require` raises DistributionNotFound."""

    name: str
    """Its name, as METADATA has it."""
    version: str
    missing: tuple[str, ...]
    """The names that cannot be found, as the requirements have them."""
    absent: tuple[str, ...]
    """Those of `missing` that are not installed under any spelling."""
    excluded: tuple[str, ...] = ()
    """Those of `missing` that the configuration excludes from renaming."""
    misspelled: tuple[str, ...] = ()
    """Those of `missing` whose METADATA has other separators: a rename does not help."""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Those of `missing` that are installed, and not found because of a wrong name."""
        others = {*self.absent, *self.excluded}
        return tuple(name for name in self.missing if name not in others)


class Failure(NamedTuple):
    """A distribution for which `pkg_resources.require` raises another exception."""

    name: str
    version: str
    error: str
    """The exception's name: `VersionConflict`, `InvalidVersion`, `UnknownExtra`, …"""
    reason: str = ""
    """Its cause, as a clause; may be empty."""


class EntryPoint(NamedTuple):
    """An entry point of an unresolvable distribution: a plugin that may be missing silently."""

    group: str
    name: str
    distribution: str


class Unreadable(NamedTuple):
    """A dist-info directory that cannot be read, and why: a clause after "because"."""

    path: str
    reason: str


class Diagnosis(NamedTuple):
    """The result for one environment."""

    site_packages: tuple[str, ...]
    distributions: int
    """The number of distributions in `site_packages`."""
    setuptools: str | None
    """The version of setuptools in the environment."""
    affected: bool
    """True if pkg_resources does not find dotted names in normalized directories."""
    findings: tuple[Finding, ...]
    unresolvable: tuple[Unresolvable, ...]
    """Distributions for which `require` raises DistributionNotFound; none without pkg_resources."""
    entry_points: tuple[EntryPoint, ...]
    failures: tuple[Failure, ...]
    unreadable: tuple[Unreadable, ...]
    excluded: tuple[Finding, ...] = ()
    """Like `findings`, for excluded names."""
    spellings: tuple[Spelling, ...] = ()
    """Before setuptools 62: names that are required in a spelling that is not found."""
    lookups: tuple[Lookups, ...] = ()
    """The lookups of pkg_resources that fail, for each distribution in `site_packages`."""
    programs: tuple[AffectedProgram, ...] = ()
    """Installed programs that are known to use one of these lookups."""

    @property
    def wrong(self) -> list[Finding]:
        """The findings that break something here."""
        return [one for one in self.findings if self.matters(one)]

    def matters(self, finding: Finding) -> bool:
        """Return True if `finding` breaks something here.

        A normalized name breaks nothing if pkg_resources is missing or finds it.
        """
        return self.affected or finding.kind != NORMALIZED_NAME

    @property
    def harmless(self) -> int:
        """The number of normalized names that break nothing."""
        return len(self.findings) - len(self.wrong)

    @property
    def by_require_only(self) -> list[Lookups]:
        """The distributions that `require` finds and another lookup does not."""
        return [one for one in self.lookups if REQUIRE not in one.failing]

    @property
    def hidden(self) -> list[Unresolvable]:
        """Those that `require` fails for because of a wrong name, their own or a requirement's."""
        return [one for one in self.unresolvable if one.hidden]

    @property
    def refused(self) -> list[Unresolvable | Failure]:
        """Those that `require` fails for even if every name is right."""
        incomplete = [one for one in self.unresolvable if one.absent and not one.hidden]
        return [*incomplete, *self.failures]

    @property
    def broken(self) -> bool:
        """Whether a name, a directory or a RECORD is wrong in a way that matters."""
        return bool(self.wrong or self.hidden or self.unreadable or self.programs)


def diagnose(
    tree: Tree,
    site_packages: Sequence[str] | None = None,
    *,
    python: str | None = None,
    platform: str | None = None,
    excluded: Callable[[str], bool] = lambda _: False,
) -> Diagnosis:
    """Examine the environment in `tree` that has the directories `site_packages`.

    `site_packages` are paths in the tree, in the order of the environment's `sys.path`; without
    them, those in the usual places of a virtual environment, a prefix or the tree itself.
    `python` is the version of its Python, as in ``3.12.1``; without one it is read from the tree
    (`interpreter.version_of` says how). `platform` is that of an image, as in ``linux/arm64``.
    Problems of directories whose project name is `excluded` are reported separately.

    Raise nothing, whatever is in the tree.
    """
    places = tuple(site_packages_in(tree) if site_packages is None else site_packages)
    model = _Model(tree, places, python, platform)
    return model.consequences(_diagnosis(tree, places, model, excluded), excluded)


def diagnose_directories(
    tree: Tree,
    site_packages: Sequence[str] | None = None,
    *,
    excluded: Callable[[str], bool] = lambda _: False,
    known: Mapping[str, Plan] | None = None,
) -> Diagnosis:
    """Examine only the dist-info directories, as `diagnose` does.

    This skips the lookups of pkg_resources, which take most of the time: the result has nothing
    `unresolvable`, no `failures` and no `lookups`. Directories whose plan is
    `known` by their path are not read again, unless names depend on how others spell them.
    """
    places = tuple(site_packages_in(tree) if site_packages is None else site_packages)
    return _diagnosis(tree, places, _Model(tree, places), excluded, known)


def _diagnosis(
    tree: Tree,
    places: tuple[str, ...],
    model: _Model,
    excluded: Callable[[str], bool],
    known: Mapping[str, Plan] | None = None,
) -> Diagnosis:
    """Return what the directories themselves show."""
    unreadable: list[Unreadable] = []
    findings: list[Finding] = []
    left_out: list[Finding] = []
    renames: dict[str, str] = {}
    spellings = model.required
    # A known plan may depend on requirements that were not installed then.
    known = {} if spellings and spellings.required else known or {}
    for place in places:
        for one in _directories(tree, place, spellings, known):
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
        spellings=model.unfound(renames),
    )


# --- one directory --------------------------------------------------------------------------------


class _Directory(NamedTuple):
    """One dist-info directory."""

    path: str
    plan: Plan | None
    """The plan for it; None if it cannot be read."""
    fault: str
    """Why it cannot be read, if that matters."""
    has_twin: bool
    """True if another directory of the same distribution exists."""


def _directories(
    tree: Tree, place: str, spellings: Spellings | None, known: Mapping[str, Plan]
) -> list[_Directory]:
    """Return the dist-info directories in `place`."""
    directories = []
    projects: Counter[str] = Counter()
    for own in environment.dist_infos(tree.names(place)):
        path, fault = f"{place}/{own}", ""
        one = known.get(path)
        try:
            one = one or plan.make(tree, path, spellings=spellings)
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
    """Yield the problems of `directory`, for which the plan is `wanted`.

    A ghost is nothing else. Of two directories of one distribution only
    one can have the right name, so their names are not reported.
    """
    kinds = (DUPLICATE,) if directory.has_twin else wanted.wrong
    if (kinds or "." in wanted.name) and _is_ghost(tree, wanted):
        kinds = (GHOST,)
    about = (wanted.name, wanted.version, wanted.path, wanted.directory, wanted.owner)
    for kind in kinds:
        yield Finding(kind, *about)


def _is_ghost(tree: Tree, wanted: Plan) -> bool:
    """Return True if RECORD lists code and no file of it exists."""
    place = posixpath.dirname(wanted.path)
    lists_code = False
    seen: set[str] = set()
    for path in wanted.record.paths() if wanted.record else ():
        if path in seen:
            continue
        seen.add(path)
        if not record.split(path)[0].endswith(names.SUFFIX):
            lists_code = True
            if tree.is_file(_inside(place, path)):
                return False
    return lists_code


def _inside(place: str, path: str) -> str:
    """Return where a RECORD in `place` has the file `path`."""
    return posixpath.normpath(posixpath.join(place, path.replace("\\", "/")))


# --- the environment ------------------------------------------------------------------------------


def site_packages_in(tree: Tree) -> list[str]:
    """Return the site-packages directories in the usual places of `tree`, or its root itself."""
    usual = environment.usual_site_packages("", tree.names)
    # One path may be a link to another: those with equal contents count once.
    return environment.existing(
        usual, tree.is_directory, lambda path: frozenset(tree.names(path))
    ) or ["."]


# --- the consequences -----------------------------------------------------------------------------


class _Model:
    """The pkg_resources of an environment. It reads distributions when they are needed."""

    def __init__(
        self,
        tree: Tree,
        places: Sequence[str],
        python: str | None = None,
        platform: str | None = None,
    ) -> None:
        """Find its release; `python` is the version of its Python, if known."""
        self._tree = tree
        self._places = places
        self._python = python
        self._platform = platform
        self.setuptools, self.pkg_resources = setuptools.imported_from(
            tree, search_path(tree, places)
        )

    @functools.cached_property
    def _working_set(self) -> WorkingSet:
        from uvshim.check.working_set import WorkingSet

        python = self._python or interpreter.version_of(self._tree, self._places)
        return WorkingSet.in_environment(
            self._tree, self._places, self.pkg_resources, python, self._platform
        )

    @functools.cached_property
    def _projects(self) -> dict[str, Installed]:
        return by_project_name(self._tree, self._working_set.entries)

    @functools.cached_property
    def required(self) -> Spellings | None:
        """The spellings that decide names, None if spelling does not matter."""
        if self.pkg_resources.finds_every_spelling:
            return None
        return Spellings(required.keys_in(self._working_set))

    def unfound(self, renames: Mapping[str, str]) -> tuple[Spelling, ...]:
        """Return the required spellings that are not found.

        `renames` are the names that the directories should have, by their paths.
        """
        if self.pkg_resources.finds_every_spelling:
            return ()
        return tuple(required.unfound(self._working_set, self._projects, renames))

    def consequences(self, diagnosis: Diagnosis, excluded: Callable[[str], bool]) -> Diagnosis:
        """Return `diagnosis` with the lookups that fail, for every distribution."""
        if not self.pkg_resources.exists:
            return diagnosis
        unresolvable, failures, lookups = [], [], []
        for project in self._projects.values():
            name, version, _ = project
            error, missing, reason, _ = self._working_set.require(name)
            if error == NOT_FOUND:
                unresolvable.append(self._unresolvable(name, version, missing, excluded))
            elif error is not None:
                failures.append(Failure(name, version, error, reason))
            if posixpath.dirname(project.metadata) in self._places and not excluded(name):
                failing = lookups_of.failing(
                    self._working_set, project, self._spelled, requires=error is None
                )
                lookups += [Lookups(name, version, failing)] if failing else []
        return diagnosis._replace(
            unresolvable=tuple(unresolvable),
            entry_points=tuple(
                EntryPoint(group, entry, one.name)
                for one in unresolvable
                for group, entry in self._entry_points(one.name)
            ),
            failures=tuple(failures),
            lookups=tuple(lookups),
            programs=tuple(
                known_programs.affected(
                    self._projects.values(),
                    lookups,
                    lambda name: {group for group, _ in self._entry_points(name)},
                )
            ),
        )

    def _unresolvable(
        self,
        name: str,
        version: str,
        missing: tuple[str, ...],
        excluded: Callable[[str], bool],
    ) -> Unresolvable:
        absent, meant, misspelled = [], [], []
        for one in missing:
            same = self._spelled.get(names.normalized(one))
            if same is None:
                absent.append(one)
            elif excluded(one):
                meant.append(one)
            elif self.pkg_resources.finds_every_spelling and names.key_of(one) not in same:
                misspelled.append(one)
        return Unresolvable(name, version, missing, tuple(absent), tuple(meant), tuple(misspelled))

    @functools.cached_property
    def _spelled(self) -> dict[str, set[str]]:
        """The keys that find each installed name once its directory has the right name."""
        spelled: dict[str, set[str]] = {}
        for name in self._projects:
            plain = names.normalized(name)
            spelled.setdefault(plain, set()).update({plain, names.key_of(name)})
        return spelled

    def _entry_points(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield group and name of each entry point of the distribution `name`.

        A script counts only if its file imports pkg_resources: those of uv and pip do not.
        """
        directory = self._projects[name].metadata
        content = self._tree.read(f"{directory}/entry_points.txt", METADATA_LIMIT) or b""
        for group, entry in entry_points.listed(content.decode("utf-8", "replace")):
            if group not in SCRIPTS or self._asks_pkg_resources(directory, entry):
                yield group, entry

    def _asks_pkg_resources(self, directory: str, script: str) -> bool:
        """Return True if the file of `script`, which RECORD in `directory` lists, imports it."""
        content = self._tree.read(f"{directory}/RECORD", _FILE_LIMIT) or b""
        place = posixpath.dirname(directory)
        with contextlib.suppress(record.RecordError):
            for path, _, _ in record.elements(content):
                if posixpath.basename(path) in {script, f"{script}-script.py"}:
                    code = self._tree.read(_inside(place, path), METADATA_LIMIT) or b""
                    return b"pkg_resources" in code
        return False
