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

from uvshim.environments.tree import DiskTree
from uvshim.rename import names, plan, record_file

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from uvshim.environments.tree import SearchableTree
    from uvshim.rename.plan import Plan
    from uvshim.rename.record import Record
    from uvshim.rename.spelling import Spellings


class _Facts:
    """Facts that are equal if their class and values are: without the 8 ms of a NamedTuple."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"


class Renamed(_Facts):
    """A distribution whose dist-info directory was renamed, or whose RECORD was corrected."""

    def __init__(self, name: str, version: str, before: str, path: str) -> None:
        """Hold the project name, the version, and the path of the directory before and now."""
        self.name, self.version = name, version
        self.before, self.path = before, path


class LeftAlone(_Facts):
    """A dist-info directory that is wrong and was not renamed."""

    def __init__(self, path: str, reason: str) -> None:
        """Hold its path, and the reason: a clause, for a message after the path."""
        self.path, self.reason = path, reason


class Outcome(_Facts):
    """What was done with wrong directories.

    - `owned`: those that a package manager owns, whose name is the reason;
    - `plans`: what was carried out, or would be.
    """

    def __init__(
        self, renamed: list[Renamed], left_alone: list[LeftAlone], seconds: float = 0.0
    ) -> None:
        """Hold what was renamed, what could not be, and how long it took."""
        self.renamed, self.left_alone, self.seconds = renamed, left_alone, seconds
        self.owned: list[LeftAlone] = []
        self.plans: list[Plan] = []

    def add(self, more: Outcome) -> None:
        """Add what was done elsewhere."""
        for fact, value in vars(more).items():
            setattr(self, fact, getattr(self, fact) + value)


class _Disk(DiskTree):
    """The files of this machine, by its own paths. One that cannot be read raises OSError.

    If they are below a root, no link leads out of that.
    """

    _missing = (FileNotFoundError, NotADirectoryError)

    def on_disk(self, path: str) -> str | None:
        return super().on_disk(path.removeprefix(self.root or ""))


def rename(  # noqa: PLR0913
    paths: Iterable[str],
    concerns: Callable[[str], bool],
    *,
    tree: SearchableTree | None = None,
    spellings: Spellings | None = None,
    new: Collection[str] | None = None,
    linked: Collection[str] = (),
    finished: bool = True,
    dry_run: bool = False,
) -> Outcome:
    """Rename the dist-info directories `paths`, as `plan.make` says of each.

    `concerns` and `spellings` are passed to `plan.make`. If a `tree` has a root on this machine,
    links are followed inside that. A snapshot proves that those in `new` are new: an earlier
    installation of the same version makes way for them. Other directories of which a project has
    two keep their names, unless no tool can read these; so do those in `linked`, to which links
    elsewhere lead. If an installer has not `finished`, those that lack files keep theirs. With
    `dry_run`, the outcome is what it would be. The caller holds uv's lock.
    """
    begin = time.monotonic()
    disk = _Disk(tree.root if tree else None)

    def make(path: str, only_new: bool) -> Plan | None:  # noqa: FBT001
        return plan.make(disk, path, concerns, spellings=spellings, only_new=only_new)

    run = _Run(disk, make, new, linked, finished=finished, dry_run=dry_run)
    run.each(paths, run.look)
    run.twins = plan.duplicates(disk, run.plans.values())
    run.each(list(run.plans), run.carry_out)
    run.outcome.renamed = list(run.renamed.values())
    run.outcome.seconds = time.monotonic() - begin
    return run.outcome


class _Run:
    """One call of `rename`, with its arguments."""

    def __init__(  # noqa: PLR0913
        self,
        disk: _Disk,
        make: Callable[[str, bool], Plan | None],
        new: Collection[str] | None,
        linked: Collection[str],
        *,
        finished: bool,
        dry_run: bool,
    ) -> None:
        self.disk, self.make, self.new, self.linked = disk, make, new, linked
        self.finished, self.dry_run = finished, dry_run
        self.outcome = Outcome([], [])
        self.plans: dict[str, Plan] = {}
        self.twins: Collection[str] = ()
        self.renamed: dict[str, Renamed] = {}

    def each(self, paths: Iterable[str], act: Callable[[str], None]) -> None:
        """Call `act` with each of `paths`, and note for which it fails, and why."""
        for path in paths:
            try:
                act(path)
            except (plan.ObstacleError, names.MetadataError) as reason:  # noqa: PERF203
                self.outcome.left_alone.append(LeftAlone(path, str(reason)))
            # ImportError: of a module that only the unusual case needs.
            except (OSError, ImportError) as error:
                is_renamed = path in self.plans and not os.path.lexists(path)
                where = self.plans[path].destination if is_renamed else path
                self.outcome.left_alone.append(LeftAlone(where, _clause(error)))

    def look(self, path: str) -> None:
        """Plan what to do with the dist-info directory `path`.

        Raise `names.MetadataError` if nothing is known about the directory.
        """
        fault = None
        try:
            wanted = self.make(path, self.new is not None)
        except names.MetadataError as error:
            if plan.is_beyond_doubt(os.path.basename(path)):
                return  # broken, but not in its name
            fault, wanted = error, None
        if fault or (wanted and wanted.wrong and (not wanted.record or _is_taken(wanted))):
            from uvshim.rename import remains

            if fault and remains.is_leftover(path):
                return
            if successor := remains.successor(path):  # a killed run has moved its files there
                found = self.make(successor, False)  # noqa: FBT003
                wanted = found and found.with_remnant(path)
            elif fault:
                raise fault
        if wanted is not None:
            self.plans[path] = wanted

    def carry_out(self, path: str) -> None:
        """Do what is planned for the directory `path`.

        In a dry run, only look whether it is possible. Raise `plan.ObstacleError` or OSError if it
        is not; another run completes it.
        """
        wanted = self.plans[path]
        if wanted.owner:
            self.outcome.owned.append(LeftAlone(path, wanted.owner))
            return
        if not wanted.wrong:
            return
        self._check_may_rename(wanted)
        if wanted.destination in self.renamed:
            if wanted.path in self.twins:
                raise plan.ObstacleError(f"`{wanted.directory}` exists already")
            self.look(path)  # what a killed run has left is another by now
            wanted = self.plans[path]
        if wanted.obstacle or wanted.record is None:
            raise plan.ObstacleError(wanted.obstacle)
        if os.path.islink(wanted.path):
            raise plan.ObstacleError("it is a symbolic link")
        if self.dry_run or _is_taken(wanted):
            from uvshim.rename import remains

            new = self.new or ()
            is_new = path in new and wanted.destination not in new
            remains.make_way(wanted, wanted.record, is_new=is_new, dry_run=self.dry_run)
        if not self.dry_run:
            _prepare(wanted, wanted.record, self.disk)
            _rename(wanted, wanted.record)
        self.outcome.plans.append(wanted)
        # A killed run may have left two directories of one distribution: count it once.
        self.renamed[wanted.destination] = Renamed(
            wanted.name, wanted.version, path, wanted.destination
        )

    def _check_may_rename(self, wanted: Plan) -> None:
        """Raise `plan.ObstacleError` if the directory of the plan `wanted` must keep its name.

        It must if links lead to it, if it has a twin and some tool can read its name, or if its
        installer was interrupted: uv writes RECORD before most of the code.
        """
        if not self.finished and (missing := _missing(wanted)):
            raise plan.ObstacleError(
                f"its installer has not completed it: `{missing}` is missing. "
                "Install it again with --reinstall"
            )
        is_target = bool(self.linked) and os.path.realpath(wanted.path) in self.linked
        if is_target and wanted.destination != wanted.path and not os.path.islink(wanted.path):
            raise plan.ObstacleError(plan.LINKED)
        if wanted.path in self.twins and plan.MISNAMED not in wanted.wrong:
            older = "an older installation of it was not removed"
            raise plan.ObstacleError(plan.TWIN if self.new is None else older)


def _prepare(wanted: Plan, record: Record, disk: _Disk) -> None:
    """Do what must come before the rename. `record` is that of the plan `wanted`."""
    if wanted.remnant:
        from uvshim.rename import overlay

        overlay.remove(wanted.remnant)
    if record_file.is_shared(wanted.path):
        path = f"{wanted.path}/RECORD"
        record_file.replace(wanted.path, record.content, os.stat(disk.on_disk(path) or path))
    if wanted.original:
        from uvshim.rename import spelling

        spelling.keep_original(wanted)


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


def _missing(wanted: Plan) -> str:
    """Return a file that RECORD lists and that does not exist, or "".

    Bytecode does not count. Files elsewhere do not count either: in a target, pip moves scripts.
    """
    place = os.path.dirname(wanted.path)
    for path in wanted.record.paths() if wanted.record else ():
        is_code = not path.startswith(("/", "..")) and not path.endswith(".pyc")
        if is_code and not os.path.lexists(os.path.join(place, path)):
            return path
    return ""


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
