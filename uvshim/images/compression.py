"""Compression of layers and archives, recognized by the first bytes as container engines do."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, Any, cast

from uvshim.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvshim.images.blob import Verified

# The ends of media types of layers, by compression; a plain tar has none.
GZIP = "+gzip"
ZSTD = "+zstd"
_XZ = "+xz"
_BZIP2 = "+bzip2"

_MAGIC = {b"\x1f\x8b": GZIP, b"\x28\xb5\x2f\xfd": ZSTD, b"\xfd7zX": _XZ, b"BZh": _BZIP2}
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte of 50 to 5F (RFC 8878)

# The memory limit of an xz stream's dictionary, in bytes. `xz -9` needs 65 MiB.
_XZ_MEMORY = 128 * 1024 * 1024

# The exceptions of tarfile for damaged files, intended or not.
_DAMAGED = (tarfile.TarError, ValueError, OverflowError, RecursionError, LookupError, OSError)


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
        return _gzip(file)
    if kind == ZSTD:
        return cast("IO[bytes]", _zstd(f"{name} is compressed with zstd").ZstdFile(file))
    if kind == _XZ:
        return cast("IO[bytes]", io.BufferedReader(_Xz(file)))
    if kind == _BZIP2:
        import bz2

        return cast("IO[bytes]", bz2.BZ2File(file))
    return file


def compressed(content: bytes, media_type: str) -> bytes:
    """Return `content` compressed for `media_type`, without a date. Raise `ImageError`."""
    if media_type.endswith("gzip"):
        file = io.BytesIO()
        with gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as target:
            target.write(content)
        return file.getvalue()
    if media_type.endswith("zstd"):
        return cast("bytes", _zstd("its layers are compressed with zstd").compress(content))
    if media_type.endswith(".tar"):
        return content
    raise ImageError(f"uvshim cannot write layers of this kind: {media_type}")


class _Xz(io.RawIOBase):
    """The content of an xz file, which may have several streams, in bounded memory."""

    def __init__(self, file: IO[bytes]) -> None:
        import lzma

        self._file = file
        self._error = lzma.LZMAError
        self._new: Callable[[], lzma.LZMADecompressor] = lambda: lzma.LZMADecompressor(
            memlimit=_XZ_MEMORY
        )
        self._stream = self._new()

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
                self._stream = self._new()
            elif self._stream.needs_input and not (piece := self._file.read(65536)):
                raise OSError("it ends too early")
            try:
                content = self._stream.decompress(piece, len(buffer))
            except self._error as error:
                raise OSError(str(error)) from None
            if content:
                buffer[: len(content)] = content
                return len(content)


def _gzip(file: IO[bytes]) -> IO[bytes]:
    """Return the content of the gzip `file`, read by the fastest library that is installed."""
    try:
        from isal import igzip
    except ImportError:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb"))
    return cast("IO[bytes]", igzip.IGzipFile(fileobj=file, mode="rb"))  # type: ignore[no-untyped-call]


def _zstd(why: str) -> Any:
    """Return the module for zstd. Raise `ImageError` with `why` if it is not installed."""
    if module := _zstd_module():
        return module
    raise ImageError(
        f"{why}, which this Python cannot read. "
        "The library comes with: uv pip install 'uvshim[images]'"
    )


def _zstd_module() -> Any:
    """Return the module for zstd, or None: Python's own since 3.14, or its backport."""
    for name in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


def errors() -> tuple[type[Exception], ...]:
    """Return the exceptions for a tar that cannot be read or decompressed."""
    found: list[Any] = [*_DAMAGED, EOFError, zlib.error]
    with contextlib.suppress(ImportError):
        from isal import isal_zlib

        found.append(isal_zlib.error)
    if zstd := _zstd_module():
        found.append(zstd.ZstdError)
    return tuple(found)
