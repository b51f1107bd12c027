"""What `os.rename` alone cannot overcome: layers of an overlay, and what has the new name already.

Only a run that meets something of this loads the module.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import shutil

from uvshim.rename import record_file
from uvshim.rename.plan import BUILDING, ObstacleError
from uvshim.rename.record import UNFINISHED, RecordError

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from uvshim.rename.plan import Plan
    from uvshim.rename.record import Record

# Removed last, in this order. An uninstall finds all files in the other RECORD as well, but
# importlib.metadata may read this METADATA as long as the directory exists.
_LAST = {"RECORD": 1, "METADATA": 2}


def move(plan: Plan) -> None:
    """Give the directory of the `plan` its name, although it is in a lower layer of an overlay.

    There, renaming a directory fails with EXDEV (Linux, Documentation/filesystems/overlayfs.rst).
    So its files are linked into a new one with another suffix, which is then renamed, and the old
    one is removed. While both exist they are equal, and each RECORD lists all files of both. Raise
    OSError; another run completes what this one has begun.
    """
    building = _free(plan)
    listed = record_file.read(plan.path)
    record_file.append(plan.path, listed.added({plan.own}, os.path.basename(building)))
    _link_tree(plan.path, building)
    os.rename(building, plan.destination)
    remove(plan.path)


def is_contained(path: str, destination: str) -> bool:
    """Return True if each file below `path` is below `destination`, with the same content.

    Their RECORDs may differ, as they do during a rename.
    """
    try:
        return all(
            filecmp.cmp(f"{path}/{name}", f"{destination}/{name}", shallow=False)
            for name in _files_in(path)
            if name != "RECORD"
        )
    except OSError:
        return False


def make_way(plan: Plan, record: Record, *, is_new: bool, dry_run: bool) -> None:
    """Remove what has the name that the directory of the `plan` should have, but not its code.

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
    if there == plan.path or not os.path.lexists(there):
        return
    is_in_the_way = ObstacleError(f"`{plan.directory}` exists already")
    if not _is_directory(there):
        raise is_in_the_way
    described = _LAST.keys() & set(os.listdir(there))
    listed = record.files(plan.own)  # an uninstall was interrupted: uv would have replaced these
    if described:
        is_whole = len(described) == len(_LAST)
        # A killed run was removing it, unless it lists the later one: then that run has built it.
        is_begun = begun and not _listed(there, plan.own)
        if not is_begun and not (is_new and is_whole):
            raise is_in_the_way
        listed = record.files(plan.directory) | _listed(there, plan.directory)
    _absorb(plan, there, listed, dry_run=True)
    if not dry_run:
        _absorb(plan, _put_aside(plan, record, listed) if described else there, listed)


def _put_aside(plan: Plan, record: Record, listed: set[str]) -> str:
    """Give the earlier installation that has the new name another one, and return its path.

    First, the RECORD of the later one lists its files, under both names they may have.
    """
    there, building = plan.destination, _free(plan)
    rows = [
        record.row(f"{directory}/{name}")
        for directory in (plan.directory, os.path.basename(building))
        for name in (*sorted(listed), UNFINISHED)
    ]
    record_file.append(plan.path, rows)
    with contextlib.suppress(OSError):  # it may be in a lower layer of an overlay
        os.rename(there, building)
        return building
    return there


def _absorb(plan: Plan, path: str, listed: set[str], *, dry_run: bool = False) -> None:
    """Remove the directory `path` with the files that are `listed`.

    Others have put the rest there. It moves into the directory of the `plan`, so that it has the
    same path after the rename. Raise `ObstacleError` if a file of that name exists.
    """
    foreign = sorted(set(_files_in(path)) - listed)
    for name in foreign:
        if os.path.lexists(f"{plan.path}/{name}"):
            raise ObstacleError(f"`{plan.directory}/{name}` exists already")
    if dry_run:
        return
    for name in foreign:
        os.makedirs(os.path.dirname(f"{plan.path}/{name}"), exist_ok=True)
        os.rename(f"{path}/{name}", f"{plan.path}/{name}")
    remove(path)


def remove(path: str) -> None:
    """Remove the dist-info directory `path`. Raise OSError."""
    for name in sorted(os.listdir(path), key=lambda name: _LAST.get(name, 0)):
        inside = os.path.join(path, name)
        if _is_directory(inside):
            shutil.rmtree(inside)
        else:
            os.unlink(inside)
    os.rmdir(path)


def _check_rights(plan: Plan, record: Record) -> None:
    """Raise the OSError that a rename would meet, if we may not write where it writes."""
    os.close(os.open(f"{plan.path}/RECORD", os.O_RDWR))
    is_in_place = record.only and len(plan.own) == len(plan.directory) and not plan.original
    written = [] if is_in_place and not record_file.is_shared(plan.path) else [plan.path]
    if plan.destination != plan.path:
        written.append(os.path.dirname(plan.path))
    for each in written:
        if not os.access(each, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), each)


def _free(plan: Plan) -> str:
    """Return the path beside the new name that is needed for a while. Raise `ObstacleError`."""
    building = plan.destination + BUILDING
    if os.path.lexists(building):
        raise ObstacleError(f"`{os.path.basename(building)}` is in the way")
    return building


def _link_tree(source: str, target: str) -> None:
    os.mkdir(target)
    with os.scandir(source) as entries:
        # Directories come last: pip leaves one in which only other directories were listed.
        ordered = sorted(entries, key=lambda entry: entry.is_dir(follow_symlinks=False))
    for entry in ordered:
        other = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False):
            _link_tree(entry.path, other)
            continue
        try:
            os.link(entry.path, other, follow_symlinks=False)
        except OSError:
            shutil.copyfile(entry.path, other, follow_symlinks=False)
            _copy_status(entry.path, other)
    _copy_status(source, target)


def _copy_status(source: str, target: str) -> None:
    record_file.own_as(os.lstat(source), target)
    shutil.copystat(source, target, follow_symlinks=False)


def _files_in(directory: str) -> list[str]:
    """Return the paths of all files and links below `directory`, relative to it."""
    found = []
    for parent, folders, names in os.walk(directory):
        links = [each for each in folders if os.path.islink(os.path.join(parent, each))]
        found += [os.path.join(parent, each)[len(directory) + 1 :] for each in (*names, *links)]
    return found


def _listed(path: str, directory: str) -> set[str]:
    """Return the files in `directory` that the RECORD in `path` lists; none if it has none."""
    try:
        return record_file.read(path).files(directory)
    except (RecordError, OSError):
        return set()


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
