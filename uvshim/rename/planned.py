"""A tree as it will be once plans are carried out: what a dry run looks at."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from uvshim.rename.names import SUFFIX
from uvshim.rename.plan import ORIGINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from uvshim.environments.tree import SearchableTree
    from uvshim.rename.plan import Plan


class PlannedTree:
    """The files of `tree`, with each dist-info directory under the name that its plan gives it."""

    def __init__(self, tree: SearchableTree, plans: Iterable[Plan]) -> None:
        """Follow `plans`, whose paths are those of this machine."""
        self._tree = tree
        self.root = tree.root
        self._plans: dict[str, dict[str, Plan]] = {}
        for each in plans:
            place = os.path.realpath(posixpath.dirname(each.path))
            self._plans.setdefault(place, {})[each.directory] = each

    def names(self, directory: str) -> tuple[str, ...]:
        """See `Tree.names`."""
        plans = self._in(directory)
        before = {each.own for each in plans.values()}
        before.update(posixpath.basename(each.remnant) for each in plans.values() if each.remnant)
        listed = self._tree.names(self._before(directory))
        return tuple({*(name for name in listed if name not in before), *plans})

    def is_directory(self, path: str) -> bool:
        """See `Tree.is_directory`."""
        return self._tree.is_directory(self._before(path))

    def is_file(self, path: str) -> bool:
        """See `Tree.is_file`."""
        return self._tree.is_file(self._before(path))

    def read(self, path: str, limit: int) -> bytes | None:
        """See `Tree.read`."""
        place, name, rest = _apart(path)
        if one := self._in(place).get(name):
            if rest == "RECORD":
                return one.new_record()[:limit]
            if rest == ORIGINAL and one.original:
                return os.fsencode(one.original)
        return self._tree.read(self._before(path), limit)

    def denies(self, path: str) -> bool:
        """Return True if nobody may read the file `path`, or look whether there is one."""
        denies: Callable[[str], bool] | None = getattr(self._tree, "denies", None)
        return denies is not None and denies(self._before(path))

    def digest(self, path: str, algorithm: str) -> tuple[str, int] | None:
        """See `SearchableTree.digest`."""
        return self._tree.digest(self._before(path), algorithm)

    def directories(self, directory: str) -> tuple[str, ...]:
        """See `SearchableTree.directories`."""
        return self._tree.directories(directory)

    def real(self, path: str) -> str | None:
        """See `SearchableTree.real`."""
        return self._tree.real(path)

    def on_disk(self, path: str) -> str | None:
        """See `SearchableTree.on_disk`."""
        return self._tree.on_disk(path)

    def _in(self, place: str) -> dict[str, Plan]:
        """Return the plans for the directory `place`, by the names that they give."""
        return self._plans.get(os.path.realpath(self._tree.on_disk(place) or place), {})

    def _before(self, path: str) -> str:
        """Return where `path` is now."""
        place, name, rest = _apart(path)
        one = self._in(place).get(name) if name else None
        if one is None:
            return path
        return posixpath.join(place, one.own, rest) if rest else posixpath.join(place, one.own)


def _apart(path: str) -> tuple[str, str, str]:
    """Return the site-packages directory in `path`, the name of a dist-info directory, the rest."""
    parts = path.split("/")
    for number, part in enumerate(parts):
        if part.endswith(SUFFIX):
            return "/".join(parts[:number]), part, "/".join(parts[number + 1 :])
    return path, "", ""
