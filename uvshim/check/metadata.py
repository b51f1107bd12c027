"""The metadata of distributions, as pkg_resources reads them."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from uvshim.rename import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uvshim.check.requirements import Requirement

_T = TypeVar("_T")

# The limit of one metadata file, in bytes. The longest real ones have a third of it.
METADATA_LIMIT = 1024 * 1024

# How many bytes all remembered contents take, and each of their lines.
_ROOM = 16 * 1024 * 1024
_LINE = 256

# In a header with a line feed before each line: its end, the first line that is neither a field
# (RFC 5322, 2.2) nor its continuation; and the fields that are read. `email` would take a fifth of
# the time of `uvshim check`.
_END = re.compile(r"\n(?![ \t]|[!-9;-~]*:)")
_FIELD = re.compile(
    r"\n(requires-dist|provides-extra):[ \t]*(.*(?:\n[ \t].*)*)", re.IGNORECASE | re.ASCII
)

# A group in entry_points.txt, and an entry point in which white space is squeezed: a long line of
# it would keep the pattern of pkg_resources busy for hours. Its name may have a `=`, too.
_GROUP = re.compile(r"\w+(\.\w+)*$")
_ENTRY_POINT = re.compile(
    r"(?P<name>.+?) ?= ?(?P<module>[\w.]+) ?(?:: ?[\w.]+)? ?(?P<extras>\[.*\])?"
)

# The exception of `require` for a name that it does not find.
NOT_FOUND = "DistributionNotFound"
UNKNOWN_EXTRA = "UnknownExtra"


class RequireError(Exception):
    """`require` would raise the exception whose name is the argument."""

    def __init__(
        self,
        name: str,
        reason: str = "",
        missing: tuple[str, ...] = (),
        unmet: Requirement | None = None,
    ) -> None:
        """Name the exception. `reason` is its cause, a clause; `missing` are all missing names.

        `unmet` is the requirement of another version than the one that is found.
        """
        super().__init__(name)
        self.reason = reason
        self.missing = missing
        self.unmet = unmet


class NoVersionError(RequireError):
    """A distribution has no version, in its name or in its metadata."""


def remembered(parse: Callable[..., _T]) -> Callable[..., _T]:
    """Return `parse` with a cache, emptied when it is full: images have much in common.

    The first argument is the content.
    """
    known: dict[object, _T] = {}
    room = _ROOM

    @functools.wraps(parse)
    def parsed(content: bytes, *others: object) -> _T:
        nonlocal room
        key = content, *others
        if (result := known.get(key)) is not None:  # another thread may empty it
            return result
        result = parse(content, *others)
        room -= len(content) + _LINE * content.count(b"\n")
        if room < 0:
            known.clear()
            room = _ROOM
        else:
            known[key] = result
        return result

    return parsed


class Header(NamedTuple):
    """What the header of a METADATA file says."""

    described: tuple[str, str] | None
    """The project's name and version; None without a valid name."""
    requires: tuple[str, ...]
    """The lines of its requirements."""
    extras: tuple[str, ...]


def decoded(content: bytes) -> str:
    """Return the text of a metadata file. Raise `RequireError` if pkg_resources could not."""
    # The limit may have cut a character.
    errors = "replace" if len(content) == METADATA_LIMIT else "strict"
    try:
        return content.decode("utf-8", errors)
    except UnicodeDecodeError:
        raise RequireError("UnicodeDecodeError") from None


@remembered
def read_header(header: bytes) -> Header:
    """Return what the `header` of a METADATA file says."""
    try:
        described = names.parse_metadata(header[: names.HEADER_LIMIT])
    except names.MetadataError:
        described = None
    read = wanted_fields(header.decode("utf-8", "replace"))
    requires = "\n".join([value for name, value in read if name == "requires-dist"])
    extras = tuple(value for name, value in read if name == "provides-extra")
    return Header(described, tuple(lines(requires)), extras)


def wanted_fields(header: str) -> list[tuple[str, str]]:
    """Return the requirements and extras in the `header` of a METADATA file, by field.

    As the standard library's `email` reads them (core metadata specification): a line that begins
    with white space continues a value. Names are in lower case.
    """
    text = "\n" + header.replace("\r\n", "\n").replace("\r", "\n")
    end = _END.search(text)
    fields = _FIELD.findall(text, 0, end.start() if end else len(text))
    return [(name.lower(), value) for name, value in fields]


@remembered
def read_entry_points(content: bytes) -> dict[str, dict[str, str]]:
    """Return what an entry_points.txt says, by group and name. Raise `RequireError`."""
    groups: dict[str, dict[str, str]] = {}
    group = ""
    for line in lines(decoded(content)):
        if line.startswith("["):
            group = line[1:-1].strip()
            if line[-1] != "]" or not _GROUP.match(group) or group in groups:
                raise RequireError("ValueError")
            groups[group] = {}
        else:
            entry = _ENTRY_POINT.fullmatch(" ".join(line.split()))
            if not (group and entry and _GROUP.match(entry["module"])):
                raise RequireError("ValueError")
            name = "=".join(line.split("=")[: entry["name"].count("=") + 1]).strip()
            if name in groups[group]:
                raise RequireError("ValueError")
            groups[group][name] = entry["extras"] or ""
    return groups


def lines(text: str) -> Iterator[str]:
    """Yield the lines of `text` that are neither blank nor comments, stripped."""
    stripped = map(str.strip, text.splitlines())
    return (line for line in stripped if line and not line.startswith("#"))
