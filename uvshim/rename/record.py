"""The RECORD of one distribution: read, told of a directory's other names, written anew.

The rules quoted below are those of "Recording installed projects" (packaging.python.org), section
"The RECORD file". uv sorts the rows by path and ends each with a line feed; so does this module.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import itertools
import os
import posixpath
import stat
from typing import TYPE_CHECKING, NamedTuple

from uvshim.environments import files
from uvshim.rename import names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# The name under which a RECORD is written before it takes its place.
UNFINISHED = "RECORD.uvshim"


class Row(NamedTuple):
    """One installed file, as a row of RECORD has it: "path, hash, size", each as it is written."""

    path: str
    """Absolute, or relative to the directory that holds the dist-info directory."""
    hash_: str
    """``ALGORITHM=DIGEST``, or empty, as for RECORD itself and for what was compiled later."""
    size: str
    """In bytes, or empty."""


class Record(NamedTuple):
    """What a RECORD lists: the few rows that the rename of a directory may change, and the rest."""

    infos: list[Row]
    """The rows that have ``.dist-info`` anywhere in them, in their order."""
    rest: list[str]
    """The others, each as its fields with NUL between them, so that they sort as their paths do.

    Nine rows in ten are of this kind, and are not taken apart.
    """

    def paths(self) -> Iterator[str]:
        """Yield the paths of all rows, code first."""
        for row in self.rest:
            yield row.partition("\0")[0]
        for info in self.infos:
            yield info.path


# Stands for a RECORD that is not there or cannot be read.
NOTHING = Record([], [])


class RecordError(ValueError):
    """A RECORD is not there, empty, or not what the specification describes."""


def read(directory: str) -> Record:
    """Return what the RECORD in the dist-info `directory` (a path) lists.

    Bytes that are not UTF-8 survive a round trip. Raises `RecordError` if there is no RECORD, which
    no tool may uninstall, nor does this one rename it; OSError if it cannot be read.
    """
    content = files.read(os.path.join(directory, "RECORD"))
    if content is None:
        message = "it has no RECORD"
        raise RecordError(message)
    return parse(content)


def parse(content: bytes) -> Record:
    """Return what a RECORD with `content` lists.

    Raises `RecordError` if it is not "readable with the default `reader` of Python's `csv` module",
    or a row does not have three elements and a path.
    """
    text = content[: _complete(content)].decode("utf-8", "surrogateescape")
    infos, rest = [], []
    for row in _plain_rows(text) or _quoted_rows(text):
        if names.SUFFIX in row:
            infos.append(Row(*row.split("\0")))
        else:
            rest.append(row)
    return Record(infos, rest)


def _plain_rows(text: str) -> list[str] | None:
    """Return the rows in the `text` of a RECORD, NUL between the fields; None if that takes `csv`.

    The delimiter is a comma, the quoting character a double quote, and a line ends with CR LF or
    LF. Hardly any RECORD has a quote or a CR in it: without them, a row is a line.
    """
    if '"' in text or "\r" in text or "\0" in text:
        return None
    rows = text.replace(",", "\0").split("\n")
    if not rows[-1]:
        del rows[-1]
    borders = set(map(str.count, rows, itertools.repeat("\0")))
    return rows if borders == {2} and not min(rows).startswith("\0") else None


def _quoted_rows(text: str) -> list[str]:
    """Return the rows in the `text` of a RECORD, NUL between the fields. Raises `RecordError`."""
    import csv

    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        message = f"its RECORD cannot be read ({error})"
        raise RecordError(message) from None
    if not rows:
        message = "its RECORD is empty"
        raise RecordError(message)
    if any(len(row) != len(Row._fields) or not row[0] for row in rows) or "\0" in text:
        message = "its RECORD has a row that is not a path, a hash and a size"
        raise RecordError(message)
    return ["\0".join(row) for row in rows]


def _complete(content: bytes) -> int:
    """Return the length of a RECORD without the row that a kill in the middle of `append` has torn.

    A line without its end is not a row if it has too few columns, and if RECORD's own row stands
    before it: otherwise an installer has torn it, and nobody knows what is missing.
    """
    end = content.rfind(b"\n") + 1
    if end == len(content):
        return end
    torn = content[end:].count(b",") < len(Row._fields) - 1 and b"/RECORD," in content[:end]
    return end if torn else len(content)


def render(record: Record) -> bytes:
    """Return the content of a RECORD that lists `record`, sorted by path, as uv writes it."""
    return _text(sorted([*map("\0".join, record.infos), *record.rest]))


def _text(rows: list[str]) -> bytes:
    """Return `rows`, which have NUL between their fields, as they stand in a RECORD.

    What `csv` would do, but for a carriage return: up to Python 3.12 it leaves that without quotes,
    and for uv it ends a row.
    """
    text = "\n".join([*rows, ""])
    if text.count("\n") > len(rows) or _needs_quotes(text):
        text = "".join("\0".join(map(_quoted, row.split("\0"))) + "\n" for row in rows)
    return text.replace("\0", ",").encode("utf-8", "surrogateescape")


def _needs_quotes(text: str) -> bool:
    return '"' in text or "," in text or "\r" in text


def _quoted(field: str) -> str:
    if "\n" in field or _needs_quotes(field):
        return '"' + field.replace('"', '""') + '"'
    return field


def top(path: str) -> str:
    """Return the first component of the `path` in a row: for a distribution's own files, dist-info.

    The path is taken for what it means: ``./x/../y`` begins with ``y``. That of an absolute one is
    empty.
    """
    return _split(path)[0]


def moved(row: Row, directory: str) -> Row:
    """Return `row` with `directory` in place of the first component of its path."""
    return Row(f"{directory}/{_split(row.path)[1]}", row.hash_, row.size)


@functools.lru_cache  # the few paths below one dist-info directory are asked for again and again
def _split(path: str) -> tuple[str, str]:
    """Return the first component of `path`, and the rest.

    "On Windows, directories may be separated either by forward- or back-slashes": backslashes
    do where one comes before any slash. After a slash, a backslash is a part of a name.
    """
    if "/" not in path.partition("\\")[0]:
        path = path.replace("\\", "/")
    if "//" in path or "./" in path or "/." in path:  # of a million rows, hardly one
        path = posixpath.normpath(path)
    first, _, rest = path.partition("/")
    return first, rest


def relocated(record: Record, aliases: Collection[str], directory: str) -> Record:
    """Return `record` with every file under one of `aliases` listed once, under `directory`.

    "There is one record per installed file": of two rows for one, that with a hash stays. What is
    not under one of the directories named `aliases` is not changed.
    """
    elsewhere = []
    own: dict[str, Row] = {}
    for row in record.infos:
        if top(row.path) not in aliases:
            elsewhere.append(row)
            continue
        here = moved(row, directory)
        if here.path not in own or not own[here.path].hash_:
            own[here.path] = here
    own.pop(f"{directory}/{UNFINISHED}", None)
    return Record([*elsewhere, *own.values()], record.rest)


def also_listed(record: Record, aliases: Collection[str], directory: str) -> list[Row]:
    """Return the rows that `record` lacks to list the files of `aliases` under `directory`, too."""
    listed = {row.path for row in record.infos}
    wanted = [moved(row, directory) for row in record.infos if top(row.path) in aliases]
    wanted.append(Row(f"{directory}/{UNFINISHED}", "", ""))
    return [row for row in {row.path: row for row in wanted}.values() if row.path not in listed]


def append(directory: str, rows: list[Row]) -> None:
    """Add `rows` to the RECORD in the dist-info `directory` (a path), or nothing of them.

    They go to the end of the file itself: a second file beside it would be one that no RECORD
    lists yet, and that an uninstall after a crash would leave behind. Only a RECORD that has
    another name elsewhere (a hard or symbolic link) is written anew. Raises OSError.
    """
    if not rows:
        return
    path = os.path.join(directory, "RECORD")
    status = os.lstat(path)
    if status.st_nlink > 1 or not stat.S_ISREG(status.st_mode):
        found = read(directory)
        replace(directory, found._replace(infos=[*found.infos, *rows]))
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        before = os.read(descriptor, status.st_size)
        end = _complete(before)
        if end < len(before):
            os.ftruncate(descriptor, end)
        line_end = b"" if before[:end].endswith(b"\n") else b"\n"
        content = line_end + _text(["\0".join(row) for row in rows])
        if os.pwrite(descriptor, content, end) != len(content):  # a full disk takes a part
            os.ftruncate(descriptor, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(descriptor)


def replace(directory: str, record: Record) -> None:
    """Put a RECORD that lists `record` into the dist-info `directory` (a path) in one step.

    Mode, owner and times are those of the one before. Raises OSError, and has changed nothing.
    """
    path = os.path.join(directory, "RECORD")
    unfinished = os.path.join(directory, UNFINISHED)
    status = os.stat(path)
    try:
        descriptor = _new(unfinished)
        try:
            content = render(record)
            while content:
                content = content[os.write(descriptor, content) :]
            _look_like(status, unfinished, os.fstat(descriptor))
            os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(descriptor)
        os.replace(unfinished, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


def _new(path: str) -> int:
    """Open the file `path` to be written, which must be new: never one that a link leads to.

    Python's own `open` asks the system four times as much, of a file that is empty.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, 0o666)
    except FileExistsError:  # of a run that was killed
        os.unlink(path)
        return os.open(path, flags, 0o666)


def _look_like(wanted: os.stat_result, path: str, has: os.stat_result) -> None:
    """Give the file `path` the owner and the mode that are `wanted`, where it `has` others."""
    other_owner = (wanted.st_uid, wanted.st_gid) != (has.st_uid, has.st_gid)
    if other_owner:
        with contextlib.suppress(PermissionError):  # another user's file in our directory
            os.chown(path, wanted.st_uid, wanted.st_gid)
    if other_owner or wanted.st_mode != has.st_mode:
        os.chmod(path, stat.S_IMODE(wanted.st_mode))  # after chown, which takes bits away
