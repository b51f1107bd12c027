"""Run `uvshim check` for `action.yml`, with annotations and a summary on the page of the job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEADING = (
    "### uvshim check\n\n| where | result | not found by pkg_resources |\n| --- | --- | --- |\n"
)


def main() -> int:
    """Check what the variables WHAT and ARGUMENTS name, and return the exit code of the check."""
    named = os.environ["WHAT"].split("\n") + os.environ.get("ARGUMENTS", "").split("\n")
    words = [word.strip() for word in named if word.strip()]
    with tempfile.TemporaryDirectory() as directory:
        build = [sys.executable, os.path.join(ROOT, "tools", "zipapp.py"), "--output", directory]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        program = os.path.join(directory, "uvshim.pyz")
        check = [program, "check", *words, "--format", "json"]
        done = subprocess.run(check, check=False, stdout=subprocess.PIPE, text=True)
    try:
        answer = json.loads(done.stdout)
    except ValueError:  # the reason is on standard error, or its help was asked for
        print(f"{done.stdout}::error title=uvshim check::Nothing was checked: see the log")
        return done.returncode
    for message in _annotations(answer):
        print(f"::error title=uvshim check::{_escaped(message)}")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a", encoding="utf-8") as page:
            page.write(HEADING + "".join(map(_row, answer["environments"])))
    return done.returncode


def _annotations(answer: dict[str, Any]) -> Iterator[str]:
    """Yield one message for each environment that is broken, and for each unreadable image."""
    for each in answer["environments"]:
        if each["broken"]:
            names = ", ".join(_missing(each))
            yield f"{_place(each)} is broken" + (
                f": pkg_resources does not find {names}" * bool(names)
            )
    for image in answer.get("images") or []:
        if image["error"]:
            yield f"{image['image']} cannot be examined: {image['error']}"


def _row(environment: dict[str, Any]) -> str:
    result = "broken" if environment["broken"] else "ok"
    names = ", ".join(f"`{name}`" for name in _missing(environment))
    return f"| `{_place(environment)}` | {result} | {names} |\n"


def _missing(environment: dict[str, Any]) -> list[str]:
    """Return the names that pkg_resources does not find, each once."""
    names = (name for each in environment["unresolvable"] for name in each["missing"])
    return list(dict.fromkeys(names))


def _place(environment: dict[str, Any]) -> str:
    """Return where an environment is, an image's name first."""
    parts = (environment["image"], environment["platform"], environment["path"])
    return " ".join(part for part in parts if part)


def _escaped(message: str) -> str:
    """Return `message` as the data of a workflow command."""
    return message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


if __name__ == "__main__":
    sys.exit(main())
