"""`uvshim`, the command: check, fix and run on real environments."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.places import Venv, record_faults, tree
from tests.wheels import build_wheel
from uvshim import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeVenv, Run

PLUGINS = "[drivers]\nfast = simple:fast\nslow = simple:slow\n"


@pytest.fixture
def broken(run: Run, uv: Path, venv: Venv, wheels: Path, old_setuptools: Path) -> Venv:
    """An environment made with plain uv: `simple` needs `zope.deferred`, and has two plugins."""
    build_wheel(wheels, "simple", "4.0", requires=["zope.deferred>=1"], entry_points=PLUGINS)
    wanted = ("setuptools", "simple", "plain_name")
    done = run(uv, "pip", "install", "--no-index", "--find-links", wheels, *wanted)
    assert done.returncode == 0, done.stderr
    return venv


@pytest.fixture
def offline(wheels: Path) -> dict[str, Any]:
    """The variables with which uv and uvpip find the test's own wheels and nothing else."""
    return {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels)}


def spoil_with_snippet(venv: Venv) -> None:
    """Rename as the snippet that circulates does: its version is always `info`."""
    for info in venv.site_packages.glob("*.dist-info"):
        lines = (info / "METADATA").read_text().splitlines()
        name = next(line[6:] for line in lines if line.startswith("Name: "))
        if "." in name:
            version = info.name.rsplit("-", 1)[1].removesuffix(".dist-info")
            info.rename(info.parent / f"{name}-{version}.dist-info")


def spoil_with_dash(venv: Venv) -> None:
    """Rename with the version right, but a `-` in the name part, and RECORD left alone."""
    for info in venv.site_packages.glob("xstatic_*.dist-info"):
        info.rename(info.parent / "XStatic-JQuery.TableSorter-2.14.5.3.dist-info")


def spoil_without_record(venv: Venv) -> None:
    """Rename rightly, but leave RECORD alone."""
    for old, new in (
        ("xstatic_jquery_tablesorter", "XStatic_JQuery.TableSorter"),
        ("zope_deferred", "zope.deferred"),
    ):
        for info in venv.site_packages.glob(f"{old}-*.dist-info"):
            info.rename(info.parent / info.name.replace(old, new))


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
    }
    unresolvable = {each["name"]: each["missing"] for each in environment["unresolvable"]}
    assert set(unresolvable) == {"simple", "zope.deferred", "XStatic-JQuery.TableSorter"}
    assert unresolvable["simple"] == ["zope.deferred"]
    assert environment["entry_points"] == [
        {"group": "drivers", "name": "fast", "distribution": "simple"},
        {"group": "drivers", "name": "slow", "distribution": "simple"},
    ]


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
    assert f"{empty.path}: ok" in done.stdout
    assert f"{broken.path}: broken" in done.stdout
    assert run(uvshim, "check", empty.path).returncode == 0


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


@pytest.mark.parametrize(
    "path",
    [
        lambda venv: venv.path,
        lambda venv: venv.python,
        lambda venv: venv.site_packages,
        lambda venv: os.path.relpath(venv.path, venv.path.parent),
    ],
    ids=["virtual environment", "interpreter", "site-packages", "relative"],
)
def test_an_environment_can_be_named_in_every_way(
    run: Run, uvshim: Path, broken: Venv, path: Callable[[Venv], str | Path]
) -> None:
    assert run(uvshim, "check", path(broken)).returncode == 1
    assert run(uvshim, "fix", path(broken)).returncode == 0
    assert run(uvshim, "check", path(broken)).returncode == 0


def test_every_environment_in_the_root_of_a_file_system_is_found_and_its_links_stay_inside(
    run: Run, uvshim: Path, broken: Venv, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for directory in ("etc", "usr/lib/python3/dist-packages", "usr/bin", "opt"):
        (root / directory).mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    shutil.copytree(broken.path, root / "opt" / "app", symlinks=True)
    (root / "usr" / "local").symlink_to("/opt/app")
    done = run(uvshim, "check", "--format", "json", root)
    found = {each["path"]: each for each in json.loads(done.stdout)["environments"]}
    assert set(found) == {str(root / "opt/app"), str(root / "usr")}
    assert len(found[str(root / "opt/app")]["findings"]) == 2
    assert run(uvshim, "fix", root).returncode == 0
    assert run(uvshim, "check", root).returncode == 0
    assert len(list(root.glob("opt/app/lib/*/site-packages/zope.deferred-1.2.dist-info"))) == 1
    assert broken.dist_infos()[-1] == "zope_deferred-1.2.dist-info"


@pytest.mark.parametrize("word", ["nowhere", "file.txt", "empty"])
def test_what_is_no_environment_is_refused_in_one_line(
    run: Run, uvshim: Path, tmp_path: Path, word: str
) -> None:
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "empty").mkdir()
    for command in ("check", "fix"):
        done = run(uvshim, command, word)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: `{word}` ")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("spoil", [spoil_with_snippet, spoil_with_dash, spoil_without_record])
def test_fix_mends_the_damage_of_wrong_renames(
    run: Run, uv: Path, uvshim: Path, broken: Venv, spoil: Callable[[Venv], None]
) -> None:
    spoil(broken)
    assert run(uvshim, "check", broken.path).returncode == 1
    done = run(uvshim, "fix", broken.path)
    assert done.returncode == 0, done.stderr
    assert broken.dist_infos() == [
        "XStatic_JQuery.TableSorter-2.14.5.3.dist-info",
        "plain_name-3.0.dist-info",
        "setuptools-75.8.0.dist-info",
        "simple-4.0.dist-info",
        "zope.deferred-1.2.dist-info",
    ]
    for name in broken.dist_infos():
        assert record_faults(broken.site_packages / name) == []
    assert broken.requires("simple")
    assert run(uv, "pip", "check").returncode == 0
    assert (
        run(uv, "pip", "uninstall", "zope.deferred", "xstatic-jquery.tablesorter").returncode == 0
    )
    assert not list(broken.site_packages.glob("*[dD]eferred*"))
    assert not list(broken.site_packages.glob("[xX][sS]tatic*"))


def test_fix_a_second_time_changes_nothing(run: Run, uvshim: Path, broken: Venv) -> None:
    assert run(uvshim, "fix", broken.path).returncode == 0
    before = tree(broken.path)
    done = run(uvshim, "fix", broken.path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert tree(broken.path) == before


def test_a_dry_run_of_fix_says_what_it_would_do_and_does_nothing(
    run: Run, uvshim: Path, broken: Venv
) -> None:
    before = tree(broken.path)
    done = run(uvshim, "fix", "--dry-run", broken.path)
    assert done.returncode == 0
    assert "Would renormalize 2 distributions" in done.stderr
    assert " ~ zope.deferred==1.2" in done.stderr
    assert tree(broken.path) == before


def test_what_is_excluded_is_neither_found_nor_mended(run: Run, uvshim: Path, broken: Venv) -> None:
    done = run(uvshim, "fix", broken.path, UVSHIM_EXCLUDE="zope.*")
    assert done.returncode == 0
    assert broken.dist_infos()[-1] == "zope_deferred-1.2.dist-info"
    assert "XStatic_JQuery.TableSorter-2.14.5.3.dist-info" in broken.dist_infos()


def test_a_ghost_is_named_with_the_command_that_brings_its_code_back(
    run: Run, uv: Path, uvshim: Path, broken: Venv, offline: dict[str, Any]
) -> None:
    spoil_without_record(broken)
    assert run(uv, "pip", "uninstall", "zope.deferred").returncode == 0
    done = run(uvshim, "fix", broken.path)
    assert done.returncode == 3
    assert "whose code is gone" in done.stderr
    assert run(uvshim, "check", broken.path).returncode == 1
    follow_hints(run, uvshim, broken, offline)
    assert run(uvshim, "check", broken.path).returncode == 0
    assert broken.run("import zope_deferred").returncode == 0
    assert broken.requires("simple")


def test_duplicates_are_named_with_the_command_that_leaves_one(
    run: Run, uvshim: Path, broken: Venv, offline: dict[str, Any]
) -> None:
    info = broken.site_packages / "zope_deferred-1.2.dist-info"
    old = info.with_name("zope.deferred-1.1.dist-info")
    shutil.copytree(info, old)
    metadata = (old / "METADATA").read_text().replace("1.2", "1.1")
    (old / "METADATA").unlink()
    (old / "METADATA").write_text(metadata)
    record = (old / "RECORD").read_text().replace(info.name, old.name)
    (old / "RECORD").write_text(record)
    done = run(uvshim, "check", broken.path)
    assert done.returncode == 1
    assert done.stdout.count("duplicate zope.deferred") == 2
    follow_hints(run, uvshim, broken, offline)
    assert run(uvshim, "check", broken.path).returncode == 0
    assert [each for each in broken.dist_infos() if "deferred" in each] == [
        "zope.deferred-1.2.dist-info"
    ]


def follow_hints(run: Run, uvshim: Path, venv: Venv, variables: dict[str, Any]) -> None:
    """Run every command that check prints, as a person would paste it into a shell."""
    lines = run(uvshim, "check", venv.path).stdout.splitlines()
    commands = [line.partition("hint: ")[2] for line in lines if "hint: " in line]
    assert commands
    path = f"{uvshim.parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        done = run("/bin/sh", "-c", command, PATH=path, **variables)
        assert done.returncode in {0, 3}, done.stderr


def test_fix_waits_for_a_lock_that_uv_holds_and_says_so(
    uvshim: Path, broken: Venv, variables: dict[str, str]
) -> None:
    with (broken.path / ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fixing = subprocess.Popen(
            [uvshim, "fix", broken.path], env=variables, stderr=subprocess.PIPE, text=True
        )
        assert fixing.stderr is not None
        said = fixing.stderr.readline()
        assert fixing.poll() is None
        assert broken.dist_infos()[-1] == "zope_deferred-1.2.dist-info"
    fixing.communicate(timeout=30)
    assert fixing.returncode == 0
    assert said == f"Waiting for another uv to release its lock at `{broken.path}/.lock`\n"
    assert broken.dist_infos()[-1] == "zope.deferred-1.2.dist-info"


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
    run: Run, uvshim: Path, make_venv: MakeVenv, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    python = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", python], check=True)
    other = Venv(python)
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


def test_output_that_cannot_be_written_is_no_traceback(
    run: Run, uvshim: Path, uvpip: Path, broken: Venv
) -> None:
    done = run(uvshim, "check", broken.path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 1
    assert "\\u2192" in done.stdout
    done = run("/bin/sh", "-c", f"{uvshim} check {broken.path} > /dev/full")
    assert (done.returncode, done.stderr) == (
        2,
        "error: standard output: No space left on device\n",
    )
    done = run("/bin/sh", "-c", f"{uvshim} check {broken.path} | true")
    assert (done.returncode, done.stderr) == (0, "")
    done = run(uvpip, "--help", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_that_of_the_package(run: Run, uvshim: Path) -> None:
    assert run(uvshim, "--version").stdout == f"uvshim {__version__}\n"
    assert run(sys.executable, "-m", "uvshim", "--version").stdout == f"uvshim {__version__}\n"


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


def test_what_is_inherited_is_mended_where_it_lies(
    run: Run,
    uv: Path,
    uvshim: Path,
    installation: Path,
    make_venv: MakeVenv,
    wheels: Path,
    old_setuptools: Path,
) -> None:
    (python,) = installation.glob("bin/python3.*[0-9]")
    wanted = (
        "--no-index",
        "--find-links",
        wheels,
        "--break-system-packages",
        "simple",
        "setuptools",
    )
    assert run(uv, "pip", "install", "--reinstall", "--python", python, *wanted).returncode == 0
    above = make_venv("above", "--system-site-packages", python=python)
    assert run(uvshim, "check", above.path).returncode == 1
    assert run(uvshim, "fix", above.path).returncode == 0
    follow_hints(run, uvshim, above, {})
    assert run(uvshim, "check", above.path).returncode == 0


def test_what_is_excluded_does_not_shut_a_gate(run: Run, uvshim: Path, broken: Venv) -> None:
    names = "zope.deferred,xstatic-*"
    assert run(uvshim, "check", broken.path, UVSHIM_EXCLUDE=names).returncode == 0
    assert run(uvshim, "check", broken.path, UVSHIM_EXCLUDE="zope.deferred").returncode == 1


def test_check_can_be_interrupted(uvshim: Path, broken: Venv, variables: dict[str, str]) -> None:
    many = [str(broken.path)] * 400
    checking = subprocess.Popen(
        [uvshim, "check", *many], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    time.sleep(0.6)
    checking.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, said = checking.communicate(timeout=30)
    assert (checking.returncode, said) == (130, b"")
    assert time.monotonic() - begin < 2


def test_what_pip_has_put_aside_is_no_distribution(run: Run, uvshim: Path, broken: Venv) -> None:
    assert run(uvshim, "fix", broken.path).returncode == 0
    info = broken.site_packages / "zope.deferred-1.2.dist-info"
    shutil.copytree(info, info.with_name("~ope.deferred-1.2.dist-info"))
    assert run(uvshim, "check", broken.path).returncode == 0
    assert run(uvshim, "fix", broken.path).returncode == 0
