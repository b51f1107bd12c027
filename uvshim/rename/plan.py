"""What is wrong with one dist-info directory, and what to do about it.

Only this module decides that. `uvshim check` shows plans; `uvpip` and `uvshim fix` carry
them out. Everything is read through a `Tree`, and nothing is changed.
"""

from __future__ import annotations

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

# Why a directory has no plan.
NO_METADATA = "it has no METADATA"

# Why a directory keeps its name if `discovery.linked` has it, and if it has a twin.
LINKED = "a link elsewhere leads to it"
TWIN = "another installation of it was not removed"

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
    """Return the package manager that owns the dist-info directory `path`; "" for uv and pip.

    PDM deletes a package from its cache when none of the directories that it lists there by path
    exists any more.
    """
    if tree.is_file(f"{path}/REFER_TO"):
        return "PDM"
    installer = (tree.read(f"{path}/INSTALLER", 64) or b"").decode("ascii", "replace")
    return OWNERS.get(installer.strip().lower(), "")


def _absence(tree: Tree, path: str) -> str:
    """Return why the directory `path` has no METADATA, as a clause."""
    if not tree.is_directory(path):
        return "it is not a directory"
    if denies(tree, f"{path}/METADATA"):
        return "permission denied (METADATA)"
    return NO_METADATA


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
        for alias in record.directories - {plan.own}
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
    if _lists_by_detour(record, plan.own):
        plan.obstacle = "its RECORD lists its files by another path than the one from beside it"


def _lists_by_detour(record: Record, own: str) -> bool:
    """Return True if `record` lists files of its directory, called `own`, by unusual paths.

    They begin at the root or with a dot, or have ``..`` or backslashes in them. After a rename they
    would still name the old directory. A path that begins at the root does so on the machine on
    which it was written: here, a link or another root may lead to the directory. So a directory
    with this name anywhere counts.
    """
    return any(
        own in each.replace("\\", "/").split("/")
        for each in record.paths()
        if each.startswith(("/", ".")) or "/../" in each or "\\" in each
    )


def duplicates(tree: Tree, plans: Iterable[Plan]) -> set[str]:
    """Return the paths of those of `plans` whose project has another directory beside them.

    Which of two is found depends on their names, so neither may be renamed.
    """
    places: dict[str, dict[str, Plan]] = {}
    for each in plans:
        places.setdefault(posixpath.dirname(each.path), {})[each.own] = each
    found = set()
    for place, planned in places.items():
        projects: dict[str, list[str]] = {}
        for own, each in planned.items():
            projects.setdefault(names.normalized(each.name), []).append(own)
        for own in {*tree.names(place)} - planned.keys():
            stem, suffix = posixpath.splitext(own)
            if suffix in {".egg-info", names.SUFFIX} and own[0] != "~":
                projects.setdefault(names.normalized(stem.partition("-")[0]), []).append(own)
        for own, each in planned.items():
            others = (name for name in projects[names.normalized(each.name)] if name != own)
            if any(_is_twin(tree, each, name, planned.get(name)) for name in others):
                found.add(each.path)
    return found


def _is_twin(tree: Tree, plan: Plan, own: str, other: Plan | None) -> bool:
    """Return True if the directory `own` is another one beside that of the `plan`.

    If the RECORD of one lists the files of the `other`, a killed run has left them. One that has no
    plan counts as well, unless it is empty or makes way for the rename: pkg_resources finds it.
    """
    if other is not None:
        both = {plan.own, own}
        records = [each.record for each in (plan, other) if each.record is not None]
        return not any(both <= each.directories for each in records)
    makes_way = {plan.directory, posixpath.basename(plan.remnant)}
    if NORMALIZED_NAME not in plan.wrong or own in makes_way:
        return False
    path = posixpath.join(posixpath.dirname(plan.path), own)
    return own.endswith(".egg-info") or bool(tree.names(path))


def is_beyond_doubt(directory: str) -> bool:
    """Return True if the name of the dist-info `directory` is right, whatever METADATA says."""
    is_valid = names.is_well_formed(directory) and names.is_project_name(names.split(directory)[0])
    return is_valid and not may_be_dotted(directory)


def is_harmless(tree: Tree, path: str) -> bool:
    """Return True if it does no harm that the directory `path` has no plan.

    Its name is beyond doubt, or an uninstall by uv has left it empty.
    """
    own = posixpath.basename(path)
    is_left = "." in names.split(own)[0] and tree.is_directory(path) and not tree.names(path)
    return is_left or is_beyond_doubt(own)
