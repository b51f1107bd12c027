"""One environment: the directories in which distributions are installed."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from uvshim.environments.tree import SearchableTree
    from uvshim.uv.question import Answer
    from uvshim.uv.supervisor import Supervisor

# Run by a non-virtual environment's interpreter, without the user's site-packages.
_WHERE = (
    "import os, sys, sysconfig as s; os.write(1, os.fsencode('\\0'.join(['', sys.prefix, "
    "'%d.%d.%d' % sys.version_info[:3], os.path.basename(s.get_path('stdlib')), "
    "s.get_path('purelib'), s.get_path('platlib'), ''])))"
)

# The files that identify a standard library.
_LIBRARY = frozenset({"os.py", "os.pyc"})

# Package managers that list the files they own by path. They write their name to INSTALLER.
OWNERS = {"conda": "conda", "conda-pypi": "conda", "debian": "dpkg", "dpkg": "dpkg", "rpm": "rpm"}

# dpkg installs into this directory.
_OF_DPKG = "lib/python3/dist-packages"


class Environment:
    """A place where distributions are installed: on this machine's disk, or in another tree.

    - `path`: its name in messages: its root, or a site-packages directory, as with
      `--target`;
    - `lock`: the path of the file that uv locks while it installs there, or None;
    - `python`: the version of its Python, which counts if no path shows one, or None. Without
      given directories, those of other versions are not its own;
    - `is_shared`: the system installs its packages there as well, with other tools than uv and pip.
    """

    def __init__(  # noqa: PLR0913
        self,
        path: str,
        lock: str | None = None,
        site_packages: Iterable[str] | None = None,
        *,
        visible: Iterable[str] | None = None,
        tree: SearchableTree | None = None,
        python: str | None = None,
    ) -> None:
        """Hold the facts; paths are those of `tree`, or of this machine without one.

        By default, `site_packages` are the directories in the usual places below `path`, and
        files show which directories are `visible` to its Python.
        """
        self.path, self.lock, self.python = path, lock, python
        self.is_shared = False
        self._site_packages = None if site_packages is None else tuple(site_packages)
        self._visible = None if visible is None else tuple(visible)
        self._tree = tree

    def __eq__(self, other: object) -> bool:
        """Return True if all the paths are equal; trees are not compared."""
        return isinstance(other, Environment) and self.facts == other.facts

    def __hash__(self) -> int:
        """Return the hash of the paths."""
        return hash((self.path, self.lock))

    @property
    def facts(self) -> tuple[str, str | None, tuple[str, ...], tuple[str, ...]]:
        """All but the tree: `path`, `lock`, `site_packages` and `visible`."""
        return self.path, self.lock, self.site_packages, self.visible

    @classmethod
    def of(cls, answer: Answer, supervisor: Supervisor) -> Environment | None:
        """Return the environment that uv's `answer` names, or None if there is no such directory.

        A virtual environment and a prefix have their directories in the usual places. Any other
        Python is asked for them: a distributor may have moved them, as Debian does.
        """
        if answer.directory is not None and os.path.isdir(answer.directory):
            return cls(answer.directory, answer.lock, [answer.directory], python=answer.python)
        if answer.root is None or not os.path.isdir(answer.root):
            return None
        if answer.is_prefix:  # several Pythons may have their directories there
            return cls(answer.root, answer.lock, python=answer.python)
        if os.path.isfile(os.path.join(answer.root, "pyvenv.cfg")):
            return cls(answer.root, answer.lock)
        return cls(answer.root, answer.lock, _asked(answer, answer.root, supervisor))

    @property
    def tree(self) -> SearchableTree:
        """The tree that the paths are of."""
        if self._tree is None:
            from uvshim.environments.tree import DiskTree

            self._tree = DiskTree()
        return self._tree

    @property
    def site_packages(self) -> tuple[str, ...]:
        """Its own site-packages directories, each once; given ones may not exist."""
        if self._site_packages is None:
            usual = usual_site_packages(self.path)
            if self.python:
                usual = (path for path in usual if _may_be_of(self.python, path))
            return tuple(existing(usual))
        return self._site_packages

    @property
    def own(self) -> list[str]:
        """Those of `site_packages` in which distributions are renamed.

        Debian's dist-packages outside of /usr/local belongs to dpkg. It counts only if a person
        names that directory.
        """
        return [path for path in self.site_packages if not self.is_of_dpkg(path)]

    @property
    def on_disk(self) -> list[str]:
        """Those of its `own` directories that exist on this machine, as paths on it, each once."""
        own = self.own
        if self._site_packages is None:
            return own
        if self._tree is not None:
            own = [path for each in own if (path := self._tree.on_disk(each))]
        return existing(own)

    @property
    def dist_infos(self) -> list[str]:
        """The paths of the dist-info directories that are `on_disk`. Raise OSError."""
        return [
            os.path.join(directory, name)
            for directory in self.on_disk
            for name in dist_infos(os.listdir(directory))
        ]

    @property
    def visible(self) -> tuple[str, ...]:
        """All site-packages directories that its Python imports from, in the order of `sys.path`.

        A directory of `--target` has no Python: only itself is visible.
        """
        if self._visible is None:
            from uvshim.environments import search_path

            self._visible = search_path.site_directories(self)
        return self._visible

    @property
    def inherited(self) -> tuple[str, ...]:
        """The `visible` directories that are not its own: the system's and the user's."""
        return tuple(path for path in self.visible if path not in self.site_packages)

    def with_lock(self, lock: str | None) -> Environment:
        """Return the same environment with another `lock`."""
        other = Environment(self.path)
        vars(other).update(vars(self), lock=lock)
        return other

    def in_tree(self, tree: SearchableTree) -> Environment:
        """Return the environment that has the same paths in another `tree`."""
        path, lock, site_packages, visible = self.facts
        return Environment(path, lock, site_packages, visible=visible, tree=tree)

    def is_of_dpkg(self, directory: str) -> bool:
        """Return True if the site-packages `directory` belongs to dpkg."""
        return directory != self.path and directory.endswith(_OF_DPKG)


def _names(directory: str) -> list[str]:
    """Return the names in `directory`; nothing if it cannot be listed."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def usual_site_packages(
    root: str, listed: Callable[[str], Iterable[str]] = _names
) -> Iterator[str]:
    """Yield the site-packages directories in the usual places below `root`, existing or not.

    Those are the installation schemes of CPython and PyPy for POSIX and Windows, lib64 of some
    distributions (most often a link to lib), and the local ones of Debian and Fedora. `listed`
    returns the names in a directory, and nothing for a missing one.
    """
    prefix = f"{root}/" if root.strip("/") else root
    yield f"{prefix}Lib/site-packages"
    for lib in ("lib", "lib64", "local/lib", "local/lib64"):
        for name in sorted(listed(prefix + lib)):
            # conda makes a link python3.1 beside python3.10 and later.
            if not name.startswith(("python", "pypy", "graalpy")) or name == "python3.1":
                continue
            path = f"{prefix}{lib}/{name}"
            own = ["site-packages", "dist-packages"]
            # The Python in /usr uses dist-packages in /usr/local (Debian), or site-packages, if its
            # own library is in lib64 (Fedora). But /usr/local may have a Python of its own, as in
            # Docker's image `python`, and site-packages beside a standard library belongs to it.
            if lib.startswith("local"):
                places = (f"{prefix}lib64/{name}", f"{prefix}lib/{name}", path)
                libraries = [not _LIBRARY.isdisjoint(listed(each)) for each in places]
                own = own if libraries == [True, False, False] else own[1:]
            elif "local/lib" in path and not _LIBRARY.isdisjoint(listed(path)):
                own = own[:1]
            yield from (f"{path}/{each}" for each in own)


def _may_be_of(python: str, site_packages: str) -> bool:
    """Return True unless the path shows another version than that of `python`."""
    library = os.path.basename(os.path.dirname(site_packages))
    return "." not in library or library.rstrip("t").endswith(python.rpartition(".")[0])


def existing(directories: Iterable[str], tree: SearchableTree | None = None) -> list[str]:
    """Return those of `directories` that exist in `tree` or on this machine, each once."""
    is_directory = tree.is_directory if tree else os.path.isdir
    real: Callable[[str], str | None] = tree.real if tree else os.path.realpath
    found: dict[str | None, str] = {}
    for path in filter(is_directory, directories):
        found.setdefault(real(path), path)
    return list(found.values())


def is_dist_info(name: str) -> bool:
    """Return True if `name` is that of a dist-info directory, and of nothing beside one.

    pip renames what it is removing (~), macOS adds files with attributes (._, AppleDouble), and a
    layer that was unpacked as a plain tar has whiteouts (.wh.).
    """
    return name.endswith(".dist-info") and not name.startswith(("~", "._", ".wh."))


def dist_infos(names: Iterable[str]) -> list[str]:
    """Return those of the `names` in a site-packages directory that are dist-info directories."""
    return sorted(filter(is_dist_info, names))


def _asked(answer: Answer, root: str, supervisor: Supervisor) -> list[str] | None:
    """Return the site-packages of the Python below `root` that uv's `answer` names, or None.

    The interpreter itself prints them. Its path is in the answer, or has a usual name. One that
    has another root or version than uv logged is not used. uv may remember what the interpreter
    said when it had other variables (Debian's `DEB_PYTHON_INSTALL_LAYOUT`), so those of its
    directories that are in usual places come after them.
    """
    series = ".".join((answer.python or "").split(".")[:2])
    usual = [f"{root}/bin/{name}" for name in ("python3", "python", f"python{series}")]
    for interpreter in filter(None, [answer.interpreter, *usual]):
        said = supervisor.ask([interpreter, "-I", "-B", "-c", _WHERE])
        _, prefix, version, library, *directories = [*said.split("\0"), "", "", ""][:6]
        is_right = prefix and os.path.realpath(prefix) == os.path.realpath(root)
        if is_right and answer.python in {None, version}:
            own = (
                each
                for each in usual_site_packages(root)
                if os.path.basename(os.path.dirname(each)) == library
            )
            return list(dict.fromkeys([*directories, *own]))
    return None
