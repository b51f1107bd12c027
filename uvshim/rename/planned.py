"""A tree as it will be once plans are carried out: what a dry run looks at."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from uvshim.environments.tree import DiskTree
from uvshim.rename.names import SUFFIX
from uvshim.rename.plan import ORIGINAL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvshim.environments.tree import SearchableTree
    from uvshim.rename.plan import Plan


class PlannedTree(DiskTree):
    """A disk with each dist-info directory under the name that its plan gives it."""

    def __init__(self, tree: SearchableTree, plans: Iterable[Plan]) -> None:
        """Follow `plans`, whose paths are those of this machine, in a `tree` on its disk."""
        super().__init__(tree.root)
        self._plans: dict[str, dict[str, Plan]] = {}
        for each in plans:
            place = os.path.realpath(posixpath.dirname(each.path))
            self._plans.setdefault(place, {})[each.directory] = each

    def names(self, directory: str) -> tuple[str, ...]:
        """See `Tree.names`."""
        plans = self._in(directory)
        before = {
            name for one in plans.values() for name in (one.own, os.path.basename(one.remnant))
        }
        return tuple({*super().names(directory)} - before | {*plans})

    def read(self, path: str, limit: int) -> bytes | None:
        """See `Tree.read`."""
        one, _, rest = self._planned(path)
        if one and rest == "RECORD":
            return one.new_record()[:limit]
        if one and rest == ORIGINAL and one.original:
            return os.fsencode(one.original)
        return super().read(path, limit)

    def _in(self, place: str) -> dict[str, Plan]:
        """Return the plans for the directory `place`, by the names that they give."""
        return self._plans.get(os.path.realpath(self.on_disk(place) or place), {})

    def _existing(self, path: str) -> str:
        return super()._existing(self._planned(path)[1])

    def _planned(self, path: str) -> tuple[Plan | None, str, str]:
        """Return the plan for the directory in `path`, where `path` is now, and what follows it."""
        head, found, rest = f"{path}/".partition(f"{SUFFIX}/")
        place, _, name = head.rpartition("/")
        one = self._in(place).get(name + SUFFIX) if found else None
        if one is None:
            return None, path, ""
        return one, posixpath.join(place, one.own, rest).rstrip("/"), rest.rstrip("/")
