"""The rename of dist-info directories to the names that pkg_resources finds.

At every moment, even after a kill inside a system call, `importlib.metadata` finds the distribution
and an uninstall removes every file: RECORD lists both names as long as either may
exist. (uv and pip skip a path that does not exist.)

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
    from collections.abc import Callable, Iterable

    from uvshim.environments.tree import SearchableTree
    from uvshim.rename.plan import Plan
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
        """Hold its path, and the reason: a clause, for a message after the path."""
        self.path = path
        self.reason = reason


class Outcome(_Facts):
    """What was done with wrong directories.

    - `owned`: those that a package manager owns, whose name is the reason;
    - `known`: the plan for each directory as it is now, by its path.
    """

    def __init__(
        self, renamed: list[Renamed], left_alone: list[LeftAlone], seconds: float = 0.0
    ) -> None:
        """Hold what was renamed, what could not be, and how long it took."""
        self.renamed = renamed
        self.left_alone = left_alone
        self.seconds = seconds
        self.owned: list[LeftAlone] = []
        self.known: dict[str, Plan] = {}


class _Disk:
    """The files of this machine, as a `Tree`. An unreadable file raises OSError."""

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
    """A `_Disk` on which files of one directory are read from another."""

    def __init__(self, path: str, successor: str) -> None:
        """Read files of the directory `path` from the directory `successor`."""
        self._path = path
        self._successor = successor

    def read(self, path: str, limit: int) -> bytes | None:
        return files.read(path.replace(self._path, self._successor, 1), limit)


class _Rooted(_Disk):
    """A `_Disk` below the root of `tree`: no link leads out of it."""

    def __init__(self, tree: SearchableTree) -> None:
        """Translate paths on this machine with `tree`."""
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
    only_new: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Rename the dist-info directories `paths`, as `plan.make` says of each.

    Links are followed inside the root of `tree`, if it has one. `concerns`, `spellings`
    and `only_new` are passed to `plan.make`. With `dry_run`, nothing is changed, and
    the outcome is what it would be. The caller holds uv's lock on the environment.
    """
    begin = time.monotonic()
    disk = _Rooted(tree) if tree is not None and tree.root else _DISK
    outcome = Outcome([], [])
    renamed: dict[str, Renamed] = {}
    for path in paths:
        try:
            wanted = _plan(disk, path, concerns, spellings, only_new=only_new)
            if wanted is None:
                continue
            if wanted.owner:
                outcome.owned.append(LeftAlone(path, wanted.owner))
            elif wanted.wrong:
                before, wanted = wanted, _carry_out(disk, wanted, dry_run=dry_run)
                # A killed run may have left two directories of one distribution: count it once.
                renamed[before.destination] = Renamed(
                    before.name, before.version, path, before.destination
                )
            outcome.known[wanted.path] = wanted
        except plan.ObstacleError as reason:
            outcome.left_alone.append(LeftAlone(path, str(reason)))
        except (OSError, ImportError) as error:  # a module that only the unusual case needs
            outcome.left_alone.append(LeftAlone(path, _clause(error)))
    outcome.renamed = list(renamed.values())
    outcome.seconds = time.monotonic() - begin
    return outcome


def _plan(
    disk: _Disk,
    path: str,
    concerns: Callable[[str], bool],
    spellings: Spellings | None,
    *,
    only_new: bool,
) -> Plan | None:
    """Return the plan for the dist-info directory `path`, or None if it is not concerned.

    Raise `plan.ObstacleError` if METADATA cannot be read.
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

    if fault and replacement.is_empty_leftover(path):
        return None
    if successor := replacement.successor(path):
        return plan.make(_Remnant(path, successor), path, concerns, spellings=spellings)
    if fault and replacement.is_leftover(path):
        return None
    if fault:
        raise plan.ObstacleError(fault)
    return wanted


def _carry_out(disk: _Disk, wanted: Plan, *, dry_run: bool) -> Plan:
    """Carry out the plan `wanted`, and return the plan afterwards (unchanged in a dry run).

    Raise `plan.ObstacleError` or OSError if it is not possible.
    """
    if wanted.obstacle:
        raise plan.ObstacleError(wanted.obstacle)
    if os.path.islink(wanted.path):
        message = "it is a symbolic link"
        raise plan.ObstacleError(message)
    path = f"{wanted.path}/RECORD"
    real = disk.real(path)
    if real not in {path, None} and wanted.record and not dry_run:  # a link in a tree with a root
        from uvshim.rename import replacement

        replacement.replace(wanted.path, wanted.record.content, real)
    if wanted.original and not dry_run:
        from uvshim.rename import spelling

        spelling.keep_original(wanted)
    is_free = not (_exists(wanted.destination) or _exists(wanted.destination + plan.BUILDING))
    if dry_run or not is_free or not in_place.rename(wanted):
        from uvshim.rename import replacement

        replacement.rename(wanted, dry_run=dry_run)
    return wanted if dry_run else wanted.afterwards()


def _exists(path: str) -> bool:
    """Return True if there is anything at `path`; `lexists` takes three times as long."""
    return os.access(path, os.F_OK, follow_symlinks=False)


def _clause(error: Exception) -> str:
    """Return what went wrong, as a clause."""
    if not isinstance(error, OSError):
        return str(error)
    what = error.strerror or type(error).__name__
    return f"{what[:1].lower()}{what[1:]}" + (f" ({error.filename})" if error.filename else "")
