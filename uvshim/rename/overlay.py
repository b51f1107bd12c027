"""The rename of a dist-info directory from a lower layer of an overlay file system.

There, `os.rename` fails with EXDEV (Linux, Documentation/filesystems/overlayfs.rst, "renaming
directories"). So its files are linked into a new directory with another suffix, which is then
renamed, and the old one is removed. While both exist they are equal, and each RECORD lists
all files of both.
"""

from __future__ import annotations

import filecmp
import os
import shutil

from uvshim.rename import record_file
from uvshim.rename.plan import BUILDING, ObstacleError
from uvshim.rename.record_file import own_as

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from uvshim.rename.plan import Plan

# Removed last, in this order. An uninstall finds all files in the other RECORD as well, but
# importlib.metadata may read this METADATA as long as the directory exists.
_LAST = ("RECORD", "METADATA")


def move(plan: Plan) -> None:
    """Give the directory of the `plan` its name, by linking and removing.

    Its RECORD, which lists its files under both names, also lists those they have while the new
    directory is built. Raise OSError; another `move` completes what this one has begun.
    """
    building = free(plan)
    listed = record_file.read(plan.path)
    record_file.append(plan.path, listed.added({plan.own}, os.path.basename(building)))
    _link_tree(plan.path, building)
    os.rename(building, plan.destination)
    remove(plan.path)


def discard(plan: Plan) -> None:
    """Remove what a killed run has built beside the new name: nothing but what RECORD lists.

    Raise OSError.
    """
    building = plan.destination + BUILDING
    if os.path.isdir(building) and not os.path.islink(building):
        listed = record_file.read(plan.path).files(os.path.basename(building))
        if listed and listed.issuperset(files_in(building)):
            shutil.rmtree(building)


def free(plan: Plan) -> str:
    """Return the path beside the new name that is needed for a while.

    Raise `ObstacleError` if something else has it.
    """
    discard(plan)
    building = plan.destination + BUILDING
    if os.path.lexists(building):
        raise ObstacleError(f"`{os.path.basename(building)}` is in the way")
    return building


def files_in(directory: str) -> list[str]:
    """Return the paths of all files below `directory`, relative to it."""
    return [
        os.path.relpath(os.path.join(parent, name), directory)
        for parent, _, filenames in os.walk(directory)
        for name in filenames
    ]


def is_contained(path: str, destination: str) -> bool:
    """Return True if each file below `path` is below `destination`, with the same content.

    Their RECORDs may differ, as they do during a rename.
    """
    try:
        return all(
            filecmp.cmp(f"{path}/{name}", f"{destination}/{name}", shallow=False)
            for name in files_in(path)
            if name != "RECORD"
        )
    except OSError:
        return False


def remove(path: str) -> None:
    """Remove the dist-info directory `path`; `_LAST` are removed last.

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


def _link_tree(source: str, target: str) -> None:
    """Make the directory `target` with the files of the directory `source` in it.

    Directories come last: pip leaves one in which only other directories were listed.
    """
    os.mkdir(target)
    with os.scandir(source) as entries:
        ordered = sorted(entries, key=lambda entry: entry.is_dir(follow_symlinks=False))
    for entry in ordered:
        other = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False):
            _link_tree(entry.path, other)
        else:
            _link(entry.path, other)
    own_as(os.lstat(source), target)
    shutil.copystat(source, target)


def _link(source: str, target: str) -> None:
    """Link the file `source` to `target`, or copy it if that fails."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)
        own_as(os.lstat(source), target)
        shutil.copystat(source, target, follow_symlinks=False)
