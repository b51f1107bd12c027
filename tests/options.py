"""The options that a uv has, compared with the tables in `uvshim.uv.arguments`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from uvshim.uv import arguments

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

# How clap lists an option: `-r, --requirements <REQUIREMENTS>`; an optional value is in square
# brackets.
_OPTION = re.compile(r" +(?:(-\w)(?:, )?)?(--[\w-]+)?(?:\.\.\.)?( <[^>]+>| \[)?")


def options(text: str) -> dict[str, bool]:
    """Return the options in uv's help `text`, with whether each takes a value."""
    found = {}
    for entry in re.split(r"\n(?= {2,6}-)", text)[1:]:
        match = _OPTION.match(entry)
        assert match is not None, entry
        *names, value = match.groups()
        found.update({name: value is not None for name in names if name})
    return found


# Options of `uv pip install` alone in uv 0.4, which refuses them before a subcommand.
BECAME_GLOBAL = {"--allow-insecure-host"}


def disagreements(run: Run, uv: Path) -> list[str]:
    """Return how the options of `uv` differ from the tables in `uvshim.uv.arguments`."""
    differences = set()
    help_lists: set[str] = set()
    for subcommand in ("install", "sync"):
        listed = options(run(uv, "pip", subcommand, "--help").stdout)
        assert len(listed) > 60, listed
        help_lists.update(listed)
        for name, takes_value in listed.items():
            if takes_value != (name in arguments.WITH_VALUE):
                differences.add(f"{name} takes {'a' if takes_value else 'no'} value")
    for name in arguments.WITH_VALUE:  # help does not list aliases; but uv accepts them or not
        complaint = run(uv, "pip", "install", name).stderr
        if "a value is required" not in complaint and "unexpected argument" not in complaint:
            differences.add(f"{name} takes no value")
    for name in help_lists | arguments.GLOBAL:
        is_global = "unexpected argument" not in run(uv, "pip", name, "sync", "sync").stderr
        if is_global and name not in arguments.GLOBAL | {"-V", "--version"}:
            differences.add(f"{name} is a global option")
        became_global = name in BECAME_GLOBAL
        if not (is_global or became_global) and name in arguments.GLOBAL and name in help_lists:
            differences.add(f"{name} is not a global option")
    return sorted(differences)
