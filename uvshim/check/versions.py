"""How pkg_resources compares versions, those outside PEP 440 included."""

from __future__ import annotations

import functools
import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.version import Version

    Precedence = tuple[bool, Version | tuple[str, ...]]

# The parts of versions outside PEP 440, and how their words are compared.
_VERSION_PART = re.compile(r"([0-9]+|[a-z]+|\.|-)")
_WORDS = {"pre": "c", "preview": "c", "-": "final-", "rc": "c", "dev": "@"}
_VALID_BEGINNING = re.compile(r"v?((?:[0-9]+!)?[0-9]+(?:\.[0-9]+)*)", re.IGNORECASE)


def by_version(name: str, *, any_version: bool = False) -> list[Precedence]:
    """Return what setuptools before 66 sorted file names by: each part as a version.

    Parts outside PEP 440 count as 0, or before 59.1.1 as `any_version`.
    """
    stem, suffix = posixpath.splitext(name)
    parts = map(precedence, [*stem.split("-"), suffix])
    return [part if part[0] or any_version else precedence("0") for part in parts]


def precedence(version: str) -> Precedence:
    """Return the sort key of a version where those outside PEP 440 are accepted."""
    parsed = parsed_version(version)
    return (True, parsed) if parsed is not None else (False, old_precedence(version))


def old_precedence(version: str) -> tuple[str, ...]:
    """Return the sort key of a `version` outside PEP 440 before setuptools 66.

    Numbers are compared as numbers, words alphabetically; words before `final` are pre-releases.
    """
    parts: list[str] = []
    for part in [*_VERSION_PART.split(version.lower()), "final"]:
        word = _WORDS.get(part, part)
        if not word or word == ".":
            continue
        if word[0].isdigit():
            parts.append(word.zfill(8))
            continue
        while word < "final" and parts and parts[-1] == "*final-":
            parts.pop()
        while parts and parts[-1] == "00000000":
            parts.pop()
        parts.append(f"*{word}")
    return tuple(parts)


def replaced_version(version: str) -> str:
    """Return the version that setuptools from 67.5.1 on uses in place of an invalid `version`.

    This is a development release of its valid beginning: ``1.0ubuntu1`` becomes
    ``1.0.dev0+sanitized.ubuntu1``.
    """
    match = _VALID_BEGINNING.match(version)
    begin = match[1] if match else "0"
    rest = version[len(begin) :] if match else version
    rest = re.sub(r"\.[^A-Za-z0-9]+", ".", re.sub(r"[^A-Za-z0-9.]+", "-", rest)).strip(".-")
    return f"{begin}.dev0+{f'sanitized.{rest}'.strip('.')}"


@functools.lru_cache(maxsize=4096)
def safe_version(version: str) -> str:
    """Return `version` as pkg_resources writes it: normalized if it can be."""
    parsed = parsed_version(version)
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", version.replace(" ", "."))
    return plain if parsed is None else str(parsed)


@functools.lru_cache(maxsize=4096)
def parsed_version(version: str) -> Version | None:
    """Return `version` as packaging reads it, or None if it does not conform to PEP 440."""
    from packaging.version import Version

    try:
        return Version(version)
    except ValueError:  # InvalidVersion, or a number with thousands of digits
        return None
