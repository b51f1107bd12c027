"""Every lookup of pkg_resources: the answers of a real one, and those of the model."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from tests.random_environments import GROUPS, NAMES
from tests.service import Service
from uvshim.check.metadata import RequireError
from uvshim.check.working_set import WorkingSet
from uvshim.environments.tree import DiskTree
from uvshim.rename.setuptools import PkgResources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

Answers = dict[str, dict[str, Any]]

# Older releases keep requirements in sets: which of two errors comes first is left to chance.
KEEPS_ORDER = (60, 4)

RELEASES = ("44.1.1", "62.6.0", "69.5.1", "75.8.0", "75.8.2", "78.1.1", "80.9.0", "81.0.0")

# A line in is a search path, names and groups of entry points. A line out is what each lookup
# answers for each of them; an exception counts by its name.
SERVICE = """
import functools, json, os, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import pkg_resources
listdir = os.listdir
os.listdir = functools.cache(lambda path: sorted(listdir(path)))  # the order is left to chance
os.path.isdir = functools.cache(os.path.isdir)
os.path.exists = functools.cache(os.path.exists)
from pkg_resources import Environment, Requirement, WorkingSet

def tried(function):
    try:
        return function()
    except Exception as error:
        name = type(error).__name__
        return {
            "RequirementParseError": "InvalidRequirement",
            "ContextualVersionConflict": "VersionConflict",
        }.get(name, name)

def fresh(entries):
    # Distributions keep what they have read, and half of it after an error: take new ones.
    pkg_resources.working_set = found = WorkingSet(entries)
    pkg_resources.require = found.require
    return found

def location(distribution):
    return distribution and [distribution.key, distribution.version]

def members(working_set, name):
    requirement = Requirement.parse(name)
    return [each.key for each in working_set if each in requirement]

def get_distribution(working_set, name):
    pkg_resources.working_set = working_set
    pkg_resources.require = lambda name: fresh(working_set.entries).require(name)
    return pkg_resources.get_distribution(name)

def load(entries, name, group, entry):
    fresh(entries)
    found = pkg_resources.get_distribution(name).get_entry_info(group, entry)
    if found is None:
        raise ImportError
    found.require()

def answers(entries, names, groups, points):
    for each in (os.listdir, os.path.isdir, os.path.exists):
        each.cache_clear()
    working_set = WorkingSet(entries)
    environment = functools.cache(lambda: Environment(entries))
    return {
        "by_key": {"": [[each.key, each.project_name] for each in working_set]},
        "require": {
            each: tried(lambda: fresh(entries).require(each) and None) for each in names
        },
        "get_distribution": {
            each: tried(lambda: location(get_distribution(working_set, each))) for each in names
        },
        "Environment": {
            each: tried(lambda: [one.version for one in environment()[each]])
            for each in names
        },
        "best_match": {
            each: tried(
                lambda: location(environment().best_match(Requirement.parse(each), working_set))
            )
            for each in names
        },
        "in Requirement": {each: tried(lambda: members(working_set, each)) for each in names},
        "iter_entry_points": {
            group: tried(
                lambda: [[e.dist.key, e.name] for e in working_set.iter_entry_points(group)]
            )
            for group in groups
        },
        "load_entry_point": {
            "/".join(point): tried(lambda: load(entries, *point)) for point in points
        },
    }

print(pkg_resources.__file__, flush=True)
for line in sys.stdin:
    print(json.dumps(answers(*json.loads(line))), flush=True)
"""


class RealLookups(Service):
    """The pkg_resources in a directory, in an isolated Python, which answers many questions."""

    def __init__(self, directory: Path) -> None:
        self.packaging = directory / "only packaging"
        """A directory with nothing but the packaging that it brings along, which it sees."""
        for each in directory.glob("setuptools/_vendor/packaging-*.dist-info"):
            self.packaging.mkdir(exist_ok=True)
            if not (self.packaging / each.name).exists():
                (self.packaging / each.name).symlink_to(each)
        command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", SERVICE, str(directory)]
        super().__init__(command)
        assert self.greeting.startswith(str(directory))

    def answers(
        self,
        entries: Sequence[str],
        names: Sequence[str],
        groups: Sequence[str],
        points: Iterable[tuple[str, str, str]],
    ) -> Answers:
        """Return what each lookup answers, with `entries` as the search path."""
        return dict(self.ask([list(entries), list(names), list(groups), list(points)]))


class ModelLookups:
    """The same, answered by the model of one release of setuptools."""

    def __init__(self, release: str) -> None:
        self.pkg_resources = PkgResources.of_version(release)
        python = ".".join(map(str, sys.version_info[:3]))
        short = python.rpartition(".")[0]
        self._markers = {"python_version": short, "python_full_version": python}

    def answers(
        self,
        entries: Sequence[str],
        names: Sequence[str],
        groups: Sequence[str],
        points: Iterable[tuple[str, str, str]],
    ) -> Answers:
        """Return what each lookup answers, with `entries` as the search path."""
        found = WorkingSet(DiskTree(), entries, self.pkg_resources, self._markers)

        def members(name: str) -> list[str]:
            return [key for key, each in found.active.items() if found.meets(each, name)]

        def entries_of(group: str) -> list[list[str]]:
            active = found.active.values()
            return [[each.key, one] for each in active for one in each.entry_points.get(group, ())]

        def loads(*point: str) -> None:
            found.load_entry_point(*point)

        def versions(key: str) -> list[str]:
            return [each.version for each in found.available(key)]

        return {
            "by_key": {"": [[key, each.project_name] for key, each in found.active.items()]},
            "require": {each: refusal(found, each)[0] for each in names},
            "get_distribution": answers(names, lambda each: location(found.get_distribution(each))),
            "Environment": answers(names, versions),
            "best_match": answers(
                names, lambda each: location(found.best_match(found.requirements.parse(each)))
            ),
            "in Requirement": answers(names, members),
            "iter_entry_points": answers(groups, entries_of),
            "load_entry_point": {
                "/".join(point): tried(functools.partial(loads, *point)) for point in points
            },
        }


def refusal(working_set: WorkingSet, name: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the exception that `require` of `name` raises, and all names that are missing."""
    try:
        working_set.require(name)
    except RequireError as error:
        return str(error), error.missing
    return None, ()


def answers(names: Iterable[str], lookup: Callable[[str], object]) -> dict[str, object]:
    """Return what `lookup` returns for each of `names`."""
    return {each: tried(functools.partial(lookup, each)) for each in names}


def tried(function: Callable[[], object]) -> object:
    """Return what `function` returns, or the name of the exception that pkg_resources raises."""
    try:
        return function()
    except RequireError as error:
        return str(error)


def location(distribution: Any) -> list[str] | None:
    return distribution and [distribution.key, distribution.version]


def points_in(entries: Sequence[str], release: str) -> list[tuple[str, str, str]]:
    """Return distribution, group and name of each entry point that the model sees."""
    model = ModelLookups(release)
    found = WorkingSet(DiskTree(), entries, model.pkg_resources, {"python_version": "3"})
    points = []
    for key, distribution in found.active.items():
        try:
            groups = distribution.entry_points
        except RequireError:
            continue
        points += [(key, group, name) for group, named in groups.items() for name in named]
    return points


def differences(
    release: str, places: Sequence[str], real: RealLookups, names: Sequence[str] = NAMES
) -> list[str]:
    """Return where the model of `release` and the `real` one differ about a search path."""
    model = ModelLookups(release)
    entries = [*places, *([str(real.packaging)] if model.pkg_resources.vendored else [])]
    questions = (entries, names, GROUPS, points_in(entries, release))
    modelled = model.answers(*questions)
    by_chance = tuple(map(int, release.split("."))) < KEEPS_ORDER
    return [
        f"{lookup}({name}): pkg_resources says {answer}, the model {modelled[lookup][name]}"
        for lookup, named in real.answers(*questions).items()
        for name, answer in named.items()
        if not _agree(answer, modelled[lookup][name], by_chance=by_chance)
    ]


def _agree(answer: object, modelled: object, *, by_chance: bool) -> bool:
    """Return True if both mean the same. The model names all that are missing."""
    if isinstance(answer, str) and isinstance(modelled, str) and by_chance:
        return True
    return answer == modelled
