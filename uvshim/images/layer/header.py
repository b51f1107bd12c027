"""A fast reader of tar headers.

With tarfile alone, reading them would take as long as decompressing the layer.
"""

from __future__ import annotations

import tarfile
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

_BLOCK = tarfile.BLOCKSIZE
_USTAR = b"ustar\0"
_LINKS = frozenset({tarfile.SYMTYPE, tarfile.LNKTYPE})
_PLAIN = frozenset({tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE}) | _LINKS
_CHANGING_MORE = ("GNU.sparse.", "hdrcharset", "size")
_ENDS = b"\0 "
_SPACES = b" " * 8


class Header(tarfile.TarInfo):
    """A header of which, if possible, only type, name, size and link are read."""

    block = b""
    """Its block, which has all other fields."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: str) -> Self:
        """Return the header in the block `buf`, as the method of `TarInfo` does."""
        header = cls.plain(buf)
        if header is None:
            header = super().frombuf(buf, encoding, errors)
            header.block = buf
        return header

    @classmethod
    def plain(cls, block: bytes) -> Self | None:
        """Return the header in `block`; None if only tarfile can read it, or it is damaged.

        The fields are those of POSIX, "ustar Interchange Format". The checksum is the sum of all
        bytes, with its own counted as spaces. The lower half of Adler-32 is that sum plus one,
        modulo 65,521, which 512 bytes of ASCII never reach.
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
            and (block[257:263] == _USTAR or not block[345])  # other formats differ
            and block.isascii()
        ):
            return None
        found = zlib.adler32(block[:148] + _SPACES + block[156:]) & 0xFFFF
        try:
            if found != int(checksum, 8) + 1:
                return None
            header = cls(_until_null(block[:100]))
            header.size = int(size, 8)
        except ValueError:  # 8 and 9 are not octal digits
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
        """Return the header that this one extends: the second of the two `blocks` after it.

        None if only tarfile can read them (POSIX, "pax Extended Header").
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
    """Return the fields in the `content` of an extended header; None if it has other keys.

    A record is ``LENGTH KEYWORD=VALUE`` and a line feed; LENGTH is that of the whole record.
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


def _until_null(field: bytes) -> str:
    return field.partition(b"\0")[0].decode()
