"""Every Python on the machine: as the environment's own, and as the one that runs the tool."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import uvshim
from tests.conftest import interpreters
from tests.robustness.conftest import DOTTED, NAMES
from tests.robustness.invariants import is_right

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.conftest import MakeVenv
    from tests.robustness.invariants import Tools

INTERPRETERS = interpreters()


def minor(interpreter: Path) -> int:
    """Return 12 for a Python 3.12."""
    return int(interpreter.name.removeprefix("python3."))


@pytest.mark.parametrize("interpreter", INTERPRETERS, ids=lambda path: str(path.name))
def test_names_are_fixed_in_an_environment_of_any_python(
    interpreter: Path,
    make_venv: MakeVenv,
    tools: Tools,
    two_wheels: Path,
    old_setuptools: Path,
    tried: Callable[[str, int], None],
) -> None:
    venv = make_venv("any", python=interpreter)
    # That setuptools runs on 3.9 and later; what is looked up is the same without it.
    setuptools = ["setuptools"] if minor(interpreter) > 8 else []
    choice = ("--no-index", "--find-links", two_wheels, "--find-links", old_setuptools.parent)
    command: list[str | Path] = ["--python", venv.python, *choice, *NAMES, *setuptools]
    assert tools.run(tools.uv, "pip", "install", *command).returncode == 0
    done = tools.fix(venv)
    assert done.returncode == 0, done.stderr
    right = [*DOTTED, *(["setuptools-75.8.0.dist-info"] if setuptools else [])]
    is_right(venv, right)
    done = tools.run(tools.uvpip, "--reinstall", *command)
    assert done.returncode == 0, done.stderr
    is_right(venv, right)
    if minor(interpreter) > 9:
        tools.finds(venv, NAMES)
    else:  # their importlib.metadata looks for a directory of exactly this name
        tools.finds(venv, ["zope.deferred"])
    assert all(venv.requires(name) for name in NAMES if setuptools)
    tried("interpreters of environments", 1)


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A directory with what the tool needs to be imported by any Python."""
    directory = tmp_path / "beside"
    for module in (uvshim, *map(importlib.import_module, ("packaging", "tomli"))):
        assert module.__file__ is not None
        package = Path(module.__file__).parent
        shutil.copytree(
            package, directory / package.name, ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
    return directory


@pytest.mark.parametrize(
    "interpreter",
    [each for each in INTERPRETERS if minor(each) > 9],
    ids=lambda path: str(path.name),
)
def test_the_tool_itself_runs_on_any_python(
    interpreter: Path,
    make_venv: MakeVenv,
    tools: Tools,
    two_wheels: Path,
    beside: Path,
    tried: Callable[[str, int], None],
) -> None:
    def run(module: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        code = f"import sys; from uvshim.{module} import main; sys.exit(main())"
        return tools.run(interpreter, "-c", code, *words, PYTHONPATH=str(beside))

    venv = make_venv("by-any")
    choice = ("--python", venv.python, "--no-index", "--find-links", two_wheels)
    done = run("uvpip", *choice, *NAMES)
    assert done.returncode == 0, done.stderr
    assert "Renormalized 2 distributions" in done.stderr
    is_right(venv, DOTTED)

    assert tools.run(tools.uv, "pip", "install", *choice, "--reinstall", *NAMES).returncode == 0
    assert run("cli", "check", "--format", "json", venv.path).returncode == 0
    assert '"normalized-name"' in run("cli", "check", "--format", "json", venv.path).stdout
    done = run("cli", "fix", venv.path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    is_right(venv, DOTTED)
    again = run("cli", "fix", venv.path)
    assert (again.returncode, again.stderr) == (0, f"Nothing to fix in `{venv.path}`\n")
    tried("interpreters of the tool", 1)
