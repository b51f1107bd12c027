"""`make zipapp`: one file that does what the installed commands do."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.conftest import MakeVenv, Run, interpreters
from tests.places import Venv, record_faults, tree

# Imported to be run here as well, with the commands of this module.
from tests.test_uvpip import (
    test_a_dotted_name_is_found_by_pkg_resources_only_after_uvpip as test_uvpip_cures,
)
from tools import zipapp
from uvshim import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
def test_it_installs_and_checks_and_mends_under_every_python(
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
    mended = run(python, "-I", uvshim, "fix", broken.path)
    assert mended.returncode == 0, mended.stderr
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
def test_an_older_python_is_told_what_to_do(
    run: Run, uvpip: Path, uvshim: Path, python: Path
) -> None:
    said: list[tuple[list[str | Path], str]] = [
        ([uvpip, "simple"], "uvpip --python ENV ..."),
        ([uvshim, "check", "x"], "uvshim.pyz check ENV"),
    ]
    for words, meant in said:
        done = run(python, *words)
        assert done.returncode == 2
        assert done.stderr.startswith("error: uvshim needs Python 3.10 or later, and this is 3.")
        assert done.stderr.count("\n") == 2
        assert done.stderr.endswith(f"{meant}\n")


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


def test_what_the_environment_holds_of_the_same_name_does_not_get_in_the_way(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    for name in ("packaging", "uvshim", "tomli"):
        (venv.site_packages / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    done = run(venv.python, uvpip, "--no-index", "--find-links", wheels, "simple")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
