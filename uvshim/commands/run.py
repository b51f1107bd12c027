"""`uvshim run`: the care of `uvpip` round any other command."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from uvshim import after_install, config
from uvshim.commands import install_targets, targets
from uvshim.environments import discovery
from uvshim.environments.snapshot import Snapshot
from uvshim.errors import NOT_RENAMED, EnvironmentUnknownError, UvshimError
from uvshim.messages import printable
from uvshim.uv import process
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    import argparse

    from uvshim.environments.environment import Environment
    from uvshim.messages import Messages

    # What tells one environment from another: its path and directories, of which a prefix with more
    # than one Python has several.
    _Key = tuple[str, ...]


def main(options: argparse.Namespace, messages: Messages) -> int:
    """Run a command, and rename what it has written to the environments it may install into."""
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        message = "There is no command to run. Example: uvshim run -- uv sync"
        raise UvshimError(message)
    program = process.on_path(words[0])
    if program is None:
        messages.error(f"`{printable(words[0])}` is not a program that can be run")
        return 127
    if config.disabled():
        process.replace([program, *words[1:]])
    supervisor = Supervisor()
    exclude = config.excluded(process.working_directory())
    command = [program, *words[1:]]
    environments = {
        key: (environment, Snapshot.of(environment))
        for key, environment in _installed_into(options.env, command, supervisor).items()
    }
    for environment, _ in environments.values():
        if environment.holds(__file__):
            # Now: the command may replace or remove these modules.
            after_install.load_everything()
    nothing = Snapshot.of(None)

    supervisor.end_if_interrupted()
    status = supervisor.wait(supervisor.start(command))

    known = {path for key in environments for path in key}
    for key, environment in _installed_into(options.env, command, supervisor).items():
        if not known.issuperset(key):
            environments[key] = (environment, nothing)
    changed = [each for each in environments.values() if each[1].is_outdated(each[0])]
    renamed = [after_install.rename_new(*each, exclude, supervisor, messages) for each in changed]
    complete = all(renamed)
    if not environments and status == 0:
        messages.warning("It is not known where that installs: nothing was renamed (see --env)")
        complete = False
    elif not (changed or status or options.env or install_targets.is_known(command)):
        looked = ", ".join(f"`{printable(each.path)}`" for each, _ in environments.values())
        unknown = f"It is not known where `{printable(words[0])}` installs"
        messages.note(f"{unknown}: nothing is new in {looked} (see --env)")
    return supervisor.finish(status if status != 0 or complete else NOT_RENAMED)


def _installed_into(
    option: str | None, command: list[str], supervisor: Supervisor
) -> dict[_Key, Environment]:
    """Return the environments that `command` may install into, which `option` may name."""
    if option is None:
        found = list(install_targets.of(command, supervisor))
    else:
        found = []
        with contextlib.suppress(EnvironmentUnknownError):  # not yet
            found = [targets.with_lock(each, supervisor) for each in discovery.find(option)]
    return {
        (os.path.realpath(each.path), *map(os.path.realpath, each.on_disk)): each for each in found
    }
