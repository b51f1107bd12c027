"""Ask uv where it will install."""

from __future__ import annotations

import os

from uvshim.errors import UvLoopError, UvshimError
from uvshim.uv import process
from uvshim.uv.arguments import WITH_VALUE, Arguments

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from uvshim.uv.supervisor import Child, Supervisor

# The oldest supported release: before, uv logs no environment, only its interpreter.
OLDEST = (0, 4, 19)

# Variables that add requirements, change uv's log, or make it read hundreds of certificates for
# a network that it will not use. None of them chooses an environment.
_NOT_FOR_A_QUESTION = frozenset(
    """
    CLICOLOR_FORCE FORCE_COLOR RUST_LOG SSL_CERT_DIR SSL_CERT_FILE UV_BUILD_CONSTRAINT UV_CONSTRAINT
    UV_EXCLUDE UV_LOG_CONTEXT UV_NATIVE_TLS UV_OVERRIDE UV_SYSTEM_CERTS UV_TORCH_BACKEND
    """.split()
)

# What makes a question of an install. A dependency group in uv's configuration adds requirements,
# and even a dry run would build them.
_DRY = ["--dry-run", "-vv", "--offline", "--no-build", "--color", "never"]

# uv's error if extras are configured, which a requirements file does not have.
_WANTS_A_PROJECT = "Requesting extras requires a "


class Answer:
    """Where uv will install. Without `directory` and `root`, uv did not answer."""

    directory: str | None = None
    """The directory of `--target`, which contains distributions directly."""
    root: str | None = None
    """Otherwise the root of a virtual environment, of a prefix or of a Python installation."""
    is_prefix = False
    """True if `--prefix` names that root."""
    python: str | None = None
    """The version of the Python that uv installs for, such as ``3.12.1``."""
    interpreter: str | None = None
    """The path of that Python."""
    lock: str | None = None
    """The path of the file that uv locks during an install."""

    def __init__(self, project: str = "") -> None:
        """`project` is the directory in which uv begins to look for configuration files."""
        self.project = project

    @property
    def known(self) -> bool:
        """Whether uv answered where it installs."""
        return self.directory is not None or self.root is not None


class Question:
    """A dry run of an empty install, whose log shows where uv would install.

    uv uses the same options, environment variables and configuration files as the real command.
    (`uv python find` answers another question: it honours `.python-version`,
    and ignores `[tool.uv.pip]`.)
    """

    def __init__(self, uv: list[str], arguments: Arguments, supervisor: Supervisor) -> None:
        """Start the command `uv` with the options in `arguments` that choose an environment."""
        self._uv = uv
        self._arguments = arguments
        self._supervisor = supervisor
        self._child = self._ask(os.devnull)

    def answer(self) -> Answer:
        """Wait for the answer. It is unknown if uv fails.

        Raise `UvshimError` if this uv is older than what is understood, and `UvLoopError`.
        """
        log = self._listen(self._child)
        return self._read(self._ask_with_project() if _WANTS_A_PROJECT in log else log)

    def refuse_loop(self) -> None:
        """Wait for the answer. Raise `UvLoopError` if this uv runs uvpip again."""
        self._listen(self._child)

    def _ask(self, requirements: str) -> Child:
        words = [*self._uv, "pip", "install", "-r", requirements, *_DRY, *self._arguments.choosing]
        return self._supervisor.start(words, _variables(self._uv[0]), keep_output=True)

    def _listen(self, child: Child) -> str:
        self._supervisor.wait_for_answer(child)
        log = child.output()
        if UvLoopError.MARK in log:
            raise UvLoopError(self._uv[0])
        return log

    def _ask_with_project(self) -> str:
        """Ask again with an empty project; return "" if there is no place for it."""
        import tempfile  # the only module that few questions need

        try:
            with tempfile.TemporaryDirectory(prefix="uvshim-") as directory:
                project = os.path.join(directory, "pyproject.toml")
                with open(project, "w", encoding="utf-8") as file:
                    file.write('[project]\nname = "nothing"\nversion = "0"\n')
                return self._listen(self._ask(project))
        except OSError:
            return ""

    def _read(self, log: str) -> Answer:
        version = _version(_said(log, "DEBUG uv "))
        if not version:  # very old releases do not log it
            version = _version([self._supervisor.ask([*self._uv, "--version"]).strip()])
        check_version(version, self._uv[0])
        base, project = _directories(self._arguments, version)
        used = (each for each in _said(log, "Using Python ") if " environment at" in each)
        python, _, environment = next(used, "").partition(" environment at")
        directory = _said(log, "Using `--target` directory at ")[0]
        prefix = _said(log, "Using `--prefix` directory at ")[0]
        if directory or prefix:  # no environment: uv names the interpreter
            ran = (each.split(" ") for each in _said(log, "Using ") if " interpreter at" in each)
            python = next((words[1] for words in ran), "")
        if directory and self._arguments.python_version:  # uv logs no other version than its own
            python = self._arguments.python_version
        root = environment.removeprefix(":").removeprefix(" ")
        named = directory or prefix or _with_line_breaks(root, log)
        searched = _said(log, "Found `")[-1].partition("` at `")[2].partition("` (")[0]
        interpreter = searched or _said(log, "Checking for Python interpreter at path ")[-1]
        answer = Answer(project)
        if directory:
            answer.directory = _below(base, directory)
        else:
            answer.root, answer.is_prefix = _below(base, named), bool(prefix)
        answer.python = python or None
        answer.interpreter = _below(base, interpreter)
        if named and named in _said(log, "lock for "):
            # Locks are released in reverse order: the first is the target's, if uv had it.
            answer.lock = _below(base, _said(log, "Released lock at ")[0])
        return answer


def of_project(uv: list[str], choosing: list[str], supervisor: Supervisor) -> Answer:
    """Return where the command `uv` installs the project or the script that `choosing` choose.

    uv logs the environment first. Later the dry run may fail: uv may not use a
    network, and may not build anything. Releases without `uv sync --dry-run` do not answer.
    """
    arguments = Arguments(choosing, WITH_VALUE | {"--script"})
    words = [*uv, "sync", *_DRY, *choosing]
    child = supervisor.start(words, _variables(uv[0]), keep_output=True)
    supervisor.wait_for_answer(child)
    log = child.output()
    base, project = _directories(arguments, _version(_said(log, "DEBUG uv ")))
    answer = Answer(project)
    # If a directory without pyvenv.cfg is named, uv uses the Python that it leads to.
    used = _said(log, "Would use project environment at")[-1]
    if named := _with_line_breaks(
        used or _said(log, "Checking for Python environment at")[-1], log
    ):
        answer.root = _below(base, named)
        answer.lock = _below(base, log.partition(f"lock for `{named}` at `")[2].partition("`\n")[0])
    return answer


def _directories(arguments: Arguments, version: tuple[int, ...]) -> tuple[str, str]:
    """Return the directory that a uv of this `version` changes to, and where its project is.

    Paths are relative to the first. In the second, uv begins to look for configuration files.
    """
    base = os.path.join(process.working_directory(), chosen_directory(arguments, version) or "")
    return base, os.path.join(base, arguments.project or os.environ.get("UV_PROJECT") or "")


def chosen_directory(arguments: Arguments, version: tuple[int, ...]) -> str | None:
    """Return the directory that an option or a variable of a uv of this `version` names, or None.

    uv changes to it first.
    """
    found = arguments.directory
    if found is None and version >= (0, 9, 1):
        found = os.environ.get("UV_WORKING_DIR") or os.environ.get("UV_WORKING_DIRECTORY")
    return found


def _variables(uv: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_A_QUESTION}
    return kept | {process.ASKED: uv}


def _below(base: str, path: str) -> str | None:
    """Return the absolute path of `path` in the directory `base`, or None if it is ""."""
    return os.path.join(base, path) if path else None


def check_version(version: tuple[int, ...], uv: str) -> None:
    """Raise `UvshimError` if the `version` of `uv` is too old; () is unknown."""
    if version and version < OLDEST:
        had, needed = (".".join(map(str, numbers)) for numbers in (version, OLDEST))
        raise UvshimError(f"uvshim needs uv {needed} or later; `{uv}` is {had}")


def _said(log: str, phrase: str) -> list[str]:
    """Return how each `phrase` ends in uv's `log`, in order; one "" if it does not occur.

    The phrases are those of uv since 0.4 (there after more words). A part of a path does not count.
    Newer releases write a path in backticks. Then it may contain newlines.
    """
    found = []
    at = log.find(phrase)
    while at >= 0:
        before = log[log.rfind("\n", 0, at) + 1 : at]
        if "/" not in before and "`" not in before:
            rest = log[at + len(phrase) :].removeprefix(":").removeprefix(" ")
            end = "`\n" if rest.startswith("`") else "\n"
            found.append(rest.removeprefix("`").partition(end)[0])
        at = log.find(phrase, at + 1)
    return found or [""]


def _with_line_breaks(path: str, log: str) -> str:
    """Return the whole of a `path` that is not in backticks: its lock's name in `log` shows it."""
    locks = (each.partition("` at `")[0] for each in _said(log, "lock for "))
    return next((each for each in locks if each.startswith(f"{path}\n")), path)


def _version(said: list[str]) -> tuple[int, ...]:
    """Return the version in what follows ``DEBUG uv``, or () if it is not there."""
    for rest in said:
        numbers = rest.removeprefix("uv ").partition(" ")[0].split(".")
        if all(number.isdigit() for number in numbers):
            return tuple(map(int, numbers))
    return ()
