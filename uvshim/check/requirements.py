"""What distributions require, as pkg_resources reads it for one environment.

The requirements and markers themselves are read by packaging, of which pkg_resources has a copy.
It is imported by the first question that needs it: it takes longer than Python itself to start.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from uvshim.check.distributions import (
    INVALID_REQUIREMENT,
    TYPE_ERROR,
    UNKNOWN_EXTRA,
    RequireError,
)
from uvshim.rename.names import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.markers import Marker
    from packaging.requirements import Requirement as Parsed
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    from uvshim.check.distributions import Distribution

    ByExtra = dict[str | None, list["Requirement"]]


# What packaging before 22 refuses: a comma at the end, `===` without a space behind its version;
# and what it accepts although PEP 440 does not: a specifier such as ``>=2004d``.
_REFUSED_BY_OLD = re.compile(r"^[^;]*(?:,[\s)]*(?:;|$)|===\s*[^\s;)]*[;)])")
_OLD_CLAUSE = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*([^,;\s)]*)\s*")
_HEAD = re.compile(r"\s*([A-Za-z0-9._-]+\s*(?:\[[^]]*\])?)\s*\(?([^()]*)\)?\s*")

# Markers that ask for an extra: the name of the extra, in this order and the other way round.
_ASKS_FOR_EXTRA = re.compile(
    r"""(?<=\bextra)(\s*[=!]=\s*["'])([^"']*)|(["'])([^"']*)(?=["']\s*[=!]=\s*extra\b)"""
)
_ASKS_BACKWARDS = re.compile(r"""["']\s*(==|!=|<=|>=|<|>|~=|===|in|not\s+in)\s*extra\b""")


class Requirement:
    """One requirement, as it is written."""

    def __init__(
        self, parsed: Parsed, old: tuple[tuple[str, str], ...] = (), marker: str = ""
    ) -> None:
        """Take over what packaging has `parsed`, and the `old` specifiers beside it.

        `marker` is the marker as it is written; without one, as packaging writes it.
        """
        self.name: str = parsed.name
        self.key = key_of(parsed.name)
        self.extras = tuple(sorted(map(safe_extra, parsed.extras)))
        self.specifier: SpecifierSet = parsed.specifier
        self.old = old
        """Operators and versions outside PEP 440, for `meets_old`."""
        self.marker = marker or (str(parsed.marker) if parsed.marker else "")
        self.identity = (self.key, parsed.url, self.specifier, old, self.extras, self.marker)
        self.first = self
        """The first of all that pkg_resources takes for equal to this one."""


def safe_extra(extra: str) -> str:
    """Return `extra` as pkg_resources writes it."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", extra).lower()


# How many requirements are remembered for later environments. An image has some two thousand.
_MOST_REMEMBERED = 16_384

# No requirement of a real distribution is longer.
_USUAL = 1024


class _Known:
    """What was read for environments with the same markers: images have much in common."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.by_line: dict[str, Requirement] = {}
        self.by_identity: dict[object, Requirement] = {}
        self.by_content: dict[tuple[tuple[str, ...], tuple[str, ...]], ByExtra] = {}
        self.parsed_markers: dict[str, Marker] = {}
        self.evaluated: dict[tuple[str, str], bool] = {}
        self.meets: dict[tuple[Requirement, Version], bool] = {}


_known = functools.lru_cache(maxsize=8)(lambda _markers, _lenient: _Known())


class Requirements:
    """The requirements of all distributions of one environment, each read once."""

    def __init__(self, markers: Mapping[str, str], *, lenient: bool) -> None:
        """Evaluate markers with the variables `markers` in place of the running Python's.

        `lenient`: packaging is older than 22, as in setuptools before 67.0.0. It accepts
        specifiers outside PEP 440, and compares extras as they are written.
        """
        self._markers = markers
        self._lenient = lenient
        self._known = _known(frozenset(markers.items()), lenient)
        known = self._known.by_line
        if len(known) > _MOST_REMEMBERED or sum(map(len, known)) > _MOST_REMEMBERED * _USUAL:
            _known.cache_clear()
        self._by_distribution: dict[Distribution, ByExtra] = {}

    def parse(self, line: str) -> Requirement:
        """Return the requirement in `line`. Raises `RequireError` if it is not valid."""
        known = self._known
        if line not in known.by_line:
            parsed, old = self._parsed(line.partition(" #")[0])
            marker = ""
            if self._lenient and parsed.marker is not None:  # packaging normalizes extras
                marker = line.partition(" #")[0].rpartition(";")[2].strip()
            requirement = Requirement(parsed, old, marker)
            if parsed.marker is not None:
                known.parsed_markers[requirement.marker] = parsed.marker
            requirement.first = known.by_identity.setdefault(requirement.identity, requirement)
            known.by_line[line] = requirement
        return known.by_line[line]

    def of(self, distribution: Distribution, extras: Iterable[str]) -> list[Requirement]:
        """Return what `distribution` requires with `extras`, in the order it is written.

        Raises `RequireError` if that cannot be read, or if it has not got such an extra.
        """
        by_extra = self._by_extra(distribution)
        required = list(by_extra.get(None, ()))
        for extra in extras:
            if extra not in by_extra:
                raise RequireError(UNKNOWN_EXTRA)
            required += by_extra[extra]
        return required

    def extras_of(self, distribution: Distribution) -> list[str]:
        """Return the extras that `distribution` has. Raises `RequireError`, as `of` does."""
        return [extra for extra in self._by_extra(distribution) if extra]

    def meets(self, version: Version, requirement: Requirement) -> bool:
        """Return True if `requirement` accepts the `version`, which may be a pre-release."""
        question = (requirement.first, version)
        if question not in self._known.meets:
            answer = requirement.specifier.contains(version, prereleases=True)
            self._known.meets[question] = answer
        return self._known.meets[question]

    def applies(self, requirement: Requirement, extras: tuple[str, ...]) -> bool:
        """Return True if the marker of `requirement` holds for one of `extras`."""
        marker = requirement.marker
        return not marker or any(self._holds(marker, extra) for extra in extras)

    def _parsed(self, line: str) -> tuple[Parsed, tuple[tuple[str, str], ...]]:
        from packaging.requirements import InvalidRequirement

        if not (self._lenient and _REFUSED_BY_OLD.search(line)):
            try:
                read = _as_packaging_reads
                return (read if len(line) < _USUAL else read.__wrapped__)(line), ()
            except InvalidRequirement:
                pass
            except ValueError as error:
                raise RequireError(type(error).__name__) from None
        plain, old = _without_old_specifiers(line) if self._lenient else ("", ())
        if not old:
            raise RequireError(INVALID_REQUIREMENT)
        return self._parsed(plain)[0], old

    def _by_extra(self, distribution: Distribution) -> ByExtra:
        if distribution not in self._by_distribution:
            is_dist_info = distribution.kind == ".dist-info"
            read = self._of_dist_info if is_dist_info else self._of_egg
            self._by_distribution[distribution] = read(distribution)
        return self._by_distribution[distribution]

    def _of_dist_info(self, distribution: Distribution) -> ByExtra:
        lines = tuple(line for _, line in distribution.requirement_lines())
        content = (lines, tuple(distribution.extras()))
        if content not in self._known.by_content:
            self._known.by_content[content] = self._of_lines(*content)
        return self._known.by_content[content]

    def _of_lines(self, lines: Iterable[str], extras: Iterable[str]) -> ByExtra:
        requirements = [self.parse(line) for line in lines]

        def applying(extra: str) -> list[Requirement]:
            return [one for one in requirements if not one.marker or self._holds(one.marker, extra)]

        common: dict[Requirement, Requirement] = {}
        for one in applying(""):
            common.setdefault(one.first, one)
        by_extra: ByExtra = {None: list(common.values())}
        for extra in extras:
            by_extra[safe_extra(extra.strip())] = [
                one for one in applying(extra) if one.first not in common
            ]
        return by_extra

    def _of_egg(self, distribution: Distribution) -> ByExtra:
        by_extra: ByExtra = {}
        for section, line in distribution.requirement_lines():
            extra, _, marker = section.partition(":")
            required = by_extra.setdefault(safe_extra(extra) or None, [])
            if line:
                requirement = self.parse(line)
                if self._section_applies(marker):
                    required.append(requirement)
        return by_extra

    def _section_applies(self, marker: str) -> bool:
        from packaging.markers import InvalidMarker, Marker

        if not marker:
            return True
        try:
            self._known.parsed_markers[marker] = Marker(marker)
        except InvalidMarker:
            return False
        return self._holds(marker, "")

    def _holds(self, marker: str, extra: str) -> bool:
        question = (marker, extra)
        if question not in self._known.evaluated:
            from packaging import markers

            parsed = self._known.parsed_markers[marker]
            if self._lenient and "extra" in marker:
                parsed, extra = _as_written(marker, extra)
            try:
                self._known.evaluated[question] = parsed.evaluate({**self._markers, "extra": extra})
            except (
                markers.UndefinedComparison,
                markers.UndefinedEnvironmentName,
                ValueError,  # InvalidVersion: a kernel's release is not always a version
            ) as error:
                raise RequireError(type(error).__name__) from None
        return self._known.evaluated[question]


@functools.lru_cache(maxsize=16_384)
def _as_packaging_reads(line: str) -> Parsed:
    """Return the requirement in `line`; it must not be changed.

    One environment asks for a line once, but hundreds of images contain the same distributions.
    Raise ValueError if its versions cannot be compared: if a number has thousands of digits.
    """
    from packaging.requirements import Requirement

    parsed = Requirement(line)
    hash(
        parsed.specifier
    )  # packaging reads the versions now, and not in the middle of a comparison
    return parsed


def _without_old_specifiers(line: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the requirement in `line` without its specifiers outside PEP 440, and these.

    They are empty if `line` is not a requirement for packaging before 22 either.
    """
    head, semicolon, marker = line.partition(";")
    match = _HEAD.fullmatch(head)
    if match is None:
        return line, ()
    kept, old = [], []
    for clause in match[2].split(","):
        if _is_specifier(clause):
            kept.append(clause)
        elif (found := _OLD_CLAUSE.fullmatch(clause)) is not None:
            old.append((found[1], found[2]))
        else:
            return line, ()
    return f"{match[1]} {','.join(kept)} {semicolon}{marker}", tuple(old)


def _is_specifier(clause: str) -> bool:
    """Return True if `clause` conforms to PEP 440."""
    from packaging.specifiers import InvalidSpecifier, Specifier

    try:
        Specifier(clause)
    except InvalidSpecifier:
        return False
    return True


def _as_written(marker: str, extra: str) -> tuple[Marker, str]:
    """Return `marker` and `extra` so that extras are compared as they are written.

    Encoded, they survive the normalization of packaging from 22 on. Without an extra, older ones
    compare nothing with it: that fails where the extra comes second. Raises `RequireError` then.
    """
    from packaging.markers import Marker

    if not extra and _ASKS_BACKWARDS.search(marker):
        raise RequireError(TYPE_ERROR)
    encoded = _ASKS_FOR_EXTRA.sub(
        lambda found: (found[1] or found[3]) + _encoded(found[2] or found[4] or ""), marker
    )
    return Marker(encoded), _encoded(extra) if extra else "none"


def _encoded(extra: str) -> str:
    return f"x{extra.encode().hex()}"
