"""`[tool.uvshim]`, `uvshim.toml` and the variables `UVSHIM_*`."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from uvshim import config
from uvshim.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run
    from tests.places import Venv

OURS = '[tool.uvshim]\nexclude = ["zope.deferred"]\n'


@pytest.mark.parametrize("pattern", ["a.b c.d", "a.b;c.d", "a.b, c.d"])
def test_a_pattern_that_no_name_can_match_is_a_mistake(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uvshim.toml").write_text(f'exclude = ["{pattern}"]\n')
    with pytest.raises(ConfigurationError, match="matches no project name"):
        config.excluded(str(tmp_path))
    (tmp_path / "uvshim.toml").unlink()
    monkeypatch.setenv("UVSHIM_EXCLUDE", pattern)
    if "," in pattern:
        assert config.excluded(str(tmp_path)) == ["a.b", "c.d"]
    else:
        with pytest.raises(ConfigurationError, match="in UVSHIM_EXCLUDE matches no"):
            config.excluded(str(tmp_path))


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UVSHIM_EXCLUDE", raising=False)


@pytest.mark.parametrize(
    ("patterns", "name", "matches"),
    [
        ([], "a.b", False),
        (["a.b"], "a.b", True),
        (["A-b"], "a.B", True),
        (["a_b"], "a.b", True),
        (["a.b"], "a.bc", False),
        (["a.*"], "a.b", True),
        (["a.*"], "ab", False),
        (["*"], "a.b", True),
        (["oslo.?"], "oslo.x", True),
        (["oslo.[xy]"], "oslo.z", False),
        (["c", "a*"], "a.b", True),
    ],
)
def test_names_match_patterns_however_they_are_spelt(
    patterns: list[str],
    name: str,
    matches: bool,  # noqa: FBT001
) -> None:
    assert config.matcher(patterns)(name) is matches


def test_the_variable_holds_patterns_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UVSHIM_EXCLUDE", " a.b, c.* ,,")
    assert config.excluded(str(tmp_path)) == ["a.b", "c.*"]


def test_the_variable_and_the_file_add_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UVSHIM_EXCLUDE", "a.b")
    (tmp_path / "pyproject.toml").write_text(OURS)
    assert config.excluded(str(tmp_path)) == ["a.b", "zope.deferred"]


def test_only_the_nearest_file_with_our_table_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(OURS)
    assert config.excluded(str(inner)) == ["zope.deferred"]
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'uvshim-plugin'\n")
    assert config.excluded(str(inner)) == ["zope.deferred"]  # a member of a workspace
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.uvshim]\n")
    assert config.excluded(str(inner)) == []
    (tmp_path / "a" / "uvshim.toml").write_text("exclude = ['x.y']\n")
    assert config.excluded(str(inner)) == ["x.y"]
    (inner / "uvshim.toml").mkdir()
    assert config.excluded(str(inner)) == ["x.y"]


def test_a_path_with_dots_leads_only_through_the_parents(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "pyproject.toml").write_text(OURS)
    assert config.excluded(str(tmp_path / "a" / ".." / "b")) == []
    assert config.excluded(str(tmp_path / "b" / ".." / "a")) == ["zope.deferred"]


@pytest.mark.parametrize("content", ["", "[tool]\n", "[tool.uvshim]\n", "# uvshim\ntool = 3\n"])
def test_a_pyproject_need_say_nothing_to_us(content: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    assert config.excluded(str(tmp_path)) == []


@pytest.mark.parametrize(
    "content",
    [
        '[tool.uvshim]\nexclude = ["a.b"]',
        ' [ "tool" . \'uvshim\' ]\r\n"exclude" = ["a.b"]',
        '[tool]\nother = 1\nuvshim.exclude = ["a.b"]',
        'tool = {other = "x", uvshim.exclude = ["a.b"]}',
    ],
)
def test_our_table_may_be_written_in_every_way(content: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    assert config.excluded(str(tmp_path)) == ["a.b"]


def test_a_pyproject_that_is_not_toml_is_uvs_to_complain_of(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[[[")
    assert config.excluded(str(tmp_path)) == []


# What uv reads and Python's own parser does not: an inline table over several lines (TOML 1.1).
NEWER = "[tool.x]\ny = {\n  z = 1,\n}\n"


def test_a_newer_toml_than_python_knows_stops_no_install_unless_it_has_our_table(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    project = venv.path.parent / "pyproject.toml"
    project.write_text(f"{NEWER}{OURS}")
    done = run(uvpip, "--no-index", "-f", wheels, "zope.deferred")
    assert done.returncode == 2
    assert f"error: `{project}` is not valid TOML 1.0: " in done.stderr
    assert "move [tool.uvshim] to uvshim.toml" in done.stderr
    assert venv.dist_infos() == []
    project.write_text(f'{NEWER}[x]\ndependencies = ["uvshim"]\n')
    done = run(uvpip, "--no-index", "-f", wheels, "zope.deferred")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


def test_a_directory_that_cannot_be_searched_stops_no_install(
    run: Run, uvpip: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    inner = tmp_path / "shut" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o600)
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("NOT TRIED: a directory that root cannot search (needs setpriv)")
    rights = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    try:
        words = ("--no-config", "--python", venv.python, "--no-index", "-f", wheels)
        run_in = ("sh", "-c", 'cd "$0" && exec "$@"', inner)
        program = rights if os.geteuid() == 0 else ()
        done = run(*run_in, *program, uvpip, *words, "zope.deferred")
    finally:
        inner.parent.chmod(0o700)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("uvshim.toml", "exclud = []", "has the unknown key `exclud`"),
        ("pyproject.toml", "[tool.uvshim]\nx = 1", "[tool.uvshim] in `"),
        ("uvshim.toml", "exclude = 'a.b'", "is not a list of strings"),
        ("uvshim.toml", "exclude = [1]", "is not a list of strings"),
        ("uvshim.toml", "[exclude]", "is not a list of strings"),
        ("uvshim.toml", "[tool.uvshim]\nexclude = []", "has the unknown key `tool`"),
        ("pyproject.toml", "[tool]\nuvshim = 3", "is not a table"),
        ("pyproject.toml", "[tool.uvshim", "is not valid TOML"),
        ("uvshim.toml", "\xff", "is not valid TOML"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_installed(
    name: str, content: str, message: str, run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    (venv.path.parent / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigurationError) as raised:
        config.excluded(str(venv.path.parent))
    assert message in str(raised.value)
    done = run(uvpip, "--no-config", "--no-index", "-f", wheels, "zope.deferred")
    assert (done.returncode, done.stderr) == (2, f"error: {raised.value}\n")
    assert venv.dist_infos() == []


@pytest.mark.parametrize(
    ("files", "options", "more"),
    [
        ({}, [], {"UVSHIM_EXCLUDE": "x.y,Zope_*"}),
        ({"pyproject.toml": OURS}, [], {}),
        ({"uvshim.toml": "exclude = ['zope.*']"}, [], {}),
        ({"sub/pyproject.toml": OURS}, ["--directory", "sub"], {}),
        ({"sub/pyproject.toml": OURS}, ["--directory=sub"], {}),
        ({"sub/pyproject.toml": OURS}, ["--project", "sub"], {}),
        ({"sub/pyproject.toml": OURS}, [], {"UV_PROJECT": "sub"}),
        ({"sub/pyproject.toml": OURS}, [], {"UV_WORKING_DIR": "sub"}),
        ({"sub/a/pyproject.toml": OURS}, ["--directory", "sub", "--project", "a"], {}),
    ],
    ids=str,
)
def test_an_excluded_name_is_left_alone(
    files: dict[str, str],
    options: list[str],
    more: dict[str, str],
    run: Run,
    uvpip: Path,
    venv: Venv,
    wheels: Path,
) -> None:
    for name, content in files.items():
        path = venv.path.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    offline: list[str | Path] = ["--no-index", "-f", wheels, "zope.deferred"]
    done = run(uvpip, *offline, *options, cwd=None, stdin=None, **more)
    assert done.returncode == 0, done.stderr
    assert venv.dist_infos() == [
        "XStatic_JQuery.TableSorter-2.14.5.3.dist-info",
        "zope_deferred-1.2.dist-info",
    ]
    assert "zope" not in done.stderr.split("Renormalized")[1]
