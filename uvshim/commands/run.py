"""`uvshim run`: the care of `uvpip` round any other command."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from uvshim import config
from uvshim.commands import named
from uvshim.environments import installation
from uvshim.environments.environment import Environment
from uvshim.environments.snapshot import Snapshot
from uvshim.errors import EnvironmentUnknownError, UvNotFoundError, UvshimError
from uvshim.uv import process
from uvshim.uv.arguments import Arguments
from uvshim.uv.question import Question
from uvshim.uv.supervisor import Supervisor
from uvshim.uvpip import NOT_RENAMED, load, rename_new

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from uvshim.environments.installation import Installation
    from uvshim.messages import Messages


def main(options: argparse.Namespace, messages: Messages) -> int:
    """Run a command, and rename what it has written to the environments it may install into."""
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        message = "There is no command to run. Example: uvshim run -- uv sync"
        raise UvshimError(message)
    program = process.on_path(words[0])
    if program is None:
        messages.error(f"`{words[0]}` is not a program that can be run")
        return 127
    if config.disabled():
        process.replace([program, *words[1:]])
    supervisor = Supervisor()
    exclude = config.excluded(process.working_directory())
    command = [program, *words[1:]]
    places = {
        os.path.realpath(place.path): (place, Snapshot.of(place))
        for place in _installed_into(options.env, command, supervisor)
    }
    if any(place.holds(__file__) for place, _ in places.values()):
        load()  # now: the command may replace or remove these very modules
    nothing = Snapshot.of(None)

    supervisor.end_if_interrupted()
    status = supervisor.wait(supervisor.start(command), meanwhile=load)

    for place in _installed_into(options.env, command, supervisor):
        places.setdefault(os.path.realpath(place.path), (place, nothing))
    complete = True
    for place, before in places.values():
        if before.new_in(place):
            complete = rename_new(place, before, exclude, supervisor, messages) and complete
    if not places and status == 0:
        messages.warning("it is not known where that installs: nothing was renamed (see --env)")
        complete = False
    return supervisor.finish(status if status != 0 or complete else NOT_RENAMED)


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
                named.with_lock(found, supervisor).environment()
                for found in installation.find(option)
            )
        return
    if name.startswith(("pip", "python", "pypy", "graalpy")) and (
        own := installation.of_program(program)
    ):
        yield named.with_lock(own, supervisor).environment()
    arguments = Arguments(words if name == "uv" else [])
    if project := _project_environment(arguments):
        yield project.environment()
    try:
        binary = process.find_uv()
    except UvNotFoundError:
        return
    chosen = Arguments(words[1:] if name == "uv" and words[:1] == ["pip"] else [])
    if environment := Environment.of(Question(binary, chosen, supervisor).answer(), supervisor):
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
