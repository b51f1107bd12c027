"""The lookups of pkg_resources, and which of them fail for a distribution."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check import entry_points
from uvshim.check.distributions import RequireError
from uvshim.rename.names import key_of, normalized

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from uvshim.check.distributions import Distribution, Installed
    from uvshim.check.working_set import WorkingSet

REQUIRE = "require"
GET_DISTRIBUTION = "get_distribution"
BEST_MATCH = "best_match"
BY_KEY = "by_key"
ENVIRONMENT = "Environment"
IN_REQUIREMENT = "in Requirement"
PROJECT_NAME = "project_name"
ITER_ENTRY_POINTS = "iter_entry_points"
LOAD_ENTRY_POINT = "load_entry_point"


class Lookups(NamedTuple):
    """The lookups that fail for one distribution."""

    name: str
    """Its name, as METADATA has it."""
    version: str
    failing: tuple[str, ...]
    """Which do not find it, or not all that it needs."""


def failing(
    working_set: WorkingSet, project: Installed, installed: Container[str], *, requires: bool
) -> tuple[str, ...]:
    """Return the lookups that fail for `project` by its name.

    `installed` are the normalized names of all that is installed, `requires` is whether `require`
    succeeds. The names of lookups are those of pkg_resources:

    - ``by_key``: ``working_set.by_key[KEY]``;
    - ``Environment``: ``Environment()[KEY]``;
    - ``in Requirement``: ``distribution in Requirement.parse(NAME)``;
    - ``project_name``: it is not NAME, and has another key;
    - ``load_entry_point``: for one of its entry points, unless that needs extras which are not
      installed.
    """
    name = project.name
    key = key_of(name)
    # Mostly it is one of two; otherwise all would be compared with all.
    likely = map(working_set.active.get, (key, normalized(name)))
    every = itertools.chain(likely, working_set.active.values())
    own = next((each for each in every if each and each.metadata == project.metadata), None)
    found = requires or _holds(lambda: working_set.finds(name))
    points = functools.cache(lambda: entry_points.of(own) if own is not None else {})
    outcomes: dict[str, Callable[[], object]] = {
        REQUIRE: lambda: requires,
        GET_DISTRIBUTION: lambda: found,
        BEST_MATCH: lambda: found or working_set.best_match(name),
        BY_KEY: lambda: key in working_set.active,
        ENVIRONMENT: lambda: working_set.is_available(key),
        IN_REQUIREMENT: lambda: own is None or working_set.meets(own, name),
        PROJECT_NAME: lambda: own is None or own.key == key,
        ITER_ENTRY_POINTS: lambda: points() is not None,
        LOAD_ENTRY_POINT: lambda: all(
            found and working_set.load_entry_point(name, group, entry).error is None
            for group, entries in points().items()
            for entry, extras in entries.items()
            if own is not None
            if not (requires and not extras)
            if _are_installed(extras, own, working_set, installed)
        ),
    }
    return tuple(lookup for lookup, succeeds in outcomes.items() if not _holds(succeeds))


def _are_installed(
    extras: str, own: Distribution, working_set: WorkingSet, installed: Container[str]
) -> bool:
    """Return True if what `own` requires for `extras`, which are in brackets, is installed."""
    wanted = working_set.requirements.parse(f"x{extras}").extras if extras else ()
    required = working_set.requirements.of(own, wanted)
    return all(normalized(each.name) in installed for each in required)


def _holds(succeeds: Callable[[], object]) -> bool:
    try:
        return bool(succeeds())
    except RequireError:
        return False
