"""What a killed run, an uninstall or an earlier installation has left beside a directory.

Only a run that meets something of it loads this module.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat

from uvshim.rename import names, overlay, record_file
from uvshim.rename.plan import BUILDING, ObstacleError
from uvshim.rename.record import Record, RecordError

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Iterator

    from uvshim.rename.plan import Plan


def successor(path: str) -> str | None:
    """Return the directory into which a killed run has moved the dist-info directory `path`.

    Its RECORD lists the files in `path` as well, and each of them exists there with the same
    content. None: there is no such directory.
    """
    return next((other for other in _others(path) if _is_remnant(path, other)), None)


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


def make_way(plan: Plan, *, is_new: bool, dry_run: bool) -> None:
    """Remove what has the name that the directory of the `plan` should have.

    An earlier installation makes way only for what `is_new`, as a snapshot proves. With `dry_run`
    look only whether that is possible, and the rename as well. Raise `ObstacleError` if it is not,
    and OSError if a step fails; another call completes it.
    """
    if dry_run:
        _check_rights(plan)
    else:
        overlay.discard(plan)
    try:
        there = os.lstat(plan.destination)
    except FileNotFoundError:
        return
    if os.path.samestat(there, os.lstat(plan.path)):  # on a disk that ignores case
        return
    is_earlier = stat.S_ISDIR(there.st_mode) and _is_earlier(plan, is_new=is_new)
    foreign = _foreign(plan) if is_earlier else []
    left = os.listdir(plan.destination) if _is_no_distribution(plan.destination) else None
    if not is_earlier and (left is None or not {*left}.isdisjoint(os.listdir(plan.path))):
        raise ObstacleError(f"`{plan.directory}` exists already")
    if is_earlier and not dry_run:
        for name in foreign:
            os.makedirs(os.path.dirname(f"{plan.path}/{name}"), exist_ok=True)
            os.rename(f"{plan.destination}/{name}", f"{plan.path}/{name}")
        _remove_earlier(plan)
    elif left is not None and not dry_run:
        for name in left:  # after the rename each is where it was
            os.rename(f"{plan.destination}/{name}", f"{plan.path}/{name}")
        os.rmdir(plan.destination)


def _others(path: str) -> Iterator[str]:
    """Yield the other dist-info directories of the same project as `path`."""
    site_packages, own = os.path.split(path)
    for name in os.listdir(site_packages):
        is_dist_info = name.endswith(names.SUFFIX) and name != own
        if is_dist_info and names.version_in(own, names.split(name)[0]) is not None:
            yield os.path.join(site_packages, name)


def _is_remnant(path: str, other: str) -> bool:
    """Return True if `other` is the successor of `path`."""
    try:
        listed = record_file.read(other).files(os.path.basename(path))
    except (RecordError, OSError):
        return False
    return bool(listed) and not os.path.islink(path) and overlay.is_contained(path, other)


def _is_no_distribution(path: str) -> bool:
    """Return True if `path` is a directory without METADATA and RECORD."""
    return (
        not os.path.islink(path)
        and os.path.isdir(path)
        and {"METADATA", "RECORD"}.isdisjoint(os.listdir(path))
    )


def _is_earlier(plan: Plan, *, is_new: bool) -> bool:
    """Return True if an earlier installation of the same version has the new name.

    uv does not uninstall it if the target was named by ``./`` or ``..``; it would have overwritten
    it if both had the same name. If a run was killed while it made way, the RECORD of the later one
    lists all that is left of it.
    """
    if is_new and {"METADATA", "RECORD"}.issubset(os.listdir(plan.destination)):
        return True
    building = os.path.basename(plan.destination) + BUILDING
    if plan.record is None or building not in plan.record.directories():
        return False  # RECORD may list the new name for other reasons
    listed = plan.record.files(plan.directory)
    try:
        earlier = record_file.read(plan.destination).directories()
    except (RecordError, OSError):  # a killed run has removed it
        earlier = set()
    is_complete = listed.issuperset(overlay.files_in(plan.destination))
    return bool(listed) and is_complete and plan.own not in earlier


def _foreign(plan: Plan) -> list[str]:
    """Return the files that others have put into the earlier installation: no RECORD lists them.

    They stay where they are: the later installation takes them over. Raise `ObstacleError` if it
    has a file of that name.
    """
    listed = plan.record.files(plan.directory) if plan.record else set()
    with contextlib.suppress(RecordError, OSError):  # a killed run has removed it
        listed |= record_file.read(plan.destination).files(plan.directory)
    foreign = []
    for name in sorted(set(_everything_in(plan.destination)) - listed):
        if not os.path.lexists(f"{plan.path}/{name}"):
            foreign.append(name)
        elif not os.path.isdir(f"{plan.destination}/{name}"):
            raise ObstacleError(f"`{plan.directory}/{name}` exists already")
    return foreign


def _everything_in(directory: str) -> Iterator[str]:
    """Yield the files, links and empty directories below `directory`, relative to it."""
    for parent, folders, files in os.walk(directory):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in (*files, *links):
            yield os.path.relpath(os.path.join(parent, name), directory)
        if parent != directory and not (files or folders):
            yield os.path.relpath(parent, directory)


def _remove_earlier(plan: Plan) -> None:
    """Remove the earlier installation that has the new name.

    Meanwhile, the RECORD of the later one lists its files, under both names they may have. Those
    outside of its directory stay where they are, and listed.
    """
    moved = overlay.free(plan)
    listed = record_file.read(plan.path)
    found = overlay.files_in(plan.destination)
    taken = _only_in(plan, listed)
    plan.record = Record(listed.content + b"".join(taken), plan.own)
    with record_file.opened(plan.path) as file:
        file.append(
            taken
            + [
                listed.row(f"{directory}/{name}")
                for directory in (plan.directory, os.path.basename(moved))
                for name in sorted(set(found) - listed.files(directory))
            ]
        )
        try:
            os.rename(plan.destination, moved)
            shutil.rmtree(moved)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            overlay.remove(plan.destination)
        if not taken:
            file.cut()


def _only_in(plan: Plan, listed: Record) -> list[bytes]:
    """Return the rows for files that the earlier installation has, and that are not `listed`."""
    try:
        others = record_file.read(plan.destination).others(listed).items()
    except RecordError:  # a killed run has removed it
        return []
    site_packages = os.path.dirname(plan.path)
    return [row for path, row in others if os.path.lexists(os.path.join(site_packages, path))]


def _check_rights(plan: Plan) -> None:
    """Raise the OSError that a rename would meet, if we may not write where it writes."""
    above, record = os.path.dirname(plan.path), f"{plan.path}/RECORD"
    is_shared = record_file.is_shared(plan.path)
    # RECORD is overwritten if nothing gets longer, and nothing else is written.
    is_simple = plan.record is not None and plan.record.only and not (plan.original or is_shared)
    in_place = is_simple and len(plan.own) == len(plan.directory)
    written = [*([] if is_shared else [record]), *([] if in_place else [plan.path])]
    if plan.destination != plan.path:
        written.append(above)
        status = os.stat(above)
        owners = {0, status.st_uid, os.lstat(plan.path).st_uid}
        if status.st_mode & stat.S_ISVTX and os.geteuid() not in owners:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), plan.path)
    effective = os.access in os.supports_effective_ids
    for each in written:
        if not os.access(each, os.W_OK, effective_ids=effective):
            read_only = os.statvfs(each).f_flag & os.ST_RDONLY
            code = errno.EROFS if read_only else errno.EACCES
            raise OSError(code, os.strerror(code), each)
