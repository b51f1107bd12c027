"""The tar that a layer or an archive is, read once from its beginning to its end.

With tarfile, reading the headers would take as long as decompressing the layer. Headers are read as
container engines read them: global ones, and empty fields of extended ones, say nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import tarfile
from typing import IO, TYPE_CHECKING, NoReturn

from uvshim.errors import ImageError
from uvshim.images.compression import ERRORS, decompressed
from uvshim.images.layer.header import FOLDER, Header, records, until_null
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uvshim.images.blob import Blob
    from uvshim.images.budget import Budget

# What comes before a header and extends it.
_LONG = frozenset({tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK})
_EXTENDING = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE, *_LONG})

# The limit of one of these, in bytes: names, extended attributes.
_HEADER_LIMIT = 1024 * 1024

# So many times slower than others are decompressed, their bytes are read.
_SLOW = 8

_PIECE = 128 * 1024
_BLOCK = tarfile.BLOCKSIZE

_TOO_LONG = "one of its headers is too long"


class Tar:
    """A tar whose entries are iterated over once."""

    def __init__(  # noqa: PLR0913
        self,
        file: IO[bytes],
        name: str,
        *,
        length: int | None = None,
        digest: str | None = None,
        pay: Callable[[int], None] = lambda _length: None,
        verify: Callable[[], None] = lambda: None,
    ) -> None:
        """Read `file`, which messages call `name`.

        With its `length`, what is skipped is not even read. It must have `digest`; `pay` is called
        with the length of each piece. `verify` is called at the end, and before any other error.
        """
        self.name = name
        self._pay = pay
        self._verify = verify
        self._stream = _Stream(file, length, digest, pay)
        self._end = 0  # of the latest entry, without padding

    def __iter__(self) -> Iterator[tuple[int, Header]]:
        """Yield every header with its number; at the end the digest was verified.

        Raise `ImageError` for a wrong digest or an unreadable tar.
        """
        try:
            for number in itertools.count():
                header = self._header()
                if header is None:
                    break
                yield number, header
            self._stream.finish()
        except ERRORS as error:
            self._fail(error)
        self._verify()

    def content(self, header: Header, limit: int) -> bytes:
        """Return the first `limit` bytes of the file whose `header` was the last one."""
        return b"".join(self._pieces(header, limit))

    def hashed(self, header: Header, algorithm: str) -> bytes:
        """Return the digest of the file whose `header` was the last one."""
        digest = hashlib.new(algorithm)
        for piece in self._pieces(header, header.size):
            digest.update(piece)
        return digest.digest()

    def _pieces(self, header: Header, limit: int) -> Iterator[bytes]:
        if header.is_sparse:  # only tar --sparse writes these, and no container engine
            self._fail(f"it has a sparse file, {shown(header.name)}. Unpack the image")
        left = min(limit, header.size)
        try:
            while left:
                piece = self._stream.read(min(left, _PIECE))
                if not piece:
                    self._fail("it ends in the middle of a file")
                left -= len(piece)
                yield piece
        except ERRORS as error:
            self._fail(error)

    def _header(self) -> Header | None:
        """Return the next header, with what extends it; None at the end."""
        fields: dict[str, str] = {}
        long: dict[bytes, str] = {}
        while block := self._block():
            header = Header(block)
            header.offset = self._stream.at
            if header.type not in _EXTENDING:
                break
            self._end = header.offset + header.length
            if header.type == tarfile.XGLTYPE:
                continue
            if header.length > _HEADER_LIMIT:
                raise ValueError(_TOO_LONG)
            self._pay(_SLOW * header.length)
            content = self._stream.read(header.length)
            if header.type in _LONG:
                long[header.type] = until_null(content)
            else:  # replaces an earlier one, as for Go
                fields = records(content)
        else:
            return None
        if header.is_sparse:
            self._skip_map(header)
        if fields:
            header.extend(fields)
        if long:
            header.name = long.get(tarfile.GNUTYPE_LONGNAME, header.name)
            header.link = long.get(tarfile.GNUTYPE_LONGLINK, header.link)
        if header.type == tarfile.AREGTYPE and header.name.endswith("/"):
            header.kind = FOLDER  # this type is older than that of directories
        self._end = header.offset + header.length
        return header

    def _block(self) -> bytes:
        """Return the next block, empty at the end. Raise ValueError if an entry is incomplete."""
        # Some writers omit the padding of the last block (umoci 0.4; Go accepts that).
        if self._stream.seek(-(-self._end // _BLOCK) * _BLOCK) < self._end:
            raise ValueError("unexpected end of data")
        block = self._stream.read(_BLOCK)
        return block if block.strip(b"\0") else b""

    def _skip_map(self, header: Header) -> None:
        """Skip the map of a sparse file (GNU tar, "Old GNU Format")."""
        more = header.block[482:483]
        while more.strip(b"\0"):
            if self._stream.at - header.offset > _HEADER_LIMIT:
                raise ValueError(_TOO_LONG)
            more = self._stream.read(_BLOCK)[504:505]
        header.offset = self._stream.at

    def _fail(self, reason: object) -> NoReturn:
        """Raise the error that it cannot be read; a wrong digest says more than `reason`."""
        self._verify()
        if isinstance(reason, EOFError):
            reason = "its compressed content ends too early, or something else follows it"
        raise ImageError(f"{self.name} is not a tar that can be read: {reason}") from None


@contextlib.contextmanager
def opened(layer: Blob, budget: Budget, *, strict: bool = False) -> Iterator[Tar]:
    """Yield the tar of `layer`, decompressed and verified; `budget` pays for what it expands to.

    If `strict`, its diff_id is verified in addition to its digest. Raise `ImageError`.
    """
    name = called(layer.identity)
    paid = 0

    def pay(length: int) -> None:
        nonlocal paid
        before, paid = paid, blob.count
        budget.expand(length, paid - before, name)

    with contextlib.closing(layer.open()) as blob:
        digest = layer.diff_id if strict or layer.digest is None else None
        yield Tar(decompressed(blob, name, pay), name, digest=digest, pay=pay, verify=blob.finish)


class _Stream:
    """A file that is only read forward, in pieces."""

    def __init__(
        self, file: IO[bytes], length: int | None, digest: str | None, pay: Callable[[int], None]
    ) -> None:
        self.at = 0
        """The position of what will be read next."""
        self._file = file
        self._length = length
        self._digest = digest
        self._hash = None if digest is None else hashlib.new(digest.partition(":")[0])
        self._pay = pay
        self._piece = b""
        self._used = 0

    def seek(self, position: int) -> int:
        """Skip to `position`, or to the end if that comes first; return where that is."""
        left = position - self.at
        if left <= len(self._piece) - self._used:  # nearly always
            self._used += left
            self.at = position
            return position
        if self._length is not None:
            self.at = self._file.seek(min(position, self._length))
            self._piece, self._used = b"", 0
            return self.at
        while left > (there := len(self._piece) - self._used):
            left -= there
            self.at += there
            if not self._next_piece():
                return self.at
        self._used += left
        self.at += left
        return self.at

    def read(self, length: int) -> bytes:
        found = self._piece[self._used : self._used + length]
        self._used += len(found)
        while len(found) < length and self._next_piece():
            self._used = min(length - len(found), len(self._piece))
            found += self._piece[: self._used]
        self.at += len(found)
        return found

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
        self._pay(len(self._piece))
        if self._hash is not None:
            self._hash.update(self._piece)
        return bool(self._piece)


def called(identity: str | None) -> str:
    """Return the name of a layer in messages."""
    return f"the layer {identity}" if identity else "it"
