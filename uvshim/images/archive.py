"""Archives of images: tar files, compressed or not, and streams of them."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import posixpath
import re
import stat
import sys
import tarfile
import tempfile
from typing import IO, TYPE_CHECKING, cast

from uvshim.environments.tree import open_regular, read_regular
from uvshim.errors import ImageError
from uvshim.images import budget as prices
from uvshim.images import compression
from uvshim.images.blob import Verified, Window
from uvshim.images.layer import tar
from uvshim.images.layer.header import FILE, HARD_LINK, LINK, Header
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from uvshim.images.budget import Budget

STANDARD_INPUT = "-"

# How many bytes are spooled to a temporary file at most, and the variable that changes this.
LIMIT = "UVSHIM_SPOOL_LIMIT"
_SPOOL_LIMIT = 16 << 30
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

_PIECE = 1024 * 1024

# The directories at the top of a root file system (Filesystem Hierarchy Standard).
_TOP_OF_ROOT = frozenset(
    "bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var".split()
)


class Archive:
    """A tar archive that is not compressed, in an open file. It is a `blob.Place`."""

    def __init__(
        self, file: IO[bytes], path: str, budget: Budget, *, is_packed: bool = False
    ) -> None:
        """List the archive in `file`; messages call it `path`, `budget` pays. Raise `ImageError`.

        The listing ends early if the archive is a root file system. An archive that
        `is_packed` (compressed) is not listed. The name of the whole file is "".
        """
        self.path = path
        self.is_packed = is_packed
        self.tops: set[str] = set()
        """The names at the top of the archive."""
        self._file = file
        self._members: dict[str, tuple[int, int] | str] = {}
        length = os.fstat(file.fileno()).st_size
        if not is_packed:
            for name, header in _listed(file, path, length, self.tops):
                budget.keep(prices.ENTRY + prices.size(name, header.link), f"`{path}`")
                if header.kind == FILE:
                    self._members[name] = (header.offset, header.size)
                elif header.kind == LINK:  # older versions of `docker save` link to layers
                    self._members[name] = posixpath.join(posixpath.dirname(name), header.link)
                elif header.kind == HARD_LINK:
                    self._members[name] = header.link
        self._members[""] = (0, length)

    @property
    def is_root(self) -> bool:
        """Whether it looks like a root file system, as `docker export` writes it."""
        return self.is_packed or _is_root(self.tops)

    def open(self, name: str) -> IO[bytes]:
        """Open a member; see `blob.Place.open`."""
        place = self._place(name)
        if place is None:
            raise ImageError(f"`{self.path}` has no file {shown(name)}")
        return cast("IO[bytes]", io.BufferedReader(Window(self._file, *place), _PIECE))

    def has(self, name: str) -> bool:
        """Return True if there is a member; see `blob.Place.has`."""
        return self._place(name) is not None

    def _place(self, name: str) -> tuple[int, int] | None:
        place: tuple[int, int] | str | None = name
        for _ in range(8):
            if not isinstance(place, str):
                return place
            place = self._members.get(_plain(place))
        return None


def is_stream(path: str) -> bool:
    """Return True if `path` can be read only once: standard input or a pipe."""
    try:
        return path == STANDARD_INPUT or stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def looks_like_one(path: str) -> bool:
    """Return True if the file at `path` begins like a tar or a compressed file."""
    try:
        head = read_regular(path, tarfile.BLOCKSIZE) or b""
    except PermissionError:
        # Another user's archive: opening it reports the error.
        return os.path.isfile(path) and not os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False
    return bool(compression.suffix(head[:4])) or _is_header(head)


def opened(path: str, stack: ExitStack, budget: Budget) -> Archive:
    """Return the archive at `path`, readable until `stack` is closed. Raise `ImageError`.

    A compressed root file system is not copied to a temporary file.
    """
    is_once = is_stream(path)
    try:
        if path == STANDARD_INPUT:
            file = cast("IO[bytes]", sys.stdin.buffer)
        else:
            opened = open(path, "rb") if is_once else open_regular(path)  # noqa: SIM115
            file = stack.enter_context(opened)
    except OSError as error:
        raise ImageError(f"`{path}` cannot be read: {error.strerror}") from None
    blob = Verified(file, None)
    kind = compression.suffix(blob.peek(4))
    if not kind and not is_once:
        return Archive(file, path, budget)
    stream = compression.decompressed(
        blob, f"`{path}`", lambda size: budget.expand(size, 0, f"`{path}`")
    )
    try:
        head = b""
        while len(head) < _PIECE and (piece := stream.read(_PIECE)):
            head += piece
        if not _is_header(head) and head.strip(b"\0"):
            packed = "compressed, but not a tar archive" if kind else "not a tar archive"
            raise ImageError(f"`{path}` is {packed}: {_WHAT_WORKS}")
        if not is_once and _begins_root(head):
            return Archive(file, path, budget, is_packed=True)
        return Archive(_spooled(head, stream, blob, path, stack), path, budget)
    except compression.ERRORS as error:
        raise ImageError(f"`{path}` cannot be decompressed: {error}") from None


_WHAT_WORKS = (
    "name an archive of `docker save`, an OCI layout or a tar of it, or a tar of `docker export`"
)


def unknown(archive: Archive) -> ImageError:
    """Return the error for an `archive` that holds neither images nor a root file system."""
    tops = ", ".join(sorted(archive.tops)[:4]) or "nothing"
    for inner in sorted(archive.tops):
        if archive.has(f"{inner}/index.json") and archive.has(f"{inner}/oci-layout"):
            what = f"an archive with an OCI layout in the directory {shown(inner)}: unpack it"
            return ImageError(f"`{archive.path}` is {what}, and name that directory")
    what = "neither an archive of images nor of a root file system"
    advice = _WHAT_WORKS[0].upper() + _WHAT_WORKS[1:]
    return ImageError(f"`{archive.path}` is {what}: it holds {shown(tops)}. {advice}")


def _spooled(
    head: bytes, stream: IO[bytes], blob: Verified, path: str, stack: ExitStack
) -> IO[bytes]:
    """Return a temporary file with `head` and the rest of `stream`. Raise `ImageError`."""
    chosen = _chosen_limit()
    temporary = cast("IO[bytes]", tempfile.TemporaryFile(prefix="uvshim-", buffering=0))  # noqa: SIM115
    stack.enter_context(temporary)
    length = 0
    piece = head
    while piece:
        length += len(piece)
        limit = chosen or min(_SPOOL_LIMIT, prices.most_expanded(blob.count))
        if length > limit:
            raise ImageError(
                f"`{path}` needs more than {limit >> 20} MiB in {tempfile.gettempdir()}. To allow "
                f"more, set for example {LIMIT}=64G"
            )
        try:
            while piece:
                piece = piece[temporary.write(piece) :]
        except OSError as error:
            place = f"{tempfile.gettempdir()} (set TMPDIR)"
            raise ImageError(f"{place} cannot be written: {error.strerror or error}") from None
        piece = stream.read(_PIECE)
    return temporary


def _chosen_limit() -> int | None:
    """Return the limit of temporary files that the user has set, or None. Raise `ImageError`."""
    text = os.environ.get(LIMIT)
    if not text:
        return None
    found = re.fullmatch(r"(\d+)([KMGT]?)", text.upper())
    if found is None:
        raise ImageError(f"{LIMIT} is not a number of bytes such as 64G: `{text}`")
    return int(found[1]) * _UNITS[found[2]]


def _is_header(head: bytes) -> bool:
    try:
        Header(head[: tarfile.BLOCKSIZE])
    except ValueError:
        return False
    return True


def _listed(
    file: IO[bytes], path: str, length: int, tops: set[str]
) -> Iterator[tuple[str, Header]]:
    """Yield the headers of a tar with their names, and add those at the top to `tops`.

    Stop as soon as it looks like a root file system. Raise `ImageError`.
    """
    file.seek(0)
    for _, header in tar.Tar(file, f"`{path}`", length=length):
        name = _plain(header.name)
        tops.add(name.partition("/")[0])
        if _is_root(tops):
            return
        yield name, header


def _is_root(tops: set[str]) -> bool:
    return len(tops & _TOP_OF_ROOT) > 1 or "usr" in tops


def _begins_root(head: bytes) -> bool:
    tops: set[str] = set()
    with contextlib.suppress(ImageError):  # it ends too early
        collections.deque(_listed(io.BytesIO(head), "", len(head), tops), maxlen=0)
    return _is_root(tops)


def _plain(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")
