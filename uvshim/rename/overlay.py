"""The rename of a directory that comes from a lower layer of an overlay file system.

There, `os.rename` fails with EXDEV (Linux, Documentation/filesystems/overlayfs.rst, "renaming
directories"). So its files are linked into a new directory whose name is not a distribution's, that
one is renamed, and the old one is removed. While both exist they are equal, and each RECORD lists
all files of both.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from uvshim.environments import files
from uvshim.rename.plan import BUILDING

# Removed last, in this order. An uninstall finds all files in the other RECORD as well, but
# importlib.metadata may read this METADATA as long as the directory exists.
_LAST = ("RECORD", "METADATA")


def move(path: str, destination: str) -> None:
    """Give the dist-info directory `path` the name `destination`, by linking and removing.

    Its RECORD lists its files under both names, and under the one they have while the new directory
    is built. Raise OSError; another `move` completes what this one has begun.
    """
    building = destination + BUILDING
    _link_tree(path, building)
    os.rename(building, destination)
    remove(path)


def files_in(directory: str) -> list[str]:
    """Return the paths of all files below `directory`, relative to it."""
    return [
        os.path.relpath(os.path.join(parent, name), directory)
        for parent, _, filenames in os.walk(directory)
        for name in filenames
    ]


def is_contained(path: str, destination: str) -> bool:
    """Return True if each file below `path` is below `destination`, with the same content.

    The RECORDs may differ: they do while a rename goes on.
    """
    return all(
        name == "RECORD" or _equal(os.path.join(path, name), os.path.join(destination, name))
        for name in files_in(path)
    )


def remove(path: str) -> None:
    """Remove the dist-info directory `path`; last, the files by which others know it.

    Raise OSError.
    """
    names = sorted(os.listdir(path), key=lambda name: name in _LAST and 1 + _LAST.index(name))
    for name in names:
        inside = os.path.join(path, name)
        if os.path.isdir(inside) and not os.path.islink(inside):
            shutil.rmtree(inside)
        else:
            os.unlink(inside)
    os.rmdir(path)


def own_as(status: os.stat_result, path: str) -> None:
    """Give `path` the owner in `status`, if we are allowed to."""
    with contextlib.suppress(PermissionError):
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)


def _link_tree(source: str, target: str) -> None:
    """Make the directory `target` with the files of the directory `source` in it."""
    os.mkdir(target)
    for name in os.listdir(source):
        one, other = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(one) and not os.path.islink(one):
            _link_tree(one, other)
        else:
            _link(one, other)
    own_as(os.lstat(source), target)
    shutil.copystat(source, target)


def _link(source: str, target: str) -> None:
    """Give the file `source` the second name `target`; copy it if that is not possible."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)
        own_as(os.lstat(source), target)
        shutil.copystat(source, target, follow_symlinks=False)


def _equal(one: str, other: str) -> bool:
    """Return True if two files have the same content."""
    try:
        if os.path.samefile(one, other):
            return True
        content = files.read(one)
        return content is not None and content == files.read(other)
    except OSError:
        return False
