"""Before setuptools 62, requirements that were met stay met, in whichever spelling."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import interpreters
from tests.wheels import build_wheel
from uvshim import Snapshot, renormalize

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeVenv, Run
    from tests.places import Venv

OLD, NEW = "59.6.0", "62.0.0"
NORMALIZED = "zope_interface-7.0.dist-info"
DOTTED = "zope.interface-7.0.dist-info"


@pytest.fixture(autouse=True)
def spelled(wheels: Path) -> None:
    """Wheels that spell `zope.interface` in two ways, and an old and a newer setuptools."""
    build_wheel(wheels, "zope.interface", "7.0")
    build_wheel(wheels, "Twisted", "25.5.0", requires=["zope-interface>=5"])
    build_wheel(wheels, "component", "1.0", requires=["zope.interface"])
    for version in (OLD, NEW):
        build_wheel(wheels, "setuptools", version, files={"pkg_resources/__init__.py": ""})


def interpreter_of(version: str) -> Path:
    found = {each.name: each for each in interpreters()}
    if f"python{version}" not in found:
        pytest.skip(f"NOT TRIED: Python {version} is not installed")
    return found[f"python{version}"]


def interface(venv: Venv) -> str:
    (found,) = (name for name in venv.dist_infos() if name.startswith("zope"))
    return found


@pytest.mark.parametrize(("version", "kept"), [(OLD, True), (NEW, False)])
def test_what_works_as_it_is_spelled_keeps_its_name(
    run: Run, uvpip: Path, venv: Venv, wheels: Path, version: str, *, kept: bool
) -> None:
    done = run(uvpip, "twisted", "component", f"setuptools=={version}", "--no-index", "-f", wheels)
    assert done.returncode == 0, done.stderr
    assert interface(venv) == (NORMALIZED if kept else DOTTED)
    assert ("Renormalized" in done.stderr) != kept


def test_what_needs_the_dot_gets_it(run: Run, uvpip: Path, venv: Venv, wheels: Path) -> None:
    run(uvpip, "component", f"setuptools=={OLD}", "--no-index", "-f", wheels)
    assert interface(venv) == DOTTED


@pytest.mark.parametrize("command", ["install", "sync", "run", "fix"])
def test_a_later_requirement_brings_the_name_in_the_wheel_back(
    run: Run, uv: Path, uvpip: Path, uvshim: Path, venv: Venv, wheels: Path, command: str
) -> None:
    index = ("--no-index", "-f", wheels)
    run(uvpip, "zope.interface", f"setuptools=={OLD}", *index)
    assert interface(venv) == DOTTED
    (wheels / "r.txt").write_text(f"twisted\nzope.interface\nsetuptools=={OLD}\n")
    done = {
        "install": lambda: run(uvpip, "twisted", *index),
        "sync": lambda: run(uvpip, "sync", wheels / "r.txt", *index),
        "run": lambda: run(uvshim, "run", "--", uv, "pip", "install", "twisted", *index),
        "fix": lambda: run(uv, "pip", "install", "twisted", *index),
    }[command]()
    assert done.returncode == 0, done.stderr
    if command == "fix":
        said = run(uvshim, "check", venv.path)
        assert said.returncode == 1
        assert NORMALIZED in said.stdout
        done = run(uvshim, "fix", venv.path)
    assert interface(venv) == NORMALIZED
    assert "zope.interface" in done.stderr
    again = run(uvshim, "fix", venv.path)  # as check says: no name is found by both spellings
    assert (again.returncode, run(uvshim, "check", venv.path).returncode) == (3, 1)
    assert "Renormalized" not in again.stderr
    assert "still does not find zope.interface: see `uvshim check`" in again.stderr
    assert run(uv, "pip", "uninstall", "twisted").returncode == 0
    assert run(uvshim, "fix", venv.path).returncode == 0
    assert interface(venv) == DOTTED
    assert run(uv, "pip", "uninstall", "zope.interface").returncode == 0
    assert not list(venv.site_packages.glob("zope*"))


def test_a_setuptools_that_comes_later_finds_what_it_would_after_plain_uv(
    run: Run, uvpip: Path, tmp_path: Path, wheels: Path
) -> None:
    index = ("--no-index", "-f", wheels)
    target = tmp_path / "lib/python3.10/site-packages"  # there, that setuptools could work
    for words in (["zope.interface"], ["twisted", "--no-deps"], [f"setuptools=={OLD}"]):
        assert run(uvpip, "--target", target, *words, *index).returncode == 0
    assert (target / NORMALIZED).is_dir()
    assert not (target / DOTTED).exists()


def test_the_python_of_a_target_is_the_one_that_uv_names(
    run: Run, uvpip: Path, tmp_path: Path, wheels: Path
) -> None:
    """Nothing in the path of a target says that; uvshim itself may run on another one."""
    index = ("--no-index", "-f", wheels, "--target", tmp_path / "t/lib/python")
    for python, expected in (("3.10", NORMALIZED), ("3.11", DOTTED)):
        for words in (["zope.interface"], ["twisted", "--no-deps"], [f"setuptools=={OLD}"]):
            done = run(uvpip, "--python", interpreter_of(python), *index, *words)
            assert done.returncode == 0, done.stderr
        assert [each.name for each in tmp_path.glob("t/lib/python/zope*info")] == [expected]
        shutil.rmtree(tmp_path / "t")


def test_an_older_setuptools_finds_what_it_would_after_plain_uv(
    run: Run, uvpip: Path, make_venv: MakeVenv, wheels: Path
) -> None:
    """On a Python that is old enough for one, the name in the wheel is always kept."""
    venv = make_venv("old", python=interpreter_of("3.10"))
    index = ("--python", venv.python, "--no-index", "-f", wheels)
    assert run(uvpip, *index, "twisted", f"setuptools=={NEW}").returncode == 0
    assert interface(venv) == DOTTED
    assert run(uvpip, *index, f"setuptools=={OLD}").returncode == 0
    assert interface(venv) == NORMALIZED


def test_what_a_later_package_requires_otherwise_is_reported(
    run: Run, uvpip: Path, uvshim: Path, venv: Venv, wheels: Path
) -> None:
    run(uvpip, "component", f"setuptools=={OLD}", "--no-index", "-f", wheels)
    assert interface(venv) == DOTTED
    run(uvpip, "twisted", "--no-index", "-f", wheels)
    assert interface(venv) == NORMALIZED  # as after plain uv
    said = run(uvshim, "check", venv.path)
    assert said.returncode == 1
    wanted = "zope.interface is not found as zope.interface, which is how component spells"
    assert wanted in said.stdout
    assert f"uvpip install --python {venv.path} 'setuptools>=62,<82'" in said.stdout


def test_fix_leaves_what_works_and_says_what_would_help(
    run: Run, uv: Path, uvshim: Path, venv: Venv, wheels: Path
) -> None:
    words = ("twisted", "component", "zope.deferred", f"setuptools=={OLD}")
    assert run(uv, "pip", "install", *words, "--no-index", "-f", wheels).returncode == 0
    for _ in range(2):
        done = run(uvshim, "fix", venv.path)
        assert venv.dist_infos() == sorted(
            [
                "XStatic_JQuery.TableSorter-2.14.5.3.dist-info",
                "component-1.0.dist-info",
                f"setuptools-{OLD}.dist-info",
                "twisted-25.5.0.dist-info",
                "zope.deferred-1.2.dist-info",
                NORMALIZED,
            ]
        )
        assert "'setuptools>=62,<82'" in done.stderr
    assert "Renormalized" not in done.stderr


def test_renames_are_the_same_for_any_command_and_for_programs(
    run: Run, uv: Path, uvshim: Path, venv: Venv, wheels: Path
) -> None:
    words = ("twisted", f"setuptools=={OLD}")
    before = Snapshot.take([str(venv.site_packages)])
    assert (
        run(
            uvshim, "run", "--", uv, "pip", "install", *words, "--no-index", "-f", wheels
        ).returncode
        == 0
    )
    assert interface(venv) == NORMALIZED
    assert renormalize(venv.site_packages, since=before).renamed == []
    assert renormalize(venv.site_packages).renamed == []
    assert interface(venv) == NORMALIZED


def test_the_setuptools_of_the_python_below_counts(
    run: Run, uv: Path, uvpip: Path, tmp_path: Path, installation: Path, wheels: Path
) -> None:
    place = ("--python", installation / "bin/python", "--break-system-packages")
    assert (
        run(
            uv, "pip", "install", *place, f"setuptools=={OLD}", "--no-index", "-f", wheels
        ).returncode
        == 0
    )
    assert run(uvpip, *place, "twisted", "--no-index", "-f", wheels).returncode == 0
    for flags, kept in ((["--system-site-packages"], True), ([], False)):
        environment = tmp_path / "e"
        python = installation / "bin/python"
        assert run(uv, "venv", "-q", "--clear", *flags, "-p", python, environment).returncode == 0
        words = ("--reinstall", "twisted", "zope.interface")
        done = run(uvpip, "-p", environment, *words, "--no-index", "-f", wheels)
        assert done.returncode == 0, done.stderr
        (site_packages,) = environment.glob("lib/*/site-packages")
        assert (site_packages / (NORMALIZED if kept else DOTTED)).is_dir()


def test_what_keeps_its_name_is_not_hinted_at(
    run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    index = ("--no-index", "-f", wheels)
    for version, hinted in ((OLD, False), (NEW, True)):
        words = ("twisted", f"setuptools=={version}")
        assert run(uv, "pip", "install", *words, *index).returncode == 0
        done = run(uvpip, "twisted", *index)
        assert ("uvshim fix" in done.stderr) == hinted, done.stderr


def test_each_python_of_a_prefix_has_its_own_setuptools(
    run: Run, uvpip: Path, wheels: Path, tmp_path: Path
) -> None:
    newer, older = interpreter_of("3.12"), interpreter_of("3.9")
    place = ("--no-index", "-f", wheels, "--prefix", "p", "-p")
    assert run(uvpip, *place, newer, f"setuptools=={NEW}", "zope.interface").returncode == 0
    wanted = ("twisted", f"setuptools=={OLD}", "zope.interface")
    assert run(uvpip, *place, older, *wanted).returncode == 0
    assert (tmp_path / "p/lib/python3.12/site-packages" / DOTTED).is_dir()
    assert (tmp_path / "p/lib/python3.9/site-packages" / NORMALIZED).is_dir()


def test_a_target_for_another_python_is_judged_by_that_python(
    run: Run, uvpip: Path, wheels: Path, tmp_path: Path
) -> None:
    newer = interpreter_of("3.12")
    build_wheel(wheels, "layer", requires=['zope-interface>=5; python_version < "3.10"'])
    place = ("--no-index", "-f", wheels, "--target", "t", "-p", newer, "--python-version", "3.9")
    done = run(uvpip, *place, "layer", "zope.interface", f"setuptools=={OLD}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / NORMALIZED).is_dir()
