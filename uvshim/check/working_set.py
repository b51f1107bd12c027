"""A model of pkg_resources in an environment: the answer of each lookup, without running it.

Modelled on the source of `pkg_resources` in pypa/setuptools, and compared with the real one
for each release. `rename.setuptools.PkgResources` has the differences between releases.
"""

from __future__ import annotations

import functools
import platform as this_platform
import sys
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check import entry_points
from uvshim.check.distributions import (
    IMPORT_ERROR,
    INDEX_ERROR,
    INVALID_VERSION,
    NOT_FOUND,
    VERSION_CONFLICT,
    NoVersionError,
    RequireError,
    by_any_version,
    by_version,
    find,
    old_precedence,
    parsed_version,
    precedence,
    replaced_version,
)
from uvshim.check.requirements import Requirements
from uvshim.environments import interpreter
from uvshim.environments.search_path import search_path
from uvshim.rename.names import normalized, safe_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.version import Version

    from uvshim.check.distributions import Distribution
    from uvshim.check.requirements import Requirement
    from uvshim.environments.tree import Tree
    from uvshim.rename.setuptools import PkgResources

    _Rank = tuple[tuple[bool, Version | tuple[str, ...]], bool, str, str, str]

# The first releases of packaging that refuse versions and specifiers outside PEP 440, and that
# compare an invalid version again instead of raising an error.
_STRICT_PACKAGING = 22
_LENIENT_PACKAGING = 26


class Resolution(NamedTuple):
    """What `pkg_resources.require` would do for one name."""

    error: str | None
    """The name of the exception that it would raise; None if it would succeed."""
    missing: tuple[str, ...] = ()
    """After `NOT_FOUND`, the names of all requirements that it cannot find, as they are written.

    pkg_resources itself stops at the first one.
    """
    reason: str = ""
    """The cause of another error, as a clause, if there is more to say than its name."""
    found: tuple[str, ...] = ()
    """The keys of all requirements that were met, if there is no error."""


class WorkingSet:
    """The distributions that pkg_resources sees, and its lookups."""

    def __init__(
        self,
        tree: Tree,
        entries: Iterable[str],
        pkg_resources: PkgResources,
        markers: Mapping[str, str],
    ) -> None:
        """Look for distributions in `entries`, the `sys.path` of the environment.

        `markers` are the variables of environment markers in which the environment differs from
        the running Python; ``python_version`` must be one of them.
        """
        self.entries = list(entries)
        self.active: dict[str, Distribution] = {}
        """What `working_set.by_key` holds, and what `iter(working_set)` yields, in this order."""
        self._tree = tree
        self._pkg_resources = pkg_resources
        self._python = markers["python_version"]
        self._platform = _platform(markers)
        if pkg_resources.shortens_python_version:
            markers = {**markers, "python_version": self._python[:3]}
        self._canonical: dict[str, str] = {}
        self._available: dict[str, list[Distribution]] | None = None
        self._answers: dict[tuple[Distribution, Requirement], bool] = {}
        for distribution in self._found(nested=False):
            if distribution.key not in self.active:
                self.active[distribution.key] = distribution
                self._canonical[normalized(distribution.key)] = distribution.key
        lenient = pkg_resources.accepts_any_version or self._own_packaging < _STRICT_PACKAGING
        self.requirements = Requirements(markers, lenient=lenient)

    @classmethod
    def in_environment(
        cls,
        tree: Tree,
        site_packages: Sequence[str],
        pkg_resources: PkgResources,
        python: str,
        platform: str | None = None,
    ) -> WorkingSet:
        """Return the working set of an environment.

        `site_packages` are the directories that its Python imports from, `python` is the version
        of that Python, and `platform` is the image's, as in ``linux/arm64``.
        """
        path = search_path(tree, site_packages)
        if pkg_resources.vendored:
            path += [f"{place}/{pkg_resources.vendored}" for place in path]
        markers = interpreter.markers(tree, python, site_packages, platform)
        return cls(tree, path, pkg_resources, markers)

    # --- the lookups ------------------------------------------------------------------------------

    def require(self, name: str) -> Resolution:
        """Return what `pkg_resources.require` of `name`, perhaps with extras, would do."""
        return self._required(name, {})

    def get_distribution(self, name: str) -> Distribution:
        """Return what `pkg_resources.get_distribution(name)` returns. Raise `RequireError`."""
        return self._distribution(name, {})

    def finds(self, name: str) -> bool:
        """Return True if an active distribution is found for `name`, without its requirements.

        `get_distribution` tries this and `require`. Raise `RequireError`.
        """
        return self._find(self.requirements.parse(name)) is not None

    def best_match(self, name: str) -> Distribution | None:
        """Return what `Environment().best_match(requirement, working_set)` returns for `name`.

        Raise `RequireError`.
        """
        return self._best_match(self.requirements.parse(name))

    def available(self, key: str) -> list[Distribution]:
        """Return what `Environment()[key]` returns: active or not, the newest first.

        Raise `RequireError`.
        """
        return self._all_available().get(key.lower(), [])

    def is_available(self, key: str) -> bool:
        """Return True if `available` returns anything, often without reading the path."""
        active = self.active.get(key)
        if (
            active is not None
            and not self._pkg_resources.needs_valid_versions
            and self._runs_here(active)
            and self._has_version(active)
        ):
            return True
        return bool(self.available(key))

    def meets(self, distribution: Distribution, name: str) -> bool:
        """Return what `distribution in Requirement.parse(name)` returns. Raise `RequireError`."""
        requirement = self.requirements.parse(name)
        return distribution.key == requirement.key and self._meets(distribution, requirement)

    def iter_entry_points(self, group: str) -> Iterator[tuple[Distribution, str]]:
        """Yield the distribution and name of each entry point of `iter_entry_points(group)`.

        Raise `RequireError`.
        """
        for distribution in self.active.values():
            for name in entry_points.of(distribution).get(group, ()):
                yield distribution, name

    def load_entry_point(self, name: str, group: str, entry: str) -> Resolution:
        """Return what `pkg_resources.load_entry_point` does before it imports anything."""
        chosen: dict[str, Distribution] = {}
        try:
            distribution = self._distribution(name, chosen)
            extras = entry_points.of(distribution).get(group, {}).get(entry)
            if extras is None:
                return Resolution(IMPORT_ERROR)
            wanted = self.requirements.parse(f"x{extras}").extras if extras else ()
            required = self.requirements.of(distribution, wanted)
        except RequireError as error:
            return Resolution(str(error), reason=error.reason)
        return self._outcome(required, chosen, wanted)

    # --- how they are answered --------------------------------------------------------------------

    def _required(self, name: str, chosen: dict[str, Distribution]) -> Resolution:
        try:
            requirement = self.requirements.parse(name)
        except RequireError as error:
            return Resolution(str(error))
        return self._outcome([requirement], chosen)

    def _distribution(self, name: str, chosen: dict[str, Distribution]) -> Distribution:
        """Return what `get_distribution` returns; add what it activates to `chosen`."""
        found = self._find(self.requirements.parse(name))
        if found is None:
            answer = self._required(name, chosen)
            if answer.error is not None:
                raise RequireError(answer.error, answer.reason)
            found = self.best_match(name)
            if found is None:  # its marker does not hold: `require` returned nothing
                raise RequireError(INDEX_ERROR)
        return found

    def _outcome(
        self,
        roots: list[Requirement],
        chosen: dict[str, Distribution],
        extras: tuple[str, ...] = (),
    ) -> Resolution:
        """Return the outcome of resolving the requirements `roots`."""
        missing: dict[str, str] = {}
        found = []
        try:
            for requirement, distribution in self._resolved(roots, chosen, extras):
                if distribution is None:
                    missing.setdefault(requirement.key, requirement.name)
                else:
                    found.append(requirement.key)
        except RequireError as error:
            if not missing:
                return Resolution(str(error), reason=error.reason)
        if missing:
            return Resolution(NOT_FOUND, tuple(missing.values()))
        return Resolution(None, found=tuple(found))

    def _resolved(
        self,
        roots: list[Requirement],
        chosen: dict[str, Distribution],
        extras: tuple[str, ...],
    ) -> Iterator[tuple[Requirement, Distribution | None]]:
        """Yield `roots` and their requirements in order, each with the distribution that meets it.

        pkg_resources stops at the first that is not met. Raise `RequireError` for anything
        else that it would stop at.
        """
        waiting = roots[::-1]
        processed: set[Requirement] = set()
        demanded_with: dict[Requirement, tuple[str, ...]] = {}
        for requirement in waiting:  # the list grows while we iterate
            if requirement.first in processed:
                continue
            demanded = demanded_with.get(requirement.first, ()) + (extras or ("",))
            if not self.requirements.applies(requirement, demanded):
                continue
            processed.add(requirement.first)
            distribution = self._best(requirement, chosen)
            yield requirement, distribution
            if distribution is None:
                continue
            required = self.requirements.of(distribution, requirement.extras)[::-1]
            waiting += required
            demanded_with.update((one.first, requirement.extras) for one in required)

    def _best(
        self, requirement: Requirement, chosen: dict[str, Distribution]
    ) -> Distribution | None:
        """Return the distribution that meets `requirement`, or None.

        `chosen` are inactive ones that were chosen for an earlier requirement: a later
        one gets the same. Raise `RequireError` if the only candidate has another version.
        """
        key = requirement.key
        distribution = chosen.get(key) or self.active.get(key)
        if distribution is None:
            distribution = self._best_match(requirement)
            if distribution is not None and self._active_for(key) is None:
                chosen[key] = distribution
            return distribution
        return self._checked(distribution, requirement)

    def _best_match(self, requirement: Requirement) -> Distribution | None:
        if self._pkg_resources.needs_valid_versions:
            self._all_available()  # this may fail even if the result is not needed
        distribution = self._find(requirement)
        if distribution is not None:
            return distribution
        others = self._all_available().get(requirement.key, ())
        return next((one for one in others if self._meets(one, requirement)), None)

    def _find(self, requirement: Requirement) -> Distribution | None:
        """Return what `working_set.find` returns. Raise `RequireError`."""
        distribution = self._active_for(requirement.key)
        return None if distribution is None else self._checked(distribution, requirement)

    def _checked(self, distribution: Distribution, requirement: Requirement) -> Distribution:
        """Return `distribution`. Raise `RequireError` if its version is not the required one."""
        if not self._meets(distribution, requirement):
            wanted = f"{requirement.name}{requirement.specifier}"
            reason = f"{wanted} is required, and {distribution.version} is installed"
            raise RequireError(VERSION_CONFLICT, reason)
        return distribution

    def _active_for(self, key: str) -> Distribution | None:
        """Return the active distribution that requirement lookups find as `key`."""
        found = self.active.get(key)
        if found is None and self._pkg_resources.finds_every_spelling:
            found = self.active.get(self._canonical.get(key, ""))
        if found is None and not self._pkg_resources.needs_dots:
            found = self.active.get(safe_name(key).replace(".", "-"))
        return found

    def _meets(self, distribution: Distribution, requirement: Requirement) -> bool:
        question = (distribution, requirement)
        if question not in self._answers:
            self._answers[question] = self._compared(distribution.version, requirement)
        return self._answers[question]

    def _compared(self, version: str, requirement: Requirement) -> bool:
        """Return True if `version` meets the specifiers of `requirement`. Raise `RequireError`."""
        if any(not _meets_old(version, *one) for one in requirement.old):
            return False
        if (parsed := parsed_version(version)) is not None:
            return self.requirements.meets(parsed, requirement)
        if self._any_version:
            wanted = [(one.operator, one.version.lower()) for one in requirement.specifier]
            return all(one == ("===", version.lower()) for one in wanted)
        raise RequireError(INVALID_VERSION)

    @functools.cached_property
    def _any_version(self) -> bool:
        """Whether a version outside PEP 440 is accepted.

        packaging accepted it before 22, and accepts it again since 26.0.
        """
        if self._pkg_resources.accepts_any_version:
            return True
        return not _STRICT_PACKAGING <= self._own_packaging < _LENIENT_PACKAGING

    @functools.cached_property
    def _own_packaging(self) -> int:
        """The first number of the version of packaging that pkg_resources imports.

        Where the vendored distributions are visible, the environment's own packaging comes first.
        """
        own = self.active.get("packaging") if self._pkg_resources.vendored else None
        version = None if own is None else parsed_version(own.version)
        return _STRICT_PACKAGING if version is None else version.major

    def _found(self, *, nested: bool) -> Iterator[Distribution]:
        order = None
        if self._pkg_resources.sees_newest_first:
            any_version = self._pkg_resources.sorts_invalid_versions
            order = by_any_version if any_version else by_version
        for entry in self.entries:
            yield from find(self._tree, entry, nested=nested, order=order)

    def _all_available(self) -> dict[str, list[Distribution]]:
        """Return all distributions on the path, active or not, by key, the newest first."""
        if self._available is None:
            available: dict[str, dict[tuple[_Rank, str], Distribution]] = {}
            for distribution in self._found(nested=True):
                if self._runs_here(distribution) and self._has_version(distribution):
                    # One that is found twice, perhaps through an egg-link, counts once.
                    same = available.setdefault(distribution.key, {})
                    same.setdefault((self._rank(distribution), distribution.kind), distribution)
            self._available = {
                key: [one for _, one in sorted(same.items(), key=_rank_of, reverse=True)]
                for key, same in available.items()
            }
        return self._available

    def _runs_here(self, distribution: Distribution) -> bool:
        """Return True if the egg `distribution` is for this Python and this platform."""
        return distribution.python in {"", self._python} and (
            not distribution.platform or distribution.platform == self._platform
        )

    def _rank(self, one: Distribution) -> _Rank:
        """Return the sort key of the distributions of one project."""
        version = one.version
        if not self._pkg_resources.accepts_any_version and parsed_version(version) is None:
            version = replaced_version(version)
        return (precedence(version), one.kind == ".egg", one.location, one.python, one.platform)

    def _has_version(self, distribution: Distribution) -> bool:
        try:
            version = distribution.version
        except NoVersionError:
            return False
        if self._pkg_resources.needs_valid_versions and parsed_version(version) is None:
            raise RequireError(INVALID_VERSION)
        return True


def _platform(markers: Mapping[str, str]) -> str:
    """Return the platform in the names of eggs, as ``linux-x86_64``, that `markers` describe."""
    system = markers.get("sys_platform", sys.platform)
    machine = markers.get("platform_machine", this_platform.machine())
    return f"{system}-{machine}"


def _rank_of(item: tuple[tuple[_Rank, str], Distribution]) -> _Rank:
    return item[0][0]


def _meets_old(version: str, operator: str, wanted: str) -> bool:
    """Return True if `version` meets a specifier outside PEP 440."""
    left, right = old_precedence(version), old_precedence(wanted)
    if operator in {"==", "!="}:
        return (left == right) is (operator == "==")
    if left == right:
        return operator.endswith("=")
    return (left < right) is operator.startswith("<")
