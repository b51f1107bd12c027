"""What `uvshim fix` did in one environment, of an image too: for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from uvshim.check.diagnosis import DUPLICATE, GHOST
from uvshim.check.output import left_out, reinstalls
from uvshim.messages import printable

if TYPE_CHECKING:
    from uvshim.check.diagnosis import Finding
    from uvshim.check.report import Report
    from uvshim.messages import Messages
    from uvshim.rename.on_disk import Outcome


class Fixed(NamedTuple):
    """What was done in one environment, and what is found in it afterwards."""

    outcome: Outcome
    report: Report

    @property
    def rest(self) -> list[tuple[Finding, str]]:
        """What no rename helps, with the reason: a clause that goes after the path."""
        installation = self.report.installation
        found = []
        for finding in self.report.diagnosis.wrong:
            if finding.kind == GHOST:
                found.append((finding, f"is left of {finding.name}, whose code is gone"))
            elif finding.kind == DUPLICATE:
                found.append((finding, f"is one of several of {finding.name}"))
            elif installation.belongs_to_system(finding.path):
                found.append((finding, "belongs to the system's packages, and was left alone"))
        return found

    @property
    def complete(self) -> bool:
        """Whether all is well now; after a dry run, whether all can be fixed."""
        return not self.outcome.left_alone and not self.rest


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


def as_json(fixed: Fixed) -> dict[str, Any]:
    """Return what was done in one environment, as what the module `json` takes."""
    report = fixed.report
    return {
        "path": report.outside(report.installation.path),
        "complete": fixed.complete,
        "renamed": [vars(each) for each in fixed.outcome.renamed],
        "left_alone": [vars(each) for each in fixed.outcome.left_alone],
        "rest": [
            {**finding._asdict(), "path": report.outside(finding.path), "reason": clause}
            for finding, clause in fixed.rest
        ],
        "commands": reinstalls(report),
    }
