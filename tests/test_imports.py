"""PYTHONPATH and an installer that removes modules do not affect uvshim's own imports."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import uvshim as package
from tests.wheels import build_wheel
from uvshim import imports

if TYPE_CHECKING:
    from tests.conftest import Run
    from tests.places import Venv

DOTTED = "zope.deferred-1.2.dist-info"

# Every module of this Python's standard library, and of our dependencies.
NAMES = sorted(
    name
    for name in sys.stdlib_module_names | {"packaging", "installer"}
    if importlib.util.find_spec(name)
)


@pytest.fixture
def hostile(tmp_path: Path, run: Run) -> Path:
    """A directory with modules that cannot be imported, except those that Python starts with."""
    directory = tmp_path / "application"
    (directory / "empty").mkdir(parents=True)
    (directory / "empty" / "__init__.py").touch()
    (directory / "empty" / "__main__.py").write_text("import sys; print(*sys.modules)\n")
    done = run(sys.executable, "-m", "empty", cwd=directory)
    started_with = {name.partition(".")[0] for name in done.stdout.split()}
    for name in NAMES:
        if name not in started_with:
            (directory / f"{name}.py").write_text(f"raise RuntimeError('foreign {name}')\n")
    assert {"enum", "fcntl", "__future__", "packaging"} <= {
        each.stem for each in directory.iterdir()
    }
    return directory


@pytest.mark.parametrize("before", ["", "/no/such/directory:"])
def test_modules_on_pythonpath_are_not_ours(
    before: str,
    run: Run,
    uvpip: Path,
    uvshim: Path,
    uv: Path,
    broken: Venv,
    wheels: Path,
    hostile: Path,
) -> None:
    foreign = f"{before}{hostile}"
    build_wheel(wheels, "new.one")
    (broken.path.parent / "pyproject.toml").write_text('[tool.uvshim]\nexclude = ["x.*"]\n')
    words: list[str | Path] = ["--no-index", "-f", wheels, "new.one"]
    done = run(uvpip, *words, PYTHONPATH=foreign)
    assert done.returncode == 0, done.stderr
    assert "new.one-1.0.dist-info" in broken.dist_infos()
    for options in ([], ["--strict", "--verify"], ["--format", "json"]):
        done = run(uvshim, "check", *options, broken.path, PYTHONPATH=foreign)
        assert (done.returncode, done.stderr) == (1, ""), done.stderr
    command = (uv, "pip", "install", "--reinstall", *words)
    done = run(uvshim, "run", "--", *command, PYTHONPATH=foreign)
    assert done.returncode == 0, done.stderr
    assert "new.one-1.0.dist-info" in broken.dist_infos()
    done = run(uvshim, "fix", broken.path, PYTHONPATH=foreign)
    assert done.returncode == 0, done.stderr
    assert DOTTED in broken.dist_infos()


def test_modules_in_the_working_directory_are_not_ours(
    run: Run, broken: Venv, hostile: Path
) -> None:
    done = run(sys.executable, "-m", "uvshim", "check", "--strict", broken.path, cwd=hostile)
    assert (done.returncode, done.stderr) == (1, "")


def test_what_uvshim_starts_sees_pythonpath_unchanged(
    run: Run, uvshim: Path, uvpip: Path, hostile: Path, tmp_path: Path
) -> None:
    script = 'echo "$PYTHONPATH"'
    given = f"{hostile}::relative"
    done = run(uvshim, "run", "--", "sh", "-c", script, PYTHONPATH=given)
    assert done.stdout == f"{given}\n"
    (tmp_path / "shows").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "shows").chmod(0o755)
    done = run(uvpip, "x", PYTHONPATH=given, UVSHIM_UV=str(tmp_path / "shows"))
    assert done.stdout.splitlines()[-1] == given


def test_it_is_known_whether_our_imports_may_vanish_from_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "here"), "/no/such/directory"])
    for name, may in (("here", True), ("link", True), ("here-too", False)):
        assert imports.may_vanish([str(tmp_path), str(tmp_path / name)]) is may
    assert not imports.may_vanish([])


@pytest.fixture
def installed(run: Run, uv: Path, venv: Venv, wheels: Path) -> Venv:
    """An environment with uvshim, its dependencies, and the last setuptools that finds no name."""
    directory = Path(package.__file__).parent
    build_wheel(
        wheels,
        "uvshim",
        "9.9",
        files={
            f"uvshim/{each.relative_to(directory)}": each.read_text()
            for each in directory.rglob("*.py")
        },
        entry_points=(
            "[console_scripts]\nuvpip = uvshim.__main__:uvpip\nuvshim = uvshim.__main__:uvshim\n"
        ),
    )
    for name in ("packaging", "installer"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        (place,) = spec.submodule_search_locations or []
        build_wheel(
            wheels,
            name,
            importlib.metadata.version(name),
            files={
                f"{name}/{each.relative_to(place)}": each.read_text()
                for each in Path(place).rglob("*.py")
            },
        )
    build_wheel(wheels, "setuptools", "75.8.0", files={"pkg_resources/__init__.py": ""})
    build_wheel(wheels, "setuptools", "59.6.0", files={"pkg_resources/__init__.py": ""})
    wanted = ("uvshim", "packaging", "installer", "setuptools==75.8.0")
    done = run(uv, "pip", "install", "--no-index", "-f", wheels, *wanted)
    assert done.returncode == 0, done.stderr
    return venv


@pytest.mark.parametrize("compiled", [False, True], ids=["source", "bytecode"])
@pytest.mark.parametrize("command", ["uvpip", "uvshim run"])
def test_an_install_may_remove_uvshim_and_all_that_it_imports(
    command: str,
    compiled: bool,  # noqa: FBT001
    run: Run,
    uv: Path,
    installed: Venv,
    wheels: Path,
) -> None:
    """The new setuptools needs many more imports."""
    if compiled:
        assert (
            run(installed.python, "-m", "compileall", "-q", installed.site_packages).returncode == 0
        )
    build_wheel(wheels, "needs", requires=["zope-deferred"])
    requirements = wheels.parent / "r.txt"
    requirements.write_text(
        "setuptools==59.6.0\nneeds\nzope.deferred\nXStatic-JQuery.TableSorter\nsimple\n"
    )
    words: list[str | Path] = ["sync", "--no-index", "-f", wheels, requirements]
    own = installed.path / "bin"
    if command == "uvpip":
        done = run(own / "uvpip", *words)
    else:
        done = run(own / "uvshim", "run", "--", uv, "pip", *words)
    assert done.returncode == 0, done.stderr
    assert not list(installed.site_packages.glob("uvshim*"))
    assert not list(installed.site_packages.glob("packaging*"))
    assert "Renormalized" in done.stderr
    assert "XStatic_JQuery.TableSorter-2.14.5.3.dist-info" in installed.dist_infos()


def test_an_install_may_replace_uvshim_by_another_version(
    run: Run, installed: Venv, wheels: Path
) -> None:
    broken = dict.fromkeys(
        ("uvshim/__init__.py", "uvshim/after_install.py", "uvshim/messages.py", "uvshim/config.py"),
        "raise RuntimeError('another version')\n",
    )
    build_wheel(wheels, "uvshim", "10.0", files=broken)
    words: list[str | Path] = ["--no-index", "-f", wheels, "--upgrade", "uvshim", "zope.deferred"]
    done = run(installed.path / "bin" / "uvpip", *words)
    assert done.returncode == 0, done.stderr
    assert "uvshim-10.0.dist-info" in installed.dist_infos()
    assert DOTTED in installed.dist_infos()


BUG = """
import sys
from uvshim import __main__
from uvshim.environments import snapshot
def fail(*_, take=snapshot.Snapshot.take, **_named):
    {when}
    raise RuntimeError("it cannot be")
snapshot.Snapshot.take = fail
from uvshim.check import report
report.examine = fail
sys.argv[1:] = {words!r}
sys.exit(__main__.{command}())
"""
AFTER = "if not __import__('os').path.exists('began'): open('began', 'w').close(); return take(*_)"


@pytest.mark.parametrize("more", [{}, {"UVSHIM_DEBUG": "1"}], ids=str)
@pytest.mark.parametrize("command", ["uvpip", "uvshim"])
def test_a_bug_is_reported_and_ends_with_2(
    command: str, more: dict[str, str], run: Run, venv: Venv
) -> None:
    words = ["x"] if command == "uvpip" else ["check", str(venv.path)]
    code = BUG.format(when="pass", words=words, command=command)
    done = run(sys.executable, "-c", code, cwd=None, stdin=None, **more)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: uvshim failed because of a bug: RuntimeError: it cannot be\n"
    )
    assert ("Traceback" in done.stderr) == bool(more)
    assert "hint: please report this" in done.stderr


@pytest.mark.parametrize(("what", "status"), [("zope.deferred", 3), ("no-such-thing", 1)])
def test_after_a_bug_the_exit_code_is_uvs_or_says_that_something_is_not_renamed(
    what: str, status: int, run: Run, venv: Venv, wheels: Path
) -> None:
    words = ["--no-index", "-f", str(wheels), what]
    done = run(sys.executable, "-c", BUG.format(when=AFTER, words=words, command="uvpip"))
    assert done.returncode == status
    assert "error: uvshim failed because of a bug" in done.stderr
    assert bool(venv.dist_infos()) == (status == 3)


def test_a_broken_installation_ends_with_2(run: Run, tmp_path: Path) -> None:
    shutil.copytree(Path(package.__file__).parent, tmp_path / "own" / "uvshim")
    (tmp_path / "own" / "uvshim" / "config.py").write_text("syntax error\n")
    code = "import sys; from uvshim.__main__ import {0}; sys.exit({0}())"
    for command in ("uvpip", "uvshim"):
        (tmp_path / "own" / "uvshim" / "cli.py").write_text("syntax error\n")
        done = run(
            sys.executable, "-c", code.format(command), "x", PYTHONPATH=str(tmp_path / "own")
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: uvshim failed because of a bug: SyntaxError: ")
