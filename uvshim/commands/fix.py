"""`uvshim fix`: rename directories with wrong names in existing environments."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from uvshim import config
from uvshim.check import required
from uvshim.check.report import Gate, examine
from uvshim.commands import fix_report, targets
from uvshim.commands.fix_report import Fixed
from uvshim.environments import discovery
from uvshim.environments.environment import dist_infos
from uvshim.errors import NOT_RENAMED, UvshimError
from uvshim.messages import printable
from uvshim.rename import on_disk, plan
from uvshim.rename.on_disk import Outcome
from uvshim.rename.planned import PlannedTree
from uvshim.uv import process
from uvshim.uv.lock import LockInterruptedError, uv_lock
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator

    from uvshim.environments.environment import Environment
    from uvshim.messages import Messages


def main(options: argparse.Namespace, messages: Messages) -> int:
    """Fix every environment, and return the exit code."""
    words, names = targets.apart(options)
    if names or options.output is not None:
        return _fix_images(words, names, options, messages)
    environments = targets.environments(words, messages)
    gate = Gate(config.exclusions(process.working_directory()))
    supervisor = Supervisor()
    locks = [] if options.dry_run else targets.locks(environments, supervisor)
    supervisor.end_if_interrupted()
    several = len(environments) > 1
    done: list[Fixed] = []
    with contextlib.ExitStack() as held:
        try:
            for path in locks:
                held.enter_context(uv_lock(path, supervisor.interrupted, messages.waiting))
        except LockInterruptedError:
            messages.warning("Interrupted while another uv had the lock: nothing was renamed")
            return supervisor.finish(NOT_RENAMED)
        # The report comes before the locks are released: what uv writes would look like a ghost.
        for fixed in _fixed(environments, gate, dry_run=options.dry_run):
            done.append(fixed)
            if options.format == "text":
                fix_report.say(fixed, messages, dry_run=options.dry_run, among_others=several)
    if options.format == "json":
        fix_report.write_json(options, environments=list(map(fix_report.as_json, done)))
    return supervisor.finish(0 if all(each.complete for each in done) else NOT_RENAMED)


def _fixed(environments: list[Environment], gate: Gate, *, dry_run: bool) -> Iterator[Fixed]:
    """Rename in all `environments`, then yield the report on each."""
    spelled = required.Spelled(environments)
    linked = frozenset(discovery.linked(environments))
    outcomes = [_rename(each, gate, spelled, linked, dry_run=dry_run) for each in environments]
    plans = [each for outcome in outcomes for each in outcome.plans] if dry_run else []
    others = spelled if len(environments) > 1 else None
    # What one environment inherits from another is fixed by now.
    for found, outcome in zip(environments, outcomes, strict=True):
        seen = found.in_tree(PlannedTree(found.tree, plans)) if plans else found
        yield Fixed(outcome, examine(seen, gate, spelled=others, names_only=True))


def _rename(
    found: Environment,
    gate: Gate,
    spelled: required.Spelled,
    linked: Collection[str],
    *,
    dry_run: bool,
) -> Outcome:
    """Rename the directories with wrong names in `found`, but none that is `linked`."""
    whole = Outcome([], [])
    for directory in found.on_disk:
        outcome = on_disk.rename(
            [os.path.join(directory, name) for name in dist_infos(os.listdir(directory))],
            lambda name: not gate.excludes(name),
            tree=found.tree,
            spellings=spelled.at(os.path.realpath(directory)),
            linked=linked,
            dry_run=dry_run,
        )
        whole.add(outcome)
    # The report says more about these.
    whole.left_alone = [each for each in whole.left_alone if each.reason != plan.TWIN]
    return whole


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
