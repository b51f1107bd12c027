"""The rename: dist-info directories get the names under which pkg_resources finds them.

At every instant, a kill inside a system call included, `importlib.metadata` finds the distribution
and an uninstall removes every file: RECORD lists both names as long as either may be the one that
exists. (uv and pip skip a path that does not exist.)

1. Append the new name's rows to RECORD.
2. Rename the directory.
3. Make RECORD list the new name only.

`in_place` does that in the usual case, `replacement` in any other.
"""

from __future__ import annotations

import os
import time

from uvshim.environments import files
from uvshim.rename import in_place, names, plan

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from uvshim.environments.tree import SearchableTree
    from uvshim.rename.plan import Plan
    from uvshim.rename.spelling import Spellings


class _Facts:
    """Facts, equal to others of the same class with equal values.

    They are no NamedTuple: that would cost 8 ms.
    """

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"


class Renamed(_Facts):
    """A distribution whose dist-info directory was renamed, or whose RECORD was corrected."""

    def __init__(self, name: str, version: str, before: str, path: str) -> None:
        """Hold the project name, the version, and the path of the directory before and now."""
        self.name = name
        self.version = version
        self.before = before
        self.path = path


class LeftAlone(_Facts):
    """A dist-info directory that is wrong and was not renamed."""

    def __init__(self, path: str, reason: str) -> None:
        """Hold its path, and the reason: a clause that goes after the path and a colon."""
        self.path = path
        self.reason = reason


class Outcome(_Facts):
    """What was done with the directories in which something was wrong.

    - `owned`: those that a package manager owns, whose name is the reason;
    - `plans`: what was carried out, or would be.
    """

    def __init__(
        self, renamed: list[Renamed], left_alone: list[LeftAlone], seconds: float = 0.0
    ) -> None:
        """Hold what was renamed, what could not be, and how long it took."""
        self.renamed = renamed
        self.left_alone = left_alone
        self.seconds = seconds
        self.owned: list[LeftAlone] = []
        self.plans: list[Plan] = []

    def add(self, more: Outcome) -> None:
        """Add what was done elsewhere."""
        self.renamed += more.renamed
        self.left_alone += more.left_alone
        self.seconds += more.seconds
        self.owned += more.owned
        self.plans += more.plans


class _Disk:
    """The files of a machine, as a `Tree`. One that cannot be read raises OSError."""

    def names(self, directory: str) -> tuple[str, ...]:
        return tuple(os.listdir(directory))

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def is_file(self, path: str) -> bool:
        return os.path.isfile(path)

    def read(self, path: str, limit: int) -> bytes | None:
        return files.read(path, limit)

    def real(self, path: str) -> str | None:
        """Return the path of the file that `path` leads to."""
        return path


class _Remnant(_Disk):
    """The same, but METADATA and RECORD of one directory are those of another."""

    def __init__(self, path: str, heir: str) -> None:
        """Read in `heir` what would be in the directory `path`."""
        self._path = path
        self._heir = heir

    def read(self, path: str, limit: int) -> bytes | None:
        return files.read(path.replace(self._path, self._heir, 1), limit)


class _Rooted(_Disk):
    """The same below the root of `tree`: no link leads out of it."""

    def __init__(self, tree: SearchableTree) -> None:
        """Read what `tree` finds at a path on this machine."""
        self._tree = tree

    def read(self, path: str, limit: int) -> bytes | None:
        real = self.real(path)
        return None if real is None else files.read(real, limit)

    def real(self, path: str) -> str | None:
        return self._tree.on_disk(path.removeprefix(self._tree.root or ""))


_DISK = _Disk()


def rename(  # noqa: PLR0913
    paths: Iterable[str],
    concerns: Callable[[str], bool],
    *,
    tree: SearchableTree | None = None,
    spellings: Spellings | None = None,
    new: Collection[str] | None = None,
    dry_run: bool = False,
) -> Outcome:
    """Rename the dist-info directories `paths`, as `plan.make` says of each.

    If a `tree` has a root on this machine, links are followed inside that. `concerns` and
    `spellings` are passed to `plan.make`. `new` are those of which a snapshot proves that they are
    new: an earlier installation makes way for them. Without it, directories of which a project has
    two are not renamed, unless no tool can read their names. With `dry_run`, nothing is changed,
    and the outcome is what it would be. The caller holds uv's lock on the environment.
    """
    begin = time.monotonic()
    disk = _Rooted(tree) if tree is not None and tree.root else _DISK
    outcome = Outcome([], [])
    planned: dict[str, Plan] = {}
    renamed: dict[str, Renamed] = {}

    def make(path: str) -> None:
        if wanted := _plan(disk, path, concerns, spellings, only_new=new is not None):
            planned[path] = wanted

    def carry_out(path: str) -> None:
        wanted = planned[path]
        if wanted.owner:
            outcome.owned.append(LeftAlone(path, wanted.owner))
        elif wanted.wrong and (path not in twins or plan.MISNAMED in wanted.wrong):
            if wanted.destination in renamed:  # what a killed run has left is another by now
                make(path)
                wanted = planned[path]
            if path in twins and wanted.destination in renamed:
                message = f"`{wanted.directory}` exists already"
                raise plan.ObstacleError(message)
            is_new = new is not None and path in new and wanted.destination not in new
            _carry_out(disk, wanted, is_new=is_new, dry_run=dry_run)
            outcome.plans.append(wanted)
            # A killed run may have left one distribution in two directories. It counts once.
            renamed[wanted.destination] = Renamed(
                wanted.name, wanted.version, path, wanted.destination
            )

    _each(paths, make, outcome, planned)
    twins = plan.duplicates(disk, planned.values()) if new is None else set()
    _each(list(planned), carry_out, outcome, planned)
    outcome.renamed = list(renamed.values())
    outcome.seconds = time.monotonic() - begin
    return outcome


def _each(
    paths: Iterable[str], act: Callable[[str], None], outcome: Outcome, planned: dict[str, Plan]
) -> None:
    """Call `act` with each of `paths`, and tell `outcome` those for which it fails, and why."""
    for path in paths:
        try:
            act(path)
        except plan.ObstacleError as reason:  # noqa: PERF203
            outcome.left_alone.append(LeftAlone(path, str(reason)))
        # ImportError: of a module that only the unusual case needs.
        except (OSError, ImportError) as error:
            is_renamed = path in planned and not os.path.lexists(path)
            where = planned[path].destination if is_renamed else path
            outcome.left_alone.append(LeftAlone(where, _clause(error)))


def _plan(
    disk: _Disk,
    path: str,
    concerns: Callable[[str], bool],
    spellings: Spellings | None,
    *,
    only_new: bool,
) -> Plan | None:
    """Return the plan for the dist-info directory `path`, None if it is not to be looked at.

    Raise `plan.ObstacleError` if nothing is known about it.
    """
    wanted, fault = None, ""
    try:
        wanted = plan.make(disk, path, concerns, spellings=spellings, only_new=only_new)
    except names.MetadataError as error:
        if plan.is_beyond_doubt(os.path.basename(path)):
            return None  # broken, but not in its name
        fault = str(error)
    if not fault and (wanted is None or wanted.record or not wanted.wrong):
        return wanted
    from uvshim.rename import replacement

    if fault and replacement.is_husk(path):
        return None
    if heir := replacement.heir(path):
        return plan.make(_Remnant(path, heir), path, concerns, spellings=spellings)
    if fault and replacement.is_remainder(path):
        return None
    if fault:
        raise plan.ObstacleError(fault)
    return wanted


def _carry_out(disk: _Disk, wanted: Plan, *, is_new: bool, dry_run: bool) -> None:
    """Do what `wanted` says. An earlier installation makes way for a directory that `is_new`.

    Raise `plan.ObstacleError` or OSError if it is not possible.
    """
    if wanted.obstacle:
        raise plan.ObstacleError(wanted.obstacle)
    if os.path.islink(wanted.path):
        message = "it is a symbolic link"
        raise plan.ObstacleError(message)
    path = f"{wanted.path}/RECORD"
    real = disk.real(path)
    if real not in {path, None} and wanted.record and not dry_run:  # a link below a root
        from uvshim.rename import replacement

        replacement.replace(wanted.path, wanted.record.content, real)
    if wanted.original and not dry_run:
        from uvshim.rename import spelling

        spelling.keep_original(wanted)
    is_free = not (_exists(wanted.destination) or _exists(wanted.destination + plan.BUILDING))
    if dry_run or not is_free or not in_place.rename(wanted):
        from uvshim.rename import replacement

        replacement.rename(wanted, is_new=is_new, dry_run=dry_run)


def _exists(path: str) -> bool:
    """Return True if there is anything at `path`; `lexists` takes three times as long."""
    return os.access(path, os.F_OK, follow_symlinks=False)


def _clause(error: Exception) -> str:
    """Return what went wrong, as a clause."""
    if not isinstance(error, OSError):
        return str(error)
    what = error.strerror or type(error).__name__
    return f"{what[:1].lower()}{what[1:]}" + (f" ({error.filename})" if error.filename else "")
