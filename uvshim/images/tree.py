"""An image as processes in a container would see it: a tree like that of a disk."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, NamedTuple

from uvshim.environments.tree import LinksError, follow
from uvshim.errors import ImageError
from uvshim.images.layer import changes
from uvshim.images.layer.changes import FILE, LINK, Entry
from uvshim.images.union import Directory, Steps, unite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from uvshim.images.blob import Blob
    from uvshim.images.image import Platform
    from uvshim.images.layer.changes import Changes
    from uvshim.images.union import Node

    # Keys are the identity of a layer and the number of an entry in it.
    Contents: TypeAlias = dict[tuple[str, int], bytes]

# How many directories are cached by path. Real images need a few hundred.
_MOST_PLACES = 10_000


def of(
    layers: Sequence[Blob],
    changed: Sequence[Changes],
    root: Directory | None = None,
    platform: Platform | None = None,
) -> ImageTree:
    """Return the tree of an image with `layers`, whose changes are `changed`.

    `root` is the result of `unite` for these, if known. If a link leads to a file
    without kept content, its layer is read again. Raise `ImageError`.
    """
    root = root or unite(changed)
    bare = ImageTree(root)
    lacking: dict[str, dict[int, int]] = {}
    for each in changed:
        for path, limit in each.wanted_links:
            found = bare.file(path)
            if found is not None and found.content is None:
                limits = lacking.setdefault(found.layer, {})
                limits[found.number] = max(limit, limits.get(found.number, 0))
    contents: Contents = {}
    kept = 0
    for layer in layers:
        if limits := lacking.pop(layer.identity or "", {}):
            for number, _, content in changes.entries(layer, limits):
                contents[layer.identity or "", number] = content
                kept += len(content)
                if kept > changes.KEPT_LIMIT:
                    message = "it has too much metadata of distributions behind links"
                    raise ImageError(message)
    return ImageTree(root, contents, layers, platform)


class ImageTree:
    """The files of an image, as processes in a container would see them.

    Unlike other trees, it raises `ImageError` if looking up a path takes too long.
    """

    root = None
    """None: the tree is not on this machine."""

    def __init__(
        self,
        directory: Directory,
        contents: Contents | None = None,
        layers: Sequence[Blob] = (),
        platform: Platform | None = None,
    ) -> None:
        """Use `directory` as the root; `contents` are those of files read again.

        Digests of files are taken from `layers`. `platform` is that of the image, for markers.
        """
        self.platform = platform
        self._directory = directory
        self._places: dict[str, _Resolved | None] = {}
        self._contents = contents or {}
        self._layers = layers
        self._digests: dict[str, Contents] = {}
        self._steps = Steps("it")

    def with_layer(self, changed: Changes) -> ImageTree:
        """Return the tree with one more layer, which has `changed`. Raise `ImageError`."""
        root = unite([changed], self._directory)
        return ImageTree(root, self._contents, self._layers, self.platform)

    def names(self, directory: str) -> tuple[str, ...]:
        """Return the names in `directory`; see `Tree.names`."""
        found = self._resolved(directory)
        if found is None or not isinstance(found.node, Directory):
            return ()
        return tuple(found.node.children)

    def directories(self, directory: str) -> tuple[str, ...]:
        """Return the names of directories; see `SearchableTree.directories`."""
        found = self._resolved(directory)
        if found is None or not isinstance(found.node, Directory):
            return ()
        children = found.node.children.items()
        return tuple(name for name, one in children if isinstance(one, Directory))

    def is_directory(self, path: str) -> bool:
        """Return True if `path` is a directory; see `Tree.is_directory`."""
        return isinstance(self.node(path), Directory)

    def is_file(self, path: str) -> bool:
        """Return True if `path` is a regular file; see `Tree.is_file`."""
        return self.file(path) is not None

    def read(self, path: str, limit: int) -> bytes | None:
        """Return the first `limit` bytes of a file, or those that are kept."""
        found = self.file(path)
        if found is None:
            return None
        content = found.content
        if content is None:
            content = self._contents.get(found[:2], None if found.size else b"")
        return None if content is None else content[:limit]

    def digest(self, path: str, algorithm: str) -> tuple[str, int] | None:
        """Return the digest and the length of a file; see `SearchableTree.digest`.

        The first call reads all layers again. Raise `ImageError`.
        """
        if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
            message = f"there is no hash algorithm called {algorithm}"
            raise ValueError(message)
        found = self.file(path)
        if found is None:
            return None
        if algorithm not in self._digests:
            self._digests[algorithm] = self._all_digests(algorithm)
        value = self._digests[algorithm].get(found[:2], b"")
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode(), found.size

    def _all_digests(self, algorithm: str) -> Contents:
        """Return the digest of every file in the image."""
        numbers: dict[str, set[int]] = {}
        waiting = [self._directory]
        while waiting:
            for node in waiting.pop().children.values():
                if isinstance(node, Directory):
                    waiting.append(node)
                elif node.kind == FILE:
                    numbers.setdefault(node.layer, set()).add(node.number)
        return {
            (layer.identity or "", number): value
            for layer in dict.fromkeys(self._layers)
            for number, value in changes.digests(
                layer, numbers.get(layer.identity or "", ()), algorithm
            )
        }

    def real(self, path: str) -> str | None:
        """Return `path` without links; see `SearchableTree.real`."""
        found = self._resolved(path)
        return None if found is None else "/" + "/".join(found.names)

    def on_disk(self, path: str) -> str | None:  # noqa: ARG002
        """Return None: nothing in an image is a path on this machine."""
        return None

    def node(self, path: str) -> Node | None:
        """Return the node at `path`, all links followed; None if there is none."""
        found = self._resolved(path)
        return found and found.node

    def file(self, path: str) -> Entry | None:
        """Return the regular file at `path`, all links followed; None if it is anything else."""
        found = self.node(path)
        return found if isinstance(found, Entry) and found.kind == FILE else None

    def _resolved(self, path: str) -> _Resolved | None:
        """Return the node at `path`, all links followed.

        Directories are cached: most paths differ only in the last part.
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
        found = _child(place.node, name)
        if isinstance(found, Entry) and found.kind == LINK:
            return self._walked(path)
        return None if found is None else _Resolved(found, [*place.names, name])

    def _walked(self, path: str) -> _Resolved | None:
        """Return the node at `path`, resolved from the root (path_resolution(7))."""
        try:
            root: Node = self._directory
            found = follow(path, root, _step, self._steps.of)
        except LinksError:
            return None
        return found and _Resolved(*found)


def _child(node: Node, name: str) -> Node | None:
    return node.children.get(name) if isinstance(node, Directory) else None


def _step(node: Node, name: str) -> tuple[Node | None, str | None]:
    found = _child(node, name)
    if isinstance(found, Entry) and found.kind == LINK:
        return None, found.target
    return found, None


class _Resolved(NamedTuple):
    """The node that a path leads to."""

    node: Node
    names: list[str]
    """Its path without links."""
