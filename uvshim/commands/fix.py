"""`uvshim fix`: rename directories with wrong names in existing environments."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from uvshim import config
from uvshim.check import required
from uvshim.check.output import SCHEMA
from uvshim.check.report import Gate, examine
from uvshim.commands import targets
from uvshim.commands.fix_report import Fixed, as_json, say
from uvshim.environments.environment import dist_infos
from uvshim.errors import NOT_RENAMED, UvshimError
from uvshim.messages import printable
from uvshim.rename import on_disk
from uvshim.rename.on_disk import Outcome
from uvshim.rename.planned import PlannedTree
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
    spelled = required.Spelled(environments)
    supervisor = Supervisor()
    changed: list[tuple[Environment, Outcome]] = []
    done: list[Fixed] = []
    interrupted = False

    def locked(found: Environment) -> uv_lock:
        path = None if options.dry_run or interrupted else found.lock
        return uv_lock(path, supervisor.interrupted, messages.waiting)

    try:
        for each in environments:
            found = targets.with_lock(each, supervisor)
            supervisor.end_if_interrupted()
            with locked(found):
                changed.append((found, _rename(found, gate, spelled, dry_run=options.dry_run)))
    except LockInterruptedError:
        interrupted = True
    plans = [plan for _, outcome in changed for plan in outcome.plans] if options.dry_run else []
    for found, outcome in changed:  # what one inherits from another is fixed by now
        seen = found.in_tree(PlannedTree(found.tree, plans)) if plans else found
        others = spelled if len(environments) > 1 else None
        try:
            # Look under the lock: a directory that uv is writing would look like a ghost.
            with locked(found):
                report = examine(seen, gate, spelled=others, names_only=True)
        except LockInterruptedError:
            interrupted = True
            report = examine(seen, gate, spelled=others, names_only=True)
        done.append(Fixed(outcome, report))
        if options.format == "text":
            say(done[-1], messages, dry_run=options.dry_run, among_others=len(environments) > 1)
    if interrupted:
        messages.warning("Interrupted while another uv had the lock")
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


def _rename(found: Environment, gate: Gate, spelled: required.Spelled, *, dry_run: bool) -> Outcome:
    """Rename the directories with wrong names in `found`."""
    whole = Outcome([], [])
    for directory in found.on_disk:
        outcome = on_disk.rename(
            [os.path.join(directory, name) for name in dist_infos(os.listdir(directory))],
            lambda name: not gate.excludes(name),
            tree=found.tree,
            spellings=spelled.at(os.path.realpath(directory)),
            dry_run=dry_run,
        )
        whole.add(outcome)
    return whole


def _as_json(done: Iterable[Fixed], *, dry_run: bool) -> str:
    """Return the results as JSON. Keys may be added to the schema, never changed."""
    import json

    result = {"schema": SCHEMA, "dry_run": dry_run, "environments": list(map(as_json, done))}
    return json.dumps(result, indent=2) + "\n"
