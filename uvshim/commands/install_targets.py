"""Where a command installs, as far as its words, its interpreter, pip and uv tell."""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING

from uvshim.commands import targets
from uvshim.environments import discovery
from uvshim.environments.environment import Environment
from uvshim.errors import CannotRunError, EnvironmentUnknownError, UvNotFoundError
from uvshim.uv import process
from uvshim.uv.arguments import Arguments, split_subcommand
from uvshim.uv.question import Question

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uvshim.uv.supervisor import Supervisor

_PYTHONS = ("python", "pypy", "graalpy")

# Run by an interpreter: where it is installed, where it installs, and its user's own directory.
_WHERE = (
    "import site, sys, sysconfig as s; print(sys.prefix, s.get_path('purelib'), "
    "s.get_path('platlib'), site.ENABLE_USER_SITE and site.getusersitepackages() or '', sep='\\n')"
)

# The options of `pip install` that choose a place, each with its short form.
_PLACES = {"--target": "-t", "--prefix": "", "--root": "", "--python": ""}


def of(command: list[str], supervisor: Supervisor) -> Iterator[Environment]:
    """Yield the places that `command` may install into, some of which may not exist yet.

    `command` begins with the path of a program. What a `pip` or `python` is told, or says itself,
    comes first; of `uv`, what its subcommand means. Of every other program, it is the environment
    that it is installed in itself, the project's, and the one that `uv pip` would use.
    """
    program, *words = command
    name = _name(program)
    if name == "pip":
        yield from _of_pip([program], _interpreter_of(program), words, supervisor)
        return
    module, after = "", len(words)
    if name in _PYTHONS and "-m" in words[:-1]:
        after = words.index("-m") + 2
        module = words[after - 1]
    if module == "pip":
        yield from _of_pip([*command[:after], "pip"], program, words[after:], supervisor)
        return
    interpreter = program if name in _PYTHONS else _interpreter_of(program)
    if interpreter and (own := _of_interpreter(interpreter, supervisor)):
        yield own[0]
    if module == "uv":
        yield from _of_uv(words[after:], supervisor)
    else:
        yield from _of_uv(words if name == "uv" else [], supervisor)


def is_known(command: list[str]) -> bool:
    """Say whether `command` is one of which it is known how it chooses where it installs."""
    return _name(command[0]) in {"pip", "uv", *_PYTHONS}


def _name(program: str) -> str:
    """Return the name of a `program` without its directory and version."""
    return os.path.basename(program).rstrip("0123456789.")


def _of_uv(words: list[str], supervisor: Supervisor) -> Iterator[Environment]:
    """Yield the places of `uv` with `words`."""
    before, subcommand, rest = split_subcommand(words)
    arguments = Arguments([*before, *rest])
    if subcommand != "pip" and (project := _project_environment(arguments)):
        yield project
    try:
        binary = process.find_uv()
    except UvNotFoundError:
        return
    if subcommand == "tool":
        yield from _of_tools([binary, *before, "tool", "dir"], supervisor)
        return
    chosen = arguments if subcommand == "pip" else Arguments([])
    if environment := Environment.of(Question(binary, chosen, supervisor).answer(), supervisor):
        yield environment


def _of_tools(question: list[str], supervisor: Supervisor) -> Iterator[Environment]:
    """Yield the environments of the tools that uv has installed, where it says that they are."""
    directory = _said_by(question, supervisor)[-1]
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if os.path.isfile(os.path.join(path, "pyvenv.cfg")):
                yield Environment(path, os.path.join(directory, ".lock"))


def _project_environment(arguments: Arguments) -> Environment | None:
    """Return the environment that `uv sync` with `arguments` uses, if it is there."""
    name = os.environ.get("UV_PROJECT_ENVIRONMENT") or ".venv"
    directory = os.path.abspath(
        os.path.join(
            process.working_directory(), arguments.directory or "", arguments.project or ""
        )
    )
    while True:
        path = os.path.join(directory, name)
        if os.path.isfile(os.path.join(path, "pyvenv.cfg")):
            with contextlib.suppress(EnvironmentUnknownError):
                return discovery.find(path)[0]
            return None
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def _of_pip(
    pip: list[str], interpreter: str | None, words: list[str], supervisor: Supervisor
) -> Iterator[Environment]:
    """Yield where the command `pip` with `words` installs; `interpreter` runs it."""
    chosen = {**_configured(pip, words, supervisor), **_given(words)}
    if "--python" in chosen:
        interpreter = _python_at(chosen["--python"])
    root = os.path.abspath(chosen["--root"]) if "--root" in chosen else ""
    if "--target" in chosen:
        path = root + os.path.abspath(chosen["--target"])
        yield Environment(path, os.path.join(path, ".lock"), [path])
    elif "--prefix" in chosen:
        path = root + os.path.abspath(chosen["--prefix"])
        yield Environment(path, os.path.join(path, ".lock"))
    elif interpreter and (own := _of_interpreter(interpreter, supervisor)):
        for each in own:
            yield _below(root, each) if root else each
    elif not interpreter and (site_packages := _told_by_pip(pip, supervisor)):
        yield Environment(site_packages, None, [root + site_packages])


def _below(root: str, environment: Environment) -> Environment:
    """Return `environment` as it is if the file system begins at `root`."""
    directories = [root + each for each in environment.site_packages]
    return Environment(root + environment.path, None, directories)


def _given(words: list[str]) -> dict[str, str]:
    """Return the options that choose a place in the `words` of a `pip install`."""
    found = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        for option, short in _PLACES.items():
            if word in {option, short}:
                found[option] = following
            elif word.startswith(f"{option}="):
                found[option] = word.partition("=")[2]
            elif short and word.startswith(short):
                found[option] = word[len(short) :]
    return found


def _configured(pip: list[str], words: list[str], supervisor: Supervisor) -> dict[str, str]:
    """Return the options that choose a place in pip's configuration files and variables."""
    if "install" not in words:
        return {}
    found = {}
    for line in _said_by([*pip, "config", "list"], supervisor):
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if f"--{option}" in _PLACES and section in {"global", "install", ":env:"}:
            found[f"--{option}"] = value[1:-1]
    return found


def _told_by_pip(pip: list[str], supervisor: Supervisor) -> str:
    """Return the directory that the command `pip` says it comes from, or nothing."""
    said = _said_by([*pip, "--version"], supervisor)[0]
    path = said.partition(" from ")[2].rpartition(" (python ")[0]
    return os.path.dirname(path) if os.path.basename(path) == "pip" else ""


def _interpreter_of(script: str) -> str | None:
    """Return the interpreter that the first lines of `script` name; None, if that is no Python.

    Where its path is too long or has blanks, they are those of a shell, which executes it.
    """
    try:
        with open(script, "rb") as file:
            lines = file.read(4096).decode("utf-8", "surrogateescape").split("\n")
        first = lines[0].removeprefix("#!").split()
        if os.path.basename(first[0]) == "env":
            first = [process.on_path(first[-1]) or ""]
        elif os.path.basename(first[0]) == "sh" and lines[1].startswith("'''exec' "):
            first = shlex.split(lines[1])[1:2]
    except (OSError, ValueError, IndexError):
        return None
    return first[0] if os.path.basename(first[0]).startswith(_PYTHONS) else None


def _python_at(path: str) -> str:
    """Return the interpreter that `pip --python` means: itself, or that of an environment."""
    return os.path.join(path, "bin", "python") if os.path.isdir(path) else path


def _of_interpreter(interpreter: str, supervisor: Supervisor) -> list[Environment]:
    """Return where packages of `interpreter` lie: its own place, and its user's if there is one."""
    said = _said_by([interpreter, "-c", _WHERE], supervisor)
    try:
        prefix, purelib, platlib, user = said[-4:]
    except ValueError:  # it cannot be run, or says something else
        own = discovery.of_program(interpreter)
        return [targets.with_lock(own, supervisor)] if own else []
    if os.path.isfile(os.path.join(prefix, "pyvenv.cfg")):
        lock: str | None = os.path.join(prefix, ".lock")
    else:
        lock = _lock_of(interpreter, supervisor)
    places = [Environment(prefix, lock, [purelib, platlib])]
    return [*places, Environment(user, None, [user])] if user else places


def _lock_of(interpreter: str, supervisor: Supervisor) -> str | None:
    """Return the lock on the place of an `interpreter` that is not a virtual one: uv knows it."""
    try:
        binary = process.find_uv()
    except UvNotFoundError:
        return None
    choice = Arguments(["--python", interpreter, "--break-system-packages"])
    return Question(binary, choice, supervisor).answer().lock


def _said_by(command: list[str], supervisor: Supervisor) -> list[str]:
    """Return the lines that `command` writes; one empty one, if it fails."""
    try:
        program = process.on_path(command[0]) or command[0]
        child = supervisor.start([program, *command[1:]], keep_output=True)
    except (CannotRunError, OSError):
        return [""]
    failed = supervisor.wait_for_answer(child) != 0
    return [""] if failed else child.output().splitlines() or [""]
