"""The output of `uvshim check`: for people, problems first; for programs, everything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from uvshim.check.lookups import SCRIPTS, Unresolvable
from uvshim.check.remedies import FIXABLE, remedies
from uvshim.messages import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Style, counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from uvshim.check.diagnosis import Diagnosis
    from uvshim.check.directories import Finding
    from uvshim.check.lookups import AffectedProgram, Failure
    from uvshim.check.report import Report
    from uvshim.check.verify import Difference

    _Distribution = Finding | Unresolvable | Failure | Difference | AffectedProgram

SCHEMA = 1

# How many lines of one kind are shown without -v.
_SHOWN = 8

# How many names are in one line.
_NAMED = 3

# --- for programs ---------------------------------------------------------------------------------


def as_json(reports: Iterable[Report], **more: Any) -> str:
    """Return the result as JSON, with `more` beside the environments.

    Keys may be added to the schema, never changed.
    """
    import json

    content = {"schema": SCHEMA, "environments": [_as_json(each) for each in reports], **more}
    return json.dumps(content, indent=2) + "\n"


def _as_json(report: Report) -> dict[str, Any]:
    """Return the report on one environment as an object for the module `json`."""
    found = report.diagnosis

    def plain(records: Iterable[Any]) -> list[dict[str, Any]]:
        return [
            {key: report.outside(each) if key == "path" else each for key, each in one.items()}
            for one in (record._asdict() for record in records)
        ]

    lists = ("findings", "unresolvable", "entry_points", "failures", "unreadable", "invalid")
    return {
        "image": report.image,
        "digest": report.digest,
        "platform": report.platform,
        "path": report.outside(report.installation.path),
        "site_packages": [report.outside(path) for path in found.site_packages],
        "distributions": found.distributions,
        "setuptools": found.setuptools,
        "affected": found.affected,
        "broken": report.broken,
        **{key: plain(getattr(found, key)) for key in lists},
        "differences": None if report.differences is None else plain(report.differences),
        "spellings": plain(found.spellings),
        "empty": report.empty,
        "lookups": plain(found.lookups),
        "programs": plain(found.programs),
        "excluded": [
            {**one, "by": report.gate.source_of(one["name"])} for one in plain(found.excluded)
        ],
    }


# --- for people -----------------------------------------------------------------------------------


def as_text(report: Report, style: Style, *, everything: bool) -> str:
    """Return the report on one environment as lines, each with a line feed.

    Long lists are cut, unless `everything` is true.
    """
    hint = style.label(CYAN, "hint")
    lines = [
        heading(report, style),
        *(line for each in sections(report, style) for line in _cut(*each, everything=everything)),
        *(f"  {line}" for line in notes(report, style)),
        *(f"  {hint} {line}" for line in remedies(report)),
    ]
    return "".join(f"{line}\n" for line in lines)


# A title and lines.
_Section = tuple[str, list[str]]


def sections(report: Report, style: Style) -> list[_Section]:
    """Return what is to be said of the environment: each kind of fact under a title."""
    found = (
        *_about_directories(report.diagnosis, style),
        *_about_lookups(report.diagnosis, style),
        *_about_files(report, style),
    )
    return [(title, lines) for title, lines in found if lines]


def heading(report: Report, style: Style) -> str:
    """Return the line about the whole environment."""
    found = report.diagnosis
    path = printable(report.called)
    color, word = (RED, "broken") if report.broken else (GREEN, "ok")
    if report.empty and not found.broken:
        color, word = YELLOW, "empty"
    mark = style.paint(f"{BOLD};{color}", word)
    setuptools = (
        f"setuptools {printable(found.setuptools)}" if found.setuptools else "no setuptools"
    )
    about = style.paint(DIM, f"({counted(found.distributions, 'distribution')}, {setuptools})")
    return f"{style.paint(BOLD, path)}: {mark} {about}"


def _about_directories(found: Diagnosis, style: Style) -> Iterator[_Section]:
    """Yield what is wrong with directories, and what `require` fails for because of that."""
    lines = [
        f"{style.paint(YELLOW, finding.kind)} {_named(finding, style)}: "
        f"{printable(os.path.basename(finding.path))}{_arrow(finding)}"
        for finding in found.wrong
    ]
    yield f"{counted(len(lines), 'problem')} with dist-info directories", lines
    lines = [
        f"{_named(each, style)} needs {', '.join(map(printable, each.missing))}"
        if set(each.missing) != {each.name}
        else f"{_named(each, style)} itself"
        for each in found.hidden
    ]
    yield f"pkg_resources.require() fails for {counted(len(lines), 'distribution')}", lines
    hidden = {each.name for each in found.hidden}
    groups = _grouped(
        (one.group, one.name) for one in found.entry_points if one.distribution in hidden
    )
    lines = [
        f"{style.paint(CYAN, printable(group))}: {', '.join(map(printable, sorted(groups[group])))}"
        for group in sorted(groups, key=lambda group: (group in SCRIPTS, group))  # plugins first
    ]
    yield "Their entry points, which a plugin loader may drop without an error", lines


def _about_lookups(found: Diagnosis, style: Style) -> Iterator[_Section]:
    """Yield what fails beside the names of directories: programs, spellings, requirements."""
    lines = [
        f"{_named(each, style)} {each.consequence} {_listed(each.affects)}"
        for each in found.programs
    ]
    yield f"{counted(len(lines), 'installed program')} known to fail because of a name", lines
    alike = _grouped((", ".join(one.failing), one.name) for one in found.by_require_only)
    lines = [f"{style.paint(YELLOW, which)} not for {_listed(alike[which])}" for which in alike]
    number = counted(len(found.by_require_only), "distribution")
    yield f"pkg_resources finds {number} by require() only (see --strict)", lines
    lines = [
        f"{style.paint(BOLD, printable(each.name))} is {'' if each.found else 'not '}found as "
        f"{printable(each.spelling)}, which is how {_listed(each.by)} "
        + ("spells it" if len(each.by) == 1 else "spell it")
        for each in found.spellings
    ]
    yield "Setuptools before 62 finds each directory by one spelling only", lines
    lines = [f"{_named(each, style)} {printable(_refusal(each))}" for each in found.refused]
    number = counted(len(lines), "distribution")
    yield f"pkg_resources.require() fails for {number} for other reasons (see --strict)", lines


def _about_files(report: Report, style: Style) -> Iterator[_Section]:
    """Yield what cannot be read, and what differs from RECORD."""
    for title, directories in (
        ("that cannot be read", report.diagnosis.unreadable),
        ("without a valid METADATA (see --strict)", report.diagnosis.invalid),
    ):
        lines = [f"{report.outside(each.path)}: {each.reason}" for each in directories]
        yield f"dist-info directories {title}", list(map(printable, lines))
    differing = report.differences or ()
    lines = [
        f"{_named(each, style)}: {style.paint(YELLOW, what)} {printable(path)}".rstrip()
        for each in differing
        for what, paths in (
            (printable(each.fault), [""] if each.fault else []),
            ("missing", each.missing),
            ("changed", each.changed),
            ("not in RECORD", each.unlisted),
        )
        for path in paths
    ]
    yield f"{counted(len(differing), 'distribution')} with files that differ from RECORD", lines


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for first, second in pairs:
        groups.setdefault(first, []).append(second)
    return groups


def _arrow(finding: Finding) -> str:
    """Return an arrow and the new name of the directory, who owns it, or why it must stay."""
    if finding.owner:
        return f", which {printable(finding.owner)} owns: uvshim leaves it alone"
    if finding.obstacle:
        return f", which cannot be renamed: {printable(finding.obstacle)}"
    is_due = finding.kind in FIXABLE and os.path.basename(finding.path) != finding.expected
    return f" → {finding.expected}" if is_due else ""


def _refusal(each: Unresolvable | Failure) -> str:
    if isinstance(each, Unresolvable):
        verb = "is" if len(each.absent) == 1 else "are"
        return f"needs {', '.join(each.absent)}, which {verb} not installed"
    return f"{each.error}: {each.reason}" if each.reason else each.error


def _listed(names: Sequence[str]) -> str:
    """Return `names` as text: if there are many, the first ones and a count."""
    shown = list(map(printable, names))
    if len(shown) > _NAMED + 1:
        shown[_NAMED:] = [f"{len(shown) - _NAMED} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _cut(title: str, lines: list[str], *, everything: bool) -> list[str]:
    """Return the `lines` of a section, indented; if there are many, the first ones and a count."""
    if not everything and len(lines) > _SHOWN + 1:
        lines = [*lines[:_SHOWN], f"… and {len(lines) - _SHOWN} more (-v shows all)"]
    return [f"  {title}", *(f"    {line}" for line in lines)]


def notes(report: Report, style: Style) -> Iterator[str]:
    """Yield what is worth knowing beside the sections."""
    found = report.diagnosis
    harmless = len(found.findings) - len(found.wrong)
    if harmless and not (found.lookups or found.programs):
        names, verb = counted(harmless, "normalized name"), "is" if harmless == 1 else "are"
        why = "harmless here" + ("" if found.checks_requirements else ": there is no pkg_resources")
        if found.setuptools is None and report.is_alone:
            why += ". A Python that imports from here may have one"
        yield style.paint(DIM, f"{names} {verb} {why}")
    if report.gate.strict and not found.checks_requirements:
        yield "Requirements were not checked: there is no pkg_resources. `uv pip check` checks them"
    if report.differences == ():
        yield style.paint(DIM, "All files are as RECORD lists them")
    misspelled = _grouped((name, each.name) for each in found.hidden for name in each.misspelled)
    for name, by in misspelled.items():
        why = f"METADATA spells this name with other separators than {_listed(by)}"
        line = f"No rename helps {printable(name)}: {why}. Setuptools 75.8.2 to 81 find it"
        yield style.paint(YELLOW, line)
    for line in left_out(report):
        yield style.paint(YELLOW, line)


def left_out(report: Report) -> Iterator[str]:
    """Yield how many broken directories each file or variable excludes."""
    broken = filter(report.diagnosis.matters, report.diagnosis.excluded)
    sources = _grouped((report.gate.source_of(one.name) or "", one.path) for one in broken)
    for where, paths in sources.items():
        number = counted(len(set(paths)), "directory", "directories")
        source = f"`exclude` in `{printable(where)}`" if os.sep in where else where
        verb = "is" if len(set(paths)) == 1 else "are"
        yield f"{number} with a problem {verb} excluded by {source}"


def _named(each: _Distribution, style: Style) -> str:
    return f"{style.paint(BOLD, printable(each.name))}=={printable(each.version)}"
