"""What images may cost, in sum: everything in them was chosen by somebody else.

Whoever reads anything of an image first pays for it. So many small things are bounded as well as
one large thing is. Real images stay far below the limits: one of 500 MB with 30,000 files and 265
distributions takes 20 MiB of memory, and expands to four times its size.
"""

from __future__ import annotations

import sys
import threading

from uvshim.check.metadata import remembered
from uvshim.errors import ImageError

# How many bytes of memory one image may take, with the documents of its index or archive.
MEMORY = 256 << 20

# How many parts of paths may be looked up for one image: long paths through long links take hours.
STEPS = 30_000_000

# So often a longer file may be read: links to one RECORD may be many, and each gets a copy of it.
_LARGE = 64 * 1024
_OFTEN = 8

# Reading less than this is paid for with the directory that it is in.
_SMALL = 4096

# How many of them a line of a file takes: RECORD is read a few times.
_LINE = 8

# How many of them a step in the resolution of requirements takes. OpenStack takes half a million.
RESOLVING = 5

# How many images an index or an archive may list, with all that is nested in it.
IMAGES = 10_000

# How many bytes the blobs of one reference may expand to: the first number, and this many times
# what is read of them.
EXPANDED = 1 << 30
FACTOR = 100

# What all images of one reference may take, one after the other: as much as so many of the largest.
_WHOLE = 100

# What all of them may look up: as much as so many of the largest, or as 300 of OpenStack's.
_LOOKED_UP = 10

# What one entry of a layer, a group of entries in one directory, a directory in the tree, a name in
# a copied directory, and a value in JSON take.
ENTRY, GROUP, DIRECTORY, NAME, VALUE = 280, 250, 500, 100, 64

_UNPACK = "Unpack the image, and name its root directory"
_NAME_ONE = "Name one image by its tag, digest or platform"


class Budget:
    """What is spent on one reference, or on one image of it. Threads may share it."""

    def __init__(self, whole: Budget | None = None) -> None:
        """Begin with nothing spent; one image begins with what its reference, `whole`, takes."""
        self._whole = whole
        self._lock: threading.Lock = whole._lock if whole else threading.Lock()  # noqa: SLF001
        self.memory: int = whole.memory if whole else 0
        """How many bytes are paid for."""
        self.worked = 0
        """How many bytes all its images took, one after the other."""
        self.looked_up = 0
        """How many parts of paths, links and requirements all its images have looked up."""
        self.built = 0
        """How many bytes the files in the new layers of its images have."""
        self._steps = self._images = self._expanded = self._read = 0

    def __reduce__(self) -> tuple[type[Budget], tuple[()]]:
        """Begin with nothing spent in another process."""
        return Budget, ()

    @property
    def has_room(self) -> bool:
        """Whether less than half of the memory is used."""
        return self.memory < MEMORY // 2

    def keep(self, size: int, where: str) -> None:
        """Pay for `size` bytes of memory. Raise `ImageError`, which names `where`."""
        with self._lock:
            self.memory += size
            _check(self.memory, MEMORY, f"{where} has", "bytes of metadata, names and links")
            if self._whole is not None:
                self._whole.worked += size
                limit = _WHOLE * MEMORY
                _check(self._whole.worked, limit, f"{where} and others have", "bytes", _NAME_ONE)

    def look_up(self, parts: int, where: str) -> None:
        """Pay for the look-up of a path with so many `parts`. Raise `ImageError`."""
        what = "parts in its paths, links and requirements"
        self._steps += parts
        _check(self._steps, STEPS, f"{where} has", what)
        if self._whole is not None:
            self._whole.looked_up += parts
            limit = _LOOKED_UP * STEPS
            _check(self._whole.looked_up, limit, f"{where} and others have", what, _NAME_ONE)

    def parts(self, path: str, where: str) -> list[str]:
        """Return the parts of `path`, the last one first, and pay for their look-up."""
        found = path.split("/")
        found.reverse()
        self.look_up(len(found), where)
        return found

    def list(self, images: int, where: str) -> None:
        """Pay for so many `images` that are listed. Raise `ImageError`."""
        self._images += images
        _check(self._images, IMAGES, f"{where} lists", "images", _NAME_ONE)

    def expand(self, size: int, read: int, where: str) -> None:
        """Pay for `size` bytes that `read` bytes expand to. Raise `ImageError`."""
        if self._whole is not None:
            self._whole.expand(size, read, where)
            return
        with self._lock:
            self._expanded += size
            self._read += read
            limit = most_expanded(self._read)
            _check(self._expanded, limit, f"{where} expands to", f"bytes, {FACTOR} times its size")

    def read(self, content: bytes, times: int, where: str) -> None:
        """Pay for reading `content`, so many `times` until now. Raise `ImageError`."""
        if len(content) > _SMALL:  # takes as long as the look-up of so many parts
            self.look_up((len(content) >> 6) + _LINE * _lines(content), where)
        if len(content) > _LARGE and times > _OFTEN:
            self.keep(3 * len(content), where)

    def parse(self, content: bytes, where: str) -> None:
        """Pay for the JSON in `content`: its values take more than its bytes."""
        values = sum(map(content.count, (b",", b"[", b":"))) + 4 * content.count(b"{")
        self.keep(2 * len(content) + VALUE * values, where)


@remembered
def _lines(content: bytes) -> int:
    return content.count(b"\n") + content.count(b"\r")


def _check(spent: int, limit: int, who: str, what: str, advice: str = _UNPACK) -> None:
    if spent > limit:
        raise ImageError(f"{who} more than {limit} {what}. {advice}")


def most_expanded(read: int) -> int:
    """Return how many bytes so many that were `read` may expand to."""
    return max(EXPANDED, FACTOR * read)


def size(*texts: str) -> int:
    """Return how many bytes `texts` take in memory."""
    return sum(map(sys.getsizeof, texts))
