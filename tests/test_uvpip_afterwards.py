"""uv's own commands in an environment that `uvpip` has changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests import corpus
from tests.places import found_below, record_faults, tree
from tests.wheels import build_wheel
from uvshim import after_install
from uvshim.environments.environment import Environment
from uvshim.environments.snapshot import Snapshot
from uvshim.messages import Messages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeVenv, Run
    from tests.places import Venv

DOTTED = [
    "XStatic_JQuery.TableSorter-2.14.5.3.dist-info",
    "plain_name-3.0.dist-info",
    "simple-4.0.dist-info",
    "zope.deferred-1.2.dist-info",
]


@pytest.fixture
def installed(run: Run, uvpip: Path, venv: Venv, wheels: Path) -> Venv:
    """The virtual environment with all the wheels, installed by uvpip."""
    done = run(uvpip, "--no-index", "-f", wheels, "simple", "plain_name")
    assert done.returncode == 0, done.stderr
    assert venv.dist_infos() == DOTTED
    return venv


def test_every_record_is_true(installed: Venv) -> None:
    faults = {name: record_faults(installed.site_packages / name) for name in DOTTED}
    assert faults == {name: [] for name in DOTTED}


def test_uv_reads_the_same_as_where_it_installed_alone(
    run: Run, uv: Path, installed: Venv, make_venv: MakeVenv, wheels: Path
) -> None:
    plain = make_venv("plain")
    wanted = ("--no-index", "-f", wheels, "simple", "plain_name")
    assert run(uv, "pip", "install", "-p", plain.path, *wanted).returncode == 0
    assert plain.dist_infos() != installed.dist_infos()
    for words in (
        ["list", "--format", "json"],
        ["freeze"],
        ["tree"],
        ["check"],
        ["show", "zope.deferred"],
        ["show", "--files", "simple"],
    ):
        ours = run(uv, "pip", *words, "-p", installed.path)
        plains = run(uv, "pip", *words, "-p", plain.path)
        assert ours.returncode == plains.returncode == 0, ours.stderr
        assert ours.stdout == plains.stdout.replace(str(plain.path), str(installed.path))
    names = json.loads(run(uv, "pip", "list", "--format", "json").stdout)
    assert {"name": "zope-deferred", "version": "1.2"} in names


def test_uv_uninstalls_every_one_of_them_and_leaves_nothing(
    run: Run, uv: Path, make_venv: MakeVenv, installed: Venv
) -> None:
    for name in ("zope.deferred", "xstatic_jquery-tablesorter", "plain-name", "simple"):
        done = run(uv, "pip", "uninstall", name)
        assert done.returncode == 0, done.stderr
        assert "Uninstalled 1 package" in done.stderr
    empty = make_venv("empty")
    assert found_below(installed.site_packages, "*") == found_below(empty.site_packages, "*")


def test_uv_installs_nothing_again_that_is_there_and_syncs_what_is_not(
    run: Run, uv: Path, installed: Venv, wheels: Path
) -> None:
    offline: list[str | Path] = ["--no-index", "-f", wheels]
    again = run(uv, "pip", "install", *offline, "zope-deferred>=1", "simple")
    assert "2 packages in" in again.stderr
    assert "Installed" not in again.stderr
    done = run(uv, "pip", "sync", *offline, "-", stdin="zope.deferred==1.2\n")
    assert done.returncode == 0, done.stderr
    assert installed.dist_infos() == ["zope.deferred-1.2.dist-info"]


def test_importlib_metadata_finds_each_once_under_every_spelling(installed: Venv) -> None:
    done = installed.run(
        "from importlib.metadata import distributions, version\n"
        "print(sorted(each.metadata['Name'] for each in distributions()))\n"
        "print(version('zope.deferred'), version('zope-deferred'), version('Zope_Deferred'))\n"
    )
    assert done.stdout.splitlines() == [
        "['XStatic-JQuery.TableSorter', 'plain_name', 'simple', 'zope.deferred']",
        "1.2 1.2 1.2",
    ]


@pytest.fixture
def broken(run: Run, uv: Path, venv: Venv, wheels: Path, old_setuptools: Path) -> Venv:
    """An environment made with plain uv, in which pkg_resources does not find dotted names."""
    wanted = ("--no-index", "-f", wheels, "setuptools", "simple", "plain_name")
    assert run(uv, "pip", "install", *wanted).returncode == 0
    return venv


def hints(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("hint")]


def test_older_wrong_names_are_not_touched_and_one_hint_names_the_command(
    run: Run, uvpip: Path, uvshim: Path, broken: Venv, wheels: Path
) -> None:
    before = tree(broken.site_packages)
    command = (uvpip, "--no-index", "-f", wheels, "simple")
    done = run(*command)
    assert done.returncode == 0
    assert len(hints(done.stderr)) == 1
    assert f"`uvshim fix {broken.path}`" in done.stderr
    assert "zope.deferred" in done.stderr or "XStatic-JQuery.TableSorter" in done.stderr
    assert tree(broken.site_packages) == before
    some = run(*command, UVSHIM_EXCLUDE="xstatic-*")
    assert hints(some.stderr)[0].endswith("such as zope.deferred")
    assert hints(run(*command, UVSHIM_EXCLUDE="*").stderr) == []
    assert hints(run(*command, "-q").stderr) == []
    assert hints(run(*command, "--dry-run").stderr) == []
    assert hints(run(*command, "no-such-thing").stderr)[-1:] != hints(done.stderr)
    assert run(uvshim, "fix", broken.path).returncode == 0
    assert hints(run(*command).stderr) == []


def test_before_setuptools_62_a_directory_that_nothing_requires_so_is_named(
    run: Run, uvpip: Path, broken: Venv, wheels: Path
) -> None:
    """It kept its name for a requirement that is gone: `uvpip` does not rename what is older."""
    info = broken.site_packages / "setuptools-75.8.0.dist-info"
    info.rename(info.with_name("setuptools-59.6.0.dist-info"))
    build_wheel(wheels, "user", requires=["zope-deferred", "xstatic-jquery-tablesorter"])
    command = (uvpip, "--no-index", "-f", wheels)
    done = run(*command, "user")
    assert done.returncode == 0, done.stderr
    assert hints(done.stderr) == []
    assert run(uvpip, "uninstall", "user").returncode == 0
    (hint,) = hints(run(*command, "simple").stderr)
    assert f"`uvshim fix {broken.path}`" in hint


@pytest.mark.parametrize("version", ["75.8.2", "80.9.0", "82", None])
def test_where_setuptools_finds_it_or_is_not_there_no_hint_is_given(
    version: str | None, run: Run, uvpip: Path, broken: Venv, wheels: Path
) -> None:
    info = broken.site_packages / "setuptools-75.8.0.dist-info"
    if version is None:
        info.rename(info.with_name("other-1.0.dist-info"))
    else:
        info.rename(info.with_name(f"setuptools-{version}.dist-info"))
    assert hints(run(uvpip, "--no-index", "-f", wheels, "simple").stderr) == []


@pytest.mark.parametrize("setuptools", ["75.8.0", "59.6.0"])
@pytest.mark.parametrize("command", ["uvpip", "uvshim run"])
def test_what_an_interrupted_uv_has_not_completed_keeps_its_name(
    run: Run,
    uvpip: Path,
    uvshim: Path,
    uv: Path,
    venv: Venv,
    wheels: Path,
    command: str,
    setuptools: str,
) -> None:
    """uv writes RECORD before most of the code. The moment is not to be had: a script acts it.

    Before setuptools 62, a rename adds a file to RECORD.
    """
    corpus.write(corpus.installed(f"setuptools-{setuptools}", "setuptools"), venv.site_packages)
    build_wheel(wheels, "other.one")
    script = wheels.parent / "uv"
    code = venv.site_packages / "zope_deferred"
    script.write_text(
        f'#!/bin/sh\n"{uv}" "$@" || exit\n'
        f'case "$*" in *dry-run*) ;; *) rm -r "{code}"; exit 5 ;; esac\n'
    )
    script.chmod(0o755)
    words: list[str | Path] = ["--no-index", "-f", wheels, "zope.deferred", "other.one"]
    if command == "uvpip":
        done = run(uvpip, *words, UVSHIM_UV=str(script))
    else:
        done = run(uvshim, "run", "--", script, "pip", "install", *words)
    assert done.returncode == 5, done.stderr
    assert "its installer has not completed it: `zope_deferred" in done.stderr
    assert "zope_deferred-1.2.dist-info" in venv.dist_infos()
    assert "other.one-1.0.dist-info" in venv.dist_infos()


@pytest.mark.parametrize("is_shared", [False, True])
def test_what_may_be_the_systems_is_not_named(
    broken: Venv, capsys: pytest.CaptureFixture[str], *, is_shared: bool
) -> None:
    environment = Environment(str(broken.path))
    environment.is_shared = is_shared
    now = Snapshot.of(environment)
    after_install.suggest_fix(environment, now, now, [], Messages())
    assert ("hint" in capsys.readouterr().err) != is_shared


def test_what_an_earlier_setuptools_found_is_named_after_any_command(
    run: Run, uvshim: Path, uv: Path, broken: Venv, wheels: Path
) -> None:
    install = (uvshim, "run", "--", uv, "pip", "install", "--no-index", "-f", wheels)
    build_wheel(wheels, "new.one")
    done = run(*install, "new.one")
    assert (done.returncode, len(hints(done.stderr))) == (0, 1)
    assert f"`uvshim fix {broken.path}`" in done.stderr
    assert hints(run(*install, "new.one").stderr) == []  # nothing is new
    build_wheel(wheels, "another")
    assert len(hints(run(*install, "another").stderr)) == 1
    build_wheel(wheels, "new.two")
    assert hints(run(uvshim, "-q", *install[1:], "new.two").stderr) == []


def test_new_directories_are_renamed_and_the_hint_about_older_ones_comes_last(
    run: Run, uvpip: Path, broken: Venv, wheels: Path
) -> None:
    build_wheel(wheels, "new.one")
    done = run(uvpip, "--no-index", "-f", wheels, "new.one")
    assert done.stderr.splitlines()[-2] == " ~ new.one==1.0"
    assert done.stderr.splitlines()[-1].startswith("hint: `uvshim fix")
