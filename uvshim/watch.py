"""An environment that is watched while a command runs, and put right when it has run."""

from __future__ import annotations

import time

from uvshim.environments.snapshot import Snapshot

TYPE_CHECKING = False  # see uv.py
if TYPE_CHECKING:
    from uvshim.environments.environment import Environment
    from uvshim.messages import Report
    from uvshim.uv.supervisor import Supervisor


class Watch:
    """What stood in an environment before a command ran: the measure of what it has written."""

    def __init__(self, environment: Environment | None) -> None:
        """Look at `environment` now; None, if it is not known or not there yet."""
        self._before = Snapshot.take(environment.site_packages()) if environment else None
        if environment and environment.holds(__file__):
            load()  # now: the command may replace these very modules, or take them away
        self._begin = time.time_ns()

    def written(self, environment: Environment) -> list[str]:
        """Return the paths of the dist-info directories in `environment` that are new since.

        Where nothing was known before, they are those that have changed since by their ctime.
        """
        now = Snapshot.take(environment.site_packages())
        if self._before is None:
            return now.changed_since(self._begin)
        return now.new_since(self._before)

    def put_right(
        self, environment: Environment, exclude: list[str], supervisor: Supervisor, report: Report
    ) -> bool:
        """Rename what was written to `environment` and has a dotted name; say what was done.

        `exclude` are the patterns of the names that are left alone. Returns whether all that was
        to be put right was.
        """
        if not self.written(environment):
            return True
        from uvshim import config  # noqa: PLC0415
        from uvshim.rename import on_disk  # noqa: PLC0415
        from uvshim.uv import lock  # noqa: PLC0415

        is_excluded = config.matcher(exclude)

        def concerns(name: str) -> bool:
            return "." in name and not is_excluded(name)

        try:
            with lock.UvLock(environment.lock, supervisor.interrupted, report.waiting):
                begin = time.monotonic()
                # Under the lock no other uv is half way through a directory.
                written = self.written(environment)
                outcome = on_disk.renormalize_directories(written, concerns)
                report.renamed(outcome.renamed, time.monotonic() - begin)
        except lock.LockInterruptedError:
            report.warning("interrupted while another uv had the lock: no name was put right")
            report.mend(environment.path)
            return False
        for each in outcome.left:
            report.left(each)
        if outcome.left:
            report.mend(environment.path)
        return not outcome.left


def load() -> None:
    """Import what a rename needs: too much for a run that has nothing to rename."""
    from uvshim.rename import on_disk  # noqa: F401, PLC0415
    from uvshim.uv import lock  # noqa: F401, PLC0415
