"""The usual rename of a dist-info directory: RECORD is rewritten in place.

`oslo_cache-1.0` and `oslo.cache-1.0` have the same length, so each row of the new RECORD is where
it was in the old one. No file is created, and RECORD keeps its inode, owner and mode.
"""

from __future__ import annotations

import errno
import os
import stat

from uvshim.rename.record import appended

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from uvshim.rename.plan import Plan


def rename(plan: Plan) -> bool:
    """Carry out `plan`. Return False, having changed nothing, if RECORD must be replaced instead.

    Raise OSError if a step fails; `replacement` completes the rename.
    """
    record, after = plan.record, plan.new_record()
    if record is None or record.only != plan.own or plan.own == plan.directory:
        return False
    size = len(record.content)
    if size != len(after):
        return False
    try:
        file = os.open(f"{plan.path}/RECORD", os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # if `replacement` fails as well, it reports why
        return False
    try:
        status = os.fstat(file)
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_nlink > 1
            or os.read(file, size + 1) != record.content
        ):
            return False
        rows = record.added({plan.own}, plan.directory)
        try:
            write(file, appended(rows, rows[-1], size), size)
            os.rename(plan.path, plan.destination)
        except OSError as error:
            os.ftruncate(file, size)
            restore_times(file, status)
            if error.errno == errno.EXDEV:  # the directory comes from a lower layer of an overlay
                return False
            raise
        write(file, after, 0)
        os.ftruncate(file, size)
        restore_times(file, status)
    finally:
        os.close(file)
    return True


def write(file: int, content: bytes, offset: int) -> None:
    """Write `content` to the descriptor `file` in one call. Raise OSError if it is incomplete."""
    if os.pwrite(file, content, offset) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def restore_times(file: int, status: os.stat_result) -> None:
    """Set the times of the descriptor `file` to those in `status`, if we own it."""
    try:  # contextlib would take as long as ten renames
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    except PermissionError:
        return
