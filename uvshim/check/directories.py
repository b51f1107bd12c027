"""What the dist-info directories of an environment show: wrong names, duplicates, lost code."""

from __future__ import annotations

import posixpath
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from uvshim.environments.environment import dist_infos, is_dist_info
from uvshim.environments.tree import pay
from uvshim.rename import names, plan, record
from uvshim.rename.plan import MISNAMED, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from uvshim.environments.tree import Tree
    from uvshim.rename.spelling import Spellings

# How many steps (see `tree.pay`) a plan for one directory costs.
_PLANNING = 60

# Problems of a directory that no rename fixes; `plan` has the others.
GHOST = "ghost"
DUPLICATE = "duplicate"


class Finding(NamedTuple):
    """A problem with one dist-info directory.

    Its `kind` is one of these:

    - `normalized-name`: the project's name has a dot, and the directory's has none;
    - `misnamed`: the name part, or the version part, of its name is not valid;
    - `stale-record`: its RECORD lists files of its own under another dist-info directory;
    - `ghost`: no file exists that RECORD lists outside of dist-info directories;
    - `duplicate`: another dist-info directory of this distribution exists.
    """

    kind: str
    name: str
    """The distribution's name, as METADATA has it."""
    version: str
    path: str
    """The path of the directory in the tree."""
    expected: str
    """The name that the directory should have."""
    owner: str = ""
    """The package manager that owns the directory, which therefore must not be renamed, or ""."""
    obstacle: str = ""
    """Why the directory cannot be renamed, as a clause, or ""."""


class Unreadable(NamedTuple):
    """A dist-info directory that cannot be read, and why: a clause after "because"."""

    path: str
    reason: str


class Directories:
    """What the directories of one environment show, in lists sorted by path."""

    def __init__(
        self,
        tree: Tree,
        excluded: Callable[[str], bool],
        spelled: Callable[[str], Spellings | None],
    ) -> None:
        """Begin with nothing. `spelled` returns what decides names in a directory."""
        self.findings: list[Finding] = []
        self.excluded: list[Finding] = []
        """Findings about names that are `excluded`."""
        self.unreadable: list[Unreadable] = []
        self.invalid: list[Unreadable] = []
        """Others without a valid METADATA. Their names are right all the same."""
        self.renames: dict[str, str] = {}
        """The names that directories should have, by path."""
        self._tree = tree
        self._excludes = excluded
        self._spelled = spelled
        self._present: set[str] = set()

    def examine(self, place: str, *, is_inherited: bool) -> int:
        """Examine the site-packages directory `place`; return how many distributions it has.

        If it `is_inherited`, what an earlier place hides does not count.
        """
        listed = self._tree.names(place)
        pay(self._tree, _PLANNING * len(listed))  # many environments may inherit the directory
        planned = list(_planned(self._tree, place, self._spelled(place)))
        left = _left(self._tree, place) if any(has_twin for _, _, has_twin in planned) else {}
        for path, found, has_twin in planned:
            own = found.directory if isinstance(found, Plan) else posixpath.basename(path)
            if is_inherited and names.key_of(names.split(own)[0]) in self._present:
                continue
            if isinstance(found, Plan):
                twin = left.get(names.normalized(found.name), "") if has_twin else ""
                self._add(found, twin, has_twin=has_twin)
            elif found.project and self._excludes(found.project):
                self.excluded.append(Finding(MISNAMED, found.project, "", path, own))
            else:
                is_sure = plan.is_beyond_doubt(own) and not has_twin
                same = self.invalid if is_sure else self.unreadable
                same.append(Unreadable(path, str(found)))
        counted = [each for each in listed if is_dist_info(each) or each.endswith(".egg-info")]
        stems = (each.removesuffix(".egg-info").partition("-")[0] for each in counted)
        self._present.update(map(names.key_of, stems))
        return len(counted)

    def _add(self, one: Plan, twin: str, *, has_twin: bool) -> None:
        """Add the findings about the directory of `one`, which a `twin` may keep from a rename."""
        obstacle = f"`{twin}` is there as well, and no installer removes it" if twin else ""
        about = (one.name, one.version, one.path, one.directory, one.owner)
        found = [
            Finding(kind, *about, one.obstacle or obstacle)
            for kind in _kinds(self._tree, one, has_twin=has_twin)
        ]
        if self._excludes(one.name):
            self.excluded += found
        else:
            self.findings += found
            self.renames[one.path] = one.directory


def _planned(
    tree: Tree, place: str, spellings: Spellings | None
) -> Iterator[tuple[str, Plan | names.MetadataError, bool]]:
    """Yield the path of each dist-info directory in `place`, and its plan, or why it has none.

    The last is True if there is a twin, another directory of the same distribution.
    """
    found: dict[str, Plan | names.MetadataError] = {}
    sure: dict[str, str] = {}  # projects that only the names of directories tell
    for own in dist_infos(tree.names(place)):
        path = f"{place}/{own}"
        try:
            if one := plan.make(tree, path, spellings=spellings):
                found[path] = one
        except names.MetadataError as error:
            found[path] = error
            if plan.is_beyond_doubt(own):
                sure[path] = names.normalized(names.split(own)[0])
    plans = [one for one in found.values() if isinstance(one, Plan)]
    projects = Counter([*sure.values(), *(names.normalized(one.name) for one in plans)])
    others = set(sure.values())
    twins = plan.duplicates(tree, plans)
    twins.update(path for path, project in sure.items() if projects[project] > 1)
    twins.update(one.path for one in plans if names.normalized(one.name) in others)
    return ((path, one, path in twins) for path, one in found.items())


def _left(tree: Tree, place: str) -> dict[str, str]:
    """Return what is in `place` that no installer removes, by the name of its project."""
    left = {}
    for each in sorted(tree.names(place)):
        stem, suffix = posixpath.splitext(each)
        path = f"{place}/{each}"
        is_egg = suffix == ".egg-info" and tree.is_file(path)
        if is_egg or (
            suffix == names.SUFFIX
            and not tree.is_file(f"{path}/METADATA")
            and not tree.is_file(f"{path}/RECORD")
        ):
            left[names.normalized(stem.partition("-")[0])] = each
    return left


def _kinds(tree: Tree, one: Plan, *, has_twin: bool) -> Iterable[str]:
    """Return what is wrong with the directory of the plan `one`.

    A directory whose code is gone is nothing but that. Of two directories of one distribution only
    one can keep its name, so only an invalid name counts: no tool can remove that directory.
    """
    kinds: Collection[str] = (DUPLICATE,) if has_twin else one.wrong
    if (kinds or "." in one.name) and _is_ghost(tree, one):
        kinds = (GHOST,)
    return (MISNAMED, *kinds) if MISNAMED in one.wrong and MISNAMED not in kinds else kinds


def _is_ghost(tree: Tree, wanted: Plan) -> bool:
    """Return True if RECORD lists code and no file of it exists.

    Bytecode may have replaced it (PEP 3147, "legacy"), and PyInstaller packs it into an archive.
    """
    place = posixpath.dirname(wanted.path)
    missing: set[str] = set()
    for path in wanted.record.paths() if wanted.record else ():
        if path not in missing and not record.split(path)[0].endswith(names.SUFFIX):
            file = inside(place, path)
            if tree.is_file(file) or (path.endswith(".py") and tree.is_file(file + "c")):
                return False
            missing.add(path)
    return bool(missing) and not tree.is_file(f"{place}/base_library.zip")


def inside(place: str, path: str) -> str:
    """Return where a RECORD in `place` has the file `path`."""
    return posixpath.normpath(posixpath.join(place, path.replace("\\", "/")))
