"""Files that somebody else wrote, read with care: a link may lead to a device or a pipe."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from typing import IO

# Without waiting: a pipe in the place of METADATA must not stop us for ever.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK


def read(path: str, limit: int | None = None) -> bytes | None:
    """Return the first `limit` bytes of the regular file `path`, without a limit all of it.

    None: there is no file of that name, or something else. Raises OSError if it can't be read.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        wanted = status.st_size if limit is None else min(limit, status.st_size)
        content = os.read(descriptor, wanted)  # most often, all of it comes at once
        while len(content) < wanted and (piece := os.read(descriptor, wanted - len(content))):
            content += piece
        return content
    finally:
        os.close(descriptor)


def open_regular(path: str) -> IO[bytes]:
    """Open the regular file `path` to be read. Raises OSError, for any other kind of file too."""
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return open(descriptor, "rb")
