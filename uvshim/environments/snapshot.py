"""Which dist-info directories stand in an environment, and which are new since a moment before."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvshim.environments.environment import Environment

# What tells one directory from a later one of the same name: inode, times of content and of change.
State = tuple[int, int, int]


class Snapshot:
    """The dist-info directories that could be those of a dotted name, each with its state.

    `states` maps the path of each to its inode number, mtime and ctime (nanoseconds). Where nobody
    could look before, `moment` (nanoseconds since the epoch) is when nothing was new yet, and the
    ctime decides.
    """

    def __init__(self, states: dict[str, State], moment: int | None = None) -> None:
        """Hold `states`, or with `moment` their stand-in; `take` and `of` make one."""
        self.states = states
        self.moment = moment

    @classmethod
    def take(cls, site_packages: Iterable[str]) -> Snapshot:
        """Look into the directories `site_packages`. One that cannot be listed counts as empty."""
        states: dict[str, State] = {}
        for directory in site_packages:
            try:
                entries = os.scandir(directory)
            except OSError:
                continue
            with entries:
                for entry in entries:
                    if may_be_dotted(entry.name):
                        try:
                            status = entry.stat(follow_symlinks=False)
                        except OSError:  # gone meanwhile
                            continue
                        states[entry.path] = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        return cls(states)

    @classmethod
    def of(cls, environment: Environment | None) -> Snapshot:
        """Look into `environment`; None, if it is not known or not there yet."""
        if environment is None:
            return cls({}, time.time_ns())
        return cls.take(environment.site_packages())

    def new_since(self, before: Snapshot) -> list[str]:
        """Return the paths that `before` did not hold, or held in another state; sorted."""
        if before.moment is not None:
            return sorted(path for path, state in self.states.items() if state[2] >= before.moment)
        return sorted(
            path for path, state in self.states.items() if state != before.states.get(path)
        )

    def new_in(self, environment: Environment) -> list[str]:
        """Return the paths that are new in `environment` since this snapshot; sorted."""
        return Snapshot.of(environment).new_since(self)


def may_be_dotted(directory: str) -> bool:
    """Say whether `directory` names a dist-info directory that could be that of a dotted name.

    A name part with neither ``.`` nor ``_`` in it cannot: every spelling of a dotted name, the
    normalized one too, keeps one of them where the dot is (binary distribution format, "Escaping
    and Unicode"). Nor can one that a wrong rename gave a second ``-``, which uv never writes.
    """
    if not directory.endswith(".dist-info"):
        return False
    name = directory.partition("-")[0]
    return "_" in name or "." in name
