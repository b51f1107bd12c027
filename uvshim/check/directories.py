"""What the dist-info directories of an environment show: wrong names, duplicates, lost code."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check.metadata import remembered
from uvshim.environments.environment import dist_infos
from uvshim.environments.tree import denies, pay
from uvshim.rename import names, plan
from uvshim.rename.plan import MISNAMED, Plan
from uvshim.rename.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

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

    @property
    def is_rest(self) -> bool:
        """Whether an interrupted install or uninstall has left it: METADATA is missing."""
        return self.reason == plan.NO_METADATA


class Fault(NamedTuple):
    """Why a directory has no plan, a clause, and whether its name is right all the same."""

    path: str
    reason: str
    project: str
    """The project's name, if only that is known."""
    is_sure: bool


def problems(
    tree: Tree, place: str, spellings: Spellings | None, hidden: Collection[str] = ()
) -> Iterator[Finding | Fault]:
    """Yield what is wrong with the dist-info directories in `place`, a path in `tree`.

    `spellings` decide names. What has a key that is `hidden` by an earlier place does not count.
    """
    pay(tree, _PLANNING * len(tree.names(place)))  # many environments may inherit the directory
    plans: list[Plan] = []
    faults: list[Fault] = []
    for own in dist_infos(tree.names(place)):
        path = f"{place}/{own}"
        try:
            if one := plan.make(tree, path, spellings=spellings, parsed=_record):
                plans.append(one)
        except names.MetadataError as error:
            faults.append(Fault(path, str(error), error.project, plan.is_beyond_doubt(own)))
    twins = _twins(tree, plans, faults)

    def is_hidden(own: str) -> bool:
        return names.key_of(names.split(own)[0]) in hidden

    for one in plans:
        if not is_hidden(one.directory):
            for kind in _kinds(tree, one, has_twin=one.path in twins):
                owner = one.owner or plan.owner_of(tree, one.path)
                about = one.name, one.version, one.path, one.directory
                yield Finding(kind, *about, owner, one.obstacle)
    for fault in faults:
        if not is_hidden(posixpath.basename(fault.path)):
            yield fault._replace(is_sure=fault.is_sure and fault.path not in twins)


def _twins(tree: Tree, plans: list[Plan], faults: list[Fault]) -> set[str]:
    """Return the paths of directories whose project has another one beside them."""
    alike: dict[str, list[str]] = {}
    for one in plans:
        alike.setdefault(names.normalized(one.name), []).append(one.path)
    sure = {each.path for each in faults if each.is_sure}
    for path in sure:  # only its name tells the project
        project = names.normalized(names.split(posixpath.basename(path))[0])
        alike.setdefault(project, []).append(path)
    twins = plan.duplicates(tree, plans)
    for paths in alike.values():
        if len(paths) > 1 and not sure.isdisjoint(paths):
            twins.update(paths)
    return twins


_remembered = remembered(Record)


def _record(content: bytes | None, own: str) -> Record:
    """Return the parsed `content` of the RECORD in the directory `own`. Raise `RecordError`."""
    return _remembered(content, own) if content else Record(content, own)


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
    """Return True if RECORD lists code, and no file of it exists or is where nobody may look.

    Bytecode may have replaced it (PEP 3147, "legacy"), and PyInstaller packs it into an archive.
    """
    place = posixpath.dirname(wanted.path)
    missing: set[str] = set()
    for path in wanted.record.paths() if wanted.record else ():
        if path not in missing and not path.partition("/")[0].endswith(names.SUFFIX):
            file = inside(place, path)
            if exists(tree, file) or (path.endswith(".py") and tree.is_file(file + "c")):
                return False
            if denies(tree, file):
                return False
            missing.add(path)
    return bool(missing) and not tree.is_file(f"{place}/base_library.zip")


def exists(tree: Tree, path: str) -> bool:
    """Return True if `path` exists, which a RECORD lists.

    It should be a file. PDM and Flit also list links to directories, and virtualenv directories.
    """
    return tree.is_file(path) or tree.is_directory(path)


def inside(place: str, path: str) -> str:
    """Return where a RECORD in `place` has the file `path`."""
    return posixpath.normpath(posixpath.join(place, path.replace("\\", "/")))
