"""Rename distributions from a program."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uvshim import after_install, config
from uvshim.environments import discovery
from uvshim.uv.lock import uv_lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvshim.environments.snapshot import Snapshot
    from uvshim.rename.on_disk import Outcome


def renormalize(
    site_packages: str | os.PathLike[str],
    since: Snapshot | None = None,
    *,
    exclude: str | Iterable[str] = (),
) -> Outcome:
    """Rename the distributions with dotted names in the directory `site_packages`.

    With `since`, rename only what is new since that snapshot. Project names that match one of the
    patterns `exclude` keep their directories; no configuration is read. uv's lock is held if its
    file exists: in a virtual environment that uv has used, and in a target. `left_alone` in
    the outcome has those that could not be renamed.

    Raise `EnvironmentUnknownError` if there is no such directory, or if it is a whole environment;
    ValueError if `since` is a snapshot of other directories; `ConfigurationError` if a pattern
    matches no project name.
    """
    found = discovery.of_site_packages(os.fspath(site_packages))
    if since and not since.places.keys() >= set(map(os.path.realpath, found.on_disk)):
        raise ValueError(f"the snapshot is not one of `{os.fspath(site_packages)}`")
    excluded = config.matcher(config.checked("exclude", exclude))
    return after_install.rename_since(
        found, since, lambda name: not excluded(name), uv_lock(found.lock)
    )
