"""The rename of a dist-info directory where RECORD cannot be rewritten in place.

A new RECORD is written beside the old one, under a name that RECORD lists by then, and replaces it.
So it is if rows change their length, are quoted, or name another directory; and if a killed run or
an earlier installation of the same version has left a directory with the new name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
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

# What a directory that has the new name already may be: what a killed run has made of this one, an
# earlier installation of the same version, or files that an uninstall has left of one.
_ITSELF = "itself"
_EARLIER = "earlier"
_REMAINDER = "remainder"


def rename(plan: Plan, *, is_new: bool, dry_run: bool) -> None:
    """Do what `plan` says, or with `dry_run` look whether that is possible.

    An earlier installation makes way for what `is_new`, as a snapshot proves. Raise `ObstacleError`
    if it is not possible, and OSError if a step fails; another call completes it.
    """
    beside = _beside(plan, is_new=is_new)
    if dry_run:
        _check_rights(plan)
        return
    if beside == _ITSELF:
        overlay.remove(plan.path)
        # The run that was killed may have removed the row of the unfinished RECORD already.
        own = {plan.directory}
        append(plan.destination, read(plan.destination).added(own, plan.directory))
    else:
        append(plan.path, read(plan.path).added(plan.aliases, plan.directory))
        if beside == _EARLIER:
            _make_way(plan)
        elif beside == _REMAINDER:
            _take_along(plan)
        if plan.destination != plan.path:
            _move(plan)
    replace(plan.destination, plan.new_record())


def is_husk(path: str) -> bool:
    """Return True if `path` is an empty directory with a dotted name.

    uv leaves one when it uninstalls from a target that was named by ``./`` or ``..``.
    """
    dotted = "." in names.split(os.path.basename(path))[0]
    return dotted and not os.path.islink(path) and os.path.isdir(path) and not os.listdir(path)


def is_remainder(path: str) -> bool:
    """Return True if `path` has only files that an uninstall has left, of what is installed again.

    uv removes what RECORD lists. A rename of the new directory takes these files along.
    """
    return _is_no_distribution(path) and any(
        os.path.lexists(f"{other}/METADATA") for other in _others(path)
    )


def heir(path: str) -> str | None:
    """Return the directory into which a killed run has moved the dist-info directory `path`.

    None, if there is no such directory.
    """
    if os.path.islink(path):
        return None
    return next((other for other in _others(path) if _is_remnant(path, other)), None)


def _others(path: str) -> Iterator[str]:
    """Yield the dist-info directories beside `path` whose names are of the same project."""
    site_packages, own = os.path.split(path)
    for name in os.listdir(site_packages):
        is_dist_info = name.endswith(names.SUFFIX) and name != own
        if is_dist_info and names.version_in(own, names.split(name)[0]) is not None:
            yield os.path.join(site_packages, name)


def _have_common_names(plan: Plan) -> bool:
    """Return True if the directory and the one with the new name have a file of the same name."""
    return not set(os.listdir(plan.path)).isdisjoint(os.listdir(plan.destination))


def _is_no_distribution(path: str) -> bool:
    """Return True if `path` is a directory without METADATA and RECORD."""
    return (
        not os.path.islink(path)
        and os.path.isdir(path)
        and not any(os.path.lexists(f"{path}/{name}") for name in ("METADATA", "RECORD"))
    )


def _beside(plan: Plan, *, is_new: bool) -> str:
    """Return what has the new name already: "", `_ITSELF`, `_EARLIER` or `_REMAINDER`.

    Raise `ObstacleError` if it is anything else.
    """
    try:
        there = os.lstat(plan.destination)
    except FileNotFoundError:
        return ""
    # On a disk that ignores case it may be the same directory.
    if os.path.samestat(there, os.lstat(plan.path)) or is_husk(plan.destination):
        return ""
    if _is_remnant(plan.path, plan.destination):
        return _ITSELF
    if stat.S_ISDIR(there.st_mode) and ((is_new and _is_of_same_project(plan)) or _lists_all(plan)):
        return _EARLIER
    if _is_no_distribution(plan.destination) and not _have_common_names(plan):
        return _REMAINDER
    message = f"`{plan.directory}` exists already"
    raise ObstacleError(message)


def _is_remnant(path: str, destination: str) -> bool:
    """Return True if the directory `path` is what a killed run has not moved to `destination`.

    It is, if the RECORD at the destination lists its files as well, and each of them exists there
    with the same content.
    """
    try:
        listed = read(destination).files(os.path.basename(path))
    except (RecordError, OSError):
        return False
    return bool(listed) and overlay.is_contained(path, destination)


def _is_of_same_project(plan: Plan) -> bool:
    """Return True if METADATA of what has the new name names the same project.

    uv does not uninstall the earlier one if the target was named by ``./`` or ``..``; it would have
    overwritten that one if both had the same name.
    """
    try:
        metadata = files.read(f"{plan.destination}/METADATA", names.HEADER_LIMIT) or b""
        return names.parse_metadata(metadata)[0] == plan.name
    except (names.MetadataError, OSError):
        return False


def _lists_all(plan: Plan) -> bool:
    """Return True if RECORD lists all files of what has the new name, and not the reverse.

    So it is if a run was killed while an earlier installation made way.
    """
    if plan.record is None or not plan.record.is_unfinished:
        return False
    with contextlib.suppress(RecordError, OSError):  # a killed run has removed it
        if plan.own in read(plan.destination).directories():
            return False
    return plan.record.files(plan.directory).issuperset(overlay.files_in(plan.destination))


def _make_way(plan: Plan) -> None:
    """Remove the earlier installation that has the new name.

    Before that, the RECORD of the later one lists its files, those of its directory under both
    names they may have. The others stay where they are, so that RECORD lists them from now on.
    """
    moved = _free_building(plan)
    listed = read(plan.path)
    found = overlay.files_in(plan.destination)
    taken: list[bytes] = []
    with contextlib.suppress(RecordError):  # a killed run has removed it
        site_packages = os.path.dirname(plan.path)
        others = read(plan.destination).others(listed).items()
        taken = [row for path, row in others if os.path.lexists(os.path.join(site_packages, path))]
        plan.record = Record(read(plan.path).content + b"".join(taken), plan.own)
    for directory in (plan.directory, os.path.basename(moved)):
        missing = sorted(set(found) - listed.files(directory))
        taken += [listed.row(f"{directory}/{name}") for name in missing]
    append(plan.path, taken)
    try:
        os.rename(plan.destination, moved)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        overlay.remove(plan.destination)


def _take_along(plan: Plan) -> None:
    """Move what an uninstall has left under the new name into the directory.

    After the rename it is where it was.
    """
    for name in os.listdir(plan.destination):
        os.rename(f"{plan.destination}/{name}", f"{plan.path}/{name}")
    os.rmdir(plan.destination)


def _move(plan: Plan) -> None:
    """Give the directory its name."""
    _discard(plan)
    try:
        os.rename(plan.path, plan.destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        building = os.path.basename(_free_building(plan))
        append(plan.path, read(plan.path).added({plan.own}, building))
        overlay.move(plan.path, plan.destination)


def _discard(plan: Plan) -> None:
    """Remove what a killed run has left beside the new name: nothing but what RECORD lists."""
    building = plan.destination + BUILDING
    listed = read(plan.path).files(os.path.basename(building))
    is_directory = os.path.isdir(building) and not os.path.islink(building)
    if is_directory and listed and listed.issuperset(overlay.files_in(building)):
        shutil.rmtree(building)


def _free_building(plan: Plan) -> str:
    """Return the path beside the new name that is needed for a while.

    Raise `ObstacleError` if something else has it.
    """
    _discard(plan)
    building = plan.destination + BUILDING
    if os.path.lexists(building):
        message = f"`{os.path.basename(building)}` is in the way"
        raise ObstacleError(message)
    return building


def _check_rights(plan: Plan) -> None:
    """Raise the OSError that `rename` would meet, if we may not write where it writes."""
    path = f"{plan.path}/RECORD"
    status = os.lstat(path)
    is_own = status.st_nlink == 1 and stat.S_ISREG(status.st_mode)
    written = [path, plan.path] if is_own else [plan.path]
    if plan.destination != plan.path:
        written.append(os.path.dirname(plan.path))
    as_who_we_are = os.access in os.supports_effective_ids
    for each in written:
        if not os.access(each, os.W_OK, effective_ids=as_who_we_are):
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

    They are appended to the file itself: no RECORD would list a second file, and an uninstall after
    a kill would leave it. A RECORD with another name elsewhere (a hard or symbolic link) is
    replaced all the same. Raise OSError.
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
        except OSError:  # of a full disk, which takes a part
            os.ftruncate(file, end)
            raise
        restore_times(file, status)
    finally:
        os.close(file)


def replace(directory: str, content: bytes, before: str | None = None) -> None:
    """Replace the RECORD in the dist-info `directory` (a path) by one with `content`, at once.

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
            _copy_attributes(before or path, file)
            restore_times(file, status)
        finally:
            os.close(file)
        os.replace(unfinished, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


def _copy_attributes(source: str, target: int) -> None:
    """Give the descriptor `target` the extended attributes of the file `source`, if possible."""
    with contextlib.suppress(OSError, AttributeError):  # macOS has no such calls
        for name in os.listxattr(source):
            os.setxattr(target, name, os.getxattr(source, name))
