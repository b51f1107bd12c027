"""Where a Python and its pip install. They answer themselves."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from uvshim.environments import discovery
from uvshim.environments.environment import Environment
from uvshim.environments.interpreter import is_python
from uvshim.errors import UvNotFoundError, UvshimError
from uvshim.uv import process
from uvshim.uv.arguments import Arguments, options_in
from uvshim.uv.question import Question

if TYPE_CHECKING:
    from uvshim.uv.supervisor import Supervisor

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
print("", sys.prefix, purelib, platlib, user, stdlib + "/EXTERNALLY-MANAGED", "", sep="\\0")
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
        prefix, root, target = options.prefix_path, options.root_path, options.target_dir
        isolated = options.isolated_mode
        user = decide_user_install(options.use_user_site, prefix, target, root, isolated)
        given = getattr(options, "python_version", None)  # a tuple in all but very old releases
        is_given = isinstance(given, tuple) and len(given) > 1
        scheme = get_scheme("x", user=user, isolated=isolated, prefix=prefix, root=root)
        reply = {
            "places": [os.path.abspath(target)] if target else [scheme.purelib, scheme.platlib],
            "user": user and not root,
            "own": not (user or target or prefix or root),
            "prefix": sys.prefix,
            "version": "%d.%d.%d" % (given + (0,) if is_given else sys.version_info)[:3],
        }
except SystemExit:  # its help, or an error
    pass
print("", json.dumps(reply), "", sep="\\0")  # what else is written may come before and after
"""


class Targets(NamedTuple):
    """Where a command may install."""

    environments: list[Environment]
    """The places that exist now."""
    is_known: bool = True
    """Whether these are all the places: the command was understood."""
    project: str = ""
    """The directory in which uv looks for configuration files; "" is the working directory."""


def is_pip(program: str) -> bool:
    """Return True if `program`, a name or a path, is called like a pip."""
    return os.path.basename(program).rstrip("0123456789.").rstrip("-") == "pip"


def split(words: list[str]) -> tuple[list[str], str, list[str]]:
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


def of_pip(
    python: list[str], words: list[str], supervisor: Supervisor, first: str = ""
) -> Targets | None:
    """Return the places of the pip that the command `python` runs with `words`.

    `first` is the directory that is first on its path, "" for the working directory.
    """
    reply = _reply_of_pip(python, ["", first, *words], supervisor)
    if reply and "python" in reply:
        python = [reply["python"] or ""]
        reply = _reply_of_pip(python, ["again", reply["pip"], *words], supervisor)
    if reply is None:  # a pip that cannot be asked
        return Targets(of_interpreter(python[0], supervisor), is_known=False)
    if not reply["places"]:
        return None
    if reply["own"]:
        own = Environment(reply["prefix"], None, reply["places"])
        return Targets([with_lock(own, supervisor, python[0])])
    if reply["user"] and (found := of_interpreter(python[0], supervisor)[1:]):
        return Targets(found)
    path = reply["places"][0]
    lock = os.path.join(path, ".lock")
    return Targets([Environment(path, lock, reply["places"], python=reply["version"])])


def _reply_of_pip(python: list[str], words: list[str], supervisor: Supervisor) -> Any:
    """Return what `_ASK_PIP` prints, or None if that fails."""
    try:
        return json.loads(
            output([*python, "-B", "-c", _ASK_PIP, *words], supervisor).split("\0")[1]
        )
    except (ValueError, IndexError):
        return None


def executable_of(pip: str, supervisor: Supervisor) -> str:
    """Return the interpreter that runs the program `pip`, or ""."""
    said = output([pip, "debug", "-vvv"], supervisor)  # it may be told to be quiet
    return said.partition("\nsys.executable: ")[2].partition("\n")[0]


def interpreter_of(script: str) -> str | None:
    """Return the Python that the first lines of `script` name, or None if they name none.

    If the path of its interpreter is long or has blanks, a shell script of two lines executes it.
    """
    first, *others = [*first_words(script), ""]
    if os.path.basename(first) == "env":
        first = process.on_path(next(each for each in others if each != "-S")) or ""
    return first if is_python(first) else None


def first_words(script: str) -> list[str]:
    """Return the words with which the system starts `script`; [] if its first line names none."""
    try:
        with open(script, "rb") as file:
            lines = file.read(4096).decode("utf-8", "surrogateescape").split("\n")
        words = lines[0].removeprefix("#!").split() if lines[0].startswith("#!") else []
        if os.path.basename(words[0]) == "sh" and lines[1].startswith("'''exec '"):
            words = shlex.split(lines[1])[1:]
    except (OSError, ValueError, IndexError):
        return []
    return words


def of_interpreter(interpreter: str, supervisor: Supervisor) -> list[Environment]:
    """Return where `interpreter` installs: its own site-packages, and its user's if they exist."""
    said = output([interpreter, "-B", "-c", _WHERE], supervisor).split("\0")
    try:
        _, prefix, purelib, platlib, user, managed, _ = said
    except ValueError:  # it cannot be run, or prints something else
        found = discovery.of_program(interpreter)
        return [with_lock(found, supervisor)] if found else []
    own = with_lock(Environment(prefix, None, [purelib, platlib]), supervisor, interpreter)
    own.is_shared = os.path.exists(managed) and not os.path.isfile(f"{prefix}/pyvenv.cfg")
    if not user:
        return [own]
    visible = [user, *(each for each in own.visible if each != user)]
    return [own, Environment(user, None, [user], visible=visible)]


def with_lock(found: Environment, supervisor: Supervisor, python: str = "") -> Environment:
    """Return `found` with its lock. If it is not virtual, only uv knows that of its `python`."""
    if found.lock is not None or found.tree.root is not None:
        return found
    if os.path.isfile(os.path.join(found.path, "pyvenv.cfg")):
        return found.with_lock(os.path.join(found.path, ".lock"))
    with contextlib.suppress(UvshimError):
        return found.with_lock(lock_of(python or found.path, supervisor))
    return found


def lock_of(python: str, supervisor: Supervisor) -> str | None:
    """Return the file that uv locks for a `python` that is not virtual; None without a uv."""
    try:
        binary = process.find_uv()
    except UvNotFoundError:
        return None
    choice = Arguments(["--python", python, "--break-system-packages"])
    return Question([binary], choice, supervisor).answer().lock


def output(command: list[str], supervisor: Supervisor) -> str:
    """Return what `command` writes, without the line break at its end, or "" if it fails."""
    program = process.on_path(command[0]) or command[0]
    return supervisor.ask([program, *command[1:]]).removesuffix("\n")
