"""`uvpip`: run `uv pip install`, then rename what it installed so that pkg_resources finds it."""

from __future__ import annotations

import gc
import os
import sys

from uvshim import __version__, config, imports
from uvshim.errors import NOT_RENAMED, UvNotFoundError, UvshimError
from uvshim.uv import process
from uvshim.uv.arguments import Arguments

# Functions import what only some runs need: it takes a good part of a run with nothing to do.
TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from uvshim.environments.snapshot import Snapshot
    from uvshim.messages import Messages

USAGE = """\
uvpip: runs `uv pip install`, then renames what pkg_resources would not find under its own name.

Usage: uvpip [ARGUMENTS OF `uv pip install`]
       uvpip [GLOBAL OPTIONS OF uv] {install|sync|uninstall|list|…} [ARGUMENTS OF IT]

Environment variables:
  UVSHIM_UV=PATH         The uv to run
  UVSHIM_EXCLUDE=A,B.*   Distributions whose directories are not renamed
  UVSHIM_DISABLE=1       Run uv and do nothing else

uv gets all arguments unchanged. This is uv's help:

"""


def main() -> int:
    """Run the command line of `uvpip` and return its exit code."""
    if sys.platform == "win32":
        return _run_uv_alone()
    gc.disable()  # almost everything is needed until the end
    process.open_standard_streams()
    process.restore_environment()
    arguments = Arguments(sys.argv[1:])
    try:
        return _run(arguments)
    except Exception as error:  # noqa: BLE001
        return _messages(arguments).failure(error)


def _run(arguments: Arguments) -> int:
    """Wrap an install, or become uv for anything else."""
    binary = process.find_uv()  # first: it detects a uv that runs uvpip
    if config.disabled():
        return _become_uv(binary, arguments.command)
    if arguments.misplaced:
        raise UvshimError(_right_order(arguments.misplaced, sys.argv[1:]))
    if arguments.installs:
        return _install(binary, arguments)
    if arguments.version and arguments.subcommand == "install":
        return _become_uv(binary, ["--version"], before=f"uvshim {__version__}\n")
    return _become_uv(binary, arguments.command, before=USAGE if arguments.help else "")


def _become_uv(binary: str, words: list[str], before: str = "") -> int:
    """Replace this process by uv with `words`, after printing `before`.

    Raise `UvLoopError` if that uv runs uvpip again.
    """
    from uvshim.uv.supervisor import Supervisor

    supervisor = Supervisor()
    if process.is_script(binary):
        from uvshim.uv.question import Question

        Question([binary], Arguments([]), supervisor).refuse_loop()
    if before:
        process.write(before)
    supervisor.replace([binary, *words])


def _install(binary: str, arguments: Arguments) -> int:
    """Ask uv where it will write, look there, run uv, look again, and rename what is new."""
    from uvshim.uv.question import Question
    from uvshim.uv.supervisor import Supervisor

    supervisor = Supervisor()  # first: our children must end when we end
    question = Question([binary], arguments, supervisor)
    # These are loaded while uv works on the answer.
    from uvshim.environments.environment import Environment
    from uvshim.environments.snapshot import Snapshot

    answer = question.answer()
    exclude = config.excluded(answer.project)
    environment = Environment.of(answer, supervisor)
    before = Snapshot.of(environment)
    if environment is None or imports.may_vanish(environment.on_disk):
        imports.keep()  # uv may replace or remove our modules

    supervisor.end_if_interrupted()
    uv_install = supervisor.start([binary, *arguments.command])
    # Nothing below may raise: uv would continue alone, or its result would not be renamed.
    status = supervisor.wait(uv_install, while_waiting=load)
    try:
        if environment is None and status == 0:  # uv has just created it
            answer = Question([binary], arguments, supervisor).answer()
            environment = Environment.of(answer, supervisor)
        if environment is None:
            complete = status != 0 or _report_unknown(arguments)
        else:
            complete, now = True, Snapshot.of(environment)
            has_new = before.is_outdated(environment, now)
            if has_new:
                from uvshim.after_install import rename_new

                messages, finished = _messages(arguments), status == 0
                complete = rename_new(
                    environment, before, exclude, supervisor, messages, finished=finished
                )
            is_done = complete and status == 0 and not arguments.quiet
            if is_done and (has_new or _may_miss(before, now)):
                from uvshim.after_install import suggest_fix

                suggest_fix(environment, before, now, exclude, _messages(arguments))
    except Exception as error:  # noqa: BLE001
        _messages(arguments).failure(error)
        complete = False
    return supervisor.finish(status if status != 0 or complete else NOT_RENAMED)


def _may_miss(before: Snapshot, now: Snapshot) -> bool:
    """Return True if the setuptools beside what was there `before` may miss some of it.

    One elsewhere takes 20 ms to find: it counts only if something is new.
    """
    if not (now.setuptools and before.states):
        return False
    from uvshim.rename import setuptools

    return any(setuptools.missed_names(before, setuptools.beside(now), lambda: None))


def _report_unknown(arguments: Arguments) -> bool:
    """Report that uv did not say where it installed. Return False."""
    messages = _messages(arguments)
    messages.warning("uv did not say where it installed: nothing was renamed")
    messages.suggest_fix("PATH_OF_THE_ENVIRONMENT")
    return False


def _right_order(misplaced: str, words: list[str]) -> str:
    """Return the message for `words` with the subcommand `misplaced` in the wrong place."""
    from uvshim.messages import quoted

    rest = words.copy()
    rest.remove(misplaced)
    if misplaced == "pip":
        if second := Arguments(rest).misplaced:
            rest.remove(second)
            rest.insert(0, second)
        return f"uvpip already is `uv pip`: write `uvpip {' '.join(map(quoted, rest))}`"
    others = " ".join(map(quoted, rest))
    return (
        f"Write `{misplaced}` before the options: "
        f"`uvpip {misplaced} {others}`. For a project called {misplaced}: "
        f"`uvpip install {others} {misplaced}`"
    )


def _run_uv_alone() -> int:
    """Run uv, and report that nothing else happens. This is what uvpip does on Windows."""
    import subprocess

    arguments = Arguments(sys.argv[1:])
    if not arguments.quiet:
        sys.stderr.write("uvpip renames nothing on Windows: it only runs uv\n")
    uv = os.environ.get("UVSHIM_UV") or os.environ.get("UV") or "uv"
    try:
        return subprocess.call([uv, *arguments.command])
    except OSError as error:
        sys.stderr.write(f"error: `{uv}` cannot be run: {error.strerror}\n")
        return UvNotFoundError.exit_code


def _messages(arguments: Arguments) -> Messages:
    from uvshim.messages import Messages

    return Messages(color=arguments.color, quiet=arguments.quiet, verbose=arguments.verbose)


def load() -> None:
    """Import what a rename needs, while uv is at work."""
    from uvshim import after_install, messages  # noqa: F401
