"""What a person names on the command line of `uvshim`: environments, and images."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from uvshim.environments import discovery
from uvshim.errors import EnvironmentUnknownError, UvNotFoundError, UvshimError
from uvshim.messages import printable
from uvshim.uv import process
from uvshim.uv.arguments import Arguments
from uvshim.uv.question import Question
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    import argparse

    from uvshim.environments.environment import Environment
    from uvshim.messages import Messages


def apart(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return those words that name environments, and those that name images.

    Raises `UvshimError` if a file of names cannot be read, or names none.
    """
    if "-" in options.environments and "-" in options.images:
        message = "standard input is either an image (`-`) or a list of images (`--images -`)"
        raise UvshimError(message)
    listed = [name for path in options.images for name in _listed(path)]
    images = [word for word in options.environments if _is_image(word)]
    environments = [word for word in options.environments if word not in images]
    if options.images and not listed:
        message = f"`{options.images[0]}` names no images"
        raise UvshimError(message)
    return environments, list(dict.fromkeys(images + listed))


def _is_image(word: str) -> bool:
    """Say whether `word` names an image. For a directory that is none, their wing is not loaded."""
    if os.path.isdir(word) and not os.path.isfile(os.path.join(word, "index.json")):
        return False
    from uvshim.images import reference

    return reference.parse(word) is not None


def _listed(path: str) -> list[str]:
    """Return the names in the file at `path`, one a line; ``#`` begins a comment."""
    try:
        if path == "-":
            lines = sys.stdin.read().removeprefix("\ufeff").splitlines()
        else:
            with open(path, encoding="utf-8-sig") as file:
                lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"`{path}` cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UvshimError(message) from None
    return [name for line in lines if (name := re.split(r"(?:^|\s)#", line)[0].strip())]


def environments(words: list[str], messages: Messages) -> list[Environment]:
    """Return the environments that `words` name; without any, the one uv would install into.

    With ``-v``, `messages` says what is not looked into.

    Raises `EnvironmentUnknownError` or `UvNotFoundError`.
    """
    if words:

        def skipped(path: str) -> None:
            messages.detail(f"`{printable(path)}` is a cache, and not looked into")

        return [found for word in words for found in discovery.find(word, skipped)]
    supervisor = Supervisor()
    answer = Question(process.find_uv(), Arguments([]), supervisor).answer()
    supervisor.end_if_interrupted()
    supervisor.release()
    if not answer.known:
        message = "uv finds no environment here. Name one, as in: uvshim check .venv"
        raise EnvironmentUnknownError(message)
    named = discovery.find(answer.directory or answer.root or "")
    return [found.with_lock(answer.lock) for found in named]


def with_lock(found: Environment, supervisor: Supervisor) -> Environment:
    """Return `found` with its lock. Only uv knows that of a Python which is not a virtual one."""
    if found.lock is not None or found.tree.root is not None:
        return found
    try:
        binary = process.find_uv()
    except UvNotFoundError:
        return found
    choice = Arguments(["--python", found.path, "--break-system-packages"])
    return found.with_lock(Question(binary, choice, supervisor).answer().lock)
