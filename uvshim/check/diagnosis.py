"""The problems with distributions' names in an environment, and their consequences.

Everything is read through a `Tree`, and nothing of the environment is imported or run. What costs
time is skipped where it cannot matter: if no directory can have a wrong name, and there is no
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

# What can be wrong with a directory beside what `plan` names. No rename fixes it.
GHOST = "ghost"
DUPLICATE = "duplicate"

# The groups whose entry points are scripts.
SCRIPTS = frozenset({"console_scripts", "gui_scripts"})

# What is read at most of a file that has no header to stop at. The longest real RECORD has a tenth.
_FILE_LIMIT = 64 * 1024 * 1024


class Finding(NamedTuple):
    """A problem with one dist-info directory."""

    kind: str
    """`normalized-name`: pkg_resources looks for a name with dots, and the directory's has none.

    `misnamed`: the name part, or the version part, of its name is not valid.
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
    owner: str = ""
    """The package manager that owns the directory, so that nobody else may rename it."""


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
    """Those of `missing` that keep their wrong names on purpose."""
    misspelled: tuple[str, ...] = ()
    """Those of `missing` whose METADATA has other separators: no rename makes them found."""

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
    """What led to it, as a clause; may be empty."""


class EntryPoint(NamedTuple):
    """An entry point of an unresolvable distribution: a plugin that may be dropped silently."""

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
    lookups: tuple[Lookups, ...] = ()
    """The lookups of pkg_resources that fail, for each distribution in `site_packages`."""
    programs: tuple[AffectedProgram, ...] = ()
    """What is known to use one of these lookups."""

    @property
    def wrong(self) -> list[Finding]:
        """The findings that break something here."""
        return [one for one in self.findings if self.matters(one)]

    def matters(self, finding: Finding) -> bool:
        """Return True if `finding` breaks something here.

        A normalized name breaks nothing where no pkg_resources fails to find it.
        """
        return self.affected or finding.kind != NORMALIZED_NAME

    @property
    def harmless(self) -> int:
        """How many normalized names there are that break nothing."""
        return len(self.findings) - len(self.wrong)

    @property
    def by_require_only(self) -> list[Lookups]:
        """The distributions that `require` finds and another lookup does not."""
        return [one for one in self.lookups if REQUIRE not in one.failing]

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
    them those in the usual places of a virtual environment, a prefix or the tree itself are taken.
    `python` is the version of its Python, as in ``3.12.1``; without one it is read from the tree
    (`interpreter.version_of` says how). `platform` is that of an image, as in ``linux/arm64``.
    Problems of directories whose project name is `excluded` are reported separately.

    Raises nothing, whatever is in the tree.
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

    This skips the lookups of pkg_resources, which take most of the time: there is nothing
    `unresolvable` then, and there are no `failures` and no `lookups`. Directories whose plan is
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
    # What is known may depend on requirements that were not installed then.
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
    """There is another directory of the same distribution beside it."""


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
    """Yield what is wrong with `directory`, by the plan `wanted` for it and what is beside it.

    A directory whose code is gone is nothing but that. Of two directories of one distribution only
    one can keep its name, so nothing is said about the names.
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
    # A tree does not know which of two paths is a link. Two with the same names are one.
    return environment.existing(
        usual, tree.is_directory, lambda path: frozenset(tree.names(path))
    ) or ["."]


# --- the consequences -----------------------------------------------------------------------------


class _Model:
    """The pkg_resources of an environment. It looks at distributions once they are needed."""

    def __init__(
        self,
        tree: Tree,
        places: Sequence[str],
        python: str | None = None,
        platform: str | None = None,
    ) -> None:
        """Find its release; `python` is the version of its Python, if that is known."""
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
        """Return how names are spelled that are needed as they are not found.

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
        """The keys by which each installed name is found if its directory is right."""
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
        listed = list(entry_points.listed(content.decode("utf-8", "replace")))
        scripts = {entry for group, entry in listed if group in SCRIPTS}
        asking = self._asking(directory, scripts) if scripts else set()
        for group, entry in listed:
            if group not in SCRIPTS or entry in asking:
                yield group, entry

    def _asking(self, directory: str, scripts: set[str]) -> set[str]:
        """Return those `scripts` whose files, which RECORD in `directory` lists, import it."""
        content = self._tree.read(f"{directory}/RECORD", _FILE_LIMIT) or b""
        place = posixpath.dirname(directory)
        wanted = {name: each for each in scripts for name in (f"{each}-script.py", each)}
        asking: set[str] = set()
        with contextlib.suppress(record.RecordError):
            for path, _, _ in record.elements(content):
                script = wanted.get(posixpath.basename(path))
                if script is not None and script in scripts:
                    scripts.remove(script)
                    code = self._tree.read(_inside(place, path), METADATA_LIMIT) or b""
                    if b"pkg_resources" in code:
                        asking.add(script)
        return asking
