"""The rename: a dist-info directory gets the name under which pkg_resources finds it.

At every instant, a kill between any two system calls included, `importlib.metadata` finds the
distribution and an uninstall removes all of it, because its RECORD lists both names for as long as
either may be the one that exists (uv and pip skip a path that does not exist):

1. append the new name's paths to RECORD;
2. rename the directory;
3. replace RECORD by one with the new name's paths alone.

Step 2 takes longer where a directory comes from a lower layer of a container: see `overlay`.
"""

from __future__ import annotations

import errno
import os
import posixpath
import time
from typing import TYPE_CHECKING, NamedTuple

from uvshim.environments import files
from uvshim.environments.tree import DiskTree
from uvshim.rename import names, overlay, plan, record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from uvshim.rename.plan import Plan


class Renamed(NamedTuple):
    """A distribution whose dist-info directory was renamed, or whose RECORD was corrected."""

    name: str
    """Its project name, as METADATA has it."""
    version: str
    """Its version, as the directory's name has it."""
    before: str
    """The path of its dist-info directory before."""
    path: str
    """The path of its dist-info directory now: the same, where only RECORD was wrong."""


class LeftAlone(NamedTuple):
    """A dist-info directory that was left alone although something is wrong with it."""

    path: str
    """Its path."""
    reason: str
    """What is wrong: a clause that goes after the path and a colon."""


class Outcome(NamedTuple):
    """What became of the directories in which something was wrong."""

    renamed: list[Renamed]
    left_alone: list[LeftAlone]
    seconds: float = 0.0
    """How long it took."""


class _CannotError(Exception):
    """A directory has to be left alone; the message is the reason."""


class _Disk(DiskTree):
    """Reads this machine's files, and takes none that cannot be read for one that is missing."""

    def read(self, path: str, limit: int) -> bytes | None:
        return files.read(path, limit)


_DISK = _Disk()

# What may stand where a directory is to be: what a killed run has made of it, or the same version,
# installed earlier.
_ITSELF = "itself"
_EARLIER = "earlier"


def rename(
    paths: Iterable[str],
    concerns: Callable[[str], bool],
    *,
    in_use: Collection[str] = (),
    dry_run: bool = False,
    known: dict[str, Plan] | None = None,
) -> Outcome:
    """Rename the dist-info directories `paths` of the distributions that `concerns` names.

    `concerns` is asked with each project name as METADATA has it. What is found under one of
    the keys `in_use` keeps its name (see `check.spelling`). With `dry_run`, what would be
    renamed is told and nothing is touched. What is known of each directory at the end is put into
    `known`, by its path. The caller holds uv's lock on the environment.
    """
    begin = time.monotonic()
    known = {} if known is None else known
    renamed: dict[str, Renamed] = {}
    left_alone = []
    for path in paths:
        try:
            wanted = _plan(path, concerns, in_use)
            if wanted is None:
                continue
            if not wanted.wrong:
                known[path] = wanted
                continue
            beside = _check(wanted)
            if dry_run:
                _check_rights(wanted)
                known[path] = wanted
            else:
                known[wanted.destination] = _carry_out(wanted, beside)
        except _CannotError as reason:
            left_alone.append(LeftAlone(path, str(reason)))
        except OSError as error:
            left_alone.append(LeftAlone(path, _told(error)))
        else:
            # Of a directory that a killed run has left twice, both are renamed: that is one.
            renamed[wanted.destination] = Renamed(
                wanted.name, wanted.version, path, wanted.destination
            )
    return Outcome(list(renamed.values()), left_alone, time.monotonic() - begin)


def _plan(path: str, concerns: Callable[[str], bool], in_use: Collection[str]) -> Plan | None:
    """Return what is to be done with the dist-info directory `path`; None, if that is nothing.

    Raises `_CannotError` where nothing can be known of it.
    """
    try:
        wanted = plan.make(_DISK, path, concerns, in_use=in_use)
    except names.MetadataError as error:
        if plan.is_beyond_doubt(os.path.basename(path)) or _is_husk(path):
            return None  # broken, but not in its name
        wanted = _plan_of_heir(path, concerns, in_use)
        if wanted is None:
            raise _CannotError(*error.args) from None
        return wanted
    if wanted and wanted.wrong and wanted.listed is record.NOTHING:
        return _plan_of_heir(path, concerns, in_use) or wanted
    return wanted


def _plan_of_heir(
    path: str, concerns: Callable[[str], bool], in_use: Collection[str]
) -> Plan | None:
    """Return what is to be done with what a killed run has left of the directory `path`."""
    heir = None if os.path.islink(path) else overlay.heir(path)
    return plan.make(_DISK, path, concerns, in_use=in_use, described_in=heir) if heir else None


def _is_husk(path: str) -> bool:
    """Say whether `path` is an empty directory with a dotted name.

    uv leaves one where it has uninstalled from a target that was named by ``./`` or ``..``.
    """
    dotted = "." in names.split(os.path.basename(path))[0]
    return dotted and not os.path.islink(path) and os.path.isdir(path) and not os.listdir(path)


def _check(wanted: Plan) -> str:
    """Raise `_CannotError` if something forbids what the plan `wanted` says.

    Returns what stands at the destination: nothing, `_ITSELF` or `_EARLIER`.
    """
    if wanted.obstacle:
        raise _CannotError(wanted.obstacle)
    if os.path.islink(wanted.path):
        message = "it is a symbolic link"
        raise _CannotError(message)
    if not _stands_beside(wanted) or _is_husk(wanted.destination):
        return ""
    if overlay.is_remnant(wanted.path, wanted.destination):
        return _ITSELF
    if _is_later(wanted) or _has_made_way(wanted):
        return _EARLIER
    message = f"`{wanted.directory}` stands beside it already"
    raise _CannotError(message)


def _is_later(wanted: Plan) -> bool:
    """Say whether the directory is a later installation of the version that has its name.

    Where uv takes the files of that one for foreign ones (a target that was named by ``./`` or
    ``..``), it does not uninstall it, and would have written over it if both had one name.
    """
    try:
        earlier = plan.make(_DISK, wanted.destination)
        written, before = (
            os.lstat(os.path.join(path, "RECORD")).st_mtime_ns
            for path in (wanted.path, wanted.destination)
        )
    except (names.MetadataError, OSError):
        return False
    is_its_own = not os.path.islink(wanted.destination)
    return is_its_own and earlier is not None and earlier.name == wanted.name and written > before


def _has_made_way(wanted: Plan) -> bool:
    """Say whether a killed run has removed the RECORD of the earlier installation already.

    Then the RECORD of the later one lists all that is left of it.
    """
    if os.path.islink(wanted.destination):
        return False
    listed = {row.path for row in wanted.listed.infos}
    return not os.path.lexists(os.path.join(wanted.destination, "RECORD")) and all(
        posixpath.join(wanted.directory, name) in listed for name in _files_in(wanted.destination)
    )


def _files_in(directory: str) -> list[str]:
    """Return the paths of all files below `directory`, as seen from there."""
    return [
        os.path.relpath(os.path.join(parent, name), directory)
        for parent, _, filenames in os.walk(directory)
        for name in filenames
    ]


def _check_rights(wanted: Plan) -> None:
    """Raise the OSError that `_carry_out` would meet, if we may not write where it writes."""
    path = os.path.join(wanted.path, "RECORD")
    written = [wanted.path] if os.lstat(path).st_nlink > 1 else [path, wanted.path]
    if wanted.destination != wanted.path:
        written.append(os.path.dirname(wanted.path))
    as_who_we_are = os.access in os.supports_effective_ids
    for each in written:
        if not os.access(each, os.W_OK, effective_ids=as_who_we_are):
            read_only = os.statvfs(each).f_flag & os.ST_RDONLY
            code = errno.EROFS if read_only else errno.EACCES
            raise OSError(code, os.strerror(code), each)


def _carry_out(wanted: Plan, beside: str) -> Plan:
    """Do what the plan `wanted` says, so that a kill at any moment loses nothing.

    `beside` is what stands at the destination, as `_check` says it. Returns what is to be done
    with the directory now: nothing.
    """
    done = wanted.afterwards()
    if beside == _ITSELF:
        overlay.remove(wanted.path)
        # The run that was killed may have come as far as to list no unfinished RECORD any more.
        listed = record.read(wanted.destination)
        record.append(
            wanted.destination,
            record.also_listed(listed, {wanted.directory}, wanted.directory),
        )
    else:
        record.append(wanted.path, wanted.rows_meanwhile())
        if beside == _EARLIER:
            _make_way(wanted)
        if wanted.destination != wanted.path:
            _move(wanted)
    record.replace(done.path, done.listed)
    return done


def _stands_beside(wanted: Plan) -> bool:
    """Say whether there is something else at the destination; a name's case may not matter."""
    try:
        there = os.lstat(wanted.destination)
    except FileNotFoundError:
        return False
    return not os.path.samestat(there, os.lstat(wanted.path))


def _make_way(wanted: Plan) -> None:
    """Remove the earlier installation that stands at the destination.

    Before that, the RECORD of the later one lists its files, whatever they are called meanwhile.
    """
    overlay.discard(wanted.destination)
    aside = wanted.destination + plan.BUILDING
    listed = {row.path for row in record.read(wanted.path).infos}
    found = [
        posixpath.join(directory, name)
        for name in _files_in(wanted.destination)
        for directory in (wanted.directory, os.path.basename(aside))
    ]
    record.append(wanted.path, [record.Row(path, "", "") for path in found if path not in listed])
    try:
        os.rename(wanted.destination, aside)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        overlay.remove(wanted.destination)


def _move(wanted: Plan) -> None:
    """Give the directory its name."""
    overlay.discard(wanted.destination)
    try:
        os.rename(wanted.path, wanted.destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        overlay.move(wanted.path, wanted.destination)


def _told(error: OSError) -> str:
    """Return what went wrong, as a clause."""
    what = error.strerror or type(error).__name__
    return f"{what[:1].lower()}{what[1:]}" + (f" ({error.filename})" if error.filename else "")
