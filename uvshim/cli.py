"""`uvshim`: check and mend environments that exist already, and wrap any other command."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

from uvshim import __version__, config
from uvshim.environments import installation
from uvshim.environments.environment import Environment
from uvshim.errors import EnvironmentUnknownError, UvNotFoundError, UvshimError
from uvshim.messages import Report, Style, printable
from uvshim.uv import lock, process, question
from uvshim.uv.arguments import Arguments
from uvshim.uv.supervisor import Supervisor
from uvshim.watch import Watch, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uvshim.environments.installation import Installation

# What `check` ends with where something is broken, and every command where it stays so.
BROKEN = 1
NOT_PUT_RIGHT = 3

_ENVIRONMENTS = """\
ENV is a virtual environment, a Python interpreter, a site-packages directory, or the root of a
file system, such as a mounted image. Without one it is the environment that `uv pip` would use.
"""


def main() -> int:
    """Run the command line of `uvshim` and return its exit code."""
    process.open_standard_streams()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    options = _parser().parse_args()
    report = Report(color=options.color, quiet=options.quiet > 0, verbose=options.verbose > 0)
    try:
        return int(options.run(options, report))
    except UvshimError as error:
        report.error(str(error))
        return error.exit_code
    except OSError as error:  # such as a directory that cannot be listed, or a pipe that is closed
        where = "standard output" if error.filename is None else printable(str(error.filename))
        if error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try again at its end
        if not isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
            report.error(f"{where}: {error.strerror}")
        return NOT_PUT_RIGHT if options.run is _fix else UvshimError.exit_code
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. Each command has its function in `run`."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-q", "--quiet", action="count", default=0, help="say less")
    common.add_argument("-v", "--verbose", action="count", default=0, help="say all there is")
    common.add_argument("--color", choices=("auto", "always", "never"), help="when to use colours")
    parser = argparse.ArgumentParser(
        prog="uvshim",
        description="Keep every distribution findable by pkg_resources under the name it has.",
    )
    parser.add_argument("--version", action="version", version=f"uvshim {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, summary: str, more: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            parents=[common],
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=more,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    check = command("check", "say what is broken, and what breaks because of it", _ENVIRONMENTS)
    check.add_argument("environments", nargs="*", metavar="ENV")
    check.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    check.set_defaults(run=_check)
    fix = command("fix", "put right what is broken", _ENVIRONMENTS)
    fix.add_argument("environments", nargs="*", metavar="ENV")
    fix.add_argument("--dry-run", action="store_true", help="only say what would be done")
    fix.set_defaults(run=_fix)
    wrap = command(
        "run",
        "run a command, and put right what it installs",
        "Example: uvshim run -- uv sync\n\nWithout --env it is the environment of the command, "
        "if that is a `pip` or `python`,\nthe project's `.venv`, and the one `uv pip` would use.\n",
    )
    wrap.add_argument("--env", metavar="ENV", help="the environment that the command installs into")
    wrap.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND…")
    wrap.set_defaults(run=_run)
    return parser


def _check(options: argparse.Namespace, _report: Report) -> int:
    """Diagnose every environment, and print the result to standard output."""
    from uvshim.check.diagnosis import diagnose  # noqa: PLC0415
    from uvshim.check.output import Examined, as_json, as_text  # noqa: PLC0415

    excluded = config.matcher(config.excluded(process.working_directory()))
    examined = []
    for found in _named(options.environments):
        for directory in found.mendable:
            os.listdir(directory)  # what cannot be looked at is no environment without faults
        diagnosis = diagnose(found.tree, found.visible, excluded=excluded)
        examined.append(Examined(found, diagnosis, excluded))
    if options.format == "json":
        sys.stdout.write(as_json(examined))
    else:
        style = Style(options.color, sys.stdout)
        for each in examined:
            if each.broken or not options.quiet:
                sys.stdout.write(as_text(each, style, everything=options.verbose > 0))
    sys.stdout.flush()
    return BROKEN if any(each.broken for each in examined) else 0


def _fix(options: argparse.Namespace, report: Report) -> int:
    """Put right every environment, one after the other."""
    found = _named(options.environments)
    excluded = config.matcher(config.excluded(process.working_directory()))
    supervisor = Supervisor()
    complete = True
    try:
        for each in found:
            place = _with_lock(each, supervisor)
            path = None if options.dry_run else place.lock
            # To the end: what uv is half way through would look like what is left of something.
            with lock.UvLock(path, supervisor.interrupted, report.waiting):
                mended = _mend(place, excluded, report, dry=options.dry_run)
                whole = _whole(place, excluded, report, dry=options.dry_run)
            complete = mended and whole and complete
    except lock.LockInterruptedError:
        report.warning("interrupted while another uv had the lock")
        complete = False
    return supervisor.finish(0 if complete else NOT_PUT_RIGHT)


def _mend(
    found: Installation, excluded: Callable[[str], bool], report: Report, *, dry: bool
) -> bool:
    """Rename what has a wrong name in the installation `found`. Returns whether all of it was."""
    from uvshim.rename.on_disk import renormalize_directories  # noqa: PLC0415

    begin = time.monotonic()
    paths = [
        os.path.join(directory, name)
        for directory in found.environment().site_packages()
        for name in sorted(os.listdir(directory))
        if name.endswith(".dist-info") and name[0] != "~"  # which pip has put aside
    ]
    outcome = renormalize_directories(paths, lambda name: not excluded(name), dry=dry)
    word = "Would renormalize" if dry else "Renormalized"
    report.renamed(outcome.renamed, time.monotonic() - begin, word)
    for each in outcome.left:
        report.left(each)
    return not outcome.left


def _whole(
    found: Installation, excluded: Callable[[str], bool], report: Report, *, dry: bool
) -> bool:
    """Say which distributions in `found` no rename can mend, and which commands do."""
    from uvshim.check.diagnosis import DUPLICATE, GHOST, diagnose  # noqa: PLC0415
    from uvshim.check.output import Examined, reinstalls  # noqa: PLC0415

    diagnosis = diagnose(found.tree, found.site_packages, excluded=excluded)
    examined = Examined(found, diagnosis, excluded)
    complete = True
    for finding in examined.wrong:
        path, name = printable(finding.path), printable(finding.name)
        if finding.kind == GHOST:
            report.warning(f"`{path}` is left of {name}, whose code is gone")
        elif finding.kind == DUPLICATE:
            report.warning(f"`{path}` is one of several of {name}")
        elif not dry and found.belongs_to_system(finding.path):
            report.warning(f"`{path}` is a file of the system's packages, and was left alone")
        else:
            continue
        complete = False
    for command in reinstalls(examined):
        report.hint(command)
    return complete


def _run(options: argparse.Namespace, report: Report) -> int:
    """Run a command, watching the environments that it may install into."""
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        message = "There is no command to run. Example: uvshim run -- uv sync"
        raise UvshimError(message)
    program = process.on_path(words[0])
    if program is None:
        report.error(f"`{words[0]}` is not a program that can be run")
        return 127
    if config.disabled():
        process.replace([program, *words[1:]])
    supervisor = Supervisor()
    exclude = config.excluded(process.working_directory())
    command = [program, *words[1:]]
    watched = {
        os.path.realpath(place.path): (place, Watch(place))
        for place in _installed_into(options.env, command, supervisor)
    }
    created = Watch(None)

    status = supervisor.wait(supervisor.start(command), meanwhile=load)

    for place in _installed_into(options.env, command, supervisor):
        watched.setdefault(os.path.realpath(place.path), (place, created))
    complete = True
    for place, watch in watched.values():
        complete = watch.put_right(place, exclude, supervisor, report) and complete
    if not watched and status == 0:
        report.warning("it is not known where that installs: no name was put right (see --env)")
        complete = False
    return supervisor.finish(status if status != 0 or complete else NOT_PUT_RIGHT)


def _named(words: list[str]) -> list[Installation]:
    """Return the installations that the person named, or the one that uv would install into.

    Raises `EnvironmentUnknownError` or `UvNotFoundError`.
    """
    if words:
        return [found for word in words for found in installation.find(word)]
    supervisor = Supervisor()
    target = question.Question(process.find_uv(), Arguments([]), supervisor).answer()
    supervisor.release()
    if not target.known:
        message = "uv finds no environment here. Name one, as in: uvshim check .venv"
        raise EnvironmentUnknownError(message)
    named = installation.find(target.directory or target.root or "")
    return [found._replace(lock=target.lock) for found in named]


def _with_lock(found: Installation, supervisor: Supervisor) -> Installation:
    """Return `found` with its lock. Only uv knows that of a Python which is no virtual one."""
    if found.lock is not None or found.tree.root is not None:
        return found
    try:
        binary = process.find_uv()
    except UvNotFoundError:
        return found
    choice = Arguments(["--python", found.path, "--break-system-packages"])
    return found._replace(lock=question.Question(binary, choice, supervisor).answer().lock)


def _installed_into(
    option: str | None, command: list[str], supervisor: Supervisor
) -> Iterator[Environment]:
    """Yield the environments, as far as they exist now, that `command` may install into.

    It is the one that `option` names; without, that of a `pip` or `python` itself, the project's
    of `uv sync`, and the one that `uv pip` would use, with the command's own options if it is one.
    """
    program, *words = command
    name = os.path.basename(program)
    if option is not None:
        with contextlib.suppress(EnvironmentUnknownError):  # not yet
            yield from (
                _with_lock(found, supervisor).environment() for found in installation.find(option)
            )
        return
    if name.startswith(("pip", "python", "pypy", "graalpy")) and (
        own := installation.of_program(program)
    ):
        yield _with_lock(own, supervisor).environment()
    arguments = Arguments(words if name == "uv" else [])
    if project := _project_environment(arguments):
        yield project.environment()
    try:
        binary = process.find_uv()
    except UvNotFoundError:
        return
    chosen = Arguments(words[1:] if name == "uv" and words[:1] == ["pip"] else [])
    if environment := Environment.of(
        question.Question(binary, chosen, supervisor).answer(), supervisor
    ):
        yield environment


def _project_environment(arguments: Arguments) -> Installation | None:
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
                return installation.find(path)[0]
            return None
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent
