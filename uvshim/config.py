"""uvshim's configuration: `[tool.uvshim]` or `uvshim.toml`, and the variables `UVSHIM_*`."""

from __future__ import annotations

import os
import sys

from uvshim.errors import ConfigurationError

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# In each directory, a uvshim.toml comes before a pyproject.toml.
_FILES = ("uvshim.toml", "pyproject.toml")

_NO = frozenset({"", "0", "false", "no", "off"})


def disabled() -> bool:
    """Return True if `UVSHIM_DISABLE` asks for uv and nothing else."""
    return os.environ.get("UVSHIM_DISABLE", "").strip().lower() not in _NO


def excluded(directory: str) -> list[str]:
    """Return the patterns of the project names whose directories are not renamed.

    They come from `UVSHIM_EXCLUDE` (separated by commas) and from `exclude` in the nearest
    `uvshim.toml`, or `pyproject.toml` with a table `[tool.uvshim]`, from `directory` upwards.

    Raise `ConfigurationError` if that file cannot be read or understood.
    """
    return [pattern for _, patterns in exclusions(directory) for pattern in patterns]


def exclusions(directory: str) -> list[tuple[str, list[str]]]:
    """Return the patterns of `excluded`, each list with its source: a variable or a path."""
    variable = os.environ.get("UVSHIM_EXCLUDE", "").split(",")
    patterns = [pattern for word in variable if (pattern := word.strip())]
    return [("UVSHIM_EXCLUDE", checked("UVSHIM_EXCLUDE", patterns)), *_in_files(directory)]


def matcher(patterns: list[str]) -> Callable[[str], bool]:
    """Return a function that returns True if a project name matches one of `patterns`.

    Names are normalized as in PEP 503 (``oslo-cache`` is ``oslo.cache``). A pattern may contain the
    wildcards ``*``, ``?`` and ``[…]`` of the shell.
    """
    if not patterns:
        return lambda _name: False
    from fnmatch import fnmatchcase

    from uvshim.rename.names import normalized

    wanted = [normalized(pattern) for pattern in patterns]
    return lambda name: any(fnmatchcase(normalized(name), pattern) for pattern in wanted)


def _in_files(directory: str) -> list[tuple[str, list[str]]]:
    """Return the path of the nearest file with our configuration, and the patterns in it."""
    directory = os.path.normpath(directory)
    while True:
        for name in _FILES:
            path = os.path.join(directory, name)
            table = _table(path, _read(path))
            if table is not None:
                return [(path, _patterns(path, table))]
        parent = os.path.dirname(directory)
        if parent == directory:
            return []
        directory = parent


def _read(path: str) -> bytes | None:
    """Return the content of the file `path`, or None if there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        if os.path.isfile(path):  # uv ignores one below an unreadable directory, too
            raise ConfigurationError(f"`{path}` cannot be read: {error.strerror}") from None
        return None


def _table(path: str, content: bytes | None) -> object:
    """Return our table in the `content` of the file `path`, or None if it has none."""
    is_ours = os.path.basename(path) == _FILES[0]
    # The TOML parser takes as long to load as uv takes to run, and most projects do not need it.
    if content is None or not (is_ours or b"uvshim" in content):
        return None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        if not (is_ours or b"tool.uvshim" in content):
            return None  # it may have no table of ours, and uv reports the error
        newer = "" if is_ours else f". If uv can read it, move [tool.uvshim] to {_FILES[0]}"
        raise ConfigurationError(f"`{path}` is not valid TOML 1.0: {error}{newer}") from None
    if is_ours:
        return document
    tools = document.get("tool")
    return tools.get("uvshim") if isinstance(tools, dict) else None


def _patterns(path: str, table: object) -> list[str]:
    """Return the patterns in our `table` of the file `path`."""
    where = f"`{path}`" if path.endswith(_FILES[0]) else f"[tool.uvshim] in `{path}`"
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where} is not a table")
    for key in table:
        if key != "exclude":
            fault = f"has the unknown key `{key}`. The only key is `exclude`"
            raise ConfigurationError(f"{where} {fault}")
    patterns = table.get("exclude", [])
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        raise ConfigurationError(
            f'`exclude` in {where} is not a list of strings, such as ["oslo.cache"]'
        )
    return checked(where, patterns)


def checked(where: str, patterns: str | Iterable[str]) -> list[str]:
    """Return the `patterns`, or the single one, as a list.

    Raise `ConfigurationError`, which says `where` they are, if one matches no project name.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for each in patterns:
        plain = "".join(letter for letter in each if letter not in "._-*?[]!")
        if each and not (plain + "a").isalnum():
            raise ConfigurationError(
                f"`{each}` in {where} matches no project name. Names are separated by commas; in a "
                "file, each is a string of its own"
            )
    return patterns
