"""The tar that a layer or an archive is; that of a layer is verified while it is read once.

Memory is bounded, and errors that tarfile ignores are raised.
"""

from __future__ import annotations

import hashlib
import itertools
import tarfile
from typing import IO, TYPE_CHECKING, Any, cast

from uvshim.errors import ImageError
from uvshim.images.compression import decompressed, errors
from uvshim.images.layer.header import Header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

    from typing_extensions import Self

    from uvshim.images.blob import Blob, Verified
    from uvshim.images.budget import Budget

# The limit of one header, in bytes: names, extended attributes, the map of a sparse file.
_HEADER_LIMIT = 1024 * 1024

# tarfile reads the bytes of a header so many times slower than others are decompressed.
_SLOW = 8

_PIECE = 128 * 1024
_BLOCK = tarfile.BLOCKSIZE


class _TarFile(tarfile.TarFile):
    """A tar without its global headers: container engines ignore them."""

    @property
    def pax_headers(self) -> dict[str, str]:
        """What applies to all entries: nothing."""
        return {}

    @pax_headers.setter
    def pax_headers(self, _: object) -> None:
        pass


class Tar:
    """A tar whose entries are iterated over once."""

    def __init__(
        self, file: IO[bytes], name: str, kind: type[tarfile.TarInfo] = Header, **more: Any
    ) -> None:
        """Read `file`, which messages call `name`; its headers will be of the class `kind`."""
        self.name = name
        self._kind = kind
        self._quick = issubclass(kind, Header)
        self._errors = errors()
        self._end = 0  # of the latest file, without padding
        self._stream = _Forward(file, **more)

    def __iter__(self) -> Iterator[tuple[int, tarfile.TarInfo]]:
        """Yield every header with its number; at the end the digest was verified.

        Raise `ImageError` for a wrong digest or an unreadable tar.
        """
        try:
            self._archive = _TarFile(
                fileobj=cast("IO[bytes]", self._stream),
                tarinfo=self._kind,
                encoding="utf-8",
                errors="surrogateescape",
            )
        except self._errors as error:
            if self._stream.end != 0:
                self._fail(error)
        else:
            for number in itertools.count():
                header = self._following(first=not number)
                if header is None:
                    break
                yield number, header
        try:
            self._stream.finish()
        except self._errors as error:
            self._fail(error)
        self._verify()

    def content(self, header: tarfile.TarInfo, limit: int) -> bytes:
        """Return the first `limit` bytes of the regular file whose `header` was the last one."""
        length = min(limit, header.size)
        self._stream.allow(length + _HEADER_LIMIT)
        try:
            if header.sparse is None:
                self._stream.seek(header.offset_data)
                content = self._stream.read(length)
            else:
                file = self._archive.extractfile(header)
                content = b"" if file is None else file.read(length)
        except self._errors as error:
            self._fail(error)
        if len(content) < length:
            self._fail("it ends in the middle of a file")
        return content

    def _verify(self) -> None:
        """Raise `ImageError` if it is not what it should be."""

    def _plain(self) -> Header | None:
        """Return the next header if it is a plain one, as nearly all are, else None."""
        archive = self._archive
        if not self._quick:
            return None
        end = archive.offset + _BLOCK
        header = Header.plain(self._stream.ahead(archive.offset, _BLOCK))
        if header is not None and header.type == tarfile.XHDTYPE:
            end += 2 * _BLOCK
            header = header.extended(self._stream.ahead(archive.offset, 3 * _BLOCK)[_BLOCK:])
        if header is None:
            return None
        header.offset_data = end
        if header.type == tarfile.REGTYPE:
            end += header.size
        self._end = end
        archive.offset = -(-end // _BLOCK) * _BLOCK
        return header

    def _following(self, *, first: bool) -> tarfile.TarInfo | None:
        """Return the next header, or None at the end, mostly as tarfile reads it."""
        stream = self._stream
        if self._archive.offset == 0:  # there is no first one; Python 3.10 would go back to look
            return None
        stream.allow(_HEADER_LIMIT)
        try:
            if not first and (plain := self._plain()):
                return plain
            begin = self._archive.offset
            header = self._archive.next()
            self._archive.members = []  # type: ignore[attr-defined]  # it would keep them all
        except tarfile.ReadError as error:
            # Some writers omit the padding of the last block (umoci 0.4; Go accepts that).
            if stream.end is not None and self._end <= stream.end < self._archive.offset:
                return None
            self._fail(error)
        except self._errors as error:
            self._fail(error)
        if header is None and stream.latest.strip(b"\0"):  # for tarfile, this is the end
            self._fail("one of its headers is damaged")
        if header is not None:
            stream.pay(_SLOW * max(header.offset_data - begin, 0))
            self._end = header.offset_data + header.size
        return header

    def _fail(self, reason: object) -> NoReturn:
        """Say that it cannot be read; a wrong digest says more than `reason`."""
        self._verify()
        if isinstance(reason, EOFError):
            reason = "its compressed content ends too early, or something else follows it"
        raise ImageError(f"{self.name} is not a tar that can be read: {reason}") from None


class LayerTar(Tar):
    """The tar of one layer, decompressed and verified."""

    def __init__(self, layer: Blob, budget: Budget, *, strict: bool = False, **more: Any) -> None:
        """Open `layer`; `budget` pays for what it expands to. Raise `ImageError`.

        If `strict`, its diff_id is verified in addition to its digest.
        """
        self._blob = layer.open()
        name = called(layer.identity)
        self._pay = _payer(self._blob, budget, name)
        digest = layer.diff_id if strict or layer.digest is None else None
        try:
            file = decompressed(self._blob, name)
            super().__init__(file, name, digest=digest, pay=self._pay, **more)
        except BaseException:
            self._blob.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the layer."""
        self._blob.close()

    def hashed(self, header: tarfile.TarInfo, algorithm: str) -> bytes:
        """Return the digest of the regular file whose `header` was the last one."""
        digest = hashlib.new(algorithm)
        try:
            file = self._archive.extractfile(header)
            while file is not None:
                self._stream.allow(_PIECE + _HEADER_LIMIT)
                piece = file.read(_PIECE)
                if not piece:
                    break
                digest.update(piece)
                self._pay(len(piece))  # a sparse file may have no end
        except self._errors as error:
            self._fail(error)
        return digest.digest()

    def _verify(self) -> None:
        self._blob.finish()


def _payer(blob: Verified, budget: Budget, name: str) -> Callable[[int], None]:
    """Return the function that lets `budget` pay for bytes that were decompressed from `blob`."""
    paid = 0

    def pay(length: int) -> None:
        nonlocal paid
        before, paid = paid, blob.count
        budget.expand(length, paid - before, name)

    return pay


class _Forward:
    """A file for tarfile that only moves forward."""

    def __init__(
        self,
        file: IO[bytes],
        *,
        digest: str | None = None,
        pay: Callable[[int], None] = lambda _length: None,
        length: int | None = None,
    ) -> None:
        """Read `file`, which must have `digest`; `pay` is called with the length of each piece.

        With its `length`, what is skipped is not even read.
        """
        self.latest = b""
        """The bytes that were read last."""
        self.end: int | None = None
        """The length of the tar, once known."""
        self._file = file
        self.pay = pay
        self._length = length
        self._digest = digest
        self._hash = None if digest is None else hashlib.new(digest.partition(":")[0])
        self._piece = b""
        self._used = 0
        self._at = 0
        self._allowed = _HEADER_LIMIT

    def allow(self, length: int) -> None:
        """Allow `length` more bytes to be read, which bounds memory."""
        self._allowed = length

    def tell(self) -> int:
        return self._at

    def seek(self, position: int) -> int:
        """Skip to `position`, or to the end if that comes first."""
        left = position - self._at
        if left < 0:
            raise tarfile.ReadError("it points to what comes before")
        if self._length is not None and left > len(self._piece) - self._used:
            self._at = self._file.seek(min(position, self._length))
            self._piece, self._used = b"", 0
            return self._at
        while (available := len(self._piece) - self._used) < left:
            left -= available
            self._at += available
            if not self._next_piece():
                self.end = self._at
                return self._at
        self._used += left
        self._at += left
        return self._at

    def ahead(self, position: int, length: int) -> bytes:
        """Return up to `length` bytes at `position`, which can be read again."""
        start = self._used + position - self._at
        if start >= len(self._piece) and self.seek(position) == position:
            start = self._used
        return self._piece[start : start + length] if start >= 0 else b""

    def read(self, length: int) -> bytes:
        """Return `length` bytes, or fewer at the end."""
        self._allowed -= length
        if length < 0 or self._allowed < 0:
            raise tarfile.ReadError("one of its headers is too long")
        pieces = [self._piece[self._used : self._used + length]]
        self._used += len(pieces[0])
        left = length - len(pieces[0])
        ended = False
        while left and not (ended := not self._next_piece()):
            self._used = min(left, len(self._piece))
            pieces.append(self._piece[: self._used])
            left -= self._used
        self.latest = b"".join(pieces)
        self._at += len(self.latest)
        if ended:
            self.end = self._at
        return self.latest

    def finish(self) -> None:
        """Read the rest, and verify the digest of the whole layer if one is known."""
        if self._hash is None or self._digest is None:
            return
        while self._next_piece():
            pass
        found = f"{self._digest.partition(':')[0]}:{self._hash.hexdigest()}"
        if found != self._digest:
            raise ImageError(
                f"{self._digest} (`diff_ids`) is not the digest of the layer: that is {found}"
            )

    def _next_piece(self) -> bool:
        self._piece = self._file.read(_PIECE)
        self._used = 0
        self.pay(len(self._piece))
        if self._hash is not None:
            self._hash.update(self._piece)
        return bool(self._piece)


def called(identity: str | None) -> str:
    """Return the name of a layer in messages."""
    return f"the layer {identity}" if identity else "it"
