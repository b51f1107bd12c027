"""`uvshim`: check and fix environments that exist already, and wrap any other command."""

from __future__ import annotations

import gc
import os
import sys

from uvshim import __version__
from uvshim.errors import UvshimError
from uvshim.uv import process

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    import argparse
    from typing import NoReturn

    from uvshim.messages import Messages

_ENVIRONMENTS = """\
ENV is a virtual environment, a Python interpreter, a site-packages directory, or the root of a
file system, such as a mounted image. Without one it is the environment that `uv pip` would use.
"""


def main() -> int:
    """Run the command line of `uvshim` and return its exit code."""
    if sys.argv[1:2] == ["pip"]:  # before anything that uvpip does not need is imported
        from uvshim import uvpip

        del sys.argv[1]
        return uvpip.main()
    if sys.platform == "win32":
        sys.stderr.write("error: uvshim does not work on Windows\n")
        return UvshimError.exit_code
    gc.disable()  # of one environment nothing goes before the end: many images turn it on again
    process.open_standard_streams()
    process.leave_throwaway_environment()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    from uvshim.messages import Messages

    options = _parsed(sys.argv[1:])
    messages = Messages(color=options.color, quiet=options.quiet > 0, verbose=options.verbose > 0)
    _note_another_uvpip(messages)
    try:
        return int(options.run(options, messages))
    except UvshimError as error:
        messages.error(str(error))
        return error.exit_code
    except OSError as error:  # such as a directory that cannot be listed, or a pipe that is closed
        is_output = error.filename is None and _cannot_write()
        if not isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
            messages.os_error(error, "standard output" if is_output else "")
        return int(options.failure)
    except KeyboardInterrupt:
        return 130


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
    """Say whether standard output takes nothing; if so, nothing more is written there."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try again at its end
        return True
    return False


def _parsed(words: list[str]) -> argparse.Namespace:
    """Return the options in `words`; end with the usage of the command where they are wrong."""
    options, unknown = _parser().parse_known_args(words)
    if unknown:
        _refuse(options.parser, unknown)
    return options


def _refuse(parser: argparse.ArgumentParser, unknown: list[str]) -> NoReturn:
    """End with the usage of a command, and the option that was probably meant by `unknown`."""
    formats = {"--json": "--format json", "--html": "--format html"}
    meant = [formats[word] for word in unknown if word in formats]
    hint = f" (did you mean `{meant[0]}`?)" if meant else ""
    parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Each command has its function in `run`, and in `failure` its exit code where the operating
    system refuses something.
    """
    import argparse

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
        found = commands.add_parser(
            name,
            parents=[common],
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=more,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        found.set_defaults(parser=found)
        return found

    commands.add_parser("pip", help="what `uvpip` does: run `uv pip`, and rename what it installs")
    check = command("check", "say what is broken, and what breaks because of it", _ENVIRONMENTS)
    check.add_argument("environments", nargs="*", metavar="ENV|IMAGE")
    check.add_argument(
        "--strict",
        action="store_true",
        help="end with 1, too, where require() fails whatever the names: a requirement that is "
        "not installed, a version that conflicts",
    )
    check.add_argument(
        "--verify",
        action="store_true",
        help="compare every file that RECORD lists with what is there, by size and hash",
    )
    check.add_argument(
        "--format", choices=("text", "json", "html"), default="text", help="default: text"
    )
    _add_image_options(check)
    check.set_defaults(run=_check, failure=2)
    fix = command("fix", "rename what has a wrong name", _ENVIRONMENTS)
    fix.add_argument("environments", nargs="*", metavar="ENV|IMAGE")
    fix.add_argument("--dry-run", action="store_true", help="only say what would be done")
    fix.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    _add_output_options(fix)
    fix.set_defaults(run=_fix, failure=3)
    run = command(
        "run",
        "run a command, and rename what it installs",
        "Example: uvshim run -- uv sync\n\nWithout --env it is the environment of the command, "
        "if that is a `pip` or `python`,\nthe project's `.venv`, and the one `uv pip` would use.\n",
    )
    run.add_argument("--env", metavar="ENV", help="the environment that the command installs into")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND…")
    run.set_defaults(run=_run, failure=2)
    return parser


def _add_image_options(check: argparse.ArgumentParser) -> None:
    """Add what concerns images to the parser of `uvshim check`."""
    images = check.add_argument_group(
        "images",
        "An image is named as skopeo does it (docker://…, oci:DIR:TAG, docker-archive:FILE), or by "
        "the path of a layout, of an archive, or of a tar of its root file system.",
    )
    images.add_argument(
        "--images",
        metavar="FILE",
        action="append",
        default=[],
        help="check the images named in FILE, one a line; - is standard input",
    )
    images.add_argument(
        "--platform", metavar="OS/ARCH", help="examine only this platform, such as linux/arm64"
    )
    images.add_argument(
        "--jobs", type=_positive, metavar="N", help="how many processes (default: all processors)"
    )
    images.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="where contents of layers are kept (default: ~/.cache/uvshim/images)",
    )
    images.add_argument("--no-cache", action="store_true", help="neither read nor write it")
    images.add_argument(
        "--scheduler", metavar="ADDRESS", help="have the workers of a Dask scheduler do it"
    )


def _add_output_options(fix: argparse.ArgumentParser) -> None:
    """Add what concerns images to the parser of `uvshim fix`."""
    images = fix.add_argument_group(
        "images",
        "An image is never changed: the fixed one, with one more layer, is written elsewhere. Both "
        "are named as skopeo does it (docker://…, oci:DIR:TAG, docker-archive:FILE).",
    )
    images.add_argument(
        "--output",
        metavar="IMAGE",
        help="where to write the fixed image; for several images, a pattern such as "
        "{repository}:{tag}-fixed",
    )
    images.add_argument(
        "--platform", metavar="OS/ARCH", help="fix only this platform, such as linux/arm64"
    )
    images.add_argument(
        "--images",
        metavar="FILE",
        action="append",
        default=[],
        help="fix the images named in FILE, one a line; - is standard input",
    )


def _positive(word: str) -> int:
    from argparse import ArgumentTypeError

    if not word.isdecimal() or int(word) < 1:
        message = f"`{word}` is not a number of processes (1 or more)"
        raise ArgumentTypeError(message)
    return int(word)


# Each command has its own module, which only it imports.


def _check(options: argparse.Namespace, messages: Messages) -> int:
    from uvshim.commands import check

    return check.main(options, messages)


def _fix(options: argparse.Namespace, messages: Messages) -> int:
    from uvshim.commands import fix

    return fix.main(options, messages)


def _run(options: argparse.Namespace, messages: Messages) -> int:
    from uvshim.commands import run

    return run.main(options, messages)
