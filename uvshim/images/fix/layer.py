"""The new layer of an image, with the renames in all its environments.

It has a whiteout of each old dist-info directory, and the complete new one. It also has their
parent directories, unchanged: if a layer lacks the entry of a directory, umoci keeps owner and
mode, but buildah and podman give it to root, with the mode 755.
"""

from __future__ import annotations

import functools
import io
import os
import posixpath
import re
import tarfile
import time
from typing import TYPE_CHECKING

from uvshim.check import required
from uvshim.environments import discovery
from uvshim.environments.environment import Environment, dist_infos
from uvshim.errors import ImageError
from uvshim.images import blob, survey
from uvshim.images.layer.header import FILE, LINK, Header
from uvshim.images.store import Store
from uvshim.images.union import Directory, Node
from uvshim.rename import names, plan, record
from uvshim.rename.names import shown
from uvshim.rename.on_disk import LeftAlone, Outcome, Renamed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from uvshim.check.report import Gate, Report
    from uvshim.images.image import Image
    from uvshim.images.layer.changes import Entry, Key
    from uvshim.images.tree import ImageTree
    from uvshim.rename.plan import Plan
    from uvshim.rename.spelling import Spellings

_WHITEOUT = ".wh."

# The limit of the files in one renamed directory, in bytes.
_LIMIT = 64 * 1024 * 1024

# Keys of extended headers that a copy must not have: its name and length differ (pax,
# "pax Extended Header"; GNU tar, "Storing Sparse Files"). Attributes of overlayfs hide lower
# layers, such as `trusted.overlay.opaque`: a copy would hide everything in the directory.
_OF_ONE_ENTRY = re.compile(
    r"path|linkpath|size|hdrcharset|GNU\.sparse\..*|(SCHILY|LIBARCHIVE)\.xattr\.\w+\.overlay\..*"
)


# The limit of all files in the new layers of one reference, in bytes. They are built in memory.
_LONGEST_LAYER = 128 * 1024 * 1024


def store() -> Store:
    """Return a store for `rename`. It holds layers that several images share."""
    return Store(None, os.cpu_count() or 1, for_copy=True)


def rename(
    image: Image, gate: Gate, moment: int, known: Store
) -> tuple[bytes, list[tuple[Outcome, Report]]]:
    """Rename the directories in `image` that `uvshim fix` would rename in its unpacked root.

    Return the new layer as a tar, empty if nothing is renamed, and for each environment what
    was renamed and the report with the new layer. Names that `gate` excludes are skipped. `moment`,
    in seconds since 1970, is the time of new entries, such as whiteouts. Layers are read through
    the store `known`. Raise `ImageError`.
    """
    begin = time.monotonic()
    below = known.tree(image)

    def plans() -> tuple[_Building, list[Environment], list[Outcome]]:
        building = _Building(below, moment, image.budget.built)
        found = list(discovery.in_image(below))
        spelled = required.Spelled(found)
        building.linked = frozenset(discovery.linked(found))
        return building, found, [building.rename(each, gate, spelled) for each in found]

    building, environments, outcomes = below.complete(plans)
    image.budget.built = building.length
    content = b""
    united = below
    if any(outcome.renamed for outcome in outcomes):
        content = building.content()
        united = below.with_layer(blob.in_memory(content))
    seconds = time.monotonic() - begin
    for outcome in outcomes:
        outcome.seconds = seconds
    found = [each.in_tree(united) for each in environments]
    reports = united.complete(lambda: survey.reports(found, gate, image))
    return content, list(zip(outcomes, reports, strict=True))


class _Building:
    """A layer under construction: directories of lower layers with new names."""

    def __init__(self, below: ImageTree, moment: int, length: int) -> None:
        self._tree = below
        self._moment = moment
        self._seen: set[str | None] = set()
        self.length = length
        """How many bytes its files and those of earlier layers have."""
        self._whiteouts: set[str] = set()
        self._copies: dict[str, Node] = {}
        self._contents: dict[str, bytes] = {}
        self.linked: Collection[str] = ()
        """The directories to which links elsewhere lead: they keep their names."""

    def rename(self, found: Environment, gate: Gate, spelled: required.Spelled) -> Outcome:
        """Add the renames in the environment `found`, each directory once."""
        outcome = Outcome([], [])
        for directory in found.own:
            if (real := self._tree.real(directory)) not in self._seen:
                self._seen.add(real)
                spellings = spelled.in_tree(found.tree, directory)
                self._rename_in(directory, gate, spellings, outcome)
        return outcome

    def _rename_in(
        self, directory: str, gate: Gate, spellings: Spellings | None, outcome: Outcome
    ) -> None:
        children = self._tree.children(directory)
        plans = []
        for own in dist_infos(children):
            path = posixpath.join(directory, own)
            try:
                made = plan.make(
                    self._tree, path, lambda name: not gate.excludes(name), spellings=spellings
                )
                plans += [made] if made else []
            except names.MetadataError as error:
                if not plan.is_harmless(self._tree, path):
                    outcome.left_alone.append(LeftAlone(path, str(error)))
        twins = plan.duplicates(self._tree, plans)
        taken = {name for name, node in children.items() if not _is_empty(node)}
        for each in plans:
            if not each.wrong or (each.path in twins and plan.MISNAMED not in each.wrong):
                continue
            if each.owner:
                outcome.owned.append(LeftAlone(each.path, each.owner))
            elif obstacle := each.obstacle or self._obstacle(each, children[each.own], taken):
                outcome.left_alone.append(LeftAlone(each.path, obstacle))
            else:
                taken.discard(each.own)
                taken.add(each.directory)
                self._carry_out(each, children)
                done = Renamed(each.name, each.version, each.path, each.destination)
                outcome.renamed.append(done)

    def _obstacle(self, wanted: Plan, own: Node, taken: set[str]) -> str:
        """Return what prevents the plan `wanted` for the directory `own`, as a clause, or ""."""
        moves = wanted.own != wanted.directory
        is_target = moves and self.linked and self._tree.real(wanted.path) in self.linked
        if is_target or not isinstance(own, Directory):
            return plan.LINKED if isinstance(own, Directory) else "it is a symbolic link"
        if moves and wanted.directory in taken:
            return f"`{wanted.directory}` exists already"
        listed = self._tree.file(f"{wanted.path}/RECORD")
        content = self._tree.read(f"{wanted.path}/RECORD", _LIMIT)
        if listed is None or content is None or len(content) < listed.size:
            return "its RECORD is too long"
        length = sum(
            tarfile.BLOCKSIZE + len(name) + (0 if isinstance(node, Directory) else node.size)
            for name, node in _below(own, "")
        )
        if length > _LIMIT:
            return f"its files have more than {_LIMIT >> 20} MiB"
        if self.length + length > _LONGEST_LAYER:
            return f"the new layers would have more than {_LONGEST_LAYER >> 20} MiB"
        self.length += length
        return ""

    def _carry_out(self, wanted: Plan, above: dict[str, Node]) -> None:
        directory = posixpath.dirname(wanted.path)
        site_packages = (self._tree.real(directory) or directory).lstrip("/")
        target = posixpath.join(site_packages, wanted.directory)
        if wanted.directory != wanted.own:
            self._whiteouts.add(posixpath.join(site_packages, _WHITEOUT + wanted.own))
            self._copies.update(_below(above[wanted.own], target))
            # A killed run on a disk has left it.
            if wanted.record and wanted.record.is_unfinished:
                self._copies.pop(f"{target}/{record.UNFINISHED}", None)
            building = wanted.directory + plan.BUILDING
            if building in above and wanted.record and building in wanted.record.directories:
                self._whiteouts.add(posixpath.join(site_packages, _WHITEOUT + building))
        written = {"RECORD": wanted.new_record()}
        if wanted.original:
            written[plan.ORIGINAL] = f"{wanted.original}\n".encode()
        listed = self._tree.file(f"{wanted.path}/RECORD")
        assert listed is not None  # noqa: S101  # otherwise it is an obstacle
        for name, content in written.items():
            self._copies[f"{target}/{name}"] = listed
            self._contents[f"{target}/{name}"] = content
        while target := posixpath.dirname(target):
            node = self._tree.node(f"/{target}")
            if node is not None:
                self._copies[target] = node

    def content(self) -> bytes:
        """Return the layer as a tar, always the same for the same image. Raise `ImageError`."""
        entries = self._entries()
        file = io.BytesIO()
        add = functools.partial(tarfile.open, fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
        with add(encoding="utf-8", errors="surrogateescape") as archive:
            # A directory comes before what is in it, and a whiteout before its neighbours.
            for name in sorted({*self._whiteouts, *self._copies}, key=lambda name: name.split("/")):
                header, content = self._made(name, entries)
                header.name = name
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
        return file.getvalue()

    def _entries(self) -> dict[Key, tuple[Header, bytes]]:
        """Return the headers and contents of what is copied; read again what was not kept."""
        found: dict[Key, tuple[Header, bytes]] = {}
        lacking: set[Key] = set()
        for entry in filter(None, map(_entry, self._copies.values())):
            content = entry.content or b""
            if entry.header is None or len(content) < entry.size:
                lacking.add(entry[:2])
            else:
                found[entry[:2]] = entry.header, content
        for key, header, archive in self._tree.entries(lacking):
            found[key] = header, archive.content(header, _LIMIT)
            self._tree.budget.keep(len(found[key][1]), archive.name)
        return found

    def _made(
        self, name: str, entries: Mapping[Key, tuple[Header, bytes]]
    ) -> tuple[tarfile.TarInfo, bytes]:
        node = self._copies.get(name)
        entry = None if node is None else _entry(node)
        if entry is None:
            header = tarfile.TarInfo()
            header.mtime = self._moment
            if node is not None:  # a directory that no layer describes
                header.type, header.mode = tarfile.DIRTYPE, 0o755
            return header, b""
        kept, content = entries[entry[:2]]
        header = _copied(kept)
        if entry.kind in {FILE, LINK}:
            header.linkname = entry.target
            if entry.kind == FILE:  # it may be the target of a link
                header.type = tarfile.REGTYPE
        return header, self._contents.get(name, content)


def _copied(header: Header) -> tarfile.TarInfo:
    try:
        copy = tarfile.TarInfo.frombuf(header.block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ImageError(f"{shown(header.name)} has a damaged header: {error}") from None
    fields = header.fields.items()
    copy.pax_headers = {key: value for key, value in fields if not _OF_ONE_ENTRY.fullmatch(key)}
    return copy


def _is_empty(node: Node) -> bool:
    return isinstance(node, Directory) and not node.children


def _below(node: Node, name: str) -> Iterator[tuple[str, Node]]:
    waiting = [(name, node)]
    while waiting:
        name, node = waiting.pop()
        yield name, node
        if isinstance(node, Directory):
            waiting.extend((f"{name}/{own}", child) for own, child in node.children.items())


def _entry(node: Node) -> Entry | None:
    return node.entry if isinstance(node, Directory) else node
