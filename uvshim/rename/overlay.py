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


def free(plan: Plan) -> str:
    """Return the path beside the new name that is needed for a while.

    Raise `ObstacleError` if something has it.
    """
    building = plan.destination + BUILDING
    if os.path.lexists(building):
        raise ObstacleError(f"`{os.path.basename(building)}` is in the way")
    return building


def files_in(directory: str) -> list[str]:
    """Return the paths of all files and links below `directory`, relative to it."""
    found = []
    for parent, folders, names in os.walk(directory):
        links = [each for each in folders if os.path.islink(os.path.join(parent, each))]
        found += [os.path.join(parent, each)[len(directory) + 1 :] for each in (*names, *links)]
    return found


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
    """Remove the dist-info directory `path`; `_LAST` are removed last. Raise OSError."""
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
            continue
        try:
            os.link(entry.path, other, follow_symlinks=False)
        except OSError:
            shutil.copyfile(entry.path, other, follow_symlinks=False)
            own_as(os.lstat(entry.path), other)
            shutil.copystat(entry.path, other, follow_symlinks=False)
    own_as(os.lstat(source), target)
    shutil.copystat(source, target)
