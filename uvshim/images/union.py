"""The union of an image's layers: its directories, as a container has them.

Whiteouts, opaque directories, hard and symbolic links work across layers as in a container (OCI
Image Format Specification, "Applying Changesets"). Nothing is unpacked or written.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from uvshim.environments.tree import LinksError, follow
from uvshim.errors import ImageError
from uvshim.images.budget import DIRECTORY, NAME
from uvshim.images.layer import tar
from uvshim.images.layer.changes import OPAQUE, WHITEOUT, Entry
from uvshim.images.layer.header import FILE, FOLDER, HARD_LINK, LINK
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from uvshim.images.budget import Budget
    from uvshim.images.layer.changes import Changes

    Node: TypeAlias = "Entry | Directory"


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


def unite(changed: Iterable[Changes], budget: Budget, below: Directory | None = None) -> Directory:
    """Return the root after the layers `changed`, the lowest first, are applied to `below`.

    `below` itself, the root of the layers under them, is not changed. `budget` pays for the new
    directories. Raise `ImageError`.
    """
    root = below or Directory({}, None, 0)
    for each in changed:
        root = _Application(root, each, budget).root
    return root


class _Mark:
    """What the layer that is applied has done at one path, and below it."""

    __slots__ = ("added", "below", "cleared")

    def __init__(self) -> None:
        self.added = False
        self.cleared = False
        self.below: dict[str, _Mark] = {}


class _Application:
    """One layer, applied to those below it in the order of its entries.

    A whiteout removes only what lower layers have: what its own layer adds under the same name
    stays, before or after it (OCI layer specification, "Whiteouts").
    A directory is copied when it is changed for the first time.
    """

    def __init__(self, below: Directory, changed: Changes, budget: Budget) -> None:
        self._budget = budget
        self._name = tar.called(changed.identity)
        self.root = self._copied(below)
        self._own = {id(self.root)}
        self._marks = _Mark()
        for directory, entries in changed.groups:
            budget.look_up(len(entries), self._name)  # a layer may be listed often
            place = self._directory(directory, only_removed=all(map(_removes, entries)))
            if place is None:
                continue
            found, path = place
            mark = self._mark(path, entries) if changed.removes else None
            for name, entry in entries:
                if entry.kind == FILE and name and mark is None:  # nearly always
                    found.children[name] = entry
                else:
                    self._apply(found, mark, name, entry)

    def _mark(self, path: list[str], entries: list[tuple[str, Entry]]) -> _Mark:
        """Return the mark at `path`; if one of `entries` adds something there, so is the path."""
        adds = any(name and not _removes((name, entry)) for name, entry in entries)
        mark = self._marks
        for name in path:
            mark = self._below(mark, name)
            mark.added |= adds
        return mark

    def _below(self, mark: _Mark, name: str) -> _Mark:
        """Return the mark for `name` below `mark`."""
        if name not in mark.below:
            self._budget.keep(DIRECTORY, self._name)
            mark.below[name] = _Mark()
        return mark.below[name]

    def _apply(self, directory: Directory, mark: _Mark | None, name: str, entry: Entry) -> None:
        """Change `name` in `directory`, which has `mark` if anything is removed, by `entry`."""
        if mark is not None and entry.kind == WHITEOUT:
            self._remove(directory, mark, [name])
        elif mark is not None and entry.kind == OPAQUE:
            if not mark.cleared:
                mark.cleared = True
                self._remove(directory, mark, list(directory.children))
        elif name:
            if mark is not None:
                self._below(mark, name).added = True
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
                raise ImageError(
                    f"{self._name} has a hard link to a missing file: {shown(entry.target)}"
                )
            directory.children[name] = target
        else:
            directory.children[name] = entry

    def _remove(self, directory: Directory, mark: _Mark, names: list[str]) -> None:
        """Remove `names` from `directory`, which has `mark`, except what this layer added."""
        waiting = [(directory, mark, names)]
        while waiting:
            directory, mark, names = waiting.pop()
            for name in names:
                own = mark.below.get(name)
                found = directory.children.get(name)
                if own is None or not own.added:
                    directory.children.pop(name, None)
                elif isinstance(found, Directory) and not own.cleared:
                    own.cleared = True
                    found = self._changeable(directory, name, found)
                    waiting.append((found, own, list(found.children)))

    def _linked(self, path: str) -> Node | None:
        """Return the target of a hard link to `path`, whose last part is not followed."""
        above, name = posixpath.split(path)
        place = self._directory(above, only_removed=True)
        found = place[0].children.get(name) if place else None
        return None if isinstance(found, Directory) else found

    def _directory(self, path: str, *, only_removed: bool) -> tuple[Directory, list[str]] | None:
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
            return follow(path, self.root, step, self._parts)
        except LinksError:
            raise ImageError(
                f"{self._name} has a path through a loop of links: {shown(path)}"
            ) from None

    def _parts(self, path: str) -> list[str]:
        return parts(path, self._budget, self._name)

    def _new(self) -> Directory:
        """Return a directory that no entry describes."""
        self._budget.keep(DIRECTORY, self._name)
        directory = Directory({}, None, 0)
        self._own.add(id(directory))
        return directory

    def _changeable(self, above: Directory, name: str, found: Directory) -> Directory:
        """Return the directory `found`, called `name` in `above`, ready to be changed."""
        if id(found) not in self._own:
            found = self._copied(found)
            self._own.add(id(found))
            above.children[name] = found
        return found

    def _copied(self, found: Directory) -> Directory:
        """Return a directory like `found` that can be changed."""
        self._budget.keep(DIRECTORY + NAME * len(found.children), self._name)
        return Directory(found.children.copy(), found.layer, found.number)


def _removes(change: tuple[str, Entry]) -> bool:
    return change[1].kind in {WHITEOUT, OPAQUE}


def parts(path: str, budget: Budget, where: str) -> list[str]:
    """Return the parts of `path`, the last one first, for which `budget` pays."""
    found = path.split("/")
    found.reverse()
    budget.look_up(len(found), where)
    return found
