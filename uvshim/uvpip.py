"""`uvpip`: `uv pip install`, after which every distribution is found under the name it has."""

from __future__ import annotations

import gc
import os
import sys

from uvshim import __version__, config
from uvshim.errors import NOT_RENAMED, UvNotFoundError, UvshimError
from uvshim.uv import process
from uvshim.uv.arguments import Arguments

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from types import ModuleType

    from uvshim.environments.snapshot import Snapshot
    from uvshim.messages import Messages

# Every module below that is imported within a function is needed by some runs only: messages by
# those that have something to say, `uvshim.rename` by those that have something to rename.

USAGE = """\
uvpip: `uv pip install`, after which pkg_resources finds every distribution under its own name.

Usage: uvpip [ARGUMENTS OF `uv pip install`]
       uvpip {install|sync|uninstall|list|…} [ARGUMENTS OF `uv pip` WITH THAT SUBCOMMAND]

Environment variables:
  UVSHIM_UV=PATH         The uv to run
  UVSHIM_EXCLUDE=A,B.*   Distributions whose directories are not renamed
  UVSHIM_DISABLE=1       Run uv and do nothing else

All arguments are uv's own. What follows is its help.

"""


def main() -> int:
    """Run the command line of `uvpip` and return its exit code."""
    if sys.platform == "win32":
        return _run_uv_alone()
    gc.disable()  # nothing that is made here goes before the end
    process.open_standard_streams()
    process.leave_throwaway_environment()
    arguments = Arguments(sys.argv[1:])
    try:
        binary = process.find_uv()
        if arguments.similar and not (arguments.quiet or config.disabled()):
            _messages(arguments).similar_subcommand(*arguments.similar)
        if arguments.installs and not config.disabled():
            return _install(binary, arguments)
        if not config.disabled():
            _introduce(arguments, binary)
        process.replace([binary, "pip", arguments.subcommand, *arguments.rest])
    except UvshimError as error:
        _messages(arguments).error(str(error))
        return error.exit_code
    except OSError as error:
        _messages(arguments).os_error(error)
        return UvshimError.exit_code


def _run_uv_alone() -> int:
    """Run uv, and say that this is all: what is done on Windows."""
    import subprocess

    arguments = Arguments(sys.argv[1:])
    if not arguments.quiet:
        sys.stderr.write("uvpip renames nothing on Windows: it only runs uv\n")
    uv = os.environ.get("UVSHIM_UV") or os.environ.get("UV") or "uv"
    try:
        return subprocess.call([uv, "pip", arguments.subcommand, *arguments.rest])
    except OSError as error:
        sys.stderr.write(f"error: `{uv}` cannot be run: {error.strerror}\n")
        return UvNotFoundError.exit_code


def _messages(arguments: Arguments) -> Messages:
    from uvshim.messages import Messages

    return Messages(color=arguments.color, quiet=arguments.quiet > 0, verbose=arguments.verbose > 0)


def _introduce(arguments: Arguments, binary: str) -> None:
    """Print our own part of the help, or become what prints the versions."""
    if arguments.help:
        process.write(USAGE)
    elif arguments.version and arguments.subcommand == "install":
        process.write(f"uvshim {__version__}\n")
        process.replace([binary, "--version"])


def _install(binary: str, arguments: Arguments) -> int:
    """Ask uv where it will write, look there, run uv, look again, and rename what is new."""
    from uvshim.uv.question import Question
    from uvshim.uv.supervisor import Supervisor

    supervisor = Supervisor()  # before anything is started: what runs must end when we end
    question = Question(binary, arguments, supervisor)
    # While uv works on the answer we load what will be needed with it.
    from uvshim.environments.environment import Environment
    from uvshim.environments.snapshot import Snapshot

    answer = question.answer()
    exclude = config.excluded(answer.project)
    environment = Environment.of(answer, supervisor)
    before = Snapshot.of(environment)
    if environment and environment.holds(__file__):
        _after_install().load_everything()  # now: uv may replace or remove these modules

    supervisor.end_if_interrupted()
    uv_install = supervisor.start([binary, "pip", arguments.subcommand, *arguments.rest])
    status = supervisor.wait(uv_install, meanwhile=load)

    if environment is None and status == 0:  # there was none, and now there should be
        answer = Question(binary, arguments, supervisor).answer()
        environment = Environment.of(answer, supervisor)
    if environment is not None:
        now = Snapshot.of(environment)
        complete = not before.is_outdated(environment, now) or _after_install().rename_new(
            environment, before, exclude, supervisor, _messages(arguments)
        )
        if complete and status == 0 and not arguments.quiet and misses(before, now):
            _after_install().suggest_first_fix(
                environment, before, now, exclude, _messages(arguments)
            )
    else:
        complete = status != 0
        if not complete:
            messages = _messages(arguments)
            because = answer.failure and f" ({answer.failure})"
            messages.warning(f"uv did not say where it installed: nothing was renamed{because}")
            messages.suggest_fix("PATH_OF_THE_ENVIRONMENT")
    return supervisor.finish(status if status != 0 or complete else NOT_RENAMED)


def misses(before: Snapshot, now: Snapshot) -> bool:
    """Return True if a directory in `before` has a name that the setuptools in `now` misses."""
    if not (now.setuptools and before.states):
        return False
    from uvshim.rename.setuptools import missed_names

    return any(missed_names(before, now))


def load() -> None:
    """Import what a rename needs, while uv is at work."""
    _after_install()


def _after_install() -> ModuleType:
    """Return the module `after_install`: importing it costs more than a run with nothing to do."""
    from uvshim import after_install, messages  # noqa: F401

    return after_install
