"""What CONTRIBUTING.md says of the house is so, and nothing that runs there is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def rooms() -> dict[str, list[str]]:
    """Return what the table says: the modules of each folder."""
    table = re.findall(r"^\| `(uvshim/.*?)` \| (.*?) \| .* \|$", TEXT, re.MULTILINE)
    return {folder: sorted(re.findall(r"`(\w+)`", modules)) for folder, modules in table}


def on_disk() -> dict[str, list[str]]:
    """Return the modules of each folder of the package."""
    found: dict[str, list[str]] = {}
    for module in (ROOT / "uvshim").rglob("*.py"):
        modules = found.setdefault(f"{module.parent.relative_to(ROOT)}/", [])
        if module.name != "__init__.py":
            modules.append(module.stem)
    return {folder: sorted(modules) for folder, modules in found.items()}


def test_the_table_of_the_layout_equals_what_is_on_disk() -> None:
    assert rooms() == on_disk()


def test_the_table_stands_in_the_order_in_which_imports_run() -> None:
    layers = (ROOT / "pyproject.toml").read_text().partition("layers = [")[2].partition("]")[0]
    order = [f"uvshim/{name}/" for name in re.findall(r"\w+", layers)]
    folders = list(rooms())
    assert folders[0] == "uvshim/"
    assert folders[1:] == [folder for folder in order if folder in folders]


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:uvshim|tests|docs)/[\w./]+)`", TEXT)))
)
def test_every_path_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_command_of_make_that_is_named_is_one() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"make (\w[\w-]*)", TEXT))
    assert named >= {"test", "lint", "acceptance"}
    assert {name for name in named if f"\n{name}:" not in makefile} == set()
