"""Files that somebody else wrote, read with care: a link may lead to a device or a pipe."""

from __future__ import annotations

import os
import stat

# Without waiting: a pipe in the place of METADATA must not stop us for ever.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read(path: str, limit: int = -1) -> bytes | None:
    """Return the first `limit` bytes of the regular file `path`, without a limit all of it.

    None: there is no file of that name, or something else. Raises OSError if it can't be read.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as file:
        return file.read(limit)
