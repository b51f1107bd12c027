"""The entry points of distributions, in ``entry_points.txt``."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from uvshim.check.distributions import UNREADABLE, RequireError, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uvshim.check.distributions import Distribution

# Shorter files are remembered.
_USUAL = 16 * 1024

_MODULE = re.compile(r"\w+(\.\w+)*$")
_ENTRY = re.compile(
    r"\s*(?P<name>.+?)\s*=\s*(?P<module>[\w.]+)\s*(:\s*([\w.]+))?\s*(?P<extras>\[.*\])?\s*$"
)


def of(distribution: Distribution) -> dict[str, dict[str, str]]:
    """Return the entry points that pkg_resources reads: by group and name, extras in brackets.

    Raise `RequireError` if pkg_resources cannot read them.
    """
    text = distribution.read("entry_points.txt") or ""
    return _grouped(text) if len(text) < _USUAL else _grouped.__wrapped__(text)


@functools.lru_cache(maxsize=1024)  # images have much in common
def _grouped(text: str) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {}
    for group, name, extras in parsed(text):
        groups.setdefault(group, {})[name] = extras
    return groups


def listed(text: str) -> Iterator[tuple[str, str]]:
    """Yield group and name of each entry point in `text`, even if pkg_resources cannot read it.

    The format is that of the "Entry points" specification: sections and ``name = object``.
    """
    group = ""
    for line in lines(text):
        name, equals, _ = line.partition("=")
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif equals and group and not line.startswith(";"):
            yield group, name.strip()


def parsed(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield group, name and extras (in brackets, or "") of each entry point in `text`.

    Raise `RequireError` at the line that pkg_resources cannot read.
    """
    group = ""
    seen: set[tuple[str, ...]] = set()
    for line in lines(text):
        if line.startswith("["):
            group = line[1:-1].strip()
            identity: tuple[str, ...] = (group,)
            valid: object = line.endswith("]") and _MODULE.match(group)
        else:
            entry = _ENTRY.match(line)
            identity = (group, entry["name"] if entry else "")
            valid = bool(group) and entry and _MODULE.match(entry["module"])
        if not valid or identity in seen:
            raise RequireError(UNREADABLE)
        seen.add(identity)
        if len(identity) > 1:
            yield group, identity[1], (entry and entry["extras"]) or ""
