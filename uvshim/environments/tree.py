"""Trees: the few operations on files that uvshim needs, wherever the files are.

A tree may be a disk, a mounted image, a zip, or the layers of a container image that was never
unpacked. A path in a tree is a string with ``/`` between its parts, as in RECORD.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet
    from typing import IO, Protocol, TypeVar

    Place = TypeVar("Place")
else:
    Protocol = object

# More symbolic links than this in one path count as a loop, as in Linux.
_MOST_LINKS = 40

# How much of a file is hashed at once, in bytes.
_PIECE = 1024 * 1024

# A link may lead to a pipe: opening it must not wait for a writer.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK


def read_regular(path: str, limit: int | None = None) -> bytes | None:
    """Return the first `limit` bytes of the regular file `path`, or its whole content.

    Return None if there is no such file. Raise OSError if it cannot be read.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        wanted = status.st_size if limit is None else min(limit, status.st_size)
        content = os.read(descriptor, wanted)  # nearly always complete
        while len(content) < wanted and (piece := os.read(descriptor, wanted - len(content))):
            content += piece
        return content
    finally:
        os.close(descriptor)


def open_regular(path: str) -> IO[bytes]:
    """Open the regular file `path`. Raise OSError if it cannot be read or is of another kind."""
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return open(descriptor, "rb")


class Tree(Protocol):
    """The files of an environment.

    A tree follows symbolic links itself, and never out of itself. No method raises an error for a
    file that is missing, unreadable or of another kind.
    """

    def names(self, directory: str) -> tuple[str, ...]:
        """Return the names in `directory` in any order; () if it is not a directory."""

    def is_directory(self, path: str) -> bool:
        """Return True if `path` is a directory."""

    def is_file(self, path: str) -> bool:
        """Return True if `path` is a regular file."""

    def read(self, path: str, limit: int) -> bytes | None:
        """Return the first `limit` bytes of the file `path`; None if it is not a regular file."""


class SearchableTree(Tree, Protocol):
    """A tree that can be searched for environments."""

    @property
    def root(self) -> str | None:
        """The path of its root on this machine; None for the machine's own, and for an image."""

    def walk(self, top: str) -> Iterator[tuple[str, AbstractSet[str], list[str]]]:
        """Yield each directory from `top` on: its path below that, such as ``/lib``, and names.

        The names are those of all in it, and, in a list, those of the directories. The caller may
        change the list: what is in it comes next, as with `os.walk`. Links are not followed.
        """

    def real(self, path: str) -> str | None:
        """Return `path` with all links followed, as a path in the tree; None if it is missing."""

    def on_disk(self, path: str) -> str | None:
        """Return the path on this machine for `path`; None if there is none."""

    def digest(self, path: str, algorithm: str) -> tuple[str, int] | None:
        """Return the digest and the length in bytes of the regular file `path`; None if missing.

        The digest is as in RECORD: base64 with the alphabet for URLs, without padding. Raises
        ValueError if `algorithm` is unknown.
        """


def identity(tree: SearchableTree, path: str) -> str | None:
    """Return what all paths of one file share: its real path on this machine, or in an image."""
    on_disk = tree.on_disk(path)
    return os.path.realpath(on_disk) if on_disk else tree.real(path)


def pay(tree: Tree, steps: int) -> None:
    """Pay for so many `steps` in the resolution of requirements, if `tree` has a budget.

    An image has one: its author is unknown.
    """
    budget: Callable[[int], None] | None = getattr(tree, "pay", None)
    if budget is not None:
        budget(steps)


def denies(tree: Tree, path: str) -> bool:
    """Return True if nobody may read the file `path`, or look whether there is one.

    Only a disk denies anything.
    """
    on_disk: Callable[[str], str | None] | None = getattr(tree, "on_disk", None)
    try:
        read_regular((on_disk and on_disk(path)) or "", 0)
    except (OSError, ValueError) as error:
        return isinstance(error, PermissionError)
    return False


class LinksError(OSError):
    """Too many symbolic links lead to a file."""


def follow(
    path: str,
    root: Place,
    step: Callable[[Place, str], tuple[Place | None, str | None]],
    parts: Callable[[str], list[str]] = lambda path: path.split("/")[::-1],
) -> tuple[Place, list[str]] | None:
    """Return the place that `path` leads to from `root`, and its parts without links.

    `step(place, name)` returns another place, or else the target of a link. If it returns
    neither, the result is None. No ``..`` leads out of `root` (path_resolution(7)). `parts` splits
    a path, the last part first. Raise `LinksError`, and what these two raise.
    """
    places = [root]
    names: list[str] = []
    waiting = parts(path)
    links = 0
    while waiting:
        name = waiting.pop()
        if name in {"", "."}:
            continue
        if name == "..":  # the root is its own parent
            del names[-1:]
            del places[len(names) + 1 :]
            continue
        found, target = step(places[-1], name)
        if target is not None:
            links += 1
            if links > _MOST_LINKS:
                raise LinksError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                del places[1:]
                names.clear()
            waiting += parts(target)
        elif found is None:
            return None
        else:
            places.append(found)
            names.append(name)
    return places[-1], names


class DiskTree:
    """The files of this machine, or those below a `root`, as after chroot(2).

    With a `root`, absolute paths and links begin there, and no ``..`` leads out of it.
    """

    # Errors for which a file counts as missing. A null byte is a ValueError.
    _missing: tuple[type[Exception], ...] = (OSError, ValueError)

    def __init__(self, root: str | None = None) -> None:
        """Set the root of the tree; without one, it is the machine's own."""
        self.root = None if root is None else os.path.realpath(root)

    def names(self, directory: str) -> tuple[str, ...]:
        """See `Tree.names`."""
        try:
            return tuple(os.listdir(self._existing(directory)))
        except self._missing:
            return ()

    def is_directory(self, path: str) -> bool:
        """See `Tree.is_directory`."""
        return stat.S_ISDIR(self._mode(path))

    def is_file(self, path: str) -> bool:
        """See `Tree.is_file`."""
        return stat.S_ISREG(self._mode(path))

    def read(self, path: str, limit: int) -> bytes | None:
        """See `Tree.read`."""
        try:
            return read_regular(self._existing(path), limit)
        except self._missing:
            return None

    def digest(self, path: str, algorithm: str) -> tuple[str, int] | None:
        """See `SearchableTree.digest`. Raise OSError if the file cannot be read."""
        import base64
        import hashlib

        if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
            raise ValueError(algorithm)  # as in an image
        measured = hashlib.new(algorithm)
        if not self.is_file(path):
            return None
        length = 0
        with open_regular(self._existing(path)) as file:
            while piece := file.read(_PIECE):
                measured.update(piece)
                length += len(piece)
        return base64.urlsafe_b64encode(measured.digest()).decode().rstrip("="), length

    def walk(self, top: str) -> Iterator[tuple[str, AbstractSet[str], list[str]]]:
        """See `SearchableTree.walk`."""
        start = self.on_disk(top) or ""
        for path, below, others in os.walk(start):
            names = {*below, *others}
            below[:] = [name for name in below if not os.path.islink(os.path.join(path, name))]
            yield path[len(start.rstrip("/")) :].rstrip("/"), names, below

    def real(self, path: str) -> str | None:
        """See `SearchableTree.real`."""
        on_disk = self.on_disk(path)
        if self.root is None or on_disk is None:
            return on_disk and os.path.realpath(on_disk)
        return on_disk[len(self.root.rstrip("/")) :] or "/"

    def on_disk(self, path: str) -> str | None:
        """See `SearchableTree.on_disk`. Without a root that is `path` itself."""
        if self.root is None:
            return path
        try:
            found = follow(path, self.root, _below)
        except (OSError, ValueError):
            return None
        return found and found[0]

    def _mode(self, path: str) -> int:
        try:
            return os.stat(self._existing(path)).st_mode
        except self._missing:
            return 0

    def _existing(self, path: str) -> str:
        """Return the path on this machine for `path`, or raise FileNotFoundError."""
        real = path if self.root is None else self.on_disk(path)
        if real is None:
            raise FileNotFoundError(path)
        return real


def _below(directory: str, name: str) -> tuple[str | None, str | None]:
    """Return the path of `name` in `directory`, or the target if it is a link."""
    path = os.path.join(directory, name)
    if stat.S_ISLNK(os.lstat(path).st_mode):
        return None, os.readlink(path)
    return path, None
