"""`uvshim fix` on real environments."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.damage import follow_hints, spoil_with_dash, spoil_with_snippet, spoil_without_record
from tests.places import record_faults, tree
from uvshim.commands import fix, pythons
from uvshim.environments import discovery
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeVenv, Run
    from tests.places import Venv


@pytest.mark.parametrize("spoil", [spoil_with_snippet, spoil_with_dash, spoil_without_record])
def test_fix_fixes_the_damage_of_wrong_renames(
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
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"Nothing to fix in `{broken.path}`\n"
    assert run(uvshim, "fix", "-q", broken.path).stderr == ""
    assert tree(broken.path) == before


def test_a_dry_run_of_fix_agrees_where_an_uninstall_has_left_files(
    run: Run, uv: Path, uvshim: Path, venv: Venv, wheels: Path
) -> None:
    wanted = ("--no-index", "-f", wheels, "zope.deferred==1.2", "--no-deps")
    assert run(uv, "pip", "install", *wanted).returncode == 0
    left = venv.site_packages / "zope.deferred-1.2.dist-info"
    left.mkdir()
    (left / "foreign").touch()
    for options in (["--dry-run"], []):
        done = run(uvshim, "fix", *options, venv.path)
        assert (done.returncode, "left alone" in done.stderr) == (0, False), done.stderr
    assert (left / "foreign").exists()


@pytest.mark.parametrize("how", ["copy", "link", "conda's"])
def test_a_copy_or_link_that_somebody_has_made_is_left_and_so_is_what_it_leads_to(
    run: Run, uvshim: Path, broken: Venv, how: str
) -> None:
    """By hand, so that pkg_resources finds the name."""
    info = broken.site_packages / "zope_deferred-1.2.dist-info"
    other = info.with_name("zope.deferred-1.2.dist-info")
    if how == "link":
        info.rename(other)
        info.symlink_to(other)
    else:
        if how == "conda's":
            (info / "INSTALLER").unlink()
            (info / "INSTALLER").write_text("conda")
        shutil.copytree(info, other)
    before = tree(other), tree(info)
    done = run(uvshim, "fix", broken.path)
    assert done.returncode == (0 if how == "conda's" else 3), done.stderr
    assert (tree(other), tree(info)) == before


def test_a_dry_run_of_fix_says_what_it_would_do_and_does_nothing(
    run: Run, uvshim: Path, broken: Venv
) -> None:
    before = tree(broken.path)
    done = run(uvshim, "fix", "--dry-run", broken.path)
    assert done.returncode == 0
    assert "Would renormalize 2 distributions" in done.stderr
    assert " ~ zope.deferred==1.2" in done.stderr
    assert tree(broken.path) == before


def test_excluded_names_are_neither_reported_nor_fixed(
    run: Run, uvshim: Path, broken: Venv
) -> None:
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
    assert "but its code is gone" in done.stderr
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
    os.utime(old, (0, 0))  # it was there before
    done = run(uvshim, "check", broken.path)
    assert done.returncode == 1
    assert done.stdout.count("duplicate zope.deferred") == 2
    follow_hints(run, uvshim, broken, offline)
    assert run(uvshim, "check", broken.path).returncode == 0
    assert [each for each in broken.dist_infos() if "deferred" in each] == [
        "zope.deferred-1.2.dist-info"
    ]


def test_fix_holds_every_lock_that_a_uv_may_take(
    uv: Path, installation: Path, make_venv: MakeVenv, tmp_path: Path
) -> None:
    """Outside of virtual environments it depends on the name by which uv runs the Python."""
    programs = [each for each in (installation / "bin").iterdir() if "config" not in each.name]
    (site,) = installation.glob("lib/python3.*/site-packages")
    supervisor = Supervisor()
    known = {
        pythons.lock_of(str(each), supervisor)
        for each in programs
        if each.name.startswith("python")
    }
    assert len(known) > 1
    for named in (installation, site, installation / "bin" / "python3"):
        (found,) = discovery.find(str(named))
        assert known <= set(fix.locks([found], supervisor))
    prefix = tmp_path / "prefix"
    inside = prefix / "lib/python3.11/site-packages/x-1.0.dist-info"
    inside.mkdir(parents=True)
    (prefix / ".lock").touch()
    (tmp_path / "link").symlink_to(inside.parent)
    for named in (prefix, inside.parent, tmp_path / "link"):
        (found,) = discovery.find(str(named))
        assert len(fix.locks([found], supervisor)) == 1
        assert Path(fix.locks([found], supervisor)[0]).samefile(prefix / ".lock")
    (tmp_path / "alias").symlink_to(installation)
    (found,) = discovery.find(str(tmp_path / "alias"))
    alias = pythons.lock_of(str(tmp_path / "alias/bin/python3"), supervisor)
    assert {alias, *known} <= set(fix.locks([found], supervisor))
    for name in ("usr", "etc"):
        (tmp_path / "root" / name).mkdir(parents=True)
    venv = make_venv("root/opt/app")
    (found,) = discovery.find(str(tmp_path / "root"))
    (venv.path / ".lock").touch()
    assert fix.locks([found], supervisor) == [str(venv.path / ".lock")]
    supervisor.release()


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


def test_an_interrupted_wait_for_one_lock_changes_no_environment(
    uvshim: Path, broken: Venv, make_venv: MakeVenv, variables: dict[str, str]
) -> None:
    other = make_venv("other")
    with (other.path / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fixing = subprocess.Popen(
            [uvshim, "fix", broken.path, other.path],
            env=variables,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert fixing.stderr is not None
        assert fixing.stderr.readline().startswith("Waiting for another uv")
        fixing.send_signal(signal.SIGINT)
        said = fixing.communicate(timeout=30)[1]
    assert fixing.returncode == -signal.SIGINT
    assert said == "warning: Interrupted while another uv had the lock: nothing was renamed\n"
    assert broken.dist_infos()[-1] == "zope_deferred-1.2.dist-info"


def test_inherited_distributions_are_fixed_in_their_own_environment(
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
    fixed = run(uvshim, "fix", above.path)
    assert fixed.returncode == 3
    assert "is inherited from another environment" in fixed.stderr
    said = json.loads(run(uvshim, "fix", "--format", "json", above.path).stdout)
    assert said["environments"][0]["complete"] is False
    (command,) = said["environments"][0]["commands"]
    assert f"hint: {command}\n" in fixed.stderr
    follow_hints(run, uvshim, above, {})
    assert run(uvshim, "check", above.path).returncode == 0
    assert run(uvshim, "fix", above.path).returncode == 0


def test_fix_says_which_environment_each_block_belongs_to(
    run: Run, uvshim: Path, broken: Venv, make_venv: MakeVenv
) -> None:
    empty = make_venv("empty")
    done = run(uvshim, "fix", empty.path, broken.path)
    assert done.returncode == 0
    first, second, third = done.stderr.splitlines()[:3]
    assert first == f"Nothing to fix in `{empty.path}`"
    assert second == f"In `{broken.path}`:"
    assert third.startswith("Renormalized 2 distributions")


def test_fix_says_what_it_leaves_out(run: Run, uvshim: Path, broken: Venv, tmp_path: Path) -> None:
    done = run(uvshim, "fix", broken.path, UVSHIM_EXCLUDE="*")
    assert done.stderr.splitlines() == [
        f"Nothing to fix in `{broken.path}`",
        "2 directories with a problem are excluded by UVSHIM_EXCLUDE",
    ]


def test_fix_prints_what_it_has_done_as_json_for_programs(
    run: Run, uvshim: Path, broken: Venv
) -> None:
    outcomes = []
    for options in (["--dry-run"], [], []):
        done = run(uvshim, "fix", *options, "--format", "json", broken.path)
        assert (done.returncode, done.stderr) == (0, "")
        result = json.loads(done.stdout)
        assert (result["schema"], result["dry_run"]) == (1, bool(options))
        (environment,) = result["environments"]
        assert (environment["path"], environment["complete"]) == (str(broken.path), True)
        outcomes.append(environment["renamed"])
    assert outcomes[0] == outcomes[1]
    assert outcomes[1][1] == {
        "name": "zope.deferred",
        "version": "1.2",
        "before": str(broken.site_packages / "zope_deferred-1.2.dist-info"),
        "path": str(broken.site_packages / "zope.deferred-1.2.dist-info"),
    }
    assert outcomes[2] == []


def test_the_json_of_fix_tells_what_no_rename_helps(
    run: Run, uv: Path, uvshim: Path, broken: Venv
) -> None:
    spoil_without_record(broken)
    assert run(uv, "pip", "uninstall", "zope.deferred").returncode == 0
    done = run(uvshim, "fix", "--format", "json", broken.path)
    assert done.returncode == 3
    (environment,) = json.loads(done.stdout)["environments"]
    assert environment["complete"] is False
    (rest,) = environment["rest"]
    assert (rest["kind"], rest["name"]) == ("ghost", "zope.deferred")
    (command,) = environment["commands"]
    assert command.endswith("--no-deps --reinstall zope.deferred==1.2")


@pytest.mark.parametrize("words", [[], ["--dry-run"]], ids=str)
def test_where_one_environment_cannot_be_listed_nothing_is_renamed(
    run: Run, uvshim: Path, broken: Venv, tmp_path: Path, words: list[str]
) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("NOT TRIED: a directory that root cannot list (needs setpriv)")
    rights = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    shut = tmp_path / "shut" / "lib" / "python3.11" / "site-packages"
    shut.mkdir(parents=True)
    shut.chmod(0o300)
    before = broken.dist_infos()
    try:
        program = rights if os.geteuid() == 0 else ()
        done = run(*program, uvshim, "fix", *words, broken.path, tmp_path / "shut")
    finally:
        shut.chmod(0o700)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"error: `{shut}`: Permission denied\n"
    assert broken.dist_infos() == before


@pytest.mark.parametrize("owner", ["conda", "rpm", "dpkg", "PDM"])
def test_what_another_package_manager_owns_is_left_and_named(
    run: Run, uvshim: Path, broken: Venv, owner: str
) -> None:
    (info,) = broken.site_packages.glob("zope_deferred-*.dist-info")
    (info / "INSTALLER").write_text(f"{owner}\n")
    if owner == "PDM":  # and the distribution is in its cache
        (info / "REFER_TO").write_text("/cache/zope.deferred-1.2")
    checked = run(uvshim, "check", broken.path)
    assert checked.returncode == 1
    assert f"{info.name}, which {owner} owns: uvshim leaves it alone\n" in checked.stdout
    before = tree(info)
    for options in (["--dry-run"], []):
        done = run(uvshim, "fix", *options, broken.path)
        assert done.returncode == 0, done.stderr
        assert f"Left 1 directory unchanged that {owner} owns: {info.name}\n" in done.stderr
        assert "~ zope.deferred" not in done.stderr
        assert tree(info) == before
    said = json.loads(run(uvshim, "fix", "--format", "json", broken.path).stdout)
    assert said["environments"][0]["owned"] == [{"path": str(info), "owner": owner}]
    assert said["environments"][0]["complete"]


@pytest.mark.parametrize("command", [("check",), ("fix",), ("fix", "--dry-run")], ids=" ".join)
@pytest.mark.parametrize("shut", ["e", "above"])
def test_an_environment_that_may_not_be_looked_into_is_named(
    run: Run, uvshim: Path, broken: Venv, tmp_path: Path, command: tuple[str, ...], shut: str
) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("NOT TRIED: a directory that root cannot search (needs setpriv)")
    rights = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    (tmp_path / "above").mkdir()
    environment = broken.path.rename(tmp_path / "above" / "e")
    closed = environment if shut == "e" else tmp_path / "above"
    closed.chmod(0)
    try:
        program = rights if os.geteuid() == 0 else ()
        done = run(*program, uvshim, *command, environment)
    finally:
        closed.chmod(0o700)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: `{environment}`: Permission denied\n"


def test_code_that_nobody_may_look_at_is_not_gone(run: Run, uvshim: Path, broken: Venv) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("NOT TRIED: a directory that root cannot search (needs setpriv)")
    rights = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    program = rights if os.geteuid() == 0 else ()
    code = broken.site_packages / "zope_deferred"
    code.chmod(0)
    try:
        verified = run(*program, uvshim, "check", "--verify", broken.path)
        done = run(*program, uvshim, "fix", broken.path)
    finally:
        code.chmod(0o755)
    assert (verified.returncode, verified.stdout) == (2, "")
    assert verified.stderr == f"error: `{code}/__init__.py`: Permission denied\n"
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in broken.dist_infos()


@pytest.mark.parametrize("owner", ["conda", "rpm"])
def test_nothing_is_to_be_reinstalled_that_another_package_manager_owns(
    run: Run, uvshim: Path, broken: Venv, owner: str
) -> None:
    """conda changes INSTALLER and not RECORD; rpm has no RECORD; code and twins are theirs, too."""
    site = broken.site_packages
    for info in site.glob("*.dist-info"):
        (info / "INSTALLER").write_text(owner)
        if owner == "rpm":
            (info / "RECORD").unlink()
    checked = run(uvshim, "check", "--verify", broken.path)
    assert "differ from RECORD" not in checked.stdout
    assert "--reinstall" not in checked.stdout
    if owner == "conda":
        shutil.copytree(site / "simple-4.0.dist-info", site / "simple-3.0.dist-info")
        for path in site.glob("zope*"):
            if not path.name.endswith(".dist-info"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        checked = run(uvshim, "check", broken.path)
        assert checked.returncode == 1
        for name in ("simple-3.0", "simple-4.0", "zope_deferred-1.2"):
            assert f"{name}.dist-info, which conda owns: uvshim leaves it alone\n" in checked.stdout
        assert "--reinstall" not in checked.stdout


def test_what_debian_owns_is_left_and_named(run: Run, uvshim: Path, tmp_path: Path) -> None:
    site = tmp_path / "root/usr/lib/python3/dist-packages"
    info = site / "zope_deferred-1.2.dist-info"
    for path, content in (
        (tmp_path / "root/etc/os-release", "ID=debian\n"),
        (tmp_path / "root/usr/lib/python3.11/os.py", ""),
        (tmp_path / "root/usr/bin/python3.11", ""),
        (info / "METADATA", "Metadata-Version: 2.1\nName: zope.deferred\nVersion: 1.2\n"),
        (site / "setuptools-66.1.1.dist-info/METADATA", "Name: setuptools\nVersion: 66.1.1\n"),
        (site / "pkg_resources/__init__.py", ""),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    done = run(uvshim, "fix", tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert f"Left 1 directory unchanged that dpkg owns: {info.name}\n" in done.stderr
    assert info.is_dir()


def test_uv_reads_every_version_that_is_written(
    run: Run, uv: Path, uvshim: Path, broken: Venv
) -> None:
    versions = ["1.0-1", "v1.5", "1.0+a-b", "01.2", "1!2.0", "1.0RC1", "1.0.post-2", "2.0-alpha.1"]
    for number, version in enumerate([*versions, "1.0-5-gabc", "unknown"]):
        for stem in (f"a_b{number}-{version}", f"c.d{number}-info"):
            info = broken.site_packages / f"{stem}.dist-info"
            info.mkdir()
            name = stem.partition("-")[0].replace("_", ".")
            text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            (info / "METADATA").write_text(text)
            (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{info.name}/RECORD,,\n")
    done = run(uvshim, "fix", "--format", "json", broken.path)
    (environment,) = json.loads(done.stdout)["environments"]
    assert len(environment["left_alone"]) == 4, environment["left_alone"]
    for each in environment["left_alone"]:
        assert each["reason"] == "neither its name nor its METADATA has a valid version"
        shutil.rmtree(each["path"])
    listed = run(uv, "pip", "list", "--python", broken.python)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("a-b") + listed.stdout.count("c-d") == 2 * len(versions)
    assert run(uvshim, "check", "-q", broken.path).returncode == 0
