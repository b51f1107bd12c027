"""Read files of unknown origin: only regular ones, because a link may lead to a device."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from typing import IO

# Opening a pipe must not wait for a writer.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK


def read(path: str, limit: int | None = None) -> bytes | None:
    """Return the first `limit` bytes of the regular file `path`, or its whole content.

    Return None if there is no such file. Raise OSError if it cannot be read.
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
        content = os.read(descriptor, wanted)  # nearly always complete
        while len(content) < wanted and (piece := os.read(descriptor, wanted - len(content))):
            content += piece
        return content
    finally:
        os.close(descriptor)


def open_regular(path: str) -> IO[bytes]:
    """Open the regular file `path`. Raise OSError if it cannot be read or is of another kind."""
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return open(descriptor, "rb")
