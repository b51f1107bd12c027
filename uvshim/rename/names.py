"""What a dist-info directory is called, what its METADATA says, and what it should be called.

Nothing here touches a disk, or imports anything unless a METADATA is unusual.
"""

from __future__ import annotations

SUFFIX = ".dist-info"

# The limit of a METADATA's header, in bytes. Real ones have a few kilobytes.
HEADER_LIMIT = 64 * 1024

# The longest name of a directory that file systems accept, in bytes.
LONGEST = 255

# What pkg_resources replaces each ASCII character in a name with.
_SAFE = "".join(c if c.isalnum() or c == "." else "-" for c in map(chr, range(128)))


class MetadataError(ValueError):
    """A METADATA file has no name, or not a clear one. If only that is clear, it is `project`."""

    def __init__(self, message: str, project: str = "") -> None:
        """Hold the reason, a clause, and the name."""
        super().__init__(message)
        self.project = project


def normalized(name: str) -> str:
    """Return `name` as PEP 503 compares names: lower case, each run of ``-_.`` as one ``-``."""
    return _squeezed(name.replace("_", "-").replace(".", "-")).lower()


def is_project_name(name: str) -> bool:
    """Return True if `name` is a valid project name (core metadata specification, Name)."""
    letters = name.replace("_", "").replace("-", "").replace(".", "")
    return name.isascii() and letters.isalnum() and (name[0] + name[-1]).isalnum()


def is_version(version: str) -> bool:
    """Return True if `version` conforms to PEP 440: uv reads no other, so it never has a path."""
    return _is_plain(version) or _rewritten(version) is not None


def _is_plain(version: str) -> bool:
    """Return True if `version` has only usual parts: N.N, aN, bN, rcN, .postN, .devN."""
    for mark in (".dev", ".post", "rc", "b", "a"):
        before, found, number = version.rpartition(mark)
        if found:
            if not number.isdigit():
                return False
            version = before
    return version.isascii() and all(map(str.isdigit, version.split(".")))


def _rewritten(version: str) -> str | None:
    """Return `version` in the form that PEP 440 calls normalized; None if it does not conform."""
    from packaging.version import Version

    try:
        return str(Version(version)) if version.isascii() and version.isprintable() else None
    except ValueError:  # InvalidVersion, or a number with thousands of digits
        return None


def split(directory: str) -> tuple[str, str]:
    """Return the parts of a dist-info directory's name: before and after the first `-`."""
    name, _, version = directory.removesuffix(SUFFIX).partition("-")
    return name, version


def is_well_formed(directory: str) -> bool:
    """Return True if the name of the dist-info `directory` has the form NAME-VERSION."""
    return is_version(split(directory)[1])


def dotted(name: str) -> str:
    """Return the name part of the dist-info directory in which pkg_resources finds `name`.

    setuptools wrote it before 75.8.1. pkg_resources turns ``_`` back into ``-`` (`safe_name`). A
    ``-`` must not stay: it would end the name part.
    """
    return safe_name(name).replace("-", "_")


def safe_name(name: str) -> str:
    """Return `name` as pkg_resources writes it: dots stay, unlike in a normalized name."""
    return _squeezed(name.encode("ascii", "replace").decode().translate(_SAFE))


def key_of(name: str) -> str:
    """Return the key that pkg_resources looks for if `name` is required."""
    return safe_name(name).lower()


def parse_metadata(metadata: bytes) -> tuple[str, str]:
    """Return the name in a METADATA file, or its first `HEADER_LIMIT` bytes, and the version.

    Without exactly one version that is "": only a misnamed directory needs it. Raise
    `MetadataError` if there is no Name, more than one, or an invalid one.
    """
    header = metadata.partition(b"\n\n")[0]
    if b"\r" in header:
        header = header.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")
    return _parse_usual(header) or _parse_any(header.decode("utf-8", "replace"))


def _parse_usual(header: bytes) -> tuple[str, str] | None:
    """Return name and version if `header` begins as build backends write it, else None."""
    first, name, version, rest = (header + b"\n\n\n").split(b"\n", 3)
    others = b"\n" + rest.lower()
    is_usual = (
        first.startswith(b"Metadata-Version: ")
        and name.startswith(b"Name: ")
        and version.startswith(b"Version: ")
        and not (others.startswith((b"\n ", b"\n\t")) or b"\r" in header)
        and not (b"\nname:" in others or b"\nversion:" in others)
    )
    project, release = name[6:].decode("latin-1"), version[9:].decode("latin-1").strip()
    is_usual = is_usual and is_project_name(project) and release.isascii()
    return (project, release) if is_usual and release.isprintable() else None


def _parse_any(header: str) -> tuple[str, str]:
    """Return name and version in any `header`, with the standard library: 50 times slower."""
    from email.parser import HeaderParser

    fields = HeaderParser().parsestr(header)
    found: list[str] = fields.get_all("Name", [])
    if len(found) != 1:
        raise MetadataError(f"its METADATA has {'more than one' if found else 'no'} Name")
    name = found[0].strip()
    if not is_project_name(name):
        raise MetadataError(f"the Name in its METADATA is not a valid project name: {shown(name)}")
    versions: list[str] = fields.get_all("Version", [])
    return name, versions[0].strip() if len(versions) == 1 else ""


def version_in(directory: str, name: str) -> str | None:
    """Return what follows the distribution's `name` in the name of its dist-info `directory`.

    That is the version, what a wrong rename left instead (``info``), or "". Return None if the
    directory does not belong to that name.
    """
    parts = directory.removesuffix(SUFFIX).split("-")
    wanted = normalized(name)
    for end in range(1, len(parts) + 1):
        if normalized("-".join(parts[:end])) == wanted:
            return "-".join(parts[end:])
    return None


def expected(directory: str, name: str, version: str) -> str:
    """Return the name that the dist-info `directory` of the project `name` should have.

    A directory keeps its name if that has the form NAME-VERSION, and pkg_resources finds it or
    `name` has no dot. The version stays as the wheel has it. If that is not a version, `version` is
    used, the one in METADATA. If that is the same and none either, there is no better name.

    Raise `MetadataError` if the directory belongs to another name, or there is no version.
    """
    stem, version_part = split(directory)
    is_found = key_of(stem) == key_of(name)
    is_own = is_found or normalized(stem) == normalized(name)
    if is_own and (is_found or "." not in name) and is_version(version_part):
        return directory
    found = version_part if is_own else version_in(directory, name)
    if found is None:
        raise MetadataError(f"its METADATA is that of another distribution: {shown(name)}")
    if not is_version(found):
        if is_found and version and found.replace("_", "-") == version.replace("_", "-"):
            return directory
        if not is_version(version):
            raise MetadataError("neither its name nor its METADATA has a valid version", name)
        found = version
    if "-" in found:
        found = _rewritten(found) or found
    wanted = f"{dotted(name)}-{found}{SUFFIX}"
    if len(wanted) > LONGEST:
        raise MetadataError("the name that it should have is too long for a directory", name)
    return wanted


def shown(text: str, limit: int = 80) -> str:
    """Return foreign `text` quoted, escaped, and cut to `limit` characters, for a message."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return ascii(text) if not text.isprintable() else f"`{text}`"


def _squeezed(text: str) -> str:
    """Return `text` with one ``-`` for each run of them."""
    while "--" in text:
        text = text.replace("--", "-")
    return text
