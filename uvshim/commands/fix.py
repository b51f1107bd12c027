"""`uvshim fix`: rename directories with wrong names in existing environments."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from uvshim import config
from uvshim.check import required
from uvshim.check.diagnosis import diagnose_directories
from uvshim.check.output import SCHEMA
from uvshim.check.report import Gate, Report
from uvshim.commands import targets
from uvshim.commands.fix_report import Fixed, as_json, say
from uvshim.environments.environment import dist_infos
from uvshim.errors import NOT_RENAMED, UvshimError
from uvshim.messages import printable
from uvshim.rename import on_disk
from uvshim.uv import process
from uvshim.uv.lock import LockInterruptedError, uv_lock
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from uvshim.environments.environment import Environment
    from uvshim.messages import Messages


def main(options: argparse.Namespace, messages: Messages) -> int:
    """Fix every environment, one after the other. Return the exit code."""
    words, names = targets.apart(options)
    if names or options.output is not None:
        return _fix_images(words, names, options, messages)
    environments = targets.environments(words, messages)
    gate = Gate(config.exclusions(process.working_directory()))
    supervisor = Supervisor()
    done: list[Fixed] = []
    interrupted = False
    try:
        for each in environments:
            found = targets.with_lock(each, supervisor)
            supervisor.end_if_interrupted()
            path = None if options.dry_run else found.lock
            # Hold the lock to the end: a directory that uv is writing would look like a ghost.
            with uv_lock(path, supervisor.interrupted, messages.waiting):
                done.append(_fix(found, gate, dry_run=options.dry_run))
            if options.format == "text":
                say(done[-1], messages, dry_run=options.dry_run, among_others=len(environments) > 1)
    except LockInterruptedError:
        messages.warning("Interrupted while another uv had the lock")
        interrupted = True
    if options.format == "json":
        sys.stdout.write(_as_json(done, dry_run=options.dry_run))
        sys.stdout.flush()
    complete = not interrupted and all(each.complete for each in done)
    return supervisor.finish(0 if complete else NOT_RENAMED)


def _fix_images(
    words: list[str], names: list[str], options: argparse.Namespace, messages: Messages
) -> int:
    """Fix images. Raise `UvshimError` if `words` also name environments, or nothing does."""
    from uvshim.commands import fix_image

    if words and not os.path.lexists(words[0]):
        raise UvshimError(f"`{printable(words[0])}` {targets.refusal(words[0])}")
    if words or not names:
        what = f"`{printable(words[0])}` is not one" if words else "none is named"
        raise UvshimError(f"`--images` and `--output` are for images, and {what}")
    return fix_image.main(names, options, messages)


def _fix(found: Environment, gate: Gate, *, dry_run: bool) -> Fixed:
    """Rename the directories with wrong names in `found`, and examine it again."""
    paths = [
        os.path.join(directory, name)
        for directory in found.on_disk
        for name in dist_infos(os.listdir(directory))
    ]
    outcome = on_disk.rename(
        paths,
        lambda name: not gate.excludes(name),
        tree=found.tree,
        spellings=required.spellings(found.tree, found.visible),
        dry_run=dry_run,
    )
    # Plans are known by paths on this machine, which only a tree without a root has.
    diagnosis = diagnose_directories(
        found.tree,
        found.site_packages,
        excluded=gate.excludes,
        known=outcome.known if found.tree.root is None else {},
    )
    return Fixed(outcome, Report(found, diagnosis, gate))


def _as_json(done: Iterable[Fixed], *, dry_run: bool) -> str:
    """Return the results as JSON. Keys may be added to the schema, never changed."""
    import json

    result = {"schema": SCHEMA, "dry_run": dry_run, "environments": list(map(as_json, done))}
    return json.dumps(result, indent=2) + "\n"
