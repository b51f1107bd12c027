"""The RECORD of a distribution, and its content after a rename of the directory.

This module works on bytes, and rows keep their order. Quotations are from "Recording installed
projects" (packaging.python.org), section "The RECORD file".
"""

from __future__ import annotations

import io

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# A new RECORD has this name before it replaces the old one. As long as this file may exist,
# RECORD lists it.
UNFINISHED = "RECORD.uvshim"

# A write that is killed may stop at a multiple of this offset (Linux, mm/filemap.c).
_PAGE = 4096

# All bytes except delimiters of rows and fields, quotes and other unusual ones.
_ORDINARY = bytes(set(range(256)) - set(b',"\r\n\0'))

_NO_ROW = "its RECORD has a row that is not a path, a hash and a size"


class RecordError(ValueError):
    """A RECORD is missing, empty, or not what the specification describes."""


class Record:
    """What a RECORD lists.

    - `content`: its bytes, without an incomplete last row that a killed run has left;
    - `is_unfinished`: a killed run has left it as it is;
    - `only`: its own directory, if nothing of another one is listed and it is finished, and each
      row is one line without quotes; else "". Then no row needs to be taken apart;
    - `directories`: the dist-info directories that begin the paths, finished or not (see
      `obstacles`); if `only` is set, just that one.
    """

    def __init__(self, content: bytes | None, own: str) -> None:
        """Read the `content` of the one in the dist-info directory `own`; None: it is missing.

        Raise `RecordError` if it is not a RECORD.
        """
        if content is None:
            raise RecordError("it has no RECORD")
        self.content = content[: complete(content)]
        self._end = "\r\n" if self.content.endswith(b"\r\n") else "\n"
        row = _bytes(f"/{UNFINISHED},")  # of the directory, or of one that is being built
        self.is_unfinished = any(each + row in self.content for each in (b".dist-info", b".uvshim"))
        # What begins with the own directory, and what follows.
        self._parts = (b"\n" + self.content).split(_bytes(f"\n{own}/"))
        is_only = 1 < len(self._parts) == self.content.count(b".dist-info") + 1
        self.only = own if is_only and not self.is_unfinished and _is_plain(self.content) else ""
        firsts = (path.partition("/")[0] for path in self.paths())
        found = {own} if self.only else filter(_is_metadata, firsts)
        self.directories = frozenset(found)

    def files(self, directory: str) -> set[str]:
        """Return the listed files in the dist-info `directory`, relative to it."""
        start = f"{directory}/"
        return {path[len(start) :] for path in self.paths() if path.startswith(start)}

    def paths(self) -> Iterator[str]:
        """Yield the paths of all rows."""
        return (path for path, _, _ in elements(self.content))

    def with_row(self, path: str) -> Record:
        """Return a RECORD that also lists `path`, without a hash if it was not listed."""
        if path in self.paths():
            return self
        line_end = b"" if self.content.endswith(b"\n") else b"\n"
        return Record(self.content + line_end + self.row(path), path.partition("/")[0])

    def renamed(self, aliases: Collection[str], directory: str) -> bytes:
        """Return the content with files of the directories `aliases` listed in `directory` instead.

        "There is one record per installed file": of two rows for one file, the first stays, with
        the hash of the second if it has none. Other rows are not changed.
        """
        if self.only:
            return _bytes(f"\n{directory}/").join(self._parts)[1:]
        rows: list[bytes] = []
        places: dict[str, int] = {}
        for own, row in self._moved(aliases, directory):
            if not own.startswith(UNFINISHED):
                place = places.setdefault(own, len(rows)) if own else len(rows)
                if place == len(rows) or rows[place].rstrip().endswith(b",,"):
                    rows[place : place + 1] = [row]
        return b"".join(rows)

    def added(self, aliases: Collection[str], directory: str) -> list[bytes]:
        """Return the rows to add, so that files of `aliases` are also listed in `directory`.

        The last one is for `UNFINISHED`.
        """
        unfinished = self.row(f"{directory}/{UNFINISHED}")
        if self.only not in {"", directory}:
            start = _bytes(f"{directory}/")
            rows = [start + each.partition(b"\n")[0] + b"\n" for each in self._parts[1:]]
            return [*rows, unfinished]
        listed = self.files(directory)
        moved = dict(self._moved(aliases, directory))
        rows = [row for own, row in moved.items() if own and own not in listed]
        return rows if UNFINISHED in listed else [*rows, unfinished]

    def _moved(self, aliases: Collection[str], directory: str) -> Iterator[tuple[str, bytes]]:
        """Yield the rows, with files of `aliases` in `directory`, and their paths there, or ""."""
        for path, hash_, size in elements(self.content):
            first, _, own = path.partition("/")
            is_own = first in aliases
            row = _row(f"{directory}/{own}" if is_own else path, f",{hash_},{size}{self._end}")
            yield own if is_own else "", row

    def row(self, path: str) -> bytes:
        """Return a row without a hash that lists `path`, with the line end of the others."""
        return _row(path, ",," + self._end)


def appended(rows: list[bytes], end: int) -> bytes:
    """Return `rows` as they are appended to a RECORD of the length `end`.

    No row crosses the border of a page, so a kill inside the write leaves whole rows. The last row
    lists a file that does not exist: before a border it is repeated and lengthened to fit.
    """
    filler = rows[-1]
    stem = filler.rstrip()[:-2]
    parts = []
    for row in rows:
        room = -end % _PAGE
        if len(filler) <= room < len(row) + len(filler) and room != len(row):
            count, rest = divmod(room, len(filler))
            parts += [*[filler] * (count - 1), stem, b"_" * rest, filler[len(stem) :]]
            end += room
        parts.append(row)
        end += len(row)
    return b"".join(parts)


def elements(content: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield path, hash and size of each row in the `content` of a RECORD, as written.

    Bytes that are not UTF-8 are escaped (PEP 383). Raise `RecordError` if `content` is not
    "readable with the default `reader` of Python's `csv` module", or a row lacks an element.
    """
    if _is_plain(content):
        for row in io.BytesIO(content):
            path, hash_, size = row.decode("utf-8", "surrogateescape").rstrip("\r\n").split(",")
            if not path:
                raise RecordError(_NO_ROW)
            yield path, hash_, size
        return
    import csv

    from installer.records import InvalidRecordEntry, parse_record_file

    text = content.decode("utf-8", "surrogateescape")
    if not text.strip():
        raise RecordError("its RECORD is empty")
    if "\0" in text or "\\" in text:  # `installer` replaces backslashes, and a name may have one
        raise RecordError(_NO_ROW)
    lines = io.StringIO(text, newline="")
    rows = parse_record_file(lines if '"' in text else filter(str.strip, lines))
    try:
        for path, hash_, size in rows:
            if not path or {",", '"'} & {*hash_, *size}:
                raise RecordError(_NO_ROW)
            yield path, hash_, size
    except (InvalidRecordEntry, csv.Error) as error:
        raise RecordError(f"its RECORD has a row that cannot be read ({error})") from None


def complete(content: bytes) -> int:
    """Return the length of a RECORD without the incomplete last row of a killed run.

    That row has too few columns and no line end, and comes after RECORD's own row. Otherwise an
    installer was killed, and the missing rows are unknown.
    """
    end = content.rfind(b"\n") + 1
    if end == len(content) or content.count(b",", end) >= 2:  # noqa: PLR2004
        return len(content)
    return end if b"/RECORD," in content[:end] else len(content)


def _is_plain(content: bytes) -> bool:
    """Return True if each row is one line: two commas, no quotes, the same line end."""
    marks = content.translate(None, _ORDINARY)
    end = b"\r\n" if marks[2:3] == b"\r" else b"\n"
    rows = content.count(end)
    return marks == (b",," + end) * rows and content.endswith(end)


def _is_metadata(directory: str) -> bool:
    return directory.endswith((".dist-info", ".uvshim"))


def _row(path: str, columns: str) -> bytes:
    """Return a row with `path`, quoted if necessary, and `columns`."""
    if '"' in path or "," in path or "\r" in path or "\n" in path:
        path = '"' + path.replace('"', '""') + '"'
    return _bytes(path + columns)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
