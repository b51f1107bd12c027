"""The union of an image's layers: its directories, as a container has them.

Whiteouts, opaque directories, hard and symbolic links work across layers as in a container (OCI
Image Format Specification, "Applying Changesets"). Nothing is unpacked or written.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from uvshim.environments.tree import LinksError, follow
from uvshim.errors import ImageError
from uvshim.images.layer import tar
from uvshim.images.layer.changes import FILE, FOLDER, HARD_LINK, LINK, OPAQUE, WHITEOUT, Entry
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from uvshim.images.layer.changes import Changes

    Node: TypeAlias = "Entry | Directory"

# How many parts of paths are looked up in one layer, or in one tree. Real images need a few hundred
# thousand; long paths through long links could take hours.
_MOST_STEPS = 30_000_000


class Directory:
    """A directory in the layers that are united so far.

    Several images may share it, so it is copied before it is changed.
    """

    __slots__ = ("children", "layer", "number")

    def __init__(self, children: dict[str, Node], layer: str | None, number: int) -> None:
        """Hold `children`; `layer` and `number` name the entry that describes it, if any does."""
        self.children = children
        self.layer = layer
        self.number = number

    def copy(self) -> Directory:
        """Return a directory that can be changed."""
        return Directory(self.children.copy(), self.layer, self.number)


def unite(changed: Iterable[Changes], below: Directory | None = None) -> Directory:
    """Return the root after the layers `changed`, the lowest first, are applied to `below`.

    `below` itself, the root of the layers under them, is not changed. Raise `ImageError`.
    """
    root = below or Directory({}, None, 0)
    for each in changed:
        root = _Application(root, each).root
    return root


class _Application:
    """One layer, applied to those below it in the order of its entries.

    A whiteout removes only what lower layers have: what its own layer adds under the same name
    stays, before or after it (OCI layer specification, "Whiteouts").
    A directory is copied when it is changed for the first time.
    """

    def __init__(self, below: Directory, changed: Changes) -> None:
        self.root = below.copy()
        self._own = {id(self.root)}
        self._name = tar.called(changed.identity)
        self._steps = Steps(self._name)
        self._added: set[tuple[str, ...]] | None = {()} if changed.removes else None
        self._cleared: set[tuple[str, ...]] = set()
        for directory, entries in changed.groups:
            place = self._directory(directory, only_removed=all(map(_removes, entries)))
            if place is not None:
                for name, entry in entries:
                    if entry.kind == FILE and name and self._added is None:  # nearly always
                        place[0].children[name] = entry
                    else:
                        self._apply(*place, name, entry)

    def _apply(self, directory: Directory, path: tuple[str, ...], name: str, entry: Entry) -> None:
        """Change `name` in `directory`, whose path is `path`, as `entry` says."""
        if entry.kind == WHITEOUT:
            self._remove(directory, (*path, name))
        elif entry.kind == OPAQUE:
            if path not in self._cleared:
                self._cleared.add(path)
                for each in list(directory.children):
                    self._remove(directory, (*path, each))
        elif name:
            if self._added is not None:
                self._added.add((*path, name))
                while path not in self._added:
                    self._added.add(path)
                    path = path[:-1]
            self._add(directory, name, entry)
        elif entry.kind == FOLDER:
            self.root.layer, self.root.number = entry[:2]

    def _add(self, directory: Directory, name: str, entry: Entry) -> None:
        """Add `entry`, which is not a whiteout, to `directory` as `name`."""
        if entry.kind == FOLDER:
            found = directory.children.get(name)
            if isinstance(found, Directory):
                found = self._changeable(directory, name, found)
            else:
                found = directory.children[name] = self._new()
            found.layer, found.number = entry[:2]
        elif entry.kind == HARD_LINK:
            target = self._linked(entry.target)
            if target is None:
                message = f"{self._name} has a hard link to a missing file: {shown(entry.target)}"
                raise ImageError(message)
            directory.children[name] = target
        else:
            directory.children[name] = entry

    def _remove(self, directory: Directory, path: tuple[str, ...]) -> None:
        """Remove what `directory` has at `path`, except what this layer added."""
        waiting = [(directory, path)]
        while waiting:
            directory, path = waiting.pop()
            found = directory.children.get(path[-1])
            if path not in (self._added or ()):
                directory.children.pop(path[-1], None)
            elif isinstance(found, Directory) and path not in self._cleared:
                self._cleared.add(path)
                found = self._changeable(directory, path[-1], found)
                waiting.extend((found, (*path, name)) for name in found.children)

    def _linked(self, path: str) -> Node | None:
        """Return the target of a hard link to `path`, whose last part is not followed."""
        above, name = posixpath.split(path)
        place = self._directory(above, only_removed=True)
        found = place[0].children.get(name) if place else None
        return None if isinstance(found, Directory) else found

    def _directory(
        self, path: str, *, only_removed: bool
    ) -> tuple[Directory, tuple[str, ...]] | None:
        """Return the directory at `path`, ready to be changed, and its path without links.

        Missing directories are created; with `only_removed`, None is returned instead.
        """

        def step(above: Directory, name: str) -> tuple[Directory | None, str | None]:
            found = above.children.get(name)
            if isinstance(found, Directory):
                return self._changeable(above, name, found), None
            if found is not None and found.kind == LINK:
                return None, found.target
            if only_removed:
                return None, None
            made = above.children[name] = self._new()
            return made, None

        try:
            found = follow(path, self.root, step, self._steps.of)
        except LinksError:
            message = f"{self._name} has a path through a loop of links: {shown(path)}"
            raise ImageError(message) from None
        return found and (found[0], tuple(found[1]))

    def _new(self) -> Directory:
        """Return a directory that no entry describes."""
        directory = Directory({}, None, 0)
        self._own.add(id(directory))
        return directory

    def _changeable(self, above: Directory, name: str, found: Directory) -> Directory:
        """Return the directory `found`, called `name` in `above`, ready to be changed."""
        if id(found) not in self._own:
            found = found.copy()
            self._own.add(id(found))
            above.children[name] = found
        return found


def _removes(change: tuple[str, Entry]) -> bool:
    return change[1].kind in {WHITEOUT, OPAQUE}


class Steps:
    """Counts the parts of paths that are looked up, up to a limit."""

    def __init__(self, name: str) -> None:
        """Begin at 0; errors call the layer or image `name`."""
        self._name = name
        self._left = _MOST_STEPS

    def of(self, path: str) -> list[str]:
        """Return the parts of `path`, the last one first. Raise `ImageError` at the limit."""
        parts = path.split("/")
        parts.reverse()
        self._left -= len(parts)
        if self._left < 0:
            message = f"{self._name} has too many long paths and links"
            raise ImageError(message)
        return parts
