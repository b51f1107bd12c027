"""The problems with distributions' names in an environment, and their consequences.

Everything is read through a `Tree`; no code of the environment is imported or run. Slow steps
are skipped where they cannot matter: if no directory can have a wrong name, and there is no
pkg_resources that such a name would break, the listing is enough.
"""

from __future__ import annotations

import functools
import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check import lookups as lookups_of
from uvshim.check import required
from uvshim.check.directories import Finding, Unreadable, problems
from uvshim.check.lookups import REQUIRE, EntryPoint, Failure, Lookups, Unresolvable
from uvshim.check.metadata import NOT_FOUND, RequireError
from uvshim.environments import environment, interpreter, search_path
from uvshim.rename import names, setuptools
from uvshim.rename.plan import MISNAMED, NORMALIZED_NAME
from uvshim.rename.spelling import Spellings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from uvshim.check.lookups import AffectedProgram
    from uvshim.check.required import Spelling
    from uvshim.check.requirements import Requirement
    from uvshim.check.working_set import WorkingSet
    from uvshim.environments.tree import Tree


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
    """Distributions for which `require` does not find a name, or finds another version under it.

    The latter counts if a right name helps. Without pkg_resources, the list is empty.
    """
    entry_points: tuple[EntryPoint, ...] = ()
    failures: tuple[Failure, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    invalid: tuple[Unreadable, ...] = ()
    """Others without a valid METADATA. Their names are right all the same."""
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
    shadowed: tuple[str, ...] = ()
    """Names of `findings` before which another version is found, but is not what is required."""

    @property
    def wrong(self) -> list[Finding]:
        """The findings that break something here."""
        shadowed = {*self.shadowed}  # a tuple would be searched for each finding
        return [one for one in self.findings if self._breaks(one, shadowed)]

    def matters(self, finding: Finding) -> bool:
        """Return True if `finding` breaks something: its name does only if pkg_resources fails."""
        return self._breaks(finding, self.shadowed)

    def _breaks(self, finding: Finding, shadowed: Collection[str]) -> bool:
        return self.affected or finding.kind != NORMALIZED_NAME or finding.name in shadowed

    @property
    def by_require_only(self) -> list[Lookups]:
        """The distributions whose names `require` finds and another lookup does not."""
        refused = {one.name for one in self.refused}
        by_name = (
            one._replace(failing=tuple(each for each in one.failing if each != REQUIRE))
            for one in self.lookups
            if REQUIRE not in one.failing or one.name in refused
        )
        return [one for one in by_name if one.failing]

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
    `python` is the version of its Python, as in ``3.12.1``; by default the tree shows it.
    `platform` is that of an image, as in ``linux/arm64``. Problems of directories whose project
    name is `excluded` are reported separately.

    Raise nothing, whatever is in the tree, but ValueError for a `platform` of another form.
    """
    if platform is not None and not interpreter.is_platform(platform):
        raise ValueError(f"platform must be OS/ARCHITECTURE, as in linux/arm64, not {platform!r}")
    if site_packages is None:
        site_packages = site_packages_in(tree)
    elif isinstance(site_packages, (str, os.PathLike)):
        site_packages = [site_packages]
    places = [os.fspath(each) for each in site_packages]
    return Model(tree, places, excluded, python, platform).diagnosis()


def site_packages_in(tree: Tree) -> list[str]:
    """Return the site-packages directories in the usual places of `tree`, or its root itself."""
    usual = environment.usual_site_packages("", tree.names)
    found: dict[frozenset[str], str] = {}
    for path in filter(tree.is_directory, usual):
        # One path may be a link to another: those with equal contents count once.
        found.setdefault(frozenset(tree.names(path)), path)
    return list(found.values()) or ["."]


class Model:
    """An environment and its pkg_resources, which looks at distributions once they are needed.

    - `added`: directories that .pth files add to the `places`;
    - `inherited`: those of both in which an earlier directory may hide a problem;
    - `spelled`: returns what decides names in a directory.
    """

    def __init__(
        self,
        tree: Tree,
        places: Sequence[str],
        excluded: Callable[[str], bool],
        python: str | None = None,
        platform: str | None = None,
    ) -> None:
        """Find its release of setuptools. The arguments are those of `diagnose`."""
        self._tree = tree
        self._places = tuple(places)
        self._excluded = excluded
        self._about = python, platform
        self.inherited: Collection[str] = ()
        self.added: Collection[str] = ()
        self._normalized: dict[str, list[Finding]] = {}
        self._shadowed: set[str] = set()
        self.spelled: Callable[[str], Spellings | None] = lambda _place: self._own_spellings
        self._setuptools, self._pkg_resources = setuptools.imported_from(
            tree, search_path.search_path(tree, self._places)
        )

    @functools.cached_property
    def _working_set(self) -> WorkingSet:
        from uvshim.check.working_set import WorkingSet

        return WorkingSet.in_environment(
            self._tree, self._places, self._pkg_resources, *self._about
        )

    @functools.cached_property
    def _own_spellings(self) -> Spellings | None:
        """The spellings that decide names, None if spelling does not matter."""
        if self._pkg_resources.finds_every_spelling:
            return None
        return Spellings(required.keys_in(self._working_set))

    def _of_directories(self) -> Diagnosis:
        findings: list[Finding] = []
        excluded: list[Finding] = []
        unreadable: list[Unreadable] = []
        invalid: list[Unreadable] = []
        distributions = 0
        present: set[str] = set()
        for place in (*self._places, *self.added):
            hidden = present if place in self.inherited else ()
            for each in problems(self._tree, place, self.spelled(place), hidden):
                if isinstance(each, Finding):
                    (excluded if self._excluded(each.name) else findings).append(each)
                elif each.project and self._excluded(each.project):
                    own = posixpath.basename(each.path)
                    excluded.append(Finding(MISNAMED, each.project, "", each.path, own))
                else:
                    same = invalid if each.is_sure else unreadable
                    same.append(Unreadable(each.path, each.reason))
            listed = [
                each.removesuffix(".egg-info")
                for each in self._tree.names(place)
                if environment.is_dist_info(each) or each.endswith(".egg-info")
            ]
            distributions += 0 if place in self.added else len(listed)
            present.update(names.key_of(each.partition("-")[0]) for each in listed)
        is_by_spelling = not self._pkg_resources.finds_every_spelling
        renames = {one.path: one.expected for one in findings}
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

    def diagnosis(self, *, names_only: bool = False) -> Diagnosis:
        """Return what the directories show, and for every distribution which lookups fail.

        With `names_only`, these are not tried if none can fail because of a name.
        """
        diagnosis = self._of_directories()
        if not self._pkg_resources.exists:
            return diagnosis
        for each in diagnosis.findings:
            if each.kind == NORMALIZED_NAME and not each.owner:
                self._normalized.setdefault(names.normalized(each.name), []).append(each)
        found = self._working_set
        if names_only and found.finds_all_names():
            return diagnosis
        invalid = {one.path: one.reason for one in diagnosis.invalid}
        refused = [
            self._refusal(
                one.project_name,
                names.split(posixpath.basename(one.metadata))[1],
                invalid[one.metadata],
            )
            for one in found.active.values()
            if one.metadata in invalid
        ]
        concerned = found.names_in({*self._places, *self.added})
        lookups = []
        for name, project in found.installed.items():
            version = project.described[1] if project.described else ""
            refused.append(self._refusal(name, version))
            if name in concerned and not self._excluded(name):
                failing = lookups_of.failing(found, name, requires=refused[-1] is None)
                lookups += [Lookups(name, version, failing)] if failing else []
        python = self._about[0] or interpreter.version_of(self._tree, self._places, "0")
        if not self._pkg_resources.is_imported_by(python):
            why = f"Python {python} cannot import its pkg_resources"
            refused.append(Failure("setuptools", self._setuptools or "", "AttributeError", why))
        unresolvable = [one for one in refused if isinstance(one, Unresolvable)]
        return diagnosis._replace(
            unresolvable=tuple(unresolvable),
            entry_points=tuple(
                EntryPoint(group, entry, one.name)
                for one in unresolvable
                for group, entry in lookups_of.entry_points(found, one.name)
            ),
            failures=tuple(one for one in refused if isinstance(one, Failure)),
            lookups=tuple(lookups),
            programs=tuple(lookups_of.affected(found, lookups)),
            shadowed=tuple(sorted(self._shadowed)),
        )

    def _is_shadowed(self, wanted: Requirement) -> bool:
        """Return True if a right name would show a distribution that meets what is `wanted`.

        Another one has the dotted name: it is inherited, or setuptools has it in `_vendor`.
        """
        meets = self._working_set.requirements.meets
        for one in self._normalized.get(names.normalized(wanted.name), ()):
            if meets(one.version, wanted):
                self._shadowed.add(one.name)
                return True
        return False

    def _refusal(self, name: str, version: str, reason: str = "") -> Unresolvable | Failure | None:
        """Return what `require` of a distribution fails for; `reason`: why it cannot be read."""
        try:
            self._working_set.require(name)
        except RequireError as error:
            kind, cause, missing = str(error), error.reason, error.missing
            if error.unmet and self._is_shadowed(error.unmet):
                kind, missing = NOT_FOUND, (error.unmet.name,)
        else:
            return None
        if kind != NOT_FOUND:
            if reason and kind == "FileNotFoundError":
                cause = reason
                kind = "PermissionError" if reason.startswith("permission") else kind
            return Failure(name, version, kind, cause)
        absent, excluded, misspelled = [], [], []
        for one in missing:
            keys = self._working_set.spelled.get(names.normalized(one))
            if keys is None:
                absent.append(one)
            elif self._excluded(one):
                excluded.append(one)
            elif self._pkg_resources.finds_every_spelling and names.key_of(one) not in keys:
                misspelled.append(one)
        return Unresolvable(
            name, version, missing, tuple(absent), tuple(excluded), tuple(misspelled)
        )
