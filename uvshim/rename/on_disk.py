"""The rename: a dist-info directory gets the name under which pkg_resources finds it.

At every instant, a kill between any two system calls included, `importlib.metadata` finds the
distribution and an uninstall removes all of it, because its RECORD lists both names for as long as
either may be the one that exists (uv and pip skip a path that does not exist):

1. append the new name's paths to RECORD;
2. rename the directory;
3. replace RECORD by one with the new name's paths alone.

Step 2 takes longer where a directory comes from a lower layer of a container image: `layers`.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from uvshim.environments import files
from uvshim.environments.snapshot import Snapshot, may_be_dotted
from uvshim.rename import names, overlay, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Renamed(NamedTuple):
    """A distribution that has been put right."""

    name: str
    """Its project name, as METADATA has it."""
    version: str
    """Its version, as the directory's name has it."""
    before: str
    """The path of its dist-info directory before."""
    path: str
    """The path of its dist-info directory now: the same, where only RECORD was wrong."""


class Left(NamedTuple):
    """A dist-info directory that was left alone although something is wrong with it."""

    path: str
    """Its path."""
    reason: str
    """What is wrong: a clause that goes after the path and a colon."""


class Outcome(NamedTuple):
    """What became of the directories that were looked at and needed something."""

    renamed: list[Renamed]
    left: list[Left]


class _Plan(NamedTuple):
    """What is to be done with one dist-info directory."""

    identity: names.Identity
    path: str
    directory: str
    """The name that the directory shall have."""
    rows: list[record.Row]
    aliases: frozenset[str]
    """The names that its files may be listed under, but for one: they go from RECORD at the end."""

    @property
    def destination(self) -> str:
        return os.path.join(os.path.dirname(self.path), self.directory)

    @property
    def version(self) -> str:
        return self.directory.removesuffix(names.SUFFIX).partition("-")[2]


class _CannotError(Exception):
    """A directory has to be left alone; the message is the reason."""


def renormalize(site_packages: str | os.PathLike[str], since: Snapshot | None = None) -> Outcome:
    """Put right the distributions with dotted names in the directory `site_packages`.

    With a snapshot, only those that are new `since` it was taken. In a virtual environment or a
    target no uv can install meanwhile: its lock is held. What could not be put right is told in
    the outcome's `left`.

    Raises `EnvironmentUnknownError` if there is no such directory.
    """
    from uvshim.environments import installation  # noqa: PLC0415
    from uvshim.uv.lock import UvLock  # noqa: PLC0415

    place = installation.of_site_packages(os.fspath(site_packages))
    with UvLock(place.lock):
        now = Snapshot.take(place.site_packages)
        paths = sorted(now.states) if since is None else now.new_since(since)
        return renormalize_directories(paths, lambda name: "." in name)


def renormalize_directories(
    paths: Iterable[str], concerns: Callable[[str], bool], *, dry: bool = False
) -> Outcome:
    """Put right the dist-info directories `paths` of the distributions that `concerns` names.

    `concerns` is asked with each project name as METADATA has it. With `dry`, what would be
    renamed is told and nothing is touched. The caller holds uv's lock on the environment.
    """
    outcome = Outcome([], [])
    for path in paths:
        try:
            plan = _plan(path, concerns)
            if plan is None:
                continue
            if not dry:
                _carry_out(plan)
        except _CannotError as reason:
            outcome.left.append(Left(path, str(reason)))
        except OSError as error:
            outcome.left.append(Left(path, _told(error)))
        else:
            outcome.renamed.append(
                Renamed(plan.identity.name, plan.version, path, plan.destination)
            )
    # Of a directory that a killed run has left twice, both were put right: that is one.
    return outcome._replace(renamed=list({each.path: each for each in outcome.renamed}.values()))


def _plan(path: str, concerns: Callable[[str], bool]) -> _Plan | None:
    """Return what is to be done with the dist-info directory `path`, None if that is nothing."""
    try:
        plan = _plan_as_described(path, path, concerns)
    except (names.MetadataError, record.RecordError) as error:
        own = os.path.basename(path)
        if names.is_well_formed(own) and not may_be_dotted(own):
            return None  # broken, but not in anything that could be put right here
        heir = None if os.path.islink(path) else overlay.heir(path)
        if heir is None:
            raise _CannotError(*error.args) from None
        plan = _plan_as_described(path, heir, concerns)
    if plan is None:
        return None
    if os.path.islink(path):
        message = "it is a symbolic link"
        raise _CannotError(message)
    if _stands_beside(plan) and not overlay.is_remnant(path, plan.destination):
        message = f"`{plan.directory}` stands beside it already"
        raise _CannotError(message)
    return plan


def _plan_as_described(
    path: str, described_in: str, concerns: Callable[[str], bool]
) -> _Plan | None:
    """Return what is to be done with `path`, by METADATA and RECORD in `described_in`."""
    own = os.path.basename(path)
    metadata = files.read(os.path.join(described_in, "METADATA"), names.HEADER_LIMIT)
    if metadata is None:
        message = "it has no METADATA"
        raise names.MetadataError(message)
    identity = names.parse_metadata(metadata)
    if not concerns(identity.name):
        return None
    directory = names.expected(own, identity)
    try:
        rows = record.read(described_in)
    except record.RecordError:
        if directory == own:
            return None
        raise
    aliases = _aliases(path, identity.name, rows)
    if directory == own and aliases == {own}:
        return None
    building = directory + overlay.BUILDING
    if _lists_by_detour(path, rows):
        message = "its RECORD lists its files by another path than the one from beside it"
        raise _CannotError(message)
    return _Plan(identity, path, directory, rows, aliases | {directory, building})


def _aliases(path: str, name: str, rows: list[record.Row]) -> frozenset[str]:
    """Return under which names `rows` list the files of the dist-info directory `path`.

    They are its own, and those of the same project's that do not exist beside it: what a wheel
    that was built wrongly says, a rename that left RECORD alone, a run that was killed.
    """
    own = os.path.basename(path)
    site_packages = os.path.dirname(path)
    aliases = {own}
    for alias in {record.top(row) for row in rows} - aliases:
        stem = alias.removesuffix(overlay.BUILDING)
        if (
            stem.endswith(names.SUFFIX)
            and names.version_in(stem, name) is not None
            and not os.path.lexists(os.path.join(site_packages, alias))
        ):
            aliases.add(alias)
    return frozenset(aliases)


def _lists_by_detour(path: str, rows: list[record.Row]) -> bool:
    """Say whether `rows` lead to files of the directory `path` from the root or from above.

    Such rows would go on leading to the old name.
    """
    site_packages = os.path.abspath(os.path.dirname(path))
    own = os.path.join(site_packages, os.path.basename(path), "")
    return any(
        os.path.normpath(os.path.join(site_packages, row.path)).startswith(own)
        for row in rows
        if record.top(row) in {"", ".."}
    )


def _carry_out(plan: _Plan) -> None:
    """Do what `plan` says, so that a kill at any moment loses nothing."""
    if _stands_beside(plan):  # the same, of a killed run: see `_plan`
        overlay.remove(plan.path)
    else:
        record.append(plan.path, record.also_listed(plan.rows, plan.aliases, plan.directory))
        if plan.destination != plan.path:
            _rename(plan)
    rows = record.relocated(plan.rows, plan.aliases, plan.directory)
    record.replace(plan.destination, rows)


def _stands_beside(plan: _Plan) -> bool:
    """Say whether there is something else at the destination; a name's case may not matter."""
    try:
        there = os.lstat(plan.destination)
    except FileNotFoundError:
        return False
    return not os.path.samestat(there, os.lstat(plan.path))


def _rename(plan: _Plan) -> None:
    """Give the directory its name."""
    overlay.discard(plan.destination)
    try:
        os.rename(plan.path, plan.destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        overlay.move(plan.path, plan.destination)


def _told(error: OSError) -> str:
    """Return what went wrong, as a clause."""
    what = error.strerror or type(error).__name__
    return f"{what[:1].lower()}{what[1:]}" + (f" ({error.filename})" if error.filename else "")
