"""Compression of layers and archives, recognized by the first bytes as container engines do."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import zlib
from typing import IO, TYPE_CHECKING, Any, cast

from uvshim.errors import ImageError

if TYPE_CHECKING:
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

# The ends of media types of layers, by compression; a plain tar has none.
GZIP = "+gzip"
ZSTD = "+zstd"
_XZ = "+xz"
_BZIP2 = "+bzip2"

_MAGIC = {b"\x1f\x8b": GZIP, b"\x28\xb5\x2f\xfd": ZSTD, b"\xfd7zX": _XZ, b"BZh": _BZIP2}
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte of 50 to 5F (RFC 8878)

# The memory limit of an xz stream's dictionary, in bytes. `xz -9` needs 65 MiB.
_XZ_MEMORY = 128 * 1024 * 1024

# The exceptions for content that cannot be decompressed, or is no tar.
ERRORS: tuple[type[Exception], ...] = (
    *(ValueError, OverflowError, LookupError, OSError, EOFError, zlib.error),
    *([_first("isal.isal_zlib").error] if _isal else []),
    *([_zstd.ZstdError] if _zstd else []),
)


def suffix(head: bytes) -> str:
    """Return the end of the media type of a layer whose first four bytes are `head`."""
    if head[:1] in b"PQRSTUVWXYZ[\\]^_" and head[1:4] == _ZSTD_SKIPPABLE:
        return ZSTD
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def decompressed(blob: Verified, name: str) -> IO[bytes]:
    """Return the decompressed content of `blob`; messages call it `name`.

    Raise `ImageError` if this Python cannot decompress it.
    """
    kind = suffix(blob.peek(4))
    file = cast("IO[bytes]", blob)
    if kind == GZIP:
        found = (_isal.IGzipFile if _isal else gzip.GzipFile)(fileobj=file, mode="rb")
        return cast("IO[bytes]", found)
    if kind == ZSTD and _zstd:
        return cast("IO[bytes]", _zstd.ZstdFile(file))
    if kind == _XZ and _lzma:
        return cast("IO[bytes]", io.BufferedReader(_Xz(file)))
    if kind == _BZIP2 and _bz2:
        return cast("IO[bytes]", _bz2.BZ2File(file))
    if kind:
        raise _unreadable(f"{name} is compressed with {kind[1:]}")
    return file


def compressed(content: bytes, media_type: str) -> bytes:
    """Return `content` compressed for `media_type`, without a date. Raise `ImageError`."""
    if media_type.endswith("gzip"):
        file = io.BytesIO()
        with gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as target:
            target.write(content)
        return file.getvalue()
    if media_type.endswith("zstd"):
        if _zstd is None:
            raise _unreadable("its layers are compressed with zstd")
        return cast("bytes", _zstd.compress(content))
    if media_type.endswith(".tar"):
        return content
    raise ImageError(f"uvshim cannot write layers of this kind: {media_type}")


class _Xz(io.RawIOBase):
    """The content of an xz file, which may have several streams, in bounded memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stream = _lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into `buffer` and return the number of bytes. Raise OSError."""
        while True:
            piece = b""
            if self._stream.eof:
                piece = self._stream.unused_data.lstrip(b"\0") or self._file.read(65536)
                if not piece.strip(b"\0"):
                    return 0
                self._stream = _lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
            elif self._stream.needs_input and not (piece := self._file.read(65536)):
                raise OSError("it ends too early")
            try:
                content = self._stream.decompress(piece, len(buffer))
            except _lzma.LZMAError as error:
                raise OSError(str(error)) from None
            if content:
                buffer[: len(content)] = content
                return len(content)


def _unreadable(why: str) -> ImageError:
    library = "The library belongs to the extra uvshim[images]"
    hint = f". {library}" if "zstd" in why else ""
    return ImageError(f"{why}, which this Python cannot read{hint}")
