"""`uvshim fix`: rename what has a wrong name in environments that exist already."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uvshim import config
from uvshim.check.diagnosis import DUPLICATE, GHOST, diagnose
from uvshim.check.output import Examined, reinstalls
from uvshim.commands import named
from uvshim.messages import printable
from uvshim.rename import on_disk
from uvshim.uv import process
from uvshim.uv.lock import LockInterruptedError, uv_lock
from uvshim.uv.supervisor import Supervisor
from uvshim.uvpip import NOT_RENAMED

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from uvshim.environments.installation import Installation
    from uvshim.messages import Messages


def main(options: argparse.Namespace, messages: Messages) -> int:
    """Rename what has a wrong name in every environment, one after the other."""
    found = named.installations(options.environments)
    excluded = config.matcher(config.excluded(process.working_directory()))
    supervisor = Supervisor()
    complete = True
    try:
        for each in found:
            place = named.with_lock(each, supervisor)
            path = None if options.dry_run else place.lock
            # To the end: what uv is half way through would look like what is left of something.
            with uv_lock(path, supervisor.interrupted, messages.waiting):
                renamed = _rename(place, excluded, messages, dry_run=options.dry_run)
                nothing_left = _name_the_rest(place, excluded, messages, dry_run=options.dry_run)
            complete = renamed and nothing_left and complete
    except LockInterruptedError:
        messages.warning("interrupted while another uv had the lock")
        complete = False
    return supervisor.finish(0 if complete else NOT_RENAMED)


def _rename(
    found: Installation, excluded: Callable[[str], bool], messages: Messages, *, dry_run: bool
) -> bool:
    """Rename what has a wrong name in the installation `found`. Returns whether all of it was."""
    paths = [
        os.path.join(directory, name)
        for directory in found.environment().site_packages()
        for name in sorted(os.listdir(directory))
        if name.endswith(".dist-info") and name[0] != "~"  # which pip has put aside
    ]
    outcome = on_disk.rename(paths, lambda name: not excluded(name), dry_run=dry_run)
    messages.outcome(outcome, "Would renormalize" if dry_run else "Renormalized")
    return not outcome.left_alone


def _name_the_rest(
    found: Installation, excluded: Callable[[str], bool], messages: Messages, *, dry_run: bool
) -> bool:
    """Say which distributions in `found` no rename helps, and which commands do."""
    diagnosis = diagnose(found.tree, found.site_packages, excluded=excluded)
    examined = Examined(found, diagnosis, excluded)
    complete = True
    for finding in examined.wrong:
        path, name = printable(finding.path), printable(finding.name)
        if finding.kind == GHOST:
            messages.warning(f"`{path}` is left of {name}, whose code is gone")
        elif finding.kind == DUPLICATE:
            messages.warning(f"`{path}` is one of several of {name}")
        elif not dry_run and found.belongs_to_system(finding.path):
            messages.warning(f"`{path}` is a file of the system's packages, and was left alone")
        else:
            continue
        complete = False
    for command in reinstalls(examined):
        messages.hint(command)
    return complete
