"""Show the fault and the fix on real packages (`make demo`).

Exits with 1 if the fault does not show, or if the fix does not work.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
PROJECT = "oslo.cache"
QUESTION = f'import pkg_resources; print(*pkg_resources.require("{PROJECT}")[:1])'
FAULT = "DistributionNotFound"


class DemoError(Exception):
    """A step had an unexpected result."""


class Stage:
    """Prints commands and runs them in one directory."""

    def __init__(self, directory: str) -> None:
        """Use `directory`, and the commands next to the running Python."""
        self.directory = Path(directory)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("UVSHIM_", "PYTHON", "VIRTUAL_ENV", "CONDA"))
        }
        commands = Path(sys.executable).parent
        self._variables = {
            **kept,
            "PATH": f"{commands}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONWARNINGS": "ignore",
        }
        for file in ("requirements.txt", "constraints.txt"):
            (self.directory / file).write_bytes((RECIPES / file).read_bytes())

    def run(self, *command: str, hidden: bool = False) -> None:
        """Print `command` and run it. Raise `DemoError` if it fails."""
        if not hidden:
            show(command)
        done = subprocess.run(
            command, cwd=self.directory, env=self._variables, check=False, stderr=subprocess.STDOUT
        )
        if done.returncode != 0:
            message = f"`{shlex.join(command)}` exited with {done.returncode}"
            raise DemoError(message)

    def gate(self, environment: str) -> bool:
        """Run `uvshim check`, and return True if it exits with 0."""
        command = ("uvshim", "check", environment)
        show(command)
        done = subprocess.run(
            command, cwd=self.directory, env=self._variables, check=False, stderr=subprocess.STDOUT
        )
        insist(on=done.returncode in {0, 1}, otherwise="uvshim check cannot read the environment")
        effect = "continues" if done.returncode == 0 else "stops"
        say(f"\n   Exit code {done.returncode}: a build {effect} here.\n")
        return done.returncode == 0

    def make(self, environment: str) -> None:
        """Create a virtual environment of the running Python."""
        self.run("uv", "venv", "--quiet", "--python", sys.executable, environment, hidden=True)

    def ask(self, environment: str) -> str:
        """Ask pkg_resources for the project, and return the last line that it prints."""
        command = [str(Path(environment, "bin", "python")), "-c", QUESTION]
        show(command)
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self._variables,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        answer = done.stdout.strip().rpartition("\n")[2]
        say(f"  {answer}")
        return answer

    def names(self, environment: str) -> list[str]:
        """Return the names in site-packages that belong to the project, in any spelling."""
        (site_packages,) = (self.directory / environment / "lib").glob("python*/site-packages")
        stem = PROJECT.replace(".", "?")
        found = sorted(path.name for path in site_packages.glob(f"{stem}*"))
        say(f"$ ls {environment}/lib/python*/site-packages/{stem}*")
        say(f"  {' '.join(found) or 'nothing'}")
        return found


def say(line: str = "") -> None:
    """Print `line` without buffering, because the commands write to the same stream."""
    print(line, flush=True)


def show(command: list[str] | tuple[str, ...]) -> None:
    """Print `command` as a person would type it."""
    say(f"$ {shlex.join(command)}")


def insist(*, on: bool, otherwise: str) -> None:
    """Raise `DemoError` with the message `otherwise` unless `on` is true."""
    if not on:
        raise DemoError(otherwise)


def demonstrate(stage: Stage) -> None:
    """Show the fault, uvpip, a complete uninstall, and `uvshim fix`."""
    what = ("--constraint", "constraints.txt", "--requirement", "requirements.txt")

    say("1. The fault: an environment made with plain uv.\n")
    stage.make("plain")
    stage.run("uv", "pip", "install", "--python", "plain", *what)
    stage.names("plain")
    answer = stage.ask("plain")
    insist(on=FAULT in answer, otherwise="plain uv: pkg_resources finds the project")
    say("\n   It is installed, but pkg_resources does not find it. uvshim check reports that:\n")
    insist(on=not stage.gate("plain"), otherwise="uvshim check accepts the broken environment")

    say("2. The fix: the same requirements with uvpip.\n")
    stage.make("fixed")
    stage.run("uvpip", "--python", "fixed", *what)
    stage.names("fixed")
    answer = stage.ask("fixed")
    insist(on=answer.startswith(PROJECT), otherwise="uvpip: pkg_resources does not find it")
    say("\n   pkg_resources finds it and everything that it requires:\n")
    insist(on=stage.gate("fixed"), otherwise="uvshim check rejects the environment")

    say("3. uv still manages what it installed.\n")
    stage.run("uv", "pip", "check", "--python", "fixed")
    stage.run("uv", "pip", "uninstall", "--python", "fixed", PROJECT)
    insist(on=not stage.names("fixed"), otherwise="uv pip uninstall left something behind")
    say("\n   The uninstall removed everything.\n")

    say("4. An existing environment: fix the one from step 1.\n")
    stage.run("uvshim", "fix", "plain")
    answer = stage.ask("plain")
    insist(on=answer.startswith(PROJECT), otherwise="uvshim fix: pkg_resources does not find it")
    insist(on=stage.gate("plain"), otherwise="uvshim check rejects the fixed environment")


def main() -> int:
    """Run the demonstration in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="uvshim-demo-") as directory:
        try:
            demonstrate(Stage(directory))
        except DemoError as error:
            say(f"\nThe demonstration FAILED: {error}")
            return 1
    say("Done: plain uv shows the fault, uvpip and uvshim fix remove it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
