"""Find environments by their files alone: on this machine's disk, or in an image.

A person may name a virtual environment, an interpreter, a site-packages directory, or the root of a
file system with any number of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uvshim.environments import interpreter, search_path
from uvshim.environments.environment import (
    Environment,
    dist_infos,
    is_dist_info,
)
from uvshim.environments.search_path import CONFIGURATION, EGG
from uvshim.environments.tree import DiskTree, identity
from uvshim.errors import EnvironmentUnknownError
from uvshim.uv import process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from uvshim.environments.tree import SearchableTree

_WHAT_WORKS = (
    "Name a virtual environment, a Python interpreter, a site-packages directory, or the root of a "
    "file system, with `usr` and `etc`"
)

# In the root: the kernel's file systems, and directories that are empty when an image starts.
_EMPTY = frozenset({"boot", "dev", "proc", "run", "sys", "tmp"})

# Copies of distributions inside a package that uses them.
_VENDORED = frozenset({"_vendor", "_vendored"})

_SITE_PACKAGES = frozenset({"site-packages", "dist-packages"})

# What a virtual environment and one of conda have.
_ENVIRONMENT = frozenset({CONFIGURATION, "conda-meta"})

# How deep a file system is searched, in directories.
_DEEPEST = 15


def find(word: str, skipped: Callable[[str], None] = lambda _path: None) -> list[Environment]:
    """Return the environments that `word`, given by a person, names.

    The root of a file system, or a prefix with several Pythons, may have several.
    `skipped` is called with the path of each cache or store of images in a file system: they are
    not searched.

    Raise `EnvironmentUnknownError` if it has no environment.
    """
    if not word:
        raise EnvironmentUnknownError("an empty word is no environment: is a variable unset?")
    path = os.path.abspath(word)
    if not os.path.lexists(path):
        if os.path.dirname(word) or not (program := process.on_path(word)):
            raise EnvironmentUnknownError(f"`{word}` does not exist")
        path = os.path.abspath(program)
    if target := _redirected(path):
        return find(target, skipped)
    if found := [*_at(path, skipped)]:
        return found
    fault = f"`{word}` is not an environment. {_WHAT_WORKS}"
    if os.path.isfile(os.path.join(path, CONFIGURATION)):
        fault = f"The virtual environment `{word}` has no site-packages directory that can be read"
    elif _is_image(path):
        fault = f"No distributions are installed in the file system below `{word}`. {_WHAT_WORKS}"
    raise EnvironmentUnknownError(fault)


def _at(path: str, skipped: Callable[[str], None]) -> Iterable[Environment]:
    name, tree = os.path.basename(path), DiskTree()
    if os.path.isfile(path):
        own = of_program(path) if name.startswith(("python", "pypy", "graalpy")) else None
        return [own] if own else []
    if tree.is_file(os.path.join(path, CONFIGURATION)):
        return _below(tree, path)
    if _is_image(path):
        return in_image(DiskTree(path), skipped)
    if name in _SITE_PACKAGES or (
        not name.endswith(EGG)
        and any(each.endswith((".dist-info", ".egg-info")) for each in tree.names(path))
    ):
        return [_bare(tree, path)]
    return _below(tree, path)


def _redirected(path: str) -> str | None:
    """Return the environment that the file `path`, called ``.venv``, names."""
    if os.path.basename(path) != ".venv":
        return None
    content = DiskTree().read(path, 4096) or b""  # a path is not longer
    target = os.fsdecode(content.partition(b"\n")[0]).strip()
    path = os.path.join(os.path.dirname(path), target)
    return path if target and os.path.isdir(path) else None


def of_site_packages(path: str) -> Environment:
    """Return the environment of the directory `path`. Raise `EnvironmentUnknownError`."""
    if not os.path.isdir(path):
        raise EnvironmentUnknownError(f"`{path}` is not a directory")
    tree = DiskTree()
    inside = search_path.in_usual_places(tree, path)
    if inside and not dist_infos(tree.names(path)):
        raise EnvironmentUnknownError(
            f"`{path}` is not a site-packages directory, but contains one. Name `{inside[0]}`"
        )
    return _bare(tree, os.path.abspath(path))


def of_program(path: str) -> Environment | None:
    """Return the environment of the program at `path`, by its directory."""
    tree = DiskTree()
    for program in (os.path.abspath(path), os.path.realpath(path)):
        root = os.path.dirname(os.path.dirname(program))
        if tree.is_file(os.path.join(root, CONFIGURATION)):
            break
    return next(iter(_below(tree, root, os.path.basename(program))), None)


def _below(tree: SearchableTree, root: str, program: str = "") -> list[Environment]:
    """Return the virtual environment at `root`, or each Python that is installed there.

    The oldest Python comes first. If an interpreter `program` is given, return only its own.
    """
    lock = os.path.join(root, ".lock")
    if tree.is_file(os.path.join(root, CONFIGURATION)):
        own = search_path.in_virtual_environment(tree, root)
        return [Environment(root, lock, own, tree=tree)] if own else []
    present = [interpreter.library(each) for each in search_path.in_usual_places(tree, root)]
    libraries: list[str | None] = [*interpreter.oldest_first(present)] or [None]
    if program:
        libraries = [interpreter.chosen(present, program)]
    # For such a Python uv locks another file, which only uv knows.
    is_locked = tree.is_file(lock) and not search_path.has_interpreter(tree, root)
    return [
        Environment(root, lock if is_locked else None, own, tree=tree)
        for own in (search_path.in_prefix(tree, root, each) for each in libraries)
        if own
    ]


def _bare(tree: SearchableTree, path: str) -> Environment:
    """Return the environment of the site-packages directory `path`, virtual or not."""
    real = identity(tree, path) or path
    root = interpreter.root_of(real)
    is_prefix = tree.is_file(f"{root}/.lock") and search_path.is_usual(tree, real)
    is_root = is_prefix or tree.is_file(os.path.join(root, CONFIGURATION))
    return Environment(path, os.path.join(root if is_root else path, ".lock"), [path], tree=tree)


def _is_image(path: str) -> bool:
    """Return True if `path` is the root of a file system (Filesystem Hierarchy Standard)."""
    return all(os.path.isdir(os.path.join(path, name)) for name in ("usr", "etc"))


def in_image(
    tree: SearchableTree, skipped: Callable[[str], None] = lambda _path: None
) -> Iterator[Environment]:
    """Yield every environment in the file system `tree`.

    Any directory that contains dist-info directories belongs to one. `skipped` is called
    with the path of each cache or store of images: they are not searched.
    """
    roots = {}
    for path in _search(tree, skipped):
        roots[path] = interpreter.root_of(path) if search_path.is_usual(tree, path) else path
    seen: set[str | None] = set()
    prefixes = sorted(set(roots.values()))
    for root in prefixes:
        for found in _below(tree, root):
            keys = [tree.real(path) for path in found.site_packages]
            if not seen.issuperset(keys):
                seen.update(keys)
                is_users = root.endswith("/.local") and not tree.is_file(f"{root}/{CONFIGURATION}")
                yield _with_its_python(found, prefixes) if is_users else found.with_lock(None)
    for path in sorted(path for path, root in roots.items() if path == root):
        if dist_infos(tree.names(path)) and tree.real(path) not in seen:
            yield _bare(tree, path).with_lock(None)


def _with_its_python(found: Environment, prefixes: list[str]) -> Environment:
    """Return a user's directories in an image with those of the Python that it belongs to.

    That is one of the same release, in a usual place or in one of `prefixes`: `.local` has only
    packages (PEP 370).
    """
    tree, own = found.tree, found.site_packages
    library = interpreter.library(own[0])
    for prefix in ("/usr/local", "/usr", *prefixes):
        program = tree.real(f"{prefix}/bin/{library}")  # perhaps a link elsewhere
        root = os.path.dirname(os.path.dirname(program or ""))
        is_virtual = tree.is_file(os.path.join(prefix, CONFIGURATION))
        if root and not is_virtual and (its := search_path.in_prefix(tree, root, library)):
            return Environment(found.path, None, own, visible=[*own, *its], tree=tree)
    return found.with_lock(None)


def linked(environments: Iterable[Environment]) -> Iterator[str]:
    """Yield the dist-info directories to which links from elsewhere lead, as real paths.

    A link in one of `environments` is one to the whole directory, as Nix and Bazel make, or to its
    METADATA, as PEX does. A rename of what it leads to would break it.
    """
    for found in environments:
        tree = found.tree
        for place in found.site_packages:
            above, on_disk = identity(tree, place), tree.on_disk(place)
            for name in dist_infos(tree.names(place)):
                # To follow each path from the root takes as long as to rename a directory.
                parts = (f"{on_disk}/{name}", f"{on_disk}/{name}/METADATA")
                if on_disk and not any(map(os.path.islink, parts)):
                    continue
                target = os.path.dirname(identity(tree, f"{place}/{name}/METADATA") or "")
                if target and os.path.dirname(target) != above:
                    yield target


def _search(tree: SearchableTree, skipped: Callable[[str], None]) -> Iterator[str]:
    """Yield the directories in `tree` in which distributions may be installed.

    These are virtual environments, and directories with a usual name or a dist-info directory.
    """
    for inside, names, below in tree.walk("/"):
        path = inside or "/"
        text = f"/{'/'.join(names)}/"
        is_cache = "CACHEDIR.TAG" in names and _ENVIRONMENT.isdisjoint(names)
        if is_cache or _is_left_out(path, names, text):
            # tox and nox mark the directory of their environments as uv and others mark caches.
            searched = sorted(below) if is_cache else ()
            below[:] = [
                name
                for name in searched
                if not _ENVIRONMENT.isdisjoint(tree.names(f"{path}/{name}"))
            ]
            if not below:
                skipped(path)
            continue
        has_dist_infos = ".dist-info/" in text and dist_infos(names)
        # PyPy's standard library has dist-info directories in it.
        if CONFIGURATION in names or (has_dist_infos and "os.py" not in names):
            yield path
        yield from (os.path.join(path, name) for name in _SITE_PACKAGES & names)
        left_out = _SITE_PACKAGES | _VENDORED
        if path == "/":
            left_out |= _EMPTY
        if path.count("/") >= _DEEPEST:
            below.clear()
        below[:] = sorted(
            name
            for name in below
            if not (name in left_out or is_dist_info(name) or name.endswith(EGG))
        )


def _is_left_out(path: str, listed: AbstractSet[str], text: str) -> bool:
    """Return True if the directory `path` is conda's cache, or has an engine's images.

    `text` has the names that are `listed` in it.

    A container engine keeps the digest of every file: after a change, it can no longer push the
    image. The names are those of Podman and Buildah (containers-storage), Docker, containerd and
    BuildKit.
    """
    return (
        (path.endswith("/pkgs") and "urls.txt" in listed)
        or not listed.isdisjoint({"storage.lock", "buildkitd.lock"})
        or listed >= {"containers", "network", "plugins", "swarm", "volumes"}
        or "/io.containerd." in text
    )
