"""A model of pkg_resources in an environment: what its `require` would say, without running it.

Modelled after the source of `pkg_resources` in pypa/setuptools, and compared with the real one
version by version. Where versions differ, `Dialect` says how.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check.distributions import (
    INVALID_VERSION,
    NOT_FOUND,
    VERSION_CONFLICT,
    NoVersionError,
    RequireError,
    find,
    parsed_version,
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

# The first releases of packaging that refuse versions and specifiers outside PEP 440, and that
# compare an invalid version again instead of raising an error.
_STRICT_PACKAGING = 22
_LENIENT_PACKAGING = 26


class Dialect(NamedTuple):
    """What one version of pkg_resources does, where versions differ."""

    canonical_names: bool
    """`oslo-cache` finds a distribution called `oslo.cache` from 62.0.0 (pypa/setuptools 3153)."""
    dashed_names: bool
    """`oslo.cache` finds a distribution called `oslo-cache` from 75.8.2 (pypa/setuptools 4856)."""
    vendored_path: bool
    """Importing it puts setuptools' vendored distributions on `sys.path`: since 71.0.0."""
    any_version: bool
    """Versions and specifiers outside PEP 440 are accepted: before 67.0.0."""
    newest_first: bool
    """Of two versions in one directory the newer one is active: before 66.0.0."""
    all_versions_valid: bool
    """It can only look past the active distributions if all versions are valid: 66.0 to 67.5.0."""

    short_python_version: bool
    """To its markers, Python 3.10 is Python 3.1: before 49.0.0."""

    @classmethod
    def of(cls, release: tuple[int, ...]) -> Dialect:
        """Return the dialect of the setuptools `release`, as in ``(75, 8, 0)``."""
        return cls(
            canonical_names=release >= (62,),
            dashed_names=release >= (75, 8, 2),
            vendored_path=release >= (71,),
            any_version=release < (67,),
            newest_first=release < (66,),
            all_versions_valid=(66,) <= release < (67, 5, 1),
            short_python_version=release < (49,),
        )


class Resolution(NamedTuple):
    """What `pkg_resources.require` would do for one name."""

    error: str | None
    """The name of the exception that it would raise; None if it would succeed."""
    missing: tuple[str, ...] = ()
    """After `NOT_FOUND`, the names of all requirements that it cannot find, as they are written.

    pkg_resources itself stops at the first one.
    """
    reason: str = ""
    """What leads to another error, as a clause, where more can be said than its name."""
    found: tuple[str, ...] = ()
    """Without an error, the keys of all requirements that were met."""


class WorkingSet:
    """The distributions that pkg_resources has at hand, and its `require`."""

    def __init__(
        self, tree: Tree, entries: Iterable[str], dialect: Dialect, markers: Mapping[str, str]
    ) -> None:
        """Look for distributions in `entries`, the `sys.path` of the environment.

        `markers` are the variables of environment markers in which the environment differs from
        the running Python; ``python_version`` must be one of them.
        """
        self.entries = list(entries)
        self.active: dict[str, Distribution] = {}
        self._tree = tree
        self._dialect = dialect
        self._python = markers["python_version"]
        if dialect.short_python_version:
            markers = {**markers, "python_version": self._python[:3]}
        self._canonical: dict[str, str] = {}
        self._available: dict[str, list[Distribution]] | None = None
        self._answers: dict[tuple[Distribution, Requirement], bool] = {}
        for distribution in self._found(nested=False):
            if distribution.key not in self.active:
                self.active[distribution.key] = distribution
                self._canonical[normalized(distribution.key)] = distribution.key
        lenient = dialect.any_version or self._own_packaging < _STRICT_PACKAGING
        self.requirements = Requirements(markers, lenient=lenient)

    @classmethod
    def in_environment(
        cls, tree: Tree, site_packages: Sequence[str], pkg_resources: PkgResources, python: str
    ) -> WorkingSet:
        """Return what `pkg_resources` has in an environment.

        `site_packages` are the directories that its Python imports from, `python` the version of
        that.
        """
        dialect = Dialect.of(pkg_resources.release or ())
        path = search_path(tree, site_packages)
        if dialect.vendored_path:
            path += [f"{place}/setuptools/_vendor" for place in path]
        markers = interpreter.markers(python, site_packages)
        return cls(tree, path, dialect, markers)

    def require(self, name: str) -> Resolution:
        """Say what `pkg_resources.require` of `name`, perhaps with extras, would do."""
        missing: dict[str, str] = {}
        found = []
        try:
            for requirement, distribution in self._resolved(self.requirements.parse(name)):
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

    def _resolved(self, root: Requirement) -> Iterator[tuple[Requirement, Distribution | None]]:
        """Yield `root` and the requirements below it as they come up, each with what meets it.

        pkg_resources stops at the first that nothing meets. Raises `RequireError` for anything
        else that it would stop at.
        """
        waiting = [root]
        processed: set[Requirement] = set()
        demanded_with: dict[Requirement, tuple[str, ...]] = {}
        for requirement in waiting:  # and it grows meanwhile
            extras = demanded_with.get(requirement.first, ())
            if requirement.first in processed:
                continue
            if not self.requirements.applies(requirement, extras):
                continue
            processed.add(requirement.first)
            distribution = self._best(requirement)
            yield requirement, distribution
            if distribution is None:
                continue
            required = self.requirements.of(distribution, requirement.extras)[::-1]
            waiting += required
            demanded_with.update((one.first, requirement.extras) for one in required)

    def _best(self, requirement: Requirement) -> Distribution | None:
        """Return the distribution that meets `requirement`, or None if there is none.

        Raises `RequireError` if there is one, and it is active, in another version.
        """
        distribution = self.active.get(requirement.key)
        if distribution is None:
            available = self._all_available()  # which may fail, needed or not
            distribution = self._active_for(requirement.key)
            if distribution is None:
                others = available.get(requirement.key, ())
                return next((one for one in others if self._meets(one, requirement)), None)
        if not self._meets(distribution, requirement):
            wanted = f"{requirement.name}{requirement.specifier}"
            reason = f"{wanted} is required, and {distribution.version} is installed"
            raise RequireError(VERSION_CONFLICT, reason)
        return distribution

    def _active_for(self, key: str) -> Distribution | None:
        """Return the active distribution that is found for `key`, under whatever name."""
        found = self.active.get(key)
        if found is None and self._dialect.canonical_names:
            found = self.active.get(self._canonical.get(key, ""))
        if found is None and self._dialect.dashed_names:
            found = self.active.get(safe_name(key).replace(".", "-"))
        return found

    def _meets(self, distribution: Distribution, requirement: Requirement) -> bool:
        question = (distribution, requirement)
        if question not in self._answers:
            version = parsed_version(distribution.version)
            if version is not None:
                answer = requirement.specifier.contains(version, prereleases=True)
            elif self._any_version:
                wanted = [(one.operator, one.version.lower()) for one in requirement.specifier]
                answer = all(one == ("===", distribution.version.lower()) for one in wanted)
            else:
                raise RequireError(INVALID_VERSION)
            self._answers[question] = answer
        return self._answers[question]

    @functools.cached_property
    def _any_version(self) -> bool:
        """Whether a version outside PEP 440 is accepted.

        It was none for packaging before 22, and since 26.0 it is none there.
        """
        if self._dialect.any_version:
            return True
        return not _STRICT_PACKAGING <= self._own_packaging < _LENIENT_PACKAGING

    @functools.cached_property
    def _own_packaging(self) -> int:
        """The first number of the version of packaging that pkg_resources imports.

        Before 71.0.0 it was the one that setuptools brings along, always; from then on it is the
        environment's own if there is one.
        """
        own = self.active.get("packaging") if self._dialect.vendored_path else None
        version = None if own is None else parsed_version(own.version)
        return _STRICT_PACKAGING if version is None else version.major

    def _found(self, *, nested: bool) -> Iterator[Distribution]:
        newest_first = self._dialect.newest_first
        for entry in self.entries:
            yield from find(self._tree, entry, newest_first=newest_first, nested=nested)

    def _all_available(self) -> dict[str, list[Distribution]]:
        """Return all distributions on the path, active or not, by key, the newest first."""
        if self._available is None:
            available: dict[str, list[Distribution]] = {}
            for distribution in self._found(nested=True):
                if distribution.python in {"", self._python} and self._has_version(distribution):
                    available.setdefault(distribution.key, []).append(distribution)
            for same in available.values():
                same.sort(key=_precedence, reverse=True)
            self._available = available
        return self._available

    def _has_version(self, distribution: Distribution) -> bool:
        try:
            version = distribution.version
        except NoVersionError:
            return False
        if self._dialect.all_versions_valid and parsed_version(version) is None:
            raise RequireError(INVALID_VERSION)
        return True


def _precedence(one: Distribution) -> tuple[bool, Version | str, bool, str, str]:
    """Return what pkg_resources sorts the distributions of one project by.

    Simplified in one thing: an invalid version comes before all valid ones, whatever is in it.
    """
    version = parsed_version(one.version)
    return (
        version is not None,
        version or one.version,
        one.kind == ".egg",
        one.location,
        one.python,
    )
