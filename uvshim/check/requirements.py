"""The requirements of distributions, as pkg_resources reads them in one environment.

packaging, of which pkg_resources has a copy, parses requirements and markers. It is imported
only when it is needed: that takes longer than starting Python.
"""

from __future__ import annotations

import contextlib
import functools
import re
from operator import eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING

from uvshim.check.metadata import UNKNOWN_EXTRA, RequireError
from uvshim.check.versions import old_precedence, parsed_version
from uvshim.environments.tree import pay
from uvshim.rename.names import key_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from packaging.markers import Marker
    from packaging.requirements import Requirement as Parsed
    from packaging.specifiers import SpecifierSet

    from uvshim.check.distributions import Distribution

    ByExtra = dict[str | None, list["Requirement"]]
    Old = tuple[tuple[str, str], ...]

# What packaging before 22 refuses: a comma at the end, `===` without a space after its version;
# and what it accepts although PEP 440 does not: a specifier such as ``>=2004d``.
_REFUSED_BY_OLD = re.compile(r"^[^;]*(?:,[\s)]*(?:;|$)|===\s*[^\s;)]*[;)])")
_OLD_CLAUSE = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*([^,;\s)]*)\s*")
_COMPARISONS = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_HEAD = re.compile(r"\s*([A-Za-z0-9._-]+\s*(?:\[[^]]*\])?)\s*\(?([^()]*)\)?\s*")

# Markers that compare `extra` with a name, in either order.
_ASKS_FOR_EXTRA = re.compile(
    r"""(?<=\bextra)(\s*[=!]=\s*["'])([^"']*)|(["'])([^"']*)(?=["']\s*[=!]=\s*extra\b)"""
)
_ASKS_BACKWARDS = re.compile(r"""["']\s*(==|!=|<=|>=|<|>|~=|===|in|not\s+in)\s*extra\b""")

# How many characters of requirements are remembered for later environments, and how many each of
# them counts in addition. An image has about two thousand.
_ROOM = 4 * 1024 * 1024
_EACH = 256

# How many steps (see `tree.pay`) it takes to parse a requirement, and to test its marker.
_PARSING = 100
_TESTING = 10

# No requirement of a real distribution is longer, in characters.
_USUAL = 1024


class Requirement:
    """One requirement, as it is written.

    - `old`: operators and versions outside PEP 440;
    - `marker`: its marker, "" without one; extras in it are not normalized;
    - `first`: the first of all that pkg_resources takes for equal to this one.
    """

    def __init__(self, parsed: Parsed, old: Old, marker: str) -> None:
        """Take over what packaging has `parsed`, but the `marker` as it is written."""
        self.name: str = parsed.name
        self.key = key_of(parsed.name)
        self.extras = tuple(sorted(map(safe_extra, parsed.extras)))
        self.specifier: SpecifierSet = parsed.specifier
        self.old = old
        self.marker = marker
        self.identity = (self.key, parsed.url, self.specifier, old, self.extras, marker)
        self.first = self


def safe_extra(extra: str) -> str:
    """Return `extra` as pkg_resources writes it."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", extra).lower()


class Requirements:
    """The requirements of all environments with the same markers, each read once."""

    def __init__(
        self, markers: Iterable[tuple[str, str]], *, lenient: bool, any_version: bool
    ) -> None:
        """Evaluate markers with the variables `markers` in place of the running Python's.

        `lenient`: packaging is older than 22, as in setuptools before 67.0.0. It accepts
        specifiers outside PEP 440, and compares extras as they are written. `any_version`: a
        version outside PEP 440 can be compared, and does not raise.
        """
        self._markers = dict(markers)
        self._lenient = lenient
        self._any_version = any_version
        self._room = _ROOM
        self._by_line: dict[str, Requirement] = {}
        self._by_identity: dict[object, Requirement] = {}
        self._by_content: dict[tuple[tuple[str, ...], tuple[str, ...]], ByExtra] = {}
        self._parsed_markers: dict[str, Marker] = {}
        self._evaluated: dict[tuple[str, str], bool] = {}
        self._met: dict[tuple[Requirement, str], bool] = {}

    def parse(self, line: str) -> Requirement:
        """Return the requirement in `line`. Raise `RequireError` if it is not valid."""
        if line not in self._by_line:
            old: Old = ()
            code = line.partition(" #")[0]
            read = _as_packaging_reads
            try:
                if self._lenient:
                    code, old = _without_old_specifiers(code)
                parsed = (read if len(line) < _USUAL else read.__wrapped__)(code)
            except ValueError as error:
                raise RequireError(type(error).__name__) from None
            marker = str(parsed.marker or "")
            if marker and self._lenient:  # packaging normalizes extras in it
                marker = code.partition(parsed.url or parsed.name)[2].partition(";")[2].strip()
            if parsed.marker is not None:
                self._parsed_markers[marker] = parsed.marker
            requirement = Requirement(parsed, old, marker)
            requirement.first = self._by_identity.setdefault(requirement.identity, requirement)
            self._by_line[line] = requirement
            self._room -= _EACH + len(line)
            if self._room < 0:
                shared.cache_clear()
        return self._by_line[line]

    def extras_in(self, brackets: str) -> tuple[str, ...]:
        """Return the extras in `brackets`, as an entry point has them; "" has none."""
        return self.parse(f"x{brackets}").extras if brackets else ()

    def of(self, distribution: Distribution, extras: Collection[str]) -> list[Requirement]:
        """Return what `distribution` requires with `extras`, in the order it is written.

        Raise `RequireError` if that cannot be read, or if it has no such extra.
        """
        by_extra = self._by_extra(distribution)
        if not by_extra.keys() >= set(extras):
            raise RequireError(UNKNOWN_EXTRA)
        return [one for extra in (None, *extras) for one in by_extra.get(extra, ())]

    def keys_of(self, distribution: Distribution, *, extras: bool) -> set[str]:
        """Return the keys that `distribution` requires, also with its `extras`, if these count.

        If that cannot be read, it requires nothing.
        """
        try:
            by_extra = self._by_extra(distribution)
        except RequireError:
            return set()
        counting = [by_extra[extra] for extra in by_extra if extra is None or (extra and extras)]
        return {one.key for required in counting for one in required}

    def meets(self, version: str, requirement: Requirement) -> bool:
        """Return True if `requirement` accepts the `version`. Raise `RequireError`."""
        question = (requirement.first, version)
        if question not in self._met:
            parsed, specifier = parsed_version(version), requirement.specifier
            if not all(
                _COMPARISONS[operator](old_precedence(version), old_precedence(wanted))
                for operator, wanted in requirement.old
            ):
                is_met = False
            elif parsed is not None:
                is_met = specifier.contains(parsed, prereleases=True)
            elif self._any_version:
                wanted = [(one.operator, one.version.lower()) for one in specifier]
                is_met = all(one == ("===", version.lower()) for one in wanted)
            else:
                raise RequireError("InvalidVersion")
            self._met[question] = is_met
        return self._met[question]

    def applies(self, requirement: Requirement, extras: tuple[str, ...]) -> bool:
        """Return True if the marker of `requirement` holds for one of `extras`."""
        marker = requirement.marker
        return not marker or any(self._holds(marker, extra) for extra in extras)

    def _by_extra(self, distribution: Distribution) -> ByExtra:
        if distribution.by_extra is None:
            if distribution.kind == ".dist-info":
                _, lines, extras = distribution.header
                if (lines, extras) not in self._by_content:
                    new = set(lines).difference(self._by_line)
                    pay(distribution.tree, _PARSING * len(new) + sum(map(len, new)))
                    pay(distribution.tree, _TESTING * len(lines) * (1 + len(extras)))
                    self._by_content[lines, extras] = self._of_lines(lines, extras)
                distribution.by_extra = self._by_content[lines, extras]
            else:
                distribution.by_extra = self._of_egg(distribution)
        return distribution.by_extra

    def _of_lines(self, lines: Iterable[str], extras: Iterable[str]) -> ByExtra:
        requirements = [self.parse(line) for line in lines]
        common: dict[Requirement, Requirement] = {}
        for one in requirements:
            if self.applies(one, ("",)):
                common.setdefault(one.first, one)
        by_extra: ByExtra = {None: list(common.values())}
        for extra in extras:
            by_extra[safe_extra(extra.strip())] = [
                one
                for one in requirements
                if self.applies(one, (extra,)) and one.first not in common
            ]
        return by_extra

    def _of_egg(self, distribution: Distribution) -> ByExtra:
        from packaging.markers import InvalidMarker, Marker

        by_extra: ByExtra = {}
        for section, line in distribution.requirement_lines():
            extra, _, marker = section.partition(":")
            required = by_extra.setdefault(safe_extra(extra) or None, [])
            if line:
                pay(distribution.tree, _PARSING + len(line))
                requirement = self.parse(line)
                with contextlib.suppress(InvalidMarker):  # then nothing is required
                    if marker:
                        self._parsed_markers[marker] = Marker(marker)
                    if not marker or self._holds(marker, ""):
                        required.append(requirement)
        return by_extra

    def _holds(self, marker: str, extra: str) -> bool:
        question = (marker, extra if "extra" in marker else "")
        if question not in self._evaluated:
            parsed = self._parsed_markers[marker]
            if self._lenient and "extra" in marker:
                parsed, extra = _as_written(marker, extra)
            try:
                self._evaluated[question] = parsed.evaluate({**self._markers, "extra": extra})
            except ValueError as error:  # a kernel's release is not always a version
                raise RequireError(type(error).__name__) from None
        return self._evaluated[question]


# Images have much in common.
shared = functools.lru_cache(maxsize=8)(Requirements)


@functools.lru_cache(maxsize=16_384)
def _as_packaging_reads(line: str) -> Parsed:
    """Return the requirement in `line`, which must not be changed: hundreds of images have it.

    Raise ValueError if it is not valid, or if its versions cannot be compared: if a number has
    thousands of digits.
    """
    from packaging.requirements import Requirement

    parsed = Requirement(line)
    hash(parsed.specifier)  # packaging reads the versions now, not in the middle of a comparison
    return parsed


def _without_old_specifiers(line: str) -> tuple[str, Old]:
    """Return the requirement in `line` without specifiers outside PEP 440, and those specifiers.

    Raise InvalidRequirement if only packaging before 22 refuses it.
    """
    from packaging.requirements import InvalidRequirement
    from packaging.specifiers import InvalidSpecifier, Specifier

    if _REFUSED_BY_OLD.search(line):
        raise InvalidRequirement
    head, semicolon, marker = line.partition(";")
    match = _HEAD.fullmatch(head)
    if match is None:
        return line, ()
    kept, old = [], []
    for clause in match[2].split(","):
        try:
            Specifier(clause)
            kept.append(clause)
        except InvalidSpecifier:  # noqa: PERF203
            found = _OLD_CLAUSE.fullmatch(clause)
            if found is None:
                return line, ()
            old.append((found[1], found[2]))
    return f"{match[1]} {','.join(kept)} {semicolon}{marker}", tuple(old)


def _as_written(marker: str, extra: str) -> tuple[Marker, str]:
    """Return `marker` and `extra` so that extras are compared as they are written.

    Encoded, they survive the normalization of packaging from 22 on. Without an extra, older ones
    compare nothing with it: that fails where the extra comes second. Raise `RequireError` then.
    """
    from packaging.markers import Marker

    if not extra and _ASKS_BACKWARDS.search(marker):
        raise RequireError("TypeError")
    encoded = _ASKS_FOR_EXTRA.sub(
        lambda found: (found[1] or found[3]) + _encoded(found[2] or found[4] or ""), marker
    )
    return Marker(encoded), _encoded(extra) if extra else "none"


def _encoded(extra: str) -> str:
    return f"x{extra.encode().hex()}"
