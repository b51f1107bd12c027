"""Compression of layers and archives, recognized by the first bytes as container engines do."""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib
import io
import zlib
from typing import IO, TYPE_CHECKING, Any, cast

from uvshim.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvshim.images.blob import Verified


def _first(*names: str) -> Any:
    """Return the first of the modules `names` that is installed, or None."""
    for name in names:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


# Libraries, or None where they are not installed. Python has zstd since 3.14.
_isal = _first("isal.igzip")
_zstd = _first("compression.zstd", "backports.zstd")
_lzma, _bz2 = _first("lzma"), _first("bz2")

# The faster of both.
open_gzip = (_isal or gzip).open

# The ends of media types of layers, by compression; a plain tar has none.
GZIP = "+gzip"
ZSTD = "+zstd"
_XZ = "+xz"
_BZIP2 = "+bzip2"

_MAGIC = {b"\x1f\x8b": GZIP, b"\x28\xb5\x2f\xfd": ZSTD, b"\xfd7zX": _XZ, b"BZh": _BZIP2}
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte of 50 to 5F (RFC 8878)

# The memory limit of an xz stream's dictionary, in bytes. `xz -9` needs 65 MiB.
_XZ_MEMORY = 128 * 1024 * 1024

# How many bytes a decompressor gets. It copies all of them that are behind the end of a frame.
_PIECE = 16 * 1024

# What a stream or a frame costs, in bytes to which the file expands. A small file in a layer takes
# two, and some hundred bytes; an empty frame has 9.
_FRAME = 16 * 1024

# The exceptions for content that cannot be decompressed, or is no tar.
ERRORS: tuple[type[Exception], ...] = (
    *(ValueError, OverflowError, LookupError, OSError, EOFError, zlib.error),
    *([_first("isal.isal_zlib").error] if _isal else []),
    *([_zstd.ZstdError] if _zstd else []),
    *([_lzma.LZMAError] if _lzma else []),
)


def suffix(head: bytes) -> str:
    """Return the end of the media type of a layer whose first four bytes are `head`."""
    if head[:1] in b"PQRSTUVWXYZ[\\]^_" and head[1:4] == _ZSTD_SKIPPABLE:
        return ZSTD
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def decompressed(blob: Verified, name: str, pay: Callable[[int], None]) -> IO[bytes]:
    """Return the decompressed content of `blob`; messages call it `name`.

    `pay` is called with what its streams and frames cost, in bytes to which it expands. Raise
    `ImageError` if this Python cannot decompress it.
    """
    kind = suffix(blob.peek(4))
    file = cast("IO[bytes]", blob)
    if kind == GZIP:
        found = (_isal.IGzipFile if _isal else gzip.GzipFile)(fileobj=file, mode="rb")
        return cast("IO[bytes]", found)
    if kind == ZSTD and _zstd:
        return cast("IO[bytes]", io.BufferedReader(_Frames(file, _zstd.ZstdDecompressor, pay)))
    if kind == _XZ and _lzma:
        make = functools.partial(_lzma.LZMADecompressor, memlimit=_XZ_MEMORY)
        return cast("IO[bytes]", io.BufferedReader(_Frames(file, make, pay)))
    if kind == _BZIP2 and _bz2:
        return cast("IO[bytes]", _bz2.BZ2File(file))
    if kind:
        raise _unreadable(f"{name} is compressed with {kind[1:]}")
    return file


def compressed(content: bytes, media_type: str) -> bytes:
    """Return `content` compressed for `media_type`, without a date.

    Raise `ImageError` if this Python cannot compress it.
    """
    if media_type.endswith("gzip"):
        file = io.BytesIO()
        with gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as target:
            target.write(content)
        return file.getvalue()
    if media_type.endswith("zstd"):
        if _zstd is None:
            raise _unreadable("its layers are compressed with zstd")
        return cast("bytes", _zstd.compress(content))
    return content


class _Frames(io.RawIOBase):
    """The content of a file with any number of streams (xz) or frames (zstd), in bounded memory.

    zstd:chunked has two frames for each file.
    """

    def __init__(
        self, file: IO[bytes], make: Callable[[], Any], pay: Callable[[int], None]
    ) -> None:
        """Decompress `file`. `make` returns a decompressor, as in the standard library."""
        self._file = file
        self._make = make
        self._pay = pay
        self._stream = make()
        self._next = b""  # of the file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = b""
        while not content:
            if self._stream.eof and not self._begins_another():
                return 0
            piece = b""
            if self._stream.needs_input:
                piece, self._next = self._next or self._file.read(_PIECE), b""
                if not piece:
                    raise OSError("it ends too early")
            content = self._stream.decompress(piece, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _begins_another(self) -> bool:
        """Return True if another stream or frame follows, perhaps after zeros (xz, "Padding")."""
        self._next = self._stream.unused_data.lstrip(b"\0")
        while not self._next:
            piece = self._file.read(_PIECE)
            if not piece:
                return False
            self._next = piece.lstrip(b"\0")
        self._pay(_FRAME)
        self._stream = self._make()
        return True


def _unreadable(why: str) -> ImageError:
    library = "The library belongs to the extra uvshim[images]"
    hint = f". {library}" if "zstd" in why else ""
    return ImageError(f"{why}, which this Python cannot read{hint}")
