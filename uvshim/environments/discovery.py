"""How environments are found by their files alone: on a disk, or in an image.

A person may name a virtual environment, an interpreter, a site-packages directory, or the root of a
file system with any number of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uvshim.environments import interpreter, search_path
from uvshim.environments.environment import Environment, usual_site_packages
from uvshim.environments.search_path import CONFIGURATION
from uvshim.environments.tree import DiskTree
from uvshim.errors import EnvironmentUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from uvshim.environments.tree import SearchableTree

# What a person may name.
_READABLE = (
    "a virtual environment, a Python interpreter with a site-packages directory, such a directory, "
    "the root of a file system, or an image: its layout, its archive, or a tar of its root"
)

# Where no Python is installed in an image, and much or something endless may be.
_NOT_SEARCHED = frozenset(
    {"/boot", "/dev", "/proc", "/run", "/sys", "/tmp", "/usr/include", "/usr/share"}  # noqa: S108
)

_SITE_PACKAGES = frozenset({"site-packages", "dist-packages"})

# How deep below the root of an image a site-packages directory may be.
_DEEPEST = 12


def find(word: str, skipped: Callable[[str], None] = lambda _path: None) -> list[Environment]:
    """Return what `word`, given by a person, names; more than one if it is a file system's root.

    A prefix with several Pythons is more than one, too. `skipped` is called with the path of each
    cache in a file system, which is not searched.

    Raises `EnvironmentUnknownError` if that is nothing, or has no site-packages directory.
    """
    tree = DiskTree()
    path = os.path.abspath(word)
    if not os.path.lexists(path):
        message = f"`{word}` does not exist"
        raise EnvironmentUnknownError(message)
    if os.path.isfile(path):
        return [_of_interpreter(path, word)]
    if tree.is_file(os.path.join(path, CONFIGURATION)):
        if (virtual := _virtual(tree, path)).site_packages:
            return [virtual]
        message = f"The virtual environment `{word}` has no site-packages directory to be read"
        raise EnvironmentUnknownError(message)
    if _is_image(path):
        if found := list(in_image(DiskTree(path), skipped)):
            return found
        message = f"There is no site-packages directory in the file system below `{word}`"
        raise EnvironmentUnknownError(message)
    if _is_site_packages(tree, path):
        return [_bare(tree, path)]
    if found := list(_pythons(tree, path)):
        return found
    message = f"`{word}` is not {_READABLE}"
    raise EnvironmentUnknownError(message)


def of_site_packages(path: str) -> Environment:
    """Return the site-packages directory `path`, of a virtual environment or on its own.

    Raises `EnvironmentUnknownError` if it is not a directory.
    """
    if not os.path.isdir(path):
        message = f"`{path}` is not a directory"
        raise EnvironmentUnknownError(message)
    return _bare(DiskTree(), os.path.abspath(path))


def of_program(path: str) -> Environment | None:
    """Return the environment that the program at `path` belongs to: that of its directory."""
    tree = DiskTree()
    for program in (os.path.abspath(path), os.path.realpath(path)):
        root = os.path.dirname(os.path.dirname(program))
        if tree.is_file(os.path.join(root, CONFIGURATION)):
            return _virtual(tree, root)
    present = map(interpreter.library, search_path.in_usual_places(tree, root))
    return _prefix(tree, root, interpreter.chosen(present, os.path.basename(program)))


def _of_interpreter(path: str, word: str) -> Environment:
    """Return the environment of the interpreter at `path`."""
    name = os.path.basename(path)
    if name.startswith(("python", "pypy", "graalpy")) and (found := of_program(path)):
        return found
    message = f"`{word}` is not {_READABLE}"
    raise EnvironmentUnknownError(message)


def _virtual(tree: SearchableTree, root: str) -> Environment:
    """Return the virtual environment at `root`, a path in `tree`."""
    lock = os.path.join(root, ".lock")
    return Environment(root, lock, search_path.in_virtual_environment(tree, root), tree=tree)


def _prefix(tree: SearchableTree, root: str, library: str | None) -> Environment | None:
    """Return the Python with the `library` that is installed below `root`, or None."""
    own = search_path.in_prefix(tree, root, library)
    lock = os.path.join(root, ".lock")
    # For a Python uv locks another file, and only uv knows which.
    is_locked = tree.is_file(lock) and not search_path.has_interpreter(tree, root)
    return Environment(root, lock if is_locked else None, own, tree=tree) if own else None


def _bare(tree: SearchableTree, path: str) -> Environment:
    """Return the site-packages directory `path`, of a virtual environment or on its own."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(path)))
    virtual = tree.is_file(os.path.join(root, CONFIGURATION))
    return Environment(path, os.path.join(root if virtual else path, ".lock"), [path], tree=tree)


def _is_site_packages(tree: SearchableTree, path: str) -> bool:
    """Return True if distributions are in the directory `path` itself."""
    if os.path.basename(path) in _SITE_PACKAGES:
        return True
    return any(name.endswith((".dist-info", ".egg-info")) for name in tree.names(path))


def _is_image(path: str) -> bool:
    """Return True if `path` is the root of a file system (Filesystem Hierarchy Standard)."""
    return all(os.path.isdir(os.path.join(path, name)) for name in ("usr", "etc"))


def in_image(
    tree: SearchableTree, skipped: Callable[[str], None] = lambda _path: None
) -> Iterator[Environment]:
    """Yield every environment in the file system that `tree` is.

    `skipped` is called with the path of every cache, which is nobody's environment.
    """
    seen: set[str | None] = set()
    for prefix in sorted(
        {interpreter.root_of(path) for path in _search(tree, "/", _DEEPEST, skipped)}
    ):
        if tree.is_file(os.path.join(prefix, CONFIGURATION)):
            yield _virtual(tree, prefix).with_lock(None)
            continue
        for found in _pythons(tree, prefix):
            if (key := tree.real(found.site_packages[0])) not in seen:
                seen.add(key)
                yield found.with_lock(None)


def _pythons(tree: SearchableTree, prefix: str) -> Iterator[Environment]:
    """Yield every Python that is installed below `prefix`, the oldest first."""
    present = map(interpreter.library, usual_site_packages(prefix, tree.names))
    libraries: list[str | None] = [*interpreter.oldest_first(present)]
    for library in libraries or [None]:
        if found := _prefix(tree, prefix, library):
            yield found


def _search(
    tree: SearchableTree, directory: str, depth: int, skipped: Callable[[str], None]
) -> Iterator[str]:
    """Yield the site-packages directories below `directory`, not through symbolic links."""
    listed = tree.names(directory)
    if _is_cache(tree, directory, listed):
        skipped(directory)
        return
    own = tree.directories(directory) if depth > 1 else ()
    for name in sorted({*own, *_SITE_PACKAGES.intersection(listed)}):
        path = os.path.join(directory, name)
        if name in _SITE_PACKAGES:
            yield path
        elif path not in _NOT_SEARCHED:
            yield from _search(tree, path, depth - 1, skipped)


def _is_cache(tree: SearchableTree, directory: str, listed: Collection[str]) -> bool:
    """Return True if `directory`, with the names `listed`, is a cache for other environments.

    uv and others mark theirs (Cache Directory Tagging Specification). pip, pipx (for the pip that
    its environments share) and conda do not. uv marks each virtual environment, too.
    """
    if CONFIGURATION in listed:
        return directory.endswith("/pipx/shared")
    tag = tree.read(f"{directory}/CACHEDIR.TAG", 64) if "CACHEDIR.TAG" in listed else None
    return (
        (tag or b"").startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
        or directory.endswith(("/.cache/uv", "/.cache/pip", "/pipx/shared"))
        or (directory.endswith("/pkgs") and "urls.txt" in listed)
    )
