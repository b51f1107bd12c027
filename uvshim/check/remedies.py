"""The commands that prevent or fix what a report shows, for a person to paste."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections import Counter
from typing import TYPE_CHECKING

from uvshim.check.metadata import METADATA_LIMIT
from uvshim.check.versions import precedence
from uvshim.environments import interpreter
from uvshim.environments.environment import dist_infos
from uvshim.environments.search_path import CONFIGURATION, has_interpreter, is_usual
from uvshim.messages import quoted
from uvshim.rename.names import is_well_formed, normalized, split
from uvshim.rename.plan import MISNAMED, NORMALIZED_NAME, STALE_RECORD
from uvshim.rename.setuptools import EVERY_SPELLING, NORMALIZED_TOO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uvshim.check.directories import Finding
    from uvshim.check.report import Report
    from uvshim.check.verify import Difference
    from uvshim.environments.tree import SearchableTree

# The kinds of findings that `uvshim fix` fixes.
FIXABLE = (MISNAMED, NORMALIZED_NAME, STALE_RECORD)


def remedies(report: Report) -> Iterator[str]:
    """Yield how to prevent the problems, then the commands that fix them, `fix` first."""
    if report.image is None and any(each.kind == NORMALIZED_NAME for each in fixable(report)):
        yield "install with `uvpip` instead of `uv pip install`"
    yield from fixes(report)
    yield from reinstalls(report)


def fixable(report: Report) -> list[Finding]:
    """Return the findings that `fix` fixes, and that matter here."""
    found = report.diagnosis
    # From setuptools 75.8.2 on, a normalized name breaks only other lookups than `require`.
    counts = found.programs or (report.gate.strict and found.by_require_only)
    concerned = found.findings if counts else found.wrong
    return [each for each in concerned if each.kind in FIXABLE and not each.owner]


def fixes(report: Report, *, inherited_only: bool = False) -> list[str]:
    """Return the commands with which `fix` fixes what it can; only what is inherited, if wanted.

    Below a root, links are followed by who knows the root. Where a directory is found under one
    spelling only, its name depends on all that import from it.
    """
    found, root = report.installation, report.installation.tree.root
    directories = {os.path.dirname(each.path) for each in fixable(report) if not each.obstacle}
    inherited = sorted(directories.difference(found.site_packages))
    if not inherited if inherited_only else not directories:
        return []
    if report.image is not None:
        return [] if inherited_only else _fix_of_image(report.image, report.digest)
    if root is not None:
        return [] if inherited_only else [f"uvshim fix {quoted(root)}"]
    if inherited and report.diagnosis.by_spelling:
        return [f"uvshim fix {' '.join(map(quoted, [found.path, *inherited]))}"]
    own = [found.path] if directories.difference(inherited) and not inherited_only else []
    return [f"uvshim fix {quoted(path)}" for path in own + inherited]


def _fix_of_image(image: str, digest: str | None) -> list[str]:
    """Return the command that fixes `image`, if it has a name that `uvshim fix` understands.

    One from a pipe has none, nor has one in a file with a colon in its path; a file system without
    an image has no `digest`. Any image can be written to an archive, which must be a new file.
    """
    transport, _, name = image.partition(":")
    path = name.partition(":")[0]
    is_file = transport in {"oci", "oci-archive", "docker-archive"}
    is_there = os.path.isfile(path) or os.path.isdir(path)  # a named pipe cannot be read again
    if not digest or (is_file and (path.startswith("/dev/") or not is_there)):
        return []
    return [f"uvshim fix {quoted(image)} --output docker-archive:fixed.tar"]


def reinstalls(report: Report) -> list[str]:
    """Return what fixes that which no rename can: commands, or what a person must do.

    They resolve duplicates, ghosts and spellings that are not found, and restore changed files.
    Only an installer can do this: files are missing, one of two distributions must go with
    its files, or a newer pkg_resources is needed. For an image, they are lines of a Dockerfile.
    """
    if report.installs is not None:
        return [*report.installs]
    found, tree = report.diagnosis, report.installation.tree
    lines = []
    if found.spellings or any(each.misspelled for each in found.hidden):
        needed, oldest = EVERY_SPELLING if found.by_spelling else NORMALIZED_TOO
        python = interpreter.version_of(tree, found.site_packages)
        if tuple(map(int, python.split(".")[:2])) >= oldest:
            lines = [f"{_install_into(report, found.site_packages[0])} {quoted(needed)}"]
    wanted: dict[str, list[str]] = {}
    by_distutils = functools.cache(functools.partial(_by_distutils, tree))
    for path, words in _wanted(report):
        place, own = os.path.split(path)
        if kept := by_distutils(place).get(normalized(split(own)[0])):
            kept = quoted(report.outside(kept))
            lines.append(f"no installer removes {kept}: delete it if nothing needs it")
        elif _needs_its_python(report, path, words):
            lines.append(_with_its_python(report, place, " ".join(map(quoted, words))))
        else:
            wanted.setdefault(place, []).extend(map(quoted, words))
    # uv may have linked a file that was changed: then its cache has the change, too.
    changed = {os.path.dirname(one.path) for one in report.differences or ()}
    return lines + [
        f"{_install_into(report, place)} --no-deps --reinstall "
        f"{'--no-cache ' if place in changed else ''}{' '.join(names)}"
        for place, names in wanted.items()
    ]


def _wanted(report: Report) -> Iterator[tuple[str, list[str]]]:
    """Yield the dist-info directories of what is to be reinstalled, and the words that do so."""
    found, tree = report.diagnosis, report.installation.tree
    due = [each for each in found.wrong if (each.kind in FIXABLE) is bool(each.obstacle)]
    alike: dict[tuple[str, str], list[Finding | Difference]] = {}
    concerned: list[Finding | Difference] = [*due, *(report.differences or ())]
    for one in concerned:
        alike.setdefault(_project(one), []).append(one)
    for each in due:
        if each.owner:  # another package manager does it
            alike.pop(_project(each), None)
    projects = functools.cache(functools.partial(_projects, tree))
    for path, project, version in _rests(report):
        place = os.path.dirname(path)
        if projects(place)[normalized(project)] > 1:  # no command keeps the other version
            alike.pop((place, normalized(project)), None)
        else:
            yield path, [f"{project}=={version}"]
    for given in alike.values():
        latest = max(given, key=functools.partial(_installed_at, tree))
        yield latest.path, _requirement(tree, latest)


def _by_distutils(tree: SearchableTree, place: str) -> dict[str, str]:
    """Return what distutils wrote in `place`, by project: uv and pip refuse to remove it.

    It is a file: nothing lists what was installed.
    """
    return {
        normalized(name.removesuffix(".egg-info").partition("-")[0]): f"{place}/{name}"
        for name in tree.names(place)
        if name.endswith(".egg-info") and tree.is_file(f"{place}/{name}")
    }


def _projects(tree: SearchableTree, place: str) -> Counter[str]:
    """Return how many dist-info directories each project has in `place`."""
    return Counter(normalized(split(each)[0]) for each in dist_infos(tree.names(place)))


def _needs_its_python(report: Report, path: str, words: list[str]) -> bool:
    """Return True if uv may choose other files than for the Python that imports `path`.

    A directory of `--target` does not name its Python, and that below a root may be for another
    machine. Only a wheel for any of them is sure to be right (PyPA, "Platform compatibility tags"),
    unless the `words` name a file, which is below the root, too.
    """
    tree, place = report.installation.tree, os.path.dirname(path)
    if report.image is not None or not _into_target(report, place):
        return False
    if tree.root is not None and "file:" in words[-1]:
        return True
    wheel = tree.read(f"{path}/WHEEL", METADATA_LIMIT) or b""
    tags = [line for line in wheel.splitlines() if line.startswith(b"Tag:")]
    return not tags or not all(tag.rstrip().endswith(b"-any") for tag in tags)


def _with_its_python(report: Report, place: str, what: str) -> str:
    """Return how a person reinstalls `what` in `place`, whose Python is unknown here."""
    if report.installation.tree.root is not None:
        return (
            f"reinstall {what} with the Python that imports it: uv may choose others for this one"
        )
    command = f"uvpip install --python PYTHON --target {quoted(place)} --no-deps --reinstall {what}"
    return f"with the Python that imports it: {command}"


def _rests(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield path, project and version of what an interrupted install or uninstall has left."""
    for one in report.diagnosis.unreadable:
        own = os.path.basename(one.path)
        if one.is_rest and is_well_formed(own):
            yield one.path, *split(own)


def _project(one: Finding | Difference) -> tuple[str, str]:
    return os.path.dirname(one.path), normalized(one.name)


def _installed_at(tree: SearchableTree, one: Finding | Difference) -> tuple[int, object]:
    """Return a sort key: times of directories show which was installed last, but not in images."""
    path = tree.on_disk(one.path)
    time = os.stat(path).st_mtime_ns if path and os.path.exists(path) else 0
    return time, precedence(one.version)


def _requirement(tree: SearchableTree, one: Finding | Difference) -> list[str]:
    """Return the words that install the distribution again: its version, or where it came from.

    direct_url.json says the latter (PyPA, "Recording the direct URL origin").
    """
    # RecursionError: JSON is nested too deep.
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        origin = json.loads(tree.read(f"{one.path}/direct_url.json", METADATA_LIMIT) or b"")
        vcs = origin.get("vcs_info")
        before, after = (f"{vcs['vcs']}+", f"@{vcs['commit_id']}") if vcs else ("", "")
        folder = origin.get("subdirectory")
        after += f"#subdirectory={folder}" if folder else ""
        is_editable = origin.get("dir_info", {}).get("editable", False)
        return [*["-e"] * is_editable, f"{one.name} @ {before}" + origin["url"] + after]
    return [f"{one.name}=={one.version}"]


def _install_into(report: Report, directory: str) -> str:
    """Return the beginning of a command that installs into the site-packages `directory`."""
    tree = report.installation.tree
    root, library = interpreter.root_of(directory), interpreter.library(directory)
    version = (library or "").removeprefix("python")
    if tree.root is not None:  # its interpreter may be for another machine, its links may lead here
        target = tree.on_disk(directory) or report.outside(directory)
        series = interpreter.series(directory)
        where = f"--target {quoted(target)}" + (f" --python-version {series}" if series else "")
    elif _into_target(report, directory):
        where = f"--target {quoted(directory)}"
    elif tree.is_file(f"{root}/{CONFIGURATION}"):
        where = f"--python {quoted(root)}"
    elif _is_installed_in(tree, root, library):
        program = f"{root}/bin/{library}"
        where = f"--python {quoted(program if tree.is_file(program) else root)}"
        if tree.is_file(f"{root}/lib/{library}/EXTERNALLY-MANAGED"):
            where += " --break-system-packages"
    else:
        where = f"--prefix {quoted(root)}" + (f" --python {version}" if version else "")
    return f"{'RUN ' if report.image is not None else ''}uvpip install {where}"


def _into_target(report: Report, directory: str) -> bool:
    """Return True if only `--target` installs into `directory`: no Python here imports from it."""
    tree = report.installation.tree
    return tree.root is not None or not is_usual(tree, directory)


def _is_installed_in(tree: SearchableTree, root: str, library: str | None) -> bool:
    """Return True if the Python with the `library` is installed in `root`.

    A user's `.local/bin` may have only a link to one. All Pythons of Debian share `lib/python3`.
    """
    places = (f"{root}/{lib}/{library}" for lib in ("lib", "lib64"))
    has_library = library is None or any("os.py" in tree.names(each) for each in places)
    return has_library and has_interpreter(tree, root)
