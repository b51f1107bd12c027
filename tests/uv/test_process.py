"""Which uv is run, how a program is started, and its output."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uv

from uvshim.errors import UvNotFoundError, UvshimError
from uvshim.uv import process

if TYPE_CHECKING:
    from tests.conftest import MakeVenv, Run

VARIABLES = ("UVSHIM_UV", "UV", "PATH")


@pytest.fixture
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.usefixtures("_nothing_chosen")
def test_a_variable_of_ours_comes_first(monkeypatch: pytest.MonkeyPatch, program: Path) -> None:
    monkeypatch.setenv("UV", "/bin/sh")
    monkeypatch.setenv("UVSHIM_UV", str(program))
    assert process.find_uv() == str(program)
    monkeypatch.setenv("UVSHIM_UV", "uv")
    monkeypatch.setenv("PATH", str(program.parent))
    assert process.find_uv() == str(program)


@pytest.mark.usefixtures("_nothing_chosen")
def test_a_variable_of_ours_that_names_no_program_is_an_error(
    monkeypatch: pytest.MonkeyPatch, program: Path
) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    for wrong, code in (
        (program.parent, 126),
        ("/etc/passwd", 126),
        (program / "x", 127),
        ("x", 127),
    ):
        monkeypatch.setenv("UVSHIM_UV", str(wrong))
        with pytest.raises(UvshimError, match=f"`{wrong}`, which UVSHIM_UV names") as raised:
            process.find_uv()
        assert raised.value.exit_code == code


@pytest.mark.usefixtures("_nothing_chosen")
def test_the_variable_that_uv_sets_comes_next_if_it_names_a_program(
    monkeypatch: pytest.MonkeyPatch, program: Path
) -> None:
    monkeypatch.setenv("UV", "/bin/sh")
    monkeypatch.setenv("PATH", str(program.parent))
    assert process.find_uv() == "/bin/sh"
    monkeypatch.setenv("UV", "/no/such/uv")
    assert process.find_uv() == str(program)


@pytest.mark.usefixtures("_nothing_chosen")
def test_only_what_can_be_run_is_found_on_path(
    monkeypatch: pytest.MonkeyPatch, program: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "uv").touch(mode=0o644)
    (tmp_path / "directory" / "uv").mkdir(parents=True)
    places = [tmp_path / "file", tmp_path / "directory", program.parent]
    monkeypatch.setenv("PATH", ":".join(map(str, places)))
    assert process.find_uv() == str(program)


@pytest.mark.usefixtures("_nothing_chosen")
def test_the_uv_that_is_installed_beside_it_comes_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert shutil.which("uv") is None
    assert process.find_uv() == str(Path(sys.executable).with_name("uv"))
    # Where it is not beside Python, as with `pip install --user`, its package knows.
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(uv, "find_uv_bin", lambda: "/where/the/package/says")
    assert process.find_uv() == "/where/the/package/says"


@pytest.mark.usefixtures("_nothing_chosen")
def test_without_any_uv_an_error_says_what_to_do(
    run: Run, uvpip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_installed", lambda: None)
    with pytest.raises(UvNotFoundError, match="There is no `uv` on PATH"):
        process.find_uv()
    done = run(uvpip, "x", UVSHIM_UV=str(tmp_path / "none"))
    assert done.returncode == 127
    assert done.stderr.startswith("error: `")
    assert done.stderr.count("\n") == 1


def test_a_uv_that_is_no_program_is_reported(
    run: Run, uvpip: Path, program: Path, tmp_path: Path
) -> None:
    program.write_bytes(b"\x7fELF but not really")
    for words in (["x"], ["list"]):
        done = run(uvpip, *words, UVSHIM_UV=str(program))
        assert done.returncode == 126
        assert done.stderr.startswith(f"error: `{program}` cannot be run: ")


def test_a_locale_that_python_set_for_itself_is_not_handed_on(run: Run, uvshim: Path) -> None:
    for more in ([], ["LC_CTYPE=C.UTF-8"], ["LC_ALL=C.UTF-8", "LC_CTYPE=C.UTF-8"]):
        done = run("env", "-i", *more, uvshim, "run", "--", "/usr/bin/env")
        assert done.stdout.split() == sorted(more), done.stderr


def test_where_the_working_directory_is_gone_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()
    monkeypatch.chdir(directory)
    assert process.working_directory() == str(directory)
    directory.rmdir()
    assert process.working_directory() == ""


CODE = "import sys; sys.path[:0] = {!r}; from uvshim.{} import main; sys.exit(main())"


@pytest.mark.parametrize("place", ["cache/archive-v0/x", "cache/environments-v2/x", "tools/x"])
def test_the_environment_that_uvx_made_for_us_is_not_one_to_install_into(
    place: str, run: Run, uv: Path, make_venv: MakeVenv, wheels: Path, only_uv: Path, tmp_path: Path
) -> None:
    """uvx puts the environment of the program first on PATH, and its own path into UV."""
    ours = make_venv(place)
    if place.startswith("cache"):
        (tmp_path / "cache" / "CACHEDIR.TAG").touch()
    else:
        (ours.path / "uv-receipt.toml").touch()
    made: dict[str, Any] = {"UV": str(uv), "PATH": f"{ours.path / 'bin'}:{only_uv}"}
    words: list[str | Path] = ["--no-index", "-f", wheels, "zope.deferred"]
    done = run(ours.python, "-c", CODE.format(sys.path, "uvpip"), *words, **made)
    plain = run(uv, "pip", "install", *words, PATH=str(only_uv))
    assert (done.returncode, done.stderr) == (plain.returncode, plain.stderr)
    assert done.returncode == 2
    assert ours.dist_infos() == []
    done = run(ours.python, "-c", CODE.format(sys.path, "cli"), "check", **made)
    assert (done.returncode, done.stdout) == (2, "")
    active: dict[str, Any] = {
        **made,
        "VIRTUAL_ENV": str(ours.path),
    }  # as `uv run` does in a project
    done = run(ours.python, "-c", CODE.format(sys.path, "uvpip"), *words, **active)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in ours.dist_infos()


def test_an_environment_that_path_alone_selects_is_installed_into_whatever_uv_is_set_to(
    run: Run, uv: Path, make_venv: MakeVenv, wheels: Path, only_uv: Path
) -> None:
    """A Dockerfile has ``ENV UV=/usr/bin/uv`` and ``ENV PATH=/venv/bin:$PATH``."""
    ours, other = make_venv("ours"), make_venv("other")
    path = f"{ours.path / 'bin'}:{other.path / 'bin'}:{only_uv}"
    words: list[str | Path] = ["--no-index", "-f", wheels, "zope.deferred"]
    code = CODE.format(sys.path, "uvpip")
    done = run(ours.python, "-c", code, *words, UV=str(uv), PATH=path)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in ours.dist_infos()
    assert other.dist_infos() == []
