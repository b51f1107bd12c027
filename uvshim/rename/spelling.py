"""Which of two names a directory gets if pkg_resources finds a name in one spelling only.

Before setuptools 62, a directory `zope.interface-7.0.dist-info` is not found as `zope-interface`,
and the wheel's `zope_interface-7.0.dist-info` only by that name. If an installed distribution
requires `zope-interface`, the name in the wheel is right: plain uv meets that requirement. If none
does, the dotted name is right.

The name depends on the wheel and on what is installed, not on the order of the installs: a
later requirement may bring the wheel's name back. After a rename, `ORIGINAL` in the directory has
it. RECORD lists that file, so an uninstall removes it.
"""

from __future__ import annotations

import os

from uvshim.rename import names, record_file
from uvshim.rename.plan import ORIGINAL

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from uvshim.environments.tree import Tree
    from uvshim.rename.plan import Plan
    from uvshim.rename.record import Record


class Spellings:
    """The spellings that installed distributions require, if these decide names."""

    def __init__(self, required: Collection[str] = ()) -> None:
        """Hold the keys that pkg_resources looks for, such as ``zope-interface``."""
        self.required = required

    def require(self, project: str) -> bool:
        """Return True if the name of a directory must begin with `project`."""
        return names.key_of(project) in self.required

    def choose(self, tree: Tree, path: str, project: str, dotted: str) -> tuple[str, str]:
        """Return the name that the dist-info directory `path` should have, and its original one.

        The directory of `project` either has its original name or was renamed to `dotted`.
        The second name is empty if no rename to `dotted` is due, or if `ORIGINAL` exists already.
        """
        own = path.rpartition("/")[2]
        kept = _kept(tree, path, project)
        original = kept or own
        if names.is_well_formed(original) and _key(original) in self.required:
            return (own if _key(own) == _key(original) else original), ""
        is_due = names.is_well_formed(own) and _key(own) != _key(dotted)
        return dotted, "" if kept or not is_due else own

    def due_back(self, tree: Tree, paths: Iterable[str]) -> list[str]:
        """Return the dist-info directories in `paths` that must get their original names back."""
        found = []
        for path in paths:
            project = names.split(path.rpartition("/")[2])[0]
            key = _key(_kept(tree, path, project)) if "." in project else ""
            if key in self.required and key != names.key_of(project):
                found.append(path)
        return found


def keep_original(plan: Plan, record: Record) -> None:
    """Write `ORIGINAL` as the `plan` says, with owner, mode and times of RECORD. Raise OSError.

    RECORD lists the file before it exists: a kill in between leaves no unlisted file.
    """
    record_file.append(plan.path, [record.row(f"{plan.own}/{ORIGINAL}")])
    content = os.fsencode(plan.original) + b"\n"
    record_file.create(f"{plan.path}/{ORIGINAL}", content, os.stat(f"{plan.path}/RECORD"))


def _kept(tree: Tree, path: str, project: str) -> str:
    """Return the name in `ORIGINAL` of the directory `path`, "" unless it is one of `project`."""
    content = tree.read(f"{path}/{ORIGINAL}", names.LONGEST + 1) or b""
    name = content.decode("ascii", "replace").rstrip("\n")
    is_own = names.version_in(name, project) == names.split(path.rpartition("/")[2])[1]
    return name if is_own and names.is_well_formed(name) else ""


def _key(directory: str) -> str:
    """Return the key under which pkg_resources finds the dist-info `directory`."""
    return names.key_of(names.split(directory)[0])
