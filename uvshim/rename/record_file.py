"""The file RECORD on a disk, changed so that a kill inside any system call loses nothing."""

from __future__ import annotations

import errno
import os
import stat

from uvshim.environments.tree import read_regular
from uvshim.rename.record import UNFINISHED, Record, appended, complete


def read(directory: str) -> Record:
    """Return the RECORD in the dist-info `directory` (a path). Raise `RecordError` or OSError."""
    return Record(read_regular(f"{directory}/RECORD"), os.path.basename(directory))


def is_shared(directory: str) -> bool:
    """Return True if the RECORD in `directory` has another name elsewhere (a hard or other link).

    Raise OSError.
    """
    status = os.lstat(f"{directory}/RECORD")
    return status.st_nlink > 1 or not stat.S_ISREG(status.st_mode)


class opened:  # noqa: N801  # used like a function, without the 3 ms that contextlib costs
    """The RECORD in the dist-info `directory` (a path), to be changed in place. It keeps its times.

    - `content`: what was in it, without a last row that a killed run has torn;
    - `status`: its times, owner and mode.
    """

    def __init__(self, directory: str) -> None:
        """Open and read it. Raise OSError, also if it is a link."""
        self._file = os.open(f"{directory}/RECORD", os.O_RDWR | os.O_NOFOLLOW)
        self.status = os.fstat(self._file)
        content = os.read(self._file, self.status.st_size)
        self.content = content[: complete(content)]

    def __enter__(self) -> opened:  # noqa: PYI034  # typing takes 8 ms
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Restore the times, and close the file."""
        try:
            _restore_times(self._file, self.status)
        finally:
            os.close(self._file)

    def append(self, rows: list[bytes]) -> None:
        """Append `rows` in one write. Raise OSError, having appended none of them.

        They are not in a second file: an uninstall after a kill would leave that.
        """
        if not rows:
            return
        end = len(self.content)
        if end < self.status.st_size:
            self.cut()
        line_end = b"" if self.content.endswith(b"\n") else b"\n"
        try:
            self._write(line_end + appended(rows, end + len(line_end)), end)
        except OSError:
            self.cut()
            raise

    def cut(self) -> None:
        """Cut off what comes after `content`."""
        os.ftruncate(self._file, len(self.content))

    def overwrite(self, content: bytes) -> None:
        """Write `content` over what was in it, which is as long, and cut off what was appended."""
        self._write(content, 0)
        self.cut()

    def _write(self, content: bytes, offset: int) -> None:
        """Write `content` in one call. Raise OSError, also if a full disk takes only a part."""
        if os.pwrite(self._file, content, offset) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def append(directory: str, rows: list[bytes]) -> None:
    """Append `rows` to the RECORD in the dist-info `directory` (a path). Raise OSError."""
    with opened(directory) as file:
        file.append(rows)


def replace(directory: str, content: bytes, status: os.stat_result) -> None:
    """Replace the RECORD in the dist-info `directory` (a path) by one with `content`, atomically.

    Mode, owner and times are those in `status`. Raise OSError, having changed nothing.
    """
    record, unfinished = f"{directory}/RECORD", f"{directory}/{UNFINISHED}"
    try:
        create(unfinished, content, status)
        try:
            for name in os.listxattr(record):
                os.setxattr(unfinished, name, os.getxattr(record, name))
        except (OSError, AttributeError):  # macOS has no such calls
            pass
        os.replace(unfinished, record)
    except OSError:
        if os.path.lexists(unfinished):
            os.unlink(unfinished)
        raise


def create(path: str, content: bytes, status: os.stat_result) -> None:
    """Write a file `path` with `content`, in place of one that a killed run has left.

    Mode, owner and times are those in `status`. Raise OSError.
    """
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "xb", buffering=0) as file:
        while content:
            content = content[file.write(content) :]
        own_as(status, path)
        os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))  # after a chown, which removes bits
        _restore_times(file.fileno(), status)


def own_as(status: os.stat_result, path: str) -> None:
    """Give `path` the owner in `status`, if we are allowed to."""
    try:
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
    except PermissionError:
        return


def _restore_times(file: int, status: os.stat_result) -> None:
    """Give the descriptor `file` the times in `status`, if we are allowed to: its owner is."""
    try:
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    except PermissionError:
        return
