"""Errors that a person can do something about, and the report of a bug in uvshim."""

from __future__ import annotations

import os
import sys

# The exit code if an installer succeeded and a rename failed.
NOT_RENAMED = 3


class UvshimError(Exception):
    """The base of uvshim's exceptions. The message says what, where, and what to do.

    The command exits with `exit_code`.
    """

    exit_code = 2


class UvNotFoundError(UvshimError):
    """There is no uv to run. A shell ends with 127 for a command that it cannot find."""

    exit_code = 127


class CannotRunError(UvshimError):
    """A program exists and cannot be started. A shell ends with 126 for such a command."""

    exit_code = 126


class UvLoopError(UvshimError):
    """The uv to run is a script that runs uvpip again, which would never end."""

    MARK = "runs uvpip again"

    def __init__(self, uv: str) -> None:
        """Name the `uv` in the message."""
        super().__init__(
            f"`{uv}` {self.MARK}, which would never end. Name the real uv in UVSHIM_UV"
        )


class ConfigurationError(UvshimError):
    """uvshim's configuration has an unknown key, a wrong type, or is not TOML."""


class EnvironmentUnknownError(UvshimError):
    """An environment cannot be found, or a path is not an environment."""


class ImageError(UvshimError):
    """An image does not exist, is damaged, or is not what it claims to be."""


def report_bug(error: Exception, *, verbose: bool = False) -> int:
    """Report an unexpected `error`, and return the exit code for it.

    With `verbose` or UVSHIM_DEBUG it includes the traceback.
    """
    lines = [f"error: uvshim failed because of a bug: {type(error).__name__}: {error}"]
    if verbose or os.environ.get("UVSHIM_DEBUG"):
        import traceback

        lines += "".join(traceback.format_exception(error)).splitlines()
        lines += ["hint: please report this, with the lines above"]
    else:
        lines += ["hint: please report this, with the output of a run with UVSHIM_DEBUG=1"]
    sys.stderr.write("\n".join(lines) + "\n")
    return UvshimError.exit_code
