"""Which dist-info directories stand in an environment, and which are new since a moment before."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
        return cls.take(environment.site_packages())

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
            for directory in environment.site_packages()
        }
        return sorted(
            path
            for path, (_, _, changed) in now.states.items()
            if changed >= began.get(os.path.dirname(path), 0)
        )


def dotted_names(before: Snapshot, now: Snapshot) -> Iterator[str]:
    """Yield the project names whose dots the directories in `before` lack, as METADATA has them.

    What was renamed or removed meanwhile is passed over. Where the setuptools that is beside a
    directory `now` finds it all the same, no METADATA is read.
    """
    affected = {os.path.dirname(path) for path in now.setuptools if _needs_dots(path)}
    for path in before.states:
        site_packages, directory = os.path.split(path)
        if "." in directory.partition("-")[0]:
            continue
        if site_packages in affected and "." in (name := _name_in(path)):
            yield name


def _needs_dots(setuptools: str) -> bool:
    """Say whether the pkg_resources of `setuptools` finds a dotted name by its dots alone.

    It does up to setuptools 75.8.1. Before 62 it depends on how those that are installed spell
    their requirements, which takes more than a glance.
    """
    version = os.path.basename(setuptools).removesuffix(".dist-info").partition("-")[2]
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    return (62,) <= numbers < (75, 8, 2)


def _name_in(path: str) -> str:
    """Return the name in the METADATA of the directory `path`; an empty string if it is not there.

    It stands in the second line, or near. (A pipe in its place must not stop us.)
    """
    try:
        file = os.open(os.path.join(path, "METADATA"), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        head = os.read(file, 1024)
    except OSError:
        return ""
    finally:
        os.close(file)
    return head.partition(b"\nName:")[2].partition(b"\n")[0].strip().decode("ascii", "replace")


def may_be_dotted(directory: str) -> bool:
    """Say whether `directory` names a dist-info directory that could be that of a dotted name.

    A name part with neither ``.`` nor ``_`` in it cannot: every spelling of a dotted name, the
    normalized one too, keeps one of them where the dot is (binary distribution format, "Escaping
    and Unicode"). Nor can one that a wrong rename gave a second ``-``, which uv never writes.
    """
    if not directory.endswith(".dist-info") or directory[0] == "~":  # which pip has put aside
        return False
    name = directory.partition("-")[0]
    return "_" in name or "." in name


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
