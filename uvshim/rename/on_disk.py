"""The rename of dist-info directories to the names that pkg_resources finds.

At every moment, even after a kill inside a system call, `importlib.metadata` finds the distribution
and an uninstall removes every file: RECORD lists both names as long as either may
exist. (uv and pip skip a path that does not exist.)

1. Append the new name's rows to RECORD.
2. Rename the directory.
3. Make RECORD list the new name only. `oslo_cache-1.0` and `oslo.cache-1.0` have the same length,
   so each row is usually where it was, and RECORD is overwritten. Otherwise it is replaced.

What only unusual cases need is in `remains` and `overlay`.
"""

from __future__ import annotations

import errno
import os
import time

from uvshim.environments import files
from uvshim.rename import names, plan, record_file

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from uvshim.environments.tree import SearchableTree
    from uvshim.rename.plan import Plan
    from uvshim.rename.record import Record
    from uvshim.rename.spelling import Spellings


class _Facts:
    """Facts that are equal if their class and values are.

    This is not a NamedTuple, which would cost 8 ms.
    """

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"


class Renamed(_Facts):
    """A distribution whose dist-info directory was renamed, or whose RECORD was corrected.

    It has the project name, the version, and the path of the directory before and now.
    """

    def __init__(self, name: str, version: str, before: str, path: str) -> None:
        """Hold the facts."""
        self.name = name
        self.version = version
        self.before = before
        self.path = path


class LeftAlone(_Facts):
    """A dist-info directory that is wrong and was not renamed."""

    def __init__(self, path: str, reason: str) -> None:
        """Hold its path, and the reason: a clause, for a message after the path."""
        self.path = path
        self.reason = reason


class Outcome(_Facts):
    """What was done with wrong directories.

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
    """The files of this machine, as a `Tree`. One that cannot be read raises OSError.

    Paths are the machine's. If they are below the root of a `tree`, no link leads out of that.
    """

    def __init__(self, tree: SearchableTree | None = None) -> None:
        """Follow links as `tree` does, if it has a root on this machine."""
        self._tree = tree if tree is not None and tree.root else None

    def names(self, directory: str) -> tuple[str, ...]:
        try:
            return tuple(os.listdir(self.real(directory) or ""))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(self.real(path) or "")

    def is_file(self, path: str) -> bool:
        return os.path.isfile(self.real(path) or "")

    def read(self, path: str, limit: int) -> bytes | None:
        real = self.real(path)
        return None if real is None else files.read(real, limit)

    def real(self, path: str) -> str | None:
        """Return the path of the file that `path` leads to."""
        if self._tree is None:
            return path
        return self._tree.on_disk(path.removeprefix(self._tree.root or ""))


def rename(  # noqa: PLR0913
    paths: Iterable[str],
    concerns: Callable[[str], bool],
    *,
    tree: SearchableTree | None = None,
    spellings: Spellings | None = None,
    new: Collection[str] | None = None,
    linked: Collection[str] = (),
    dry_run: bool = False,
) -> Outcome:
    """Rename the dist-info directories `paths`, as `plan.make` says of each.

    If a `tree` has a root on this machine, links are followed inside that. `concerns` and
    `spellings` are passed to `plan.make`. `new` are those of which a snapshot proves that they are
    new: an earlier installation of the same version makes way for them. Other directories of which
    a project has two are not renamed, unless no tool can read their names, nor those in `linked`:
    links elsewhere lead to them. With `dry_run`, nothing is changed, and the outcome is what it
    would be. The caller holds uv's lock on the environment.
    """
    begin = time.monotonic()
    disk = _Disk(tree)
    outcome = Outcome([], [])
    plans: dict[str, Plan] = {}
    renamed: dict[str, Renamed] = {}

    def make(path: str) -> None:
        wanted = _plan(disk, path, concerns, spellings, only_new=new is not None)
        if wanted is not None:
            plans[path] = wanted

    def carry_out(path: str) -> None:
        wanted = plans[path]
        if wanted.owner:
            outcome.owned.append(LeftAlone(path, wanted.owner))
        elif wanted.wrong and not _must_keep(wanted, twins, linked, only_new=new is not None):
            if wanted.destination in renamed:
                if wanted.path in twins:
                    raise plan.ObstacleError(f"`{wanted.directory}` exists already")
                make(path)  # what a killed run has left is another by now
                wanted = plans[path]
            is_new = new is not None and path in new and wanted.destination not in new
            _carry_out(disk, wanted, is_new=is_new, dry_run=dry_run)
            outcome.plans.append(wanted)
            # A killed run may have left two directories of one distribution: count it once.
            renamed[wanted.destination] = Renamed(
                wanted.name, wanted.version, path, wanted.destination
            )

    _each(paths, make, outcome, plans)
    twins = plan.duplicates(disk, plans.values())
    _each(list(plans), carry_out, outcome, plans)
    outcome.renamed = list(renamed.values())
    outcome.seconds = time.monotonic() - begin
    return outcome


def _each(
    paths: Iterable[str], act: Callable[[str], None], outcome: Outcome, plans: dict[str, Plan]
) -> None:
    """Call `act` with each of `paths`, and tell `outcome` those for which it fails, and why."""
    for path in paths:
        try:
            act(path)
        except (plan.ObstacleError, names.MetadataError) as reason:  # noqa: PERF203
            outcome.left_alone.append(LeftAlone(path, str(reason)))
        # ImportError: of a module that only the unusual case needs.
        except (OSError, ImportError) as error:
            is_renamed = path in plans and not os.path.lexists(path)
            where = plans[path].destination if is_renamed else path
            outcome.left_alone.append(LeftAlone(where, _clause(error)))


def _plan(
    disk: _Disk,
    path: str,
    concerns: Callable[[str], bool],
    spellings: Spellings | None,
    *,
    only_new: bool,
) -> Plan | None:
    """Return the plan for the dist-info directory `path`, or None if nothing is to be done.

    If a killed run has moved its files, it is the plan for the directory where they are now. Raise
    `names.MetadataError` if nothing is known about the directory.
    """
    fault = wanted = None
    try:
        wanted = plan.make(disk, path, concerns, spellings=spellings, only_new=only_new)
        if wanted is None or not wanted.wrong or (wanted.record and not _is_taken(wanted)):
            return wanted
    except names.MetadataError as error:
        if plan.is_beyond_doubt(os.path.basename(path)):
            return None  # broken, but not in its name
        fault = error
    from uvshim.rename import remains

    if fault and remains.is_leftover(path):
        return None
    if successor := remains.successor(path):
        wanted = plan.make(disk, successor, concerns, spellings=spellings)
        return wanted and wanted.with_remnant(path)
    if fault:
        raise fault
    return wanted


def _must_keep(
    wanted: Plan, twins: Collection[str], linked: Collection[str], *, only_new: bool
) -> bool:
    """Return True if the directory of the plan `wanted` has a twin, and so keeps its name.

    A name that no tool can read is no reason to keep it. Raise `plan.ObstacleError` if what is new
    must keep its name, or if it is `linked`; `fix` reports twins itself.
    """
    is_target = bool(linked) and os.path.realpath(wanted.path) in linked
    if is_target and wanted.destination != wanted.path and not os.path.islink(wanted.path):
        raise plan.ObstacleError(plan.LINKED)
    must_keep = wanted.path in twins and plan.MISNAMED not in wanted.wrong
    if must_keep and only_new:
        raise plan.ObstacleError("an older installation of it was not removed")
    return must_keep


def _carry_out(disk: _Disk, wanted: Plan, *, is_new: bool, dry_run: bool) -> None:
    """Do what `wanted` says, but only look whether it is possible in a dry run.

    An earlier installation makes way if the directory `is_new`. Raise `plan.ObstacleError` or
    OSError if it is not possible; another call completes it.
    """
    record, path = wanted.record, wanted.path
    if wanted.obstacle or record is None:
        raise plan.ObstacleError(wanted.obstacle)
    if os.path.islink(path):
        raise plan.ObstacleError("it is a symbolic link")
    if dry_run or _is_taken(wanted):
        from uvshim.rename import remains

        remains.make_way(wanted, record, is_new=is_new, dry_run=dry_run)
    if dry_run:
        return
    if wanted.remnant:
        from uvshim.rename import overlay

        overlay.remove(wanted.remnant)
    if record_file.is_shared(path):
        status = os.stat(disk.real(f"{path}/RECORD") or f"{path}/RECORD")
        record_file.replace(path, record.content, status)
    if wanted.original:
        from uvshim.rename import spelling

        spelling.keep_original(wanted)
    _rename(wanted, record)


def _rename(wanted: Plan, record: Record) -> None:
    """Do the three steps for one directory. `record` is that of the plan `wanted`."""
    after = wanted.new_record()
    with record_file.opened(wanted.path) as file:
        is_in_place = (
            record.only and file.content == record.content and len(after) == len(record.content)
        )
        file.append(record.added(wanted.aliases, wanted.directory))
        try:
            if wanted.destination != wanted.path:
                os.rename(wanted.path, wanted.destination)
        except OSError as error:
            if error.errno != errno.EXDEV:
                file.cut()
                raise
            from uvshim.rename import overlay

            overlay.move(wanted)
            is_in_place = False
        if is_in_place:
            file.overwrite(after)
        else:
            record_file.replace(wanted.destination, after, file.status)


def _is_taken(wanted: Plan) -> bool:
    """Return True if there is something under the new name, or what a killed run has built."""
    new = wanted.destination
    return new != wanted.path and (
        os.access(new, os.F_OK, follow_symlinks=False)  # `lexists` takes three times as long
        or (
            wanted.record is not None
            and wanted.directory + plan.BUILDING in wanted.record.directories()
        )
    )


def _clause(error: Exception) -> str:
    """Return what went wrong, as a clause."""
    if not isinstance(error, OSError):
        return str(error)
    what = error.strerror or type(error).__name__
    return f"{what[:1].lower()}{what[1:]}" + (f" ({error.filename})" if error.filename else "")
