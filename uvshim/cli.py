"""`uvshim`: check and fix existing environments and images, and wrap any other command."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from uvshim import __version__
from uvshim.errors import NOT_RENAMED, UvshimError
from uvshim.messages import Messages
from uvshim.uv import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_COMMANDS = ("check", "fix", "run", "pip")

_ENVIRONMENTS = (
    "ENV is a virtual environment, a Python interpreter, a site-packages directory, or the root of "
    "a file system, such as a mounted image. Without it: the environment that `uv pip` would use."
)
_IMAGES = (
    "IMAGE is a container image: a name that skopeo uses (docker://…, oci:DIR:TAG, "
    "docker-archive:FILE), or the path of an OCI layout, an archive, or a root file system's tar."
)


def main() -> int:
    """Run the command line of `uvshim` and return its exit code."""
    if sys.platform == "win32":
        sys.stderr.write("error: uvshim does not work on Windows\n")
        return UvshimError.exit_code
    gc.disable()  # almost everything is needed until the end; a survey of images turns it on again
    process.open_standard_streams()
    process.restore_environment()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    options = _parsed(sys.argv[1:])
    messages = Messages(color=options.color, quiet=options.quiet > 0, verbose=options.verbose > 0)
    _note_another_uvpip(messages)
    try:
        if options.command is None:
            options.parser.print_help()
            return 0
        return int(import_module(f"uvshim.commands.{options.command}").main(options, messages))
    except OSError as error:  # a directory cannot be listed, or a pipe is closed
        is_output = error.filename is None and _cannot_write()
        if not isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
            messages.os_error(error, "standard output" if is_output else "")
        return NOT_RENAMED if options.command == "fix" else UvshimError.exit_code
    except Exception as error:  # noqa: BLE001
        return messages.failure(error)


def _note_another_uvpip(messages: Messages) -> None:
    """Print a note if `uvpip` on PATH is a script of another project, such as uvpip-cli."""
    path = process.on_path("uvpip")
    if path is None:
        return
    try:
        with open(path, "rb") as script:
            start = script.read(4096)
    except OSError:
        return
    if b"uvpip" in start and b"uvshim" not in start:
        messages.note(f"`uvpip` on PATH is another project's ({path}): use `uvshim pip`")


def _cannot_write() -> bool:
    """Return True if standard output cannot be written. Then nothing more is written there."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try again when it exits
        return True
    return False


def _parsed(words: list[str]) -> argparse.Namespace:
    """Return the options in `words`. If they are wrong, end with the usage of the command."""
    top = parser()
    try:
        options, unknown = top.parse_known_args(words)
    except argparse.ArgumentError as error:
        similar = _similar_command(words) if error.argument_name == "COMMAND" else ""
        top.error(similar or str(error))
    if "environments" in options and not any(map(_is_option, unknown)):
        # argparse takes only names that stand together.
        options.environments += [word for word in unknown if word != "--"]
    elif unknown:
        options.parser.error(_unrecognized(unknown))
    return options


def _unrecognized(words: list[str]) -> str:
    formats = {"--json": "--format json", "--html": "--format html"}
    meant = [formats[word] for word in words if word in formats]
    hint = f" (did you mean `{meant[0]}`?)" if meant else ""
    return f"unrecognized arguments: {' '.join(words)}{hint}"


def _is_option(word: str) -> bool:
    return word.startswith("-") and word not in {"-", "--"}


def _similar_command(words: list[str]) -> str:
    """Return an error message with the command that `words` probably mean, or ""."""
    from difflib import get_close_matches

    word = next(iter(_common().parse_known_args(words)[1]), "")
    similar = get_close_matches(word, _COMMANDS, 1)
    return f"`{word}` is not a command: did you mean `{similar[0]}`?" if similar else ""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. A `command` is a module of `uvshim.commands`."""
    found = argparse.ArgumentParser(
        prog="uvshim",
        description="Check and fix environments so that pkg_resources finds every distribution.",
        parents=[_common()],
        exit_on_error=False,
    )
    found.add_argument("--version", action="version", version=f"uvshim {__version__}")
    found.set_defaults(quiet=0, verbose=0, color=None, command=None, parser=found)
    commands = found.add_subparsers(metavar="COMMAND")
    commands.add_parser("pip", help="the same as `uvpip`", add_help=False)
    _add_check(commands)
    _add_fix(commands)
    _add_run(commands)
    return found


def _common() -> argparse.ArgumentParser:
    """Return a parser with the options that may come before or after the command."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("-q", "--quiet", action="count", help="print less")
    common.add_argument("-v", "--verbose", action="count", help="print everything")
    common.add_argument("--color", choices=("auto", "always", "never"), help="when to use colours")
    return common


def _add(commands: Commands, name: str, summary: str, more: str) -> argparse.ArgumentParser:
    found = commands.add_parser(
        name,
        parents=[_common()],
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=more,
    )
    found.set_defaults(command=name, parser=found)
    return found


def _add_check(commands: Commands) -> None:
    check = _add(
        commands, "check", "report what is broken, and what breaks because of it", _ENVIRONMENTS
    )
    check.add_argument(
        "--strict",
        action="store_true",
        help="also exit with 1 if require() fails for another reason than a name (a requirement is "
        "missing, or has a conflicting version), if only require() finds a name, if METADATA is "
        "invalid, or if a named environment is empty",
    )
    check.add_argument(
        "--verify",
        action="store_true",
        help="compare the size and hash of every file with RECORD",
    )
    images = _add_examined(check, ("text", "json", "html"), _IMAGES)
    images.add_argument(
        "--jobs", type=_positive, metavar="N", help="how many processes (default: all processors)"
    )
    images.add_argument(
        "--cache-dir",
        type=_given,
        metavar="DIR",
        help="where the contents of layers are cached (default: ~/.cache/uvshim/images)",
    )
    images.add_argument("--no-cache", action="store_true", help="neither read nor write the cache")
    images.add_argument(
        "--scheduler",
        type=_given,
        metavar="ADDRESS",
        help="let the workers of a Dask scheduler check them",
    )


def _add_fix(commands: Commands) -> None:
    fix = _add(commands, "fix", "rename the directories that have the wrong name", _ENVIRONMENTS)
    fix.add_argument("--dry-run", action="store_true", help="only print what would be done")
    images = _add_examined(
        fix,
        ("text", "json"),
        f"{_IMAGES} The fixed image has one more layer. It is written to "
        "--output; the source is not changed.",
    )
    images.add_argument(
        "--output",
        metavar="IMAGE",
        help="where to write the fixed image; for several images, a pattern such as "
        "{repository}:{tag}-fixed",
    )


def _add_examined(
    command: argparse.ArgumentParser, formats: Sequence[str], about_images: str
) -> argparse._ArgumentGroup:
    """Add the options of a `command` that examines environments and images; return their group."""
    verb = command.prog.split()[-1]
    command.add_argument("environments", nargs="*", metavar="ENV|IMAGE")
    command.add_argument("--format", choices=formats, default="text", help="default: text")
    images = command.add_argument_group("images", about_images)
    images.add_argument(
        "--images",
        metavar="FILE",
        action="append",
        default=[],
        help=f"{verb} the images named in FILE, one a line; - is standard input",
    )
    images.add_argument(
        "--platform",
        type=_given,
        metavar="OS/ARCH",
        help=f"{verb} only this platform, such as linux/arm64",
    )
    return images


def _add_run(commands: Commands) -> None:
    run = _add(
        commands,
        "run",
        "run a command, and rename what it installs",
        "Example: uvshim run -- uv sync. Without --env, uvshim asks uv or pip where the command "
        "installs. For any other command it examines the environment of its interpreter, of the "
        "Python on PATH, of a pip or Python in its arguments, of the project, and of `uv pip`.",
    )
    run.add_argument(
        "--env",
        metavar="ENV",
        action="append",
        default=[],
        help="the environment that the command installs into",
    )
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND…")


def _given(word: str) -> str:
    if not word:
        raise argparse.ArgumentTypeError("it is empty: is a variable unset?")
    return word


def _positive(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"`{word}` is not a number of processes (1 or more)")
    return int(word)
