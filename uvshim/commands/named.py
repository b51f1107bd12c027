"""What a person names on the command line of `uvshim`, as installations to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvshim.environments import installation
from uvshim.errors import EnvironmentUnknownError, UvNotFoundError
from uvshim.messages import printable
from uvshim.uv import process
from uvshim.uv.arguments import Arguments
from uvshim.uv.question import Question
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    from uvshim.environments.installation import Installation
    from uvshim.messages import Messages


def installations(words: list[str], messages: Messages) -> list[Installation]:
    """Return the installations that `words` name; without any, the one uv would install into.

    With ``-v``, `messages` says what is not looked into.

    Raises `EnvironmentUnknownError` or `UvNotFoundError`.
    """
    if words:

        def skipped(path: str) -> None:
            messages.detail(f"`{printable(path)}` is a cache, and not looked into")

        return [found for word in words for found in installation.find(word, skipped)]
    supervisor = Supervisor()
    answer = Question(process.find_uv(), Arguments([]), supervisor).answer()
    supervisor.end_if_interrupted()
    supervisor.release()
    if not answer.known:
        message = "uv finds no environment here. Name one, as in: uvshim check .venv"
        raise EnvironmentUnknownError(message)
    named = installation.find(answer.directory or answer.root or "")
    return [found._replace(lock=answer.lock) for found in named]


def with_lock(found: Installation, supervisor: Supervisor) -> Installation:
    """Return `found` with its lock. Only uv knows that of a Python which is not a virtual one."""
    if found.lock is not None or found.tree.root is not None:
        return found
    try:
        binary = process.find_uv()
    except UvNotFoundError:
        return found
    choice = Arguments(["--python", found.path, "--break-system-packages"])
    return found._replace(lock=Question(binary, choice, supervisor).answer().lock)
