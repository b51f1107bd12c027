"""A model of pkg_resources in an environment: the answer of each lookup, without running it.

Modelled on the source of `pkg_resources` in pypa/setuptools, and compared with the real one
for each release. `rename.setuptools.PkgResources` has the differences between releases.
"""

from __future__ import annotations

import functools
import os
import posixpath
import re
import sys
from itertools import chain
from typing import TYPE_CHECKING

from uvshim.check.distributions import find
from uvshim.check.metadata import NOT_FOUND, NoVersionError, RequireError
from uvshim.check.versions import by_version, parsed_version, precedence, replaced_version
from uvshim.environments import interpreter
from uvshim.environments.search_path import search_path
from uvshim.environments.tree import pay
from uvshim.rename.names import key_of, normalized, safe_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from uvshim.check.distributions import Distribution
    from uvshim.check.requirements import Requirement, Requirements
    from uvshim.check.versions import Precedence
    from uvshim.environments.tree import Tree
    from uvshim.rename.setuptools import PkgResources

    # What meets a requirement, what it requires, and what of that has a marker.
    _Step = tuple[Distribution | None, list[Requirement], list[Requirement]]
    _Rank = tuple[Precedence, bool, str, str, str]

# The first releases of packaging that refuse versions and specifiers outside PEP 440, and that
# compare an invalid version again instead of raising an error.
_STRICT_PACKAGING = 22
_LENIENT_PACKAGING = 26

# The name that a requirement begins with.
_NAME = re.compile(r"[A-Za-z0-9._-]*")


class WorkingSet:
    """The distributions that pkg_resources sees, and its lookups.

    Lookups raise `RequireError` with the name of the exception that pkg_resources raises.
    """

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
        self.pkg_resources = pkg_resources
        self.active: dict[str, Distribution] = {}
        """What `working_set.by_key` holds, and what `iter(working_set)` yields, in this order."""
        self._python = markers["python_version"]
        system = markers.get("sys_platform", sys.platform)
        self._platform = f"{system}-{markers.get('platform_machine', os.uname().machine)}"
        if pkg_resources.shortens_python_version:
            markers = {**markers, "python_version": self._python[:3]}
        self._tree = tree
        self._markers = markers
        self._canonical: dict[str, str] = {}
        self._steps: dict[Requirement, _Step] = {}
        order = None
        if pkg_resources.sees_newest_first:
            any_version = pkg_resources.sorts_invalid_versions
            order = functools.partial(by_version, any_version=any_version)
        self._everything = [list(find(tree, entry, order)) for entry in entries]
        """The distributions at each entry, and what leads from there."""
        for each in chain(*self._everything):
            if each.is_direct and each.key not in self.active:
                self.active[each.key] = each
                self._canonical[normalized(each.key)] = each.key

    @classmethod
    def in_environment(
        cls,
        tree: Tree,
        site_packages: Sequence[str],
        pkg_resources: PkgResources,
        python: str | None = None,
        image_platform: str | None = None,
    ) -> WorkingSet:
        """Return that of an environment whose Python imports from `site_packages`.

        `python` is its version, if that is known; `image_platform` is as in ``linux/arm64``.
        """
        path = search_path(tree, site_packages)
        if pkg_resources.vendored and pkg_resources.entry is not None:
            path.append(f"{pkg_resources.entry}/{pkg_resources.vendored}")
        python = python or interpreter.version_of(tree, site_packages)
        markers = interpreter.markers(tree, python, site_packages, image_platform)
        return cls(tree, path, pkg_resources, markers)

    @functools.cached_property
    def requirements(self) -> Requirements:
        """The requirements of its distributions.

        Where the vendored distributions are visible, pkg_resources imports the environment's own
        packaging, if there is one.
        """
        from uvshim.check.requirements import shared

        packaging = _STRICT_PACKAGING
        own = self.active.get("packaging") if self.pkg_resources.vendored else None
        if own is not None and (version := parsed_version(own.version)) is not None:
            packaging = version.major
        accepts_any = self.pkg_resources.accepts_any_version
        return shared(
            frozenset(self._markers.items()),
            lenient=accepts_any or packaging < _STRICT_PACKAGING,
            any_version=accepts_any or not _STRICT_PACKAGING <= packaging < _LENIENT_PACKAGING,
        )

    def require(self, name: str) -> None:
        """Do what `pkg_resources.require` of `name`, perhaps with extras, does.

        pkg_resources stops at the first name that it cannot find. Here, the error has all of them.
        """
        self._resolve([self.requirements.parse(name)], {})

    def get_distribution(
        self, name: str, chosen: dict[str, Distribution] | None = None
    ) -> Distribution:
        """Return what `pkg_resources.get_distribution(name)` returns, and add it to `chosen`."""
        requirement = self.requirements.parse(name)
        found = self.find(requirement)
        if found is None:
            self._resolve([requirement], {} if chosen is None else chosen)
            found = self.best_match(requirement)
            if found is None:  # its marker does not hold: nothing was required
                raise RequireError("IndexError")
        return found

    def available(self, key: str) -> list[Distribution]:
        """Return what `Environment()[key]` returns: active or not, the newest first."""
        return self._all_available.get(key.lower(), [])

    def meets(self, distribution: Distribution, name: str) -> bool:
        """Return what `distribution in Requirement.parse(name)` returns."""
        requirement = self.requirements.parse(name)
        return distribution.key == requirement.key and self.requirements.meets(
            distribution.version, requirement
        )

    def load_entry_point(self, name: str, group: str, entry: str) -> Distribution:
        """Return the distribution from which `pkg_resources.load_entry_point` imports."""
        chosen: dict[str, Distribution] = {}
        distribution = self.get_distribution(name, chosen)
        extras = distribution.entry_points.get(group, {}).get(entry)
        if extras is None:
            raise RequireError("ImportError")
        wanted = self.requirements.extras_in(extras)
        self._resolve(self.requirements.of(distribution, wanted), chosen, wanted)
        return distribution

    def _resolve(
        self,
        roots: list[Requirement],
        chosen: dict[str, Distribution],
        extras: tuple[str, ...] = (),
    ) -> None:
        """Resolve `roots`, and the requirements below them as they come up.

        pkg_resources stops at the first that nothing meets, and at every error.
        """
        missing: dict[str, str] = {}
        waiting = roots[::-1]
        processed: set[Requirement] = set()
        demanded_with: dict[Requirement, tuple[str, ...]] = {}
        try:
            for requirement in waiting:  # the list grows while we iterate
                first = requirement.first
                if first in processed:
                    continue
                if requirement.marker and not self.requirements.applies(
                    requirement, demanded_with.get(first, ()) + (extras or ("",))
                ):
                    continue
                processed.add(first)
                found, required, conditional = self._step(requirement, chosen)
                if found is None:
                    missing.setdefault(requirement.key, requirement.name)
                elif required:
                    pay(self._tree, len(required))
                    waiting += required
                    demanded_with.update(dict.fromkeys(conditional, requirement.extras))
        except RequireError:
            if not missing:
                raise
        if missing:
            raise RequireError(NOT_FOUND, missing=tuple(missing.values()))

    def _step(self, requirement: Requirement, chosen: dict[str, Distribution]) -> _Step:
        """Return what meets `requirement`, and what that requires.

        Inactive distributions that an earlier requirement has `chosen` also serve later ones.
        """
        first, key = requirement.first, requirement.key
        if first in self._steps and key not in chosen:
            return self._steps[first]
        found = self._checked(chosen.get(key) or self.active.get(key), requirement)
        if found is None:
            found = self.best_match(requirement)
            if found is not None and self.active_for(key) is None:
                chosen[key] = found
        required = [] if found is None else self.requirements.of(found, requirement.extras)[::-1]
        step = found, required, [each.first for each in required if each.marker]
        if key not in chosen:
            self._steps[first] = step
        return step

    def best_match(self, requirement: Requirement) -> Distribution | None:
        """Return what `Environment().best_match(requirement, working_set)` returns."""
        if self.pkg_resources.needs_valid_versions:
            _ = self._all_available  # this may fail even if the result is not needed
        if (found := self.find(requirement)) is not None:
            return found
        others = self._all_available.get(requirement.key, ())
        meeting = (one for one in others if self.requirements.meets(one.version, requirement))
        return next(meeting, None)

    def find(self, requirement: Requirement) -> Distribution | None:
        """Return what `working_set.find` returns."""
        return self._checked(self.active_for(requirement.key), requirement)

    def _checked(self, found: Distribution | None, requirement: Requirement) -> Distribution | None:
        """Return `found`. Raise `RequireError` if its version is not the required one."""
        if found is not None and not self.requirements.meets(found.version, requirement):
            wanted = f"{requirement.name}{requirement.specifier}"
            reason = f"{wanted} is required, and {found.version} is installed"
            raise RequireError("VersionConflict", reason, unmet=requirement)
        return found

    def active_for(self, key: str) -> Distribution | None:
        """Return the active distribution that requirement lookups find as `key`."""
        found = self.active.get(key)
        if found is None and self.pkg_resources.finds_every_spelling:
            found = self.active.get(self._canonical.get(key, ""))
        if found is None and not self.pkg_resources.needs_dots:
            found = self.active.get(safe_name(key).replace(".", "-"))
        return found

    def finds_all_names(self) -> bool:
        """Return True if no lookup can fail because of a name. It takes a tenth of their time.

        Each distribution is found by its own name, and by those with which others require it.
        """
        try:
            lines = {
                line for one in chain(*self._everything) for _, line in one.requirement_lines()
            }
        except RequireError:
            return False
        keys = {key_of(_NAME.match(line)[0]) for line in lines}  # type: ignore[index]
        return all(self.active_for(key) for key in keys if normalized(key) in self.spelled) and all(
            (own := self.active_at.get(one.metadata)) and own.key == key_of(name)
            for name, one in self.installed.items()
        )

    @functools.cached_property
    def active_at(self) -> dict[str, Distribution]:
        """The active distributions, by the paths of their metadata."""
        return {each.metadata: each for each in self.active.values()}

    @functools.cached_property
    def installed(self) -> dict[str, Distribution]:
        """All distributions on the path, active or not, by the names in METADATA; of two the first.

        In an entry, eggs come first. What pip is removing (~) does not count.
        """
        found: dict[str, Distribution] = {}
        for there in self._everything:
            for each in sorted(there, key=lambda one: (one.kind != ".egg", one.metadata)):
                if each.described and not posixpath.basename(each.metadata).startswith("~"):
                    found.setdefault(each.described[0], each)
        return found

    @functools.cached_property
    def spelled(self) -> dict[str, set[str]]:
        """The keys that find each installed name once its directory has the right name."""
        spelled: dict[str, set[str]] = {}
        for name in self.installed:
            spelled.setdefault(normalized(name), {normalized(name)}).add(key_of(name))
        return spelled

    def names_in(self, directories: Collection[str]) -> set[str]:
        """Return the names of the distributions directly in `directories`, as in `installed`."""
        return {
            each.described[0]
            for each in chain(*self._everything)
            if each.described and posixpath.dirname(each.metadata) in directories
        }

    @functools.cached_property
    def _all_available(self) -> dict[str, list[Distribution]]:
        """All distributions on the path, active or not, by key, the newest first."""
        available: dict[str, dict[tuple[_Rank, str], Distribution]] = {}
        for each in filter(self._is_usable, chain(*self._everything)):
            # One that is found twice, perhaps through an egg-link, counts once.
            available.setdefault(each.key, {}).setdefault((self._rank(each), each.kind), each)
        return {
            key: sorted(same.values(), key=self._rank, reverse=True)
            for key, same in available.items()
        }

    def _rank(self, one: Distribution) -> _Rank:
        version = one.version
        if not self.pkg_resources.accepts_any_version and parsed_version(version) is None:
            version = replaced_version(version)
        return (precedence(version), one.kind == ".egg", one.location, one.python, one.platform)

    def _is_usable(self, one: Distribution) -> bool:
        """Return True if `one` is for this Python and platform, and has a version."""
        if one.python not in {"", self._python} or one.platform not in {"", self._platform}:
            return False
        try:
            is_valid = parsed_version(one.version) is not None
        except NoVersionError:
            return False
        if self.pkg_resources.needs_valid_versions and not is_valid:
            raise RequireError("InvalidVersion")
        return True
