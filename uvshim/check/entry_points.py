"""The entry points of distributions, in ``entry_points.txt``."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from uvshim.check.distributions import RequireError, lines

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

    Raises `RequireError` if pkg_resources cannot read them.
    """
    text = distribution.read("entry_points.txt") or ""
    return _parsed(text) if len(text) < _USUAL else _parsed.__wrapped__(text)


@functools.lru_cache(maxsize=1024)  # images have much in common
def _parsed(text: str) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {}
    group = ""
    for line in lines(text):
        if line.startswith("["):
            group = line[1:-1].strip()
            if not (line.endswith("]") and _MODULE.match(group)) or group in groups:
                raise RequireError("ValueError")
            groups[group] = {}
        else:
            entry = _ENTRY.match(line)
            if not (group and entry and _MODULE.match(entry["module"])) or (
                entry["name"] in groups[group]
            ):
                raise RequireError("ValueError")
            groups[group][entry["name"]] = entry["extras"] or ""
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
