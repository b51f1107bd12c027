"""`uvpip`: `uv pip install`, after which every distribution is found under the name it has."""

from __future__ import annotations

import sys

from uvshim import __version__, config
from uvshim.errors import UvshimError
from uvshim.messages import Report, printable
from uvshim.uv import process, question
from uvshim.uv.arguments import Arguments

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

# What uvpip ends with where uv succeeded and a name could not be put right.
NOT_PUT_RIGHT = 3


def main() -> int:
    """Run the command line of `uvpip` and return its exit code."""
    process.open_standard_streams()
    words = sys.argv[1:]
    arguments = Arguments(words)
    report = Report(color=arguments.color, quiet=arguments.quiet > 0, verbose=arguments.verbose > 0)
    try:
        binary = process.find_uv()
        if arguments.installs and not config.disabled():
            return _install(binary, arguments, report)
        if not config.disabled():
            _introduce(arguments, binary)
        process.replace([binary, "pip", arguments.subcommand, *arguments.rest])
    except UvshimError as error:
        report.error(str(error))
        return error.exit_code
    except OSError as error:
        where = "" if error.filename is None else f"`{printable(str(error.filename))}`: "
        report.error(f"{where}{error.strerror}")
        return UvshimError.exit_code


def _introduce(arguments: Arguments, binary: str) -> None:
    """Print our own part of the help, or become what prints the versions."""
    if arguments.help:
        process.write(USAGE)
    elif arguments.version and arguments.subcommand == "install":
        process.write(f"uvshim {__version__}\n")
        process.replace([binary, "--version"])


def _install(binary: str, arguments: Arguments, report: Report) -> int:
    """Ask where uv will write, look, run it, look again, and put right what it wrote."""
    from uvshim.uv.supervisor import Supervisor  # noqa: PLC0415

    supervisor = Supervisor()  # before anything is started: what runs must end when we end
    asked = question.Question(binary, arguments, supervisor)
    # While uv is at work on the answer we load what is needed once it is there.
    from uvshim.environments.environment import Environment  # noqa: PLC0415
    from uvshim.watch import Watch, load  # noqa: PLC0415

    environment = Environment.of(asked.answer(), supervisor)
    exclude = config.excluded(asked.project)
    if supervisor.signalled:
        return supervisor.finish(-supervisor.signalled)
    watch = Watch(environment)

    uv_install = supervisor.start([binary, "pip", arguments.subcommand, *arguments.rest])
    status = supervisor.wait(uv_install, meanwhile=load)

    if environment is None and status == 0:
        answer = question.Question(binary, arguments, supervisor).answer()
        environment = Environment.of(answer, supervisor)
    if environment is not None:
        complete = watch.put_right(environment, exclude, supervisor, report)
    else:
        complete = status != 0
        if not complete:
            report.warning("uv did not say where it installed: no name was put right")
            report.mend("PATH_OF_THE_ENVIRONMENT")
    return supervisor.finish(status if status != 0 or complete else NOT_PUT_RIGHT)
