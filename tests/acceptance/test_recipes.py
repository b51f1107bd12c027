"""The recipes of the documentation: each runs unchanged, and its check fails with plain uv.

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

from tools import zipapp
from tools.zipapp import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.index

RECIPES = ROOT / "recipes"
COMMANDS = Path(sys.executable).parent
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


# What the pages begin with, to be run in a checkout; how else the commands or the file are had.
GET_FILE = "make zipapp"
GET_COMMANDS = "uv tool install ."

# The programs that a page assumes.
PROGRAMS = ("uv", "tox", "nox", "pre-commit", "check-jsonschema")


class Project:
    """A directory as the page of a recipe describes it, without any other uvshim on PATH."""

    def __init__(self, directory: Path, tools: Path | None) -> None:
        self.directory = directory
        programs = directory.parent / f"{directory.name}-programs"
        programs.mkdir()
        for name in PROGRAMS:
            (programs / name).symlink_to(COMMANDS / name)
        others = [
            each
            for each in os.environ["PATH"].split(os.pathsep)
            if Path(each) != COMMANDS and not Path(each, "uvshim").exists()
        ]
        path = [programs, *([tools] if tools else []), *others]
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("UVSHIM_", "VIRTUAL_ENV", "PYTEST", "TOX", "NOX", "MAKE"))
        }
        self.variables = {
            **kept,
            "PATH": os.pathsep.join(map(str, path)),
            "UV_PYTHON_DOWNLOADS": "never",
            "PRE_COMMIT_HOME": str(directory / "pre-commit"),
        }
        for name in ("requirements.txt", "constraints.txt"):
            shutil.copy(RECIPES / name, directory)

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command, with both streams in `stdout`."""
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

    page: str
    get: str
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
    for name in ("uvshim", "uvpip"):
        saved = f"    SAVE ARTIFACT /uvshim{'' if name == 'uvshim' else ' /uvpip'}\n"
        assert saved in text
        shutil.copy(project.directory / "uvshim.pyz", project.directory / name)
        (project.directory / name).chmod(0o755)
    project.variables["PATH"] = f"{project.directory}{os.pathsep}{project.variables['PATH']}"
    assert len(commands) == 3
    (call,) = re.findall(r"^    DO \+UVPIP --(arguments=.*)$", app, re.MULTILINE)
    return project.shell("\n".join([f"env={project.directory}/opt/app", call, *commands]))


def commands(*command: str) -> Callable[[Project], subprocess.CompletedProcess[str]]:
    return lambda project: project.run(*command)


PLAIN = "uv pip install "
ALL = [
    Recipe(
        "bootstraps.md",
        GET_FILE,
        "bootstrap.sh",
        "bootstrap.sh",
        commands("sh", "bootstrap.sh", "app with a space"),
        replacing('sh "$here/uvshim.pyz" pip ', PLAIN),
    ),
    Recipe(
        "local.md",
        GET_COMMANDS,
        "tox.ini",
        "tox.ini",
        commands("tox", "run"),
        lambda text: text.replace("= uvpip ", f"= {PLAIN}").replace("  uvpip\n", "  uv\n"),
    ),
    Recipe(
        "local.md",
        GET_COMMANDS,
        "noxfile.py",
        "noxfile.py",
        commands("nox"),
        replacing('"uvpip"', '"uv", "pip", "install"'),
    ),
    Recipe(
        "local.md",
        GET_COMMANDS,
        "Makefile",
        "Makefile",
        commands("make", "run"),
        replacing("\tuvpip ", f"\t{PLAIN}"),
    ),
    Recipe(
        "ci.md",
        GET_FILE,
        "github-actions.yml",
        "tests.yml",
        github,
        replacing("sh uvshim.pyz pip ", PLAIN),
    ),
    Recipe(
        "ci.md",
        GET_FILE,
        "gitlab-ci.yml",
        ".gitlab-ci.yml",
        gitlab,
        replacing("sh uvshim.pyz pip ", PLAIN),
    ),
    Recipe(
        "earthly.md",
        GET_FILE,
        "Earthfile",
        "Earthfile",
        earthly,
        replacing("RUN uvpip ", f"RUN {PLAIN}"),
    ),
]
each_recipe = pytest.mark.parametrize("recipe", ALL, ids=[recipe.file for recipe in ALL])


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make zipapp` builds."""
    directory = tmp_path_factory.mktemp("file")
    subprocess.run([sys.executable, zipapp.__file__, "--output", directory], check=True)
    return directory / zipapp.NAME


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that `uv tool install .` puts the commands into."""
    directory = tmp_path_factory.mktemp("tools")
    places = {"UV_TOOL_DIR": str(directory), "UV_TOOL_BIN_DIR": str(directory / "bin")}
    command: list[str | Path] = [COMMANDS / "uv", *GET_COMMANDS.split()[1:]]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **places}, check=True)
    return directory / "bin"


@pytest.fixture
def project(
    tmp_path: Path, request: pytest.FixtureRequest, file: Path, tools: Path
) -> Iterator[Project]:
    """A project as the page of the recipe describes it; without a recipe, with the commands."""
    recipe = request.getfixturevalue("recipe") if "recipe" in request.fixturenames else None
    directory = tmp_path / "project"
    directory.mkdir()
    if recipe and recipe.get == GET_FILE:
        shutil.copyfile(file, directory / file.name)
    yield Project(directory, None if recipe and recipe.get == GET_FILE else tools)
    shutil.rmtree(directory, ignore_errors=True)


@each_recipe
def test_its_page_begins_with_the_command_that_gets_what_it_needs(recipe: Recipe) -> None:
    page = (ROOT / "docs" / recipe.page).read_text()
    first = re.search(r"^```(\w+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert first is not None
    assert (first[1], first[2]) == ("sh", f"{recipe.get}\n")


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
def test_with_plain_uv_its_check_fails(recipe: Recipe, project: Project) -> None:
    text = (RECIPES / recipe.file).read_text()
    changed = recipe.with_plain_uv(text)
    assert changed != text
    (project.directory / recipe.name).write_text(changed)
    done = recipe.run(project)
    assert done.returncode != 0
    assert ": broken (" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_hook_holds_up_a_commit_until_the_environment_is_fixed(project: Project) -> None:
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
    elsewhere = {
        "Dockerfile",
        "Dockerfile.fix",
        "Dockerfile.mount",
        "nightly-survey.yml",  # these two by test_check_images.py
        "survey.sh",
        "pre-commit-config.yaml",
        "requirements.txt",
        "constraints.txt",
    }
    files = {path.name for path in RECIPES.iterdir() if path.is_file()}
    assert files == elsewhere | {recipe.file for recipe in ALL}
