"""One dist-info directory: what its name says, what its METADATA says, what it should be called.

Nothing in this module touches a disk.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SUFFIX = ".dist-info"

# The core metadata specification: letters, digits, and `.`, `-`, `_` between them; ASCII only.
_PROJECT_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.ASCII | re.IGNORECASE)

# A version as it stands in a directory's name. Narrower than PEP 440's grammar in what it
# forbids (no separator but these, a digit first), so it can never carry a path anywhere.
_VERSION = re.compile(r"[0-9][A-Z0-9.!+_]*", re.ASCII | re.IGNORECASE)

# A field in METADATA (RFC 5322, 2.2), and the header, which ends where something else stands. Two
# searches take a quarter of the time of a look at each line.
_FIELD = re.compile(r"^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
_HEADER = re.compile(r"(?:[ \t].*\n)*(?:[!-9;-~]*:.*(?:\n[ \t].*)*\n?)*")
_IDENTIFYING = re.compile(
    r"^(name|version):[ \t]*(.*(?:\n[ \t].*)*)", re.ASCII | re.IGNORECASE | re.MULTILINE
)

# What PEP 503 takes for one `-`.
_SEPARATORS = re.compile(r"[-_.]+")

# Where a METADATA's header may end at the latest. Real ones need a few hundred bytes to `Name`.
HEADER_LIMIT = 64 * 1024

# What file systems take for the name of a directory, in bytes.
LONGEST = 255


class Identity(NamedTuple):
    """The two fields of a METADATA file that say which distribution it describes."""

    name: str
    version: str


class MetadataError(ValueError):
    """A METADATA file does not say, or not clearly, which distribution it describes."""


def normalized(name: str) -> str:
    """Return `name` as PEP 503 compares names: lower case, runs of ``-_.`` as one ``-``."""
    return _SEPARATORS.sub("-", name).lower()


def is_project_name(name: str) -> bool:
    """Say whether `name` is a valid project name (core metadata specification, field Name)."""
    return _PROJECT_NAME.fullmatch(name) is not None


def is_version(version: str) -> bool:
    """Say whether `version` can be the version part of a dist-info directory's name."""
    return _VERSION.fullmatch(version) is not None


def split(directory: str) -> tuple[str, str]:
    """Return the name part and the version part of the name of a dist-info `directory`.

    The name part ends at the first `-`, for installers and pkg_resources alike.
    """
    name, _, version = directory.removesuffix(SUFFIX).partition("-")
    return name, version


def is_well_formed(directory: str) -> bool:
    """Say whether the name of the dist-info `directory` has the form NAME-VERSION."""
    return is_version(split(directory)[1])


def dotted(name: str) -> str:
    """Return the name part of the dist-info directory under which pkg_resources finds `name`.

    It is what setuptools wrote before 75.8.1: every run of characters other than ASCII letters,
    digits and dots becomes one ``_``; dots and case stay. pkg_resources turns the ``_`` into
    ``-`` again (its ``safe_name``). A ``-`` must not stay: it would end the name part.
    """
    return re.sub(r"[^A-Za-z0-9.]+", "_", name)


def safe_name(name: str) -> str:
    """Return `name` as pkg_resources writes it: unlike in a normalized name, dots stay."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name)


def key_of(name: str) -> str:
    """Return what pkg_resources looks for when it is asked for `name`."""
    return safe_name(name).lower()


def fields(metadata: str) -> list[tuple[str, str]]:
    """Return the fields in the header of a METADATA file, each its name in lower case and value.

    As the standard library's `email` reads it (core metadata specification): a line that begins
    with white space continues a value, and the header ends at the first line that is neither that
    nor a field. The description after it, most of the file, is not looked at.
    """
    return [(name.lower(), value) for name, value in _FIELD.findall(_header(metadata))]


def _header(metadata: str) -> str:
    """Return the header of a METADATA file, with line feeds alone at the ends of its lines."""
    header = metadata.partition("\n\n")[0].partition("\r\n\r\n")[0]
    found = _HEADER.match(header.replace("\r\n", "\n").replace("\r", "\n"))
    return found.group() if found else ""


def parse_metadata(metadata: bytes) -> Identity:
    """Read the name and the version from the head of a METADATA file.

    `metadata` is the file's content, or its first `HEADER_LIMIT` bytes. A version that is not
    there is returned as an empty string: only a misnamed directory needs it.

    Raises `MetadataError` if there is no Name, more than one, or one that is not a valid
    project name (core metadata specification).
    """
    header = metadata.partition(b"\n\n")[0].partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    projects: list[str] = []
    versions: list[str] = []
    for field, value in _IDENTIFYING.findall(_header(header)):
        (projects if field.lower() == "name" else versions).append(value.strip())
    if not projects:
        message = "its METADATA has no Name"
        raise MetadataError(message)
    if len(projects) > 1:
        message = "its METADATA has more than one Name"
        raise MetadataError(message)
    name = projects[0]
    if not is_project_name(name):
        message = f"the Name in its METADATA is not a valid project name: {shown(name)}"
        raise MetadataError(message)
    return Identity(name, versions[0] if len(versions) == 1 else "")


def version_in(directory: str, name: str) -> str | None:
    """Return what follows the name of the distribution `name` in the name of its `directory`.

    `directory` is the last component of the path, with its suffix. The answer is the version
    (``3.10.2``), or whatever a wrong rename left in its place (``info``), or an empty string
    where nothing follows. None: the directory does not belong to that name.
    """
    parts = directory.removesuffix(SUFFIX).split("-")
    for end in range(1, len(parts) + 1):
        if normalized("-".join(parts[:end])) == normalized(name):
            return "-".join(parts[end:])
    return None


def expected(directory: str, identity: Identity) -> str:
    """Return the name that the dist-info `directory` of the distribution `identity` should have.

    Of a dotted name it is the dotted name with the version; any other name is good as it stands,
    if only it has the form NAME-VERSION. The version is the one in the directory's name, as the
    wheel carried it; only where that is none, the one of METADATA.

    Raises `MetadataError` if the directory belongs to another name, or there is no version.
    """
    version = version_in(directory, identity.name)
    if version is None:
        message = f"its METADATA is that of another distribution: {shown(identity.name)}"
        raise MetadataError(message)
    if is_well_formed(directory) and "." not in identity.name:
        return directory
    if not is_version(version):
        version = identity.version.replace("-", "_")
        if not is_version(version):
            message = "neither its name nor its METADATA has a valid version"
            raise MetadataError(message)
    wanted = f"{dotted(identity.name)}-{version}{SUFFIX}"
    if len(wanted) > LONGEST:
        message = "the name that it should have is too long for a directory"
        raise MetadataError(message)
    return wanted


def shown(text: str, limit: int = 80) -> str:
    """Return foreign `text` so that it can be printed: quoted, escaped, at most `limit` long."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return ascii(text) if not text.isprintable() else f"`{text}`"
