"""`uvshim fix`: rename what has a wrong name in environments that exist already."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from uvshim import config
from uvshim.check import spelling
from uvshim.check.diagnosis import DUPLICATE, GHOST, diagnose_directories
from uvshim.check.output import SCHEMA, left_out, reinstalls
from uvshim.check.report import Gate, Report
from uvshim.commands import named
from uvshim.errors import UvshimError
from uvshim.messages import printable
from uvshim.rename import on_disk
from uvshim.uv import process
from uvshim.uv.lock import LockInterruptedError, uv_lock
from uvshim.uv.supervisor import Supervisor
from uvshim.uvpip import NOT_RENAMED

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from uvshim.check.diagnosis import Finding
    from uvshim.environments.installation import Installation
    from uvshim.messages import Messages
    from uvshim.rename.on_disk import Outcome
    from uvshim.rename.plan import Plan


class Fixed(NamedTuple):
    """What was done in one environment, and what is found in it afterwards."""

    outcome: Outcome
    report: Report

    @property
    def rest(self) -> list[tuple[Finding, str]]:
        """What no rename helps, with the reason: a clause that goes after the path."""
        place = self.report.place
        found = []
        for finding in self.report.diagnosis.wrong:
            if finding.kind == GHOST:
                found.append((finding, f"is left of {finding.name}, whose code is gone"))
            elif finding.kind == DUPLICATE:
                found.append((finding, f"is one of several of {finding.name}"))
            elif place.belongs_to_system(finding.path):
                found.append((finding, "belongs to the system's packages, and was left alone"))
        return found

    @property
    def complete(self) -> bool:
        """Whether all is well now; after a dry run, whether all can be fixed."""
        return not self.outcome.left_alone and not self.rest


def main(options: argparse.Namespace, messages: Messages) -> int:
    """Rename what has a wrong name in every environment, one after the other."""
    words, names = named.apart(options)
    if names or options.output is not None:
        return _fix_images(words, names, options, messages)
    found = named.installations(words, messages)
    gate = Gate(config.exclusions(process.working_directory()))
    supervisor = Supervisor()
    done: list[Fixed] = []
    interrupted = False
    try:
        for each in found:
            place = named.with_lock(each, supervisor)
            supervisor.end_if_interrupted()
            path = None if options.dry_run else place.lock
            # To the end: what uv is half way through would look like what is left of something.
            with uv_lock(path, supervisor.interrupted, messages.waiting):
                done.append(_fix(place, gate, dry_run=options.dry_run))
            if options.format == "text":
                say(done[-1], messages, dry_run=options.dry_run, among_others=len(found) > 1)
    except LockInterruptedError:
        messages.warning("interrupted while another uv had the lock")
        interrupted = True
    if options.format == "json":
        sys.stdout.write(_as_json(done, dry_run=options.dry_run))
        sys.stdout.flush()
    complete = not interrupted and all(each.complete for each in done)
    return supervisor.finish(0 if complete else NOT_RENAMED)


def _fix_images(
    words: list[str], names: list[str], options: argparse.Namespace, messages: Messages
) -> int:
    """Mend images instead: an environment is changed where it lies, an image never is."""
    from uvshim.commands import fix_image

    if words or not names:
        what = f"`{printable(words[0])}` is not an image" if words else "there is none to mend"
        message = f"`--images` and `--output` are for images, and {what}"
        raise UvshimError(message)
    return fix_image.main(names, options, messages)


def _fix(place: Installation, gate: Gate, *, dry_run: bool) -> Fixed:
    """Rename what has a wrong name in `place`, and look at it again."""
    paths = [
        os.path.join(directory, name)
        for directory in place.environment().site_packages()
        for name in sorted(os.listdir(directory))
        if name.endswith(".dist-info") and name[0] != "~"  # which pip has put aside
    ]
    known: dict[str, Plan] = {}
    outcome = on_disk.rename(
        paths,
        lambda name: not gate.excludes(name),
        in_use=spelling.in_use(place.tree, place.visible),
        dry_run=dry_run,
        known=known,
    )
    # Only a tree without a root has the paths of this machine, by which plans are known.
    diagnosis = diagnose_directories(
        place.tree,
        place.site_packages,
        excluded=gate.excludes,
        known=known if place.tree.root is None else None,
    )
    return Fixed(outcome, Report(place, diagnosis, gate))


def say(fixed: Fixed, messages: Messages, *, dry_run: bool, among_others: bool) -> None:
    """Say what was done in one environment, what is left in it, and which commands help."""
    outcome, report = fixed
    path = printable(report.called)
    if not outcome.renamed and fixed.complete:
        messages.note(f"Nothing to fix in `{path}`")
    elif among_others:
        messages.note(f"In `{path}`:")
    messages.outcome(outcome, "Would renormalize" if dry_run else "Renormalized")
    for finding, clause in fixed.rest:
        messages.warning(f"`{printable(report.outside(finding.path))}` {printable(clause)}")
    for line in left_out(report):
        messages.note(line)
    for command in reinstalls(report):
        messages.hint(command)


def _as_json(done: Iterable[Fixed], *, dry_run: bool) -> str:
    """Return what was done as JSON. Keys may be added to the schema, never changed."""
    environments = [as_json(each) for each in done]
    result = {"schema": SCHEMA, "dry_run": dry_run, "environments": environments}
    return json.dumps(result, indent=2) + "\n"


def as_json(fixed: Fixed) -> dict[str, Any]:
    """Return what was done in one environment, as what the module `json` takes."""
    report = fixed.report
    return {
        "path": report.outside(report.place.path),
        "complete": fixed.complete,
        "renamed": [each._asdict() for each in fixed.outcome.renamed],
        "left_alone": [each._asdict() for each in fixed.outcome.left_alone],
        "rest": [
            {**finding._asdict(), "path": report.outside(finding.path), "reason": clause}
            for finding, clause in fixed.rest
        ],
        "commands": reinstalls(report),
    }
