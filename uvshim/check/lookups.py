"""The lookups of pkg_resources: which of them fail for a distribution, and who uses those."""

from __future__ import annotations

import contextlib
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check.directories import inside
from uvshim.check.metadata import METADATA_LIMIT, UNKNOWN_EXTRA, RequireError
from uvshim.rename import record
from uvshim.rename.names import key_of, normalized
from uvshim.rename.plan import RECORD_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from uvshim.check.distributions import Distribution
    from uvshim.check.working_set import WorkingSet

REQUIRE = "require"
BY_KEY = "by_key"
PROJECT_NAME = "project_name"

# The groups whose entry points are scripts.
SCRIPTS = frozenset({"console_scripts", "gui_scripts"})


class Lookups(NamedTuple):
    """The lookups that fail for the distribution `name`: to find it, or all that it needs."""

    name: str
    version: str
    failing: tuple[str, ...]


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
    """A distribution for which `require` raises another exception, such as `VersionConflict`."""

    name: str
    version: str
    error: str
    reason: str = ""
    """The cause of the error, as a clause; may be empty."""


class EntryPoint(NamedTuple):
    """An entry point of an unresolvable distribution: a plugin that may be missing silently."""

    group: str
    name: str
    distribution: str


def failing(working_set: WorkingSet, name: str, *, requires: bool) -> tuple[str, ...]:
    """Return the lookups that fail for the distribution `name`, as METADATA has it.

    `requires` is True if `require` succeeds. The names of lookups are those of pkg_resources:

    - ``by_key``: ``working_set.by_key[KEY]``;
    - ``Environment``: ``Environment()[KEY]``;
    - ``in Requirement``: ``distribution in Requirement.parse(NAME)``;
    - ``project_name``: it differs from NAME, and has another key;
    - ``load_entry_point``: for one of its entry points, unless that needs extras which are not
      installed, or which METADATA does not have.
    """
    key, requirements = key_of(name), working_set.requirements
    own = working_set.active_at.get(working_set.installed[name].metadata)
    # Where it is not active, `get_distribution` requires it.
    requirement = requirements.parse(name)
    found = requires or _holds(lambda: working_set.find(requirement))
    # From setuptools 66 to 67.5, a single invalid version breaks it.
    found_alone = found and not working_set.pkg_resources.needs_valid_versions

    def loads(group: str, entry: str, extras: str) -> bool:
        if requires and not extras:
            return True
        try:
            wanted = requirements.of(own, requirements.extras_in(extras)) if own else []
        except RequireError as error:
            if str(error) == UNKNOWN_EXTRA:
                return True
            raise
        if any(normalized(each.name) not in working_set.spelled for each in wanted):
            return True
        return found and bool(working_set.load_entry_point(name, group, entry))

    outcomes: dict[str, Callable[[], object]] = {
        REQUIRE: lambda: requires,
        "get_distribution": lambda: found,
        "best_match": lambda: found_alone or working_set.best_match(requirement),
        BY_KEY: lambda: key in working_set.active,
        "Environment": lambda: working_set.available(key),
        "in Requirement": lambda: own is None or working_set.meets(own, name),
        PROJECT_NAME: lambda: own is None or own.key == key,
        "iter_entry_points": lambda: own is None or own.entry_points is not None,
        "load_entry_point": lambda: (
            own is None
            or all(
                loads(group, entry, extras)
                for group, entries in own.entry_points.items()
                for entry, extras in entries.items()
            )
        ),
    }
    return tuple(lookup for lookup, succeeds in outcomes.items() if not _holds(succeeds))


def _holds(succeeds: Callable[[], object]) -> bool:
    try:
        return bool(succeeds())
    except RequireError:
        return False


# Releases of a distribution, the lookup that they use, the groups of entry points that they look
# for (none: everything), and the consequence, a clause before names of distributions. Each was
# tried with setuptools 75.8.0 and 81.0.0, before and after a rename, on 2026-11-25.
_KNOWN_PROGRAMS = (
    (
        "plone.autoinclude",
        "<2.0.0",
        PROJECT_NAME,
        {"plone.autoinclude.plugin", "z3c.autoinclude.plugin"},
        "takes module names from project_name, and cannot import that of",
    ),
    (
        "pipdeptree",
        ">=0.13.2,<2.3.1",
        BY_KEY,
        set[str](),
        'looks names up by their keys, and prints "installed: ?" for',
    ),
)


class AffectedProgram(NamedTuple):
    """An installed distribution that uses a `lookup` which fails here."""

    name: str
    version: str
    lookup: str
    consequence: str
    affects: tuple[str, ...]
    """The names of the distributions that it does not find."""


def affected(working_set: WorkingSet, failing: Sequence[Lookups]) -> Iterator[AffectedProgram]:
    """Yield each installed program that is known to use a lookup which is among the `failing`."""
    installed = working_set.installed if failing else {}
    by_name = {normalized(name): one.described for name, one in installed.items()}
    for program, releases, lookup, groups, consequence in _KNOWN_PROGRAMS:
        found = by_name.get(normalized(program))
        if found is None:
            continue
        from packaging.specifiers import SpecifierSet

        affects = tuple(
            each.name
            for each in failing
            if lookup in each.failing
            and (
                not groups
                or any(group in groups for group, _ in entry_points(working_set, each.name))
            )
        )
        if affects and SpecifierSet(releases).contains(found[1]):
            yield AffectedProgram(*found, lookup, consequence, affects)


def entry_points(working_set: WorkingSet, name: str) -> list[tuple[str, str]]:
    """Return group and name of each entry point of the distribution `name`, as METADATA has it.

    The list is empty if pkg_resources cannot read them, or if it is not described. A script counts
    only if its file imports pkg_resources: those of uv and pip do not.
    """
    project = working_set.installed.get(name)
    try:
        listed = project.entry_points if project else {}
    except RequireError:
        return []
    scripts = {one for group in SCRIPTS for one in listed.get(group, ())}
    asking = _asking(project, scripts) if project and scripts else set()
    return [
        (group, one)
        for group, entries in listed.items()
        for one in entries
        if group not in SCRIPTS or one in asking
    ]


def _asking(project: Distribution, scripts: set[str]) -> set[str]:
    """Return those `scripts` whose files, which the RECORD of `project` lists, import it."""
    wanted = {name: each for each in scripts for name in (f"{each}-script.py", each)}
    content = project.tree.read(f"{project.metadata}/RECORD", RECORD_LIMIT) or b""
    asking: set[str] = set()
    with contextlib.suppress(record.RecordError):
        for path, _, _ in record.elements(content):
            script = wanted.get(path.rpartition("/")[2])
            if script in scripts:
                scripts.remove(script)  # the first file decides
                file = inside(posixpath.dirname(project.metadata), path)
                if b"pkg_resources" in (project.tree.read(file, METADATA_LIMIT) or b""):
                    asking.add(script)
            if not scripts:
                break
    return asking
