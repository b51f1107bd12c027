"""How names are spelled, where pkg_resources finds a name under one spelling only.

Before setuptools 62, `zope.interface` is not found as `zope-interface`, and a directory has one
name. So the name that pkg_resources 62 and later find under every spelling may be the wrong one:
where installed requirements say `zope-interface`, the normalized directory is the one they find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from uvshim.check import distributions
from uvshim.check.distributions import NOT_FOUND, RequireError
from uvshim.environments import interpreter
from uvshim.environments.search_path import search_path
from uvshim.rename import names, setuptools

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from uvshim.check.distributions import Installed
    from uvshim.check.working_set import WorkingSet
    from uvshim.environments.environment import Environment
    from uvshim.environments.snapshot import Snapshot
    from uvshim.environments.tree import Tree


class Spelling(NamedTuple):
    """One way in which installed distributions spell the name of another one."""

    name: str
    """The name that is spelled, as METADATA of that distribution has it."""
    spelling: str
    """The key that pkg_resources looks for."""
    found: bool
    """Whether pkg_resources finds it by this key."""
    by: tuple[str, ...]
    """The names of the distributions that require it so."""


def in_use_after(environment: Environment, before: Snapshot, now: Snapshot) -> frozenset[str]:
    """Return the keys that a rename in `environment` must leave findable: see `in_use`.

    `before` and `now` are what stood there before an install and after it. A dotted name that was
    there before comes back if something needs it.
    """
    gone = before.states.keys() - now.states.keys()
    stood = {names.key_of(names.split(path.rpartition("/")[2])[0]) for path in gone}
    return in_use(environment.tree, environment.visible, stood=stood)


def in_use(
    tree: Tree,
    site_packages: Sequence[str],
    *,
    python: str | None = None,
    stood: Collection[str] = (),
) -> frozenset[str]:
    """Return the keys that renames must leave findable. There are none from setuptools 62 on.

    `site_packages` are the directories that the Python imports from, `python` is its version. The
    keys are those that any `require` which succeeds now goes by, so that it still does afterwards;
    and those that more of the installed distributions use than use the name as METADATA has it.
    Not so for a project that was found before, if something needs it, under a key that `stood`.
    """
    _, pkg_resources = setuptools.imported_from(tree, search_path(tree, site_packages))
    if pkg_resources.finds_every_spelling:
        return frozenset()
    from uvshim.check.working_set import WorkingSet

    python = python or interpreter.version_of(tree, site_packages)
    working_set = WorkingSet.in_environment(tree, site_packages, pkg_resources, python)
    projects = distributions.by_project_name(tree, working_set.entries)
    return keys_in_use(working_set, projects, stood)


def keys_in_use(
    working_set: WorkingSet, projects: Mapping[str, Installed], stood: Collection[str] = ()
) -> frozenset[str]:
    """Return the keys of `in_use` for the `projects`, by name, that `working_set` is made of."""
    keys: set[str] = set()
    wanted_back: set[str] = set()
    for word in _words(working_set, projects):
        answer = working_set.require(word)
        keys.update(answer.found)
        if answer.error == NOT_FOUND:
            missing = {names.key_of(name) for name in answer.missing}
            wanted_back |= missing if missing <= set(stood) else set()
    spelled = _spelled(working_set, projects)
    for name in projects:
        ways = spelled.get(names.normalized(name), {})
        as_it_is = len(ways.get(names.key_of(name), ()))
        keys.update(key for key, by in ways.items() if len(by) > as_it_is)
    restored = set(map(names.normalized, wanted_back))
    return frozenset(key for key in keys if names.normalized(key) not in restored)


def told(
    working_set: WorkingSet, projects: Mapping[str, Installed], renames: Mapping[str, str]
) -> Iterator[Spelling]:
    """Yield the spellings of names of which one, or the name itself, is not found.

    The name itself, as METADATA has it, is one that a person or a plugin loader asks for.

    `renames` are the names that dist-info directories should have, by their paths: what a rename
    helps is not told.
    """
    found = {
        names.key_of(names.split(renames[one.metadata].rpartition("/")[2])[0])
        if one.metadata in renames
        else one.key
        for one in working_set.active.values()
    }
    spelled = _spelled(working_set, projects)
    for name in sorted(projects):
        ways = spelled.get(names.normalized(name), {})
        if ways and not found.issuperset({names.key_of(name), *ways}):
            for key, by in sorted(ways.items()):
                yield Spelling(name, key, key in found, tuple(sorted(by)))


def _words(working_set: WorkingSet, projects: Iterable[str]) -> Iterator[str]:
    """Yield all that `require` can be asked for: each of `projects`, and each with an extra."""
    for name in projects:
        yield name
        distribution = working_set.active.get(names.key_of(name))
        if distribution is not None:
            try:
                extras = working_set.requirements.extras_of(distribution)
            except RequireError:
                continue
            yield from (f"{name}[{extra}]" for extra in extras)


def _spelled(
    working_set: WorkingSet, projects: Mapping[str, Installed]
) -> dict[str, dict[str, list[str]]]:
    """Return, for each normalized name, who requires it without extras, by the key they use."""
    described_by = {one.metadata: one.name for one in projects.values()}
    spelled: dict[str, dict[str, list[str]]] = {}
    for distribution in working_set.active.values():
        try:
            required = working_set.requirements.of(distribution, ())
        except RequireError:
            continue
        name = described_by.get(distribution.metadata, distribution.key)
        for key in {one.key for one in required}:
            spelled.setdefault(names.normalized(key), {}).setdefault(key, []).append(name)
    return spelled
