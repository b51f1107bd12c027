"""The fault and the cure on real packages: what `make demo` shows.

Ends with 1 if the fault does not show, or the cure does not hold.
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
    """Something did not come out as it should."""


class Stage:
    """A directory of its own, in which commands are shown and run."""

    def __init__(self, directory: str) -> None:
        """Use `directory`, and the commands of the environment that runs this file."""
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
        """Show `command`, run it, and insist on its success."""
        if not hidden:
            show(command)
        done = subprocess.run(
            command, cwd=self.directory, env=self._variables, check=False, stderr=subprocess.STDOUT
        )
        if done.returncode != 0:
            message = f"`{command[0]}` ended with {done.returncode}"
            raise DemoError(message)

    def gate(self, environment: str) -> bool:
        """Show what `uvshim check` says of an environment, and return whether the gate is open."""
        command = ("uvshim", "check", environment)
        show(command)
        done = subprocess.run(
            command, cwd=self.directory, env=self._variables, check=False, stderr=subprocess.STDOUT
        )
        insist(on=done.returncode in {0, 1}, otherwise="the environment cannot be examined")
        state = "open" if done.returncode == 0 else "shut"
        say(f"\n   Exit code {done.returncode}: the gate is {state}.\n")
        return done.returncode == 0

    def make(self, environment: str) -> None:
        """Make a virtual environment of the Python that runs this file."""
        self.run("uv", "venv", "--quiet", "--python", sys.executable, environment, hidden=True)

    def ask(self, environment: str) -> str:
        """Ask pkg_resources for the project, and return the last line of the answer."""
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
        """Return what stands in site-packages of the project, whatever its spelling."""
        (site_packages,) = (self.directory / environment / "lib").glob("python*/site-packages")
        stem = PROJECT.replace(".", "?")
        found = sorted(path.name for path in site_packages.glob(f"{stem}*"))
        say(f"$ ls {environment}/lib/python*/site-packages/{stem}*")
        say(f"  {' '.join(found) or 'nothing'}")
        return found


def say(line: str = "") -> None:
    """Print `line` at once: the commands in between write for themselves."""
    print(line, flush=True)


def show(command: list[str] | tuple[str, ...]) -> None:
    """Print `command` as one would type it."""
    say(f"$ {shlex.join(command)}")


def insist(*, on: bool, otherwise: str) -> None:
    """Raise `DemoError` with the message `otherwise` if `on` does not hold."""
    if not on:
        raise DemoError(otherwise)


def demonstrate(stage: Stage) -> None:
    """Show the fault, the cure, that nothing is left behind, and how an environment is mended."""
    what = ("--constraint", "constraints.txt", "--requirement", "requirements.txt")

    say("1. The fault: an environment made with plain uv.\n")
    stage.make("plain")
    stage.run("uv", "pip", "install", "--python", "plain", *what)
    stage.names("plain")
    answer = stage.ask("plain")
    insist(on=FAULT in answer, otherwise="plain uv: pkg_resources finds the project all the same")
    say("\n   It is installed, and pkg_resources does not find it. A build would end here:\n")
    insist(on=not stage.gate("plain"), otherwise="the gate is open for the broken environment")

    say("2. The cure: the same with uvpip.\n")
    stage.make("cured")
    stage.run("uvpip", "--python", "cured", *what)
    stage.names("cured")
    answer = stage.ask("cured")
    insist(on=answer.startswith(PROJECT), otherwise="uvpip: pkg_resources does not find it")
    say("\n   pkg_resources finds it, and all that it needs. A build would go on:\n")
    insist(on=stage.gate("cured"), otherwise="the gate is shut for the cured environment")

    say("3. uv still knows what it installed.\n")
    stage.run("uv", "pip", "check", "--python", "cured")
    stage.run("uv", "pip", "uninstall", "--python", "cured", PROJECT)
    insist(on=not stage.names("cured"), otherwise="uv pip uninstall left something behind")
    say("\n   Uninstalled, and nothing is left.\n")

    say("4. What exists already can be mended: the environment of 1.\n")
    stage.run("uvshim", "fix", "plain")
    answer = stage.ask("plain")
    insist(on=answer.startswith(PROJECT), otherwise="uvshim fix: pkg_resources does not find it")
    insist(on=stage.gate("plain"), otherwise="the gate is shut for the mended environment")
    say("   Mended in place.\n")


def main() -> int:
    """Run the demonstration in a directory of its own, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="uvshim-demo-") as directory:
        try:
            demonstrate(Stage(directory))
        except DemoError as error:
            say(f"\nThe demonstration FAILED: {error}")
            return 1
    say("The fault showed, and the cure held.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
