"""What a killed run, an uninstall or an earlier installation has left beside a directory.

Only a run that meets something of it loads this module.
"""

from __future__ import annotations

import contextlib
import errno
import os

from uvshim.rename import names, overlay, record_file
from uvshim.rename.plan import BUILDING, ObstacleError
from uvshim.rename.record import UNFINISHED, RecordError

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Iterator

    from uvshim.rename.plan import Plan
    from uvshim.rename.record import Record


def successor(path: str) -> str | None:
    """Return the directory into which a killed run has moved the dist-info directory `path`.

    Its RECORD lists the files in `path` as well, and each of them exists there with the same
    content. None: there is no such directory.
    """
    own = os.path.basename(path)
    for other in () if os.path.islink(path) else _others(path):
        if _listed(other, own) and overlay.is_contained(path, other):
            return other
    return None


def is_leftover(path: str) -> bool:
    """Return True if the directory `path` has only files that an uninstall has left, or none.

    uv removes what RECORD lists. It leaves an empty directory if a target was named by ``./`` or
    ``..``. A rename of what is installed again takes the files along.
    """
    if not _is_no_distribution(path):
        return False
    if not os.listdir(path):
        return "." in names.split(os.path.basename(path))[0]
    return any(os.path.lexists(f"{other}/METADATA") for other in _others(path))


def make_way(plan: Plan, record: Record, *, is_new: bool, dry_run: bool) -> None:
    """Remove what has the name that the directory of the `plan` should have.

    `record` is that in the directory. An earlier installation makes way only for what `is_new`, as
    a snapshot proves; uv does not uninstall it if the target was named by ``./`` or ``..``, but
    would have overwritten it if both had the same name. With `dry_run`, look only whether that is
    possible, and the rename as well.

    Raise `ObstacleError` if it is not, and OSError if a step fails; another call completes it.
    """
    if dry_run:
        _check_rights(plan, record)
    there, building = plan.destination, plan.destination + BUILDING
    begun = record.files(os.path.basename(building))
    if begun and _is_directory(building):  # a killed run has left it
        _absorb(plan, building, begun, dry_run=dry_run)
    if not os.path.lexists(there):
        return
    if os.path.samestat(os.lstat(there), os.lstat(plan.path)):  # on a disk that ignores case
        return
    if _is_no_distribution(there):  # an uninstall has left it
        _absorb(plan, there, set(), dry_run=dry_run)
    elif _is_earlier(plan, is_new=is_new, is_begun=bool(begun)):
        _remove_earlier(plan, record, dry_run=dry_run)
    else:
        raise ObstacleError(f"`{plan.directory}` exists already")


def _is_earlier(plan: Plan, *, is_new: bool, is_begun: bool) -> bool:
    """Return True if an earlier installation of the same version has the new name.

    If a run was killed while it made way, the RECORD of the later one lists it, and what is built.
    """
    there = plan.destination
    if not _is_directory(there):
        return False
    is_whole = {"METADATA", "RECORD"}.issubset(os.listdir(there))
    return (is_new and is_whole) or (is_begun and not _listed(there, plan.own))


def _remove_earlier(plan: Plan, record: Record, *, dry_run: bool) -> None:
    """Remove the earlier installation that has the new name, but not its code.

    Meanwhile, the RECORD of the later one lists its files, under both names they may have.
    """
    there, listed = plan.destination, record.files(plan.directory)
    listed |= _listed(there, plan.directory)
    _absorb(plan, there, listed, dry_run=True)
    if dry_run:
        return
    building = overlay.free(plan)
    rows = [
        record.row(f"{directory}/{name}")
        for directory in (plan.directory, os.path.basename(building))
        for name in (*sorted(listed), UNFINISHED)
    ]
    record_file.append(plan.path, rows)
    with contextlib.suppress(OSError):  # it may be in a lower layer of an overlay
        os.rename(there, building)
        there = building
    _absorb(plan, there, listed)


def _absorb(plan: Plan, path: str, listed: set[str], *, dry_run: bool = False) -> None:
    """Remove the directory `path` with the files that are `listed`.

    Others have put the rest there. It moves into the directory of the `plan`, so that it has the
    same path after the rename. Raise `ObstacleError` if a file of that name exists.
    """
    foreign = sorted(set(overlay.files_in(path)) - listed)
    for name in foreign:
        if os.path.lexists(f"{plan.path}/{name}"):
            raise ObstacleError(f"`{plan.directory}/{name}` exists already")
    if dry_run:
        return
    for name in foreign:
        os.makedirs(os.path.dirname(f"{plan.path}/{name}"), exist_ok=True)
        os.rename(f"{path}/{name}", f"{plan.path}/{name}")
    overlay.remove(path)


def _others(path: str) -> Iterator[str]:
    """Yield the other dist-info directories of the same project as `path`."""
    site_packages, own = os.path.split(path)
    for name in os.listdir(site_packages):
        is_dist_info = name.endswith(names.SUFFIX) and name != own
        if is_dist_info and names.version_in(own, names.split(name)[0]) is not None:
            yield os.path.join(site_packages, name)


def _listed(path: str, directory: str) -> set[str]:
    """Return the files in `directory` that the RECORD in `path` lists; none if it has none."""
    try:
        return record_file.read(path).files(directory)
    except (RecordError, OSError):
        return set()


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _is_no_distribution(path: str) -> bool:
    """Return True if `path` is a directory without METADATA and RECORD."""
    return _is_directory(path) and {"METADATA", "RECORD"}.isdisjoint(os.listdir(path))


def _check_rights(plan: Plan, record: Record) -> None:
    """Raise the OSError that a rename would meet, if we may not write where it writes."""
    written = [os.path.dirname(plan.path)] if plan.destination != plan.path else []
    is_in_place = record.only and len(plan.own) == len(plan.directory) and not plan.original
    if is_in_place and not record_file.is_shared(plan.path):
        os.close(os.open(f"{plan.path}/RECORD", os.O_RDWR))  # nothing else is written to
    else:
        written.append(plan.path)
    for each in written:
        if not os.access(each, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), each)
