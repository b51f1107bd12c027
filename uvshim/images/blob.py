"""Blobs: the files of an image, wherever they are. They are verified while they are read."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from uvshim.environments.tree import open_regular
from uvshim.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

# The longest manifest, index or config that is read, in bytes. Registries accept 4 MiB.
_DOCUMENT_LIMIT = 8 * 1024 * 1024

_PIECE = 1024 * 1024

# Called with the number of bytes whenever some were read, to show progress.
on_read: Callable[[int], object] = lambda _length: None  # noqa: E731


class Place(Protocol):
    """A directory, an archive or memory with the files of images."""

    def open(self, name: str) -> IO[bytes]:
        """Return the regular file at the relative path `name`, open. Raise `ImageError`."""

    def has(self, name: str) -> bool:
        """Return True if there is a file at the relative path `name`."""


class Folder:
    """A directory on this machine."""

    def __init__(self, path: str) -> None:
        """Use the directory at `path`."""
        self.path = path

    def open(self, name: str) -> IO[bytes]:
        """Open a file; see `Place.open`."""
        path = os.path.join(self.path, name)
        try:
            return open_regular(path)
        except OSError as error:
            raise ImageError(f"`{path}` cannot be read: {error.strerror}") from None

    def has(self, name: str) -> bool:
        """Return True if there is a file; see `Place.has`."""
        try:
            os.stat(os.path.join(self.path, name))
        except OSError as error:  # after any other one it exists: opening it raises a clear error
            return not isinstance(error, (FileNotFoundError, NotADirectoryError))
        return True


class Memory:
    """One file that exists only in memory."""

    def __init__(self, content: bytes) -> None:
        """Use `content`."""
        self._content = content

    def open(self, name: str) -> IO[bytes]:  # noqa: ARG002
        """Return the file from its beginning; see `Place.open`."""
        return io.BytesIO(self._content)

    def has(self, name: str) -> bool:
        """Return True if `name` is "", the name of this file."""
        return not name


class Blob(NamedTuple):
    """One file of an image: a layer, a config, a manifest or an index."""

    place: Place
    name: str
    """Its path in `place`."""
    digest: str | None
    """The digest of its bytes; None if that is unknown, as in archives of `docker save`."""
    size: int | None
    """Its length in bytes, if that is known."""
    diff_id: str | None = None
    """Of a layer, the digest of its decompressed tar, as the config has it."""

    @property
    def identity(self) -> str | None:
        """What identifies it: equal blobs have the same."""
        return self.digest or self.diff_id

    @property
    def exists(self) -> bool:
        """Whether its file exists."""
        return self.place.has(self.name)

    def open(self) -> Verified:
        """Return a reader that verifies `digest` and `size`. Raise `ImageError`."""
        return Verified(self.place.open(self.name), self.digest, self.size)

    def document(self) -> bytes:
        """Return its content. Raise `ImageError` if it is damaged, or too long to be JSON."""
        content = b""
        with contextlib.closing(self.open()) as file:
            while piece := file.read(_DOCUMENT_LIMIT + 1 - len(content)):
                content += piece
                if len(content) > _DOCUMENT_LIMIT:
                    raise ImageError(f"{self.called} is longer than {_DOCUMENT_LIMIT} bytes")
            file.finish()
        return content

    @property
    def called(self) -> str:
        """Its name in messages."""
        return self.digest or self.name


def in_memory(content: bytes) -> Blob:
    """Return a blob with `content`."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Blob(Memory(content), "", digest, len(content))


class Window(io.RawIOBase):
    """A part of an open file. Several windows of one file can be read at the same time."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        """Begin at the offset `start`; the part has `size` bytes."""
        self._descriptor = file.fileno()
        self._at = start
        self._end = start + size

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into `buffer` and return the number of bytes."""
        wanted = max(min(len(buffer), self._end - self._at), 0)
        got = os.preadv(self._descriptor, [memoryview(buffer)[:wanted]], self._at) if wanted else 0
        self._at += got
        return got


class Verified:
    """The bytes of a blob. They can be trusted only after `finish` has returned."""

    def __init__(self, file: IO[bytes], digest: str | None, size: int | None = None) -> None:
        """Read `file`, which must have `digest` and `size`, if these are known."""
        self._file = file
        self._digest = digest
        self._size = size
        self._hash = None if digest is None else hashlib.new(digest.partition(":")[0])
        self.count = 0
        """The number of bytes that were read."""
        self._head = b""

    def peek(self, length: int) -> bytes:
        """Return the first `length` bytes; they will be read again."""
        self._head = self.read(length)
        return self._head

    def read(self, length: int = -1) -> bytes:
        """Return up to `length` bytes, none at the end. Raise `ImageError`."""
        if self._head:
            head, self._head = self._head[:length], self._head[length:]
            return head
        try:
            piece = self._file.read(_PIECE if length < 0 else length)
        except OSError as error:
            raise ImageError(
                f"{self._digest or 'it'} cannot be read: {error.strerror or error}"
            ) from None
        self.count += len(piece)
        on_read(len(piece))
        if self._size is not None and self.count > self._size:
            raise ImageError(
                f"{self._digest} is longer than the {self._size} bytes that it should have"
            )
        if self._hash is not None:
            self._hash.update(piece)
        return piece

    def readinto(self, buffer: memoryview) -> int:
        """Read into `buffer` and return the number of bytes. Raise `ImageError`."""
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def finish(self) -> None:
        """Read the rest and compare. Raise `ImageError` if the digest or the size differs."""
        while self.read(_PIECE):
            pass
        self.close()
        if self._size is not None and self.count != self._size:
            raise ImageError(f"{self._digest} has {self.count} bytes instead of {self._size}")
        if self._hash is not None and self._digest is not None:
            found = f"{self._digest.partition(':')[0]}:{self._hash.hexdigest()}"
            if found != self._digest:
                raise ImageError(f"{self._digest} is damaged: its digest is {found}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
