"""`uvshim check` on real environments."""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import corpus
from tests.wheels import build_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeVenv, Run
    from tests.places import Venv


def test_check_names_the_missing_names_and_the_plugins_that_would_be_dropped(
    run: Run, uvshim: Path, broken: Venv
) -> None:
    done = run(uvshim, "check", broken.path)
    assert done.returncode == 1
    assert done.stderr == ""
    assert "normalized-name zope.deferred==1.2: zope_deferred-1.2.dist-info" in done.stdout
    assert "simple==4.0 needs zope.deferred" in done.stdout
    assert "drivers: fast, slow" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(f"uvshim fix {broken.path}")


def test_check_prints_its_findings_as_json_for_programs(
    run: Run, uvshim: Path, broken: Venv
) -> None:
    done = run(uvshim, "check", "--format", "json", broken.path)
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["schema"] == 1
    (environment,) = result["environments"]
    assert environment["path"] == str(broken.path)
    assert environment["site_packages"] == [str(broken.site_packages)]
    assert environment["distributions"] == 5
    assert environment["setuptools"] == "75.8.0"
    assert environment["affected"] is True
    assert [each["name"] for each in environment["findings"]] == [
        "XStatic-JQuery.TableSorter",
        "zope.deferred",
    ]
    assert environment["findings"][1] == {
        "kind": "normalized-name",
        "name": "zope.deferred",
        "version": "1.2",
        "path": str(broken.site_packages / "zope_deferred-1.2.dist-info"),
        "expected": "zope.deferred-1.2.dist-info",
        "owner": "",
        "obstacle": "",
    }
    unresolvable = {each["name"]: each["missing"] for each in environment["unresolvable"]}
    assert set(unresolvable) == {"simple", "zope.deferred", "XStatic-JQuery.TableSorter"}
    assert unresolvable["simple"] == ["zope.deferred"]
    assert environment["entry_points"] == [
        {"group": "drivers", "name": "fast", "distribution": "simple"},
        {"group": "drivers", "name": "slow", "distribution": "simple"},
    ]


def test_no_rename_is_suggested_where_none_is_possible(
    run: Run, uvshim: Path, broken: Venv
) -> None:
    for info in broken.site_packages.glob("*.dist-info"):
        (info / "RECORD").unlink()
    done = run(uvshim, "check", broken.path)
    assert done.returncode == 1
    assert "zope_deferred-1.2.dist-info, which cannot be renamed: it has no RECORD\n" in done.stdout
    assert "uvshim fix" not in done.stdout


def test_check_agrees_with_the_pkg_resources_of_the_environment(
    run: Run, uvshim: Path, broken: Venv
) -> None:
    assert not broken.requires("simple")
    assert run(uvshim, "fix", broken.path).returncode == 0
    assert broken.requires("simple")
    assert run(uvshim, "check", broken.path).returncode == 0


def test_check_examines_several_environments_and_fails_for_one(
    run: Run, uvshim: Path, broken: Venv, make_venv: MakeVenv
) -> None:
    empty = make_venv("empty")
    done = run(uvshim, "check", empty.path, broken.path)
    assert done.returncode == 1
    assert f"{empty.path}: empty" in done.stdout
    assert f"{broken.path}: broken" in done.stdout
    assert run(uvshim, "check", empty.path).returncode == 0
    assert run(uvshim, "check", "--strict", empty.path).returncode == 1


def test_a_root_may_have_empty_directories_as_an_image_may(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    """Debian's python3 brings one, which is usually empty."""
    root = tmp_path / "root"
    for path in ("etc", "usr/local/lib/python3.11/dist-packages"):
        (root / path).mkdir(parents=True)
    corpus.write(
        corpus.under(
            "opt/app/lib/python3.11/site-packages", corpus.installed("simple-1.0", "simple")
        ),
        root,
    )
    done = run(uvshim, "check", "--strict", root)
    assert done.returncode == 0, done.stdout
    assert "empty (0 distributions" in done.stdout


def test_check_without_a_name_examines_the_environment_that_uv_would_use(
    run: Run, uvshim: Path, broken: Venv
) -> None:
    done = run(uvshim, "check")
    assert done.returncode == 1
    assert done.stdout.startswith(f"{broken.path}: broken")


def test_check_shortens_long_lists_and_shows_all_with_v(
    run: Run, uv: Path, uvshim: Path, broken: Venv, wheels: Path
) -> None:
    for number in range(12):
        build_wheel(wheels, f"many.parts{number}", "1.0")
    done = run(
        uv, "pip", "install", "--no-index", "-f", wheels, *[f"many.parts{n}" for n in range(12)]
    )
    assert done.returncode == 0
    short = run(uvshim, "check", broken.path).stdout
    assert "… and 6 more (-v shows all)" in short
    assert "many.parts9==1.0: many_parts9-1.0.dist-info" not in short
    assert (
        "many.parts9==1.0: many_parts9-1.0.dist-info"
        in run(uvshim, "check", "-v", broken.path).stdout
    )


def test_a_normalized_name_breaks_nothing_where_there_is_no_pkg_resources(
    run: Run, uv: Path, uvshim: Path, broken: Venv
) -> None:
    assert run(uv, "pip", "uninstall", "setuptools").returncode == 0
    done = run(uvshim, "check", broken.path)
    assert done.returncode == 0
    assert "2 normalized names" in done.stdout


def test_markers_are_evaluated_for_the_full_version_of_the_environment(
    run: Run, uv: Path, uvshim: Path, broken: Venv, wheels: Path
) -> None:
    build_wheel(wheels, "picky", requires=['nowhere; python_full_version < "3.6.1"'])
    full = broken.run("import platform; print(platform.python_version())").stdout.strip()
    build_wheel(wheels, "exact", requires=[f'nowhere; python_full_version < "{full}"'])
    wanted = ("--no-index", "--find-links", wheels, "--no-deps", "picky", "exact")
    assert run(uv, "pip", "install", *wanted).returncode == 0
    result = json.loads(run(uvshim, "check", "--format", "json", broken.path).stdout)
    names = {each["name"] for each in result["environments"][0]["unresolvable"]}
    assert names == {"simple", "zope.deferred", "XStatic-JQuery.TableSorter"}


def test_a_link_beside_the_library_of_python_does_not_make_it_another_python(
    run: Run, uv: Path, uvshim: Path, installation: Path, wheels: Path
) -> None:
    (library,) = installation.glob("lib/python3.*/")
    (installation / "lib" / "python3.1").symlink_to(library.name)
    python = installation / "bin" / library.name
    wanted = ("--no-index", "--find-links", wheels, "--break-system-packages", "simple")
    assert run(uv, "pip", "install", "--python", python, *wanted).returncode == 0
    for place in (installation, python):
        done = run(uvshim, "check", "--format", "json", place)
        (environment,) = json.loads(done.stdout)["environments"]
        assert environment["site_packages"] == [str(library / "site-packages")]


def test_no_place_of_an_image_is_passed_over_for_its_name(
    run: Run, uvshim: Path, broken: Venv, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    places = ["usr/src/app/.venv", "src/venv", "root/.local/share/uv/tools/foo"]
    (root / "etc").mkdir(parents=True)
    for place in places:
        shutil.copytree(broken.path, root / place, symlinks=True)
    result = json.loads(run(uvshim, "check", "--format", "json", root).stdout)
    assert {each["path"] for each in result["environments"]} == {
        str(root / place) for place in places
    }


def test_what_has_no_site_packages_cannot_be_examined(
    run: Run, uvshim: Path, broken: Venv, tmp_path: Path
) -> None:
    shutil.rmtree(broken.path / "lib")
    done = run(uvshim, "check", broken.path)
    assert done.returncode == 2
    assert "has no site-packages directory" in done.stderr


def test_excluded_names_do_not_fail_a_check(run: Run, uvshim: Path, broken: Venv) -> None:
    names = "zope.deferred,xstatic-*"
    assert run(uvshim, "check", broken.path, UVSHIM_EXCLUDE=names).returncode == 0
    assert run(uvshim, "check", broken.path, UVSHIM_EXCLUDE="zope.deferred").returncode == 1


def test_check_can_be_interrupted(uvshim: Path, broken: Venv, variables: dict[str, str]) -> None:
    many = [str(broken.path)] * 400  # a matter of many seconds
    watch = tell_when_opened(broken.site_packages / "simple-4.0.dist-info" / "METADATA")
    checking = subprocess.Popen(
        [uvshim, "check", *many], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert select.select([watch], [], [], 60)[0]  # it is examining the first
    os.close(watch)
    checking.send_signal(signal.SIGINT)
    assert checking.communicate(timeout=60) == (b"", b"")
    assert checking.returncode == 130


def tell_when_opened(path: Path) -> int:
    """Return a descriptor that can be read as soon as somebody opens the file `path` (inotify)."""
    libc = ctypes.CDLL(None)
    watch: int = libc.inotify_init()
    in_open = 0x20
    assert libc.inotify_add_watch(watch, os.fsencode(path), in_open) > 0
    return watch


@pytest.fixture
def refusing(run: Run, uv: Path, venv: Venv, wheels: Path, old_setuptools: Path) -> Venv:
    """An environment in which every name is right, and two things are missing or too old."""
    build_wheel(wheels, "careless", "1.0", requires=["nowhere>=2"])
    build_wheel(wheels, "modern", "1.0", requires=["plain_name>=4"])
    wanted = ("--no-deps", "setuptools", "careless", "modern", "plain_name")
    done = run(uv, "pip", "install", "--no-index", "--find-links", wheels, *wanted)
    assert done.returncode == 0, done.stderr
    return venv


def test_what_require_refuses_whatever_the_names_is_shown(
    run: Run, uvshim: Path, refusing: Venv
) -> None:
    assert not refusing.requires("careless")
    done = run(uvshim, "check", refusing.path)
    assert done.returncode == 0
    assert f"{refusing.path}: ok (" in done.stdout
    assert "fails for 2 distributions for other reasons (see --strict)" in done.stdout
    assert "careless==1.0 needs nowhere, which is not installed" in done.stdout
    assert (
        "modern==1.0 VersionConflict: plain-name>=4 is required, and 3.0 is installed"
        in done.stdout.replace("plain_name", "plain-name")
    )
    assert run(uvshim, "check", "-q", refusing.path).stdout == ""
    assert run(uvshim, "check", "-q", "--strict", refusing.path).stdout != ""


def test_a_strict_check_ends_with_1_for_it(run: Run, uvshim: Path, refusing: Venv) -> None:
    done = run(uvshim, "check", "--strict", refusing.path)
    assert done.returncode == 1
    assert f"{refusing.path}: broken (" in done.stdout
    done = run(uvshim, "check", "--strict", "--format", "json", refusing.path)
    assert done.returncode == 1
    (environment,) = json.loads(done.stdout)["environments"]
    assert environment["broken"] is True
    assert [each["absent"] for each in environment["unresolvable"]] == [["nowhere"]]
    (failure,) = environment["failures"]
    assert (failure["error"], failure["name"]) == ("VersionConflict", "modern")
    assert "is required, and 3.0 is installed" in failure["reason"]


def test_excluded_names_are_counted_with_their_source(
    run: Run, uvshim: Path, broken: Venv, tmp_path: Path
) -> None:
    (tmp_path / "uvshim.toml").write_text('exclude = ["zope.*"]\n')
    done = run(uvshim, "check", broken.path, UVSHIM_EXCLUDE="xstatic-*")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == [
        "  1 directory with a problem is excluded by UVSHIM_EXCLUDE",
        f"  1 directory with a problem is excluded by `exclude` in `{tmp_path}/uvshim.toml`",
    ]
    done = run(uvshim, "check", "--format", "json", broken.path, UVSHIM_EXCLUDE="*")
    (environment,) = json.loads(done.stdout)["environments"]
    assert environment["findings"] == []
    assert [(each["name"], each["by"]) for each in environment["excluded"]] == [
        ("XStatic-JQuery.TableSorter", "UVSHIM_EXCLUDE"),
        ("zope.deferred", "UVSHIM_EXCLUDE"),
    ]


@pytest.mark.parametrize("place", ["target", "prefix", "prefix with a Python", "venv"])
def test_what_is_harmless_here_may_not_be_to_another_python(
    place: str, run: Run, uvshim: Path, tmp_path: Path
) -> None:
    site = tmp_path if place == "target" else tmp_path / "lib/python3.11/site-packages"
    corpus.write(corpus.installed("zope_x-1.0", "zope.x"), site)
    if place == "venv":
        (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\n")
    elif place == "prefix with a Python":
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/python3.11").touch()
    done = run(uvshim, "check", tmp_path)
    assert "1 normalized name is harmless here: there is no pkg_resources" in done.stdout
    known = place in {"venv", "prefix with a Python"}
    assert ("A Python that imports from here may have one" in done.stdout) != known
