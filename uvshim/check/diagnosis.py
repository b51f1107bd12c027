"""The problems with distributions' names in an environment, and their consequences.

Everything is read through a `Tree`; no code of the environment is imported or run. Slow steps
are skipped where they cannot matter: if no directory can have a wrong name, and there is no
pkg_resources that such a name would break, the listing is enough.
"""

from __future__ import annotations

import contextlib
import functools
import os
import posixpath
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check import lookups as lookups_of
from uvshim.check import required
from uvshim.check.distributions import METADATA_LIMIT, NOT_FOUND, RequireError
from uvshim.check.lookups import REQUIRE, Lookups
from uvshim.environments import environment, interpreter, search_path
from uvshim.environments.tree import pay
from uvshim.rename import names, plan, record, setuptools
from uvshim.rename.plan import MISNAMED, NORMALIZED_NAME
from uvshim.rename.spelling import Spellings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from uvshim.check.lookups import AffectedProgram
    from uvshim.check.required import Spelled, Spelling
    from uvshim.check.working_set import WorkingSet
    from uvshim.environments.environment import Environment
    from uvshim.environments.tree import Tree
    from uvshim.rename.plan import Plan

# How many steps (see `tree.pay`) a plan for one directory costs.
_PLANNING = 60

# The owner of Debian's own directories.
DPKG = "dpkg"

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
    obstacle: str = ""
    """Why the directory cannot be renamed, as a clause, or ""."""


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
    invalid: tuple[Unreadable, ...] = ()
    """Others without a METADATA that tells what they are. Their names are right all the same."""
    excluded: tuple[Finding, ...] = ()
    """Like `findings`, for excluded names."""
    spellings: tuple[Spelling, ...] = ()
    """Before setuptools 62: names that are required in a spelling that is not found."""
    lookups: tuple[Lookups, ...] = ()
    """The lookups of pkg_resources that fail, for each distribution in `site_packages`."""
    checks_requirements: bool = True
    """There is a pkg_resources: what its `require` fails for is known."""
    by_spelling: bool = False
    """Its pkg_resources finds each directory under one spelling only: it is older than 62."""
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
    site_packages: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    *,
    python: str | None = None,
    platform: str | None = None,
    excluded: Callable[[str], bool] = lambda _: False,
) -> Diagnosis:
    """Examine the environment in `tree` that has the directories `site_packages`, or only one.

    `site_packages` are paths in the tree, in the order of the environment's `sys.path`; without
    them, those in the usual places of a virtual environment, a prefix or the tree itself.
    `python` is the version of its Python, as in ``3.12.1``; without one it is read from the tree
    (`interpreter.version_of` says how). `platform` is that of an image, as in ``linux/arm64``.
    Problems of directories whose project name is `excluded` are reported separately.

    Raise nothing, whatever is in the tree, but ValueError for a `platform` of another form.
    """
    if platform is not None and not interpreter.is_platform(platform):
        raise ValueError(f"platform must be OS/ARCHITECTURE, as in linux/arm64, not {platform!r}")
    if isinstance(site_packages, (str, os.PathLike)):
        site_packages = [site_packages]
    places = None if site_packages is None else [os.fspath(each) for each in site_packages]
    model = _Model(tree, places, excluded, python, platform)
    return model.with_lookups(model.directories())


def diagnose_environment(
    found: Environment,
    *,
    platform: str | None,
    excluded: Callable[[str], bool],
    spelled: Spelled | None,
    names_only: bool = False,
) -> Diagnosis:
    """Examine `found`, as `diagnose` does, with the directories that it inherits or .pth files add.

    A problem there does not count if an earlier directory hides it. `spelled` is what decides names
    if other environments import from its directories. With `names_only`, lookups are not tried if
    none can fail because of a name: what they fail for otherwise is then unknown.
    """
    model = _Model(found.tree, found.visible, excluded, platform=platform)
    model.added = search_path.added_directories(found)
    model.inherited = (*found.inherited, *model.added)
    if spelled is not None:
        model.spelled = functools.partial(spelled.in_tree, found.tree)
    diagnosis = model.directories()
    findings = (
        one._replace(owner=DPKG) if found.is_of_dpkg(one.path) else one
        for one in diagnosis.findings
    )
    diagnosis = diagnosis._replace(findings=tuple(findings))
    return diagnosis if names_only and model.finds_all_names() else model.with_lookups(diagnosis)


def site_packages_in(tree: Tree) -> list[str]:
    """Return the site-packages directories in the usual places of `tree`, or its root itself."""
    usual = environment.usual_site_packages("", tree.names)
    # One path may be a link to another: those with equal contents count once.
    return environment.existing(
        usual, tree.is_directory, lambda path: frozenset(tree.names(path))
    ) or ["."]


class _Fault(NamedTuple):
    """Why a directory cannot be read, and the project name if that is known."""

    reason: str = ""
    project: str = ""


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
        self.inherited: Collection[str] = ()
        self.added: Collection[str] = ()
        self._left: dict[str, dict[str, str]] = {}
        self.spelled: Callable[[str], Spellings | None] = lambda _place: self._own_spellings
        self._setuptools, self._pkg_resources = setuptools.imported_from(
            tree, search_path.search_path(tree, self._places)
        )

    @functools.cached_property
    def _working_set(self) -> WorkingSet:
        from uvshim.check.working_set import WorkingSet

        return WorkingSet.in_environment(
            self._tree, self._places, self._pkg_resources, self._python, self._platform
        )

    @functools.cached_property
    def _own_spellings(self) -> Spellings | None:
        """The spellings that decide names, None if spelling does not matter."""
        if self._pkg_resources.finds_every_spelling:
            return None
        return Spellings(required.keys_in(self._working_set))

    def directories(self) -> Diagnosis:
        """Return what the directories themselves show."""
        findings: list[Finding] = []
        excluded: list[Finding] = []
        unreadable: list[Unreadable] = []
        invalid: list[Unreadable] = []
        renames: dict[str, str] = {}
        present: set[str] = set()
        distributions = 0
        for place in (*self._places, *self.added):
            # Many environments of an image may inherit the same directory.
            pay(self._tree, _PLANNING * len(self._tree.names(place)))
            for path, one, fault, has_twin in self._planned(place):
                wanted = one.directory if one else posixpath.basename(path)
                if place in self.inherited and names.key_of(names.split(wanted)[0]) in present:
                    continue
                if fault.project and self._excluded(fault.project):
                    excluded.append(Finding(MISNAMED, fault.project, "", path, wanted))
                    continue
                if one is None:
                    is_sure = plan.is_beyond_doubt(wanted) and not has_twin
                    (invalid if is_sure else unreadable).append(Unreadable(path, fault.reason))
                    continue
                left = self._remnants(place).get(names.normalized(one.name)) if has_twin else None
                twin = f"`{left}` is there as well, and no installer removes it" if left else ""
                obstacle = one.obstacle or twin
                about = (one.name, one.version, path, one.directory, one.owner, obstacle)
                found = [Finding(kind, *about) for kind in self._kinds(one, has_twin=has_twin)]
                if self._excluded(one.name):
                    excluded += found
                else:
                    findings += found
                    renames[path] = one.directory
            listed = [
                each
                for each in self._tree.names(place)
                if environment.is_dist_info(each) or each.endswith(".egg-info")
            ]
            distributions += 0 if place in self.added else len(listed)
            present.update(
                names.key_of(each.removesuffix(".egg-info").partition("-")[0]) for each in listed
            )
        is_by_spelling = not self._pkg_resources.finds_every_spelling
        unfound = required.unfound(self._working_set, renames) if is_by_spelling else ()
        return Diagnosis(
            site_packages=self._places,
            distributions=distributions - len(unreadable),
            setuptools=self._setuptools,
            affected=self._pkg_resources.needs_dots,
            by_spelling=is_by_spelling,
            checks_requirements=self._pkg_resources.exists,
            findings=tuple(sorted(findings, key=lambda one: one.path)),
            unreadable=tuple(unreadable),
            invalid=tuple(invalid),
            excluded=tuple(sorted(excluded, key=lambda one: one.path)),
            spellings=tuple(one for one in unfound if not self._excluded(one.name)),
        )

    def _remnants(self, place: str) -> dict[str, str]:
        """Return what is in `place` that no installer removes, by the name of its project."""
        if place not in self._left:
            left = self._left[place] = {}
            for each in self._tree.names(place):
                stem, suffix = posixpath.splitext(each)
                path = f"{place}/{each}"
                is_egg = suffix == ".egg-info" and self._tree.is_file(path)
                is_empty = suffix == names.SUFFIX and not self._tree.is_file(f"{path}/METADATA")
                if is_egg or (is_empty and not self._tree.is_file(f"{path}/RECORD")):
                    left[names.normalized(stem.partition("-")[0])] = each
        return self._left[place]

    def _kinds(self, one: Plan, *, has_twin: bool) -> tuple[str, ...]:
        """Return what is wrong with the directory of the plan `one`.

        A directory whose code is gone is nothing but that. Of two directories of one distribution
        only one can keep its name, so nothing is said about the names: but if one is not valid, no
        tool can remove it.
        """
        kinds = (DUPLICATE,) if has_twin else one.wrong
        if (kinds or "." in one.name) and _is_ghost(self._tree, one):
            kinds = (GHOST,)
        return (MISNAMED, *kinds) if MISNAMED in one.wrong and MISNAMED not in kinds else kinds

    def _planned(self, place: str) -> Iterator[tuple[str, Plan | None, _Fault, bool]]:
        """Yield the path of each dist-info directory in `place`, its plan, its fault and twins.

        The plan is None if the directory cannot be read; the fault says why. The last is True if
        there is a twin, another directory of the same distribution.
        """
        spellings = self.spelled(place)
        plans: dict[str, Plan] = {}
        faults: dict[str, _Fault] = {}
        for own in environment.dist_infos(self._tree.names(place)):
            try:
                if one := plan.make(self._tree, f"{place}/{own}", spellings=spellings):
                    plans[f"{place}/{own}"] = one
            except names.MetadataError as error:  # noqa: PERF203
                faults[f"{place}/{own}"] = _Fault(str(error), error.project)
        twins = plan.duplicates(self._tree, plans.values())
        sure = {
            path: names.normalized(names.split(posixpath.basename(path))[0])
            for path in faults
            if plan.is_beyond_doubt(posixpath.basename(path))
        }
        projects = Counter(
            [*sure.values(), *(names.normalized(one.name) for one in plans.values())]
        )
        twins.update(path for path, project in sure.items() if projects[project] > 1)
        surely = set(sure.values())
        for path, one in plans.items():
            yield path, one, _Fault(), path in twins or names.normalized(one.name) in surely
        for path, fault in faults.items():
            yield path, None, fault, path in twins

    def with_lookups(self, diagnosis: Diagnosis) -> Diagnosis:
        """Return `diagnosis` with the lookups that fail, for every distribution."""
        if not self._pkg_resources.exists:
            return diagnosis
        unresolvable, failures, lookups = [], [], []
        invalid = {one.path: one.reason for one in diagnosis.invalid}
        for name, version, path in self._undescribed(invalid):
            error, missing, reason = self._working_set.require(name)
            if error == NOT_FOUND:
                unresolvable.append(self._unresolvable(name, version, missing))
            elif error is not None:
                if error == "FileNotFoundError":
                    reason = invalid[path]
                    error = "PermissionError" if reason.startswith("permission") else error
                failures.append(Failure(name, version, error, reason))
        concerned = self._working_set.names_in({*self._places, *self.added})
        for name, project in self._working_set.installed.items():
            version = (project.described or ("", ""))[1]
            error, missing, reason = self._working_set.require(name)
            if error == NOT_FOUND:
                unresolvable.append(self._unresolvable(name, version, missing))
            elif error is not None:
                failures.append(Failure(name, version, error, reason))
            if name in concerned and not self._excluded(name):
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

    def finds_all_names(self) -> bool:
        """Return True if no lookup can fail because of a name. It takes a tenth of their time.

        Each distribution is found by its own name, and by those with which others require it.
        """
        if not self._pkg_resources.exists:
            return True
        found = self._working_set
        try:
            required = found.required_keys()
        except RequireError:
            return False
        return all(
            (own := found.active.get(names.key_of(name))) and own.metadata == one.metadata
            for name, one in found.installed.items()
        ) and all(found.finds(key) for key in required if names.normalized(key) in self._spelled)

    def _undescribed(self, paths: Collection[str]) -> Iterator[tuple[str, str, str]]:
        """Yield the names, versions and paths of active distributions that are among `paths`."""
        for one in self._working_set.active.values():
            if one.metadata in paths:
                version = names.split(posixpath.basename(one.metadata))[1]
                yield one.project_name, version, one.metadata

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
        project = self._working_set.installed.get(name)
        if project is None:
            return
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
                script = wanted.get(path.rpartition("/")[2])
                if script is not None and script in scripts:
                    scripts.remove(script)  # the first file decides
                    file = _inside(posixpath.dirname(directory), path)
                    if b"pkg_resources" in (self._tree.read(file, METADATA_LIMIT) or b""):
                        asking.add(script)
                    if not scripts:
                        break
        return asking


def _is_ghost(tree: Tree, wanted: Plan) -> bool:
    """Return True if RECORD lists code and no file of it exists.

    Bytecode may have replaced it (PEP 3147, "legacy"), and PyInstaller packs it into an archive.
    """
    place = posixpath.dirname(wanted.path)
    missing: set[str] = set()
    for path in wanted.record.paths() if wanted.record else ():
        if path not in missing and not record.split(path)[0].endswith(names.SUFFIX):
            file = _inside(place, path)
            if tree.is_file(file) or (path.endswith(".py") and tree.is_file(file + "c")):
                return False
            missing.add(path)
    return bool(missing) and not tree.is_file(f"{place}/base_library.zip")


def _inside(place: str, path: str) -> str:
    """Return where a RECORD in `place` has the file `path`."""
    return posixpath.normpath(posixpath.join(place, path.replace("\\", "/")))
