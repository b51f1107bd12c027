"""The environments and images on the command line of `uvshim`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import TYPE_CHECKING

from uvshim.environments import discovery, interpreter
from uvshim.environments.environment import usual_site_packages
from uvshim.environments.search_path import CONFIGURATION
from uvshim.errors import EnvironmentUnknownError, UvNotFoundError, UvshimError
from uvshim.messages import printable, quoted
from uvshim.uv import process
from uvshim.uv.arguments import Arguments
from uvshim.uv.question import Question
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

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
        if path == "-":
            lines = sys.stdin.read().removeprefix("\ufeff").splitlines()
        else:
            with open(path, encoding="utf-8-sig") as file:
                lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UvshimError(
            f"`{path}` cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
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
        where = printable(str(error.filename))
        raise EnvironmentUnknownError(f"`{where}`: {error.strerror}") from None
    return list(dict.fromkeys(found))


def _usual() -> list[Environment]:
    """Return the environment that uv would install into."""
    supervisor = Supervisor()
    answer = Question([process.find_uv()], Arguments([]), supervisor).answer()
    supervisor.end_if_interrupted()
    supervisor.release()
    if not answer.known:
        raise EnvironmentUnknownError(
            "uv finds no environment here. Name one, as in: uvshim check .venv"
        )
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
    """Return the error for `word`, which is not an environment: what it is, and what works."""
    if not os.path.lexists(word):
        return _absence(word)
    if not os.path.isdir(word):
        if word.endswith(".whl"):
            return "is a wheel. Install it, then name the environment"
        if os.path.basename(word).startswith("python") and os.access(word, os.X_OK):
            return (
                "is a program that starts a Python elsewhere. "
                f"Name its environment: {quoted(word)} -c 'import sys; print(sys.prefix)'"
            )
        return "is a file, but neither a Python interpreter nor an image archive"
    if os.path.isfile(os.path.join(word, "pyvenv.cfg")) or os.path.isdir(os.path.join(word, "etc")):
        return ""
    return _directory(word)


def _absence(word: str) -> str:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):
        os.lstat(word)  # PermissionError: a directory above may not be searched
    if found := process.on_path(word):
        return f"does not exist here. On PATH it is `{printable(found)}`"
    is_path = word.startswith((".", "/", "~")) or word.endswith((".tar", ".gz"))
    if not is_path and ("/" in word or ":" in word):
        return f"does not exist. An image in a registry is `docker://{printable(word)}`"
    return "does not exist"


def _directory(word: str) -> str:
    """Return what the directory `word` is, if it is neither an environment nor a file system."""
    inside = os.path.join(word, ".venv")
    if os.path.isfile(os.path.join(inside, "pyvenv.cfg")):
        return f"is not an environment, but contains one. Name `{printable(inside)}`"
    above = os.path.abspath(word)
    while above != (above := os.path.dirname(above)):
        if os.path.isfile(os.path.join(above, "pyvenv.cfg")):
            return f"is only a part of an environment. Name `{printable(above)}`"
    listed = os.listdir(word)
    if not listed:
        return "is an empty directory"
    if "pyproject.toml" in listed:
        return f"is a project without an environment. `uv sync` creates `{printable(inside)}`"
    return (
        "is not an environment: it has no pyvenv.cfg, no site-packages directory and no "
        "*.dist-info directory"
    )


def locks(environments: list[Environment], supervisor: Supervisor) -> list[str]:
    """Return the files that a uv may lock while it installs into `environments`.

    They are in the same order for every caller, so that two of them do not wait for each other.
    """
    files: dict[tuple[int, int], str] = {}
    paths = {path for each in environments for path in _locks(each, supervisor) if path}
    for path in sorted(paths):
        with contextlib.suppress(OSError):
            status = os.stat(path)
            # We would wait for ourselves if a file were locked by two of its paths.
            files.setdefault((status.st_dev, status.st_ino), path)
    return [files[key] for key in sorted(files)]


def _locks(found: Environment, supervisor: Supervisor) -> Iterator[str | None]:
    """Yield the files that a uv may lock, existing or not.

    For a Python that is not virtual, that depends on the name by which uv runs it: so all its names
    are asked for. A uv outside of it installs into no other root than that of this machine.
    """
    tree = found.tree
    yield found.lock
    for place in {found.path, tree.real(found.path) or found.path}:
        root = interpreter.root_of(place) if found.path in found.site_packages else place
        is_usual = place in usual_site_packages(root, tree.names)
        for each in {place, root if is_usual else place}:
            yield tree.on_disk(os.path.join(each, ".lock"))
        if tree.root not in {None, "/"} or tree.is_file(os.path.join(root, CONFIGURATION)):
            continue
        version = interpreter.series(*found.site_packages)
        for name in tree.names(os.path.join(root, "bin")):
            is_python = name.rstrip("0123456789.t") in {"python", "pypy"}
            if is_python and interpreter.series(name) in {None, version}:
                yield lock_of_python(os.path.join(root, "bin", name), supervisor)


def lock_of_python(python: str, supervisor: Supervisor) -> str | None:
    """Return the file that uv locks for a `python` that is not virtual; None without a uv."""
    try:
        binary = process.find_uv()
    except UvNotFoundError:
        return None
    choice = Arguments(["--python", python, "--break-system-packages"])
    return Question([binary], choice, supervisor).answer().lock
