"""The recipes of the documentation: each runs as it stands, and its gate holds.

Each is run twice: as it is, and with plain uv in place of uvpip, where `uvshim check` must end it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml

from tools.zipapp import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.index

RECIPES = ROOT / "recipes"
COMMANDS = Path(sys.executable).parent
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Project:
    """A directory with the recipe in it, on a machine where a release of uvshim can be had."""

    def __init__(self, directory: Path, release: Path) -> None:
        self.directory = directory
        links = f"{release} {os.environ.get('PIP_FIND_LINKS', '')}"
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("UVSHIM_", "VIRTUAL_ENV", "PYTEST", "TOX", "NOX", "MAKE"))
        }
        self.variables = {
            **kept,
            "PATH": f"{COMMANDS}{os.pathsep}{kept['PATH']}",
            "PIP_FIND_LINKS": links.strip(),
            "UV_FIND_LINKS": str(release),
            "UV_PYTHON_DOWNLOADS": "never",
            "PRE_COMMIT_HOME": str(directory / "pre-commit"),
        }
        for name in ("requirements.txt", "constraints.txt"):
            shutil.copy(RECIPES / name, directory)

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command, with all that it says in `stdout`."""
        return subprocess.run(
            words,
            cwd=self.directory,
            env=self.variables,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run the lines of `script` until one fails, as the services for CI do."""
        return self.run("bash", "-e", "-c", script.replace("--python 3.12", f"-p {THIS_PYTHON}"))


class Recipe(NamedTuple):
    """A file in recipes/: what it is called in a project, and how it is run there."""

    file: str
    name: str
    run: Callable[[Project], subprocess.CompletedProcess[str]]
    with_plain_uv: Callable[[str], str]


def replacing(old: str, new: str) -> Callable[[str], str]:
    """Return a function that puts `new` in place of `old`, which is there exactly once."""

    def replace(text: str) -> str:
        assert text.count(old) == 1, text
        return text.replace(old, new)

    return replace


def github(project: Project) -> subprocess.CompletedProcess[str]:
    """Run what the steps of the job run, one after the other."""
    workflow = yaml.safe_load((project.directory / "tests.yml").read_text())
    steps = workflow["jobs"]["tests"]["steps"]
    return project.shell("\n".join(step["run"] for step in steps if "run" in step))


def gitlab(project: Project) -> subprocess.CompletedProcess[str]:
    """Run what the script of the job says."""
    jobs = yaml.safe_load((project.directory / ".gitlab-ci.yml").read_text())
    return project.shell("\n".join(jobs["tests"]["script"]))


def earthly(project: Project) -> subprocess.CompletedProcess[str]:
    """Run the commands of the function, with the arguments that the target `app` gives it."""
    text = (project.directory / "Earthfile").read_text()
    _, body = text.split("\nUVPIP:\n")
    function, app = body.split("\n\napp:\n")
    commands = re.findall(r"^    RUN (.*)$", function, re.MULTILINE)
    assert len(commands) == 3
    (call,) = re.findall(r"^    DO \+UVPIP --(arguments=.*)$", app, re.MULTILINE)
    return project.shell("\n".join([f"env={project.directory}/opt/app", call, *commands]))


def commands(*command: str) -> Callable[[Project], subprocess.CompletedProcess[str]]:
    return lambda project: project.run(*command)


PLAIN = "uv pip install "
ALL = [
    Recipe(
        "bootstrap.sh",
        "bootstrap.sh",
        commands("sh", "bootstrap.sh", "app with a space"),
        replacing("\nuvpip ", f"\n{PLAIN}"),
    ),
    Recipe(
        "tox.ini",
        "tox.ini",
        commands("tox", "run"),
        lambda text: text.replace("= uvpip ", f"= {PLAIN}").replace("  uvpip\n", "  uv\n"),
    ),
    Recipe(
        "noxfile.py",
        "noxfile.py",
        commands("nox"),
        replacing('"uvpip"', '"uv", "pip", "install"'),
    ),
    Recipe(
        "Makefile",
        "Makefile",
        commands("make", "run"),
        replacing("\tuvpip ", f"\t{PLAIN}"),
    ),
    Recipe(
        "github-actions.yml",
        "tests.yml",
        github,
        replacing("uvx --from uvshim uvpip ", PLAIN),
    ),
    Recipe(
        "gitlab-ci.yml",
        ".gitlab-ci.yml",
        gitlab,
        replacing("uvx --from uvshim uvpip ", PLAIN),
    ),
    Recipe("Earthfile", "Earthfile", earthly, replacing("RUN uvpip ", f"RUN {PLAIN}")),
]
each_recipe = pytest.mark.parametrize("recipe", ALL, ids=[recipe.file for recipe in ALL])


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel of uvshim in it."""
    directory = tmp_path_factory.mktemp("release")
    build: list[str | Path] = [
        COMMANDS / "uv",
        "build",
        "--quiet",
        "--wheel",
        "--out-dir",
        directory,
        ROOT,
    ]
    subprocess.run(build, check=True)
    return directory


@pytest.fixture
def project(tmp_path: Path, release: Path) -> Iterator[Project]:
    yield Project(tmp_path, release)
    for environment in (".venv", ".tox", ".nox", "opt", "app with a space"):
        shutil.rmtree(tmp_path / environment, ignore_errors=True)


@each_recipe
def test_it_runs_and_everything_is_found(recipe: Recipe, project: Project) -> None:
    shutil.copy(RECIPES / recipe.file, project.directory / recipe.name)
    done = recipe.run(project)
    assert done.returncode == 0, done.stdout
    assert ": ok (" in done.stdout
    found = [path.name for path in project.directory.rglob("oslo*.dist-info")]
    assert "oslo.cache-3.10.2.dist-info" in found
    assert "oslo_cache-3.10.2.dist-info" not in found


@each_recipe
def test_with_plain_uv_it_ends_at_the_gate(recipe: Recipe, project: Project) -> None:
    text = (RECIPES / recipe.file).read_text()
    changed = recipe.with_plain_uv(text)
    assert changed != text
    (project.directory / recipe.name).write_text(changed)
    done = recipe.run(project)
    assert done.returncode != 0
    assert ": broken (" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_hook_holds_up_a_commit_until_the_environment_is_mended(project: Project) -> None:
    shutil.copy(RECIPES / "pre-commit-config.yaml", project.directory / ".pre-commit-config.yaml")
    wanted = "--constraint constraints.txt --requirement requirements.txt"
    made = project.shell(f"git init --quiet; git add .; uv venv .venv; {PLAIN} {wanted}")
    assert made.returncode == 0, made.stdout
    refused = project.run("pre-commit", "run")
    assert refused.returncode == 1
    assert "pkg_resources finds everything in .venv" in refused.stdout
    assert "Failed" in refused.stdout
    assert project.run("uvshim", "fix", ".venv").returncode == 0
    passed = project.run("pre-commit", "run")
    assert passed.returncode == 0, passed.stdout
    assert "Passed" in passed.stdout


@pytest.mark.parametrize(
    ("schema", "file"),
    [("github-workflows", "github-actions.yml"), ("gitlab-ci", "gitlab-ci.yml")],
)
def test_the_files_for_ci_are_what_their_services_read(
    schema: str, file: str, project: Project
) -> None:
    check = ("check-jsonschema", "--builtin-schema", f"vendor.{schema}")
    done = project.run(*check, RECIPES / file)
    assert done.returncode == 0, done.stdout
    spoiled = project.directory / file
    spoiled.write_text((RECIPES / file).read_text().replace("script:", "scripts:", 1))
    spoiled.write_text(spoiled.read_text().replace("runs-on:", "runs-in:", 1))
    assert project.run(*check, spoiled).returncode == 1


def test_every_recipe_is_run() -> None:
    elsewhere = {"Dockerfile", "pre-commit-config.yaml", "requirements.txt", "constraints.txt"}
    files = {path.name for path in RECIPES.iterdir() if path.is_file()}
    assert files == elsewhere | {recipe.file for recipe in ALL}
