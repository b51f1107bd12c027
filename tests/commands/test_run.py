"""`uvshim run` on real environments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import interpreters
from tests.places import Venv, bundled_pip, copy_installation, tree
from tests.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeVenv, Run


def test_run_cares_for_an_environment_that_the_command_creates(
    run: Run, uv: Path, uvshim: Path, wheels: Path, tmp_path: Path, offline: dict[str, Any]
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.8"\n'
        'dependencies = ["zope.deferred"]\n'
    )
    done = run(uvshim, "run", "--", uv, "sync", "--python", sys.executable, **offline)
    assert done.returncode == 0, done.stderr
    assert Venv(tmp_path / ".venv").dist_infos()[-1] == "zope.deferred-1.2.dist-info"
    assert "Renormalized 2 distributions" in done.stderr
    again = run(uvshim, "run", "--", uv, "sync", "--python", sys.executable, **offline)
    assert again.returncode == 0
    assert "Renormalized" not in again.stderr


def test_run_cares_for_the_environment_of_a_pip_whatever_uv_would_use(
    run: Run,
    uvshim: Path,
    make_venv: MakeVenv,
    venv: Venv,
    wheels: Path,
    install_pip: Callable[[Path], None],
) -> None:
    other = make_venv("other")
    install_pip(other.python)
    wanted = ("--no-index", "--find-links", wheels, "zope.deferred")
    done = run(uvshim, "run", "--", other.path / "bin/pip", "install", "-q", *wanted)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in other.dist_infos()


def test_run_cares_for_the_environment_that_is_named_and_for_no_other(
    run: Run, uv: Path, uvshim: Path, make_venv: MakeVenv, wheels: Path
) -> None:
    named, other = make_venv("named"), make_venv("other")
    script = " && ".join(
        f"{uv} pip install -q --no-index -f {wheels} -p {each.path} zope.deferred"
        for each in (named, other)
    )
    assert run(uvshim, "run", "--env", named.path, "--", "sh", "-c", script).returncode == 0
    assert named.dist_infos()[-1] == "zope.deferred-1.2.dist-info"
    assert other.dist_infos()[-1] == "zope_deferred-1.2.dist-info"


def test_run_touches_nothing_that_stood_there_before(run: Run, uvshim: Path, broken: Venv) -> None:
    before = tree(broken.path)
    assert run(uvshim, "run", "--", "true").returncode == 0
    assert tree(broken.path) == before


def test_run_ends_as_the_command_does(run: Run, uvshim: Path, venv: Venv) -> None:
    assert run(uvshim, "run", "--", "sh", "-c", "exit 7").returncode == 7
    for number in (9, 15):
        assert run(uvshim, "run", "--", "sh", "-c", f"kill -{number} $$").returncode == -number
    assert run(uvshim, "run", "--", "no-such-command").returncode == 127
    assert run(uvshim, "run").returncode == 2


def test_run_reads_the_options_of_a_uv_pip_as_uv_does(
    run: Run, uv: Path, uvshim: Path, venv: Venv, make_venv: MakeVenv, wheels: Path, tmp_path: Path
) -> None:
    other = make_venv("other")
    wanted = ("--no-index", "--find-links", wheels, "zope.deferred")
    for place in (("-p", other.path), ("--target", tmp_path / "target")):
        done = run(uvshim, "run", "--", uv, "pip", "install", *place, *wanted)
        assert done.returncode == 0, done.stderr
    assert other.dist_infos()[-1] == "zope.deferred-1.2.dist-info"
    assert (tmp_path / "target" / "zope.deferred-1.2.dist-info").is_dir()


def test_run_keeps_the_exit_code_whatever_becomes_of_the_place_that_was_named(
    run: Run, uv: Path, uvshim: Path, wheels: Path, tmp_path: Path
) -> None:
    done = run(uvshim, "run", "--env", "out", "--", "sh", "-c", "mkdir out; exit 7")
    assert done.returncode == 7
    (tmp_path / "empty").mkdir()
    wanted = ("--no-index", "--find-links", wheels, "zope.deferred")
    command = (uv, "pip", "install", "--python", sys.executable, "--target", "empty", *wanted)
    done = run(uvshim, "run", "--env", "empty", "--", *command)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "empty" / "zope.deferred-1.2.dist-info").is_dir()


@pytest.fixture(scope="session")
def compiled_pip(uv: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a pip that Python has compiled: that takes longer than all pip does here."""
    directory = tmp_path_factory.mktemp("pip")
    command: list[str | Path] = [uv, "pip", "install", "--quiet", "--no-config", "--no-index"]
    place = ("--python", sys.executable, "--target", directory, "--compile-bytecode")
    cache = {"UV_CACHE_DIR": str(shared_cache)}
    subprocess.run([*command, *place, bundled_pip()], env=cache, check=True)
    return directory


@pytest.fixture
def install_pip(run: Run, uv: Path, compiled_pip: Path) -> Callable[[Path], None]:
    """Install pip into the environment of a Python, with links to what is compiled already."""

    def install(python: Path) -> None:
        choice = ("--python", python, "--break-system-packages", "--no-index")
        assert run(uv, "pip", "install", *choice, bundled_pip()).returncode == 0
        (site_packages,) = python.parent.parent.glob("lib/*/site-packages")
        for each in compiled_pip.rglob("__pycache__"):
            there = site_packages / each.relative_to(compiled_pip)
            shutil.copytree(each, there, copy_function=os.link)

    return install


LIBFAKETIME = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@pytest.mark.skipif(not LIBFAKETIME, reason="NOT TRIED: libfaketime is not installed")
def test_run_cares_for_what_is_created_where_the_clock_of_the_disk_is_late(
    run: Run, uv: Path, uvshim: Path, wheels: Path, tmp_path: Path, offline: dict[str, Any]
) -> None:
    make = f"{uv} venv -q -p {sys.executable} && {uv} pip install -q zope.deferred"
    ahead: dict[str, Any] = {
        "LD_PRELOAD": str(LIBFAKETIME[0]),
        "FAKETIME": "+5s",
        "NO_FAKE_STAT": "1",
    }
    done = run(uvshim, "run", "--", "sh", "-c", make, **ahead, **offline)
    assert done.returncode == 0, done.stderr
    assert Venv(tmp_path / ".venv").dist_infos()[-1] == "zope.deferred-1.2.dist-info"


def test_run_takes_what_pip_has_put_aside_for_no_distribution(
    run: Run, uvshim: Path, venv: Venv
) -> None:
    stash = venv.site_packages / "~cme.one-1.0.dist-info"
    done = run(uvshim, "run", "--env", venv.path, "--", "mkdir", stash)
    assert (done.returncode, done.stderr) == (0, "")
    assert stash.exists()


@pytest.fixture
def with_pip(install_pip: Callable[[Path], None], installation: Path) -> Path:
    """A Python that is not a virtual one, with pip; a newer one has been in the same prefix."""
    install_pip(installation / "bin" / "python3")
    (installation / "lib" / "python3.99" / "site-packages").mkdir(parents=True)
    return installation


# How a pip is told where to install, by words and by variables, and where that is.
TOLD: list[tuple[list[str], dict[str, Any], str]] = [
    ([], {}, "python/lib/python3.*/site-packages"),
    (["--target", "t"], {}, "t"),
    (["--target=./t"], {}, "t"),
    (["-t", "t"], {}, "t"),
    (["-tt"], {}, "t"),
    (["--prefix", "p"], {}, "p/lib/python3.*/site-packages"),
    (["--root", "r"], {}, "r/**/site-packages"),
    (["--root=r", "--prefix=/p"], {}, "r/p/lib/python3.*/site-packages"),
    (["--user"], {}, "home/.local/lib/python3.*/site-packages"),
    ([], {"PIP_TARGET": "t"}, "t"),
    ([], {"PIP_CONFIG_FILE": "pip.conf"}, "t"),
]
# The same is read from the words of `python -m pip`: from the right one on, by the right Python.
TOLD_TO_PYTHON = [TOLD[0], TOLD[1], TOLD[9]]


@pytest.mark.parametrize(
    ("how", "words", "more", "lands"),
    [
        *(("pip", *each) for each in TOLD),
        *(("python -m pip", *each) for each in TOLD_TO_PYTHON),
    ],
    ids=str,
)
def test_run_cares_for_what_a_pip_installs_wherever_it_is_told_to(
    how: str,
    words: list[str],
    more: dict[str, Any],
    lands: str,
    run: Run,
    uvshim: Path,
    with_pip: Path,
    wheels: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "pip.conf").write_text("[install]\ntarget = t\n")
    version = f"3.{sys.version_info.minor}"
    command: list[str | Path] = [with_pip / "bin" / f"pip{version}"]
    if how != "pip":
        command = [with_pip / "bin" / f"python{version}", "-m", "pip"]
    command += ["install", "-q", "--no-warn-script-location", "--no-index", "-f", wheels, *words]
    done = run(uvshim, "run", "--", *command, "zope.deferred", cwd=tmp_path, stdin="", **more)
    assert done.returncode == 0, done.stderr
    (found,) = (each for each in tmp_path.rglob("*deferred*.dist-info") if each.is_dir())
    assert found.name == "zope.deferred-1.2.dist-info"
    assert found in tmp_path.glob(f"{lands}/*")


def test_run_tells_two_pythons_of_one_prefix_apart(
    run: Run, uvshim: Path, with_pip: Path, wheels: Path, tmp_path: Path
) -> None:
    others = [each for each in interpreters() if each.name != f"python3.{sys.version_info.minor}"]
    if not others:
        pytest.skip("NOT TRIED: a second Python")
    second = copy_installation(tmp_path / "second", others[-1])
    name = others[-1].name
    shutil.copy(second / "bin" / name, with_pip / "bin" / name)
    (second / "lib" / name).rename(with_pip / "lib" / name)
    for alias in ("python", "python3"):
        (with_pip / "bin" / alias).unlink()
        (with_pip / "bin" / alias).symlink_to(name)
    first = with_pip / "bin" / f"python3.{sys.version_info.minor}"
    command = (first, "-m", "pip", "install", "-q", "--no-index", "-f", wheels, "zope.deferred")
    path = f"{with_pip / 'bin'}:{os.environ['PATH']}"
    done = run(uvshim, "run", "--", *command, UV_SYSTEM_PYTHON="1", PATH=path)
    assert done.returncode == 0, done.stderr
    (found,) = with_pip.glob("lib/*/site-packages/*deferred*.dist-info")
    assert found.name == "zope.deferred-1.2.dist-info"


def test_run_cares_for_the_tools_that_uv_installs(
    run: Run, uv: Path, uvshim: Path, wheels: Path, tmp_path: Path, offline: dict[str, Any]
) -> None:
    build_wheel(wheels, "tool", entry_points="[console_scripts]\ntool = tool:main\n")
    places: dict[str, Any] = {
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        **offline,
    }
    command = ("tool", "install", "-q", "-p", sys.executable, "--with", "zope.deferred", "tool")
    done = run(uvshim, "run", "--", uv, "--no-config", *command, **places)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in Venv(tmp_path / "tools" / "tool").dist_infos()


@pytest.mark.parametrize(
    "before", [["-q"], ["--color", "never"], ["--directory", "."], ["--no-config", "--offline"]]
)
def test_run_finds_the_subcommand_of_a_uv_behind_its_options(
    before: list[str], run: Run, uv: Path, uvshim: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    words = ("--no-index", "-f", wheels, "--target", "t", "zope.deferred")
    done = run(uvshim, "run", "--", uv, *before, "pip", "install", *words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "zope.deferred-1.2.dist-info").is_dir()


def test_run_says_where_it_looked_if_it_cannot_know_where_a_command_installs(
    run: Run, uvshim: Path, uv: Path, venv: Venv, wheels: Path
) -> None:
    done = run(uvshim, "run", "--", "sh", "-c", "true")
    assert done.returncode == 0
    assert done.stderr == (
        f"It is not known where `sh` installs: nothing is new in `{venv.path}` (see --env)\n"
    )
    assert run(uvshim, "run", "-q", "--", "sh", "-c", "true").stderr == ""
    assert run(uvshim, "run", "--env", venv.path, "--", "true").stderr == ""
    assert run(uvshim, "run", "--", uv, "--version").stderr == ""
    install = f"{uv} pip install -q --no-index -f {wheels} zope.deferred"
    done = run(uvshim, "run", "--", "sh", "-c", install)
    assert "Renormalized" in done.stderr
    assert "not known" not in done.stderr
