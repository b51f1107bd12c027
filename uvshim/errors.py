"""What goes wrong for a reason that the person who ran the command can do something about."""

from __future__ import annotations

# The exit code where an installer succeeded and a directory could not be renamed.
NOT_RENAMED = 3


class UvshimError(Exception):
    """A failure told in one message: what, where, what to do. The base of all that is raised here.

    `exit_code` is what the command that was stopped by it ends with.
    """

    exit_code = 2


class UvNotFoundError(UvshimError):
    """There is no uv to run. 127 is what a shell answers for a command it cannot find."""

    exit_code = 127


class CannotRunError(UvshimError):
    """A program is there and cannot be started. 126 is what a shell answers for such a command."""

    exit_code = 126

    def __init__(self, program: str, error: OSError) -> None:
        """Say why, in the words of the operating system."""
        super().__init__(f"`{program}` cannot be run: {error.strerror}")


class ConfigurationError(UvshimError):
    """An unknown key, a wrong type or a file that is not TOML, in uvshim's own configuration."""


class EnvironmentUnknownError(UvshimError):
    """An environment cannot be found, or what was named is none."""


class ImageError(UvshimError):
    """An image is not there, is damaged, or is not what it says it is."""
