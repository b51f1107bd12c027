"""The documentation is true: its output is real, and its lists are complete."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Run, interpreters
from tools import evidence
from tools.zipapp import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.index

DOCS = ROOT / "docs"
SCRIPTS = evidence.scripts()
HERE = {python.name for python in interpreters()}


def settled(text: str) -> str:
    """Return `text` without what differs from run to run: times, Python versions, line breaks."""
    text = re.sub(r"\bin (\d+\.)?\d+m?s\b", "in …", text)
    text = re.sub(r"\bPython 3\.\d+\.\d+\S* environment", "Python … environment", text)
    text = re.sub(r"^(Prepared|Uninstalled) .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"/python3\.\d+/", "/python3.X/", text)
    return " ".join(text.split())  # uv breaks lines by the length of a path that we do not show


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_the_pages_show_what_is_really_printed(script: Path) -> None:
    needed = set(re.findall(r"\b3\.(?:8|9|10|12)\b(?= )", script.read_text().partition("; do")[0]))
    if "importlib" in script.name and (missing := {f"python{one}" for one in needed} - HERE):
        pytest.skip(f"not here: {', '.join(sorted(missing))}")
    if "$CORPORA" in script.read_text() and sys.version_info >= (3, 13):
        pytest.skip("these distributions are for Python 3.10 to 3.12")
    said = evidence.run(script, interpreters())
    assert settled(said) == settled(script.with_suffix(".txt").read_text(encoding="utf-8"))


def test_every_script_is_shown_with_its_output() -> None:
    pages = "".join(page.read_text() for page in DOCS.glob("*.md"))
    for script in SCRIPTS:
        name = script.relative_to(ROOT)
        assert pages.count(f'"{name}"') == 1, name
        assert pages.count(f'"{name.with_suffix(".txt")}"') == 1, name


def test_every_recipe_is_shown_whole() -> None:
    pages = "".join(page.read_text() for page in DOCS.glob("*.md"))
    for path in (ROOT / "recipes").iterdir():
        if path.is_file() and path.suffix != ".txt":
            assert f'"{path.relative_to(ROOT)}"' in pages, path.name


def options(text: str) -> set[str]:
    """Return the options in a text."""
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))


@pytest.mark.parametrize("command", ["check", "fix", "run", ""])
def test_the_reference_lists_the_options_that_the_help_does(
    run: Run, uvshim: Path, command: str
) -> None:
    said = run(uvshim, *command.split(), "--help", COLUMNS="200").stdout
    heading = f"## uvshim {command}".strip()
    section = (DOCS / "reference.md").read_text().split(f"{heading}\n")[1].partition("\n## ")[0]
    terms = "\n".join(re.findall(r"^(`-.*)$", section, re.MULTILINE))
    listed = said.partition("\noptions:\n")[2]
    first_words = "\n".join(line[:26] for line in listed.splitlines() if line[:3] == "  -")
    assert options(terms) == options(first_words)


def test_the_reference_lists_every_command(run: Run, uvshim: Path) -> None:
    said = run(uvshim, "--help").stdout
    commands = set(re.findall(r"^    ([a-z]+) ", said, re.MULTILINE))
    assert len(commands) == 4
    headings = re.findall(
        r"^## uvshim ([a-z]+)$", (DOCS / "reference.md").read_text(), re.MULTILINE
    )
    assert set(headings) == commands


def test_the_page_about_json_lists_the_keys_that_there_are(run: Run, uvshim: Path) -> None:
    shown = json.loads((DOCS / "examples" / "check-json.txt").read_text())
    page = (DOCS / "json-schema.md").read_text()

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    terms = re.findall(r"^ *- (`[^:]*):", page, re.MULTILINE)
    listed = {key for term in terms for key in re.findall(r"`(\w+)`", term)}
    assert keys(shown) <= listed
    # Keys of entries that the example does not have, and of `fix`.
    elsewhere = {
        *("error", "reason", "images", "environments", "by", "missing", "changed", "unlisted"),
        *("fault", "dry_run", "complete", "renamed", "before", "left_alone", "rest", "commands"),
        *("spelling", "found", "owned", "lookup", "consequence", "affects"),
        *("output", "results", "tag", "digest_before", "attestations_dropped", "platforms"),
        "written",
    }
    assert listed - keys(shown) <= elsewhere


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("language", "recipe"),
    [("dockerfile", "Dockerfile"), ("sh", "bootstrap.sh"), ("Earthfile", "Earthfile")],
)
def test_the_readme_shows_lines_of_the_recipes(language: str, recipe: str) -> None:
    block = blocks(ROOT / "README.md", language)[-1]
    lines = iter((ROOT / "recipes" / recipe).read_text().splitlines())
    for line in block.splitlines():
        assert line in lines, line


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_site_builds_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|iframe)[^>]* src="?(?:https?:)?//', text) == [], page
        links = re.findall(r"<link [^>]*>", text)
        fetched = [link for link in links if "//" in link and "canonical" not in link]
        assert fetched == [], page
    for style in tmp_path.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text()) == [], (
            style
        )
