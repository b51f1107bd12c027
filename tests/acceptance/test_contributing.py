"""The workflow and the hooks for contributors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.acceptance.test_recipes import COMMANDS

if TYPE_CHECKING:
    from tests.conftest import Run

pytestmark = pytest.mark.index

ROOT = Path(__file__).parent.parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"


def test_the_workflow_is_what_its_service_reads(run: Run, tmp_path: Path) -> None:
    check = (COMMANDS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows")
    done = run(*check, WORKFLOW)
    assert done.returncode == 0, done.stdout
    (tmp_path / "spoiled.yml").write_text(WORKFLOW.read_text().replace("runs-on:", "runs-in:", 1))
    assert run(*check, tmp_path / "spoiled.yml").returncode == 1


def test_the_workflow_calls_the_checks_with_every_python_that_is_promised() -> None:
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["checks"]
    assert job["steps"][-1]["run"].endswith(" .ci/run")
    promised = re.findall(
        r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert job["strategy"]["matrix"]["python"] == [*promised, "3.x"]


def test_the_hooks_are_what_pre_commit_reads_and_a_part_of_make_lint(run: Run) -> None:
    done = run(COMMANDS / "pre-commit", "validate-config", HOOKS)
    assert done.returncode == 0, done.stdout
    makefile = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
    (repository,) = yaml.safe_load(HOOKS.read_text())["repos"]
    for hook in repository["hooks"]:
        assert f"\n\t{hook['entry'].removesuffix(' --force-exclude')}" in makefile, hook["id"]
