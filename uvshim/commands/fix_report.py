"""The report of `uvshim fix` on one environment, on disk or in an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from uvshim.check.diagnosis import DUPLICATE, GHOST
from uvshim.check.output import left_out, reinstalls
from uvshim.messages import counted, printable
from uvshim.rename.on_disk import LeftAlone

if TYPE_CHECKING:
    from uvshim.check.diagnosis import Finding
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
        """The findings that no rename fixes, with the reason: a clause that follows the path."""
        wrong = self.report.diagnosis.wrong
        return [(each, _REST[each.kind].format(each.name)) for each in wrong if each.kind in _REST]

    @property
    def owned(self) -> list[LeftAlone]:
        """The directories that another package manager owns; its name is the reason."""
        is_foreign = self.report.installation.belongs_to_system
        wrong = [each for each in self.report.diagnosis.wrong if each.kind not in _REST]
        system = [LeftAlone(each.path, "dpkg") for each in wrong if is_foreign(each.path)]
        return [*self.outcome.owned, *system]

    @property
    def complete(self) -> bool:
        """Whether everything is fixed, or after a dry run can be fixed."""
        return not self.outcome.left_alone and not self.rest


def say(fixed: Fixed, messages: Messages, *, dry_run: bool, among_others: bool) -> None:
    """Report what was done in one environment, what is left, and which commands help."""
    outcome, report = fixed
    path = printable(report.called)
    if not outcome.renamed and fixed.complete:
        messages.note(f"Nothing to fix in `{path}`")
    elif among_others:
        messages.note(f"In `{path}`:")
    messages.outcome(outcome, "Would renormalize" if dry_run else "Renormalized")
    for finding, clause in fixed.rest:
        messages.warning(f"`{printable(report.outside(finding.path))}` {printable(clause)}")
    for owner in sorted({each.reason for each in fixed.owned}):
        paths = [each.path for each in fixed.owned if each.reason == owner]
        names = ", ".join(printable(os.path.basename(path)) for path in paths)
        directories = counted(len(paths), "directory", "directories")
        messages.note(f"Left {directories} unchanged that {owner} owns: {names}")
    for line in left_out(report):
        messages.note(line)
    for command in reinstalls(report):
        messages.hint(command)


def as_json(fixed: Fixed) -> dict[str, Any]:
    """Return what was done in one environment, as an object for the module `json`."""
    report = fixed.report
    return {
        "path": report.outside(report.installation.path),
        "complete": fixed.complete,
        "renamed": [vars(each) for each in fixed.outcome.renamed],
        "left_alone": [vars(each) for each in fixed.outcome.left_alone],
        "owned": [{"path": each.path, "owner": each.reason} for each in fixed.owned],
        "rest": [
            {**finding._asdict(), "path": report.outside(finding.path), "reason": clause}
            for finding, clause in fixed.rest
        ],
        "commands": reinstalls(report),
    }
