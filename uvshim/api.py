"""What programs call to have an environment's distributions renamed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uvshim.check import spelling
from uvshim.environments import discovery
from uvshim.environments.snapshot import Snapshot
from uvshim.rename import on_disk
from uvshim.uv.lock import uv_lock

if TYPE_CHECKING:
    from uvshim.rename.on_disk import Outcome


def renormalize(site_packages: str | os.PathLike[str], since: Snapshot | None = None) -> Outcome:
    """Rename the distributions with dotted names in the directory `site_packages`.

    With a snapshot, only those that are new `since` it was taken. Meanwhile uv's lock is held,
    where a lock file exists: in a virtual environment that uv has made or used, and in a target.
    What could not be renamed is told in the outcome's `left_alone`.

    Raises `EnvironmentUnknownError` if there is no such directory.
    """
    found = discovery.of_site_packages(os.fspath(site_packages))
    with uv_lock(found.lock):
        now = Snapshot.take(found.site_packages)
        paths = sorted(now.states) if since is None else now.new_since(since)
        in_use = spelling.in_use(found.tree, found.visible)
        return on_disk.rename(paths, lambda _name: True, in_use=in_use, only_new=True)
