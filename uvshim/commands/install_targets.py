"""Where a command installs. uv, pip and interpreters answer; their rules are not repeated."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from typing import TYPE_CHECKING

from uvshim.commands import pythons, targets
from uvshim.commands.targets import Targets
from uvshim.environments import discovery
from uvshim.environments.environment import Environment
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
    from collections.abc import Callable, Iterator

    from uvshim.uv.supervisor import Supervisor

# The options of `uv run` with which it uses an environment in its cache.
_IN_CACHE = frozenset({"-w", "--with", "--with-requirements", "--with-editable", "--isolated"})


def of(command: list[str], supervisor: Supervisor) -> Targets | None:
    """Return where `command` may install, or None if it is known to install nothing.

    `command` begins with the path of a program. uv and pip answer themselves. Any other program
    may use the environment that it runs in, that of the project, or the one of `uv pip`.
    """
    program, *words = command
    name = os.path.basename(program)
    flags, module, rest = pythons.split(words) if pythons.is_python(program) else ([], "", [])
    if module == "uv":
        return _of_uv([program, *flags, "-m", "uv"], rest, supervisor)
    if module.partition(".")[0] == "pip":
        return pythons.of_pip([program, *flags], rest, supervisor)
    if name == "uv":
        return _of_uv([program], words, supervisor)
    if pythons.is_pip(program):
        if python := pythons.interpreter_of(program) or pythons.executable_of(program, supervisor):
            return pythons.of_pip([python], words, supervisor, os.path.dirname(program))
        found = _of_uv_pip(_uv(), words, supervisor)  # it may be a script that runs `uv pip`
        return found and found._replace(is_known=False)
    return _of_other(program, words, supervisor)


def _of_other(program: str, words: list[str], supervisor: Supervisor) -> Targets:
    """Return the places of any other `program`, perhaps with a pip or Python among its `words`.

    A word may be a file that the program only reads, so uvshim does not run it: the directory of a
    program shows its environment. A program among the words may install elsewhere.
    """
    installers = [*_installers_in(words)]
    paths = [each for each in installers if os.path.dirname(each) and os.path.isfile(each)]
    named = filter(None, map(discovery.of_program, paths))
    found = [targets.with_lock(each, supervisor) for each in named]
    uv = [each for each in pythons.first_words(program) if each == "uv"]  # `uv run --script`
    known = not any(os.path.exists(each) or process.on_path(each) for each in installers + uv)
    return Targets([*_of_any(program, supervisor), *found], is_known=known)


def _installers_in(words: list[str]) -> Iterator[str]:
    """Yield what is called like a uv, a pip or a Python in `words`, also in parts of them.

    Parts are values, as in ``PYTHON=…``, and the words of a script, as in ``sh -c …``.
    """
    scripts = [after for before, after in itertools.pairwise(words) if re.match(r"-\w*c$", before)]
    parts = [part for each in scripts for part in re.split(r"[\s;&|()='\"]+", each)]
    for each in (*words, *(each.partition("=")[2] for each in words), *parts):
        if each == "uv" or pythons.is_pip(each) or pythons.is_python(each):
            yield each


def _uv() -> list[str]:
    """Return the command that runs uv, or [] if there is none."""
    try:
        return [process.find_uv()]
    except UvshimError:
        return []


def _answer(ask: Callable[[], Answer]) -> Answer:
    """Return what uv answers. A uv that cannot be asked stops no command."""
    try:
        return ask()
    except (UvshimError, OSError):
        return Answer()


def _pip_answer(uv: list[str], arguments: Arguments, supervisor: Supervisor) -> Answer:
    """Return where `uv pip install` installs."""
    return _answer(lambda: Question(uv, arguments, supervisor).answer())


def _project_answer(uv: list[str], choosing: list[str], supervisor: Supervisor) -> Answer:
    """Return where `uv sync` installs."""
    return _answer(lambda: question.of_project(uv, choosing, supervisor))


def _of_any(program: str, supervisor: Supervisor) -> Iterator[Environment]:
    """Yield the places of a `program` that is neither uv nor pip.

    If it is no Python's, it may run the pip of the Python that is first on PATH.
    """
    interpreter = program if pythons.is_python(program) else pythons.interpreter_of(program)
    if interpreter:
        yield from pythons.of_interpreter(interpreter, supervisor)
    elif other := process.on_path("python3") or process.on_path("python"):
        yield from pythons.of_interpreter(other, supervisor)
    if uv := _uv():
        answers = [_project_answer(uv, [], supervisor), _pip_answer(uv, Arguments([]), supervisor)]
        yield from _existing(answers, supervisor)


def _existing(answers: list[Answer], supervisor: Supervisor) -> list[Environment]:
    return [found for each in answers if (found := Environment.of(each, supervisor))]


def _of_uv(uv: list[str], words: list[str], supervisor: Supervisor) -> Targets | None:
    """Return the places of the command `uv` with `words`."""
    before, subcommand, rest = split_subcommand(words)
    if subcommand == "pip":
        return _of_uv_pip(uv, [*before, *rest], supervisor)
    choosing = Arguments(before).choosing_project
    if subcommand == "tool":
        tools = _of_tools([*uv, *choosing, "tool", "dir"], supervisor)
        is_run = rest[:1] == ["run"]
        return _of_other(uv[0], rest[1:], supervisor) if is_run else Targets(list(tools))
    usage = (
        "\n".join(pythons.output_lines([*uv, subcommand, "--help"], supervisor))
        if subcommand
        else ""
    )
    if subcommand != "sync" and "--no-sync" not in usage:  # it never syncs an environment
        return None
    if subcommand == "run":
        return _of_uv_run(uv, choosing, rest, _with_value(usage), supervisor)
    arguments = Arguments(rest, _with_value(usage))
    if arguments.help or arguments.dry:
        return None
    answers = [_project_answer(uv, choosing + arguments.choosing_project, supervisor)]
    is_known = answers[0].known
    if not is_known:
        answers.append(_pip_answer(uv, Arguments([]), supervisor))
    return Targets(_existing(answers, supervisor), is_known, answers[0].project)


def _of_uv_run(
    uv: list[str],
    choosing: list[str],
    words: list[str],
    with_value: frozenset[str],
    supervisor: Supervisor,
) -> Targets | None:
    """Return the places of `uv run` with `words`: those of uv itself, and of the command.

    `choosing` are options before `run`, and `with_value` are the options that take a value.
    """
    options, command = split_command(words, with_value)
    arguments = Arguments(options, with_value)
    if arguments.help or arguments.dry:
        return None
    choosing = [*choosing, *arguments.choosing_project]
    given = {option for option, _, _ in options_in(options, with_value)}
    choosing = [each for each in choosing if each != "--script"]  # here it is a flag
    answers = [_project_answer(uv, choosing, supervisor)]
    answers.append(_pip_answer(uv, Arguments([]), supervisor))  # it may run any command
    # The environments of `--with`, and of a script that is piped, are in uv's cache.
    is_known = command[:1] != ["-"] and _IN_CACHE.isdisjoint(given)
    is_script = bool(command) and (
        not {"-s", "--script"}.isdisjoint(given) or command[0].endswith((".py", ".pyw"))
    )
    if is_script:
        answers.append(_project_answer(uv, [*choosing, "--script", command[0]], supervisor))
        is_known &= answers[-1].known
    found = _existing(answers, supervisor)
    if command and not is_script and (program := _program(command[0], found)):
        inner = of([program, *command[1:]], supervisor) or Targets([])
        found += inner.environments
        is_known &= inner.is_known
    return Targets(found, is_known, answers[0].project)


def _program(name: str, environments: list[Environment]) -> str | None:
    """Return the path of the program `name` in the first of `environments`, or else on PATH."""
    inside = [os.path.join(each.path, "bin", name) for each in environments[:1]]
    return next((found for each in (*inside, name) if (found := process.on_path(each))), None)


def _with_value(usage: str) -> frozenset[str]:
    """Return the options that take a value, read from the help `usage` of a uv subcommand."""
    listed = re.findall(r"^ +(-\w)?(?:, )?(--[\w-]+)?(?:\.\.\.)? <", usage, re.MULTILINE)
    return (GLOBAL & WITH_VALUE).union(*listed)


def _of_uv_pip(uv: list[str], words: list[str], supervisor: Supervisor) -> Targets | None:
    """Return the places of `uv pip` with `words`."""
    arguments = Arguments(words)
    if not (uv and arguments.installs):
        return None
    answer = _pip_answer(uv, arguments, supervisor)
    return Targets(_existing([answer], supervisor), answer.known, answer.project)


def _of_tools(command: list[str], supervisor: Supervisor) -> Iterator[Environment]:
    """Yield the environments of the tools that uv has installed, in the directory it names."""
    directory = pythons.output_lines(command, supervisor)[-1]
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if os.path.isfile(os.path.join(path, "pyvenv.cfg")):
                yield Environment(path, os.path.join(directory, ".lock"))
