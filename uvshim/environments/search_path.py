"""The `sys.path` of a Python, as the standard library's `site` builds it.

Only files are read. `import` lines in .pth files do not run, so a path that only such a line
adds is unknown here. Which .pth files count, and what their first bytes mean, is that of the newest
Python.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uvshim.environments import interpreter
from uvshim.environments.environment import dist_infos, existing, usual_site_packages
from uvshim.environments.tree import DiskTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from uvshim.environments.environment import Environment
    from uvshim.environments.tree import SearchableTree, Tree

CONFIGURATION = "pyvenv.cfg"

# A directory for one distribution, which buildout makes. Since zc.buildout 5 a dist-info directory
# is in it, with a name for its finder.
EGG = ".egg"

# The file beside site-packages with which virtualenv before 20 left out those of the user.
_ALONE = "no-global-site-packages.txt"

# What is read at most of a pyvenv.cfg or a .pth file, in bytes.
_FILE_LIMIT = 1024 * 1024


def site_directories(environment: Environment) -> tuple[str, ...]:
    """Return the site-packages directories that the Python of `environment` imports from.

    They are in the order of `sys.path`: in a virtual environment its own, then the user's and the
    system's, if it uses them; otherwise the user's come first.
    """
    tree, own = environment.tree, environment.site_packages
    root, is_bare = environment.path, environment.path in own
    if own and (is_bare or not has_interpreter(tree, root)):
        root = interpreter.root_of(own[0])
    name = interpreter.library(*own)
    directories = list(own)
    if tree.is_file(os.path.join(root, CONFIGURATION)):
        mine = own if is_bare else in_virtual_environment(tree, root)
        directories = [*mine, *_below(tree, root, interpreter.library(*mine))]
    elif has_interpreter(tree, root):
        usual = map(tree.real, in_usual_places(tree, root))
        if not set(usual).isdisjoint(map(tree.real, own)):
            is_alone = any(tree.is_file(f"{os.path.dirname(each)}/{_ALONE}") for each in own)
            users = [] if is_alone else _of_user(tree, name)
            directories = [*users, *own, *in_prefix(tree, root, name)]
    return tuple(existing(directories, tree))


def added_directories(environment: Environment) -> list[str]:
    """Return the directories with distributions that .pth files add to those `visible` in it."""
    tree, visible = environment.tree, environment.visible
    known = {*map(tree.real, visible), *map(tree.real, _libraries_of_pypy(tree, visible))}
    added = {tree.real(each): each for each in search_path(tree, visible)}
    return [
        path
        for real, path in added.items()
        if real not in known and not path.endswith(EGG) and dist_infos(tree.names(path))
    ]


def in_prefix(tree: SearchableTree, root: str, name: str | None) -> list[str]:
    """Return the site-packages directories below `root` of the Python with the library `name`.

    Without `name` it is the newest Python. Debian has a directory for all of them.
    """
    found = in_usual_places(tree, root)
    name = name or interpreter.chosen(map(interpreter.library, found), "python")
    return [path for path in found if interpreter.library(path) in {None, name}]


def is_usual(tree: Tree, path: str) -> bool:
    """Return True if the directory `path` is where a Python at its root has its site-packages."""
    return path in usual_site_packages(interpreter.root_of(path), tree.names)


def in_usual_places(tree: SearchableTree, root: str) -> list[str]:
    """Return the site-packages directories below `root`, each once, local ones first."""
    usual = usual_site_packages(root, tree.names)
    return sorted(existing(usual, tree), key=lambda path: "/local/" not in path)


def in_virtual_environment(tree: SearchableTree, root: str) -> list[str]:
    """Return the site-packages directories of the virtual environment at `root` itself.

    Of several Pythons, the link to the interpreter, or else pyvenv.cfg, shows which one counts; the
    others are older.
    """
    found = in_usual_places(tree, root)
    program = os.path.basename(tree.real(os.path.join(root, "bin", "python")) or "")
    name = interpreter.library(program) or _library_in(settings_of(tree, root))
    return [path for path in found if interpreter.library(path) in {None, name}] or found


def _library_in(settings: dict[str, str]) -> str | None:
    """Return the library of the Python that the `settings` of a pyvenv.cfg name."""
    kind = "pypy" if settings.get("implementation", "").lower() == "pypy" else "python"
    return interpreter.library(kind + (settings.get("version_info") or settings.get("version", "")))


def _below(tree: SearchableTree, root: str, name: str | None) -> list[str]:
    """Return the system directories that the virtual environment at `root` uses, if any."""
    settings = settings_of(tree, root)
    if settings.get("include-system-site-packages", "").lower() != "true" or "home" not in settings:
        return []
    name = name or _library_in(settings)
    return [*_of_user(tree, name), *_of_home(tree, settings["home"], name)]


def _of_home(tree: SearchableTree, home: str, name: str | None) -> list[str]:
    """Return the directories of the Python in the directory `home`, as a pyvenv.cfg names it.

    Like Python itself, we look for the standard library beside `home`, and if it is not there,
    where the interpreter in `home` really is (CPython, Modules/getpath.py).
    """
    beside = os.path.dirname(home)
    if not tree.is_file(os.path.join(beside, f"lib/{name}/os.py")):
        for program in (name or "python", "python3", "pypy3", "python"):
            real = tree.real(os.path.join(home, program))
            root = os.path.dirname(os.path.dirname(real or ""))
            if real and root != tree.real(beside) and (found := in_prefix(tree, root, name)):
                return found
    return in_prefix(tree, beside, name)


def _of_user(tree: SearchableTree, name: str | None) -> list[str]:
    """Return the site-packages directory of the user who runs this, for the library `name`.

    An image has no such directory: its user is unknown.
    """
    is_here = isinstance(tree, DiskTree) and tree.root is None
    if not is_here or name is None or os.environ.get("PYTHONNOUSERSITE"):
        return []
    base = os.environ.get("PYTHONUSERBASE") or os.path.expanduser("~/.local")
    path = os.path.join(base, f"lib/{name}/site-packages")
    return [path] if tree.is_directory(path) else []


def has_interpreter(tree: SearchableTree, root: str) -> bool:
    """Return True if a Python is installed below `root` itself."""
    return any(map(interpreter.is_python, tree.names(f"{root}/bin")))


def settings_of(tree: Tree, root: str) -> dict[str, str]:
    """Return the keys and values of the pyvenv.cfg in `root` (documentation of `site`)."""
    content = tree.read(os.path.join(root, CONFIGURATION), _FILE_LIMIT) or b""
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}


def search_path(tree: Tree, site_packages: Iterable[str]) -> list[str]:
    """Return the entries of `sys.path` with distributions, for the directories `site_packages`.

    These are the directories themselves, and what their .pth files name: in the order of the
    files' names, after their own directory. What does not exist is left out. Before them comes the
    standard library of PyPy, which has distributions such as `cffi`.
    """
    directories = tuple(site_packages)
    path = dict.fromkeys(_libraries_of_pypy(tree, directories))
    for directory in directories:
        path.update(dict.fromkeys((directory, *_named_in_pth(tree, directory))))
    return list(path)


def _libraries_of_pypy(tree: Tree, directories: Iterable[str]) -> list[str]:
    """Return the standard library of the PyPy that imports from `directories`; [] if none does."""
    for path in directories:
        name = interpreter.library(path)
        if name and name.startswith("pypy"):
            root = interpreter.root_of(path)
            home = settings_of(tree, root).get("home")
            library = f"{os.path.dirname(home) if home else root}/lib/{name}"
            return [library] if tree.is_file(f"{library}/os.py") else []
    return []


def _named_in_pth(tree: Tree, directory: str) -> Iterator[str]:
    """Yield the existing entries in the .pth files of `directory`, except in hidden ones."""
    for name in sorted(tree.names(directory)):
        if not name.endswith(".pth") or name.startswith("."):
            continue
        content = tree.read(f"{directory}/{name}", _FILE_LIMIT) or b""
        for line in content.decode("utf-8-sig", "surrogateescape").splitlines():
            if not line.strip() or line.startswith(("#", "import ", "import\t")):
                continue
            entry = os.path.normpath(os.path.join(directory, line.rstrip()))
            if tree.is_directory(entry) or tree.is_file(entry):
                yield entry
