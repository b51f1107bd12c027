"""The tar that a layer is: decompressed and verified while it is read once, front to back.

What tarfile would hold in memory is bounded, and what it passes over in silence is an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import itertools
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, cast

from uvshim.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

    from typing_extensions import Self

    from uvshim.images import layout

# How many entries a layer may have. Real ones have some ten thousand.
_MOST_ENTRIES = 1_000_000

# What a tar may spend on one header: names, extended attributes, the map of a sparse file.
_HEADER_LIMIT = 1024 * 1024
_MOST_GLOBAL_HEADERS = 512

_PIECE = 128 * 1024

# How the media type of a layer ends, by what it is compressed with; a plain tar's has no such end.
GZIP = "+gzip"
ZSTD = "+zstd"

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte of 50 to 5F (RFC 8878)

# What tarfile raises for one that is damaged, with and without meaning to.
_DAMAGED = (
    tarfile.TarError,
    ValueError,
    OverflowError,
    RecursionError,
    KeyError,
    IndexError,
    EOFError,
    OSError,
)


class Header(tarfile.TarInfo):
    """A header of which only type, name, size and link matter: most are read in a few steps."""

    block = b""
    """The block that it was read from, which has the rest."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: str) -> Self:
        """Return what is in the block `buf`, as the method of `TarInfo` does."""
        header = cls.plain(buf)
        if header is None:
            header = super().frombuf(buf, encoding, errors)
            header.block = buf
        return header

    @classmethod
    def plain(cls, block: bytes) -> Self | None:
        """Return what is in `block`; None: it takes more to read it, or it is damaged.

        The fields are those of POSIX, "ustar Interchange Format". The checksum is the sum of all
        bytes, its own taken for spaces. The lower half of Adler-32 is that sum and one, modulo
        65,521: 512 bytes of ASCII never come to as much.
        """
        kind = block[156:157]
        size = block[124:135]
        checksum = block[148:154]
        if not (
            kind in _PLAIN
            and len(block) == _BLOCK
            and size.isdigit()
            and checksum.isdigit()
            and block[135] in _ENDS
            and (block[257:263] == _USTAR or not block[345])  # others mean other things by a prefix
            and block.isascii()
        ):
            return None
        found = zlib.adler32(block[:148] + _SPACES + block[156:]) & 0xFFFF
        try:
            if found != int(checksum, 8) + 1:
                return None
            header = cls(_until_null(block[:100]))
            header.size = int(size, 8)
        except ValueError:  # eight and nine are digits, too
            return None
        if block[345]:
            header.name = f"{_until_null(block[345:500])}/{header.name}"
        if kind == tarfile.DIRTYPE:
            header.name = header.name.rstrip("/")
        elif kind in _LINKS:
            header.linkname = _until_null(block[157:257])
        header.type = kind
        header.block = block
        return header

    def extended(self, blocks: bytes) -> Self | None:
        """Return the header that this one extends: of the two `blocks` after it the second.

        None: it takes more to read these (POSIX, "pax Extended Header").
        """
        fields = _records(blocks[: self.size])
        header = self.plain(blocks[_BLOCK:])
        if header is None or not fields or self.size > _BLOCK or header.type == tarfile.XHDTYPE:
            return None
        header.name = fields.get("path", header.name).rstrip("/")
        header.linkname = fields.get("linkpath", header.linkname)
        header.pax_headers = fields
        return header


def _records(content: bytes) -> dict[str, str] | None:
    """Return the fields in the `content` of an extended header; None: they change more than names.

    A record is ``LENGTH KEYWORD=VALUE`` and a line feed, the length being that of all of it.
    """
    fields: dict[str, str] = {}
    while content:
        digits = content.partition(b" ")[0]
        if not digits.isdigit() or not content.isascii():
            return None
        length = int(digits)
        record = content[len(digits) + 1 : length].decode()
        keyword, equals, value = record[:-1].partition("=")
        if record[-1:] != "\n" or not equals or keyword.startswith(_CHANGING_MORE):
            return None
        fields[keyword] = value
        content = content[length:]
    return fields


_BLOCK = tarfile.BLOCKSIZE
_USTAR = b"ustar\0"
_PLAIN = frozenset(
    {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.XHDTYPE}
)
_LINKS = frozenset({tarfile.SYMTYPE, tarfile.LNKTYPE})
_CHANGING_MORE = ("GNU.sparse.", "hdrcharset", "size")
_ENDS = b"\0 "
_SPACES = b" " * 8


def _until_null(field: bytes) -> str:
    return field.partition(b"\0")[0].decode()


class LayerTar:
    """The tar of one layer, whose entries are iterated over once."""

    def __init__(self, layer: layout.Layer, kind: type[tarfile.TarInfo] = Header) -> None:
        """Open `layer`; its headers will be of the class `kind`. Raises `ImageError`."""
        self.name = called(layer.identity)
        self._kind = kind
        self._quick = issubclass(kind, Header)
        self._blob = layer.open()
        self._errors = errors()
        self._end = 0  # of the latest file, without what fills its last block
        try:
            self._stream = _Forward(decompressed(self._blob, self.name), layer.diff_id)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the layer."""
        self.close()

    def __iter__(self) -> Iterator[tuple[int, tarfile.TarInfo]]:
        """Yield every header, with its number; at the end the digest is good.

        Raises `ImageError` for a wrong digest, and for what cannot be read.
        """
        try:
            self._archive = tarfile.TarFile(
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
                header = (self._plain() if number else None) or self._following()
                if header is None:
                    break
                if number == _MOST_ENTRIES:
                    message = f"{self.name} has more than {_MOST_ENTRIES} entries"
                    raise ImageError(message)
                yield number, header
        try:
            self._stream.finish()
        except self._errors as error:
            self._fail(error)
        self._blob.finish()

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
        except self._errors as error:
            self._fail(error)
        return digest.digest()

    def close(self) -> None:
        """Close the layer."""
        self._blob.close()

    def _plain(self) -> Header | None:
        """Return the next header if it is a plain one; None: tarfile has to read it.

        Nearly all are plain, and tarfile would take as long for them as it takes to decompress.
        """
        archive = self._archive
        if archive.pax_headers or not self._quick:
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

    def _following(self) -> tarfile.TarInfo | None:
        """Return the next header, or None at the end, as tarfile reads it."""
        stream = self._stream
        if self._archive.offset == 0:  # there is no first one; Python 3.10 would go back to look
            return None
        stream.allow(_HEADER_LIMIT)
        try:
            header = self._archive.next()
            self._archive.members = []  # type: ignore[attr-defined]  # it would keep them all
        except tarfile.ReadError as error:
            # Some writers leave out what fills the last block (umoci 0.4; Go reads that, too).
            if stream.end is not None and self._end <= stream.end < self._archive.offset:
                return None
            self._fail(error)
        except self._errors as error:
            self._fail(error)
        if header is None and stream.latest.strip(b"\0"):  # tarfile takes it for the end
            self._fail("one of its headers is damaged")
        if len(self._archive.pax_headers) > _MOST_GLOBAL_HEADERS:
            self._fail("it has too many global headers")
        if header is not None:
            self._end = header.offset_data + header.size
        return header

    def _fail(self, reason: object) -> NoReturn:
        """Say that the layer cannot be read; a wrong digest says more than `reason`."""
        self._blob.finish()
        message = f"{self.name} is not a tar that can be read: {reason}"
        raise ImageError(message) from None


class _Forward:
    """The file that tarfile reads a tar from: what is skipped is not kept, and never comes back."""

    def __init__(self, file: IO[bytes], digest: str | None) -> None:
        self.latest = b""
        """What was read last."""
        self.end: int | None = None
        """How long the tar is, once that is known."""
        self._file = file
        self._digest = digest
        self._hash = None if digest is None else hashlib.new(digest.partition(":")[0])
        self._piece = b""
        self._used = 0
        self._at = 0
        self._allowed = _HEADER_LIMIT

    def allow(self, length: int) -> None:
        """Allow `length` bytes to be read from now on: nobody shall have to hold more."""
        self._allowed = length

    def tell(self) -> int:
        return self._at

    def seek(self, position: int) -> int:
        """Skip to `position`, or to the end if that comes first."""
        left = position - self._at
        if left < 0:
            message = "it points to what comes before"
            raise tarfile.ReadError(message)
        while (available := len(self._piece) - self._used) < left:
            left -= available
            self._at += available
            if not self._next_piece():
                return self._at
        self._used += left
        self._at += left
        return self._at

    def ahead(self, position: int, length: int) -> bytes:
        """Return what is at `position` and will be read again: less than `length` at a border."""
        start = self._used + position - self._at
        if start >= len(self._piece) and self.seek(position) == position:
            start = self._used
        return self._piece[start : start + length] if start >= 0 else b""

    def read(self, length: int) -> bytes:
        """Return `length` bytes, or what there is."""
        self._allowed -= length
        if length < 0 or self._allowed < 0:
            message = "one of its headers is too long"
            raise tarfile.ReadError(message)
        result = self._piece[self._used : self._used + length]
        self._used += len(result)
        while len(result) < length and self._next_piece():
            self._used = min(length - len(result), len(self._piece))
            result += self._piece[: self._used]
        self._at += len(result)
        self.latest = result
        return result

    def finish(self) -> None:
        """Read what is left, and verify the digest of all of it, if there is one to be."""
        if self._hash is None or self._digest is None:
            return
        while self._next_piece():
            pass
        found = f"{self._digest.partition(':')[0]}:{self._hash.hexdigest()}"
        if found != self._digest:
            message = f"{self._digest} is damaged: its digest is {found}"
            raise ImageError(message)

    def _next_piece(self) -> bool:
        self._piece = self._file.read(_PIECE)
        self._used = 0
        if self._hash is not None:
            self._hash.update(self._piece)
        if not self._piece:
            self.end = self._at
        return bool(self._piece)


def decompressed(blob: layout.Verified, name: str) -> IO[bytes]:
    """Return the tar that `blob` is; `name` is what it is called.

    What it is compressed with is told by its first bytes, as container engines do.
    Raises `ImageError` if it cannot be decompressed here.
    """
    kind = suffix(blob.peek(len(_ZSTD)))
    file = cast("IO[bytes]", blob)
    if kind == GZIP:
        return _gzip(file)
    if kind == ZSTD:
        zstd = _zstd_module()
        if zstd is None:
            message = (
                f"{name} is compressed with zstd, which this Python cannot read. "
                "The library comes with: uv pip install 'uvshim[images]'"
            )
            raise ImageError(message)
        return cast("IO[bytes]", zstd.ZstdFile(file))
    return file


def suffix(head: bytes) -> str:
    """Return how the media type of a layer ends that begins with `head`, its first four bytes."""
    if head.startswith(_GZIP):
        return GZIP
    if head == _ZSTD or (head[:1] in b"PQRSTUVWXYZ[\\]^_" and head[1:] == _ZSTD_SKIPPABLE):
        return ZSTD
    return ""


def zstd_compressed(content: bytes) -> bytes:
    """Return `content` compressed with zstd, by the library that has read the layers below."""
    module = _zstd_module()
    if module is None:
        message = (
            "this Python cannot write zstd. The library comes with: uv pip install 'uvshim[images]'"
        )
        raise ImageError(message)
    return cast("bytes", module.compress(content))


def _gzip(file: IO[bytes]) -> IO[bytes]:
    """Return what is in the gzip `file`, read by the fastest library that there is."""
    try:
        from isal import igzip
    except ImportError:
        import gzip

        return cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb"))
    return cast("IO[bytes]", igzip.IGzipFile(fileobj=file, mode="rb"))  # type: ignore[no-untyped-call]


def _zstd_module() -> Any:
    """Return the module that reads zstd, or None: Python's own since 3.14, or its backport."""
    for name in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


def errors() -> tuple[type[Exception], ...]:
    """Return what is raised for what cannot be read as a tar, or cannot be decompressed."""
    errors: list[Any] = [*_DAMAGED, zlib.error]
    with contextlib.suppress(ImportError):
        from isal import isal_zlib

        errors.append(isal_zlib.error)
    if zstd := _zstd_module():
        errors.append(zstd.ZstdError)
    return tuple(errors)


def called(identity: str | None) -> str:
    """Return what a layer is called in a message."""
    return f"the layer {identity}" if identity else "it"
