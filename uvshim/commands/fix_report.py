"""The report of `uvshim fix` on one environment, on disk or in an image."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from uvshim.check.directories import DUPLICATE, GHOST
from uvshim.check.output import SCHEMA, left_out
from uvshim.check.remedies import fixable, fixes, reinstalls
from uvshim.messages import counted, printable
from uvshim.rename.names import normalized
from uvshim.rename.on_disk import LeftAlone

if TYPE_CHECKING:
    import argparse

    from uvshim.check.directories import Finding
    from uvshim.check.report import Report
    from uvshim.messages import Messages
    from uvshim.rename.on_disk import Outcome

# What no rename fixes, by its kind.
_REST = {GHOST: "belongs to {}, but its code is gone", DUPLICATE: "duplicates {}"}


class Fixed(NamedTuple):
    """What was renamed in one environment, and the report on it afterwards."""

    outcome: Outcome
    report: Report

    @property
    def rest(self) -> list[tuple[Finding, str]]:
        """The findings that no rename here fixes, and why: a clause that follows the path."""
        own = self.report.installation.site_packages
        wrong = [each for each in self.report.diagnosis.wrong if not each.owner]
        found = [(each, _REST[each.kind].format(each.name)) for each in wrong if each.kind in _REST]
        return found + [
            (each, "is inherited from another environment")
            for each in fixable(self.report)
            if os.path.dirname(each.path) not in own
        ]

    @property
    def left_alone(self) -> list[LeftAlone]:
        """What could not be renamed, and what cannot be read; with the reason."""
        more = [(one.path, one.reason) for one in self.report.diagnosis.unreadable]
        return self._with(self.outcome.left_alone, more)

    @property
    def owned(self) -> list[LeftAlone]:
        """The directories that another package manager owns; its name is the reason."""
        more = [(one.path, one.owner) for one in self.report.diagnosis.wrong if one.owner]
        return self._with(self.outcome.owned, more)

    def _with(self, known: list[LeftAlone], more: list[tuple[str, str]]) -> list[LeftAlone]:
        found = {one.path: one for one in known}
        for path, reason in more:
            outside = self.report.outside(path)
            found.setdefault(outside, LeftAlone(outside, reason))
        return list(found.values())

    @property
    def unresolvable(self) -> list[str]:
        """The names that are still not found, if no other package manager is responsible."""
        found = self.report.diagnosis
        owned = {normalized(finding.name) for finding in found.wrong if finding.owner}
        missing = {name for each in found.hidden for name in each.hidden}
        missing.update(name for each in found.programs for name in each.affects)
        return sorted(name for name in missing if normalized(name) not in owned)

    @property
    def complete(self) -> bool:
        """Whether everything is fixed, or after a dry run can be fixed."""
        found, outside = self.report.diagnosis, self.report.outside
        harmless = {
            (outside(one.path), one.obstacle) for one in found.findings if not found.matters(one)
        }
        left = [one for one in self.left_alone if (one.path, one.reason) not in harmless]
        return not (left or self.rest or self.unresolvable)

    @property
    def commands(self) -> list[str]:
        """The commands that help with the rest."""
        return fixes(self.report, inherited_only=True) + reinstalls(self.report)


def say(fixed: Fixed, messages: Messages, *, dry_run: bool, among_others: bool) -> None:
    """Report what was done in one environment, what is left, and which commands help."""
    outcome, report = fixed
    path = printable(report.called)
    if not outcome.renamed and fixed.complete:
        messages.note(f"Nothing to fix in `{path}`")
    elif among_others:
        messages.note(f"In `{path}`:")
    messages.outcome(outcome, "Would renormalize" if dry_run else "Renormalized")
    for left in fixed.left_alone[len(outcome.left_alone) :]:
        messages.warning(f"`{printable(left.path)}` was left alone: {printable(left.reason)}")
    for finding, clause in fixed.rest:
        messages.warning(f"`{printable(report.outside(finding.path))}` {printable(clause)}")
    if fixed.unresolvable and not (fixed.left_alone or fixed.rest):
        names = ", ".join(map(printable, fixed.unresolvable))
        messages.warning(f"pkg_resources still does not find {names}: see `uvshim check`")
    for owner in sorted({each.reason for each in fixed.owned}):
        paths = [each.path for each in fixed.owned if each.reason == owner]
        names = ", ".join(printable(os.path.basename(path)) for path in paths)
        directories = counted(len(paths), "directory", "directories")
        messages.note(f"Left {directories} unchanged that {owner} owns: {names}")
    for line in left_out(report):
        messages.note(line)
    for command in fixed.commands:
        messages.hint(command)


def as_json(fixed: Fixed) -> dict[str, Any]:
    """Return what was done in one environment, as an object for the module `json`."""
    report = fixed.report
    return {
        "path": report.outside(report.installation.path),
        "complete": fixed.complete,
        "renamed": [vars(each) for each in fixed.outcome.renamed],
        "left_alone": [vars(each) for each in fixed.left_alone],
        "owned": [{"path": each.path, "owner": each.reason} for each in fixed.owned],
        "rest": [
            {**finding._asdict(), "path": report.outside(finding.path), "reason": clause}
            for finding, clause in fixed.rest
        ],
        "unresolvable": fixed.unresolvable,
        "commands": fixed.commands,
    }


def write_json(options: argparse.Namespace, **content: Any) -> None:
    """Write the result as JSON. Keys may be added to the schema, never changed."""
    result = {"schema": SCHEMA, "dry_run": options.dry_run, **content}
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    sys.stdout.flush()
