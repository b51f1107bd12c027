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
    from collections.abc import Collection

    from uvshim.environments.environment import Environment
    from uvshim.environments.snapshot import Snapshot
    from uvshim.messages import Messages
    from uvshim.uv.supervisor import Supervisor

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

# The first releases of setuptools whose pkg_resources finds a name however it is spelled, and that
# have none.
_FINDS_EVERY_SPELLING = 62
_WITHOUT_PKG_RESOURCES = 82


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
        load()  # now: uv may replace or remove these very modules
        in_use(environment, before, before)

    supervisor.end_if_interrupted()
    uv_install = supervisor.start([binary, "pip", arguments.subcommand, *arguments.rest])
    status = supervisor.wait(uv_install, meanwhile=load)

    if environment is None and status == 0:  # there was none, and now there should be
        answer = Question(binary, arguments, supervisor).answer()
        environment = Environment.of(answer, supervisor)
    if environment is not None:
        now = Snapshot.of(environment)
        complete = not before.new_in(environment, now) or rename_new(
            environment, before, exclude, supervisor, _messages(arguments)
        )
        if complete and status == 0 and not arguments.quiet:
            _hint_at_what_stood_there(environment, before, now, exclude, arguments)
    else:
        complete = status != 0
        if not complete:
            messages = _messages(arguments)
            because = answer.failure and f" ({answer.failure})"
            messages.warning(f"uv did not say where it installed: nothing was renamed{because}")
            messages.suggest_fix("PATH_OF_THE_ENVIRONMENT")
    return supervisor.finish(status if status != 0 or complete else NOT_RENAMED)


def rename_new(
    environment: Environment,
    before: Snapshot,
    exclude: list[str],
    supervisor: Supervisor,
    messages: Messages,
) -> bool:
    """Rename what is new in `environment` since `before` and has a dotted name; say what was done.

    `exclude` are the patterns of the names that are left alone. Returns whether everything that
    was to be renamed was.
    """
    from uvshim.environments.snapshot import Snapshot
    from uvshim.rename import on_disk
    from uvshim.uv.lock import LockInterruptedError, uv_lock

    is_excluded = config.matcher(exclude)
    try:
        with uv_lock(environment.lock, supervisor.interrupted, messages.waiting):
            # Looked for once more: under the lock no other uv is half way through a directory.
            now = Snapshot.of(environment)
            outcome = on_disk.rename(
                before.new_in(environment, now),
                lambda name: "." in name and not is_excluded(name),
                in_use=in_use(environment, before, now),
            )
    except LockInterruptedError:
        messages.warning("Interrupted while another uv had the lock: nothing was renamed")
        messages.suggest_fix(environment.path)
        return False
    messages.outcome(outcome)
    if outcome.left_alone:
        messages.suggest_fix(environment.path)
    return not outcome.left_alone


def _hint_at_what_stood_there(
    environment: Environment,
    before: Snapshot,
    now: Snapshot,
    exclude: list[str],
    arguments: Arguments,
) -> None:
    """Say how to rename what stood there `before` under a name that pkg_resources does not find."""
    from uvshim.environments.snapshot import dotted_names

    for name in dotted_names(before, now):
        key = name.lower().replace(".", "-").replace("_", "-")
        is_meant = exclude and config.matcher(exclude)(name)
        if not is_meant and key not in in_use(environment, before, before):
            _messages(arguments).suggest_first_fix(environment.path, name)
            return


def load() -> None:
    """Import what a rename needs: too much for a run that has nothing to rename."""
    from uvshim import messages  # noqa: F401
    from uvshim.rename import on_disk  # noqa: F401
    from uvshim.uv import lock  # noqa: F401


def in_use(environment: Environment, before: Snapshot, now: Snapshot) -> Collection[str]:
    """Return the keys that must remain findable, where one pkg_resources finds one spelling only.

    That is one of setuptools before 62, as `check.spelling` says.
    """
    names = map(os.path.basename, now.setuptools)
    majors = [name.partition("-")[2].partition(".")[0] for name in names]
    known = [int(each) for each in majors if each.isdigit()]
    brought = [each for each in known if each < _WITHOUT_PKG_RESOURCES]
    if brought and min(brought) >= _FINDS_EVERY_SPELLING:
        return ()
    if not brought and environment.is_alone():
        return ()
    from uvshim.check import spelling

    return spelling.in_use_after(environment, before, now)
