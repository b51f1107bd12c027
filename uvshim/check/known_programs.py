"""Distributions known to use a lookup that does not find normalized names.

Each was tried with setuptools 75.8.0 and 81.0.0, before and after a rename, on 2026-11-25.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from uvshim.check.lookups import BY_KEY, PROJECT_NAME
from uvshim.rename.names import normalized

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from uvshim.check.distributions import Installed
    from uvshim.check.lookups import Lookups


class KnownProgram(NamedTuple):
    """Releases of a distribution, the lookup that they use, and the consequence."""

    name: str
    releases: str
    lookup: str
    groups: frozenset[str]
    """The groups of entry points that it looks for; () for all distributions."""
    consequence: str
    """What happens, as a clause, before the names of the distributions."""


KNOWN_PROGRAMS = (
    KnownProgram(
        "plone.autoinclude",
        "<2.0.0",
        PROJECT_NAME,
        frozenset({"plone.autoinclude.plugin", "z3c.autoinclude.plugin"}),
        "takes module names from project_name, and cannot import that of",
    ),
    KnownProgram(
        "pipdeptree",
        ">=0.13.2,<2.3.1",
        BY_KEY,
        frozenset(),
        'looks names up by their keys, and prints "installed: ?" for',
    ),
)


class AffectedProgram(NamedTuple):
    """An installed distribution that uses a lookup which fails here."""

    name: str
    version: str
    lookup: str
    consequence: str
    affects: tuple[str, ...]
    """The names of the distributions that it does not find."""


def affected(
    projects: Iterable[Installed],
    failing: Sequence[Lookups],
    groups_of: Callable[[str], Collection[str]],
) -> Iterator[AffectedProgram]:
    """Yield each of `projects` that is known to use one of the `failing` lookups.

    `groups_of` returns the groups of the entry points of a distribution, by its name.
    """
    from packaging.specifiers import SpecifierSet

    installed = {normalized(each.name): each for each in projects} if failing else {}
    for known in KNOWN_PROGRAMS:
        found = installed.get(normalized(known.name))
        if found is None or not SpecifierSet(known.releases).contains(found.version):
            continue
        affects = tuple(
            each.name
            for each in failing
            if known.lookup in each.failing
            and (not known.groups or not known.groups.isdisjoint(groups_of(each.name)))
        )
        if affects:
            yield AffectedProgram(
                found.name, found.version, known.lookup, known.consequence, affects
            )
