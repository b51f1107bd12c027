"""`uvshim run` on real environments."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import interpreters
from tests.corpus import installed, write
from tests.places import Venv, bundled_pip, copy_installation, tree
from tests.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeVenv, Run


def test_run_renames_in_an_environment_that_the_command_creates(
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


def test_run_renames_in_the_environment_of_a_pip_whatever_uv_would_use(
    run: Run,
    uvshim: Path,
    make_venv: MakeVenv,
    venv: Venv,
    wheels: Path,
    install_pip: Callable[[Path], None],
) -> None:
    other = make_venv("other")
    install_pip(other.python)
    late = "import atexit, sys; atexit.register(sys.stderr.write, 'the last word\\n')\n"
    (other.site_packages / "sitecustomize.py").write_text(late)  # as tracers and profilers do
    wanted = ("--no-index", "--find-links", wheels, "zope.deferred")
    done = run(uvshim, "run", "--", other.path / "bin/pip", "install", "-q", *wanted)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in other.dist_infos()


def test_run_renames_in_the_environment_that_is_named_and_for_no_other(
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


def test_run_touches_no_older_directory(run: Run, uvshim: Path, broken: Venv) -> None:
    before = tree(broken.path)
    assert run(uvshim, "run", "--", "true").returncode == 0
    assert tree(broken.path) == before


def test_run_ends_well_if_the_command_removes_the_working_directory(
    run: Run, uvshim: Path, make_venv: MakeVenv, tmp_path: Path
) -> None:
    make_venv("gone/v")
    for env in ([], ["--env", "v"]):
        (tmp_path / "gone").mkdir(exist_ok=True)
        command = ("sh", "-c", "rm -rf ../gone")
        done = run(uvshim, "run", *env, "--", *command, cwd=tmp_path / "gone")
        assert (done.returncode, done.stderr) == (0, "")
        make_venv("gone/v")


def test_run_ends_as_the_command_does(run: Run, uvshim: Path, venv: Venv) -> None:
    assert run(uvshim, "run", "--", "sh", "-c", "exit 7").returncode == 7
    for number in (9, 15):
        assert run(uvshim, "run", "--", "sh", "-c", f"kill -{number} $$").returncode == -number
    assert run(uvshim, "run", "--", "no-such-command").returncode == 127
    assert run(uvshim, "run").returncode == 2
    assert run(uvshim, "run", "--env", "", "--", "sh", "-c", "exit 7").returncode == 2


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
def test_run_renames_what_is_created_on_a_disk_with_a_late_clock(
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


def test_run_ignores_directories_that_pip_is_removing(run: Run, uvshim: Path, venv: Venv) -> None:
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


# Arguments and variables that choose where pip installs, and the place.
PIP_CHOICES: list[tuple[list[str], dict[str, Any], str]] = [
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
TOLD_TO_PYTHON = [PIP_CHOICES[0], PIP_CHOICES[1], PIP_CHOICES[9]]


@pytest.mark.parametrize(
    ("how", "words", "more", "lands"),
    [
        *(("pip", *each) for each in PIP_CHOICES),
        *(("python -m pip", *each) for each in TOLD_TO_PYTHON),
    ],
    ids=str,
)
def test_run_renames_what_pip_installs_in_any_place(
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


@pytest.mark.parametrize(
    ("python", "target"),
    [
        *((python, "") for python in ("-mpip", "-Im pip", "-m pip.__main__", "-W ignore -Bm pip")),
        *(("-mpip", target) for target in ("-qt t", "-tt", "--targ t", "--targ=t", "-qtt")),
    ],
)
def test_run_lets_pip_parse_its_own_command_line(
    python: str,
    target: str,
    run: Run,
    uvshim: Path,
    with_pip: Path,
    wheels: Path,
    tmp_path: Path,
) -> None:
    command: list[str | Path] = [with_pip / "bin" / "python3", *python.split(), "-q", "install"]
    command += ["--no-index", "-f", wheels, *target.split(), "zope.deferred"]
    done = run(uvshim, "run", "--", *command)
    assert done.returncode == 0, done.stderr
    (found,) = (each for each in tmp_path.rglob("*deferred*.dist-info") if each.is_dir())
    assert found.name == "zope.deferred-1.2.dist-info"
    assert (found.parent == tmp_path / "t") == bool(target)


@pytest.mark.parametrize(
    "before", [["env", "X=1"], ["nice", "-n", "1"], ["sh", "-c", '"$@"', "sh"]], ids=str
)
def test_run_finds_a_pip_behind_another_program(
    before: list[str], run: Run, uvshim: Path, with_pip: Path, wheels: Path
) -> None:
    path = os.pathsep.join([str(with_pip / "bin"), os.environ["PATH"]])
    pip: list[str | Path] = ["pip3", "install", "-q", "--no-index", "--break-system-packages"]
    done = run(uvshim, "run", "--", *before, *pip, "-f", wheels, "zope.deferred", PATH=path)
    assert done.returncode == 0, done.stderr
    (found,) = with_pip.rglob("*deferred-*.dist-info")
    assert found.name == "zope.deferred-1.2.dist-info"


@pytest.mark.parametrize(
    "before", [["env", "X=1"], ["nice", "-n", "1"], ["sh", "-c", '"$@"', "sh"]], ids=str
)
def test_run_finds_the_environment_of_a_pip_that_is_not_asked(
    before: list[str],
    run: Run,
    uvshim: Path,
    make_venv: MakeVenv,
    install_pip: Callable[[Path], None],
    wheels: Path,
) -> None:
    """A word with a directory may be a file that is only read. Its own directory is looked at."""
    venv = make_venv("other")
    install_pip(venv.python)
    pip: list[str | Path] = [venv.path / "bin" / "pip3", "install", "-q", "--no-index"]
    done = run(uvshim, "run", "--", *before, *pip, "-f", wheels, "zope.deferred")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


@pytest.mark.parametrize("before", ["", "env A=1 ", "nice ", "uv run --no-project "])
@pytest.mark.parametrize("name", ["python", "pip", "uv"])
def test_run_runs_nothing_that_is_only_named(
    before: str, name: str, run: Run, uvshim: Path, uv: Path, tmp_path: Path
) -> None:
    for tool in (tmp_path / "tools" / name, tmp_path / "build.sh"):
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/log\n')
        tool.chmod(0o755)
    path = os.pathsep.join([str(uv.parent), os.environ["PATH"]])
    for command in (f"cp tools/{name} copy", f"{tmp_path}/build.sh install {name}"):
        done = run(uvshim, "run", "--", *f"{before}{command}".split(), PATH=path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_text() == f"{tmp_path}/build.sh install {name}\n"


@pytest.mark.parametrize("managed", [False, True])
def test_run_looks_into_the_python_on_path_for_what_pip_installs(
    run: Run,
    uvshim: Path,
    with_pip: Path,
    wheels: Path,
    tmp_path: Path,
    managed: bool,  # noqa: FBT001
) -> None:
    """A script may run its pip, as in an image with nothing but a Python."""
    (library,) = (each.parent for each in with_pip.glob("lib/python*/os.py"))
    if managed:
        (library / "EXTERNALLY-MANAGED").write_text("[x]\n")
    path = os.pathsep.join([str(with_pip / "bin"), os.environ["PATH"]])
    install = f"pip3 install -q --no-index --break-system-packages -f {wheels} zope.deferred"
    done = run(uvshim, "run", "--", "sh", "-c", install, PATH=path)
    assert done.returncode == 0, done.stderr
    (found,) = library.rglob("*deferred-*.dist-info")
    assert found.name == "zope.deferred-1.2.dist-info"
    # What another tool has installed there, it lists by path. It does not write INSTALLER.
    other = found.with_name("a_b-1.0.dist-info")
    write(installed("a_b-1.0", "a.b"), tmp_path / "other")
    copy = f"cp -r {tmp_path}/other/{other.name} {other}"
    assert run(uvshim, "run", "--", "sh", "-c", copy, PATH=path).returncode == 0
    assert other.is_dir() is managed
    for installer, stem, name in (("Poetry 2", "c_d-1.0", "c.d-1.0"), ("rpm", *["e_f-1.0"] * 2)):
        files = installed(stem, stem.partition("-")[0].replace("_", "."))
        write({**files, f"{stem}.dist-info/INSTALLER": installer}, tmp_path / installer)
        copy = f"cp -r '{tmp_path}/{installer}/{stem}.dist-info' {other.parent}"
        assert run(uvshim, "run", "--", "sh", "-c", copy, PATH=path).returncode == 0
        assert other.with_name(f"{name}.dist-info").is_dir()
    # The user's own directories are nobody else's.
    done = run(uvshim, "run", "--", "sh", "-c", f"{install} --user --force-reinstall", PATH=path)
    assert done.returncode == 0, done.stderr
    assert "Renormalized" in done.stderr


def test_run_says_so_if_uv_runs_a_script(
    run: Run, uvshim: Path, uv: Path, venv: Venv, tmp_path: Path
) -> None:
    """Its environment is in uv's cache."""
    script = tmp_path / "tool"
    script.write_text("#!/usr/bin/env -S uv run -q --offline --script\n# /// script\n# ///\n")
    script.chmod(0o755)
    path = os.pathsep.join([str(uv.parent), os.environ["PATH"]])
    done = run(uvshim, "run", "--", script, PATH=path)
    assert done.returncode == 0, done.stderr
    assert f"`{script}` does not say where it installs" in done.stderr


@pytest.mark.parametrize(
    "form",
    [
        """sh -c '"{python}" -m pip install $0 $*' {words}""",
        """sh -c 'P={python}; $P -m pip install $0 $*' {words}""",
        """sh -c 'exec $PYTHON -m pip install $*' PYTHON={python} {words}""",
        """sh -ceu '{python} -m pip install {words}'""",
        """sh -c -e -- '{python} -m pip install {words}'""",
        """sh -c '$1 install {words}' PIP '{python} -m pip'""",
        """sh -c '$PIP install {words}' PIP="{python} -m pip" PYTHON={python}""",
    ],
)
def test_run_looks_into_a_python_that_is_a_part_of_a_word(
    run: Run, uvshim: Path, with_pip: Path, wheels: Path, form: str
) -> None:
    """Such as `make PYTHON=venv/bin/python deps`."""
    (library,) = (each.parent for each in with_pip.glob("lib/python*/os.py"))
    python = with_pip / "bin" / "python3"
    words = f"-q --no-index -f {wheels} zope.deferred"
    command = shlex.split(form.format(python=python, words=words))
    done = run(uvshim, "run", "--", *command, PYTHON=str(python), PIP=f"{python} -m pip")
    assert done.returncode == 0, done.stderr
    (found,) = library.rglob("*deferred-*.dist-info")
    assert found.name == "zope.deferred-1.2.dist-info"


def test_run_takes_one_environment(run: Run, uvshim: Path, tmp_path: Path) -> None:
    done = run(uvshim, "run", "--env", "a", "--env", "b", "--", "touch", tmp_path / "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: `--env` can be given once. Run `uvshim fix ENV…` for the others\n"
    )
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "words",
    [
        "env -C sub pip3 install -t t",
        "env PIP_TARGET=t pip3 install",
        "nice -n 1 pip3 install -t t",
        "env VIRTUAL_ENV=other uv pip install",
        "env -C sub ../at/pip3 install -t t",
    ],
)
def test_run_says_so_if_a_program_among_the_words_may_install_elsewhere(
    words: str,
    run: Run,
    uvshim: Path,
    uv: Path,
    make_venv: MakeVenv,
    with_pip: Path,
    wheels: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "at").symlink_to(with_pip / "bin")  # from here, `../at` is nothing
    make_venv("other").path.rename(tmp_path / "other")
    path = os.pathsep.join([str(with_pip / "bin"), str(uv.parent), os.environ["PATH"]])
    command = [*words.split(), "-q", "--no-index", "-f", str(wheels), "zope.deferred"]
    for each in (command, ["sh", "-ec", "true;" + shlex.join(command)]):
        done = run(uvshim, "run", "--", *each, PATH=path)
        assert done.returncode == 0, done.stderr
        assert f"`{each[0]}` does not say where it installs" in done.stderr
        assert "Name the environment with --env" in done.stderr
        shutil.rmtree(tmp_path / "sub" / "t", ignore_errors=True)
        shutil.rmtree(tmp_path / "t", ignore_errors=True)


@pytest.mark.parametrize("variable", [None, "sub"])
def test_run_says_so_if_a_command_installs_below_another_directory(
    run: Run, uvshim: Path, uv: Path, wheels: Path, tmp_path: Path, variable: str | None
) -> None:
    """An option of uv names it, or a variable, which the inner uv gets as well."""
    (tmp_path / "sub" / "sub").mkdir(parents=True)
    wanted = ("-q", "--no-index", "-f", wheels, "--target", "T", "zope.deferred")
    inner = (uv, "pip", "install", *wanted)
    options = [] if variable else ["--directory", "sub"]
    outer: list[str | Path] = [uv, "run", "--no-project", *options]
    done = run(uvshim, "run", "--", *outer, *inner, UV_WORKING_DIR=variable)
    assert done.returncode == 0, done.stderr
    assert [*tmp_path.glob("sub/**/T/zope_deferred-1.2.dist-info")]
    assert "Name the environment with --env" in done.stderr


def test_what_a_user_installs_is_judged_by_the_setuptools_of_the_python(
    run: Run, uvshim: Path, with_pip: Path, wheels: Path, tmp_path: Path
) -> None:
    (site_packages,) = with_pip.glob("lib/python*/site-packages/pip")
    write(installed("setuptools-59.6.0", "setuptools"), site_packages.parent)
    (site_packages.parent / "pkg_resources").mkdir()
    (site_packages.parent / "pkg_resources" / "__init__.py").touch()
    build_wheel(wheels, "needs", requires=["zope-deferred"])
    pip: list[str | Path] = [with_pip / "bin" / "pip3", "install", "-q", "--no-index", "--user"]
    done = run(uvshim, "run", "--", *pip, "-f", wheels, "needs", PYTHONUSERBASE=str(tmp_path / "u"))
    assert done.returncode == 0, done.stderr
    (found,) = (tmp_path / "u").rglob("*deferred-*.dist-info")
    assert found.name == "zope_deferred-1.2.dist-info"  # as the requirement spells it


def test_run_judges_a_target_by_the_python_that_pip_is_told(
    run: Run, uvshim: Path, with_pip: Path, wheels: Path, tmp_path: Path
) -> None:
    """For an older Python the name that the wheel had is kept: an old setuptools may need it."""
    place = ("--target", "t", "--python-version", "3.7", "--only-binary", ":all:", "--no-index")
    pip: list[str | Path] = [with_pip / "bin" / "pip3", "install", "-q", *place, "-f", wheels]
    done = run(uvshim, "run", "--", *pip, "zope.deferred")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "zope.deferred-1.2.dist-info" / "ORIGINAL.uvshim").is_file()


@pytest.mark.parametrize("where", ["--project", "--directory"])
def test_run_excludes_what_the_project_of_uv_excludes(
    where: str,
    run: Run,
    uvshim: Path,
    uv: Path,
    project: Path,
    offline: dict[str, Any],
) -> None:
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.uvshim]\nexclude = ["zope.deferred"]\n')
    command = (uv, where, "p", "sync", "--python", sys.executable)
    done = run(uvshim, "run", "--", *command, cwd=project.parent, stdin="", **offline)
    assert done.returncode == 0, done.stderr
    assert "zope_deferred-1.2.dist-info" in Venv(project / ".venv").dist_infos()


def test_run_imports_nothing_from_the_working_directory(
    run: Run, uvshim: Path, with_pip: Path, wheels: Path, tmp_path: Path
) -> None:
    for name in ("json", "sysconfig", "logging"):
        (tmp_path / f"{name}.py").write_text(f"open('{tmp_path}/imported', 'w')\n")
    pip: list[str | Path] = [with_pip / "bin" / "pip3", "install", "-q", "--no-index", "-tt"]
    done = run(uvshim, "run", "--", *pip, "-f", wheels, "zope.deferred")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "zope.deferred-1.2.dist-info").is_dir()
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("runner", ["uv run --no-project", "uv run"])
@pytest.mark.parametrize("command", ["uv pip install", "pip3 install", "python3 -m pip install"])
def test_run_finds_what_uv_runs(
    runner: str,
    command: str,
    run: Run,
    uvshim: Path,
    uv: Path,
    make_venv: MakeVenv,
    install_pip: Callable[[Path], None],
    wheels: Path,
    tmp_path: Path,
    offline: dict[str, Any],
) -> None:
    venv = make_venv("made")
    venv.path.rename(tmp_path / ".venv")
    venv = Venv(tmp_path / ".venv")
    install_pip(venv.python)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "demo"\nversion = "0"\n')
    words = [*runner.split(), *command.split(), "-q", "--no-index", "--target", "t"]
    path = os.pathsep.join([str(uv.parent), os.environ["PATH"]])
    if runner != "uv run --no-project":
        path = os.pathsep.join([str(tmp_path / ".venv" / "bin"), path])
    done = run(uvshim, "run", "--", *words, "-f", wheels, "zope.deferred", PATH=path, **offline)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "zope.deferred-1.2.dist-info").is_dir()


@pytest.mark.parametrize("command", ["pip3", "python3 -m pip", "-m pip"])
@pytest.mark.parametrize("options", [(), ("--no-project",)], ids=["", "--no-project"])
def test_run_finds_what_uv_runs_with_the_python_that_is_chosen(
    options: tuple[str, ...],
    command: str,
    run: Run,
    uvshim: Path,
    uv: Path,
    make_venv: MakeVenv,
    install_pip: Callable[[Path], None],
    wheels: Path,
    offline: dict[str, Any],
) -> None:
    venv = make_venv("made")
    install_pip(venv.python)
    words = ["run", *options, "-q", "-p", str(venv.path), *command.split(), "install", "-q"]
    source = ["--no-index", "-f", str(wheels), "zope.deferred"]
    done = run(uvshim, "run", "--", uv, *words, *source, **offline)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


@pytest.mark.parametrize("named", [".vnev", "empty", "notes.txt"])
def test_run_fails_if_the_environment_that_is_named_is_none(
    named: str, run: Run, uv: Path, uvshim: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    command = (uv, "pip", "install", "-q", "--no-index", "-f", wheels, "zope.deferred")
    done = run(uvshim, "run", "--env", named, "--", *command)
    assert done.returncode == (2 if named == "notes.txt" else 3), done.stderr
    assert f"{named}` is not an environment" in done.stderr
    assert bool(venv.dist_infos()) == (named != "notes.txt")


def test_run_looks_for_the_environment_that_is_named_on_path(
    run: Run, uv: Path, uvshim: Path, venv: Venv, make_venv: MakeVenv, wheels: Path
) -> None:
    other = make_venv("other")
    path = os.pathsep.join([str(other.path / "bin"), os.environ["PATH"]])
    place = ("--python", other.path, "--no-index", "-f", wheels)
    command = (uv, "pip", "install", *place, "zope.deferred")
    done = run(uvshim, "run", "--env", "python", "--", *command, PATH=path)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in other.dist_infos()
    assert venv.dist_infos() == []


def test_an_environment_that_the_command_creates_may_be_called_like_a_program(
    run: Run, uv: Path, uvshim: Path, wheels: Path, tmp_path: Path
) -> None:
    place = f"--python env --no-index -f {wheels}"
    script = f"{uv} venv -q -p {sys.executable} env && {uv} pip install -q {place} zope.deferred"
    done = run(uvshim, "run", "--env", "env", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in Venv(tmp_path / "env").dist_infos()


def test_run_follows_pips_option_python(
    run: Run, uvshim: Path, with_pip: Path, venv: Venv, wheels: Path
) -> None:
    command = (with_pip / "bin" / "pip3", "--python", venv.path, "install", "--no-index")
    done = run(uvshim, "run", "--", *command, "-f", wheels, "zope.deferred")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


# A `pip` that is a script of a shell: of one that runs `uv pip`, and of one that finds a pip.
SHIMS = {"uv": 'exec {uv} pip "$@"', "pip": 'exec {pip} "$@"'}


@pytest.mark.parametrize("target", [[], ["--target", "t"]], ids=str)
@pytest.mark.parametrize("kind", SHIMS)
def test_run_asks_a_pip_that_is_a_script_of_a_shell(
    kind: str,
    target: list[str],
    run: Run,
    uv: Path,
    uvshim: Path,
    with_pip: Path,
    venv: Venv,
    wheels: Path,
    tmp_path: Path,
) -> None:
    shim = tmp_path / "bin" / "pip"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\n" + SHIMS[kind].format(uv=uv, pip=with_pip / "bin" / "pip3"))
    shim.chmod(0o755)
    path = f"{shim.parent}{os.pathsep}{os.environ['PATH']}"
    words: list[str | Path] = ["install", "-q", "--no-index", "-f", wheels, *target]
    done = run(uvshim, "run", "--", "pip", *words, "zope.deferred", PATH=path)
    assert done.returncode == 0, done.stderr
    (found,) = (each for each in tmp_path.rglob("*deferred*.dist-info") if each.is_dir())
    assert found.name == "zope.deferred-1.2.dist-info"
    where = {"uv": venv.path, "pip": with_pip}[kind]
    assert found.is_relative_to(tmp_path / "t" if target else where)


def test_run_distinguishes_two_pythons_of_one_prefix(
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


def test_run_renames_in_the_tools_that_uv_installs(
    run: Run, uv: Path, uvshim: Path, wheels: Path, tmp_path: Path, offline: dict[str, Any]
) -> None:
    build_wheel(wheels, "tool", entry_points="[console_scripts]\ntool = tool:main\n")
    places: dict[str, Any] = {
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "FORCE_COLOR": "1",  # `uv tool dir` prints its answer in colour
        "CLICOLOR_FORCE": "1",
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


PROJECT = """\
[project]
name = "demo"
version = "0"
requires-python = ">=3.8"
dependencies = ["zope.deferred"]
"""
SCRIPT = """\
# /// script
# requires-python = ">=3.8"
# dependencies = ["zope.deferred"]
# ///
print("done")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that requires a dotted name, beside the working directory of the command."""
    directory = tmp_path / "p"
    directory.mkdir()
    (directory / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "s.py").write_text(SCRIPT)
    (tmp_path / "here" / "S.PY").write_text(SCRIPT)
    return directory


# Arguments and variables that choose the environment of a project or a script.
SYNCS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "--project": (["sync", "--project", "../p"], {}),
    "--directory before it": (["--directory", "../p", "sync"], {}),
    "UV_PROJECT": (["sync"], {"UV_PROJECT": "../p"}),
    "UV_WORKING_DIR": (["sync"], {"UV_WORKING_DIR": "../p"}),
    "UV_PROJECT_ENVIRONMENT": (
        ["sync", "--project", "../p"],
        {"UV_PROJECT_ENVIRONMENT": "../elsewhere"},
    ),
    "--active": (
        ["sync", "--active", "--project", "../p"],
        {"VIRTUAL_ENV": "../active", "UV_SYSTEM_PYTHON": "1"},
    ),
    "add": (["add", "--project", "../p", "plain_name"], {}),
    "a script": (["sync", "--script", "s.py"], {}),
    "run": (["run", "-q", "--project", "../p", "--with", "plain_name", "python", "-V"], {}),
    "run a script": (["run", "s.py"], {}),
    "run a script from Windows": (["run", "S.PY"], {}),
    "run a script, so called": (["run", "--script", "--isolated", "s.py"], {}),
}


@pytest.mark.parametrize(("words", "variables_"), SYNCS.values(), ids=SYNCS)
def test_run_asks_uv_where_it_installs_a_project_or_a_script(
    words: list[str],
    variables_: dict[str, Any],
    run: Run,
    uv: Path,
    uvshim: Path,
    project: Path,
    offline: dict[str, Any],
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    at = words.index("sync" if "sync" in words else "add" if "add" in words else "run") + 1
    command = [str(uv), *words[:at], "--python", sys.executable, *words[at:]]
    more: dict[str, Any] = {"UV_CACHE_DIR": str(cache), **offline, **variables_}
    done = run(uvshim, "run", "--", *command, cwd=project.parent / "here", stdin="", **more)
    assert done.returncode == 0, done.stderr
    assert "Renormalized" in done.stderr
    installed = [
        each
        for each in tmp_path.rglob("site-packages/*deferred*.dist-info")
        if "archive-v0" not in each.parts
    ]
    assert [each.name for each in installed] == ["zope.deferred-1.2.dist-info"]


def test_run_finds_the_environment_of_a_workspace_whatever_a_member_has(
    run: Run, uv: Path, uvshim: Path, make_venv: MakeVenv, offline: dict[str, Any], tmp_path: Path
) -> None:
    member = tmp_path / "w" / "member"
    member.mkdir(parents=True)
    (member.parent / "pyproject.toml").write_text(
        f'{PROJECT}[tool.uv.workspace]\nmembers = ["member"]\n'
    )
    (member / "pyproject.toml").write_text(PROJECT.replace("demo", "member"))
    stale = make_venv("w/member/.venv")
    command = (uv, "sync", "--python", sys.executable)
    done = run(uvshim, "run", "--", *command, cwd=member, stdin="", **offline)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in Venv(member.parent / ".venv").dist_infos()
    assert stale.dist_infos() == []


def test_run_installs_a_project_into_a_python_that_is_not_a_virtual_environment(
    run: Run, uv: Path, uvshim: Path, project: Path, installation: Path, offline: dict[str, Any]
) -> None:
    more: dict[str, Any] = {"UV_PROJECT_ENVIRONMENT": str(installation), **offline}
    done = run(uvshim, "run", "--", uv, "sync", cwd=project, stdin="", **more)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in Venv(installation).dist_infos()


def test_run_finds_the_python_to_which_the_environment_of_a_project_leads(
    run: Run,
    uv: Path,
    uvshim: Path,
    make_venv: MakeVenv,
    project: Path,
    installation: Path,
    offline: dict[str, Any],
) -> None:
    """Without pyvenv.cfg, a directory is no environment: uv uses the Python behind its link."""
    (python,) = installation.glob("bin/python3.*[0-9]")
    venv = make_venv("named", python=python)
    (venv.path / "pyvenv.cfg").unlink()
    more: dict[str, Any] = {"UV_PROJECT_ENVIRONMENT": str(venv.path), **offline}
    done = run(uvshim, "run", "--", uv, "sync", cwd=project, stdin="", **more)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in Venv(installation).dist_infos()


def test_run_says_so_if_uv_does_not_say_where_it_installs(
    run: Run, uv: Path, uvshim: Path, project: Path, offline: dict[str, Any], tmp_path: Path
) -> None:
    """A script acts as a uv without `sync --dry-run`, as before 0.5."""
    old = tmp_path / "bin" / "uv"
    old.parent.mkdir()
    old.write_text(f'#!/bin/sh\ncase "$*" in sync*--dry-run*) exit 2 ;; esac\nexec {uv} "$@"\n')
    old.chmod(0o755)
    command: list[str | Path] = [uvshim, "run", "--", old, "sync", "--python", sys.executable]
    more: dict[str, Any] = {"UV_PROJECT_ENVIRONMENT": str(tmp_path / "env"), **offline}
    done = run(*command, cwd=project, stdin="", **more)
    assert done.returncode == 0, done.stderr
    assert f"`{old}` does not say where it installs, and there is no environment" in done.stderr
    assert "Name the environment with --env" in done.stderr
    quiet = run(uvshim, "run", "-q", *command[2:], cwd=project, stdin="", **more)
    assert "does not say" not in quiet.stderr
    del more["UV_PROJECT_ENVIRONMENT"]
    done = run(*command, cwd=project, stdin="", **more)
    assert "Renormalized" in done.stderr  # it is where `uv pip` would install, too
    assert "does not say" not in done.stderr


# Commands that install nothing, and their exit codes.
HARMLESS = [
    "uv --version",
    "uv",
    "uv help pip",
    "uv lock --offline",
    "uv export --offline",
    "uv build --no-such-option",
    "uv init --bare made",
    "uv cache dir",
    "uv tool dir",
    "uv tool list",
    "uv python dir",
    "uv self version",
    "uv pip list",
    "uv pip install --dry-run x",
    "uv pip --help",
    "uv run --help",
    "uv tree --offline",
    "uv no-such-command",
    "uv run --no-project --offline echo hi",
    "echo hi",
    "sh -c true",
    "sh -c 'exit 7'",
    "python3 -V",
    "python3 -m no_such_module",
    "python3 -c pass",
    f"{Path(sys.executable).parent}/uvshim run -- uv pip list",
]


@pytest.mark.parametrize("words", HARMLESS)
def test_run_says_nothing_of_a_command_that_installs_nothing(
    words: str, run: Run, uvshim: Path, tmp_path: Path
) -> None:
    """As with ``alias uv='uvshim run -- uv'``, where there is no environment at all."""
    outputs = []
    for before in ("", f"{uvshim} run -- "):
        directory = tmp_path / f"in{bool(before)}"
        directory.mkdir()
        outputs.append(run("sh", "-c", before + words, cwd=directory, PYTHONWARNINGS=None))
    plain, ours = outputs
    assert ours.returncode == plain.returncode
    assert ours.stdout == plain.stdout.replace("inFalse", "inTrue")
    assert re.sub("[0-9.]+m?s", "", ours.stderr) == re.sub(
        "[0-9.]+m?s", "", plain.stderr.replace("inFalse", "inTrue")
    )
    made = [sorted(os.listdir(tmp_path / name)) for name in ("inFalse", "inTrue")]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    "words", ["list", "--version", "--help", "install --help", "config list", "nonsense"]
)
def test_run_says_nothing_of_a_pip_that_installs_nothing(
    words: str, run: Run, uvshim: Path, with_pip: Path
) -> None:
    pip = with_pip / "bin" / "pip3"
    plain, ours = run(pip, *words.split()), run(uvshim, "run", "--", pip, *words.split())
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        plain.returncode,
        plain.stdout,
        plain.stderr,
    )


@pytest.mark.parametrize("script", ["exit 9", "echo uv 0.3.0", None], ids=str)
def test_a_uv_that_cannot_be_asked_stops_no_command(
    script: str | None, run: Run, uvshim: Path, tmp_path: Path
) -> None:
    """A uv that fails, a uv that is too old, and a file that is not a program."""
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\n{script}\n" if script else "\x7fELF")
    uv.chmod(0o755)
    done = run(uvshim, "run", "--", "echo", "hi", UVSHIM_UV=str(uv))
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n", "")


def test_run_says_where_it_looked_only_if_asked(
    run: Run, uvshim: Path, uv: Path, venv: Venv, wheels: Path
) -> None:
    done = run(uvshim, "run", "--", "sh", "-c", "true")
    assert (done.returncode, done.stderr) == (0, "")
    done = run(uvshim, "run", "-v", "--", "sh", "-c", "true")
    assert done.stderr.startswith("DEBUG uvshim: nothing is new in `")
    assert f"`{venv.path}`" in done.stderr
    install = f"{uv} pip install -q --no-index -f {wheels} zope.deferred"
    done = run(uvshim, "run", "--", "sh", "-c", install)
    assert "Renormalized" in done.stderr


def test_run_ends_with_126_if_the_command_is_not_a_program(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = run(uvshim, "run", "--", "./file")
    assert done.returncode == 126
    assert done.stderr == "error: `./file` is not a program that can be run\n"
