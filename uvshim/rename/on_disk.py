"""The rename of dist-info directories to the names that pkg_resources finds.

At every moment, even after a kill inside a system call, `importlib.metadata` finds the distribution
and an uninstall removes every file: RECORD lists both names as long as either may
exist. (uv and pip skip a path that does not exist.)

1. Append the new name's rows to RECORD.
2. Rename the directory.
3. Make RECORD list the new name only. `oslo_cache-1.0` and `oslo.cache-1.0` have the same length,
   so each row is usually where it was, and RECORD is overwritten. Otherwise it is replaced.

What only unusual cases need is in `obstacles`.
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

    def make(path: str) -> Plan | None:
        return plan.make(disk, path, concerns, spellings=spellings, only_new=new is not None)

    outcome = Outcome([], [])
    plans, faults = _look(disk, paths, make)
    twins = plan.duplicates(disk, plans.values())
    proven = frozenset(new or ())
    done: dict[str, Plan] = {}
    for path, wanted in plans.items():
        if wanted.owner:
            outcome.owned.append(LeftAlone(path, wanted.owner))
        elif wanted.wrong:
            is_new = path in proven and wanted.destination not in proven
            if wanted.destination in done:
                wanted.obstacle = f"`{wanted.directory}` exists already"
            try:
                _refuse(wanted, twins, linked, finished=finished)
                _carry_out(wanted, disk, is_new=is_new, dry_run=dry_run)
                done[wanted.destination] = wanted
            except (plan.ObstacleError, OSError, ImportError) as error:
                faults[path if os.path.lexists(path) else wanted.destination] = error
    outcome.plans = list(done.values())
    outcome.renamed = [
        Renamed(each.name, each.version, each.path, each.destination) for each in outcome.plans
    ]
    outcome.left_alone = [LeftAlone(path, _clause(error)) for path, error in faults.items()]
    outcome.seconds = time.monotonic() - begin
    return outcome


def _look(
    disk: _Disk, paths: Iterable[str], make: Callable[[str], Plan | None]
) -> tuple[dict[str, Plan], dict[str, Exception]]:
    """Return the plans for the directories `paths`, and why others have none."""
    plans: dict[str, Plan] = {}
    faults: dict[str, Exception] = {}
    for path in paths:
        try:
            wanted = make(path)
            if wanted is not None:
                plans[path] = wanted
        except names.MetadataError as error:  # noqa: PERF203
            if not plan.is_harmless(disk, path):
                faults[path] = error
        except (OSError, ImportError) as error:  # ImportError: of what only unusual cases need
            faults[path] = error
    for wanted in list(plans.values()):
        if wanted.wrong:
            faults.pop(wanted.destination, None)  # it makes way
        if wanted.remnant:  # perhaps a killed run has left it
            from uvshim.rename import obstacles

            is_own = not os.path.islink(wanted.remnant)  # nothing is deleted through a link
            if is_own and obstacles.is_contained(wanted.remnant, wanted.path):
                wanted.aliases |= {os.path.basename(wanted.remnant)}
                plans.pop(wanted.remnant, None)
                faults.pop(wanted.remnant, None)
            else:
                wanted.remnant = ""
    return plans, faults


def _refuse(
    wanted: Plan, twins: Collection[str], linked: Collection[str], *, finished: bool
) -> None:
    """Raise `plan.ObstacleError` if the directory of the plan `wanted` must keep its name.

    It must if links lead to it, if it has a twin and some tool can read its name, or if its
    installer was interrupted: uv writes RECORD before most of the code.
    """
    reason = wanted.obstacle
    if not finished and (missing := _missing(wanted)):
        reason = (
            f"its installer has not completed it: `{missing}` is missing. "
            "Install it again with --reinstall"
        )
    elif os.path.islink(wanted.path):
        reason = "it is a symbolic link"
    elif linked and wanted.destination != wanted.path and os.path.realpath(wanted.path) in linked:
        reason = plan.LINKED
    elif wanted.path in twins and plan.MISNAMED not in wanted.wrong:
        reason = plan.TWIN
    if reason:
        raise plan.ObstacleError(reason)


def _carry_out(wanted: Plan, disk: _Disk, *, is_new: bool, dry_run: bool) -> None:
    """Do what is `wanted`; in a dry run, only look whether it is possible.

    Raise `plan.ObstacleError` or OSError if it is not; another run completes it.
    """
    record = wanted.record
    assert record is not None  # noqa: S101  # otherwise it is an obstacle
    # `lexists` takes three times as long as `access`.
    is_there = os.access(wanted.destination, os.F_OK, follow_symlinks=False)
    if dry_run or is_there or record.is_unfinished:
        from uvshim.rename import obstacles

        obstacles.make_way(wanted, record, is_new=is_new, dry_run=dry_run)
        if not dry_run and wanted.remnant:
            obstacles.remove(wanted.remnant)
    if dry_run:
        return
    if record_file.is_shared(wanted.path):
        path = f"{wanted.path}/RECORD"
        record_file.replace(wanted.path, record.content, os.stat(disk.on_disk(path) or path))
    if wanted.original:
        from uvshim.rename import spelling

        spelling.keep_original(wanted, record)
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
            from uvshim.rename import obstacles

            obstacles.move(wanted)
            is_in_place = False
        if is_in_place:
            file.overwrite(after)
        else:
            record_file.replace(wanted.destination, after, file.status)


def _missing(wanted: Plan) -> str:
    """Return a file that RECORD lists and that does not exist, or "".

    Three kinds do not count: bytecode, what the rename will add, and files elsewhere (in a target,
    pip moves scripts).
    """
    place = os.path.dirname(wanted.path)
    added = f"{wanted.own}/{plan.ORIGINAL}" if wanted.original else ""
    for path in wanted.record.paths() if wanted.record else ():
        counts = path != added and not path.startswith(("/", "..")) and not path.endswith(".pyc")
        if counts and not os.path.lexists(os.path.join(place, path)):
            return path
    return ""


def _clause(error: Exception) -> str:
    """Return what went wrong, as a clause."""
    if not isinstance(error, OSError):
        return str(error)
    what = error.strerror or type(error).__name__
    return f"{what[:1].lower()}{what[1:]}" + (f" ({error.filename})" if error.filename else "")
