"""What a person has set: `[tool.uvshim]` or `uvshim.toml`, and the variables `UVSHIM_*`."""

from __future__ import annotations

import os
import sys

from uvshim.errors import ConfigurationError

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable

# Read in this order, and only in the nearest directory that has one of them.
_FILES = ("uvshim.toml", "pyproject.toml")

_NO = frozenset({"", "0", "false", "no", "off"})


def disabled() -> bool:
    """Say whether `UVSHIM_DISABLE` asks for uv and nothing else."""
    return os.environ.get("UVSHIM_DISABLE", "").strip().lower() not in _NO


def excluded(directory: str) -> list[str]:
    """Return the patterns of the project names that are to be left alone.

    They are those of `UVSHIM_EXCLUDE` (separated by commas) and those of `exclude` in the nearest
    `uvshim.toml` or `[tool.uvshim]` of a `pyproject.toml`, seen from `directory` upwards.

    Raises `ConfigurationError` where the file says something that is not understood.
    """
    return [pattern for _, patterns in exclusions(directory) for pattern in patterns]


def exclusions(directory: str) -> list[tuple[str, list[str]]]:
    """Return what `excluded` does, by where it stands: the variable's name, or the file's path."""
    variable = os.environ.get("UVSHIM_EXCLUDE", "").split(",")
    patterns = [pattern for word in variable if (pattern := word.strip())]
    return [("UVSHIM_EXCLUDE", patterns), *_in_files(directory)]


def matcher(patterns: list[str]) -> Callable[[str], bool]:
    """Return a function that says whether a project name matches one of `patterns`.

    Names are compared as PEP 503 does (``oslo-cache`` is ``oslo.cache``); a pattern may hold the
    wildcards ``*``, ``?`` and ``[…]`` of the shell.
    """
    if not patterns:
        return lambda _name: False
    from fnmatch import fnmatchcase

    from uvshim.rename.names import normalized

    wanted = [normalized(pattern) for pattern in patterns]
    return lambda name: any(fnmatchcase(normalized(name), pattern) for pattern in wanted)


def _in_files(directory: str) -> list[tuple[str, list[str]]]:
    """Return the nearest configuration file from `directory` upwards, and the patterns in it."""
    directory = os.path.normpath(directory)
    while True:
        for name in _FILES:
            path = os.path.join(directory, name)
            try:
                with open(path, "rb") as file:
                    content = file.read()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except OSError as error:
                if not os.path.lexists(path):  # nobody may search the way there, and uv need not
                    continue
                message = f"`{path}` cannot be read: {error.strerror}"
                raise ConfigurationError(message) from None
            # Most projects say nothing to us, and a TOML parser takes as long to load as uv to run.
            if name == _FILES[0] or _may_say(content):
                return [(path, _patterns(path, content))]
            return []
        parent = os.path.dirname(directory)
        if parent == directory:
            return []
        directory = parent


def _may_say(pyproject: bytes) -> bool:
    """Say whether there may be a table `tool.uvshim` in the content of a `pyproject.toml`.

    TOML has few ways to write that key. It is on one line, quotes and blanks aside, or the key
    `tool` begins a line of its own; a letter of either may be escaped. That the name is among the
    dependencies or scripts is none of them.
    """
    if any(escape in pyproject for escape in (b"\\u", b"\\U", b"\\x")):
        return True
    bare = b"\n" + pyproject.translate(None, b" \t\"'")
    tool = b"\n[tool]" in bare or b"\ntool=" in bare
    return b"tool.uvshim" in bare or (tool and b"uvshim" in bare)


def _own_part(pyproject: bytes) -> bytes:
    """Return the lines of our own table in the content of a `pyproject.toml`.

    They are those from its header to the next one, or a single line that says `tool.uvshim`.
    """
    own: list[bytes] = []
    inside = False
    for line in pyproject.splitlines(keepends=True):
        bare = line.translate(None, b" \t\"'")
        if bare.startswith(b"["):
            inside = bare.startswith((b"[tool.uvshim", b"[[tool.uvshim"))
        if inside or bare.startswith(b"tool.uvshim"):
            own.append(line)
    return b"".join(own)


def _patterns(path: str, content: bytes) -> list[str]:
    """Return the patterns in the file `path` with `content`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        try:
            document = tomllib.loads(content.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            if os.path.basename(path) == _FILES[0]:
                raise
            # The rest is not ours to judge; uv reads TOML 1.1, and warns of what it cannot read.
            document = tomllib.loads(_own_part(content).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"`{path}` is not valid TOML: {error}"
        raise ConfigurationError(message) from None
    where = f"`{path}`"
    table: object = document
    if os.path.basename(path) != _FILES[0]:
        where = f"[tool.uvshim] in `{path}`"
        tools = document.get("tool", {})
        table = tools.get("uvshim", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        message = f"{where} is not a table"
        raise ConfigurationError(message)
    for key in table:
        if key != "exclude":
            message = f"{where} has the unknown key `{key}`. The only one there is: `exclude`"
            raise ConfigurationError(message)
    patterns = table.get("exclude", [])
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        message = f'`exclude` in {where} is not a list of strings, such as ["oslo.cache"]'
        raise ConfigurationError(message)
    return patterns
