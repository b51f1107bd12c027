"""`uvshim run`: do what `uvpip` does, for any other command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uvshim import after_install, config, imports
from uvshim.commands import install_targets, pythons
from uvshim.commands.pythons import Targets
from uvshim.environments import discovery
from uvshim.environments.interpreter import is_python
from uvshim.environments.snapshot import Snapshot
from uvshim.errors import (
    NOT_RENAMED,
    CannotRunError,
    EnvironmentUnknownError,
    UvNotFoundError,
    UvshimError,
)
from uvshim.messages import printable
from uvshim.uv import process
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from uvshim.environments.environment import Environment
    from uvshim.messages import Messages


def main(options: argparse.Namespace, messages: Messages) -> int:
    """Run a command, and rename what it installs."""
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        raise UvshimError("There is no command to run. Example: uvshim run -- uv sync")
    command = [_program(words[0]), *words[1:]]
    if config.disabled():
        Supervisor().replace(command)
    place = _place(options.env)
    supervisor = Supervisor()
    found = _targets(place, command, supervisor)
    supervisor.end_if_interrupted()
    if found is None:
        supervisor.replace(command)
    exclude = config.excluded(found.project or process.working_directory())
    # By all their paths: a prefix may have several Pythons.
    seen = {_key(each): (each, Snapshot.of(each)) for each in found.environments}
    if not seen or any(imports.may_vanish(each.on_disk) for each in found.environments):
        imports.keep()  # the command may replace or remove our modules
    nothing = Snapshot.of(None)

    status = supervisor.wait(supervisor.start(command))
    # Nothing below may raise: what was installed would not be renamed.
    try:
        found = _targets(place, command, supervisor) or found
        known = {path for key in seen for path in key}
        for each in found.environments:
            if not known.issuperset(key := _key(each)):
                seen[key] = (each, nothing)
        changed = [each for each in seen.values() if each[1].is_outdated(each[0])]
        renamed = [
            after_install.rename_new(*each, exclude, supervisor, messages, finished=status == 0)
            for each in changed
        ]
        if place is not None and not seen:
            name = printable(options.env[0])
            messages.warning(f"`{name}` is not an environment: nothing was renamed")
            renamed = [False]
        elif not (changed or status):
            _report_nothing(words[0], found, (each for each, _ in seen.values()), messages)
        complete = all(renamed)
        _suggest_fix(seen.values(), exclude, messages, is_done=complete and status == 0)
    except Exception as error:  # noqa: BLE001
        messages.failure(error)
        complete = False
    return supervisor.finish(status if status != 0 or complete else NOT_RENAMED)


def _suggest_fix(
    seen: Iterable[tuple[Environment, Snapshot]],
    exclude: list[str],
    messages: Messages,
    *,
    is_done: bool,
) -> None:
    """If an install `is_done`, name the command for what was in the environments before."""
    for environment, before in seen if is_done else ():
        now = Snapshot.of(environment)
        if now.places != before.places:  # anything was installed
            after_install.suggest_fix(environment, before, now, exclude, messages)


def _program(word: str) -> str:
    """Return the path of the program that `word` names, as a shell finds it."""
    if found := process.on_path(word):
        return found
    is_missing = not os.path.dirname(word) or not os.path.exists(word)
    error = UvNotFoundError if is_missing else CannotRunError
    raise error(f"`{printable(word)}` is not a program that can be run")


def _place(named: list[str]) -> str | None:
    """Return the absolute path in `--env`: the command may remove the working directory."""
    if not named:
        return None
    if len(named) > 1:
        raise UvshimError("`--env` can be given once. Run `uvshim fix ENV…` for the others")
    (word,) = named
    if not word:
        raise UvshimError("`--env` names no environment: is a variable unset?")
    if not os.path.lexists(word) and is_python(word):
        word = process.on_path(word) or word
    return os.path.join(process.working_directory(), word)


def _targets(place: str | None, command: list[str], supervisor: Supervisor) -> Targets | None:
    """Return where `command` may install: the environment at `place`, if one is named."""
    if place is None:
        return install_targets.of(command, supervisor)
    try:
        found = [pythons.with_lock(each, supervisor) for each in discovery.find(place)]
    except EnvironmentUnknownError:
        if os.path.isfile(place):
            raise
        found = []  # the command may create it
    return Targets(found)


def _key(environment: Environment) -> tuple[str, ...]:
    return os.path.realpath(environment.path), *map(os.path.realpath, environment.on_disk)


def _report_nothing(
    word: str, found: Targets, seen: Iterable[Environment], messages: Messages
) -> None:
    """Report that nothing is new, if the command `word` may have installed elsewhere."""
    looked = ", ".join(f"`{printable(each.path)}`" for each in seen)
    nothing = f"nothing is new in {looked}" if looked else "there is no environment to look into"
    if found.is_known:
        messages.detail(nothing)
    else:
        messages.note(
            f"`{printable(word)}` does not say where it installs, and {nothing}. "
            "Name the environment with --env if something was installed"
        )
