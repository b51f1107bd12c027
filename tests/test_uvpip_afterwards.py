"""What uv's own commands find, and do, where `uvpip` has installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.places import found_below, record_faults

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
