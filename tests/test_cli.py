"""What all commands of `uvshim` have in common."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from uvshim import __version__, cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeVenv, Run
    from tests.places import Venv


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


def test_another_os_error_is_not_mistaken_for_a_closed_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A fake: a disk that fails in the middle of a file names no file."""

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("uvshim.commands.check.main", failing)
    monkeypatch.setattr(sys, "argv", ["uvshim", "check", str(tmp_path)])
    try:
        assert cli.main() == 2
    finally:
        gc.enable()
    assert capfd.readouterr().err == "error: Input/output error\n"


def test_the_version_is_that_of_the_package(run: Run, uvshim: Path) -> None:
    assert run(uvshim, "--version").stdout == f"uvshim {__version__}\n"
    assert run(sys.executable, "-m", "uvshim", "--version").stdout == f"uvshim {__version__}\n"


@pytest.mark.parametrize("words", [[], ["-q"], ["--help"], ["-h"]], ids=str)
def test_without_a_command_it_shows_its_help(words: list[str], run: Run, uvshim: Path) -> None:
    done = run(uvshim, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: uvshim ")


@pytest.mark.parametrize("before", [["-q"], ["--color", "never"], ["-q", "--color=never"]], ids=str)
def test_common_options_may_come_before_the_command(
    before: list[str], run: Run, uvshim: Path, venv: Venv
) -> None:
    quiet = "-q" in before
    for after in ([], ["--color", "never"]):
        done = run(uvshim, *before, "check", venv.path, *after, FORCE_COLOR="1" if after else None)
        assert (done.returncode, done.stderr) == (0, "")
        assert (done.stdout == "") == quiet
        assert "\x1b" not in done.stdout
    assert run(uvshim, "-q", "fix", venv.path).stderr == ""
    assert run(uvshim, *before, "run", "--", "echo", "hi").stdout == "hi\n"


@pytest.mark.parametrize(
    "words",
    [
        lambda one, two: [one, "--strict", two],
        lambda one, two: ["--strict", one, "--format", "text", two],
        lambda one, two: [one, "-v", "--", two],
        lambda one, two: [one, two, "--verify"],
    ],
)
def test_names_and_options_may_come_in_any_order(
    words: Callable[[str, str], list[str]], run: Run, uvshim: Path, venv: Venv, broken: Venv
) -> None:
    done = run(uvshim, "check", *words(str(venv.path), str(broken.path)))
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{venv.path}: " in done.stdout
    assert f"{broken.path}: " in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chek"], "`chek` is not a command: did you mean `check`?"),
        (["--color", "never", "fx", "x"], "`fx` is not a command: did you mean `fix`?"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["--color", "x", "check"], "argument --color: invalid choice: 'x'"),
        (["check", "a", "--strict", "b", "--foo"], "unrecognized arguments: b --foo"),
        (["check", "--platform", ""], "argument --platform: it is empty: is a variable unset?"),
        (["check", "--json"], "unrecognized arguments: --json (did you mean `--format json`?)"),
    ],
    ids=str,
)
def test_a_wrong_word_is_reported_with_the_one_it_resembles(
    words: list[str], message: str, run: Run, uvshim: Path
) -> None:
    done = run(uvshim, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: uvshim ")
    assert message in done.stderr


@pytest.mark.parametrize("command", ["check", "fix", "run"])
def test_help_fits_the_terminal(command: str, run: Run, uvshim: Path) -> None:
    done = run(uvshim, command, "--help", COLUMNS="80")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert ("[ENV|IMAGE ...]" in done.stdout) == (command != "run")


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
    info = root / "usr/lib/python3/dist-packages/six-1.16.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n")
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


# What a person may name that is not an environment, and what is reported.
NAMED = [
    ("nowhere", "does not exist"),
    ("app:1.0", "does not exist. An image in a registry is `docker://app:1.0`"),
    ("registry/app:1.0", "An image in a registry is `docker://registry/app:1.0`"),
    ("./app:1.0", "does not exist"),
    ("other:1.0", "does not exist. An image in `other` is `oci:other:1.0`"),
    ("file.txt:app:1", "An image in `file.txt` is `docker-archive:file.txt:app:1`"),
    ("saved", "is not an environment. As an image it is `dir:saved`"),
    ("sh", "does not exist here. On PATH it is `"),
    ("file.txt", "is a file, but neither a Python interpreter nor an image archive"),
    ("x-1.0-py3-none-any.whl", "is a wheel. Install it, then name the environment"),
    ("empty", "is an empty directory"),
    ("project", "is a project without an environment. `uv sync` creates `"),
    ("with-venv", "is not an environment, but contains one. Name `with-venv/.venv`"),
    ("with-venv/.venv/lib", "is only a part of an environment. Name `"),
    ("other", "is not an environment. Name a virtual environment, a Python interpreter, "),
]


@pytest.mark.parametrize(("word", "message"), NAMED)
def test_what_is_not_an_environment_is_refused_in_one_line_that_says_what_would_work(
    word: str, message: str, run: Run, uvshim: Path, make_venv: MakeVenv, tmp_path: Path
) -> None:
    make_venv("with-venv/.venv")
    for directory in ("empty", "project", "other", "saved"):
        (tmp_path / directory).mkdir()
    for file in ("file.txt", "x-1.0-py3-none-any.whl", "project/pyproject.toml", "other/x"):
        (tmp_path / file).write_text("")
    for file in ("saved/manifest.json", "saved/version"):
        (tmp_path / file).write_text("")
    for command in ("check", "fix"):
        done = run(uvshim, command, word)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: `{word}` ")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_an_empty_word_is_probably_an_unset_variable(run: Run, uvshim: Path) -> None:
    done = run(uvshim, "check", "")
    wanted = "error: an empty word is no environment: is a variable unset?\n"
    assert (done.returncode, done.stderr) == (2, wanted)


def test_an_empty_word_is_no_image_either_and_a_platform_is_for_images(
    run: Run, uvshim: Path, broken: Venv
) -> None:
    for words, error in (
        (("fix", "", "--output", "oci:x"), "an empty word is no image: is a variable unset?"),
        (("fix", "--platform", "linux/arm64"), "`--platform` is for images, and none is named"),
        (
            ("check", broken.path, "--platform", "linux/arm64"),
            "`--platform` is for images, and none is named",
        ),
    ):
        done = run(uvshim, *words, VIRTUAL_ENV=str(broken.path))
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {error}\n")
    assert run(uvshim, "check", broken.path).returncode == 1


def test_what_does_not_exist_is_not_called_something_else(run: Run, uvshim: Path) -> None:
    done = run(uvshim, "fix", "nosuch.tar", "--output", "oci:x:y")
    assert (done.returncode, done.stderr) == (2, "error: `nosuch.tar` does not exist\n")


def test_a_directory_that_pip_is_removing_is_no_distribution(
    run: Run, uvshim: Path, broken: Venv
) -> None:
    assert run(uvshim, "fix", broken.path).returncode == 0
    info = broken.site_packages / "zope.deferred-1.2.dist-info"
    shutil.copytree(info, info.with_name("~ope.deferred-1.2.dist-info"))
    assert run(uvshim, "check", broken.path).returncode == 0
    assert run(uvshim, "fix", broken.path).returncode == 0
