"""The union of an image's layers: its directories, as a container has them.

Whiteouts, opaque directories, hard and symbolic links work across layers as in a container (OCI
Image Format Specification, "Applying Changesets"). Nothing is unpacked or written.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, TypeAlias

from uvshim.environments.tree import LinksError, follow
from uvshim.errors import ImageError
from uvshim.images.budget import DIRECTORY, NAME, Budget
from uvshim.images.layer import tar
from uvshim.images.layer.header import FILE, FOLDER, HARD_LINK, LINK
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvshim.images.layer.changes import Changes, Entry, Group


Node: TypeAlias = "Entry | Directory"


class Directory:
    """A directory in the layers that are united so far.

    Several images may share it, so it is copied before it is changed.
    """

    __slots__ = ("children", "entry")

    def __init__(self, children: dict[str, Node], entry: Entry | None = None) -> None:
        """Hold `children`, and the `entry` that describes it, if any does."""
        self.children = children
        self.entry = entry


def unite(changed: Iterable[Changes], budget: Budget, below: Directory | None = None) -> Directory:
    """Return the root after the layers `changed`, the lowest first, are applied to `below`.

    `below` itself, the root of the layers under them, is not changed. `budget` pays for the new
    directories. Raise `ImageError`.
    """
    root = below or Directory({})
    for each in changed:
        root = _Application(root, each, budget).root
    return root


class _Application:
    """One layer, applied to those below it: first what it hides, then what it adds.

    So a whiteout removes only what lower layers have (OCI layer specification, "Whiteouts").
    A directory is copied when it is changed for the first time.
    """

    def __init__(self, below: Directory, changed: Changes, budget: Budget) -> None:
        self._budget = budget
        self._name = tar.called(changed.identity)
        self.root = self._copied(below)
        self._own = {id(self.root)}
        replaced = self._replaced(changed.groups) if changed.hidden else set()
        for path, hidden in changed.hidden:
            if not (replaced and self._is_below(path, replaced)):
                self._hide(path, hidden)
        for path, entries in changed.groups:
            budget.look_up(len(entries), self._name)  # a layer may be listed often
            if not entries:
                continue
            directory = self._directory(path) or self.root  # never missing: it is created
            for name, entry in entries:
                if entry.kind == FILE and name:  # nearly always
                    directory.children[name] = entry
                else:
                    self._add(directory, name, entry)

    def _replaced(self, groups: Iterable[Group]) -> set[str]:
        """Return the paths of lower links in whose place the layer has a directory.

        What it hides in such a directory is not what the link leads to.
        """
        found: set[str] = set()
        for path, entries in groups:
            self._budget.look_up(len(entries), self._name)
            if found and self._is_below(path, found):
                continue
            folders = [name for name, entry in entries if name and entry.kind == FOLDER]
            if folders and (above := self._directory(path, create=False)):
                for name in folders:
                    if not isinstance(above.children.get(name, above), Directory):
                        found.add(posixpath.join(path, name))
        return found

    def _is_below(self, path: str, others: set[str]) -> bool:
        self._budget.look_up((path.count("/") + 1) ** 2, self._name)
        while path and path not in others:
            path = path.rpartition("/")[0]
        return bool(path)

    def _hide(self, path: str, name: str | None) -> None:
        if directory := self._directory(path, create=False):
            if name is None:
                directory.children.clear()
            else:
                directory.children.pop(name, None)

    def _add(self, directory: Directory, name: str, entry: Entry) -> None:
        if entry.kind == FOLDER:
            found = directory.children.get(name) if name else self.root
            if isinstance(found, Directory):
                found = self._changeable(directory, name, found)
            else:
                found = directory.children[name] = self._new()
            found.entry = entry
        elif not name:  # the root is a directory
            return
        elif entry.kind == HARD_LINK:
            target = self._linked(entry.target)
            if target is None:
                raise ImageError(
                    f"{self._name} has a hard link to a missing file: {shown(entry.target)}"
                )
            directory.children[name] = target
        else:
            directory.children[name] = entry

    def _linked(self, path: str) -> Node | None:
        """Return the target of a hard link to `path`, whose last part is not followed."""
        above, name = posixpath.split(path)
        place = self._directory(above, create=False)
        found = place.children.get(name) if place else None
        return None if isinstance(found, Directory) else found

    def _directory(self, path: str, *, create: bool = True) -> Directory | None:
        """Return the directory at `path`, ready to be changed.

        Missing directories are created, or else None is returned.
        """

        def step(above: Directory, name: str) -> tuple[Directory | None, str | None]:
            found = above.children.get(name)
            if isinstance(found, Directory):
                return self._changeable(above, name, found), None
            if found is not None and found.kind == LINK:
                return None, found.target
            if not create:
                return None, None
            made = above.children[name] = self._new()
            return made, None

        try:
            found = follow(path, self.root, step, lambda path: self._budget.parts(path, self._name))
        except LinksError:
            raise ImageError(
                f"{self._name} has a path through a loop of links: {shown(path)}"
            ) from None
        return found and found[0]

    def _new(self) -> Directory:
        """Return a directory that no entry describes."""
        self._budget.keep(DIRECTORY, self._name)
        directory = Directory({})
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
        self._budget.keep(DIRECTORY + NAME * len(found.children), self._name)
        return Directory(found.children.copy(), found.entry)
