"""How uv is asked where it will install."""

from __future__ import annotations

import os

from uvshim.errors import UvshimError
from uvshim.uv import process

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from uvshim.uv.arguments import Arguments
    from uvshim.uv.process import Child
    from uvshim.uv.supervisor import Supervisor

# The oldest minor release whose answers are understood, and that every test is run against.
OLDEST = (0, 4)

# Variables that add requirements, change how uv logs, or let it read hundreds of certificates for a
# network it is not to use: nothing that chooses an environment.
_NOT_FOR_A_QUESTION = (
    "CLICOLOR_FORCE",
    "FORCE_COLOR",
    "RUST_LOG",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "UV_BUILD_CONSTRAINT",
    "UV_CONSTRAINT",
    "UV_EXCLUDE",
    "UV_LOG_CONTEXT",
    "UV_NATIVE_TLS",
    "UV_OVERRIDE",
    "UV_SYSTEM_CERTS",
    "UV_TORCH_BACKEND",
)


# What uv answers where extras are configured: a requirements file has none.
_WANTS_A_PROJECT = "Requesting extras requires a "


class Answer:
    """Where uv says that it installs; with neither `directory` nor `root`, it did not say.

    - `directory`: what `--target` names, into which distributions go without further ado;
    - `root`: otherwise the root of a virtual environment, of a prefix or of a Python installation;
    - `is_prefix`: whether that root was named by `--prefix`;
    - `python`: the version of the Python that is installed for, such as ``3.12.1``, if uv said it;
    - `interpreter`: the path of that Python, if uv said it;
    - `lock`: the path of the file that uv locks for the time of an install, if it could;
    - `project`: the directory in which uv begins to look for configuration files;
    - `failure`: why uv could not be asked, as a clause; empty, if it could.
    """

    def __init__(  # noqa: PLR0913
        self,
        directory: str | None = None,
        root: str | None = None,
        python: str | None = None,
        lock: str | None = None,
        project: str = "",
        *,
        interpreter: str | None = None,
        is_prefix: bool = False,
        failure: str = "",
    ) -> None:
        """State the facts; what is left out is not known."""
        self.directory = directory
        self.root = root
        self.python = python
        self.interpreter = interpreter
        self.lock = lock
        self.project = project
        self.is_prefix = is_prefix
        self.failure = failure

    @property
    def known(self) -> bool:
        """Whether uv said where it installs."""
        return self.directory is not None or self.root is not None


class Question:
    """A dry run of an install of nothing, from whose log one learns where uv would install.

    uv goes through the very discovery of the real command: options, environment variables and
    configuration files. (`uv python find` answers another question: it honours `.python-version`,
    and knows nothing of `[tool.uv.pip]`.)
    """

    def __init__(self, uv: str, arguments: Arguments, supervisor: Supervisor) -> None:
        """Ask the binary `uv` about the environment that `arguments` choose, and do not wait."""
        self._uv = uv
        self._arguments = arguments
        self._supervisor = supervisor
        self._child: Child | None = None
        self._failure = ""
        try:
            self._child = self._ask(os.devnull)
        except OSError as error:
            self._failure = _told(error)

    def answer(self) -> Answer:
        """Wait for the answer. It may be unknown, where uv itself fails or cannot be asked.

        Raises `UvshimError` if this uv is older than what is understood.
        """
        if self._child is None:
            return Answer(project=self._project(()), failure=self._failure)
        log = self._listen(self._child)
        answer = self._read(log)
        if not answer.known and _WANTS_A_PROJECT in log:
            try:
                answer = self._read(self._ask_with_project())
            except OSError as error:
                answer.failure = _told(error)
        return answer

    def _ask(self, requirements: str) -> Child:
        environment = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_A_QUESTION}
        question = ["pip", "install", "-r", requirements, "--dry-run", "-vv", "--offline"]
        return self._supervisor.start(
            [self._uv, *question, "--color", "never", *self._arguments.choosing],
            environment,
            keep_output=True,
        )

    def _listen(self, child: Child) -> str:
        self._supervisor.wait_for_answer(child)
        return child.output()

    def _ask_with_project(self) -> str:
        """Ask again about an empty project: with extras configured, uv takes nothing less."""
        import tempfile

        with tempfile.TemporaryDirectory(prefix="uvshim-") as directory:
            project = os.path.join(directory, "pyproject.toml")
            with open(project, "w", encoding="utf-8") as file:
                file.write('[project]\nname = "nothing"\nversion = "0"\n')
            return self._listen(self._ask(project))

    def _read(self, log: str) -> Answer:
        """Read the answer out of uv's `log`."""
        said = _said(log)
        version = _version(said["DEBUG uv "]) or self._version_itself()
        check_version(version, self._uv)
        base = self._working_directory(version)
        python, _, environment = said["Using Python "][0].partition(" environment at")
        directory = said["Using `--target` directory at "][0]
        prefix = said["Using `--prefix` directory at "][0]
        root = environment.removeprefix(":").removeprefix(" ")
        # This path is not in backticks. That of its lock is, and shows a line break in the root.
        root = next((path for path in said["lock for "] if path.startswith(f"{root}\n")), root)
        named = directory or prefix or root
        searched = said["Found `"][-1].partition("` at `")[2].partition("` (")[0]
        interpreter = searched or said["Checking for Python interpreter at path "][-1]
        # Locks are released in the reverse order: the target's first, if it was taken at all.
        taken = named and named in said["lock for "]
        lock = said["Released lock at "][0] if taken else ""
        return Answer(
            directory=os.path.join(base, directory) if directory else None,
            root=os.path.join(base, named) if named and not directory else None,
            python=python or None,
            interpreter=os.path.join(base, interpreter) if interpreter else None,
            lock=os.path.join(base, lock) if lock else None,
            project=self._project(version),
            is_prefix=bool(prefix) and not directory,
        )

    def _version_itself(self) -> tuple[int, ...]:
        """Return what `uv --version` says: very old releases do not log it."""
        child = self._supervisor.start([self._uv, "--version"], keep_output=True)
        return _version([self._listen(child).removeprefix("uv ").strip()])

    def _project(self, version: tuple[int, ...]) -> str:
        """Return the directory in which uv begins to look for configuration files."""
        named = self._arguments.project or os.environ.get("UV_PROJECT")
        return os.path.join(self._working_directory(version), named or "")

    def _working_directory(self, version: tuple[int, ...]) -> str:
        """Return the directory that uv changes to before it does anything: paths relate to it."""
        directory = self._arguments.directory
        if directory is None and version >= (0, 9, 1):
            directory = os.environ.get("UV_WORKING_DIR") or os.environ.get("UV_WORKING_DIRECTORY")
        return os.path.join(process.working_directory(), directory or "")


def _told(error: OSError) -> str:
    """Return why uv could not be asked, as a clause."""
    where = f" (`{error.filename}`)" if error.filename else ""
    return f"there is no place for its answer: {error.strerror}{where}"


def check_version(version: tuple[int, ...], uv: str) -> None:
    """Refuse the binary `uv` if its `version` is too old; an empty one is unknown, and passes.

    Raises `UvshimError`.
    """
    if version and version[:2] < OLDEST:
        had, needed = (".".join(map(str, numbers)) for numbers in (version, OLDEST))
        message = f"uvshim needs uv {needed} or later; `{uv}` is {had}"
        raise UvshimError(message)


# What uv has said in its log in every release since 0.4 (there with more words before it), each
# with the rest of the line as the answer: `3.12.1 environment at: ROOT`, or a path.
_PHRASES = (
    "DEBUG uv ",
    "Checking for Python interpreter at path ",
    "Found `",
    "Using Python ",
    "Using `--target` directory at ",
    "Using `--prefix` directory at ",
    "lock for ",
    "Released lock at ",
)


def _said(log: str) -> dict[str, list[str]]:
    """Return how uv ended each phrase in its `log`, in order; one empty string where it did not."""
    return {phrase: list(map(_ending, log.split(phrase)[1:])) or [""] for phrase in _PHRASES}


def _ending(rest: str) -> str:
    """Return the end of the phrase that the `rest` of the log begins with.

    Newer releases write a path in backticks; then it may even go over more than one line.
    """
    if rest.startswith("`"):
        return rest[1:].partition("`\n")[0]
    return rest.partition("\n")[0]


def _version(said: list[str]) -> tuple[int, ...]:
    """Return the version in what follows ``DEBUG uv``, or nothing where it does not say it."""
    for rest in said:
        numbers = rest.removeprefix("uv ").partition(" ")[0].split(".")
        if all(number.isdigit() for number in numbers):
            return tuple(map(int, numbers))
    return ()
