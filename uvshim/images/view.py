"""An image as the processes in a container would see it: a tree to ask, and what it was asked.

What was found out with the answers holds for every image that would give the same ones.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from uvshim.environments.tree import LinksError, follow
from uvshim.errors import ImageError
from uvshim.images import changes
from uvshim.images.changes import File, Link
from uvshim.images.layers import Directory, Steps, put_together

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from uvshim.images.changes import Changes
    from uvshim.images.layers import Node
    from uvshim.images.layout import Layer

    # By the identity of the layer, and the number of the entry in it.
    Contents: TypeAlias = dict[tuple[str, int], bytes]

# How much is noted of what a tree was asked, and how many places are known in it. Real images take
# some thousand, and some hundred.
_MOST_NOTED = 100_000
_MOST_PLACES = 10_000


def of(
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
        self._steps = Steps("it")

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

        def step(
            place: tuple[Node, Seen], name: str
        ) -> tuple[tuple[Node, Seen] | None, str | None]:
            found, below = self._step(*place, name)
            if isinstance(found, Link):
                return None, found.target
            return (None if found is None else (found, below)), None

        root: tuple[Node, Seen] = (self._directory, self._seen)
        try:
            found = follow(path, root, step, self._steps.of)
        except LinksError:
            return None
        if found is None:
            return None
        (node, seen), names = found
        return _Resolved(node, names, seen)


class _Resolved(NamedTuple):
    """What a path leads to."""

    node: Node
    names: list[str]
    """Its path without links."""
    seen: Seen
