"""What `uvshim fix` does in one image: the plans of all its environments, and the layer they make.

The layer has a whiteout of each old dist-info directory, and the new one, complete. The directories
above are in it as they are below: umoci leaves a directory that a layer does not describe as it
was, but buildah and podman give it to root, with the mode 755. There is nothing else in it.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
import time
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check import spelling
from uvshim.check.diagnosis import diagnose
from uvshim.check.report import Report
from uvshim.environments import discovery
from uvshim.images import changes, layout, materials, view
from uvshim.images.changes import File, Link
from uvshim.images.layers import Directory
from uvshim.images.materials import Material, Materials
from uvshim.rename import names, plan, record
from uvshim.rename.on_disk import LeftAlone, Outcome, Renamed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from uvshim.check.report import Gate
    from uvshim.environments.environment import Environment
    from uvshim.images.layers import Node
    from uvshim.images.layout import Image
    from uvshim.images.materials import Key
    from uvshim.images.view import ImageTree
    from uvshim.rename.plan import Plan

_WHITEOUT = ".wh."


class Repair(NamedTuple):
    """What was done in one image, or would be."""

    layer: bytes
    """The new layer as a tar; empty, if nothing had to be renamed."""
    environments: list[tuple[Outcome, Report]]
    """Of each environment, what was done and what is found out about it with the new layer."""

    @property
    def renamed(self) -> list[Renamed]:
        """All distributions whose directory was renamed, or whose RECORD was corrected."""
        return [each for outcome, _ in self.environments for each in outcome.renamed]


def repair(image: Image, gate: Gate, moment: int) -> Repair:
    """Rename in `image` what `uvshim fix` would rename in its unpacked root.

    Nothing is done with what `gate` excludes. `moment`, in seconds since 1970, is the time of what
    has none, such as a whiteout. Raises `ImageError`.
    """
    begin = time.monotonic()
    kept = Materials()
    tree = view.of(image.layers, [changes.read(layer, kept) for layer in image.layers])
    building = _Building(tree, kept, moment)
    seen: set[str | None] = set()
    environments = list(discovery.in_image(tree))
    outcomes = [_carry_out(found, gate, building, seen) for found in environments]
    content = b""
    if any(outcome.renamed for outcome in outcomes):
        content = building.content(image)
        tree = tree.with_layer(changes.read(layout.in_memory(content)))
    seconds = time.monotonic() - begin
    done = [
        (outcome._replace(seconds=seconds), _report(found.in_tree(tree), gate, image))
        for outcome, found in zip(outcomes, environments, strict=True)
    ]
    return Repair(content, done)


def _carry_out(
    found: Environment, gate: Gate, building: _Building, seen: set[str | None]
) -> Outcome:
    """Rename what is to be renamed in `found`, in none of the directories that were `seen`."""
    renamed: dict[str, Renamed] = {}
    left_alone = []
    in_use = spelling.in_use(found.tree, found.visible)
    for directory in found.own:
        if (real := found.tree.real(directory)) in seen:
            continue
        seen.add(real)
        for each in _plans(building.tree, directory, gate.excludes, in_use):
            if isinstance(each, LeftAlone):
                left_alone.append(each)
                continue
            building.carry_out(each)
            renamed[each.destination] = Renamed(
                each.name, each.version, each.path, each.destination
            )
    return Outcome(list(renamed.values()), left_alone)


def _report(found: Environment, gate: Gate, image: Image) -> Report:
    """Return what is found out about `found`, as `uvshim fix` looks at it."""
    diagnosis = diagnose(found.tree, found.site_packages, excluded=gate.excludes)
    return Report(found, diagnosis, gate, image.reference, image.digest, image.platform)


# --- the plans ------------------------------------------------------------------------------------


class _Meanwhile:
    """A tree in which some directories have been renamed. Only their names are known to it."""

    def __init__(self, tree: ImageTree, directory: str) -> None:
        """Take the names in `directory` as they are in `tree`."""
        self._tree = tree
        self._directory = directory
        self.standing = set(tree.names(directory))

    def names(self, directory: str) -> tuple[str, ...]:
        return tuple(self.standing) if directory == self._directory else self._tree.names(directory)

    def is_directory(self, path: str) -> bool:
        return self._tree.is_directory(path)

    def is_file(self, path: str) -> bool:
        return self._tree.is_file(path)

    def read(self, path: str, limit: int) -> bytes | None:
        return self._tree.read(path, limit)


def _plans(
    tree: ImageTree, directory: str, excluded: Callable[[str], bool], in_use: Collection[str]
) -> Iterator[Plan | LeftAlone]:
    """Yield what is to be done with the dist-info directories in `directory`, or why it cannot be.

    They are renamed one after the other, as on a disk: each plan is made with those before done.
    """
    meanwhile = _Meanwhile(tree, directory)
    for own in sorted(meanwhile.standing):
        if not own.endswith(names.SUFFIX) or own[0] == "~":  # which pip has put aside
            continue
        path = posixpath.join(directory, own)
        try:
            wanted = plan.make(meanwhile, path, lambda name: not excluded(name), in_use=in_use)
        except names.MetadataError as error:
            if not plan.is_beyond_doubt(own):
                yield LeftAlone(path, str(error))
            continue
        if wanted is None or not wanted.wrong:
            continue
        if obstacle := _obstacle(tree, wanted, meanwhile.standing):
            yield LeftAlone(path, obstacle)
            continue
        meanwhile.standing.discard(own)
        meanwhile.standing.add(wanted.directory)
        yield wanted


def _obstacle(tree: ImageTree, wanted: Plan, standing: set[str]) -> str:
    """Return what forbids the plan `wanted`, as a clause; empty, if nothing does."""
    if wanted.obstacle:
        return wanted.obstacle
    if isinstance(_children(tree, posixpath.dirname(wanted.path))[wanted.own], Link):
        return "it is a symbolic link"
    if wanted.directory != wanted.own and wanted.directory in standing:
        return f"`{wanted.directory}` stands beside it already"
    listed = tree.node(f"{wanted.path}/RECORD")
    content = tree.read(f"{wanted.path}/RECORD", materials.LIMIT)
    if not isinstance(listed, File) or content is None or len(content) < listed.size:
        return "its RECORD is too long"
    if any(
        isinstance(node, File) and node.size > materials.LIMIT
        for _, node in _below(tree.node(wanted.path), "")
    ):
        return "it has a file that is too long"
    return ""


def _children(tree: ImageTree, directory: str) -> dict[str, Node]:
    found = tree.node(directory)
    return found.children if isinstance(found, Directory) else {}


def _below(node: Node | None, name: str) -> Iterator[tuple[str, Node]]:
    """Yield `node`, which is called `name`, and all that is in it, with their paths."""
    if node is not None:
        yield name, node
    if isinstance(node, Directory):
        for own, child in node.children.items():
            yield from _below(child, f"{name}/{own}")


# --- the layer ------------------------------------------------------------------------------------


class _Building:
    """A layer in the making: what lies below, under new names."""

    def __init__(self, tree: ImageTree, kept: Materials, moment: int) -> None:
        self.tree = tree
        self._kept = kept
        self._moment = moment
        self._whiteouts: set[str] = set()
        self._copies: dict[str, Node] = {}
        self._contents: dict[str, bytes] = {}

    def carry_out(self, wanted: Plan) -> None:
        """Add what the plan `wanted` changes."""
        directory = posixpath.dirname(wanted.path)
        site_packages = (self.tree.real(directory) or directory).lstrip("/")
        target = posixpath.join(site_packages, wanted.directory)
        above = _children(self.tree, directory)
        if wanted.directory != wanted.own:
            self._whiteouts.add(posixpath.join(site_packages, _WHITEOUT + wanted.own))
            self._copies.update(_below(above[wanted.own], target))
            # What a run that was killed has left, as in `on_disk`.
            self._copies.pop(f"{target}/{record.UNFINISHED}", None)
            if wanted.directory + plan.BUILDING in above:
                self._whiteouts.add(
                    posixpath.join(site_packages, _WHITEOUT + wanted.directory + plan.BUILDING)
                )
        listed = self.tree.node(f"{wanted.path}/RECORD")
        assert isinstance(listed, File)  # noqa: S101  # or it would have been an obstacle
        self._copies[f"{target}/RECORD"] = listed
        self._contents[f"{target}/RECORD"] = record.render(wanted.afterwards().listed)
        while target := posixpath.dirname(target):
            node = self.tree.node(f"/{target}")
            if node is not None:
                self._copies[target] = node

    def content(self, image: Image) -> bytes:
        """Return the layer as a tar, the same one for the same image. Raises `ImageError`."""
        self._kept.fetch(filter(None, map(_key, self._copies.values())), image.layers)
        file = io.BytesIO()
        with tarfile.open(
            fileobj=file,
            mode="w",
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            # A directory comes before what is in it, and a whiteout before what lies beside it.
            for name in sorted({*self._whiteouts, *self._copies}, key=lambda name: name.split("/")):
                header, content = self._entry(name)
                header.name = name
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
        return file.getvalue()

    def _entry(self, name: str) -> Material:
        """Return the header and the content of what is called `name` in the layer."""
        node = self._copies.get(name)
        key = None if node is None else _key(node)
        if node is None or key is None:
            header = tarfile.TarInfo()
            header.mtime = self._moment
            if node is not None:  # a directory that no layer describes
                header.type, header.mode = tarfile.DIRTYPE, 0o755
            return Material(header, b"")
        header, content = self._kept.get(key)
        if isinstance(node, File):
            header.type, header.linkname = tarfile.REGTYPE, ""
        elif isinstance(node, Link):
            header.linkname = node.target
        return Material(header, self._contents.get(name, content))


def _key(node: Node) -> Key | None:
    """Return which entry of which layer describes `node`; None, if none does."""
    return None if node.layer is None else (node.layer, node.number)
