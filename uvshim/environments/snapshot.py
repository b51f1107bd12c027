"""Which dist-info directories stand in an environment, and which are new since a moment before."""

from __future__ import annotations

import os
import time

from uvshim.environments.environment import is_dist_info

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from uvshim.environments.environment import Environment

# What tells one directory from a later one of the same name: inode, times of content and of change.
State = tuple[int, int, int]


class Snapshot:
    """The dist-info directories that could be those of a dotted name, each with its state.

    `states` maps the path of each to its inode number, mtime and ctime (nanoseconds). Where nobody
    could look before, `moment` says when nothing was new yet (nanoseconds of `_steady_clock`), and
    the ctime decides. `setuptools` are the paths of its metadata directories.
    """

    def __init__(
        self,
        states: dict[str, State],
        moment: int | None = None,
        setuptools: Sequence[str] = (),
    ) -> None:
        """Hold `states`, or with `moment` their stand-in; `take` and `of` make one."""
        self.states = states
        self.moment = moment
        self.setuptools = setuptools

    @classmethod
    def take(cls, site_packages: Iterable[str]) -> Snapshot:
        """Look into the directories `site_packages`. One that cannot be listed counts as empty.

        The paths in the snapshot are absolute.
        """
        states: dict[str, State] = {}
        setuptools = []
        for directory in site_packages:
            try:
                entries = os.scandir(os.path.abspath(directory))
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
                    elif entry.name.startswith("setuptools-"):
                        setuptools.append(entry.path)
        return cls(states, setuptools=setuptools)

    @classmethod
    def of(cls, environment: Environment | None) -> Snapshot:
        """Look into `environment`. If it is None, whatever is made from now on counts as new."""
        if environment is None:
            return cls({}, _steady_clock())
        return cls.take(environment.on_disk)

    def new_since(self, before: Snapshot) -> list[str]:
        """Return the paths that `before` did not hold, or held in another state; sorted."""
        return sorted(
            path for path, state in self.states.items() if state != before.states.get(path)
        )

    def new_in(self, environment: Environment, now: Snapshot | None = None) -> list[str]:
        """Return the paths that are new in `environment` since this snapshot; sorted.

        `now` is what stands there, if somebody has looked already.
        """
        now = now or Snapshot.of(environment)
        if self.moment is None:
            return now.new_since(self)
        passed = _steady_clock() - self.moment
        began = {
            directory: _time_of_disk(directory, environment.lock) - passed
            for directory in environment.on_disk
        }
        return sorted(
            path
            for path, (_, _, changed) in now.states.items()
            if changed >= began.get(os.path.dirname(path), 0)
        )


def may_be_dotted(directory: str) -> bool:
    """Return True if `directory` names a dist-info directory that may have to be renamed.

    A name part with neither ``.`` nor ``_`` in it cannot be that of a dotted name: every spelling
    of one, the normalized one too, has one of them where the dot is (binary distribution format,
    "Escaping and Unicode"). A second ``-`` is in the wrong place: uv and pkg_resources end the name
    part at the first.
    """
    name, _, version = directory.partition("-")
    is_suspect = "_" in name or "." in name or version.count("-") > 1  # the suffix has one
    return is_suspect and is_dist_info(directory)


def _steady_clock() -> int:
    """Return the nanoseconds of a clock that nobody sets and that a sleeping machine keeps."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _time_of_disk(directory: str, lock: str | None) -> int:
    """Return what time it is, at the latest, for the file system that `directory` lies on.

    That may be another machine's (NFS). It is learnt from a nameless file; where there is no such
    thing, from the times of uv's `lock` if that lies there as well. The answer is in nanoseconds
    since the epoch, and early by what file systems leave out of their times.
    """
    try:
        now = _time_of_nameless_file(directory)
    except (AttributeError, OSError):
        now = _time_of_lock(lock, os.stat(directory).st_dev)
    in_seconds = now % 1_000_000_000 == 0  # or in two
    return now - (2_000_000_000 if in_seconds else 20_000_000)


def _time_of_nameless_file(directory: str) -> int:
    file = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        return os.fstat(file).st_ctime_ns
    finally:
        os.close(file)


def _time_of_lock(lock: str | None, device: int) -> int:
    """Return when the file `lock` was last changed: now. If that is not possible, our own time."""
    try:
        if lock is not None and os.stat(lock).st_dev == device:
            os.utime(lock)
            return os.stat(lock).st_ctime_ns
    except OSError:
        pass
    return time.time_ns()
