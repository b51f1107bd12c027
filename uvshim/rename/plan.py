"""What is wrong with one dist-info directory, and what to do about it.

The one place where this is decided: `uvshim check` shows plans, `uvpip` and `uvshim fix` carry them
out on a disk. Everything is read through a `Tree`, and nothing is touched.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, NamedTuple

from uvshim.environments.snapshot import may_be_dotted
from uvshim.rename import names, record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from uvshim.environments.tree import Tree
    from uvshim.rename.record import Record, Row

# What can be wrong with a directory that a plan puts right.
MISNAMED = "misnamed"
NORMALIZED_NAME = "normalized-name"
STALE_RECORD = "stale-record"

# What ends the name of a directory while the files of another are linked into it (`overlay`).
BUILDING = ".uvshim"

# What is read of a RECORD at most, in bytes. The longest real ones have a tenth of it.
_RECORD_LIMIT = 64 * 1024 * 1024


class Plan(NamedTuple):
    """What is to be done with one dist-info directory: nothing, where nothing is `wrong`."""

    name: str
    """Its project name, as METADATA has it."""
    path: str
    """Its path in the tree."""
    directory: str
    """The name that it should have."""
    wrong: tuple[str, ...]
    """What is wrong with it: `MISNAMED` or `NORMALIZED_NAME`, `STALE_RECORD`."""
    obstacle: str
    """Why its name or RECORD cannot be changed, as a clause; empty, where they can."""
    listed: Record
    """What its RECORD lists: `record.NOTHING`, where that cannot be read."""
    aliases: frozenset[str]
    """The names of directories under which RECORD lists its files, or may during the rename."""

    @property
    def own(self) -> str:
        """The name that the directory has."""
        return posixpath.basename(self.path)

    @property
    def destination(self) -> str:
        """The path that the directory should have."""
        place, slash, _ = self.path.rpartition("/")
        return place + slash + self.directory

    @property
    def version(self) -> str:
        """The version of its distribution, as the name that it should have tells it."""
        return names.split(self.directory)[1]

    def rows_meanwhile(self) -> list[Row]:
        """Return the rows that RECORD lacks to list every file under the new name as well."""
        return record.also_listed(self.listed, self.aliases, self.directory)

    def afterwards(self) -> Plan:
        """Return what is to be done once this was: nothing. RECORD lists the new name alone."""
        listed = record.relocated(self.listed, self.aliases, self.directory)
        return Plan(
            self.name,
            self.destination,
            self.directory,
            (),
            "",
            listed,
            frozenset({self.directory, self.directory + BUILDING}),
        )


def make(
    tree: Tree,
    path: str,
    concerns: Callable[[str], bool] = lambda _name: True,
    *,
    in_use: Collection[str] = (),
    described_in: str | None = None,
) -> Plan | None:
    """Return what is to be done with the dist-info directory `path`, a path in `tree`.

    Where `concerns`, asked with the project name, says no, no more is read and None is returned.
    A directory keeps its name if pkg_resources would not find it any more under one of the keys
    `in_use` (see `check.spelling`). METADATA and RECORD are read in the directory `described_in`
    if `path` has lost its own.

    Raises `names.MetadataError` if METADATA is not there or does not say which distribution it
    describes: nothing can be known of such a directory.
    """
    described_in = described_in or path
    place, own = posixpath.split(path)
    metadata = tree.read(f"{described_in}/METADATA", names.HEADER_LIMIT)
    if metadata is None:
        message = "it has no METADATA" if tree.is_directory(path) else "it is not a directory"
        raise names.MetadataError(message)
    identity = names.parse_metadata(metadata)
    if not concerns(identity.name):
        return None
    directory = names.expected(own, identity)
    if _is_in_use(own, directory, in_use):
        directory = own
    wrong: tuple[str, ...] = ()
    if own != directory:  # in `X-1.0-info` the version part is not a version
        wrong = (NORMALIZED_NAME if names.is_well_formed(own) else MISNAMED,)
    try:
        listed = record.parse(_record(tree, described_in))
    except record.RecordError as error:
        obstacle = str(error)
        return Plan(
            identity.name, path, directory, wrong, obstacle, record.NOTHING, frozenset({own})
        )
    aliases = _aliases(tree, place, own, identity.name, listed)
    if aliases != {own}:
        wrong += (STALE_RECORD,)
    obstacle = ""
    if _lists_by_detour(path, listed):
        obstacle = "its RECORD lists its files by another path than the one from beside it"
    aliases |= {directory, directory + BUILDING}
    return Plan(identity.name, path, directory, wrong, obstacle, listed, aliases)


def _is_in_use(own: str, directory: str, in_use: Collection[str]) -> bool:
    """Say whether a key `in_use` finds the directory called `own`, and not if it is renamed."""
    if not in_use or not names.is_well_formed(own):
        return False
    key = names.key_of(names.split(own)[0])
    return key in in_use and key != names.key_of(names.split(directory)[0])


def is_beyond_doubt(directory: str) -> bool:
    """Say whether the name of the dist-info `directory` is right, whatever its METADATA says."""
    return names.is_well_formed(directory) and not may_be_dotted(directory)


def _record(tree: Tree, directory: str) -> bytes:
    content = tree.read(f"{directory}/RECORD", _RECORD_LIMIT)
    if content is None:
        message = "it has no RECORD"
        raise record.RecordError(message)
    if len(content) == _RECORD_LIMIT:  # what does not fit would be lost
        message = "its RECORD is too long"
        raise record.RecordError(message)
    return content


def _aliases(tree: Tree, place: str, own: str, name: str, listed: Record) -> frozenset[str]:
    """Return under which names `listed` has the files of the directory `own` in `place`.

    They are its own, and those of the same project that do not exist beside it: a wheel that was
    built wrongly names one, a rename that left RECORD alone does, a run that was killed does.
    """
    others = {
        alias
        for alias in {record.top(row.path) for row in listed.infos} - {own}
        if (stem := alias.removesuffix(BUILDING)).endswith(names.SUFFIX)
        and names.version_in(stem, name) is not None
    }
    return frozenset({own} | (others and others.difference(tree.names(place))))


def _lists_by_detour(path: str, listed: Record) -> bool:
    """Say whether `listed` names files of the directory `path` from the root or through ``..``.

    Such rows would still name the old directory after a rename.
    """
    detours = [row.path for row in listed.infos if record.top(row.path) in {"", ".."}]
    if not detours:
        return False
    site_packages = posixpath.abspath(posixpath.dirname(path))
    own = posixpath.join(site_packages, posixpath.basename(path), "")
    return any(
        posixpath.normpath(posixpath.join(site_packages, detour)).startswith(own)
        for detour in detours
    )
