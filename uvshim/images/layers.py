"""The layers of an image put together: a tree that is read as a container would see it.

Whiteouts, opaque directories, hard and symbolic links act across layers as they do there (OCI
Image Format Specification, "Applying Changesets"). Nothing is unpacked or written.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from uvshim.errors import ImageError
from uvshim.images import changes, tar
from uvshim.images.changes import File, Folder, HardLink, Link, Whiteout
from uvshim.rename.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    from uvshim.images.changes import Changes, Entry, Special
    from uvshim.images.layout import Layer

    Node: TypeAlias = "File | Link | Special | Directory"

    # By the identity of the layer, and the number of the entry in it.
    Contents: TypeAlias = dict[tuple[str, int], bytes]

# As in the Linux kernel: the most symbolic links on the way to one file.
_MOST_LINKS = 40

# How many parts of paths are looked up in one layer, or in one tree. Real images take some hundred
# thousand; long paths through long links could take for ever.
_MOST_STEPS = 30_000_000


# How much is noted of what a tree was asked, and how many places are known in it. Real images take
# some thousand, and some hundred.
_MOST_NOTED = 100_000
_MOST_PLACES = 10_000


class Directory:
    """A directory in the layers that were put together so far.

    It may be a part of several images: whoever changes it makes a copy of it first.
    """

    __slots__ = ("children", "layer", "number")

    def __init__(self, children: dict[str, Node], layer: str | None, number: int) -> None:
        """Hold `children`; `layer` and `number` say which entry describes it, if any does."""
        self.children = children
        self.layer = layer
        self.number = number

    def copy(self) -> Directory:
        """Return a directory that can be changed."""
        return Directory(self.children.copy(), self.layer, self.number)


def tree(
    layers: Sequence[Layer], changed: Sequence[Changes], root: Directory | None = None
) -> ImageTree:
    """Return the tree that `layers` are, of each of which `changed` has what it changes.

    `root` is what `put_together` returns for these, if that is known already.
    Where a link leads to a file that nobody would have asked for by its own name, its layer is
    read once more. Raises `ImageError`.
    """
    root = root or put_together(changed)
    bare = ImageTree(root)
    lacking: dict[str, dict[int, int]] = {}
    for each in changed:
        for path, limit in each.wanted_links:
            found = bare.node(path)
            if isinstance(found, File) and found.content is None:
                limits = lacking.setdefault(found.layer, {})
                limits[found.number] = max(limit, limits.get(found.number, 0))
    contents: Contents = {}
    for layer in layers:
        if limits := lacking.pop(layer.identity or "", {}):
            for number, _, content in changes.entries(layer, limits):
                contents[layer.identity or "", number] = content
            if sum(map(len, contents.values())) > changes.KEPT_LIMIT:
                message = "it has too much metadata of distributions behind links"
                raise ImageError(message)
    return ImageTree(root, contents, layers)


def put_together(changed: Iterable[Changes], below: Directory | None = None) -> Directory:
    """Return the root of what layers with these changes, the lowest first, make of `below`.

    `below` itself, the root of the layers under them, stays as it is. Raises `ImageError`.
    """
    root = below or Directory({}, None, 0)
    for each in changed:
        root = _Application(root, each).root
    return root


class _Application:
    """One layer, put on those below it, in the order of its entries.

    What a whiteout removes is only what was there before: where the same layer adds the same
    name, that stays, wherever in the layer it stands (OCI layer specification, "Whiteouts").
    A directory is copied when it is changed for the first time.
    """

    def __init__(self, below: Directory, changed: Changes) -> None:
        self.root = below.copy()
        self._own = {id(self.root)}
        self._name = tar.called(changed.identity)
        self._steps = _Steps(self._name)
        self._added: set[tuple[str, ...]] | None = {()} if changed.removes else None
        self._cleared: set[tuple[str, ...]] = set()
        for directory, entries in changed.groups:
            place = self._directory(directory, only_removed=all(map(_removes, entries)))
            if place is not None:
                for name, entry in entries:
                    if type(entry) is File and name and self._added is None:  # nearly all
                        place[0].children[name] = entry
                    else:
                        self._apply(*place, name, entry)

    def _apply(self, directory: Directory, path: tuple[str, ...], name: str, entry: Entry) -> None:
        """Change `name` in `directory`, which lies at `path`, as `entry` says."""
        if isinstance(entry, Whiteout):
            if entry.opaque and path not in self._cleared:
                self._cleared.add(path)
                for each in list(directory.children):
                    self._remove(directory, (*path, each))
            elif not entry.opaque:
                self._remove(directory, (*path, name))
        elif name:
            if self._added is not None:
                self._added.add((*path, name))
                while path not in self._added:
                    self._added.add(path)
                    path = path[:-1]
            self._add(directory, name, entry)
        elif isinstance(entry, Folder):
            self.root.layer, self.root.number = entry

    def _add(self, directory: Directory, name: str, entry: Entry) -> None:
        """Put `entry`, which is not a whiteout, into `directory` as `name`."""
        if isinstance(entry, Folder):
            found = directory.children.get(name)
            if isinstance(found, Directory):
                found = self._changeable(directory, name, found)
            else:
                found = directory.children[name] = self._new()
            found.layer, found.number = entry
        elif isinstance(entry, HardLink):
            target = self._linked(entry.target)
            if target is None:
                message = f"{self._name} has a hard link to nothing: {shown(entry.target)}"
                raise ImageError(message)
            directory.children[name] = target
        elif not isinstance(entry, Whiteout):
            directory.children[name] = entry

    def _remove(self, directory: Directory, path: tuple[str, ...]) -> None:
        """Remove what `directory` has at `path`, as far as this layer did not add it."""
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
        """Return the file that a hard link to `path` means: the last part is not followed."""
        above, name = posixpath.split(path)
        place = self._directory(above, only_removed=True)
        found = place[0].children.get(name) if place else None
        return None if isinstance(found, Directory) else found

    def _directory(
        self, path: str, *, only_removed: bool
    ) -> tuple[Directory, tuple[str, ...]] | None:
        """Return the directory at `path`, which may be changed, and its path without links.

        What is missing on the way is made; with `only_removed`, None is returned instead.
        """
        here = [self.root]
        names: list[str] = []
        waiting = self._steps.of(path)
        links = 0
        while waiting:
            name = waiting.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                del names[-1:]
                del here[len(names) + 1 :]
                continue
            found = here[-1].children.get(name)
            if isinstance(found, Link):
                links += 1
                if links > _MOST_LINKS:
                    message = f"{self._name} has something below a circle of links: {shown(path)}"
                    raise ImageError(message)
                if found.target.startswith("/"):
                    del here[1:]
                    names.clear()
                waiting += self._steps.of(found.target)
                continue
            if isinstance(found, Directory):
                found = self._changeable(here[-1], name, found)
            elif only_removed:
                return None
            else:
                found = here[-1].children[name] = self._new()
            here.append(found)
            names.append(name)
        return here[-1], tuple(names)

    def _new(self) -> Directory:
        """Return a directory that nothing was said of."""
        directory = Directory({}, None, 0)
        self._own.add(id(directory))
        return directory

    def _changeable(self, above: Directory, name: str, found: Directory) -> Directory:
        """Return the directory `found`, which is `name` in `above`, to be changed."""
        if id(found) not in self._own:
            found = found.copy()
            self._own.add(id(found))
            above.children[name] = found
        return found


def _removes(change: tuple[str, Entry]) -> bool:
    return isinstance(change[1], Whiteout)


class _Steps:
    """The parts of the paths that are looked up, and a limit to how many these may be."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = _MOST_STEPS

    def of(self, path: str) -> list[str]:
        """Return the parts of `path`, the last one first. Raises `ImageError` at the limit."""
        parts = path.split("/")
        parts.reverse()
        self._left -= len(parts)
        if self._left < 0:
            message = f"{self._name} has too many long paths and links"
            raise ImageError(message)
        return parts


class Seen:
    """What was looked at in one directory, and below it: the names that were asked for."""

    __slots__ = ("below", "listed", "walked")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.below: dict[str, Seen] = {}
        self.listed = False
        """Whether the names in it were asked for."""
        self.walked = False
        """Whether the directories in it were asked for."""

    def same(self, before: Directory, now: Directory) -> bool:
        """Say whether whoever has seen this in the root `before` would see the same in `now`.

        Paths are those without links: a link leads to what was seen elsewhere. So nothing has to be
        looked at below a directory that is one and the same in both.
        """
        waiting: list[tuple[Seen, Node | None, Node | None]] = [(self, before, now)]
        while waiting:
            seen, old, new = waiting.pop()
            if old is new:
                continue
            if not isinstance(old, Directory) or not isinstance(new, Directory):
                if old != new:
                    return False
                continue
            if seen.walked or (seen.listed and _listing(old) != _listing(new)):
                return False
            waiting += [
                (below, old.children.get(name), new.children.get(name))
                for name, below in seen.below.items()
            ]
        return True


# The names that matter to whoever lists a directory, by what is in them. An image may have modules
# of its own beside distributions that it shares with others.
_MATTERS = re.compile(
    r"-info|\.egg|\.pth|\.uvshim|-packages|pyvenv\.cfg|python|pypy|graalpy", re.IGNORECASE
)


def _listing(directory: Directory) -> tuple[bool, set[str]]:
    """Return what matters of the names in `directory`, and whether there are any."""
    return bool(directory.children), set(filter(_MATTERS.search, directory.children))


class ImageTree:
    """The files of an image, as the processes in a container would see them.

    Unlike any other tree it raises `ImageError`, if looking things up takes too long.
    """

    root = None
    """It lies nowhere on this machine."""

    def __init__(
        self,
        directory: Directory,
        contents: Contents | None = None,
        layers: Sequence[Layer] = (),
    ) -> None:
        """Take `directory` for the root; `contents` has what files do not have themselves.

        `layers` are where the files are read from when all of them matter.
        """
        self._directory = directory
        self._seen = Seen()
        self._noted = 0
        self._places: dict[str, _Resolved | None] = {}
        self._contents = contents or {}
        self._layers = layers
        self._digests: dict[str, Contents] = {}
        self._steps = _Steps("it")

    @property
    def identities(self) -> set[str | None]:
        """What its layers are known by; None: one has nothing."""
        return {layer.identity for layer in self._layers}

    def with_layer(self, changed: Changes) -> ImageTree:
        """Return the tree with one more layer, which has `changed`. Raises `ImageError`."""
        root = put_together([changed], self._directory)
        return ImageTree(root, self._contents, self._layers)

    def names(self, directory: str) -> tuple[str, ...]:
        """Return the names in `directory`, as `Tree.names` says."""
        found = self._resolved(directory)
        if found is None or not isinstance(found.node, Directory):
            return ()
        found.seen.listed = True
        return tuple(found.node.children)

    def directories(self, directory: str) -> tuple[str, ...]:
        """Return the names of directories, as `SearchableTree.directories` says."""
        found = self._resolved(directory)
        if found is None or not isinstance(found.node, Directory):
            return ()
        found.seen.walked = True
        children = found.node.children.items()
        return tuple(name for name, one in children if isinstance(one, Directory))

    def is_directory(self, path: str) -> bool:
        """Say whether `path` is a directory, as `Tree.is_directory` says."""
        return isinstance(self.node(path), Directory)

    def is_file(self, path: str) -> bool:
        """Say whether `path` is a regular file, as `Tree.is_file` says."""
        return isinstance(self.node(path), File)

    def read(self, path: str, limit: int) -> bytes | None:
        """Return the first `limit` bytes of a file, or as many of them as are kept."""
        found = self.node(path)
        if not isinstance(found, File):
            return None
        content = found.content
        if content is None:
            content = self._contents.get(found[:2], None if found.size else b"")
        return None if content is None else content[:limit]

    def anew(self) -> ImageTree:
        """Return the same tree, which was asked nothing so far."""
        return ImageTree(self._directory, self._contents, self._layers)

    def answers_like(self, other: ImageTree) -> bool:
        """Say whether whatever `other` was asked so far has the same answer here.

        All that can be told of such a tree is told of this one, too. It may be that it answers the
        same and this says no: where contents behind links were read, and where layers have nothing
        to be known by.
        """
        if self._contents or other._contents or other._noted > _MOST_NOTED:
            return False
        if None in self.identities | other.identities:
            return False
        return other._seen.same(other._directory, self._directory)

    def digest(self, path: str, algorithm: str) -> tuple[str, int] | None:
        """Return the digest and the length of a file, as `HashedTree.digest` says.

        The first question has all layers read once more. Raises `ImageError`.
        """
        if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
            message = f"there is no hash algorithm called {algorithm}"
            raise ValueError(message)
        found = self.node(path)
        if not isinstance(found, File):
            return None
        if algorithm not in self._digests:
            self._digests[algorithm] = self._all_digests(algorithm)
        value = self._digests[algorithm].get(found[:2], b"")
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode(), found.size

    def _all_digests(self, algorithm: str) -> Contents:
        """Return the digest of every file that is in the image."""
        numbers: dict[str, set[int]] = {}
        waiting = [self._directory]
        while waiting:
            for node in waiting.pop().children.values():
                if isinstance(node, Directory):
                    waiting.append(node)
                elif isinstance(node, File):
                    numbers.setdefault(node.layer, set()).add(node.number)
        return {
            (layer.identity or "", number): value
            for layer in dict.fromkeys(self._layers)
            for number, value in changes.digests(
                layer, numbers.get(layer.identity or "", ()), algorithm
            )
        }

    def real(self, path: str) -> str | None:
        """Return `path` without links, as `SearchableTree.real` says."""
        found = self._resolved(path)
        return None if found is None else "/" + "/".join(found.names)

    def on_disk(self, path: str) -> str | None:  # noqa: ARG002
        """Return None: no path in an image that was not unpacked is one on this machine."""
        return None

    def node(self, path: str) -> Node | None:
        """Return what `path` leads to, all links followed; None if it leads nowhere."""
        found = self._resolved(path)
        return found and found.node

    def _resolved(self, path: str) -> _Resolved | None:
        """Return what `path` leads to, all links followed.

        Most paths differ from others in their last part alone.
        """
        above, slash, name = path.rpartition("/")
        if not slash or name in {"", ".", ".."}:
            return self._walked(path)
        if above not in self._places:
            if len(self._places) > _MOST_PLACES:
                self._places.clear()
            self._places[above] = self._walked(above)
        place = self._places[above]
        if place is None:
            return None
        found, below = self._step(place.node, place.seen, name)
        if isinstance(found, Link):
            return self._walked(path)
        return None if found is None else _Resolved(found, [*place.names, name], below)

    def _step(self, node: Node, seen: Seen, name: str) -> tuple[Node | None, Seen]:
        """Return what is called `name` in `node`, and note that it was asked for."""
        below = seen.below.get(name)
        if below is None:
            below = Seen()
            self._noted += 1
            if self._noted <= _MOST_NOTED:
                seen.below[name] = below
        return node.children.get(name) if isinstance(node, Directory) else None, below

    def _walked(self, path: str) -> _Resolved | None:
        """Return what `path` leads to, from the root on (path_resolution(7))."""
        nodes: list[Node] = [self._directory]
        seen = [self._seen]
        names: list[str] = []
        waiting = self._steps.of(path)
        links = 0
        while waiting:
            name = waiting.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                del names[-1:]
                del nodes[len(names) + 1 :], seen[len(names) + 1 :]
                continue
            found, below = self._step(nodes[-1], seen[-1], name)
            if found is None:
                return None
            if isinstance(found, Link):
                links += 1
                if links > _MOST_LINKS:
                    return None
                if found.target.startswith("/"):
                    del nodes[1:], seen[1:]
                    names.clear()
                waiting += self._steps.of(found.target)
                continue
            nodes.append(found)
            seen.append(below)
            names.append(name)
        return _Resolved(nodes[-1], names, seen[-1])


class _Resolved(NamedTuple):
    """What a path leads to."""

    node: Node
    names: list[str]
    """Its path without links."""
    seen: Seen
