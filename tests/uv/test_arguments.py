"""A command line of `uv pip`, as uvpip reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.options import disagreements
from uvshim.uv.arguments import GLOBAL, WITH_VALUE, Arguments, split_command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run


@pytest.mark.parametrize(
    ("words", "choosing"),
    [
        ("", ""),
        ("x", ""),
        ("-p v x", "-p v"),
        ("-pv x", "-pv"),
        ("-p=v x", "-p=v"),
        ("--python v x", "--python v"),
        ("--python=v x", "--python=v"),
        ("-qp v x", "-p v"),
        ("-vUqpv x", "-pv"),
        ("-Un x", "-n"),
        ("-qn --system", "-n --system"),
        ("-t a --prefix b -p c", "-t a --prefix b -p c"),
        ("-r -p x", ""),
        ("-r=-p x", ""),
        ("-Pp x", ""),
        ("-e -t -t v", "-t v"),
        ("--upgrade-package -p x", ""),
        ("--upgrade-package=-p -p v", "-p v"),
        ("--index-url --target", ""),
        ("x -- -p v", ""),
        ("-p v -- -t w", "-p v"),
        ("--unknown -p v", "-p v"),
        ("--unknown=1 -p v", "-p v"),
        ("-Z -p v", "-p v"),
        ("-Zp v", "-p v"),
        ("- -p v", "-p v"),
        ("-p", "-p"),
        ("--python", "--python"),
        ("--directory d --project e", "--directory d --project e"),
        ("--config-file c --no-config", "--config-file c --no-config"),
        ("--cache-dir c --no-cache", "--cache-dir c --no-cache"),
        ("--break-system-packages x", "--break-system-packages"),
        ("--python-version 3 --python-platform p", ""),
    ],
)
def test_what_chooses_the_environment_is_picked_out(words: str, choosing: str) -> None:
    assert Arguments(words.split()).choosing == choosing.split()
    assert Arguments(["install", *words.split()]).choosing == choosing.split()


def test_a_value_may_be_empty() -> None:
    assert Arguments(["-p", "", "x"]).choosing == ["-p", ""]
    assert Arguments(["--target=", "x"]).choosing == ["--target="]


@pytest.mark.parametrize(
    ("words", "subcommand", "command"),
    [
        ("", "install", "install"),
        ("x", "install", "install x"),
        ("install", "install", "install"),
        ("install install", "install", "install install"),
        ("sync sync", "sync", "sync sync"),
        ("x sync", "install", "install x sync"),
        ("-q x", "install", "install -q x"),
        ("-q sync", "sync", "-q sync"),
        (
            "-qn --color never --directory=d list -v",
            "list",
            "-qn --color never --directory=d list -v",
        ),
        ("--cache-dir sync sync", "sync", "--cache-dir sync sync"),
        ("help", "help", "help"),
        ("ls", "ls", "ls"),
        ("-- list", "install", "install -- list"),
        ("-q -- list", "install", "install -q -- list"),
        ("--upgrade", "install", "install --upgrade"),
        ("-qU sync", "install", "install -qU sync"),
    ],
)
def test_a_subcommand_is_found_after_global_options(
    words: str, subcommand: str, command: str
) -> None:
    arguments = Arguments(words.split())
    assert (arguments.subcommand, arguments.command) == (subcommand, ["pip", *command.split()])


@pytest.mark.parametrize(
    ("words", "misplaced"),
    [
        ("--upgrade install x", "install"),
        ("-U sync r.txt", "sync"),
        ("-q -r a list", "list"),
        ("-qU uninstall x", "uninstall"),
        ("--no-such-option install", "install"),
        ("pip install x", "pip"),
        ("-q pip list", "pip"),
        ("-U pip sync", "pip"),
        ("pip", None),
        ("pip setuptools wheel", None),
        ("install pip install", None),
        ("pip -- install", None),
        ("-r install", None),
        ("-r install x install", None),
        ("-e install -c sync x", None),
        ("--upgrade -- install", None),
        ("x install", None),
        ("-q install x", None),
        ("install --upgrade install", None),
        ("--upgrade install --help", None),
    ],
)
def test_a_misplaced_subcommand_is_noticed(words: str, misplaced: str | None) -> None:
    assert Arguments(words.split()).misplaced == misplaced


@pytest.mark.parametrize(
    ("words", "installs"),
    [
        ("x", True),
        ("sync x", True),
        ("list", False),
        ("uninstall x", False),
        ("x --dry-run", False),
        ("x --check", False),
        ("sync x --dry-run", False),
        ("x -h", False),
        ("x --help", False),
        ("-qh", False),
        ("-V", False),
        ("x --version", False),
        ("x -- --dry-run", True),
        ("-r --dry-run", True),
        ("-C--help x", True),
        ("-Ch x", True),
        ("--dry-runs x", True),
    ],
)
def test_it_is_known_whether_anything_may_be_installed(words: str, installs: bool) -> None:  # noqa: FBT001
    assert Arguments(words.split()).installs is installs


@pytest.mark.parametrize(
    ("words", "options", "command"),
    [
        ("a -p v", "", "a -p v"),
        ("-qp v a b", "-qp v", "a b"),
        ("--with w --active -- a", "--with w --active", "a"),
        ("--with=w -pv a", "--with=w -pv", "a"),
        ("-q", "-q", ""),
        ("- a", "", "- a"),
    ],
)
def test_a_command_begins_after_the_options(words: str, options: str, command: str) -> None:
    found = split_command(words.split(), {"-p", "--with"})
    assert found == (options.split(), command.split())


def test_what_concerns_the_report_is_picked_out() -> None:
    arguments = Arguments(
        ["-qqv", "--verbose", "--quiet", "--color", "never", "--directory=a", "--project", "b"]
    )
    assert arguments.quiet
    assert arguments.verbose
    assert (arguments.color, arguments.directory, arguments.project) == ("never", "a", "b")
    assert Arguments(["--no-color"]).color == "never"
    nothing = Arguments(["x"])
    assert not nothing.quiet
    assert not nothing.verbose
    assert (nothing.color, nothing.directory, nothing.project) == (None, None, None)


def test_the_options_that_choose_the_environment_of_a_project_are_picked_out() -> None:
    words = "--active -p v --target t --directory d --script s --no-config -q".split()
    choosing = Arguments(words, WITH_VALUE | {"--script"}).choosing_project
    assert choosing == "--active -p v --directory d --script s --no-config".split()


def test_the_options_are_those_of_this_uv(run: Run, uv: Path) -> None:
    assert disagreements(run, uv) == []


def test_the_comparison_with_uvs_help_would_see_a_difference(
    run: Run, uv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = WITH_VALUE - {"-p", "--target"} | {"-q"}
    monkeypatch.setattr("uvshim.uv.arguments.WITH_VALUE", other)
    monkeypatch.setattr("uvshim.uv.arguments.GLOBAL", GLOBAL - {"--quiet"} | {"--upgrade"})
    assert disagreements(run, uv) == [
        "--quiet is a global option",
        "--target takes a value",
        "--upgrade is not a global option",
        "-p takes a value",
        "-q takes no value",
    ]
