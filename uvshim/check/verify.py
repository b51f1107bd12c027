"""Compare the files of distributions with their RECORDs: missing, changed and unlisted ones.

The format is that of the "Recording installed projects" specification, which `installer` reads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from uvshim.check.directories import exists
from uvshim.environments.environment import dist_infos
from uvshim.environments.search_path import is_usual
from uvshim.environments.tree import denies, identity
from uvshim.rename import names
from uvshim.rename.plan import RECORD_LIMIT, owner_of
from uvshim.rename.record import RecordError, elements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from installer.records import RecordEntry

    from uvshim.environments.tree import SearchableTree

# Bytecode, and the directories for it: virtualenv lists these.
_WRITTEN_AGAIN = (".pyc", ".pyo", "/__pycache__")

# What the specification lets RECORD leave out: signatures of RECORD itself.
_NEED_NOT_BE_LISTED = frozenset({"RECORD.jws", "RECORD.p7s"})


class Difference(NamedTuple):
    """A distribution whose files differ from its RECORD."""

    name: str
    """As METADATA has it; without METADATA, as the directory's name does."""
    version: str
    path: str
    """The path of its dist-info directory in the tree."""
    missing: tuple[str, ...] = ()
    """Files that RECORD lists and that do not exist: paths as in RECORD."""
    changed: tuple[str, ...] = ()
    """Files with another size or hash."""
    unlisted: tuple[str, ...] = ()
    """Files in the dist-info directory that RECORD does not list."""
    fault: str = ""
    """Why nothing could be compared, as a clause; may be empty."""


def verify(tree: SearchableTree, site_packages: Iterable[str]) -> tuple[Difference, ...]:
    """Compare every distribution in the directories `site_packages` with its RECORD.

    Return those that differ. Bytecode that RECORD lists without a hash need not exist: Python
    writes it again. Other package managers have lists of their own: `rpm --verify` reads that. They
    remove RECORD, or change files after it was written (conda changes INSTALLER).
    """
    return tuple(one for place in site_packages for one in _in_place(tree, place) if any(one[3:]))


def _in_place(tree: SearchableTree, place: str) -> Iterator[Difference]:
    """Yield how each distribution in `place` differs from its RECORD.

    Of several that list one file, the last has written it: it may be as any of them lists it.
    """
    compared = [
        _compared(tree, place, own)
        for own in dist_infos(tree.names(place))
        if not owner_of(tree, f"{place}/{own}")
    ]
    right = {path for one, listed in compared for path in listed.difference(one.changed)}
    for one, _ in compared:
        yield one._replace(changed=tuple(path for path in one.changed if path not in right))


def _compared(tree: SearchableTree, place: str, own: str) -> tuple[Difference, set[str]]:
    """Return how the distribution of the dist-info directory `own` differs from its RECORD.

    The second are the paths that RECORD lists with a hash.
    """
    from installer.records import InvalidRecordEntry, RecordEntry

    path = f"{place}/{own}"
    name, version = names.split(own)
    with contextlib.suppress(names.MetadataError):
        metadata = tree.read(f"{path}/METADATA", names.HEADER_LIMIT) or b""
        name, said = names.parse_metadata(metadata)
        version = version if names.is_well_formed(own) else said
    nothing = Difference(name, version, path)
    content = tree.read(f"{path}/RECORD", RECORD_LIMIT)
    if content is None:
        return nothing._replace(fault="it has no RECORD"), set()
    try:
        entries = [RecordEntry.from_elements(*row) for row in elements(content)]
        missing, changed = _differing(tree, place, filter(_belongs(tree, place), entries))
    except InvalidRecordEntry as error:
        fault = f"its RECORD has a row that cannot be read ({error})"
        return nothing._replace(fault=fault), set()
    except RecordError as error:
        return nothing._replace(fault=str(error)), set()
    listed = {posixpath.normpath(posixpath.join(place, each.path)) for each in entries}
    # A link may lead to `place`: then paths from the root on are others.
    real = {identity(tree, each.path) for each in entries if each.path.startswith("/")}
    unlisted = tuple(
        file
        for file in _files(tree, place, own)
        if posixpath.normpath(posixpath.join(place, file)) not in listed
        and not (real and identity(tree, posixpath.join(place, file)) in real)
        and posixpath.basename(file) not in _NEED_NOT_BE_LISTED
    )
    hashed = {each.path for each in entries if each.hash_}
    found = nothing._replace(missing=tuple(missing), changed=tuple(changed), unlisted=unlisted)
    return found, hashed


def _belongs(tree: SearchableTree, place: str) -> Callable[[RecordEntry], bool]:
    """Return whether the file of an entry is where a RECORD in `place` has it.

    If no Python has `place` as its site-packages, files outside of it are elsewhere: in a target,
    pip moves scripts, and virtualenv's seeds get theirs in an environment.
    """
    if is_usual(tree, place):
        return lambda _entry: True
    return lambda entry: not posixpath.normpath(entry.path).startswith("../")


def _differing(
    tree: SearchableTree, place: str, entries: Iterable[RecordEntry]
) -> tuple[list[str], list[str]]:
    """Return which of `entries` are missing, and which have changed.

    Raise PermissionError if that cannot be known.
    """
    missing, changed = [], []
    for entry in entries:
        path = posixpath.join(place, entry.path)
        if entry.hash_ is None and entry.size is None:
            if not entry.path.endswith(_WRITTEN_AGAIN) and not exists(tree, path):
                missing.append(entry.path)
            continue
        algorithm = entry.hash_.name if entry.hash_ else "sha256"
        try:
            measured = tree.digest(path, algorithm)
        except ValueError:
            raise RecordError(f"its RECORD has hashes of an unknown kind ({algorithm})") from None
        if measured is None:
            missing.append(entry.path)
        elif (entry.hash_ and entry.hash_.value.rstrip("=") != measured[0]) or (
            entry.size is not None and entry.size != measured[1]
        ):
            changed.append(entry.path)
    for path in (posixpath.join(place, each) for each in missing):
        if denies(tree, path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return missing, changed


def _files(tree: SearchableTree, place: str, directory: str) -> Iterator[str]:
    """Yield the files below `directory` in `place`, as RECORD lists them."""
    for path, listed, below in tree.walk(f"{place}/{directory}"):
        below.sort()
        yield from (f"{directory}{path}/{name}" for name in sorted(listed - {*below}))
