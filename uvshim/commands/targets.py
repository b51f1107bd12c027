"""The environments and images on the command line of `uvshim`."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from uvshim.environments import discovery
from uvshim.environments.search_path import CONFIGURATION
from uvshim.errors import EnvironmentUnknownError, UvshimError
from uvshim.messages import printable, quoted
from uvshim.uv import process
from uvshim.uv.arguments import Arguments
from uvshim.uv.question import Question
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    import argparse

    from uvshim.environments.environment import Environment
    from uvshim.messages import Messages


def apart(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the words that name environments, and those that name images.

    Raise `UvshimError` if a file of names cannot be read, or has no names.
    """
    if "-" in options.environments and "-" in options.images:
        raise UvshimError(
            "standard input is either an image (`-`) or a list of images (`--images -`)"
        )
    listed = [name for path in options.images for name in _listed(path)]
    images = [word for word in options.environments if _is_image(word)]
    environments = [word for word in options.environments if word not in images]
    if options.images and not listed:
        raise UvshimError(f"`{options.images[0]}` names no images")
    if options.platform is not None and not (images or listed):
        raise UvshimError("`--platform` is for images, and none is named")
    return environments, list(dict.fromkeys(images + listed))


def _is_image(word: str) -> bool:
    """Return True if `word` names an image. For other directories, nothing for images is loaded."""
    if os.path.isdir(word) and not os.path.isfile(os.path.join(word, "index.json")):
        return False
    from uvshim.images import reference

    return reference.parse(word) is not None


def _listed(path: str) -> list[str]:
    """Return the names in the file at `path`, one a line; ``#`` begins a comment."""
    try:
        is_input = path == "-"
        with open(0 if is_input else path, encoding="utf-8-sig", closefd=not is_input) as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UvshimError(f"`{path}` cannot be read: {reason}") from None
    return [name for line in lines if (name := re.split(r"(?:^|\s)#", line)[0].strip())]


def environments(words: list[str], messages: Messages) -> list[Environment]:
    """Return the environments that `words` name; without any, the one uv would install into.

    With ``-v``, `messages` names what is not searched. Raise `UvshimError`, also if a directory
    cannot be listed.
    """
    try:
        found = [found for word in words for found in _named(word, messages)] if words else _usual()
        for each in found:
            each.dist_infos  # noqa: B018  # what cannot be listed is not an ok environment
    except OSError as error:
        where = f"`{printable(error.filename)}`" if error.filename else "the working directory"
        raise EnvironmentUnknownError(f"{where}: {error.strerror}") from None
    return list(dict.fromkeys(found))


def _usual() -> list[Environment]:
    supervisor = Supervisor()
    answer = Question([process.find_uv()], Arguments([]), supervisor).answer()
    supervisor.end_if_interrupted()
    supervisor.release()
    if not answer.known:
        fault = "uv finds no environment here"
        raise EnvironmentUnknownError(f"{fault}. Name one, as in: uvshim check .venv")
    named = discovery.find(answer.directory or answer.root or "")
    return [found.with_lock(answer.lock) for found in named]


def _named(word: str, messages: Messages) -> list[Environment]:
    skipped = "`{}` is a cache or a store of images, and not searched"
    try:
        return discovery.find(word, lambda path: messages.detail(skipped.format(path)))
    except EnvironmentUnknownError:
        if what := refusal(word):
            raise EnvironmentUnknownError(f"`{printable(word)}` {what}") from None
        raise


def refusal(word: str) -> str:
    """Return the error for `word`, which is not an environment: what it is, and what works.

    It is "" if `discovery` knows better.
    """
    if not word:
        return ""
    if not os.path.lexists(word):
        return _absence(word)
    if os.path.isdir(word):
        return _directory(word)
    if word.endswith(".whl"):
        return "is a wheel. Install it, then name the environment"
    if os.path.basename(word).startswith("python") and os.access(word, os.X_OK):
        return (
            "is a program that starts a Python elsewhere. "
            f"Name its environment: {quoted(word)} -c 'import sys; print(sys.prefix)'"
        )
    return "is a file, but neither a Python interpreter nor an image archive"


def _absence(word: str) -> str:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):
        os.lstat(word)  # PermissionError: a directory above may not be searched
    if found := process.on_path(word):
        return f"does not exist here. On PATH it is `{printable(found)}`"
    place, colon, _ = word.partition(":")
    if colon and os.path.exists(place):
        transport = "oci" if os.path.isdir(place) else "docker-archive"
        return (
            f"does not exist. An image in `{printable(place)}` is `{transport}:{printable(word)}`"
        )
    is_path = word.startswith((".", "/", "~")) or word.endswith((".tar", ".gz"))
    if not is_path and "://" not in word and ("/" in word or ":" in word):
        return f"does not exist. An image in a registry is `docker://{printable(word)}`"
    return "does not exist"


def _directory(word: str) -> str:
    if os.path.isfile(os.path.join(word, CONFIGURATION)) or os.path.isdir(f"{word}/etc"):
        return ""
    inside = os.path.join(word, ".venv")
    if os.path.isfile(os.path.join(inside, CONFIGURATION)):
        return f"is not an environment, but contains one. Name `{printable(inside)}`"
    above = os.path.abspath(word)
    while above != (above := os.path.dirname(above)):
        if os.path.isfile(os.path.join(above, CONFIGURATION)):
            return f"is only a part of an environment. Name `{printable(above)}`"
    listed = os.listdir(word)
    if "pyproject.toml" in listed:
        return f"is a project without an environment. `uv sync` creates `{printable(inside)}`"
    if {"manifest.json", "version"}.issubset(listed):  # skopeo, transport "dir"
        return f"is not an environment. As an image it is `dir:{printable(word)}`"
    return "" if listed else "is an empty directory"
