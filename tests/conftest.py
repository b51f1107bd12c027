"""What the tests share: a real uv, an environment of its own for each, and the commands."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest
from uv import find_uv_bin

from tests.places import Venv, copy_installation
from tests.wheels import build_wheel

# In the background of a shell, an interrupt and a quit are ignored, under nohup a hangup. Commands
# inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The entry points of `simple` in the environment `broken`.
PLUGINS = "[drivers]\nfast = simple:fast\nslow = simple:slow\n"

# Wheels that the offline tests need and cannot build themselves; `make` puts them there.
DOWNLOADED = Path(__file__).parent.parent / ".cache" / "wheels"


class Run(Protocol):
    def __call__(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        stdin: str | None = None,
        **variables: str | None,
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def uv() -> Path:
    """The uv that the tests run: `$UVSHIM_TEST_UV`, or the one of the development environment."""
    return Path(os.environ.get("UVSHIM_TEST_UV") or find_uv_bin())


@pytest.fixture(scope="session")
def uvpip() -> Path:
    """The installed command `uvpip`."""
    return Path(sys.executable).with_name("uvpip")


@pytest.fixture(scope="session")
def uvshim() -> Path:
    """The installed command `uvshim`."""
    return Path(sys.executable).with_name("uvshim")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """uv's cache, for all tests of one process."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture(scope="session")
def uv_version(uv: Path) -> tuple[int, ...]:
    """The version of that uv."""
    said = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, said.split()[1].split(".")))


@pytest.fixture(scope="session")
def only_uv(uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PATH with uv in it and no Python, unlike the one where uv really is."""
    directory = tmp_path_factory.mktemp("bin")
    (directory / "uv").symlink_to(uv)
    return directory


# Removes the functions that macOS lacks; Python executes this when it starts.
LIKE_MACOS = """
import os, signal
from importlib import import_module
del os.memfd_create
for module in (signal, import_module("_signal")):
    del module.sigwaitinfo, module.sigtimedwait
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run marked tests a second time, without the system calls that macOS lacks.

    Those are the tests whose commands come to the code that is another there, each in a way of its
    own: a signal, a stream or a working directory that is not there, one more question.
    """
    is_marked = metafunc.definition.get_closest_marker("on_macos_too") is not None
    if is_marked and "variables" in metafunc.fixturenames:
        metafunc.parametrize("system", ["linux", "like macOS"], indirect=True)


@pytest.fixture
def system(request: pytest.FixtureRequest) -> str:
    """The operating system whose calls the commands find."""
    return str(getattr(request, "param", "linux"))


@pytest.fixture
def variables(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    only_uv: Path,
    shared_cache: Path,
    system: str,
) -> dict[str, str]:
    """The environment variables of every command: nothing of the machine's uv, pip or Python."""
    home = tmp_path / "home"
    home.mkdir()
    more = {}
    if system != "linux":
        more["PYTHONPATH"] = str(tmp_path_factory.mktemp("like-macos"))
        Path(more["PYTHONPATH"], "sitecustomize.py").write_text(LIKE_MACOS)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("UV_", "UVSHIM_", "PIP_", "PYTHON", "CONDA", "VIRTUAL_ENV"))
        and name not in {"UV", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "RUST_LOG"}
    }
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{only_uv}{os.pathsep}{os.environ['PATH']}",
        "UV_CACHE_DIR": str(shared_cache),
        "UV_PYTHON_DOWNLOADS": "never",
        **more,
    }


@pytest.fixture
def run(variables: dict[str, str], tmp_path: Path) -> Run:
    """Run a command in the test's own directory; a variable that is None is taken away."""

    def command(
        *words: str | Path,
        cwd: Path | None = None,
        stdin: str | None = None,
        **more: str | None,
    ) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in {**variables, **more}.items() if v is not None}
        return subprocess.run(
            [str(word) for word in words],
            cwd=cwd or tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return command


@pytest.fixture(scope="session")
def new_venv(uv: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment as uv makes it, for all tests of one process: they take copies."""
    path = tmp_path_factory.mktemp("new") / ".venv"
    command: list[str | Path] = [uv, "venv", "--quiet", "--no-config", "--python", sys.executable]
    cache = {"UV_CACHE_DIR": str(shared_cache), "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([*command, path], env=cache, check=True)
    return path


@pytest.fixture
def make_venv(run: Run, uv: Path, new_venv: Path, tmp_path: Path) -> MakeVenv:
    """Make a virtual environment: a path relative to the test's own directory, and options."""

    def make(name: str = ".venv", *options: str, python: str | Path = sys.executable) -> Venv:
        path = tmp_path / name
        if options or python != sys.executable:
            done = run(uv, "venv", "--quiet", "--no-config", "--python", python, *options, path)
            assert done.returncode == 0, done.stderr
        else:
            shutil.copytree(new_venv, path, symlinks=True)
        return Venv(path)

    return make


class MakeVenv(Protocol):
    def __call__(
        self, name: str = ".venv", *options: str, python: str | Path = sys.executable
    ) -> Venv: ...


@pytest.fixture
def venv(make_venv: MakeVenv) -> Venv:
    """A virtual environment at `.venv` in the test's own directory, where uv finds it."""
    return make_venv()


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A Python of its own at `python` in the test's own directory, which is no virtual one."""
    return copy_installation(tmp_path / "python")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A directory of wheels: dotted names under normalized directories, and a plain one."""
    directory = tmp_path / "wheels"
    build_wheel(directory, "zope.deferred", "1.2", requires=["XStatic-JQuery.TableSorter"])
    build_wheel(directory, "XStatic-JQuery.TableSorter", "2.14.5.3")
    build_wheel(directory, "plain_name", "3.0")
    build_wheel(directory, "simple", "4.0", requires=["zope.deferred>=1"])
    return directory


@pytest.fixture
def old_setuptools(wheels: Path) -> Path:
    """The wheel of setuptools 75.8.0, the last but one that cannot find normalized names."""
    (wheel,) = DOWNLOADED.glob("setuptools-75.8.0-*.whl")
    return Path(shutil.copy(wheel, wheels))


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
    """The variables with which uv and uvpip find the test's own wheels and nothing else.

    No variable stands for ``--no-index``: uv goes without one because it may not ask any.
    """
    return {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels)}


def interpreters() -> list[Path]:
    """Return every CPython from 3.8 up that is on this machine, the oldest first; one a version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found: dict[str, Path] = {}
    for minor in range(8, 20):
        name = f"python3.{minor}"
        candidates: list[str | Path] = list(pyenv.glob(f"3.{minor}.*/bin/{name}"))
        if on_path := shutil.which(name):
            candidates.append(on_path)
        for candidate in candidates:
            works = subprocess.run(
                [candidate, "-c", "import venv"], check=False, capture_output=True
            )
            if works.returncode == 0:
                found[name] = Path(candidate)
                break
    return list(found.values())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how much the tests of robustness have tried, and what they could not try here."""
    tried: dict[str, int] = {}
    missing = set()
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if getattr(report, "when", "") == "call" and report.passed:
            for name, value in report.user_properties:
                if name == "tried":
                    what, number = value
                    tried[what] = tried.get(what, 0) + number
        if getattr(report, "skipped", False) and "NOT TRIED" in str(report.longrepr):
            missing.add(str(report.longrepr).partition("NOT TRIED: ")[2].rstrip("')"))
    if tried:
        terminalreporter.section("tried, and nothing was lost")
        for what, number in sorted(tried.items()):
            terminalreporter.line(f"{number:6} {what}")
    for what in sorted(missing):
        terminalreporter.line(f"NOT TRIED: {what}", red=True, bold=True)
