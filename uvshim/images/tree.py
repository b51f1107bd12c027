"""An image as processes in a container would see it: a tree like that of a disk."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, TypeVar

from uvshim.environments.tree import LinksError, follow
from uvshim.errors import ImageError
from uvshim.images.budget import RESOLVING, Budget
from uvshim.images.layer import changes
from uvshim.images.layer.changes import Entry, Key
from uvshim.images.layer.header import FILE, LINK, Header
from uvshim.images.union import Directory, Node, unite

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from uvshim.images.blob import Blob
    from uvshim.images.image import Platform
    from uvshim.images.layer.tar import Tar

    Result = TypeVar("Result")

# How many directories are remembered by their paths at most. Real images have some hundred.
_PLACES = 2_000

# How often a diagnosis is repeated at most, because it asks for more files each time.
_MOST_ROUNDS = 8


class ImageTree:
    """The files of an image, as processes in a container would see them.

    Unlike other trees, it raises `ImageError` if looking up a path takes too long, and it may have
    less of a file than there is: `complete` gets the rest.
    """

    root = None
    """None: the tree is not on this machine."""

    def __init__(
        self,
        directory: Directory,
        budget: Budget,
        layers: Sequence[Blob] = (),
        platform: Platform | None = None,
    ) -> None:
        """Use `directory`, to which `layers` were united, as the root.

        `budget` pays for what is looked up or read again. `platform` is that of the image, for
        markers.
        """
        self.platform = platform
        self._directory = directory
        self.budget = budget
        self.layers = layers
        self._places: dict[str, Node | None] = {}
        self._contents: dict[Key, bytes] = {}
        self._reads: dict[Key, int] = {}
        self._missed: dict[Key, int] = {}
        self._digests: dict[tuple[Key, str], bytes] = {}
        self._unhashed: dict[Key, str] = {}

    def with_layer(self, layer: Blob) -> ImageTree:
        """Return the tree with one more `layer`. Raise `ImageError`."""
        budget = Budget()  # most of it is paid for: it is a copy
        root = unite([changes.read(layer, budget)], budget, self._directory)
        above = ImageTree(root, budget, (*self.layers, layer), self.platform)
        above._contents = self._contents
        return above

    def complete(self, examine: Callable[[], Result]) -> Result:
        """Return what `examine` returns when it finds all it asks this tree for.

        Most of it was kept when the layers were read. Otherwise they are read again, and it is
        called again. Raise `ImageError`.
        """
        for _ in range(_MOST_ROUNDS):
            found = examine()
            if not self._missed and not self._unhashed:
                return found
            self._read_again()
        raise ImageError("its files lead to others, and these to others again, too often")

    def _read_again(self) -> None:
        missed, self._missed = self._missed, {}
        unhashed, self._unhashed = self._unhashed, {}
        for key, header, archive in self.entries({*missed, *unhashed}):
            if key in missed:
                self._contents[key] = archive.content(header, missed[key])
                self.budget.keep(len(self._contents[key]), archive.name)
            else:  # a file whose content is missed is hashed in the next round
                digest = archive.hashed(header, unhashed[key])
                self._digests[key, unhashed[key]] = digest

    def entries(self, wanted: Collection[Key]) -> Iterator[tuple[Key, Header, Tar]]:
        """Yield what `changes.entries` does, for all layers. Raise `ImageError`."""
        needed = {layer for layer, _ in wanted}
        for layer in dict.fromkeys(self.layers):
            if (layer.identity or "") in needed:
                yield from changes.entries(layer, wanted, self.budget)

    def names(self, directory: str) -> tuple[str, ...]:
        """Return the names in `directory`; see `Tree.names`."""
        return tuple(self.children(directory))

    def walk(self, top: str) -> Iterator[tuple[str, AbstractSet[str], list[str]]]:
        """Yield each directory from `top` on; see `SearchableTree.walk`."""
        waiting = [("", self.node(top))]
        while waiting:
            path, directory = waiting.pop()
            if isinstance(directory, Directory):
                children = directory.children
                below = [name for name, one in children.items() if isinstance(one, Directory)]
                yield path, children.keys(), below
                waiting += [(f"{path}/{name}", children[name]) for name in reversed(below)]

    def children(self, directory: str) -> dict[str, Node]:
        """Return what is in `directory`, by name; empty if it is not a directory."""
        found = self.node(directory)
        return found.children if isinstance(found, Directory) else {}

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
        key = found[:2]
        content = self._contents.get(key, found.content or b"")
        wanted = min(limit, found.size)
        times = self._reads[key] = self._reads.get(key, 0) + 1
        self.budget.read(content[:limit], times, "it")
        if len(content) < wanted:
            self._missed[key] = max(wanted, self._missed.get(key, 0))
        return content[:limit] if content or not wanted else None

    def digest(self, path: str, algorithm: str) -> tuple[str, int] | None:
        """Return the digest and the length of a file; see `SearchableTree.digest`.

        What was not asked for before has no digest until the layers were read again, which
        `complete` does.
        """
        if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
            raise ValueError(f"there is no hash algorithm called {algorithm}")
        found = self.file(path)
        if found is None:
            return None
        value = self._digests.get((found[:2], algorithm), b"")
        if not value:
            self._unhashed[found[:2]] = algorithm
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode(), found.size

    def pay(self, steps: int) -> None:
        """Pay for so many `steps` in the resolution of requirements. Raise `ImageError`."""
        self.budget.look_up(RESOLVING * steps, "it")

    def real(self, path: str) -> str | None:
        """Return `path` without links; see `SearchableTree.real`."""
        found = self._walked(path)
        return None if found is None else "/" + "/".join(found[1])

    def on_disk(self, path: str) -> str | None:  # noqa: ARG002
        """Return None: nothing in an image is a path on this machine."""
        return None

    def node(self, path: str) -> Node | None:
        """Return the node at `path`, all links followed; None if there is none.

        Directories are cached: most paths differ only in the last part.
        """
        above, slash, name = path.rpartition("/")
        if slash and name not in {"", ".", ".."}:
            if above not in self._places:
                if len(self._places) == _PLACES:
                    self._places.clear()
                place = self._walked(above)
                self._places[above] = place and place[0]
            found = _child(self._places[above], name)
            if not (isinstance(found, Entry) and found.kind == LINK):
                return found
        place = self._walked(path)
        return place and place[0]

    def file(self, path: str) -> Entry | None:
        """Return the regular file at `path`, all links followed; None if it is anything else."""
        found = self.node(path)
        return found if isinstance(found, Entry) and found.kind == FILE else None

    def _walked(self, path: str) -> tuple[Node, list[str]] | None:
        """Return the node at `path` and its path without links (path_resolution(7))."""
        root: Node = self._directory
        try:
            return follow(path, root, _step, lambda path: self.budget.parts(path, "it"))
        except LinksError:
            return None


def _child(node: Node | None, name: str) -> Node | None:
    return node.children.get(name) if isinstance(node, Directory) else None


def _step(node: Node, name: str) -> tuple[Node | None, str | None]:
    found = _child(node, name)
    if isinstance(found, Entry) and found.kind == LINK:
        return None, found.target
    return found, None


# Stands for the tree of an image that is no longer in memory.
NOWHERE = ImageTree(Directory({}), Budget())
