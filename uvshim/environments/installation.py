"""A Python installation or virtual environment, found by its files alone: on a disk or in an image.

What `uvshim` is told to check or fix: a virtual environment, an interpreter, a site-packages
directory, or the root of a file system with any number of them.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from uvshim.environments.environment import Environment, existing, usual_site_packages
from uvshim.environments.tree import DiskTree
from uvshim.errors import EnvironmentUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from uvshim.environments.tree import SearchableTree

_CONFIGURATION = "pyvenv.cfg"

# What a person may name.
_READABLE = (
    "a virtual environment, a Python interpreter with a site-packages directory, such a directory, "
    "the root of a file system, or an image: its layout, its archive, or a tar of its root"
)

_OF_DPKG = "lib/python3/dist-packages"

# Where no Python is installed in an image, and much or something endless may lie.
_NOT_SEARCHED = frozenset(
    {"/boot", "/dev", "/proc", "/run", "/sys", "/tmp", "/usr/include", "/usr/share"}  # noqa: S108
)

_SITE_PACKAGES = frozenset({"site-packages", "dist-packages"})

_SERIES = re.compile(r"(?:python|pypy|graalpy)(\d+\.\d+)[^/]*(?:/(?:site|dist)-packages/*)?$")

# How deep below the root of an image a site-packages directory may lie.
_DEEPEST = 12


class Installation(NamedTuple):
    """One place that distributions are installed into, with all that its Python imports from."""

    path: str
    """What a person would call it: its root, or the site-packages directory."""
    site_packages: tuple[str, ...]
    """Its own site-packages directories: paths in `tree`."""
    inherited: tuple[str, ...]
    """Those of the Python below, if it is a virtual environment with system site packages."""
    lock: str | None
    """The path of the file that uv locks, if the files tell."""
    tree: SearchableTree
    """The tree that the paths are of."""

    @property
    def visible(self) -> tuple[str, ...]:
        """All directories that its Python imports from, in order."""
        return self.site_packages + self.inherited

    @property
    def own(self) -> list[str]:
        """Its own directories as paths in the tree, without those of the system's packages.

        What lies in Debian's dist-packages outside of /usr/local belongs to dpkg, and is fixed
        only if a person names that very directory.
        """
        return [
            path for path in self.site_packages if path == self.path or not path.endswith(_OF_DPKG)
        ]

    @property
    def mendable(self) -> list[str]:
        """Those of its `own` directories that lie on this machine, as paths on it."""
        return [on_disk for path in self.own if (on_disk := self.tree.on_disk(path))]

    @property
    def option(self) -> str:
        """The option of `uv pip` by which its path is named."""
        if self.path in self.site_packages:
            return "--target"
        virtual = self.tree.is_file(os.path.join(self.path, _CONFIGURATION))
        locked_itself = self.lock == os.path.join(self.path, ".lock")
        return "--prefix" if locked_itself and not virtual else "--python"

    def belongs_to_system(self, path: str) -> bool:
        """Say whether the dist-info directory `path` lies outside what is fixed here."""
        return os.path.dirname(path) not in self.own

    def environment(self) -> Environment:
        """Return it as an `Environment`, to be installed into and fixed."""
        return Environment(self.path, self.lock, self.mendable)


def find(word: str, skipped: Callable[[str], None] = lambda _path: None) -> list[Installation]:
    """Return what `word`, given by a person, names; more than one if it is a file system's root.

    A prefix with several Pythons is more than one, too. `skipped` hears of the caches in a file
    system, which are not looked into.

    Raises `EnvironmentUnknownError` if that is nothing, or nothing with a site-packages directory.
    """
    tree = DiskTree()
    path = os.path.abspath(word)
    if not os.path.lexists(path):
        message = f"`{word}` does not exist"
        raise EnvironmentUnknownError(message)
    if os.path.isfile(path):
        return [_of_interpreter(path, word)]
    if tree.is_file(os.path.join(path, _CONFIGURATION)):
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


def of_site_packages(path: str) -> Installation:
    """Return the site-packages directory `path`, of a virtual environment or on its own.

    Raises `EnvironmentUnknownError` if it is not a directory.
    """
    if not os.path.isdir(path):
        message = f"`{path}` is not a directory"
        raise EnvironmentUnknownError(message)
    return _bare(DiskTree(), os.path.abspath(path))


def of_program(path: str) -> Installation | None:
    """Return the installation that the program at `path` belongs to: that of its directory."""
    tree = DiskTree()
    for program in (os.path.abspath(path), os.path.realpath(path)):
        root = os.path.dirname(os.path.dirname(program))
        if tree.is_file(os.path.join(root, _CONFIGURATION)):
            return _virtual(tree, root)
    return _prefix(tree, root, series(os.path.basename(program)))


def visible(environment: Environment) -> list[str]:
    """Return all directories that the Python of `environment` imports from, its own first.

    A directory that `--target` names has no Python of its own, and nothing but itself.
    """
    own = environment.site_packages()
    tree = DiskTree()
    around: tuple[str, ...] = ()
    if tree.is_file(os.path.join(environment.path, _CONFIGURATION)):
        around = _virtual(tree, environment.path).inherited
    elif environment.path not in own:
        found = _prefix(tree, environment.path, series(*own))
        around = found.site_packages if found else ()
    return existing([*own, *around], os.path.isdir, os.path.realpath)


def _of_interpreter(path: str, word: str) -> Installation:
    """Return the installation of the interpreter at `path`."""
    name = os.path.basename(path)
    if name.startswith(("python", "pypy", "graalpy")) and (found := of_program(path)):
        return found
    message = f"`{word}` is not {_READABLE}"
    raise EnvironmentUnknownError(message)


def _virtual(tree: SearchableTree, root: str) -> Installation:
    """Return the virtual environment at `root`, a path in `tree`.

    Of several Pythons there, it is the one that pyvenv.cfg names: the others are left from before.
    """
    settings = _settings(tree, os.path.join(root, _CONFIGURATION))
    found = _existing(tree, usual_site_packages(root, tree.names))
    python = series("python" + (settings.get("version_info") or settings.get("version", "")))
    own = tuple(path for path in found if python and series(path) in {None, python}) or found
    inherited: tuple[str, ...] = ()
    if settings.get("include-system-site-packages", "").lower() == "true" and "home" in settings:
        base = _below(tree, settings["home"], series(*own) or python)
        inherited = _of_user(tree, series(*own) or python) + (base.site_packages if base else ())
    return Installation(root, own, inherited, os.path.join(root, ".lock"), tree)


def _of_user(tree: SearchableTree, python: str | None) -> tuple[str, ...]:
    """Return the site-packages directory of the user who runs this, for the Python `python`.

    It is imported from after an environment's own, where the system's are at all (documentation of
    the module `site`). Of an image nobody knows whose that would be.
    """
    if not isinstance(tree, DiskTree) or tree.root is not None:
        return ()
    if os.environ.get("PYTHONNOUSERSITE"):
        return ()
    base = os.environ.get("PYTHONUSERBASE") or os.path.expanduser("~/.local")
    path = os.path.join(base, f"lib/python{python}/site-packages")
    return (path,) if tree.is_directory(path) else ()


def _below(tree: SearchableTree, home: str, python: str | None) -> Installation | None:
    """Return the Python in the directory `home`, as a pyvenv.cfg names it.

    Like Python itself, we look for the standard library beside `home`, and if it is not there,
    where the interpreter in `home` really lies (CPython, Modules/getpath.py).
    """
    beside = os.path.dirname(home)
    if not tree.is_file(os.path.join(beside, f"lib/python{python}/os.py")):
        for name in (f"python{python}", f"pypy{python}", "python3", "pypy3", "python"):
            real = tree.real(os.path.join(home, name))
            root = os.path.dirname(os.path.dirname(real or ""))
            if real and root != tree.real(beside) and (found := _prefix(tree, root, python)):
                return found
    return _prefix(tree, beside, python)


def _settings(tree: SearchableTree, path: str) -> dict[str, str]:
    """Return the keys and values of a pyvenv.cfg (documentation of the module `site`)."""
    content = tree.read(path, 64 * 1024) or b""
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}


def _prefix(tree: SearchableTree, root: str, python: str | None) -> Installation | None:
    """Return the Python that is installed below `root`, or None; `python` is its version."""
    found = _existing(tree, usual_site_packages(root, tree.names))
    python = python or newest(found)
    own = tuple(path for path in found if series(path) in {None, python})
    lock = os.path.join(root, ".lock")
    # For a Python uv locks another file, and only uv knows which.
    is_locked = tree.is_file(lock) and not _has_interpreter(tree, root)
    return Installation(root, own, (), lock if is_locked else None, tree) if own else None


def _has_interpreter(tree: SearchableTree, root: str) -> bool:
    """Say whether a Python is installed below `root`, and not only for a Python elsewhere."""
    return any(name.startswith(("python", "pypy")) for name in tree.names(f"{root}/bin"))


def _bare(tree: SearchableTree, path: str) -> Installation:
    """Return the site-packages directory `path`, of a virtual environment or on its own."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(path)))
    virtual = tree.is_file(os.path.join(root, _CONFIGURATION))
    lock = os.path.join(root if virtual else path, ".lock")
    inherited = _virtual(tree, root).inherited if virtual else ()
    return Installation(path, (path,), inherited, lock, tree)


def _is_site_packages(tree: SearchableTree, path: str) -> bool:
    """Say whether distributions lie in the directory `path` itself."""
    if os.path.basename(path) in {"site-packages", "dist-packages"}:
        return True
    return any(name.endswith((".dist-info", ".egg-info")) for name in tree.names(path))


def _is_image(path: str) -> bool:
    """Say whether `path` is the root of a file system (Filesystem Hierarchy Standard)."""
    return all(os.path.isdir(os.path.join(path, name)) for name in ("usr", "etc"))


def in_image(
    tree: SearchableTree, skipped: Callable[[str], None] = lambda _path: None
) -> Iterator[Installation]:
    """Yield every installation in the file system that `tree` is.

    `skipped` hears of every cache, whatever lies in it: it is nobody's environment.
    """
    seen: set[str | None] = set()
    for prefix in sorted({root_of(path) for path in _search(tree, "/", _DEEPEST, skipped)}):
        if tree.is_file(os.path.join(prefix, _CONFIGURATION)):
            yield _virtual(tree, prefix)._replace(lock=None)
            continue
        for found in _pythons(tree, prefix):
            if (key := tree.real(found.site_packages[0])) not in seen:
                seen.add(key)
                yield found._replace(lock=None)


def _pythons(tree: SearchableTree, prefix: str) -> Iterator[Installation]:
    """Yield every Python that is installed below `prefix`, the oldest first."""
    versions = {series(path) for path in usual_site_packages(prefix, tree.names)}
    for python in sorted(versions - {None}, key=_order) or [None]:
        if found := _prefix(tree, prefix, python):
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
    """Say whether `directory`, with the names `listed`, is what tools keep for other environments.

    uv and others mark theirs (Cache Directory Tagging Specification). pip, pipx (for the pip that
    its environments share) and conda do not. uv marks each virtual environment, too.
    """
    if _CONFIGURATION in listed:
        return directory.endswith("/pipx/shared")
    tag = tree.read(f"{directory}/CACHEDIR.TAG", 64) if "CACHEDIR.TAG" in listed else None
    return (
        (tag or b"").startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
        or directory.endswith(("/.cache/uv", "/.cache/pip", "/pipx/shared"))
        or (directory.endswith("/pkgs") and "urls.txt" in listed)
    )


def root_of(site_packages: str) -> str:
    """Return the root of the installation that a site-packages directory belongs to.

    Debian's local directory belongs to the Python in /usr.
    """
    above = os.path.dirname(site_packages)
    prefix = os.path.dirname(above if os.path.basename(above) == "Lib" else os.path.dirname(above))
    if site_packages.endswith("dist-packages") and os.path.basename(prefix) == "local":
        return os.path.dirname(prefix)
    return prefix


def _existing(tree: SearchableTree, directories: Iterable[str]) -> tuple[str, ...]:
    """Return those of `directories` that exist, each once, however many links lead to it."""
    found = existing(directories, tree.is_directory, lambda path: tree.real(path) or path)
    return tuple(sorted(found, key=_rank))


def _rank(path: str) -> int:
    """Return where a directory stands on sys.path: Debian's local one before its own."""
    return 0 if "/local/" in path else 1


def series(*texts: str) -> str | None:
    """Return the first Python version, such as ``3.12``, that a path or a file name ends in.

    What comes after the version (``python3.13t``), and ``site-packages`` after that, may follow.
    """
    for text in texts:
        if version := _SERIES.search(text):
            return version.group(1)
    return None


def newest(paths: Iterable[str]) -> str | None:
    """Return the newest Python version that `paths` tell."""
    return max(filter(None, map(series, paths)), key=_order, default=None)


def _order(version: str | None) -> tuple[int, ...]:
    return tuple(map(int, (version or "0").split(".")))
