"""The rename of a dist-info directory where RECORD cannot be rewritten in place.

A new RECORD is written to a file that RECORD already lists, and replaces the old one.
This is needed if rows change their length, are quoted, or name another directory, or if a killed
run or an earlier installation of the same version has left a directory with the new name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from uvshim.environments import files
from uvshim.rename import names, overlay
from uvshim.rename.in_place import restore_times, write
from uvshim.rename.plan import BUILDING, ObstacleError
from uvshim.rename.record import UNFINISHED, Record, RecordError, appended, complete

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Iterator

    from uvshim.rename.plan import Plan

# What a directory with the new name may be: the same one after a killed run, an
# earlier installation of the same version, or files that an uninstall has left.
_ITSELF = "itself"
_EARLIER = "earlier"
_REMAINDER = "remainder"


def rename(plan: Plan, *, dry_run: bool) -> None:
    """Carry out `plan`, or with `dry_run` check that this is possible.

    Raise `ObstacleError` if it is not, and OSError if a step fails; another call completes it.
    """
    beside = _beside(plan)
    if dry_run:
        _check_rights(plan)
        return
    if beside == _ITSELF:
        overlay.remove(plan.path)
        # A killed run may already have removed the row of the unfinished RECORD.
        own = {plan.directory}
        append(plan.destination, read(plan.destination).added(own, plan.directory))
    else:
        append(plan.path, read(plan.path).added(plan.aliases, plan.directory))
        if beside == _EARLIER:
            _remove_earlier(plan)
        elif beside == _REMAINDER:
            _take_leftovers(plan)
        if plan.destination != plan.path:
            _move(plan)
    replace(plan.destination, plan.new_record())


def is_empty_leftover(path: str) -> bool:
    """Return True if `path` is an empty directory with a dotted name.

    uv leaves one if it uninstalls from a target whose path has ``./`` or ``..``.
    """
    dotted = "." in names.split(os.path.basename(path))[0]
    return dotted and not os.path.islink(path) and os.path.isdir(path) and not os.listdir(path)


def is_leftover(path: str) -> bool:
    """Return True if `path` has only files that an uninstall has left.

    uv removes what RECORD lists. A rename of the new directory keeps these files.
    """
    return _is_no_distribution(path) and any(
        os.path.lexists(f"{other}/METADATA") for other in _others(path)
    )


def successor(path: str) -> str | None:
    """Return the directory into which a killed run has moved the dist-info directory `path`.

    Return None if there is no such directory.
    """
    if os.path.islink(path):
        return None
    return next((other for other in _others(path) if _is_remnant(path, other)), None)


def _others(path: str) -> Iterator[str]:
    """Yield the other dist-info directories of the same project as `path`."""
    site_packages, own = os.path.split(path)
    for name in os.listdir(site_packages):
        is_dist_info = name.endswith(names.SUFFIX) and name != own
        if is_dist_info and names.version_in(own, names.split(name)[0]) is not None:
            yield os.path.join(site_packages, name)


def _have_common_names(plan: Plan) -> bool:
    """Return True if both directories have a file of the same name."""
    return not set(os.listdir(plan.path)).isdisjoint(os.listdir(plan.destination))


def _is_no_distribution(path: str) -> bool:
    """Return True if `path` is a directory without METADATA and RECORD."""
    return (
        not os.path.islink(path)
        and os.path.isdir(path)
        and not any(os.path.lexists(f"{path}/{name}") for name in ("METADATA", "RECORD"))
    )


def _beside(plan: Plan) -> str:
    """Return what has the new name: "" (nothing), `_ITSELF`, `_EARLIER` or `_REMAINDER`.

    Raise `ObstacleError` if it is anything else.
    """
    try:
        there = os.lstat(plan.destination)
    except FileNotFoundError:
        return ""
    # On a disk that ignores case it may be the same directory.
    if os.path.samestat(there, os.lstat(plan.path)) or is_empty_leftover(plan.destination):
        return ""
    if _is_remnant(plan.path, plan.destination):
        return _ITSELF
    if stat.S_ISDIR(there.st_mode) and (_is_later(plan) or _is_half_removed(plan)):
        return _EARLIER
    if _is_no_distribution(plan.destination) and not _have_common_names(plan):
        return _REMAINDER
    message = f"`{plan.directory}` exists already"
    raise ObstacleError(message)


def _is_remnant(path: str, destination: str) -> bool:
    """Return True if a killed run has left the directory `path` beside its copy `destination`.

    Then the RECORD at the destination also lists its files, and each of them exists there
    with the same content.
    """
    try:
        listed = read(destination).files(os.path.basename(path))
    except (RecordError, OSError):
        return False
    return bool(listed) and overlay.is_contained(path, destination)


def _is_later(plan: Plan) -> bool:
    """Return True if the directory is a later installation of the one with the new name.

    uv does not uninstall the earlier one if the target's path has ``./`` or ``..``; it would have
    overwritten it if both had the same name.
    """
    try:
        metadata = files.read(f"{plan.destination}/METADATA", names.HEADER_LIMIT) or b""
        written, before = (
            os.lstat(f"{path}/RECORD").st_mtime_ns for path in (plan.path, plan.destination)
        )
        return written > before and names.parse_metadata(metadata)[0] == plan.name
    except (names.MetadataError, OSError):
        return False


def _is_half_removed(plan: Plan) -> bool:
    """Return True if a killed run has already removed the RECORD of the earlier installation.

    Then the RECORD of the later one lists all files that are left.
    """
    listed = plan.record.files(plan.directory) if plan.record else set()
    is_listed = listed.issuperset(overlay.files_in(plan.destination))
    return is_listed and not os.path.lexists(f"{plan.destination}/RECORD")


def _remove_earlier(plan: Plan) -> None:
    """Remove the earlier installation that has the new name.

    Before that, add its files to the RECORD of the later one, under both names.
    """
    overlay.discard(plan.destination)
    moved = plan.destination + BUILDING
    listed = read(plan.path)
    found = overlay.files_in(plan.destination)
    for directory in (plan.directory, os.path.basename(moved)):
        missing = sorted(set(found) - listed.files(directory))
        append(plan.path, [listed.row(f"{directory}/{name}") for name in missing])
    try:
        os.rename(plan.destination, moved)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        overlay.remove(plan.destination)


def _take_leftovers(plan: Plan) -> None:
    """Move files that an uninstall has left under the new name into the directory.

    After the rename their paths are the same as before.
    """
    for name in os.listdir(plan.destination):
        os.rename(f"{plan.destination}/{name}", f"{plan.path}/{name}")
    os.rmdir(plan.destination)


def _move(plan: Plan) -> None:
    """Rename the directory."""
    overlay.discard(plan.destination)
    try:
        os.rename(plan.path, plan.destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        building = os.path.basename(plan.destination) + BUILDING
        append(plan.path, read(plan.path).added({plan.own}, building))
        overlay.move(plan.path, plan.destination)


def _check_rights(plan: Plan) -> None:
    """Raise the OSError that `rename` would raise if we may not write."""
    path = f"{plan.path}/RECORD"
    status = os.lstat(path)
    is_own = status.st_nlink == 1 and stat.S_ISREG(status.st_mode)
    written = [path, plan.path] if is_own else [plan.path]
    if plan.destination != plan.path:
        written.append(os.path.dirname(plan.path))
    effective = os.access in os.supports_effective_ids
    for each in written:
        if not os.access(each, os.W_OK, effective_ids=effective):
            read_only = os.statvfs(each).f_flag & os.ST_RDONLY
            code = errno.EROFS if read_only else errno.EACCES
            raise OSError(code, os.strerror(code), each)


# --- the file RECORD ------------------------------------------------------------------------------


def read(directory: str) -> Record:
    """Return the RECORD in the dist-info `directory` (a path). Raise `RecordError` or OSError."""
    content = files.read(os.path.join(directory, "RECORD"))
    if content is None:
        message = "it has no RECORD"
        raise RecordError(message)
    return Record(content, os.path.basename(directory))


def append(directory: str, rows: list[bytes]) -> None:
    """Append `rows` to the RECORD in the dist-info `directory` (a path), or none of them.

    They are appended to the file itself: no RECORD would list a second file, which an uninstall
    after a kill would leave. A RECORD with a second name elsewhere (a hard or symbolic link) is
    replaced nevertheless. Raise OSError.
    """
    if not rows:
        return
    path = os.path.join(directory, "RECORD")
    status = os.lstat(path)
    if status.st_nlink > 1 or not stat.S_ISREG(status.st_mode):
        replace(directory, read(directory).content + b"".join(rows))
        return
    file = os.open(path, os.O_RDWR)
    try:
        before = os.read(file, status.st_size)
        end = complete(before)
        if end < len(before):
            os.ftruncate(file, end)
        line_end = b"" if before[:end].endswith(b"\n") else b"\n"
        try:
            write(file, line_end + appended(rows, rows[-1], end + len(line_end)), end)
        except OSError:  # a full disk accepts a part
            os.ftruncate(file, end)
            raise
        restore_times(file, status)
    finally:
        os.close(file)


def replace(directory: str, content: bytes, before: str | None = None) -> None:
    """Replace the RECORD in the dist-info `directory` (a path) by one with `content`, atomically.

    Mode, owner and times are those of the file `before`, by default RECORD's own. Raise OSError,
    having changed nothing.
    """
    path, unfinished = (os.path.join(directory, name) for name in ("RECORD", UNFINISHED))
    status = os.stat(before or path)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)  # a killed run has left it
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            while content:
                content = content[os.write(file, content) :]
            overlay.own_as(status, unfinished)
            os.fchmod(file, stat.S_IMODE(status.st_mode))  # after a chown, which removes bits
            restore_times(file, status)
        finally:
            os.close(file)
        os.replace(unfinished, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise
