"""Where a command installs. uv, pip and interpreters answer; their rules are not repeated."""

from __future__ import annotations

import glob
import os
import re
import sys
from typing import TYPE_CHECKING

from uvshim.commands import pythons
from uvshim.commands.pythons import Targets
from uvshim.environments import discovery
from uvshim.environments.environment import Environment
from uvshim.environments.interpreter import is_python
from uvshim.errors import UvshimError
from uvshim.uv import process, question
from uvshim.uv.arguments import (
    GLOBAL,
    WITH_VALUE,
    Arguments,
    options_in,
    split_command,
    split_subcommand,
)
from uvshim.uv.question import Answer, Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvshim.uv.supervisor import Supervisor

# The options of `uv run` with which it uses an environment in its cache.
_IN_CACHE = frozenset({"-w", "--with", "--with-requirements", "--with-editable", "--isolated"})


def of(command: list[str], supervisor: Supervisor) -> Targets | None:
    """Return where `command` may install, or None if it is known to install nothing.

    `command` begins with the path of a program. uv and pip answer themselves. Any other program
    may use the environment that it runs in, that of the project, or the one of `uv pip`.
    """
    program, *words = command
    flags, module, rest = pythons.split(words) if is_python(program) else ([], "", [])
    if module == "uv":
        return _of_uv([program, *flags, "-m", "uv"], rest, supervisor)
    if module.partition(".")[0] == "pip":
        return pythons.of_pip([program, *flags], rest, supervisor)
    if os.path.basename(program) == "uv":
        return _of_uv([program], words, supervisor)
    if pythons.is_pip(program):
        if python := pythons.interpreter_of(program) or pythons.executable_of(program, supervisor):
            return pythons.of_pip([python], words, supervisor, os.path.dirname(program))
        found = _of_uv_pip([], words, supervisor)  # it may be a script that runs `uv pip`
        return found and found._replace(is_known=False)
    return _of_other(program, words, supervisor)


def _of_other(program: str, words: list[str], supervisor: Supervisor) -> Targets:
    """Return the places of a `program` that is neither uv nor pip, but may run them.

    A word may be a file that the program only reads, so uvshim does not run it: the directory of a
    program shows its environment. A program among the words may install elsewhere. A program that
    is no Python's may run the pip of the Python that is first on PATH.
    """
    own = program if is_python(program) else pythons.interpreter_of(program)
    interpreter = own or process.on_path("python3") or process.on_path("python")
    found = pythons.of_interpreter(interpreter, supervisor) if interpreter else []
    found += _of_project([], [], supervisor).environments
    found += _of_pip_install([], Arguments([]), supervisor).environments
    installers = _installers_in(words)
    for each in installers:
        if os.path.dirname(each) and os.path.isfile(each) and (at := discovery.of_program(each)):
            found.append(pythons.with_lock(at, supervisor))
    runs_uv = "uv" in pythons.first_words(program)  # `uv run --script`
    is_ours = os.path.basename(program) in {"uvpip", "uvshim"}  # which print a note themselves
    return Targets(found, is_known=is_ours or not (installers or runs_uv))


def _installers_in(words: list[str]) -> list[str]:
    """Return what is called like a uv, a pip or a Python in `words`, also in parts of them.

    Parts are values, as in ``PYTHON=…``, and the words of a script or a command in one word.
    """
    values = [each.partition("=")[2] for each in words]
    parts = [part for each in words for part in re.split(r"[\s;&|()='\"]+", each)]
    return [
        each
        for each in dict.fromkeys([*words, *values, *parts])
        if each == "uv" or pythons.is_pip(each) or is_python(each)
    ]


def _answered(uv: list[str], ask: Callable[[list[str]], Answer], supervisor: Supervisor) -> Targets:
    """Return the place that `uv` answers. One that cannot be asked stops no command."""
    try:
        answer = ask(uv or [process.find_uv()])
    except UvshimError:
        answer = Answer()
    found = Environment.of(answer, supervisor)
    return Targets([found] if found else [], found is not None, answer.project)


def _of_pip_install(uv: list[str], arguments: Arguments, supervisor: Supervisor) -> Targets:
    """Return where `uv pip install` installs; `uv` is [] for the usual one."""
    return _answered(uv, lambda own: Question(own, arguments, supervisor).answer(), supervisor)


def _of_project(uv: list[str], choosing: list[str], supervisor: Supervisor) -> Targets:
    """Return where `uv sync` installs; `uv` is [] for the usual one."""
    return _answered(uv, lambda own: question.of_project(own, choosing, supervisor), supervisor)


def _of_uv_pip(uv: list[str], words: list[str], supervisor: Supervisor) -> Targets | None:
    arguments = Arguments(words)
    return _of_pip_install(uv, arguments, supervisor) if arguments.installs else None


def _of_uv(uv: list[str], words: list[str], supervisor: Supervisor) -> Targets | None:
    """Return the places of the command `uv` with `words`."""
    before, subcommand, rest = split_subcommand(words)
    if subcommand == "pip":
        return _of_uv_pip(uv, [*before, *rest], supervisor)
    choosing = Arguments(before).choosing_project
    if subcommand == "tool":
        is_run = rest[:1] == ["run"]
        tools = [*uv, *choosing, "tool", "dir"]
        return _of_other(uv[0], rest[1:], supervisor) if is_run else _of_tools(tools, supervisor)
    usage = pythons.output([*uv, subcommand, "--help"], supervisor) if subcommand else ""
    if subcommand != "sync" and "--no-sync" not in usage:  # it never syncs an environment
        return None
    with_value = _with_value(usage)
    options, command = split_command(rest, with_value) if subcommand == "run" else (rest, [])
    arguments = Arguments(options, with_value)
    if arguments.help or arguments.dry:
        return None
    choosing += arguments.choosing_project
    if subcommand == "run":
        given = {option for option, _, _ in options_in(options, with_value)}
        return _of_uv_run(uv, choosing, given, command, supervisor)
    found = _of_project(uv, choosing, supervisor)
    if not found.is_known:
        found.environments.extend(_of_pip_install(uv, Arguments([]), supervisor).environments)
    return found


def _of_uv_run(
    uv: list[str], choosing: list[str], given: set[str], command: list[str], supervisor: Supervisor
) -> Targets:
    """Return the places of `uv run`: those of uv itself, and of the `command`.

    `given` are the names of its options, and `choosing` those that choose an environment.
    """
    choosing = [each for each in choosing if each != "--script"]  # here it is a flag
    found, _, project = _of_project(uv, choosing, supervisor)
    # Without a project, uv uses the Python that is chosen. The command may install elsewhere.
    for each in dict.fromkeys([tuple(choosing), ()]):
        found += _of_pip_install(uv, Arguments(each), supervisor).environments
    # The environments of `--with`, and of a script that is piped, are in uv's cache.
    is_known = command[:1] != ["-"] and _IN_CACHE.isdisjoint(given)
    if not command:
        return Targets(found, is_known, project)
    # Relative paths are meant from there. Which uv it is does not matter: a note is the worst.
    is_elsewhere = question.chosen_directory(Arguments(choosing), (sys.maxsize,)) is not None
    name, *words = command
    more: Targets | None = None
    if not {"-s", "--script"}.isdisjoint(given) or name.lower().endswith((".py", ".pyw")):
        if is_elsewhere or _has_an_environment(name):
            more = _of_project(uv, [*choosing, "--script", name], supervisor)
    elif program := _program(name, found):
        more = of([program, *words], supervisor)
    if is_elsewhere:
        is_known &= not any(each == "uv" or pythons.is_pip(each) for each in command)
    if more:
        found += more.environments
        is_known &= more.is_known
    return Targets(found, is_known, project)


def _has_an_environment(script: str) -> bool:
    """Return False if the file `script` has no inline metadata (PEP 723): then it uses another."""
    try:
        with open(script, "rb") as file:
            return b"# /// script" in file.read()
    except OSError:
        return True


def _program(name: str, environments: list[Environment]) -> str | None:
    """Return the path of the program `name` in one of `environments`, or else on PATH."""
    inside = [os.path.join(each.path, "bin", name) for each in environments]
    return next((found for each in (*inside, name) if (found := process.on_path(each))), None)


def _with_value(usage: str) -> frozenset[str]:
    """Return the options that take a value, read from the help `usage` of a uv subcommand."""
    listed = re.findall(r"^ +(-\w)?(?:, )?(--[\w-]+)?(?:\.\.\.)? <", usage, re.MULTILINE)
    return (GLOBAL & WITH_VALUE).union(*listed)


def _of_tools(command: list[str], supervisor: Supervisor) -> Targets:
    """Return the environments of the tools that uv has installed, in the directory it names."""
    directory = pythons.output(command, supervisor).rpartition("\n")[2]
    settings = glob.glob(f"{glob.escape(directory)}/*/pyvenv.cfg") if directory else []
    lock = os.path.join(directory, ".lock")
    return Targets([Environment(os.path.dirname(each), lock) for each in sorted(settings)])
