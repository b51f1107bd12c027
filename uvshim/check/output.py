"""What `uvshim check` says: for people, what is wrong first; for programs, all of it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from uvshim.check.diagnosis import DUPLICATE, GHOST, Unresolvable
from uvshim.check.distributions import parsed_version
from uvshim.messages import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Style, counted, printable, quoted
from uvshim.rename.plan import MISNAMED, NORMALIZED_NAME, STALE_RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from packaging.version import Version

    from uvshim.check.diagnosis import Diagnosis, Failure, Finding
    from uvshim.check.report import Report
    from uvshim.check.verify import Difference

SCHEMA = 1

# How many lines of one kind are shown without -v.
_SHOWN = 8

# How many names stand in one line.
_NAMED = 3

# What `uvshim fix` fixes, and so is not a finding after it.
_MENDABLE = (MISNAMED, NORMALIZED_NAME, STALE_RECORD)

# --- for programs ---------------------------------------------------------------------------------


def as_json(reports: Iterable[Report], **more: Any) -> str:
    """Return the result as JSON, with `more` beside the environments.

    Keys may be added to the schema, never changed.
    """
    import json

    environments = [environment_as_json(each) for each in reports]
    content = {"schema": SCHEMA, "environments": environments, **more}
    return json.dumps(content, indent=2) + "\n"


def environment_as_json(report: Report) -> dict[str, Any]:
    """Return what is said of one environment, as what the module `json` takes."""
    found = report.diagnosis

    def plain(one: Finding) -> dict[str, Any]:
        return {**one._asdict(), "path": report.outside(one.path)}

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
        "findings": [plain(one) for one in found.findings],
        "unresolvable": [one._asdict() for one in found.unresolvable],
        "entry_points": [one._asdict() for one in found.entry_points],
        "failures": [one._asdict() for one in found.failures],
        "unreadable": [
            {**one._asdict(), "path": report.outside(one.path)} for one in found.unreadable
        ],
        "differences": None
        if report.differences is None
        else [{**one._asdict(), "path": report.outside(one.path)} for one in report.differences],
        "spellings": [one._asdict() for one in found.spellings],
        "excluded": [
            {**plain(one), "by": report.gate.source_of(one.name)} for one in found.excluded
        ],
    }


# --- for people -----------------------------------------------------------------------------------


def as_text(report: Report, style: Style, *, everything: bool) -> str:
    """Return what is said of one environment: lines, with a line feed each, and none too many.

    Of a long list only the beginning is shown, unless `everything` is asked for.
    """
    sections = (
        _findings(report.diagnosis, style),
        _hidden(report.diagnosis, style),
        _entry_points(report.diagnosis, style),
        _spellings(report.diagnosis, style),
        _refused(report.diagnosis, style),
        _unreadable(report),
        _differences(report, style),
    )
    lines = [
        _heading(report, style),
        *(line for each in sections for line in _cut(each, everything=everything)),
        *_notes(report, style),
        *_remedies(report, style),
    ]
    return "".join(f"{line}\n" for line in lines)


def _heading(report: Report, style: Style) -> str:
    found = report.diagnosis
    path = printable(report.called)
    mark = (
        style.paint(BOLD + ";" + RED, "broken")
        if report.broken
        else style.paint(BOLD + ";" + GREEN, "ok")
    )
    setuptools = (
        f"setuptools {printable(found.setuptools)}" if found.setuptools else "no setuptools"
    )
    about = style.paint(DIM, f"({counted(found.distributions, 'distribution')}, {setuptools})")
    return f"{style.paint(BOLD, path)}: {mark} {about}"


# A section is its title and its lines; nothing where there is nothing to say.
_Section = tuple[str, list[str]]


def _findings(found: Diagnosis, style: Style) -> _Section:
    lines = [
        f"{style.paint(YELLOW, finding.kind)} {_named(finding, style)}: "
        f"{printable(os.path.basename(finding.path))}"
        + ("" if os.path.basename(finding.path) == finding.expected else f" → {finding.expected}")
        for finding in found.wrong
    ]
    return f"{counted(len(lines), 'thing')} wrong with dist-info directories", lines


def _hidden(found: Diagnosis, style: Style) -> _Section:
    lines = [
        f"{_named(each, style)} needs {', '.join(map(printable, each.missing))}"
        if set(each.missing) != {each.name}
        else f"{_named(each, style)} itself"
        for each in found.hidden
    ]
    return f"pkg_resources.require() fails for {counted(len(lines), 'distribution')}", lines


def _entry_points(found: Diagnosis, style: Style) -> _Section:
    names = {each.name for each in found.hidden}
    groups: dict[str, list[str]] = {}
    for entry in found.entry_points:
        if entry.distribution in names:
            groups.setdefault(entry.group, []).append(entry.name)
    lines = [
        f"{style.paint(CYAN, printable(group))}: {', '.join(map(printable, sorted(entries)))}"
        for group, entries in sorted(groups.items(), key=lambda item: _importance(item[0]))
    ]
    return "Entry points of these, which a plugin loader may drop without a word", lines


def _importance(group: str) -> tuple[bool, str]:
    """Return where a group stands: plugins before the scripts, which seldom ask pkg_resources."""
    return group in {"console_scripts", "gui_scripts"}, group


def _spellings(found: Diagnosis, style: Style) -> _Section:
    lines = [
        f"{style.paint(BOLD, printable(each.name))} is {'' if each.found else 'not '}found as "
        f"{printable(each.spelling)}, which is how {_listed(each.by)} "
        + ("spells it" if len(each.by) == 1 else "spell it")
        for each in found.spellings
    ]
    title = "No directory has two names, and setuptools before 62 finds each name one way only"
    return title, lines


def _listed(names: Sequence[str]) -> str:
    """Return `names` for people; of many the first, and a count."""
    shown = list(map(printable, names))
    if len(shown) > _NAMED + 1:
        shown[_NAMED:] = [f"{len(shown) - _NAMED} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _refused(found: Diagnosis, style: Style) -> _Section:
    lines = [f"{_named(each, style)} {printable(_refusal(each))}" for each in found.refused]
    number = counted(len(lines), "distribution")
    return f"pkg_resources.require() fails for {number}, whatever the names (see --strict)", lines


def _refusal(each: Unresolvable | Failure) -> str:
    if isinstance(each, Unresolvable):
        verb = "is" if len(each.absent) == 1 else "are"
        return f"needs {', '.join(each.absent)}, which {verb} not installed"
    return f"{each.error}: {each.reason}" if each.reason else each.error


def _unreadable(report: Report) -> _Section:
    lines = [
        f"{printable(report.outside(each.path))}: {printable(each.reason)}"
        for each in report.diagnosis.unreadable
    ]
    return "dist-info directories that say nothing", lines


def _differences(report: Report, style: Style) -> _Section:
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
    return f"{counted(len(differing), 'distribution')} not as RECORD says", lines


def _cut(section: _Section, *, everything: bool) -> Iterator[str]:
    """Yield the lines of a `section`, indented; of a long one the first, and a count."""
    title, lines = section
    if not lines:
        return
    yield f"  {title}"
    shown = lines if everything or len(lines) <= _SHOWN + 1 else lines[:_SHOWN]
    for line in shown:
        yield f"    {line}"
    if len(shown) < len(lines):
        yield f"    … and {len(lines) - len(shown)} more (-v shows all)"


def _notes(report: Report, style: Style) -> Iterator[str]:
    found = report.diagnosis
    if found.harmless:
        names = counted(found.harmless, "normalized name")
        why = "has no trouble with" if found.setuptools else "is not there to miss"
        yield style.paint(DIM, f"  {names}, which the pkg_resources of this environment {why}")
    if report.differences == ():
        yield style.paint(DIM, "  Every file is what RECORD says")
    for line in left_out(report):
        yield f"  {style.paint(YELLOW, line)}"


def left_out(report: Report) -> Iterator[str]:
    """Yield how many directories with something wrong are left out by which file or variable."""
    sources: dict[str, set[str]] = {}
    for finding in filter(report.diagnosis.matters, report.diagnosis.excluded):
        where = report.gate.source_of(finding.name) or ""
        sources.setdefault(where, set()).add(finding.path)
    for where, paths in sources.items():
        number = counted(len(paths), "directory", "directories")
        source = f"`exclude` in `{printable(where)}`" if os.sep in where else where
        verb = "is" if len(paths) == 1 else "are"
        yield f"{number} with something wrong {verb} left out by {source}"


def _remedies(report: Report, style: Style) -> Iterator[str]:
    """Yield the commands that fix what is wrong, `fix` first."""
    found = report.installation
    mendable = {
        os.path.dirname(each.path) for each in report.diagnosis.wrong if each.kind in _MENDABLE
    }
    inherited = sorted(mendable.intersection(found.inherited))
    own = [found.path] if mendable - set(inherited) else []
    commands = [f"uvshim fix {quoted(report.outside(path))}" for path in own + inherited]
    if report.image is not None:
        commands = list(_fixing(report.image)) if mendable else []
    for command in commands + reinstalls(report):
        yield f"  {style.label(CYAN, 'hint')} {command}"


def _fixing(image: str) -> Iterator[str]:
    """Yield the command that fixes `image`, if it has a tag from which another can be made.

    An archive is not modified, so its fixed image goes to a new one.
    """
    transport, _, rest = image.partition(":")
    is_archive = transport in {"oci-archive", "docker-archive"}
    path, _, name = rest.partition(":") if is_archive else ("", "", rest)
    if "@" in image or (not is_archive and ":" not in name.rpartition("/")[2]) or not name:
        return
    fixed = f"{image}-fixed"
    if is_archive:
        kind = "docker-archive" if ":" in name else "oci-archive"
        fixed = f"{kind}:{re.sub(r'[/:]', '-', name)}-fixed.tar:{name}-fixed"
    piped = path == "-" or path.startswith("/dev/fd/")
    source = (
        f"docker save {quoted(name)} | uvshim fix -" if piped else f"uvshim fix {quoted(image)}"
    )
    yield f"{source} --output {quoted(fixed)}"


def reinstalls(report: Report) -> list[str]:
    """Return the commands that help where no rename does.

    They resolve duplicates, ghosts and spellings of which one is not found, and bring back what was
    changed. Only an installer can: the code has to come back, or one of two has to go with its
    code, or a pkg_resources is needed that finds every spelling. In an image they are to be run
    inside of it.
    """
    versions: dict[str, list[str]] = {}
    for finding in report.diagnosis.findings:
        if finding.kind in {DUPLICATE, GHOST}:
            versions.setdefault(finding.name, []).append(finding.version)
    for each in report.differences or ():
        versions.setdefault(each.name, []).append(each.version)
    command = f"uvpip install {report.installation.option} {quoted(report.installation.path)}"
    newer = [f"{command} 'setuptools>=62,<82'"] if report.diagnosis.spellings else []
    return newer + [
        f"{command} --no-deps --reinstall " + quoted(f"{name}=={max(found, key=_age)}")
        for name, found in versions.items()
    ]


def _age(version: str) -> Version:
    """Return what versions are compared by; one that is none counts as the oldest."""
    from packaging.version import Version

    return parsed_version(version) or Version("0.dev0")


def _named(each: Finding | Unresolvable | Failure | Difference, style: Style) -> str:
    return f"{style.paint(BOLD, printable(each.name))}=={printable(each.version)}"
