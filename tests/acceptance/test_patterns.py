"""Ways of installing that people use, each with the single file in place of `uv pip install`.

Those that take an image are in test_image.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.test_zipapp import build
from tests.wheels import build_wheel
from tools import zipapp

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeVenv, Run
    from tests.places import Venv

pytestmark = pytest.mark.index

RIGHT = "zope.deferred-1.2.dist-info"
WRONG = "zope_deferred-1.2.dist-info"
PROJECT = """\
[project]
name = "acme.app"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["simple", "setuptools"]
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PATH with the file under both names."""
    directory = build(tmp_path_factory.mktemp("tools"))
    for name in ("uvpip", "uvshim"):
        (directory / name).symlink_to(zipapp.NAME)
    return directory


@pytest.fixture
def shell(
    run: Run, tools: Path, uv: Path, variables: dict[str, str], wheels: Path, old_setuptools: Path
) -> Any:
    """Run a script that finds the commands, and wheels in place of the index; it must succeed."""
    offline: dict[str, Any] = {"UV_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels)}

    def script(text: str, **more: Any) -> str:
        path = f"{tools}{os.pathsep}{variables['PATH']}"
        done = run("sh", "-euc", text, **{**offline, "PATH": path, **more})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return script


@pytest.mark.parametrize("more", [{}, {"UV": "uv"}], ids=["", "UV is set"])
def test_path_alone_chooses_the_environment(
    shell: Any, make_venv: MakeVenv, variables: dict[str, str], tmp_path: Path, more: dict[str, str]
) -> None:
    """`ENV PATH=/opt/app/bin:$PATH` and constraints that pin setuptools: OpenStack images."""
    app = make_venv("opt/app")
    (tmp_path / "upper-constraints.txt").write_text("zope.deferred===1.2\nsetuptools<82\n")
    said = shell(
        f'PATH={app.path}/bin:$PATH\nuvpip --constraint upper-constraints.txt simple "setuptools"\n'
        'uvshim check --strict "$(dirname "$(dirname "$(command -v python)")")"',
        **more,
    )
    assert " ~ zope.deferred==1.2\n" in said
    assert app.requires("simple")


def test_an_exported_lock_goes_into_a_target(shell: Any, tmp_path: Path) -> None:
    """`--target "${LAMBDA_TASK_ROOT}"` after `uv export`: uv's guide for AWS Lambda."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    said = shell(
        "uv lock -q\n"
        "uv export -q --frozen --no-emit-workspace --no-dev --no-editable -o requirements.txt\n"
        'uvpip -r requirements.txt --target "${LAMBDA_TASK_ROOT}"\n'
        'uvshim check --strict "${LAMBDA_TASK_ROOT}"',
        LAMBDA_TASK_ROOT=str(tmp_path / "task"),
    )
    assert " ~ zope.deferred==1.2\n" in said
    assert (tmp_path / "task" / RIGHT).is_dir()


def test_a_project_is_synchronized_in_two_steps(shell: Any, tmp_path: Path) -> None:
    """`uv sync --locked --no-install-project --no-editable`, then the project: uv's guide."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    site_packages = tmp_path / ".venv" / "lib"
    sync = "uvshim run -- uv sync --locked --no-install-project --no-editable"
    shell(f"uv lock -q\nexport UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1\n{sync}")
    (found,) = site_packages.rglob("zope*.dist-info")
    assert found.name == RIGHT
    before = found.stat()
    shell(f"{sync}\nuvshim run -- uv sync --locked --no-editable\nuvshim check --strict .venv")
    assert found.stat() == before


def test_a_later_uv_sync_keeps_the_names_unless_it_reinstalls(shell: Any, tmp_path: Path) -> None:
    """What docs/local.md says of plain uv beside uvpip."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    shell("uv lock -q\nuvshim run -- uv sync -q\nuv sync\nuv run python -c ''\nuvshim check .venv")
    shell("uv sync --reinstall\n! uvshim check .venv\nuvshim run -- uv sync --reinstall")
    shell("uvshim check .venv")


def test_one_line_undoes_a_whole_environment(
    shell: Any, run: Run, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    build_wheel(wheels, "zope.other", "2.0")
    shell("uvpip setuptools simple zope.other plain_name")
    (tmp_path / "keep").write_text("")
    installed = shell("uv pip freeze")
    assert {RIGHT, "zope.other-2.0.dist-info"} <= set(venv.dist_infos())
    undo = (zipapp.ROOT / "docs" / "operators.md").read_text().partition("UNDO\n")[2]
    assert undo
    shell(undo.partition("\n")[0].replace(" /opt/app", " .venv"))
    assert {WRONG, "zope_other-2.0.dist-info"} <= set(venv.dist_infos())
    assert shell("uv pip freeze") == installed
