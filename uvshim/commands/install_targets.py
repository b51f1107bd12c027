"""Where a command installs. uv, pip and interpreters answer; their rules are not repeated."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from uvshim.commands import targets
from uvshim.environments import discovery
from uvshim.environments.environment import Environment
from uvshim.errors import CannotRunError, UvshimError
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

_PYTHONS = frozenset({"python", "pypy", "graalpy"})
_PYTHON_WITH_VALUE = frozenset({"-W", "-X", "-c", "-m", "--check-hash-based-pycs"})

# Run by an interpreter: where it is installed, where it installs, its user's site-packages, and the
# file that exists if system packages own the others (PyPA, "Externally managed environments").
# Nothing is imported from the working directory, which would be first on its path.
_WHERE = """\
import sys
sys.path = [each for each in sys.path if each]
import site, sysconfig
user = site.ENABLE_USER_SITE and site.getusersitepackages() or ""
names = "purelib", "platlib", "stdlib"
purelib, platlib, stdlib = map(sysconfig.get_path, names)
print(sys.prefix, purelib, platlib, user, stdlib + "/EXTERNALLY-MANAGED", sep="\\n")
"""

# Run by the interpreter of a pip: lets pip parse its own command line, configuration and variables,
# and prints where it installs. The first argument is "again" if pip was asked in another Python;
# the second is the directory that is first on the path of that pip, "" for the working directory.
_ASK_PIP = """\
import sys
again, first = sys.argv[1:3]
if first:
    sys.path = [first] + [each for each in sys.path if each]
import json, os
os.environ["_PIP_RUNNING_IN_SUBPROCESS"] = "1"  # or pip would run itself in the Python of --python
import pip
from pip._internal.cli import main_parser
from pip._internal.commands import create_command
from pip._internal.commands.install import decide_user_install
from pip._internal.locations import get_scheme
reply = {"places": []}
try:
    general = main_parser.create_main_parser().parse_args(sys.argv[3:])[0]
    name, words = main_parser.parse_command(sys.argv[3:])
    if getattr(general, "python", None) and not again:
        reply["python"] = main_parser.identify_python_interpreter(general.python)
        reply["pip"] = os.path.dirname(os.path.dirname(pip.__file__))
    elif name == "install":
        options = create_command(name).parse_args(words)[0]
        where = {"prefix": options.prefix_path, "root": options.root_path}
        user = decide_user_install(
            options.use_user_site,
            prefix_path=options.prefix_path,
            target_dir=options.target_dir,
            root_path=options.root_path,
            isolated_mode=options.isolated_mode,
        )
        reply["user"] = user and not options.root_path
        reply["own"] = not (user or options.target_dir or any(where.values()))
        reply["prefix"] = sys.prefix
        given = getattr(options, "python_version", None)  # a tuple in all but very old releases
        is_given = isinstance(given, tuple) and len(given) > 1
        reply["version"] = "%d.%d.%d" % (given + (0,) if is_given else sys.version_info)[:3]
        scheme = get_scheme("x", user=user, isolated=options.isolated_mode, **where)
        reply["places"] = [scheme.purelib, scheme.platlib]
        if options.target_dir:
            reply["places"] = [os.path.abspath(options.target_dir)]
except SystemExit:  # its help, or an error
    pass
print("\\n" + json.dumps(reply))
"""


class Targets(NamedTuple):
    """Where a command may install."""

    environments: list[Environment]
    """The places that exist now."""
    is_known: bool = True
    """Whether these are all the places: the command was understood."""
    project: str = ""
    """The directory in which uv looks for configuration files; "" is the working directory."""


def of(command: list[str], supervisor: Supervisor) -> Targets | None:
    """Return where `command` may install, or None if it is known to install nothing.

    `command` begins with the path of a program. uv and pip answer themselves. Any other program
    may use the environment that it runs in, that of the project, or the one of `uv pip`.
    """
    program, *words = command
    name = os.path.basename(program)
    flags, module, rest = _split_python(words) if is_python(program) else ([], "", [])
    if module == "uv":
        return _of_uv([program, *flags, "-m", "uv"], rest, supervisor)
    if module.partition(".")[0] == "pip":
        return _of_pip([program, *flags], rest, supervisor)
    if name == "uv":
        return _of_uv([program], words, supervisor)
    if _is_pip(program):
        if python := _interpreter_of(program) or _executable_of(program, supervisor):
            return _of_pip([python], words, supervisor, os.path.dirname(program))
        found = _of_uv_pip(_uv(), words, supervisor)  # it may be a script that runs `uv pip`
        return found and found._replace(is_known=False)
    return _of_other(program, words, supervisor)


def _of_other(program: str, words: list[str], supervisor: Supervisor) -> Targets:
    """Return the places of any other `program`, perhaps with a pip or Python among its `words`.

    A word may be a file that the program only reads, so none is run: the directory of a program
    shows its environment. A program among the words may install elsewhere.
    """
    scripts = [after for before, after in itertools.pairwise(words) if re.match(r"-\w*c$", before)]
    inside = [part for each in scripts for part in re.split(r"[\s;&|()]+", each)]  # of `sh -c`
    every = [*words, *inside]
    installers = [each for each in every if each == "uv" or _is_pip(each) or is_python(each)]
    paths = [each for each in installers if os.path.dirname(each) and os.path.isfile(each)]
    named = filter(None, map(discovery.of_program, paths))
    found = [targets.with_lock(each, supervisor) for each in named]
    known = not any(os.path.exists(each) or process.on_path(each) for each in installers)
    return Targets([*_of_any(program, supervisor), *found], is_known=known)


def is_python(program: str) -> bool:
    """Return True if `program`, a name or a path, is called like a Python."""
    return os.path.basename(program).rstrip("0123456789.td") in _PYTHONS


def _is_pip(program: str) -> bool:
    return os.path.basename(program).rstrip("0123456789.") == "pip"


def _split_python(words: list[str]) -> tuple[list[str], str, list[str]]:
    """Return the options for a Python in `words`, the module of ``-m``, and the words after it."""
    following = iter(words)
    flags: list[str] = []
    for option, value, said in options_in(following, _PYTHON_WITH_VALUE):
        if option == "-m":
            return flags, value or "", list(following)
        if option in {"", "-c"}:
            break
        flags += said
    return [], "", []


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
    interpreter = program if is_python(program) else _interpreter_of(program)
    if interpreter:
        yield from _of_interpreter(interpreter, supervisor)
    elif other := process.on_path("python3") or process.on_path("python"):
        yield from _of_interpreter(other, supervisor)
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
    usage = "\n".join(_output_lines([*uv, subcommand, "--help"], supervisor)) if subcommand else ""
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
    directory = _output_lines(command, supervisor)[-1]
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if os.path.isfile(os.path.join(path, "pyvenv.cfg")):
                yield Environment(path, os.path.join(directory, ".lock"))


def _of_pip(
    python: list[str], words: list[str], supervisor: Supervisor, first: str = ""
) -> Targets | None:
    """Return the places of the pip that the command `python` runs with `words`.

    `first` is the directory that is first on its path, "" for the working directory.
    """
    reply = _pip_places(python, ["", first], words, supervisor)
    if reply and "python" in reply:
        python = [reply["python"] or ""]
        reply = _pip_places(python, ["again", reply["pip"]], words, supervisor)
    if reply is None:  # a pip that cannot be asked
        return Targets(_of_interpreter(python[0], supervisor), is_known=False)
    if not reply["places"]:
        return None
    if reply["own"]:
        lock = _lock_of_prefix(reply["prefix"], python[0], supervisor)
        return Targets([Environment(reply["prefix"], lock, reply["places"])])
    if reply["user"] and (found := _of_interpreter(python[0], supervisor)[1:]):
        return Targets(found)
    path = reply["places"][0]
    lock = os.path.join(path, ".lock")
    return Targets([Environment(path, lock, reply["places"], python=reply["version"])])


def _pip_places(
    python: list[str], how: list[str], words: list[str], supervisor: Supervisor
) -> dict[str, Any] | None:
    """Return what `_ASK_PIP` prints, or None if that fails."""
    said = _output_lines([*python, "-c", _ASK_PIP, *how, *words], supervisor)
    try:
        reply: dict[str, Any] = json.loads(said[-1])
    except ValueError:
        return None
    return reply


def _executable_of(pip: str, supervisor: Supervisor) -> str:
    """Return the interpreter that runs the program `pip`, or ""."""
    for line in _output_lines([pip, "debug", "-vvv"], supervisor):  # it may be told to be quiet
        if line.startswith("sys.executable: "):
            return line.partition(": ")[2]
    return ""


def _interpreter_of(script: str) -> str | None:
    """Return the Python that the first lines of `script` name, or None if they name none.

    If the path of its interpreter is long or has blanks, a shell script of two lines executes it.
    """
    try:
        with open(script, "rb") as file:
            lines = file.read(4096).decode("utf-8", "surrogateescape").split("\n")
        words = lines[0].removeprefix("#!").split() if lines[0].startswith("#!") else []
        if os.path.basename(words[0]) == "sh" and lines[1].startswith("'''exec '"):
            words = shlex.split(lines[1])[1:]
        elif os.path.basename(words[0]) == "env":
            words = [process.on_path(words[1]) or ""]
    except (OSError, ValueError, IndexError):
        return None
    return words[0] if is_python(words[0]) else None


def _of_interpreter(interpreter: str, supervisor: Supervisor) -> list[Environment]:
    """Return where `interpreter` installs: its own site-packages, and its user's if they exist."""
    said = _output_lines([interpreter, "-c", _WHERE], supervisor)
    try:
        prefix, purelib, platlib, user, managed = said[-5:]
    except ValueError:  # it cannot be run, or prints something else
        own = discovery.of_program(interpreter)
        return [targets.with_lock(own, supervisor)] if own else []
    lock = _lock_of_prefix(prefix, interpreter, supervisor)
    own = Environment(prefix, lock, [purelib, platlib])
    own.is_shared = os.path.exists(managed) and not os.path.isfile(f"{prefix}/pyvenv.cfg")
    if not user:
        return [own]
    visible = [user, *(each for each in own.visible if each != user)]
    return [own, Environment(user, None, [user], visible=visible)]


def _lock_of_prefix(prefix: str, interpreter: str, supervisor: Supervisor) -> str | None:
    """Return the file that uv locks for `interpreter`. Only uv knows it outside of environments."""
    if os.path.isfile(os.path.join(prefix, "pyvenv.cfg")):
        return os.path.join(prefix, ".lock")
    with contextlib.suppress(UvshimError):
        return targets.lock_of_python(interpreter, supervisor)
    return None


def _output_lines(command: list[str], supervisor: Supervisor) -> list[str]:
    """Return the lines that `command` writes, or [""] if it fails."""
    try:
        program = process.on_path(command[0]) or command[0]
        child = supervisor.start([program, *command[1:]], keep_output=True)
    except (CannotRunError, OSError):
        return [""]
    failed = supervisor.wait_for_answer(child) != 0
    return [""] if failed else child.output().splitlines() or [""]
