"""`uvshim fix`: rename directories with wrong names in existing environments."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from uvshim import config
from uvshim.check import required
from uvshim.check.output import SCHEMA
from uvshim.check.report import Gate, examine
from uvshim.commands import targets
from uvshim.commands.fix_report import Fixed, as_json, say
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
    from collections.abc import Collection, Iterable, Iterator

    from uvshim.environments.environment import Environment
    from uvshim.messages import Messages


def main(options: argparse.Namespace, messages: Messages) -> int:
    """Fix every environment, one after the other. Return the exit code."""
    words, names = targets.apart(options)
    if names or options.output is not None:
        return _fix_images(words, names, options, messages)
    environments = targets.environments(words, messages)
    gate = Gate(config.exclusions(process.working_directory()))
    _refuse_unreadable(environments)
    spelled = required.Spelled(environments)
    supervisor = Supervisor()
    linked = frozenset(discovery.linked(environments))
    locks = _Locks(supervisor, messages, dry_run=options.dry_run)
    changed: list[tuple[Environment, Outcome]] = []
    done: list[Fixed] = []
    for found in environments:
        with locks.on(found) as is_ours:
            if is_ours:
                outcome = _rename(found, gate, spelled, linked, dry_run=options.dry_run)
                changed.append((found, outcome))
    plans = [each for _, outcome in changed for each in outcome.plans] if options.dry_run else []
    for found, outcome in changed:  # what one inherits from another is fixed by now
        seen = found.in_tree(PlannedTree(found.tree, plans)) if plans else found
        others = spelled if len(environments) > 1 else None
        with locks.on(found):  # a directory that uv is writing would look like a ghost
            done.append(Fixed(outcome, examine(seen, gate, spelled=others, names_only=True)))
        if options.format == "text":
            say(done[-1], messages, dry_run=options.dry_run, among_others=len(environments) > 1)
    if locks.interrupted:
        messages.warning("Interrupted while another uv had the lock")
    if options.format == "json":
        sys.stdout.write(_as_json(done, dry_run=options.dry_run))
        sys.stdout.flush()
    complete = not locks.interrupted and all(each.complete for each in done)
    return supervisor.finish(0 if complete else NOT_RENAMED)


def _refuse_unreadable(environments: Iterable[Environment]) -> None:
    """Raise `UvshimError` if a directory cannot be listed: then nothing is renamed anywhere."""
    try:
        for found in environments:
            found.dist_infos  # noqa: B018
    except OSError as error:
        reason = f"`{printable(error.filename)}` cannot be listed: {error.strerror}"
        raise UvshimError(f"{reason}. Nothing was renamed") from None


class _Locks:
    """uv's locks on environments, which are taken until a signal interrupts the wait for one."""

    def __init__(self, supervisor: Supervisor, messages: Messages, *, dry_run: bool) -> None:
        """Take none yet, and none at all in a dry run."""
        self.interrupted = False
        self._supervisor = supervisor
        self._messages = messages
        self._paths: dict[Environment, list[str]] | None = None if dry_run else {}

    @contextlib.contextmanager
    def on(self, found: Environment) -> Iterator[bool]:
        """Hold the locks on `found`; yield False if that was interrupted, now or before."""
        with contextlib.ExitStack() as stack:
            try:
                for path in [] if self.interrupted else self._of(found):
                    lock = uv_lock(path, self._supervisor.interrupted, self._messages.waiting)
                    stack.enter_context(lock)
            except LockInterruptedError:
                self.interrupted = True
                stack.close()
            yield not self.interrupted

    def _of(self, found: Environment) -> list[str]:
        if self._paths is None:
            return []
        if found not in self._paths:
            self._paths[found] = targets.locks(found, self._supervisor)
            self._supervisor.end_if_interrupted()
        return self._paths[found]


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


def _as_json(done: Iterable[Fixed], *, dry_run: bool) -> str:
    """Return the results as JSON. Keys may be added to the schema, never changed."""
    import json

    result = {"schema": SCHEMA, "dry_run": dry_run, "environments": list(map(as_json, done))}
    return json.dumps(result, indent=2) + "\n"
