"""How installed distributions spell the names of their requirements.

That matters where pkg_resources finds a name under one spelling only: see `rename.spelling`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from uvshim.environments import interpreter
from uvshim.environments.search_path import added_directories, search_path
from uvshim.environments.tree import identity
from uvshim.rename import names, setuptools
from uvshim.rename.spelling import Spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from uvshim.check.working_set import WorkingSet
    from uvshim.environments.environment import Environment
    from uvshim.environments.tree import SearchableTree, Tree
    from uvshim.rename.setuptools import PkgResources


class Spelling(NamedTuple):
    """One way in which installed distributions spell the name of another one."""

    name: str
    """The name, as METADATA of that distribution has it."""
    spelling: str
    """The key that pkg_resources looks for."""
    found: bool
    """Whether pkg_resources finds the distribution by that key."""
    by: tuple[str, ...]
    """The names of the distributions that use this spelling."""


class Spelled:
    """What decides the names in each site-packages directory of some environments.

    A directory may have one name only, so all that import from it have a say.
    """

    def __init__(self, environments: Iterable[Environment]) -> None:
        """Look at `environments` once it is needed."""
        self._environments = tuple(environments)

    @functools.cached_property
    def _by_directory(self) -> dict[str, Spellings]:
        found: dict[str, Spellings] = {}
        for one in self._environments:
            if own := spellings(one.tree, one.visible):
                for directory in (*one.visible, *added_directories(one)):
                    real = identity(one.tree, directory) or directory
                    others = found[real].required if real in found else ()
                    found[real] = Spellings({*own.required, *others})
        return found

    def at(self, real: str) -> Spellings | None:
        """Return what decides in the directory `real`, a path without links; None if nothing."""
        return self._by_directory.get(real)

    def in_tree(self, tree: SearchableTree, directory: str) -> Spellings | None:
        """Do the same for a `directory` in a `tree`."""
        return self.at(identity(tree, directory) or directory)


def spellings(
    tree: Tree, site_packages: Sequence[str], python: str | None = None
) -> Spellings | None:
    """Return the spellings that decide names where a Python imports from `site_packages`.

    `python` is its version if no path shows it. None: spelling does not matter there. Without a
    pkg_resources before 62 nothing decides; but an old Python may get one later, which needs
    `plan.ORIGINAL`.
    """
    _, pkg_resources = setuptools.imported_from(tree, search_path(tree, site_packages))
    python = interpreter.version_of(tree, site_packages, python)
    if not pkg_resources.finds_every_spelling:
        return Spellings(keys(tree, site_packages, pkg_resources, python))
    return Spellings() if tuple(map(int, python.split(".")[:2])) <= setuptools.LAST_PYTHON else None


def keys(
    tree: Tree, site_packages: Sequence[str], pkg_resources: PkgResources, python: str
) -> set[str]:
    """Return the keys of all requirements in an environment, with all extras."""
    from uvshim.check.working_set import WorkingSet

    return keys_in(WorkingSet.in_environment(tree, site_packages, pkg_resources, python))


def keys_in(working_set: WorkingSet) -> set[str]:
    """Return the keys of all requirements in `working_set`, with all extras."""
    keys_of = functools.partial(working_set.requirements.keys_of, extras=True)
    return set().union(*map(keys_of, working_set.active.values()))


def unfound(working_set: WorkingSet, renames: Mapping[str, str]) -> Iterator[Spelling]:
    """Yield all spellings of each name of which one, or that in METADATA, is not found.

    Names that a rename makes found are omitted: `renames` are the names that directories
    should have, by path.
    """
    found = {
        names.key_of(names.split(renames[one.metadata].rpartition("/")[2])[0])
        if one.metadata in renames
        else one.key
        for one in working_set.active.values()
    }
    spelled: dict[str, dict[str, list[str]]] = {}
    for own, distribution in working_set.active.items():
        name, _ = distribution.described or (own, "")
        for key in working_set.requirements.keys_of(distribution, extras=False):
            spelled.setdefault(names.normalized(key), {}).setdefault(key, []).append(name)
    for name in sorted(working_set.installed):
        ways = spelled.get(names.normalized(name), {})
        if ways and not found.issuperset({names.key_of(name), *ways}):
            for key, by in sorted(ways.items()):
                yield Spelling(name, key, key in found, tuple(sorted(by)))
