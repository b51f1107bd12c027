"""The rename of a dist-info directory that comes from a lower layer of an overlay file system.

There, `os.rename` fails with EXDEV (Linux, Documentation/filesystems/overlayfs.rst, "renaming
directories"). So its files are linked into a new directory whose name nobody takes for a
distribution's, that one is renamed, and the old one is removed. While both exist they are equal,
and the RECORD of either lists all files of both.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from uvshim.environments import files
from uvshim.rename import names, plan, record

# Removed last, in this order. An uninstall finds all files in the other RECORD as well, but
# importlib.metadata may read this METADATA as long as the directory exists.
_LAST = ("RECORD", "METADATA")


def move(path: str, destination: str) -> None:
    """Give the dist-info directory `path` the name `destination`, by linking and removing.

    Its RECORD lists its files under both names already. Raises OSError; another `move`
    then completes what this one has begun.
    """
    building = destination + plan.BUILDING
    listed = record.read(path)
    record.append(
        path, record.also_listed(listed, {os.path.basename(path)}, os.path.basename(building))
    )
    _link_tree(path, building)
    os.rename(building, destination)
    remove(path)


def discard(destination: str) -> None:
    """Remove what a killed `move` to `destination` has built. Raises OSError."""
    if os.path.lexists(destination + plan.BUILDING):
        shutil.rmtree(destination + plan.BUILDING)


def heir(path: str) -> str | None:
    """Return the directory that a killed `move` of the dist-info directory `path` has completed.

    None, if there is no such directory.
    """
    site_packages, own = os.path.split(path)
    for name in os.listdir(site_packages):
        project = names.split(name)[0]
        if (
            name.endswith(names.SUFFIX)
            and name != own
            and names.version_in(own, project) is not None
            and is_remnant(path, other := os.path.join(site_packages, name))
        ):
            return other
    return None


def is_remnant(path: str, destination: str) -> bool:
    """Say whether the directory `path` is what a killed `move` to `destination` has left.

    It is, if the RECORD at the destination lists its files as well, and each of them exists there
    with the same content.
    """
    own = os.path.basename(path)
    try:
        listed = any(record.top(row.path) == own for row in record.read(destination).infos)
    except (record.RecordError, OSError):
        return False
    return listed and all(
        _equal(os.path.join(directory, name), os.path.join(destination, inside, name))
        for directory, _, filenames in os.walk(path)
        for inside in [os.path.relpath(directory, path)]
        for name in filenames
    )


def _link_tree(source: str, target: str) -> None:
    """Make the directory `target` with the files of the directory `source` in it."""
    os.mkdir(target)
    for name in os.listdir(source):
        one, other = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(one) and not os.path.islink(one):
            _link_tree(one, other)
        else:
            _link(one, other)
    _own_as(source, target)
    shutil.copystat(source, target)


def _link(source: str, target: str) -> None:
    """Give the file `source` the second name `target`; copy it, where that is not possible."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)
        _own_as(source, target)
        shutil.copystat(source, target, follow_symlinks=False)


def _own_as(source: str, target: str) -> None:
    """Give `target` the owner of `source`, if we are allowed to."""
    status = os.lstat(source)
    with contextlib.suppress(PermissionError):
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)


def _equal(one: str, other: str) -> bool:
    """Say whether two files have the same content; that of RECORD differs while we work."""
    try:
        if os.path.samefile(one, other) or os.path.basename(one) == "RECORD":
            return True
        content = files.read(one)
        return content is not None and content == files.read(other)
    except OSError:
        return False


def remove(path: str) -> None:
    """Remove the dist-info directory `path`, and last the files that others know it by.

    Raises OSError.
    """
    for name in sorted(os.listdir(path), key=_turn):
        inside = os.path.join(path, name)
        if os.path.isdir(inside) and not os.path.islink(inside):
            shutil.rmtree(inside)
        else:
            os.unlink(inside)
    os.rmdir(path)


def _turn(name: str) -> int:
    """Return where the file `name` stands in the order of removal."""
    return _LAST.index(name) if name in _LAST else -1
