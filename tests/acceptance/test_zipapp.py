"""`make zipapp`: one file that does what the installed commands do."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import MakeVenv, Run, interpreters
from tests.places import Venv, copy_installation, record_faults, tree

# Imported to be run here as well, with the commands of this module.
from tests.test_uvpip import (
    test_a_dotted_name_is_found_by_pkg_resources_only_after_uvpip as test_uvpip_cures,
)
from tools import zipapp
from uvshim import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["test_uvpip_cures"]

pytestmark = pytest.mark.index

NEWER = [python for python in interpreters() if int(python.name.rpartition(".")[2]) >= 10]
OLDER = [python for python in interpreters() if int(python.name.rpartition(".")[2]) < 10]


def build(output: Path, **variables: str) -> Path:
    subprocess.run(
        [sys.executable, zipapp.__file__, "--output", output],
        env={**os.environ, **variables},
        check=True,
        capture_output=True,
    )
    return output


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("pyz"))


@pytest.fixture
def uvpip(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file under its other name, as the recipes make it."""
    link = tmp_path_factory.mktemp("bin") / "uvpip"
    link.symlink_to(built / zipapp.NAME)
    return link


@pytest.fixture
def uvshim(built: Path) -> Path:
    return built / zipapp.NAME


def names(paths: Sequence[Path]) -> list[str]:
    return [path.name for path in paths]


def test_it_is_the_same_byte_for_byte_wherever_it_is_built(built: Path, tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        elsewhere = {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1234567890"}
        again = build(tmp_path / "elsewhere", **elsewhere)
    finally:
        os.umask(mask)
    assert (again / zipapp.NAME).read_bytes() == (built / zipapp.NAME).read_bytes()
    assert stat.S_IMODE((again / zipapp.NAME).stat().st_mode) == 0o755


def test_it_holds_what_it_needs_and_the_licences_and_nothing_else(uvpip: Path) -> None:
    with zipfile.ZipFile(uvpip) as pyz:
        members = pyz.namelist()
        assert all(member.compress_type == zipfile.ZIP_STORED for member in pyz.infolist())
        assert b"Permission is hereby granted" in pyz.read("licenses/uvshim/LICENSE-MIT")
    modules = {member for member in members if not member.startswith("licenses/")}
    assert {member.partition("/")[0] for member in modules} == {
        "__main__.py",
        "installer",
        "packaging",
        "tomli",
        "uvshim",
    }
    assert all(member.endswith((".py", ".j2")) for member in modules)
    package = (zipapp.ROOT / "uvshim").rglob("*.*")
    of_ours = {
        path.relative_to(zipapp.ROOT).as_posix()
        for path in package
        if path.suffix in {".py", ".j2"}
    }
    assert {member for member in modules if member.startswith("uvshim/")} == of_ours
    licences = {member for member in members if member not in modules}
    assert {re.sub(r"-[0-9.]+/", "/", member) for member in licences} == {
        "licenses/uvshim/LICENSE",
        "licenses/uvshim/LICENSE-APACHE",
        "licenses/uvshim/LICENSE-MIT",
        "licenses/installer/LICENSE",
        "licenses/packaging/LICENSE",
        "licenses/packaging/LICENSE.APACHE",
        "licenses/packaging/LICENSE.BSD",
        "licenses/tomli/LICENSE",
    }


def test_it_is_uvpip_where_it_is_called_so_and_uvshim_otherwise(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    for name in ("uvpip", "uvpip.pyz", "uvshim", "uvshim.pyz", "anything"):
        program = shutil.copy(uvshim, tmp_path / name)
        done = run(program, "--version")
        assert done.returncode == 0, done.stderr
        ours, *uvs = done.stdout.splitlines()
        assert ours == f"uvshim {__version__}"
        assert bool(uvs) == name.startswith("uvpip")
        assert run(sys.executable, program, "--version").stdout == done.stdout
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uvpip").symlink_to(tmp_path / "uvshim.pyz")
    assert "\nuv " in run(tmp_path / "bin" / "uvpip", "--version").stdout


def test_its_pip_is_uvpip(run: Run, uvshim: Path, venv: Venv, wheels: Path) -> None:
    done = run(uvshim, "pip", "install", "--no-index", "--find-links", wheels, "simple")
    assert done.returncode == 0, done.stderr
    assert " ~ zope.deferred==1.2\n" in done.stderr


@pytest.mark.parametrize("command", ["pip", "run -- uv pip install"])
@pytest.mark.parametrize("harm", ["rm -f", "truncate -s 9000", "cp /bin/sh", "ln -sf /bin/sh"])
def test_it_may_be_replaced_while_uv_works(
    run: Run,
    uvshim: Path,
    uv: Path,
    venv: Venv,
    wheels: Path,
    tmp_path: Path,
    harm: str,
    command: str,
) -> None:
    """As by an upgrade, a `git pull`, or the package `uvshim` in the same environment."""
    file = shutil.copy(uvshim, tmp_path / "uvshim.pyz")
    own = tmp_path / "bin"
    own.mkdir()
    (own / "uv").write_text(
        f'#!/bin/sh\n"{uv}" "$@"; status=$?\n'
        f'case "$*" in *dry-run*) ;; *) {harm} "{file}" ;; esac; exit $status\n'
    )
    (own / "uv").chmod(0o755)
    words: list[str | Path] = ["--no-index", "-f", wheels, "zope.deferred"]
    path = f"{own}:{os.environ['PATH']}"
    done = run(file, *command.split(), *words, UVSHIM_UV=str(own / "uv"), PATH=path)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


def test_uv_runs_it_where_the_only_python_is_one_of_uv(
    run: Run, uv: Path, uvshim: Path, venv: Venv, wheels: Path
) -> None:
    through = (uv, "run", "--no-project", "--python", sys.executable, uvshim)
    wanted = ("--python", venv.path, "--no-index", "--find-links", wheels, "simple")
    done = run(*through, "pip", *wanted)
    assert done.returncode == 0, done.stderr
    assert " ~ zope.deferred==1.2\n" in done.stderr
    assert run(*through, "check", "--verify", venv.path).returncode == 0


@pytest.mark.parametrize("python", NEWER, ids=names(NEWER))
def test_it_installs_and_checks_and_fixes_under_every_python(
    run: Run,
    uv: Path,
    uvpip: Path,
    uvshim: Path,
    make_venv: MakeVenv,
    wheels: Path,
    old_setuptools: Path,
    python: Path,
) -> None:
    venv = make_venv("env")
    wanted = ("--python", venv.path, "--no-index", "--find-links", wheels, "setuptools", "simple")
    assert run(uv, "pip", "install", *wanted).returncode == 0
    checked = run(python, "-I", uvshim, "check", venv.path)
    assert checked.returncode == 1
    assert "simple==4.0 needs zope.deferred" in checked.stdout
    done = run(python, "-I", uvpip, "--reinstall", *wanted)
    assert done.returncode == 0, done.stderr
    assert " ~ zope.deferred==1.2\n" in done.stderr
    assert venv.requires("simple")
    assert run(python, "-I", uvshim, "check", "--verify", venv.path).returncode == 0

    broken = make_venv("broken")
    assert run(uv, "pip", "install", "--python", broken.path, *wanted[2:]).returncode == 0
    fixed = run(python, "-I", uvshim, "fix", broken.path)
    assert fixed.returncode == 0, fixed.stderr
    assert broken.requires("simple")
    assert record_faults(broken.site_packages / "zope.deferred-1.2.dist-info") == []


@pytest.mark.parametrize("python", NEWER, ids=names(NEWER))
def test_it_reads_the_configuration_under_every_python(
    run: Run, uvpip: Path, venv: Venv, wheels: Path, python: Path, tmp_path: Path
) -> None:
    (tmp_path / "uvshim.toml").write_text('exclude = ["zope.*"]\n')
    done = run(python, uvpip, "--no-index", "--find-links", wheels, "simple")
    assert done.returncode == 0, done.stderr
    assert "zope_deferred-1.2.dist-info" in venv.dist_infos()
    assert "XStatic_JQuery.TableSorter-2.14.5.3.dist-info" in venv.dist_infos()


@pytest.mark.skipif(not OLDER, reason="there is no Python older than 3.10 here")
@pytest.mark.parametrize("python", OLDER, ids=names(OLDER))
def test_an_older_python_prints_what_to_do(
    run: Run, uvpip: Path, uvshim: Path, python: Path
) -> None:
    said: list[tuple[list[str | Path], str]] = [
        ([uvpip, "simple"], "uvpip --python ENV ..."),
        ([uvshim, "pip", "simple"], "uvshim.pyz pip --python ENV ..."),
        ([uvshim, "check", "x"], "uvshim.pyz check ENV"),
    ]
    for words, meant in said:
        done = run(python, *words)
        assert done.returncode == 2
        start = f"error: uvshim needs Python 3.10 or later, and {python} is Python 3."
        assert done.stderr.startswith(start)
        assert done.stderr.count("\n") == 2
        assert done.stderr.endswith(f"{meant}\n")
        hint = done.stderr.partition("hint: the file finds a newer one: ")[2].split()
        assert run(*hint[:2], "--version").returncode == 0


def test_it_works_from_a_directory_that_nobody_may_write_to_and_leaves_nothing(
    run: Run, uvpip: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    shutil.copy(uvpip, place / "uvpip")
    before = tree(place)
    place.chmod(0o555)
    done = run(place / "uvpip", "--no-index", "--find-links", wheels, "simple")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    place.chmod(0o755)
    assert tree(place) == before


def test_modules_of_the_same_name_in_the_environment_do_not_matter(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    for name in ("packaging", "uvshim", "tomli"):
        (venv.site_packages / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    done = run(venv.python, uvpip, "--no-index", "--find-links", wheels, "simple")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


# Which Python it takes. In these tests each directory of PATH has a Python that writes its name.


class Pythons:
    """Directories for PATH, each with one Python that writes who it is to standard error."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, *places: str, name: str = "python3", real: Path | None = None) -> str:
        for place in places:
            directory = self._directory / place
            directory.mkdir(parents=True, exist_ok=True)
            program = directory / name
            program.write_text(f'#!/bin/sh\necho {place} "$@" >&2\nexec {real or PYTHON} "$@"\n')
            program.chmod(0o755)
        return os.pathsep.join(str(self._directory / place) for place in places)


PYTHON = Path(sys.executable).resolve()


@pytest.fixture
def pythons(tmp_path: Path) -> Pythons:
    return Pythons(tmp_path / "pythons")


def started(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the directories whose Python was started, in that order; the command must succeed."""
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"uvshim {__version__}\n")
    return [line.partition(" ")[0] for line in done.stderr.splitlines()]


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "busybox sh"])
def test_every_shell_starts_it(run: Run, uvshim: Path, pythons: Pythons, shell: str) -> None:
    if not shutil.which(shell.partition(" ")[0]):
        pytest.skip(f"NOT TRIED: {shell} is not installed")
    path = pythons("only") + f"{os.pathsep}/usr/bin{os.pathsep}/bin"
    done = run(*shell.split(), uvshim, "--version", PATH=path)
    assert started(done) == ["only"]
    wrong = run(*shell.split(), uvshim, "--version", PATH="/usr/bin:/bin", UVSHIM_PYTHON="none")
    assert wrong.returncode == 127
    assert "`none`, which UVSHIM_PYTHON names, is not a program" in wrong.stderr


def test_it_takes_a_python_outside_of_virtual_environments_where_it_can(
    run: Run, uvshim: Path, pythons: Pythons, tmp_path: Path
) -> None:
    """It avoids pyenv's shims if it can: they change PATH, by which uv may find the target."""
    env, shims, first = (pythons(name) for name in ("env/bin", "pyenv/shims", "first"))
    (tmp_path / "pythons" / "env" / "pyvenv.cfg").touch()
    for path, expected in (
        (f"{env}:{shims}:{first}", "first"),
        (f"{shims}:{env}", "pyenv/shims"),
        (f"{env}:{shims}", "env/bin"),
        (env, "env/bin"),
    ):
        assert started(run(uvshim, "--version", PATH=path)) == [expected]


def test_what_the_environment_starts_with_does_not_run(
    run: Run, uvpip: Path, venv: Venv, wheels: Path, variables: dict[str, str]
) -> None:
    """As in images with `ENV PATH=/opt/app/bin:$PATH`, with another Python and without."""
    ran = venv.path / "ran"
    code = f"import sys; any('uvpip' in word for word in sys.orig_argv) and open({str(ran)!r}, 'w')"
    (venv.site_packages / "old.pth").write_text(f"{code}\n")
    run(venv.python, uvpip, "--version")
    assert ran.exists()
    ran.unlink()
    wanted = ("--no-index", "--find-links", wheels, "simple")
    for rest in (variables["PATH"], str(Path(variables["PATH"].partition(os.pathsep)[0]))):
        path = f"{venv.path / 'bin'}{os.pathsep}{rest}"
        done = run(uvpip, "--reinstall", *wanted, PATH=path)
        assert done.returncode == 0, done.stderr
        assert " ~ zope.deferred==1.2\n" in done.stderr
        assert not ran.exists()


@pytest.mark.skipif(not OLDER, reason="there is no Python older than 3.10 here")
def test_it_goes_on_to_a_newer_python(run: Run, uvshim: Path, pythons: Pythons) -> None:
    old = pythons("old", real=OLDER[-1])
    assert started(run(uvshim, "--version", PATH=f"{old}:{pythons('new')}"))[-1] == "new"
    failed = run(uvshim, "--version", PATH=f"{old}:/nowhere")
    assert failed.returncode == 2
    assert f"PATH has none ({OLDER[-1]} is Python 3." in failed.stderr
    assert "Traceback" not in failed.stderr
    pythons("old", name="python3.12")  # as on RHEL 9, which has both in one directory
    assert started(run(uvshim, "--version", PATH=old))[-1] == "old"


def test_it_skips_a_python_without_its_standard_library(
    run: Run, uvshim: Path, pythons: Pythons, tmp_path: Path
) -> None:
    """As Debian's python3-minimal is."""
    copy_installation(tmp_path / "minimal")
    for each in (tmp_path / "minimal").rglob("shutil*.py*"):
        each.unlink()
    minimal = tmp_path / "minimal" / "bin"
    assert started(run(uvshim, "--version", PATH=f"{minimal}:{pythons('new')}")) == ["new"]
    failed = run(uvshim, "--version", PATH=f"{minimal}:/nowhere")
    assert failed.returncode == 2
    assert "without its standard library" in failed.stderr


def test_it_asks_uv_where_path_has_no_python(
    run: Run, uv: Path, uvshim: Path, only_uv: Path, tmp_path: Path
) -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    managed = tmp_path / "managed" / f"cpython-{version}-linux-{os.uname().machine}-gnu"
    managed.parent.mkdir()
    copy_installation(managed)
    installed: dict[str, Any] = {"UV_PYTHON_INSTALL_DIR": str(managed.parent)}
    done = run(uvshim, "--version", PATH=str(only_uv), **installed)
    assert done.stdout == f"uvshim {__version__}\n", done.stderr
    named = run(uvshim, "--version", PATH="/nowhere", UVSHIM_UV=str(uv), **installed)
    assert named.returncode == 0, named.stderr
    shutil.rmtree(managed)
    failed = run(uvshim, "--version", PATH=str(only_uv), **installed)
    assert failed.returncode == 2
    assert failed.stderr == (
        "error: uvshim needs Python 3.10 or later, and PATH has none\n"
        "hint: install one, for example with `uv python install`, or name one in UVSHIM_PYTHON\n"
    )


def test_it_takes_the_python_that_a_variable_names(
    run: Run, uvshim: Path, pythons: Pythons
) -> None:
    path = pythons("first", "second")
    second = path.partition(os.pathsep)[2]
    assert started(run(uvshim, "--version", PATH=path, UVSHIM_PYTHON=f"{second}/python3")) == [
        "second"
    ]
    assert started(run(uvshim, "--version", PATH=path, UVSHIM_PYTHON="python3")) == ["first"]
    for old in OLDER:
        done = run(uvshim, "--version", UVSHIM_PYTHON=str(old))
        assert done.returncode == 2
        assert done.stderr.count("\n") == 2
        assert f"and UVSHIM_PYTHON: {old} is Python 3." in done.stderr


def test_it_writes_no_bytecode_where_python_may_not(
    run: Run, uvshim: Path, pythons: Pythons
) -> None:
    path = pythons("only")
    told = run(uvshim, "--version", PATH=path, PYTHONDONTWRITEBYTECODE="1").stderr
    assert told == f"only -I -S -B {uvshim} --version\n"
    assert run(uvshim, "--version", PATH=path).stderr == f"only -I -S {uvshim} --version\n"


# What is around it.


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, Any]:
    """Variables that no Python starts with, or only one with other modules of its library."""
    directory = tmp_path / "hostile"
    for name in ("enum", "typing", "re", "fcntl", "shutil", "contextlib", "argparse", "json"):
        directory.mkdir(exist_ok=True)
        (directory / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    for name in ("packaging", "installer", "tomli", "uvshim"):
        (directory / name).mkdir()
        (directory / name / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    return {"PYTHONPATH": str(directory)}


def test_no_variable_of_python_reaches_it(
    run: Run, uvpip: Path, uvshim: Path, venv: Venv, wheels: Path, hostile: dict[str, Any]
) -> None:
    also: dict[str, Any] = {
        "PYTHONHOME": "/nowhere",
        "PYTHONHASHSEED": "none",
        "PYTHONSTARTUP": "/nowhere",
    }
    wanted = ("--no-index", "--find-links", wheels, "simple")
    done = run(uvpip, *wanted, PYTHONDEVMODE="1", **hostile, **also)
    assert done.returncode == 0, done.stderr
    assert " ~ zope.deferred==1.2\n" in done.stderr
    checked = run(uvshim, "check", "--verify", venv.path, **hostile, **also)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_pythonpath_has_does_not_replace_modules_where_python_is_named(
    run: Run, uvpip: Path, uvshim: Path, venv: Venv, wheels: Path, hostile: dict[str, Any]
) -> None:
    for name in ("contextlib", "enum", "re", "typing"):  # Python itself imports these here
        (Path(hostile["PYTHONPATH"]) / f"{name}.py").unlink()
    wanted = ("--no-index", "--find-links", wheels, "simple")
    done = run(PYTHON, "-S", uvpip, *wanted, **hostile)
    assert done.returncode == 0, done.stderr
    checked = run(venv.python, uvshim, "check", "--verify", venv.path, **hostile)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_uv_gets_the_variables_that_it_would_get_without_it(
    run: Run, uvpip: Path, pythons: Pythons, tmp_path: Path, hostile: dict[str, Any]
) -> None:
    hostile |= dict.fromkeys(("accept", "directory", "file", "old", "python", "wanted"), "mine")
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\nexec env\n")
    uv.chmod(0o755)
    given = {**hostile, "PYTHONHOME": "/nowhere", "UVSHIM_UV": str(uv), "UVSHIM_DISABLE": "1"}
    given["PATH"] = f"{pythons('only')}:/usr/bin:/bin"
    plain = set(run("sh", "-c", "exec env", **given).stdout.splitlines())
    assert set(run(uvpip, "list", **given).stdout.splitlines()) == plain


def test_it_works_without_any_variable(run: Run, uvpip: Path, uvshim: Path) -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("NOT TRIED: there is no /usr/bin/python3")
    assert run("env", "-i", uvshim, "--version").stdout == f"uvshim {__version__}\n"
    done = run("env", "-i", "UVSHIM_UV=/bin/true", uvpip, "--version")
    assert done.stdout.startswith(f"uvshim {__version__}\n"), done.stderr


def test_it_is_found_in_every_way(
    run: Run, uvshim: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    place = tmp_path / "a place" / "with 'quotes' & $signs"
    place.mkdir(parents=True)
    shutil.copy(uvshim, place / "uvpip")
    (tmp_path / "other").symlink_to(place / "uvpip")
    (tmp_path / "uvpip-link").symlink_to("other")
    path = f"{place}{os.pathsep}{variables['PATH']}"
    for words, cwd in (
        (["./uvpip"], place),
        (["../uvpip"], place / "below"),
        ([place / "uvpip"], None),
        (["./uvpip-link"], None),
        (["sh", "uvpip"], place),
        (["env", f"PATH={path}", "uvpip"], None),
    ):
        (cwd or tmp_path).mkdir(exist_ok=True)
        said = run(*words, "--version", cwd=cwd).stdout
        assert said.startswith(f"uvshim {__version__}\nuv "), words


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_runs_it(uvshim: Path, uv: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:  # pytest's own are for one user
        place = Path(directory)
        place.chmod(0o755)
        (place / "home").mkdir(mode=0o700)
        os.chown(place / "home", 65534, 65534)
        for name in ("uvpip", "uvshim"):
            shutil.copy(uvshim, place / name)
        shutil.copy(uv, place)
        done = subprocess.run(
            [
                "sh",
                "-ec",
                "uv venv -q home/env; uvpip --python home/env -r /dev/null; uvshim check home/env",
            ],
            cwd=place,
            env={"HOME": f"{place}/home", "PATH": f"{place}:/usr/bin:/bin"},
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "home/env" in done.stdout


def test_it_runs_on_a_read_only_file_system(run: Run, uvshim: Path, tmp_path: Path) -> None:
    mounted = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path}"
    if run("unshare", "--mount", "sh", "-c", mounted).returncode:
        pytest.skip("NOT TRIED: mounting is not permitted")
    shutil.copy(uvshim, tmp_path / "uvpip")
    script = f"{mounted} && ! touch {tmp_path}/new && {tmp_path}/uvpip --version"
    done = run("unshare", "--mount", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert "\nuv " in done.stdout


def test_optional_packages_of_its_python_are_found(
    run: Run, uvshim: Path, venv: Venv, tmp_path: Path
) -> None:
    """The page is Jinja's work, which is installed beside the tests and not in the file."""
    (tmp_path / "image" / "opt").mkdir(parents=True)
    shutil.copytree(venv.path, tmp_path / "image" / "opt" / "app", symlinks=True)
    assert run("tar", "-C", tmp_path / "image", "-cf", tmp_path / "i.tar", ".").returncode == 0
    check = (uvshim, "check", "--format", "html", tmp_path / "i.tar")
    done = run(*check, UVSHIM_PYTHON=sys.executable)
    assert "<html" in done.stdout, done.stderr
    without = run(*check, UVSHIM_PYTHON=str(venv.python))
    assert without.returncode == 2
    assert "uvshim[images]" in without.stderr
