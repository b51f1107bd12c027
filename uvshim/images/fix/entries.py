"""What a mended layer is made of: entries of the layers below it, kept while those are read.

The diagnosis needs few files and no owners. Who writes a dist-info directory anew needs all of
its files, and of these and the directories above everything that their headers say.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, NamedTuple, cast

from uvshim.errors import ImageError
from uvshim.images import changes
from uvshim.rename import names
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from uvshim.images import tar
    from uvshim.images.layout import Layer

    # The identity of a layer, and the number of an entry in it.
    Key = tuple[str, int]

# Most of what lies in a dist-info directory is kept at once. What is longer is read once more if
# it is asked for, and nothing is that is longer than the second limit: it is held in memory.
_KEPT = 1024 * 1024
LIMIT = 64 * 1024 * 1024

# What an extended header says of one entry alone: a copy has a name and a length of its own
# (pax, "pax Extended Header"; GNU tar, "Storing Sparse Files").
_OF_ONE_ENTRY = ("path", "linkpath", "size", "hdrcharset")
_SPARSE = "GNU.sparse."


class Material(NamedTuple):
    """One entry of a layer."""

    header: tarfile.TarInfo
    """Mode, owner, times, extended attributes; its name is that of the entry."""
    content: bytes
    """All of it, of a regular file."""


class _Kept(NamedTuple):
    block: bytes
    extended: Mapping[str, str]
    size: int
    content: bytes


class Materials:
    """The entries that were kept, by layer and number. It is a `changes.Keeper`."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: dict[Key, _Kept] = {}
        self._fetched: dict[Key, Material] = {}

    def limit(self, directory: str) -> int:
        """Return how many bytes are kept of every file in `directory`."""
        return _KEPT if names.SUFFIX in directory else 0

    def add(self, key: Key, path: str, header: tarfile.TarInfo, content: bytes) -> None:
        """Keep the entry `key`, if it is a directory or may lie in a dist-info directory."""
        if header.isdir() or names.SUFFIX in path:
            block = cast("tar.Header", header).block
            extended = _lasting(header.pax_headers)
            size = header.size if header.isreg() else 0
            self._kept[key] = _Kept(block, extended, size, content)

    def fetch(self, wanted: Iterable[Key], layers: Iterable[Layer]) -> None:
        """Read those entries that are `wanted` and were not kept from `layers`, once more.

        Raises `ImageError`.
        """
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
                    self._fetched[identity, number] = Material(header, content)

    def get(self, key: Key) -> Material:
        """Return the entry `key`, which was kept or fetched. Raises `ImageError`."""
        if key in self._fetched:
            return self._fetched[key]
        kept = self._kept[key]
        try:
            header = tarfile.TarInfo.frombuf(kept.block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            message = f"an entry of the layer {shown(key[0])} has a damaged header: {error}"
            raise ImageError(message) from None
        header.pax_headers = dict(kept.extended)
        return Material(header, kept.content)


def _lasting(extended: Mapping[str, str]) -> dict[str, str]:
    """Return those of the `extended` header's fields that a copy of the entry has as well."""
    return {
        field: value
        for field, value in extended.items()
        if field not in _OF_ONE_ENTRY and not field.startswith(_SPARSE)
    }
