"""One header of a tar, as container engines read it (POSIX, "ustar Interchange Format")."""

from __future__ import annotations

import tarfile
import zlib

# The kinds of entries. A hard link is another name of a file once the layers are united; a special
# file is a device, a pipe or anything else without content.
FILE, LINK, HARD_LINK, SPECIAL, FOLDER = "f", "l", "h", "s", "d"

_KINDS = {
    tarfile.REGTYPE: FILE,
    tarfile.AREGTYPE: FILE,
    tarfile.CONTTYPE: FILE,
    tarfile.GNUTYPE_SPARSE: FILE,
    tarfile.SYMTYPE: LINK,
    tarfile.LNKTYPE: HARD_LINK,
    tarfile.DIRTYPE: FOLDER,
}

# No content follows these, whatever their size (POSIX, "ustar Interchange Format").
_WITHOUT_CONTENT = frozenset(
    {tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE}
    | {tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE}
)

_USTAR = b"ustar\0"
_DAMAGED = "one of its headers is damaged"


class Header:
    """One header: the fields that matter to the diagnosis, and the rest in its `block`."""

    __slots__ = tuple("block fields is_sparse kind length link name offset size type".split())

    def __init__(self, block: bytes) -> None:
        """Read `block` (POSIX, "ustar Interchange Format"). Raise ValueError if it is damaged.

        The checksum is the sum of all bytes, with its own counted as spaces. The lower half of
        Adler-32 is that sum plus one, modulo 65,521.
        """
        if len(block) != tarfile.BLOCKSIZE:
            raise ValueError("unexpected end of data")
        found = zlib.adler32(b"%b        %b" % (block[:148], block[156:])) & 0xFFFF
        if found != (_number(block[148:156]) + 1) % 65521:
            raise ValueError(_DAMAGED)
        self.block = block
        self.type = block[156:157]
        self.kind = _KINDS.get(self.type, SPECIAL)
        self.name = until_null(block[:100])
        self.link = until_null(block[157:257]) if self.kind in {LINK, HARD_LINK} else ""
        self.fields: dict[str, str] = {}
        """The fields of its extended header."""
        self.offset = 0
        """Where its content begins in the tar."""
        self._take(_number(block[124:136]))
        self.is_sparse = self.type == tarfile.GNUTYPE_SPARSE
        if self.is_sparse:
            self.size = _number(block[483:495])  # GNU tar, "Old GNU Format"
        if block[345] and block[257:263] == _USTAR:  # other formats differ
            self.name = f"{until_null(block[345:500])}/{self.name}"

    def _take(self, size: int) -> None:
        """Set `length`, which is how much of the tar belongs to it, and the `size` of a file."""
        self.length = 0 if self.type in _WITHOUT_CONTENT else size
        self.size = size if self.kind == FILE else 0

    def extend(self, fields: dict[str, str]) -> None:
        """Apply the `fields` of extended headers. Raise ValueError."""
        self.fields = fields = {
            key: value for key, value in fields.items() if value or key not in tarfile.PAX_FIELDS
        }
        self.name = fields.get("path", self.name)
        self.link = fields.get("linkpath", self.link)
        if "size" in fields:
            self._take(_decimal(fields["size"]))
        if self.kind == FILE and ("GNU.sparse.map" in fields or "GNU.sparse.major" in fields):
            self.is_sparse = True
            self.name = fields.get("GNU.sparse.name") or self.name
            real = fields.get("GNU.sparse.size") or fields.get("GNU.sparse.realsize")
            self.size = _decimal(real) if real else self.size


def _number(field: bytes) -> int:
    """Return the number in a `field` of a header: octal, or as GNU tar writes large ones."""
    if field.startswith(b"\x80"):
        return int.from_bytes(field[1:], "big")
    digits = field.rstrip(b"\0 ")  # nearly always
    if not digits.isdigit():
        digits = field.partition(b"\0")[0].strip() or b"0"
        if not digits.isdigit():
            raise ValueError(_DAMAGED)
    return int(digits, 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(_DAMAGED)
    return int(text)


def _text(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")


def until_null(field: bytes) -> str:
    """Return the text that ends at the first null byte of `field`."""
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def records(content: bytes) -> dict[str, str]:
    """Return the fields in the `content` of an extended header (POSIX, "pax Extended Header").

    A record is ``LENGTH KEYWORD=VALUE`` and a line feed; LENGTH is that of the whole record.
    """
    fields = {}
    begin = 0
    while begin < len(content) and content[begin]:
        space = content.find(b" ", begin)
        end = begin + _decimal(_text(content[begin:space]))
        keyword, equals, value = content[space + 1 : end].partition(b"=")
        if not equals or value[-1:] != b"\n" or end > len(content):
            raise ValueError(_DAMAGED)
        fields[_text(keyword)] = _text(value[:-1])
        begin = end
    return fields
