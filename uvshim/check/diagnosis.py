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

from uvshim.check import lookups as lookups_of
from uvshim.check import required
from uvshim.check.distributions import METADATA_LIMIT, NOT_FOUND, RequireError
from uvshim.check.lookups import REQUIRE, Lookups
from uvshim.environments import environment
from uvshim.environments.search_path import search_path
from uvshim.rename import names, plan, record, setuptools
from uvshim.rename.plan import NORMALIZED_NAME
from uvshim.rename.spelling import Spellings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from uvshim.check.lookups import AffectedProgram
    from uvshim.check.required import Spelling
    from uvshim.check.working_set import WorkingSet
    from uvshim.environments.tree import Tree
    from uvshim.rename.plan import Plan

# Problems of a directory that no rename fixes; `plan` has the others.
GHOST = "ghost"
DUPLICATE = "duplicate"

# The groups whose entry points are scripts.
SCRIPTS = frozenset({"console_scripts", "gui_scripts"})


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
    unresolvable: tuple[Unresolvable, ...] = ()
    """Distributions for which `require` raises DistributionNotFound; none without pkg_resources."""
    entry_points: tuple[EntryPoint, ...] = ()
    failures: tuple[Failure, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
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
        return list(filter(self.matters, self.findings))

    def matters(self, finding: Finding) -> bool:
        """Return True if `finding` breaks something: its name does only if pkg_resources fails."""
        return self.affected or finding.kind != NORMALIZED_NAME

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
    model = _Model(tree, site_packages, excluded, python, platform)
    return model.with_lookups(model.directories())


def diagnose_directories(
    tree: Tree,
    site_packages: Sequence[str],
    *,
    excluded: Callable[[str], bool],
    known: Mapping[str, Plan],
) -> Diagnosis:
    """Examine only the dist-info directories, as `diagnose` does.

    This skips the lookups of pkg_resources, which take most of the time: the result has nothing
    `unresolvable`, no `failures` and no `lookups`. Directories whose plan is
    `known` by their path are not read again, unless names depend on how others spell them.
    """
    return _Model(tree, site_packages, excluded).directories(known)


def site_packages_in(tree: Tree) -> list[str]:
    """Return the site-packages directories in the usual places of `tree`, or its root itself."""
    usual = environment.usual_site_packages("", tree.names)
    # One path may be a link to another: those with equal contents count once.
    return environment.existing(
        usual, tree.is_directory, lambda path: frozenset(tree.names(path))
    ) or ["."]


class _Model:
    """An environment and its pkg_resources, which looks at distributions once they are needed."""

    def __init__(
        self,
        tree: Tree,
        site_packages: Sequence[str] | None,
        excluded: Callable[[str], bool],
        python: str | None = None,
        platform: str | None = None,
    ) -> None:
        """Find its release of setuptools. The arguments are those of `diagnose`."""
        self._tree = tree
        self._places = tuple(site_packages_in(tree) if site_packages is None else site_packages)
        self._excluded = excluded
        self._python = python
        self._platform = platform
        self._setuptools, self._pkg_resources = setuptools.imported_from(
            tree, search_path(tree, self._places)
        )

    @functools.cached_property
    def _working_set(self) -> WorkingSet:
        from uvshim.check.working_set import WorkingSet

        return WorkingSet.in_environment(
            self._tree, self._places, self._pkg_resources, self._python, self._platform
        )

    def directories(self, known: Mapping[str, Plan] | None = None) -> Diagnosis:
        """Return what the directories themselves show."""
        spellings = None
        if not self._pkg_resources.finds_every_spelling:
            spellings = Spellings(required.keys_in(self._working_set))
        if spellings and spellings.required:
            known = None  # it may depend on requirements that were not installed then
        findings: list[Finding] = []
        excluded: list[Finding] = []
        unreadable: list[Unreadable] = []
        renames: dict[str, str] = {}
        for place in self._places:
            for path, one, fault, has_twin in self._planned(place, spellings, known or {}):
                if one is None:
                    unreadable += [Unreadable(path, fault)] if fault else []
                    continue
                kinds = (DUPLICATE,) if has_twin else one.wrong
                if (kinds or "." in one.name) and _is_ghost(self._tree, one):
                    kinds = (GHOST,)
                about = (one.name, one.version, path, one.directory, one.owner)
                found = [Finding(kind, *about) for kind in kinds]
                if self._excluded(one.name):
                    excluded += found
                else:
                    findings += found
                    renames[path] = one.directory
        unfound = required.unfound(self._working_set, renames) if spellings else ()
        listed = [name for place in self._places for name in self._tree.names(place)]
        installed = sum(
            environment.is_dist_info(each) or each.endswith(".egg-info") for each in listed
        )
        return Diagnosis(
            site_packages=self._places,
            distributions=installed - len(unreadable),
            setuptools=self._setuptools,
            affected=self._pkg_resources.needs_dots,
            findings=tuple(sorted(findings, key=lambda one: one.path)),
            unreadable=tuple(unreadable),
            excluded=tuple(sorted(excluded, key=lambda one: one.path)),
            spellings=tuple(unfound),
        )

    def _planned(
        self, place: str, spellings: Spellings | None, known: Mapping[str, Plan]
    ) -> Iterator[tuple[str, Plan | None, str, bool]]:
        """Yield the path of each dist-info directory in `place`, its plan, its fault and twins.

        The plan is None if the directory cannot be read; the fault says why, if that matters. The
        last is True if there is a twin, another directory of the same distribution.
        """
        directories = []
        projects: Counter[str] = Counter()
        for own in environment.dist_infos(self._tree.names(place)):
            path, fault = f"{place}/{own}", ""
            one = known.get(path)
            try:
                one = one or plan.make(self._tree, path, spellings=spellings)
            except names.MetadataError as error:
                fault = str(error)
            project = names.normalized(one.name if one else names.split(own)[0])
            is_sure = plan.is_beyond_doubt(own)
            projects[project] += bool(one or is_sure)
            directories.append((path, one, fault, project, is_sure))
        for path, one, fault, project, is_sure in directories:
            has_twin = projects[project] > 1
            yield path, one, "" if is_sure and not has_twin else fault, has_twin

    def with_lookups(self, diagnosis: Diagnosis) -> Diagnosis:
        """Return `diagnosis` with the lookups that fail, for every distribution."""
        if not self._pkg_resources.exists:
            return diagnosis
        unresolvable, failures, lookups = [], [], []
        for name, project in self._working_set.installed.items():
            version = (project.described or ("", ""))[1]
            error, missing, reason = self._working_set.require(name)
            if error == NOT_FOUND:
                unresolvable.append(self._unresolvable(name, version, missing))
            elif error is not None:
                failures.append(Failure(name, version, error, reason))
            if posixpath.dirname(project.metadata) in self._places and not self._excluded(name):
                failing = lookups_of.failing(
                    self._working_set, name, self._spelled, requires=error is None
                )
                lookups += [Lookups(name, version, failing)] if failing else []
        programs = lookups_of.affected(
            self._working_set.installed.values(),
            lookups,
            lambda name: {group for group, _ in self._entry_points(name)},
        )
        return diagnosis._replace(
            unresolvable=tuple(unresolvable),
            entry_points=tuple(
                EntryPoint(group, entry, one.name)
                for one in unresolvable
                for group, entry in self._entry_points(one.name)
            ),
            failures=tuple(failures),
            lookups=tuple(lookups),
            programs=tuple(programs),
        )

    def _unresolvable(self, name: str, version: str, missing: tuple[str, ...]) -> Unresolvable:
        absent, excluded, misspelled = [], [], []
        for one in missing:
            keys = self._spelled.get(names.normalized(one))
            if keys is None:
                absent.append(one)
            elif self._excluded(one):
                excluded.append(one)
            elif self._pkg_resources.finds_every_spelling and names.key_of(one) not in keys:
                misspelled.append(one)
        return Unresolvable(
            name, version, missing, tuple(absent), tuple(excluded), tuple(misspelled)
        )

    @functools.cached_property
    def _spelled(self) -> dict[str, set[str]]:
        """The keys that find each installed name once its directory has the right name."""
        spelled: dict[str, set[str]] = {}
        for name in self._working_set.installed:
            plain = names.normalized(name)
            spelled.setdefault(plain, set()).update({plain, names.key_of(name)})
        return spelled

    def _entry_points(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield group and name of each entry point of the distribution `name`.

        A script counts only if its file imports pkg_resources: those of uv and pip do not.
        """
        project = self._working_set.installed[name]
        with contextlib.suppress(RequireError):  # pkg_resources cannot read them
            listed = project.entry_points()
            asking = self._asking(
                project.metadata, {one for group in SCRIPTS for one in listed.get(group, ())}
            )
            for group, entries in listed.items():
                yield from (
                    (group, one) for one in entries if group not in SCRIPTS or one in asking
                )

    def _asking(self, directory: str, scripts: set[str]) -> set[str]:
        """Return those `scripts` whose files, which RECORD in `directory` lists, import it."""
        wanted = {name: each for each in scripts for name in (f"{each}-script.py", each)}
        content = self._tree.read(f"{directory}/RECORD", plan.RECORD_LIMIT) if scripts else None
        asking: set[str] = set()
        with contextlib.suppress(record.RecordError):
            for path, _, _ in record.elements(content or b""):
                script = wanted.get(posixpath.basename(path))
                if script is not None and script in scripts:
                    scripts.remove(script)  # the first file decides
                    file = _inside(posixpath.dirname(directory), path)
                    if b"pkg_resources" in (self._tree.read(file, METADATA_LIMIT) or b""):
                        asking.add(script)
        return asking


def _is_ghost(tree: Tree, wanted: Plan) -> bool:
    """Return True if RECORD lists code and no file of it exists."""
    missing: set[str] = set()
    for path in wanted.record.paths() if wanted.record else ():
        if path not in missing and not record.split(path)[0].endswith(names.SUFFIX):
            if tree.is_file(_inside(posixpath.dirname(wanted.path), path)):
                return False
            missing.add(path)
    return bool(missing)


def _inside(place: str, path: str) -> str:
    """Return where a RECORD in `place` has the file `path`."""
    return posixpath.normpath(posixpath.join(place, path.replace("\\", "/")))
