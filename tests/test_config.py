"""`[tool.uvshim]`, `uvshim.toml` and the variables `UVSHIM_*`."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from uvshim import config
from uvshim.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run
    from tests.places import Venv

OURS = '[tool.uvshim]\nexclude = ["zope.deferred"]\n'


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


def test_only_the_nearest_file_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(OURS)
    assert config.excluded(str(inner)) == ["zope.deferred"]
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
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


BLANK = st.text(" \t", max_size=2)

# Where our table may stand: T is the key `tool`, U is `uvshim`, each however it may be written.
TABLES = (
    '[T.U]\nexclude = ["a.b"]',
    '[T]\nx.exclude = 1\n[T.U]\n"exclude" = ["a.b"]',
    '[T]\nU = {exclude = ["a.b"]}',
    '[T]\nother = 1\nU.exclude = ["a.b"]',
    'T.U.exclude = ["a.b"]',
    'T.U = {exclude = ["a.b"]}',
    'T = {U = {exclude = ["a.b"]}}',
    'T = {other = "x", U.exclude = ["a.b"]}',
)


@st.composite
def keys(draw: st.DrawFn, name: str) -> str:
    """Draw a TOML key that means `name`."""
    quote = draw(st.sampled_from(["", "'", '"']))
    if quote == '"':
        written = ["{}", "\\u{:04x}", "\\U{:08X}"]
        forms = [draw(st.sampled_from(written)) for _ in name]
        pairs = zip(forms, name, strict=True)
        name = "".join(f.format(c if f == "{}" else ord(c)) for f, c in pairs)
    return draw(BLANK) + quote + name + quote + draw(BLANK)


@given(st.sampled_from(TABLES), keys("tool"), keys("uvshim"), st.sampled_from(["\n", "\r\n"]))
def test_however_our_table_is_written_it_is_found(
    table: str, tool: str, ours: str, line_end: str
) -> None:
    content = "".join({"T": tool, "U": ours, "\n": line_end}.get(c, c) for c in table)
    assert tomli.loads(content)["tool"]["uvshim"] == {"exclude": ["a.b"]}
    assert config._may_say(content.encode())


@pytest.mark.parametrize(
    "content",
    [
        '[project]\ndependencies = ["uvshim>=0.3", "some-tool==1"]',
        '[project.scripts]\nuvshim = "uvshim.cli:main"\n[tool.hatch]\npackages = ["uvshim"]',
        '[tool.poetry.dependencies]\nuvshim = "*"\nuv-tool = "*"',
        '[tool.ruff]\nselect = ["ALL"]',
        "# run by uvshim",
    ],
)
def test_a_pyproject_that_merely_mentions_this_program_is_not_parsed(content: str) -> None:
    assert not config._may_say(content.encode())


def test_a_pyproject_that_is_not_toml_is_uvs_to_complain_of(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[[[")
    assert config.excluded(str(tmp_path)) == []


# What uv reads and Python's own parser does not: an inline table over several lines (TOML 1.1).
NEWER = "[tool.x]\ny = {\n  z = 1,\n}\n"


@pytest.mark.parametrize(
    ("content", "patterns"),
    [
        (f"{NEWER}{OURS}", ["zope.deferred"]),
        (f'{OURS}# [\n\n  [ "tool" . x2 ]\na = 1\n{NEWER}', ["zope.deferred"]),
        (f'tool.uvshim.exclude = ["a.b"]\n{NEWER}', ["a.b"]),
        (f'[tool.uvshim]\nexclude = [\n  "a.b",\n]\n{NEWER}', ["a.b"]),
        (f'{NEWER}[tool]\n[project]\ndependencies = ["uvshim"]\nauthor = "\\u00e9"\n', []),
        (f"{OURS}[[[", ["zope.deferred"]),
    ],
)
def test_what_else_stands_in_a_pyproject_is_not_ours_to_judge(
    content: str, patterns: list[str], tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    assert config.excluded(str(tmp_path)) == patterns


def test_a_newer_toml_than_python_knows_stops_no_install(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    content = f"{NEWER}{OURS}"
    (venv.path.parent / "pyproject.toml").write_text(content)
    done = run(uvpip, "--no-index", "-f", wheels, "zope.deferred")
    assert done.returncode == 0, done.stderr
    assert "zope_deferred-1.2.dist-info" in venv.dist_infos()


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
def test_a_mistake_is_told_before_anything_is_installed(
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
