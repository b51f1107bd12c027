"""The dist-info directories of an environment, and which of them are new since a snapshot."""

from __future__ import annotations

import os
import time

from uvshim.environments.environment import is_dist_info

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvshim.environments.environment import Environment

    Path = str | os.PathLike[str]

# Distinguishes a directory from an earlier one of the same name: inode, mtime, ctime.
State = tuple[int, int, int]

# Times that are multiples of this, in nanoseconds, may be too coarse to compare (ext4 with small
# inodes).
_SECOND = 1_000_000_000


class Snapshot:
    """The dist-info directories whose names may be wrong, at one moment.

    - `states`: the state of each, by its path (times in nanoseconds);
    - `setuptools`: the paths of its metadata directories;
    - `places`: the mtime of each site-packages directory, by its path, 0 if it did not exist;
    - `is_blind`: nothing could be listed, so everything that changes later counts as new.
    """

    def __init__(self, site_packages: Iterable[Path] | None) -> None:
        """List those directories. None makes the snapshot blind."""
        self.states: dict[str, State] = {}
        self.setuptools: list[str] = []
        self.places: dict[str, int] = {}
        self.is_blind = site_packages is None
        for each in site_packages or ():
            self._list(os.path.realpath(each))
        self._moment = _steady_clock()

    @classmethod
    def take(cls, site_packages: Path | Iterable[Path]) -> Snapshot:
        """List one directory, or several. One that cannot be listed counts as empty.

        The paths in the snapshot are absolute and contain no links.
        """
        if isinstance(site_packages, (str, os.PathLike)):
            site_packages = (site_packages,)
        return cls(site_packages)

    @classmethod
    def of(cls, environment: Environment | None) -> Snapshot:
        """List the directories of `environment`. If it is None, the snapshot is blind."""
        return cls(None) if environment is None else cls.take(environment.on_disk)

    def _list(self, directory: str) -> None:
        self.places[directory] = 0
        try:
            self.places[directory] = os.stat(directory).st_mtime_ns
            entries = os.scandir(directory)
        except OSError:
            return
        with entries:
            for entry in entries:
                if may_be_dotted(entry.name):
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:  # removed since it was listed
                        continue
                    state = status.st_ino, status.st_mtime_ns, status.st_ctime_ns
                    self.states[entry.path] = state
                elif entry.name.startswith("setuptools-"):
                    self.setuptools.append(entry.path)

    def is_outdated(self, environment: Environment, now: Snapshot | None = None) -> bool:
        """Return True if a rename may be due in `environment`; `now` is a snapshot of it.

        It may be if a directory is new. Any other new distribution may need the original name of a
        renamed directory (see `rename.spelling`), so any change counts if there is a dotted one.
        """
        now = now or Snapshot.of(environment)
        if now.new_since(self, environment.lock):
            return True
        has_changed = now.places != self.places or any(map(_is_coarse, now.places.values()))
        return has_changed and any(
            "." in path.rpartition("/")[2].partition("-")[0] for path in now.states
        )

    def new_since(self, before: Snapshot, lock: str | None = None) -> list[str]:
        """Return the sorted paths that `before` lacks, or has in another state.

        If times are too coarse to compare states, the change time decides.
        `lock` is the path of uv's lock on the environment.
        """
        began: dict[str, int] = {}
        new = []
        for path, state in self.states.items():
            changed = state[-1]
            if not before.is_blind and state != before.states.get(path):
                new.append(path)
            elif before.is_blind or _is_coarse(changed):
                directory = os.path.dirname(path)
                if directory not in began:
                    now = _time_of_disk(directory, lock)  # first: too early a time does no harm
                    began[directory] = now - (_steady_clock() - before._moment)
                if changed >= began[directory]:
                    new.append(path)
        return sorted(new)


def may_be_dotted(directory: str) -> bool:
    """Return True if `directory` names a dist-info directory that may have to be renamed.

    Every spelling of a dotted name has a ``.`` or a ``_`` instead of the dot, the normalized
    one too (binary distribution format, "Escaping and Unicode"). A second ``-`` is in the wrong
    place: uv and pkg_resources end the name part at the first.
    """
    name, _, version = directory.partition("-")
    is_suspect = "_" in name or "." in name or version.count("-") > 1  # the suffix has one
    return is_suspect and is_dist_info(directory)


def _is_coarse(nanoseconds: int) -> bool:
    """Return True if a time may come from a file system that stores whole seconds."""
    return nanoseconds % _SECOND == 0


def _steady_clock() -> int:
    """Return the nanoseconds of a clock that is never set and does not stop during sleep."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _time_of_disk(directory: str, lock: str | None) -> int:
    """Return the earliest possible time, in nanoseconds, on the file system of `directory`.

    It may use another machine's clock (NFS). A new nameless file shows it, or else uv's `lock` on
    the same file system. The resolution of its times is subtracted.
    """
    now = time.time_ns()
    try:
        file = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
    except (AttributeError, OSError):
        file = None
    try:
        if file is not None:
            now = os.fstat(file).st_ctime_ns
            os.close(file)
        elif lock is not None and os.stat(lock).st_dev == os.stat(directory).st_dev:
            os.utime(lock)
            now = os.stat(lock).st_ctime_ns
    except OSError:
        pass  # this machine's time will do
    return now - (2 * _SECOND if _is_coarse(now) else _SECOND // 50)
