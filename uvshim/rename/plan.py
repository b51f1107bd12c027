"""What is wrong with one dist-info directory, and what to do about it.

Only this module decides that. `uvshim check` shows plans; `uvpip` and `uvshim fix` carry
them out. Everything is read through a `Tree`, and nothing is changed.
"""

from __future__ import annotations

import itertools
import posixpath

from uvshim.environments.environment import OWNERS
from uvshim.environments.snapshot import may_be_dotted
from uvshim.environments.tree import denies
from uvshim.rename import names
from uvshim.rename.record import Record, RecordError

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from uvshim.environments.tree import Tree
    from uvshim.rename.spelling import Spellings

# Problems of a directory that a rename fixes.
MISNAMED = "misnamed"
NORMALIZED_NAME = "normalized-name"
STALE_RECORD = "stale-record"

# Why a directory keeps its name if `discovery.linked` has it, and if it has a twin.
LINKED = "a link elsewhere leads to it"
TWIN = "another installation of it was not removed"

_EGG_INFO = ".egg-info"

# The suffix of a directory while files are linked into it (see `obstacles`).
BUILDING = ".uvshim"

# The file with the name that a directory had in its wheel (see `spelling`).
ORIGINAL = "ORIGINAL.uvshim"

# The row of INSTALLER as uv writes it. If RECORD has it, INSTALLER need not be read, but only in
# new directories: conda builds packages with uv or pip, and overwrites INSTALLER later.
_INSTALLED_BY_UV = b"/INSTALLER,sha256=5hhM4Q4mYTT9z6QB6PGpUAW81PGNFrYrdXMj4oM_6ak,2"

# How many bytes of METADATA are read first: most headers are shorter.
_USUAL_HEADER = 4096

# The limit of one RECORD, in bytes. The longest real ones have a tenth of it.
RECORD_LIMIT = 64 * 1024 * 1024


class ObstacleError(Exception):
    """A directory cannot be renamed; the message is the reason, a clause."""


class Plan:
    """What to do with one dist-info directory: nothing, unless something is `wrong`.

    - `name`: the project name, as METADATA has it;
    - `path`: the path of the directory in the tree;
    - `own`: its name now;
    - `directory`: the name that it should have, and `destination` the path;
    - `wrong`: what is wrong: `MISNAMED` or `NORMALIZED_NAME`, `STALE_RECORD`;
    - `obstacle`: why it cannot be renamed, as a clause; "" if it can;
    - `owner`: the package manager that owns the directory, "" unless something is wrong with it;
    - `record`: its RECORD, None if that cannot be read;
    - `aliases`: the directories under which RECORD lists its files, or may during the rename;
    - `remnant`: a directory beside it that RECORD lists as well, "" if none: if nothing else is in
      it, a killed run was moving it here;
    - `original`: the content to write to the file `ORIGINAL`, or "" for no change.
    """

    def __init__(self, name: str, path: str, directory: str) -> None:
        """Plan to do nothing."""
        place, slash, self.own = path.rpartition("/")
        self.name = name
        self.path = path
        self.directory = directory
        self.destination = place + slash + directory
        self.record: Record | None = None
        self.aliases = frozenset({self.own, directory, directory + BUILDING})
        self.wrong: tuple[str, ...] = ()
        self.obstacle = ""
        self.owner = ""
        self.remnant = ""
        self.original = ""

    @property
    def version(self) -> str:
        """The version in the name that it should have."""
        return names.split(self.directory)[1]

    def new_record(self) -> bytes:
        """Return the content of RECORD after the rename. There must be no obstacle."""
        return self.record.renamed(self.aliases, self.directory) if self.record else b""


def make(  # noqa: PLR0913
    tree: Tree,
    path: str,
    concerns: Callable[[str], bool] = lambda _name: True,
    *,
    spellings: Spellings | None = None,
    only_new: bool = False,
    parsed: Callable[[bytes | None, str], Record] = Record,
) -> Plan | None:
    """Return the plan for the dist-info directory `path`, a path in `tree`.

    If `concerns(name)` is False for the project's name, no more is read and None is
    returned. With `only_new` this is also so if the name has no dot and the directory's name has
    the form NAME-VERSION. `spellings`, if given, choose between two right names. `parsed` returns
    the `Record` with a content, of a directory.

    Raise `names.MetadataError` if METADATA is missing or does not name the distribution that it
    describes.
    """
    own = posixpath.basename(path)
    metadata = tree.read(f"{path}/METADATA", _USUAL_HEADER)
    if metadata and len(metadata) == _USUAL_HEADER and b"\n\n" not in metadata:
        metadata = tree.read(f"{path}/METADATA", names.HEADER_LIMIT)
    if metadata is None:
        raise names.MetadataError(_absence(tree, path))
    name, version = names.parse_metadata(metadata)
    if not concerns(name) or (only_new and "." not in name and names.is_well_formed(own)):
        return None
    directory = names.expected(own, name, version)
    original = ""
    if spellings and "." in name:
        directory, original = spellings.choose(tree, path, name, directory)
    plan = Plan(name, path, directory)
    plan.original = original
    if own != directory:  # in `X-1.0-info` the version part is not a version
        is_dotted = "." in names.split(directory)[0]
        plan.wrong = (NORMALIZED_NAME if is_dotted and names.is_well_formed(own) else MISNAMED,)
    _read_record(plan, tree, parsed)
    by_uv = only_new and plan.record and own.encode() + _INSTALLED_BY_UV in plan.record.content
    if plan.wrong and not by_uv:
        plan.owner = owner_of(tree, path)
    return plan


def owner_of(tree: Tree, path: str) -> str:
    """Return the package manager that owns the dist-info directory `path`; "" for uv and pip."""
    installer = (tree.read(f"{path}/INSTALLER", 64) or b"").decode("ascii", "replace")
    return OWNERS.get(installer.strip().lower(), "")


def _absence(tree: Tree, path: str) -> str:
    """Return why the directory `path` has no METADATA, as a clause."""
    if not tree.is_directory(path):
        return "it is not a directory"
    if denies(tree, f"{path}/METADATA"):
        return "permission denied (METADATA)"
    is_left = tree.names(path) and not tree.is_file(f"{path}/RECORD")
    return f"it has no METADATA{' and no RECORD: no installer removes it' if is_left else ''}"


def _read_record(plan: Plan, tree: Tree, parsed: Callable[[bytes | None, str], Record]) -> None:
    """Add the RECORD to `plan`, and what it shows.

    If RECORD lists a directory of the same project that does not exist, that is another name of
    this one, left by a wrongly built wheel or a killed rename.
    """
    content = tree.read(f"{plan.path}/RECORD", RECORD_LIMIT)
    try:
        if content and len(content) == RECORD_LIMIT:  # the rest would be lost
            raise RecordError("its RECORD is too long")  # noqa: TRY301
        record = parsed(content, plan.own)
    except RecordError as error:
        plan.obstacle = str(error)
        return
    plan.record = record.with_row(f"{plan.own}/{ORIGINAL}") if plan.original else record
    if record.only:
        return
    place = posixpath.dirname(plan.path)
    others = {
        alias
        for alias in record.directories() - {plan.own}
        if (stem := alias.removesuffix(BUILDING)).endswith(names.SUFFIX)
        and names.version_in(stem, plan.name) is not None
    }
    existing = others.intersection(tree.names(place)) if others else others
    others -= existing
    if record.is_unfinished:
        moved = sorted(each for each in existing - plan.aliases if each.endswith(names.SUFFIX))
        plan.remnant = posixpath.join(place, moved[0]) if moved else ""
    if others or record.is_unfinished:
        plan.wrong += (STALE_RECORD,)
        plan.aliases |= others
    if _lists_by_detour(plan.path, record):
        plan.obstacle = "its RECORD lists its files by another path than the one from beside it"


def _lists_by_detour(path: str, record: Record) -> bool:
    """Return True if `record` lists files of the directory `path` by unusual paths.

    They begin at the root or with a dot, or have ``..`` or backslashes in them. After a rename they
    would still name the old directory.
    """
    own = posixpath.join(posixpath.abspath(path), "")
    return any(
        posixpath.normpath(posixpath.join(own, "..", each.replace("\\", "/"))).startswith(own)
        for each in record.paths()
        if each.startswith(("/", ".")) or "/../" in each or "\\" in each
    )


def duplicates(tree: Tree, plans: Iterable[Plan]) -> set[str]:
    """Return the paths of those of `plans` whose project has another directory beside them.

    Which of two is found depends on their names, so neither may be renamed. If the RECORD of one
    lists the files of the other, a killed run has left them. A directory without METADATA counts,
    too, unless it is empty or makes way for the rename: pkg_resources finds it.
    """
    projects: dict[tuple[str, str], list[Plan]] = {}
    known: set[str] = set()
    for each in plans:
        place = posixpath.dirname(each.path)
        projects.setdefault((place, names.normalized(each.name)), []).append(each)
        known.update((each.path, each.destination, each.remnant))
    others: dict[str, dict[str, list[str]]] = {}
    found: set[str] = set()
    for (place, project), alike in projects.items():
        has_twin = any(not _is_continued(*pair) for pair in itertools.combinations(alike, 2))
        if not has_twin and any(NORMALIZED_NAME in each.wrong for each in alike):
            if place not in others:
                others[place] = _others(tree, place, known)
            paths = others[place].get(project, ())
            has_twin = any(path.endswith(_EGG_INFO) or tree.names(path) for path in paths)
        if has_twin:
            found.update(each.path for each in alike)
    return found


def _others(tree: Tree, place: str, known: set[str]) -> dict[str, list[str]]:
    """Return the metadata directories and files in `place` that are not `known`, by project."""
    found: dict[str, list[str]] = {}
    for name in tree.names(place):
        stem, suffix = posixpath.splitext(name)
        path = posixpath.join(place, name)
        if suffix in {_EGG_INFO, names.SUFFIX} and name[0] != "~" and path not in known:
            found.setdefault(names.normalized(stem.partition("-")[0]), []).append(path)
    return found


def _is_continued(one: Plan, other: Plan) -> bool:
    """Return True if one directory is what a killed run has left of the other."""
    both = {one.own, other.own}
    return one.path == other.path or any(
        each.record is not None and both <= each.record.directories() for each in (one, other)
    )


def is_beyond_doubt(directory: str) -> bool:
    """Return True if the name of the dist-info `directory` is right, whatever METADATA says."""
    is_valid = names.is_well_formed(directory) and names.is_project_name(names.split(directory)[0])
    return is_valid and not may_be_dotted(directory)
