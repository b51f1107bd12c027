"""`uvshim fix`: rename directories with wrong names in existing environments."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from uvshim import config
from uvshim.check import required
from uvshim.check.report import Gate, examine
from uvshim.commands import fix_report, pythons, targets
from uvshim.commands.fix_report import Fixed
from uvshim.environments import discovery, interpreter
from uvshim.environments.environment import dist_infos
from uvshim.environments.search_path import CONFIGURATION, is_usual
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
    paths = [] if options.dry_run else locks(environments, supervisor)
    supervisor.end_if_interrupted()
    several = len(environments) > 1
    done: list[Fixed] = []
    with contextlib.ExitStack() as held:
        try:
            for path in paths:
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


def locks(environments: list[Environment], supervisor: Supervisor) -> list[str]:
    """Return the files that a uv may lock while it installs into `environments`.

    They are in the same order for every caller, so that two of them do not wait for each other.
    """
    files: dict[tuple[int, int], str] = {}
    paths = {path for each in environments for path in _locks(each, supervisor) if path}
    for path in sorted(paths):
        with contextlib.suppress(OSError):
            status = os.stat(path)
            # We would wait for ourselves if a file were locked by two of its paths.
            files.setdefault((status.st_dev, status.st_ino), path)
    return [files[key] for key in sorted(files)]


def _locks(found: Environment, supervisor: Supervisor) -> Iterator[str | None]:
    """Yield the files that a uv may lock, existing or not.

    For a Python that is not virtual, that depends on the name by which uv runs it: so all its names
    are asked for. A uv outside of it installs into no other root than that of this machine.
    """
    tree = found.tree
    yield found.lock
    for place in {found.path, tree.real(found.path) or found.path}:
        root = interpreter.root_of(place) if found.path in found.site_packages else place
        for each in {place, root if is_usual(tree, place) else place}:
            yield tree.on_disk(os.path.join(each, ".lock"))
        if tree.root not in {None, "/"} or tree.is_file(os.path.join(root, CONFIGURATION)):
            continue
        version = interpreter.series(*found.site_packages)
        for name in tree.names(os.path.join(root, "bin")):
            if interpreter.is_python(name) and interpreter.series(name) in {None, version}:
                yield pythons.lock_of(os.path.join(root, "bin", name), supervisor)


def _fix_images(
    words: list[str], names: list[str], options: argparse.Namespace, messages: Messages
) -> int:
    """Fix images. Raise `UvshimError` if `words` also name environments, or nothing does."""
    from uvshim.commands import fix_image

    if words and not words[0]:
        raise UvshimError("an empty word is no image: is a variable unset?")
    if words and not os.path.lexists(words[0]):
        raise UvshimError(f"`{printable(words[0])}` {targets.refusal(words[0])}")
    if words or not names:
        what = f"`{printable(words[0])}` is not one" if words else "none is named"
        raise UvshimError(f"`--images` and `--output` are for images, and {what}")
    return fix_image.main(names, options, messages)
