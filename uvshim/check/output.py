"""What `uvshim check` says: for people, what is wrong first; for programs, all of it."""

from __future__ import annotations

import json
import os
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check.diagnosis import DUPLICATE, GHOST
from uvshim.messages import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Style, counted, printable
from uvshim.rename.plan import MISNAMED, NORMALIZED_NAME, STALE_RECORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from packaging.version import Version

    from uvshim.check.diagnosis import Diagnosis, Finding, Unresolvable
    from uvshim.environments.installation import Installation

SCHEMA = 1

# How many lines of one kind are shown without -v.
_SHOWN = 8

# What can be put right, and so is no finding of its own after `uvshim fix`.
_MENDABLE = (MISNAMED, NORMALIZED_NAME, STALE_RECORD)


class Examined(NamedTuple):
    """An installation, and what was found out about it."""

    installation: Installation
    diagnosis: Diagnosis
    excluded: Callable[[str], bool]
    image: str | None = None
    """The reference to the image that it is in, as a person would write it; None: in none."""
    digest: str | None = None
    """That of the image."""
    platform: str | None = None
    """That of the image, as in ``linux/amd64``."""

    @property
    def wrong(self) -> list[Finding]:
        """The findings that break something here.

        A normalized name breaks nothing where no pkg_resources stumbles over it.
        """
        return [
            finding
            for finding in self.diagnosis.findings
            if finding.kind != NORMALIZED_NAME or self.diagnosis.affected
        ]

    @property
    def harmless(self) -> int:
        """How many normalized names there are that break nothing."""
        return len(self.diagnosis.findings) - len(self.wrong)

    @property
    def unresolvable(self) -> list[Unresolvable]:
        """What pkg_resources does not find although it is there, for a name not excluded."""
        return [
            each
            for each in self.diagnosis.unresolvable
            if not all(map(self.excluded, set(each.missing) - set(each.absent)))
        ]

    @property
    def broken(self) -> bool:
        """Whether a name, a directory or a RECORD is wrong here in a way that matters."""
        return bool(self.wrong or self.unresolvable or self.diagnosis.unreadable)

    def on_disk(self, path: str) -> str:
        """Return the `path` in the installation's tree as one on this machine."""
        root = self.installation.tree.root
        return path if root is None else os.path.join(root, path.lstrip("/"))

    def heading(self) -> str:
        """Return what a person calls it."""
        path = self.on_disk(self.installation.path)
        return path if self.image is None else f"{self.image} {path}"


def as_json(examined: Iterable[Examined]) -> str:
    """Return the result as JSON. Keys may be added to the schema, never changed."""
    environments = [
        {
            "image": each.image,
            "digest": each.digest,
            "platform": each.platform,
            "path": each.on_disk(each.installation.path),
            "site_packages": [each.on_disk(path) for path in each.diagnosis.site_packages],
            "distributions": each.diagnosis.distributions,
            "setuptools": each.diagnosis.setuptools,
            "affected": each.diagnosis.affected,
            "broken": each.broken,
            "findings": [
                {**finding._asdict(), "path": each.on_disk(finding.path)}
                for finding in each.diagnosis.findings
            ],
            "unresolvable": [one._asdict() for one in each.diagnosis.unresolvable],
            "entry_points": [one._asdict() for one in each.diagnosis.entry_points],
            "failures": [one._asdict() for one in each.diagnosis.failures],
            "unreadable": [
                {**one._asdict(), "path": each.on_disk(one.path)}
                for one in each.diagnosis.unreadable
            ],
        }
        for each in examined
    ]
    return json.dumps({"schema": SCHEMA, "environments": environments}, indent=2) + "\n"


def as_text(examined: Examined, style: Style, *, everything: bool) -> str:
    """Return the result for people: lines, with a line feed each, and none too many."""
    sections = [
        _heading(examined, style),
        *_cut(_findings(examined, style), everything=everything),
        *_cut(_unresolvable(examined, style), everything=everything),
        *_cut(_entry_points(examined, style), everything=everything),
        *_cut(_unreadable(examined), everything=everything),
        *_notes(examined, style),
        *_remedies(examined, style),
    ]
    return "".join(f"{line}\n" for line in sections)


def _heading(examined: Examined, style: Style) -> str:
    found = examined.diagnosis
    path = printable(examined.heading())
    mark = (
        style.paint(BOLD + ";" + RED, "broken")
        if examined.broken
        else style.paint(BOLD + ";" + GREEN, "ok")
    )
    setuptools = (
        f"setuptools {printable(found.setuptools)}" if found.setuptools else "no setuptools"
    )
    about = style.paint(DIM, f"({counted(found.distributions, 'distribution')}, {setuptools})")
    return f"{style.paint(BOLD, path)}: {mark} {about}"


# A section is its title and its lines; nothing where there is nothing to say.
_Section = tuple[str, list[str]]


def _findings(examined: Examined, style: Style) -> _Section:
    lines = [
        f"{style.paint(YELLOW, finding.kind)} {_named(finding, style)}: "
        f"{printable(os.path.basename(finding.path))}"
        + ("" if os.path.basename(finding.path) == finding.expected else f" → {finding.expected}")
        for finding in examined.wrong
    ]
    return f"{counted(len(lines), 'thing')} wrong with dist-info directories", lines


def _unresolvable(examined: Examined, style: Style) -> _Section:
    lines = [
        f"{_named(each, style)} needs {', '.join(each.missing)}"
        if set(each.missing) != {each.name}
        else f"{_named(each, style)} itself"
        for each in examined.unresolvable
    ]
    return f"pkg_resources.require() fails for {counted(len(lines), 'distribution')}", lines


def _entry_points(examined: Examined, style: Style) -> _Section:
    names = {each.name for each in examined.unresolvable}
    groups: dict[str, list[str]] = {}
    for entry in examined.diagnosis.entry_points:
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


def _unreadable(examined: Examined) -> _Section:
    lines = [
        f"{printable(examined.on_disk(each.path))}: {printable(each.reason)}"
        for each in examined.diagnosis.unreadable
    ]
    return "dist-info directories that say nothing", lines


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


def _notes(examined: Examined, style: Style) -> Iterator[str]:
    if examined.harmless:
        names = counted(examined.harmless, "normalized name")
        why = "has no trouble with" if examined.diagnosis.setuptools else "is not there to miss"
        yield style.paint(DIM, f"  {names}, which the pkg_resources of this environment {why}")
    absent = {name for each in examined.diagnosis.unresolvable for name in each.absent}
    if absent:
        names = ", ".join(map(printable, sorted(absent)))
        yield style.paint(DIM, f"  Required and not installed under any name: {names}")


def _remedies(examined: Examined, style: Style) -> Iterator[str]:
    """Yield the commands that put right what is wrong, `fix` first."""
    place = examined.installation
    mendable = {os.path.dirname(each.path) for each in examined.wrong if each.kind in _MENDABLE}
    inherited = sorted(mendable.intersection(place.inherited))
    own = [place.path] if mendable - set(inherited) else []
    commands = [f"uvshim fix {quote(examined.on_disk(path))}" for path in own + inherited]
    if examined.image is not None:
        commands = []  # its layers are not changed
    for command in commands + reinstalls(examined):
        yield f"  {style.label(CYAN, 'hint')} {command}"


def reinstalls(examined: Examined) -> list[str]:
    """Return the commands that resolve duplicates and ghosts.

    Only an installer can: the code has to come back, or one of two has to go with its code. In an
    image they are to be run inside of it.
    """
    place = examined.installation
    option = "--target" if place.path in place.site_packages else "--python"
    versions: dict[str, list[str]] = {}
    for finding in examined.diagnosis.findings:
        if finding.kind in {DUPLICATE, GHOST}:
            versions.setdefault(finding.name, []).append(finding.version)
    return [
        f"uvpip install {option} {quote(place.path)} --no-deps --reinstall "
        + quote(f"{name}=={max(found, key=_age)}")
        for name, found in versions.items()
    ]


def _age(version: str) -> Version:
    """Return what versions are compared by; one that is none counts as the oldest."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version)
    except InvalidVersion:
        return Version("0.dev0")


def _named(each: Finding | Unresolvable, style: Style) -> str:
    return f"{style.paint(BOLD, printable(each.name))}=={printable(each.version)}"
