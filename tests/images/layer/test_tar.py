"""The fast reader of headers agrees with tarfile."""

from __future__ import annotations

import io
import random
import tarfile
from typing import Any

import pytest

from uvshim.errors import ImageError
from uvshim.images.blob import in_memory
from uvshim.images.budget import Budget
from uvshim.images.layer import tar
from uvshim.images.layer.header import FILE, FOLDER, HARD_LINK, LINK, SPECIAL

FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
KINDS = [tarfile.REGTYPE] * 5 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]
KINDS += [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.CONTTYPE, tarfile.AREGTYPE]
EXTENDED = {
    "comment": "a=b\nc",
    "SCHILY.xattr.user.x": "1",
    "mtime": "1.5",
    "path": "other/name",
    "linkpath": "other/target",
    "hdrcharset": "BINARY",
    "size": "3",
}


def read(content: bytes) -> list[tuple[Any, ...]]:
    """Return what is in a tar: of each entry the fields of its header, and its content."""
    found: list[tuple[Any, ...]] = []
    with tar.opened(in_memory(content), Budget()) as archive:
        for number, one in archive:
            said = archive.content(one, 100_000) if one.kind == FILE else None
            link = one.link if one.kind in {LINK, HARD_LINK} else ""
            name = one.name.rstrip("/") if one.kind == FOLDER or one.fields else one.name
            found.append((number, name, one.kind, one.size, link, one.fields, said))
    return found


def by_tarfile(content: bytes) -> list[tuple[Any, ...]]:
    """Return the same, as tarfile reads it."""
    found: list[tuple[Any, ...]] = []
    with tarfile.open(fileobj=io.BytesIO(content), errors="surrogateescape") as archive:
        for number, one in enumerate(archive):
            file = archive.extractfile(one) if one.isreg() else None
            said = file.read(100_000) if file else None
            link = one.linkname if one.issym() or one.islnk() else ""
            size = one.size if one.isreg() else 0
            kind = FILE if one.isreg() else LINK if one.issym() else SPECIAL
            kind = HARD_LINK if one.islnk() else FOLDER if one.isdir() else kind
            fields = dict(one.pax_headers.items() - archive.pax_headers.items())
            found.append((number, one.name, kind, size, link, fields, said))
    return found


def made(chance: random.Random, *, globals_: bool = False) -> bytes:
    """Return a tar with entries of all kinds, in the form that some tool or other writes."""
    file = io.BytesIO()
    form = chance.choice(FORMS)
    shared = {"comment": "of all"} if globals_ and form == tarfile.PAX_FORMAT else None
    with tarfile.open(
        fileobj=file, mode="w", format=form, errors="surrogateescape", pax_headers=shared
    ) as archive:
        for _ in range(chance.randrange(30)):
            long = chance.choice([1, 1, 1, 9, 40])
            letters = chance.choice(["ab", "ab", "a b", "aü", "a\udce9"])
            header = tarfile.TarInfo("/".join(chance.choice(letters) * 5 for _ in range(long)))
            header.type = chance.choice(KINDS)
            header.linkname = chance.choice(["", "target", "t/" * 80])
            header.mtime = chance.choice([0, 1.5, 10**9])
            header.uid = chance.choice([0, 1000, 10**7])
            if form == tarfile.PAX_FORMAT and not chance.randrange(4):
                header.pax_headers = {key: EXTENDED[key] for key in chance.sample([*EXTENDED], 2)}
            content = b""
            if header.isreg():
                content = bytes(chance.choice([3, 3, 511, 512, 513, 200_000]))
                content = content[: int(header.pax_headers.get("size", len(content)))]
                header.size = len(content)
            try:
                archive.addfile(header, io.BytesIO(content))
            except (ValueError, UnicodeError):  # a name too long for this form
                continue
    return file.getvalue()


@pytest.mark.parametrize("seed", range(60))
def test_headers_are_read_as_tarfile_reads_them(seed: int) -> None:
    content = made(random.Random(seed), globals_=seed % 3 == 0)
    assert read(content) == by_tarfile(content)


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_tar_is_an_error_or_read_as_tarfile_reads_it(seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(made(chance))
    for _ in range(3):
        place = chance.randrange(len(content) // 512) * 512 + chance.randrange(345)
        content[place] = chance.choice([0, 32, 48, 55, 56, 120, 128, 255])
    try:
        found = read(bytes(content))
    except ImageError:
        return
    assert found == by_tarfile(bytes(content))


def test_a_tar_of_other_pieces_is_read_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    content = made(random.Random(1))
    whole = read(content)
    assert len(whole) > 5
    for length in (512, 700, 1024, 1536, 4096):
        monkeypatch.setattr("uvshim.images.layer.tar._PIECE", length)
        assert read(content) == whole


def block(size: bytes, *, name: bytes = b"file", kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a header whose field `size`, of 12 bytes, is written in an unusual way."""
    start = name.ljust(100, b"\0") + b"0000644\0" + 2 * b"0000000\0" + size + b"00000000000\0"
    end = kind.ljust(101, b"\0") + b"ustar\x0000"
    content = (start + 8 * b" " + end).ljust(512, b"\0")
    return start + b"%06o\0 " % sum(content) + content[156:]


@pytest.mark.parametrize(
    ("size", "length"),
    [
        (b"000000001000", 512),  # without an end
        (b"00000001000 ", 512),
        (b"       1000\0", 512),
        (b"\x80" + 9 * b"\0" + b"\2\0", 512),  # base-256, GNU tar
        (b"\xff" * 11 + b"\0", 0),  # the same, negative
        (b"0000000100\0\0", 64),
        (b"0000000100\x009", 64),
    ],
)
def test_a_size_is_read_however_it_is_written(size: bytes, length: int) -> None:
    first = block(b"00000000000\0")
    content = first + block(size, name=b"x") + bytes(length and 512) + first + bytes(1024)
    assert len(block(size)) == 512
    if size[0] == 0xFF:
        with pytest.raises(ImageError, match="damaged"):
            read(content)
    else:
        assert read(content) == by_tarfile(content)


def test_the_size_in_an_extended_header_counts() -> None:
    extended = block(b"00000000012\0", kind=tarfile.XHDTYPE) + b"10 size=5\n".ljust(512, b"\0")
    first, second = block(b"00000000000\0"), block(b"00000000000\0", name=b"x")
    content = first + extended + second + b"12345".ljust(512, b"\0") + bytes(1024)
    found = read(content)
    assert found[1][-1] == b"12345"
    assert found == by_tarfile(content)
