"""How an environment's files are read: through two questions and two ways to read, and no other.

The diagnosis asks nothing else of the place where an environment lies, so that this may be a
disk, a mounted image, a zip or the layers of a container image that was never unpacked.

A path in a tree is a string with ``/`` between its parts, as in the file names of RECORD.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Protocol, TypeVar

from uvshim.environments import files

if TYPE_CHECKING:
    from collections.abc import Callable

Place = TypeVar("Place")

# More symbolic links than this on the way to one file are a circle (as in the Linux kernel).
_MOST_LINKS = 40

# How much of a file is read at once, in bytes, where its content is not kept.
_PIECE = 1024 * 1024


class Tree(Protocol):
    """The files of an environment, wherever they lie.

    Symbolic links are the tree's own matter: it follows them, inside of itself. No method raises
    for what is not there, cannot be read or is something else than was asked for.
    """

    def names(self, directory: str) -> tuple[str, ...]:
        """Return the names in `directory` in any order; none if it is not a directory."""

    def is_directory(self, path: str) -> bool:
        """Say whether `path` is a directory."""

    def is_file(self, path: str) -> bool:
        """Say whether `path` is a regular file."""

    def read(self, path: str, limit: int) -> bytes | None:
        """Return the first `limit` bytes of the regular file at `path`; None if it is none."""


class SearchableTree(Tree, Protocol):
    """A tree in which installations can be looked for, wherever in it they lie."""

    @property
    def root(self) -> str | None:
        """Where its root lies on this machine; None: it is the machine's own, or lies nowhere."""

    def directories(self, directory: str) -> tuple[str, ...]:
        """Return the names of the directories in `directory`, without links to directories."""

    def real(self, path: str) -> str | None:
        """Return `path` with all links followed, as a path in the tree; None: it leads nowhere."""

    def on_disk(self, path: str) -> str | None:
        """Return where `path` lies on this machine; None: nowhere."""


class LinksError(OSError):
    """There are too many symbolic links on the way to a file."""

    def __init__(self, path: str) -> None:
        """Take the `path` that leads through them."""
        super().__init__(errno.ELOOP, os.strerror(errno.ELOOP), path)


def follow(
    path: str,
    root: Place,
    step: Callable[[Place, str], tuple[Place | None, str | None]],
    parts: Callable[[str], list[str]] = lambda path: path.split("/")[::-1],
) -> tuple[Place, list[str]] | None:
    """Return where `path` leads from `root` on, and its parts without links (path_resolution(7)).

    `step` returns what has a name in a place: another place, or what a link there leads to. Where
    it returns neither, the answer is None. No ``..`` leads out of `root`. `parts` takes a path
    apart, the last part first. Raises `LinksError`, and what these two raise.
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
                raise LinksError(path)
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
    """The files of this machine, or those under one directory of it as if that were all of it.

    With a `root`, the tree of a mounted image is read as the image's own programs would read it:
    an absolute path begins at `root`, a symbolic link to an absolute path is followed from
    `root`, and no ``..`` leads out of it (path_resolution(7), after chroot(2)).
    """

    def __init__(self, root: str | None = None) -> None:
        """Take `root` for the root of the tree; without one, the machine's own is."""
        self.root = None if root is None else os.path.realpath(root)

    def names(self, directory: str) -> tuple[str, ...]:
        """Return the names in `directory`, as `Tree.names` says."""
        path = self.on_disk(directory)
        try:
            return () if path is None else tuple(os.listdir(path))
        except (OSError, ValueError):  # a null byte, or what the file system cannot encode
            return ()

    def is_directory(self, path: str) -> bool:
        """Say whether `path` is a directory, as `Tree.is_directory` says."""
        return stat.S_ISDIR(self._mode(path))

    def is_file(self, path: str) -> bool:
        """Say whether `path` is a regular file, as `Tree.is_file` says."""
        return stat.S_ISREG(self._mode(path))

    def read(self, path: str, limit: int) -> bytes | None:
        """Return the first `limit` bytes of a file, as `Tree.read` says."""
        real = self.on_disk(path)
        try:
            return None if real is None else files.read(real, limit)
        except (OSError, ValueError):
            return None

    def digest(self, path: str, algorithm: str) -> tuple[str, int] | None:
        """Return the digest and the length of a file, as `check.verify.HashedTree` says.

        Raises OSError, too, if the file is there and cannot be read.
        """
        import base64
        import hashlib

        try:
            measured = hashlib.new(algorithm)
            if not measured.digest_size:  # of any length, which RECORD does not tell
                raise ValueError(algorithm)
        except TypeError:
            raise ValueError(algorithm) from None
        real = self.on_disk(path)
        if real is None or not self.is_file(path):
            return None
        length = 0
        with files.open_regular(real) as file:
            while piece := file.read(_PIECE):
                measured.update(piece)
                length += len(piece)
        return base64.urlsafe_b64encode(measured.digest()).decode().rstrip("="), length

    def directories(self, directory: str) -> tuple[str, ...]:
        """Return the names of directories, as `SearchableTree.directories` says."""
        path = self.on_disk(directory)
        try:
            with os.scandir(path or "") as entries:
                return tuple(each.name for each in entries if each.is_dir(follow_symlinks=False))
        except (OSError, ValueError):
            return ()

    def real(self, path: str) -> str | None:
        """Return `path` without links, as `SearchableTree.real` says."""
        on_disk = self.on_disk(path)
        if self.root is None or on_disk is None:
            return on_disk and os.path.realpath(on_disk)
        return on_disk[len(self.root.rstrip("/")) :] or "/"

    def on_disk(self, path: str) -> str | None:
        """Return where `path` lies on this machine, all links followed inside the root.

        Without a root that is `path` itself. None: there is no such path, or only a circle of
        links.
        """
        if self.root is None:
            return path
        try:
            found = follow(path, self.root, _below)
        except (OSError, ValueError):
            return None
        return found and found[0]

    def _mode(self, path: str) -> int:
        real = self.on_disk(path)
        try:
            return 0 if real is None else os.stat(real).st_mode
        except (OSError, ValueError):
            return 0


def _below(directory: str, name: str) -> tuple[str | None, str | None]:
    """Return the path of what is called `name` in `directory`; of a link, where it leads."""
    path = os.path.join(directory, name)
    if stat.S_ISLNK(os.lstat(path).st_mode):
        return None, os.readlink(path)
    return path, None
