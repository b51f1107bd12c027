"""Entries of layers that a new layer may need, kept while the layers are read for the diagnosis.

The diagnosis needs few files and no owners. A renamed dist-info directory needs all of its files,
and every header field of these and of the directories above.
"""

from __future__ import annotations

import re
import tarfile
from typing import TYPE_CHECKING, NamedTuple, cast

from uvshim.errors import ImageError
from uvshim.images.layer import changes
from uvshim.rename import names
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from uvshim.images.blob import Blob
    from uvshim.images.layer.header import Header

    # The identity of a layer, and the number of an entry in it.
    Key = tuple[str, int]

# How much of a file, and of all files, in dist-info directories is kept in memory. What is longer
# is read again if it is needed, up to the most that the files of one directory may have.
_KEPT = 1024 * 1024
_MOST_KEPT = 64 * 1024 * 1024
LIMIT = 64 * 1024 * 1024

# What an extended header says of one entry only: a copy has another name and length (pax,
# "pax Extended Header"; GNU tar, "Storing Sparse Files"). Attributes of overlayfs hide lower
# layers, such as `trusted.overlay.opaque`: a copy would hide everything in the directory.
_OF_ONE_ENTRY = re.compile(
    r"path|linkpath|size|hdrcharset|GNU\.sparse\..*|(SCHILY|LIBARCHIVE)\.xattr\.\w+\.overlay\..*"
)


class Entry(NamedTuple):
    """One entry of a layer: its header without what is special to it, and its content."""

    header: tarfile.TarInfo
    content: bytes


class _Kept(NamedTuple):
    block: bytes
    extended: Mapping[str, str]
    size: int
    content: bytes


class Entries:
    """The entries that were kept, by layer and number. It is a `changes.Keeper`."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: dict[Key, _Kept] = {}
        self._fetched: dict[Key, Entry] = {}
        self._length = 0

    def limit(self, directory: str) -> int:
        """Return how many bytes to keep of every file in `directory`."""
        return _KEPT if names.SUFFIX in directory and self._length < _MOST_KEPT else 0

    def add(self, key: Key, path: str, header: tarfile.TarInfo, content: bytes) -> None:
        """Keep the entry `key` if it is a directory, or may be in a dist-info directory."""
        if header.isdir() or names.SUFFIX in path:
            self._length += len(content)
            block = cast("Header", header).block
            size = header.size if header.isreg() else 0
            self._kept[key] = _Kept(block, _lasting(header.pax_headers), size, content)

    def fetch(self, wanted: Iterable[Key], layers: Iterable[Blob]) -> None:
        """Read again from `layers` what is `wanted` and was not kept. Raise `ImageError`."""
        lacking: dict[str, dict[int, int]] = {}
        for key in wanted:
            kept = self._kept.get(key)
            if kept is None or len(kept.content) < kept.size:
                lacking.setdefault(key[0], {})[key[1]] = LIMIT
        for layer in layers:
            identity = layer.identity or ""
            if limits := lacking.pop(identity, None):
                for number, header, content in changes.entries(layer, limits):
                    header.pax_headers = _lasting(header.pax_headers)
                    self._fetched[identity, number] = Entry(header, content)

    def get(self, key: Key) -> Entry:
        """Return the entry `key`, which was kept or fetched. Raise `ImageError`."""
        if key in self._fetched:
            return self._fetched[key]
        kept = self._kept[key]
        try:
            header = tarfile.TarInfo.frombuf(kept.block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            message = f"an entry of the layer {shown(key[0])} has a damaged header: {error}"
            raise ImageError(message) from None
        header.pax_headers = dict(kept.extended)
        return Entry(header, kept.content)


def _lasting(extended: Mapping[str, str]) -> dict[str, str]:
    """Return those fields of an `extended` header that a copy of the entry has too."""
    return {field: value for field, value in extended.items() if not _OF_ONE_ENTRY.fullmatch(field)}
