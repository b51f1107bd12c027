"""One environment that uv installs into: its site-packages directories, and uv's lock on it."""

from __future__ import annotations

import os

from uvshim.errors import CannotRunError

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from uvshim.uv.question import Answer
    from uvshim.uv.supervisor import Supervisor

# Run by the interpreter of an environment that is not a virtual one, isolated from its user.
_WHERE = "import sysconfig as s; print(*map(s.get_path, ('purelib', 'platlib')), sep='\\n')"

# By what a standard library is known.
_LIBRARY = frozenset({"os.py", "os.pyc"})


class Environment:
    """A place that distributions are installed into.

    - `path`: what a person would call it: its root, or the directory that `--target` names;
    - `lock`: the path of the file that uv locks while it installs there, or None.
    """

    def __init__(self, path: str, lock: str | None, directories: list[str] | None = None) -> None:
        """Hold the facts. Without `directories` they are those in the usual places below `path`."""
        self.path = path
        self.lock = lock
        self._directories = directories

    @classmethod
    def of(cls, answer: Answer, supervisor: Supervisor) -> Environment | None:
        """Return the environment that uv's `answer` tells of, or None if it does not tell clearly.

        A virtual environment and a prefix have their directories in the usual places. Any other
        Python is asked for them: a distributor may have moved them, as Debian does.
        """
        if answer.directory is not None and os.path.isdir(answer.directory):
            return cls(answer.directory, answer.lock, [answer.directory])
        if answer.root is None or not os.path.isdir(answer.root):
            return None
        if answer.is_prefix or os.path.isfile(os.path.join(answer.root, "pyvenv.cfg")):
            return cls(answer.root, answer.lock)
        return cls(answer.root, answer.lock, _asked(answer.root, answer.python or "", supervisor))

    def site_packages(self) -> list[str]:
        """Return the directories that exist now. One that is reached by two names counts once."""
        return existing(self.candidates(), os.path.isdir, os.path.realpath)

    def candidates(self) -> list[str]:
        """Return the directories, existing or not."""
        if self._directories is None:
            return list(usual_site_packages(self.path))
        return self._directories

    def is_alone(self) -> bool:
        """Say whether its Python imports from no other site-packages directories than its own.

        So it is with a target, and with a virtual environment unless its pyvenv.cfg says otherwise.
        """
        try:
            with open(os.path.join(self.path, "pyvenv.cfg"), "rb") as file:
                settings = file.read().lower().replace(b" ", b"")
        except OSError:
            return self.path in (self._directories or ())
        return b"include-system-site-packages=true" not in settings

    def holds(self, file: str) -> bool:
        """Say whether `file` is installed here."""
        real = os.path.realpath(file)
        return any(
            real.startswith(os.path.join(os.path.realpath(directory), ""))
            for directory in self.site_packages()
        )


def usual_site_packages(
    root: str, names: Callable[[str], Iterable[str]] | None = None
) -> Iterator[str]:
    """Yield the site-packages directories in the usual places below `root`, existing or not.

    Those are the installation schemes of CPython and PyPy for POSIX and Windows, lib64 of some
    distributions (most often a link to lib), and the local ones of Debian and Fedora. `names` lists
    a directory, and has nothing to say of one that is not there; without it the disk is read.
    """
    prefix = root and f"{root}/"
    listed = names or _names
    yield f"{prefix}Lib/site-packages"
    for lib in ("lib", "lib64", "local/lib", "local/lib64"):
        for name in sorted(listed(prefix + lib)):
            # conda lays a link python3.1 beside python3.10 and later.
            if not name.startswith(("python", "pypy", "graalpy")) or name == "python3.1":
                continue
            path = f"{prefix}{lib}/{name}"
            yield from (f"{path}/{own}" for own in _own(path, listed, lib))


def _own(path: str, listed: Callable[[str], Iterable[str]], lib: str) -> Iterable[str]:
    """Return the names of the site-packages directories in `path`, a Python's directory in `lib`.

    /usr/local may hold a Python of its own, as in Docker's image `python`: beside its standard
    library, site-packages is that Python's, and dist-packages of the one in /usr.
    """
    usual = ("site-packages", "dist-packages")
    if "local/lib" not in path:
        return usual
    there = set(listed(path))
    if there.isdisjoint(_LIBRARY):
        return usual
    return there.intersection(usual[1:] if lib.startswith("local") else usual[:1])


def existing(
    directories: Iterable[str],
    is_directory: Callable[[str], bool],
    identity: Callable[[str], object],
) -> list[str]:
    """Return those of `directories` that exist, each once, in their order.

    `identity` returns the same for two paths of one directory: lib64 is most often a link to lib.
    """
    found: dict[object, str] = {}
    for path in directories:
        if is_directory(path):
            found.setdefault(identity(path), path)
    return list(found.values())


def _names(directory: str) -> list[str]:
    """Return the names in `directory`; nothing if it cannot be listed."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _asked(root: str, version: str, supervisor: Supervisor) -> list[str] | None:
    """Return what the Python `version` below `root` says of its own scheme, or None."""
    series = ".".join(version.split(".")[:2])
    for name in (os.path.join("bin", f"python{series}"), os.path.join("bin", "python3")):
        interpreter = os.path.join(root, name)
        if not os.access(interpreter, os.X_OK):
            continue
        try:
            child = supervisor.start([interpreter, "-I", "-c", _WHERE], keep_output=True)
        except (CannotRunError, OSError):  # of another architecture; no place for its answer
            continue
        if supervisor.wait_for_answer(child) == 0:
            return child.output().split("\n")
    return None
