"""Where uv writes: whatever chooses the environment, `uvpip` finds what was installed there."""

from __future__ import annotations

import fnmatch
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import uvshim
from tests.places import Venv, copy_installation, dist_infos, found_below, tree
from tests.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conftest import MakeVenv, Run

SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = "work/.venv/lib/python*/site-packages"
OTHER = "other/lib/python*/site-packages"
INSTALLATION = "python/lib/python*/site-packages"

MANAGED = f"cpython-{platform.python_version()}-linux-{platform.machine()}-gnu"


class Case(NamedTuple):
    """One way to choose an environment. `{here}` stands for the test's directory.

    There are virtual environments at `work/.venv` and `other`, an installation of Python without
    packages at `python`, and one that uv manages. The command is run in `work/a/b`, or in `cwd`.
    `lands` is the pattern of the directory, relative to the test's, that it installs into.
    """

    lands: str
    words: tuple[str, ...] = ()
    variables: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    cwd: str = "work/a/b"


CASES = {
    # The environment that is active, or near.
    "VIRTUAL_ENV": Case(OTHER, variables={"VIRTUAL_ENV": "{here}/other"}),
    "VIRTUAL_ENV, relative": Case(OTHER, variables={"VIRTUAL_ENV": "../../../other"}),
    "VIRTUAL_ENV, by a link": Case(OTHER, variables={"VIRTUAL_ENV": "{here}/link"}),
    ".venv here": Case(HERE, cwd="work"),
    ".venv in a parent": Case(HERE),
    ".venv that is a link": Case(OTHER, cwd="linked"),
    "CONDA_PREFIX": Case(INSTALLATION, variables={"CONDA_PREFIX": "{here}/python"}),
    # --python
    "--python EXECUTABLE": Case(OTHER, ("--python", "{here}/other/bin/python")),
    "--python EXECUTABLE, relative": Case(OTHER, ("--python", "../../../other/bin/python3")),
    "--python EXECUTABLE of an installation": Case(
        INSTALLATION, ("--python", "{here}/python/bin/python3")
    ),
    "--python DIRECTORY": Case(OTHER, ("--python", "{here}/other")),
    "--python DIRECTORY, relative": Case(OTHER, ("--python", "../../../other")),
    "--python DIRECTORY with a slash": Case(OTHER, ("--python", "{here}/other/")),
    "--python DIRECTORY of an installation": Case(INSTALLATION, ("--python", "{here}/python")),
    "--python VERSION": Case(OTHER, ("--python", SERIES), {"VIRTUAL_ENV": "{here}/other"}),
    "--python VERSION of an installation": Case(
        INSTALLATION, ("--system", "--python", SERIES), {"PATH": "{here}/python/bin:{path}"}
    ),
    "--python NAME on PATH": Case(
        INSTALLATION,
        ("--system", "--python", f"python{SERIES}"),
        {"PATH": "{here}/python/bin:{path}"},
    ),
    "-p DIRECTORY": Case(OTHER, ("-p", "{here}/other")),
    "-pDIRECTORY": Case(OTHER, ("-p{here}/other",)),
    "-p=DIRECTORY": Case(OTHER, ("-p={here}/other",)),
    "--python=DIRECTORY": Case(OTHER, ("--python={here}/other",)),
    "-qp DIRECTORY": Case(OTHER, ("-qp", "{here}/other")),
    "-Uvp DIRECTORY": Case(OTHER, ("-Uvp", "{here}/other")),
    "-qpDIRECTORY": Case(OTHER, ("-qp{here}/other",)),
    "--python that looks like a version": Case(
        "work/a/b/v1/lib/python*/site-packages", ("-p", "./v1")
    ),
    "--python over VIRTUAL_ENV": Case(
        OTHER, ("-p", "../../../other"), {"VIRTUAL_ENV": "{here}/work/.venv"}
    ),
    "an option's value that looks like an option": Case(HERE, ("-f--target", "-f=-tnew")),
    "positionals behind --": Case(HERE, ("simple", "--", "plain_name")),
    "UV_PYTHON": Case(OTHER, variables={"UV_PYTHON": "{here}/other"}),
    "UV_PYTHON, relative": Case(OTHER, variables={"UV_PYTHON": "../../../other"}),
    "--python over UV_PYTHON": Case(
        OTHER, ("-p", "{here}/other"), {"UV_PYTHON": "{here}/work/.venv"}
    ),
    # The system's Python.
    "--system": Case(INSTALLATION, ("--system",), {"PATH": "{here}/python/bin:{path}"}),
    "a Python that uv manages": Case(
        "managed/cpython-*/lib/python*/site-packages",
        ("--system", "--break-system-packages", "--managed-python", "-p", SERIES),
        {"UV_PYTHON_INSTALL_DIR": "{here}/managed"},
    ),
    "UV_SYSTEM_PYTHON": Case(
        INSTALLATION, variables={"UV_SYSTEM_PYTHON": "1", "PATH": "{here}/python/bin:{path}"}
    ),
    "--no-system over the configuration": Case(
        HERE, ("--no-system",), files={"work/uv.toml": "[pip]\nsystem = true\n"}
    ),
    "--system --break-system-packages": Case(
        INSTALLATION,
        ("--system", "--break-system-packages"),
        {"PATH": "{here}/python/bin:{path}"},
        {"python/lib/python{series}/EXTERNALLY-MANAGED": "[externally-managed]\nError=no\n"},
    ),
    "UV_BREAK_SYSTEM_PACKAGES": Case(
        INSTALLATION,
        ("--system",),
        {"UV_BREAK_SYSTEM_PACKAGES": "1", "PATH": "{here}/python/bin:{path}"},
        {"python/lib/python{series}/EXTERNALLY-MANAGED": "[externally-managed]\nError=no\n"},
    ),
    # --target and --prefix.
    "--target, new": Case("new", ("--target", "{here}/new")),
    "--target, new, relative, deep": Case("work/a/b/new/er", ("--target", "new/er")),
    "--target, existing": Case("there", ("--target", "{here}/there")),
    "--target, existing, relative": Case("there", ("--target", "../../../there")),
    "--target .": Case("work/a/b", ("--target", ".")),
    "--target=DIRECTORY": Case("new", ("--target={here}/new",)),
    "-t DIRECTORY": Case("new", ("-t", "{here}/new")),
    "-tDIRECTORY": Case("new", ("-t{here}/new",)),
    "-qt DIRECTORY": Case("new", ("-qt", "{here}/new")),
    "--target with --python": Case("new", ("--target", "{here}/new", "-p", "{here}/other")),
    "--target with --system": Case(
        "new", ("--target", "{here}/new", "--system"), {"PATH": "{here}/python/bin:{path}"}
    ),
    "--prefix, new": Case("new/lib/python*/site-packages", ("--prefix", "{here}/new")),
    "--prefix, new, relative": Case(
        "work/a/b/new/er/lib/python*/site-packages", ("--prefix", "new/er")
    ),
    "--prefix, existing": Case("there/lib/python*/site-packages", ("--prefix", "{here}/there")),
    "--prefix=DIRECTORY": Case("new/lib/python*/site-packages", ("--prefix={here}/new",)),
    "--prefix with --python": Case(
        "new/lib/python*/site-packages", ("--prefix", "{here}/new", "-p", "{here}/other")
    ),
    "--prefix that is a virtual environment": Case(OTHER, ("--prefix", "{here}/other")),
    # Configuration files.
    "pyproject.toml: python": Case(
        OTHER, files={"work/pyproject.toml": '[tool.uv.pip]\npython = "{here}/other"\n'}
    ),
    "pyproject.toml: system": Case(
        INSTALLATION,
        variables={"PATH": "{here}/python/bin:{path}"},
        files={"work/pyproject.toml": "[tool.uv.pip]\nsystem = true\n"},
    ),
    "pyproject.toml: target": Case(
        "new", files={"work/pyproject.toml": '[tool.uv.pip]\ntarget = "{here}/new"\n'}
    ),
    "pyproject.toml: target, relative": Case(
        "work/a/b/new", files={"work/pyproject.toml": '[tool.uv.pip]\ntarget = "new"\n'}
    ),
    "pyproject.toml: prefix": Case(
        "new/lib/python*/site-packages",
        files={"work/pyproject.toml": '[tool.uv.pip]\nprefix = "{here}/new"\n'},
    ),
    "uv.toml: python": Case(OTHER, files={"work/uv.toml": '[pip]\npython = "{here}/other"\n'}),
    "uv.toml: system": Case(
        INSTALLATION,
        variables={"PATH": "{here}/python/bin:{path}"},
        files={"work/uv.toml": "[pip]\nsystem = true\n"},
    ),
    "uv.toml: target": Case("new", files={"work/uv.toml": '[pip]\ntarget = "{here}/new"\n'}),
    "uv.toml: prefix": Case(
        "new/lib/python*/site-packages",
        files={"work/uv.toml": '[pip]\nprefix = "{here}/new"\n'},
    ),
    "uv.toml of the user": Case(
        "new", files={"home/.config/uv/uv.toml": '[pip]\ntarget = "{here}/new"\n'}
    ),
    "an option over the configuration": Case(
        OTHER,
        ("-p", "{here}/other"),
        files={"work/uv.toml": '[pip]\npython = "{here}/work/.venv"\n'},
    ),
    "--config-file": Case(
        "new",
        ("--config-file", "{here}/my.toml"),
        files={"my.toml": '[pip]\ntarget = "{here}/new"\n'},
    ),
    "UV_CONFIG_FILE": Case(
        "new",
        variables={"UV_CONFIG_FILE": "{here}/my.toml"},
        files={"my.toml": '[pip]\ntarget = "{here}/new"\n'},
    ),
    "--no-config": Case(
        HERE, ("--no-config",), files={"work/uv.toml": '[pip]\ntarget = "{here}/new"\n'}
    ),
    "UV_NO_CONFIG": Case(
        HERE,
        variables={"UV_NO_CONFIG": "1"},
        files={"work/uv.toml": '[pip]\ntarget = "{here}/new"\n'},
    ),
    # Another working directory.
    "--directory": Case(HERE, ("--directory", "{here}/work"), cwd="."),
    "--directory, relative": Case(HERE, ("--directory", "work/a"), cwd="."),
    "--directory with --target": Case(
        "work/a/new", ("--directory", "work/a", "--target", "new"), cwd="."
    ),
    "--directory with --python": Case(
        OTHER, ("--directory", "work/a", "-p", "../../other"), cwd="."
    ),
    "--directory=DIRECTORY": Case("work/a/new", ("--directory=work/a", "-tnew"), cwd="."),
    "--directory with a configuration": Case(
        "work/a/new",
        ("--directory", "work/a"),
        files={"work/uv.toml": '[pip]\ntarget = "new"\n'},
        cwd=".",
    ),
    "UV_WORKING_DIR": Case(
        "work/a/new", ("-t", "new"), {"UV_WORKING_DIR": "{here}/work/a"}, cwd="."
    ),
    "UV_WORKING_DIR, relative": Case(HERE, variables={"UV_WORKING_DIR": "work/a"}, cwd="."),
    "--directory over UV_WORKING_DIR": Case(
        "work/a/new", ("--directory", "work/a", "-tnew"), {"UV_WORKING_DIR": "other"}, cwd="."
    ),
    "--project": Case(
        "new",
        ("--project", "{here}/work", "-p", "{here}/other"),
        files={"work/pyproject.toml": '[tool.uv.pip]\ntarget = "{here}/new"\n'},
        cwd=".",
    ),
    "UV_PROJECT": Case(
        "new",
        ("-p", "{here}/other"),
        {"UV_PROJECT": "{here}/work"},
        files={"work/pyproject.toml": '[tool.uv.pip]\ntarget = "{here}/new"\n'},
        cwd=".",
    ),
    # What uv ignores here.
    ".python-version that points elsewhere": Case(HERE, files={"work/.python-version": "3.8\n"}),
    "requires-python that points elsewhere": Case(
        HERE,
        files={
            "work/pyproject.toml": '[project]\nname = "x"\nversion = "0"\nrequires-python = ">=3.99"\n'
        },
    ),
    "UV_PROJECT_ENVIRONMENT": Case(HERE, variables={"UV_PROJECT_ENVIRONMENT": "{here}/other"}),
    # What changes uv's log, or keeps it from taking a file with no requirements.
    "RUST_LOG=trace": Case(HERE, variables={"RUST_LOG": "trace"}),
    "RUST_LOG=off": Case(HERE, variables={"RUST_LOG": "off"}),
    "UV_LOG_CONTEXT": Case(HERE, variables={"UV_LOG_CONTEXT": "1"}),
    "FORCE_COLOR": Case(HERE, variables={"FORCE_COLOR": "1"}),
    "--color always": Case(HERE, ("--color", "always")),
    "UV_CONSTRAINT": Case(
        HERE,
        variables={"UV_CONSTRAINT": "{here}/constraints.txt"},
        files={"constraints.txt": "zope.deferred==1.2\n"},
    ),
    "UV_OVERRIDE": Case(
        HERE,
        variables={"UV_OVERRIDE": "{here}/overrides.txt"},
        files={"overrides.txt": "zope.deferred==1.2\n"},
    ),
    "UV_BUILD_CONSTRAINT": Case(
        HERE,
        variables={"UV_BUILD_CONSTRAINT": "{here}/constraints.txt"},
        files={"constraints.txt": "setuptools==80.9.0\n"},
    ),
    "configured constraints and overrides": Case(
        HERE,
        files={
            "work/pyproject.toml": "[tool.uv]\n"
            'constraint-dependencies = ["zope.deferred==1.2"]\n'
            'override-dependencies = ["zope.deferred==1.2"]\n'
            'build-constraint-dependencies = ["setuptools==80.9.0"]\n'
        },
    ),
    "UV_CACHE_DIR that is not there yet": Case(HERE, variables={"UV_CACHE_DIR": "{cache}"}),
    "UV_NO_CACHE": Case(HERE, variables={"UV_NO_CACHE": "1"}),
    "-n": Case(HERE, ("-n",)),
    "--cache-dir": Case(HERE, ("--cache-dir", "{cache}")),
    "UV_OFFLINE": Case(HERE, variables={"UV_OFFLINE": "1"}),
    "UV_PYTHON_DOWNLOADS": Case(HERE, variables={"UV_PYTHON_DOWNLOADS": "manual"}),
    "UV_PREVIEW": Case(HERE, variables={"UV_PREVIEW": "1"}),
    "--strict --verbose": Case(HERE, ("--strict", "--verbose")),
    "UV_NO_PROGRESS": Case(HERE, variables={"UV_NO_PROGRESS": "1"}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_uv_installs_gets_its_dotted_name_where_uv_puts_it(
    case: Case,
    run: Run,
    uvpip: Path,
    only_uv: Path,
    make_venv: MakeVenv,
    installation: Path,
    wheels: Path,
    tmp_path: Path,
) -> None:
    def filled(text: str) -> str:
        for name, value in {
            "here": tmp_path,
            "cache": f"{tmp_path}-cache",
            "path": only_uv,  # and none of the machine's own interpreters
            "series": SERIES,
        }.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    make_venv("work/.venv")
    make_venv("other")
    make_venv("work/a/b/v1")
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".venv").symlink_to("../other")
    for name in ("there", "work/a/b/--target", "work/a/b/-tnew"):
        (tmp_path / name).mkdir()
    copy_installation(tmp_path / "managed" / MANAGED)
    (installation / "conda-meta").mkdir()
    for name, content in case.files.items():
        path = tmp_path / filled(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(filled(content))
    variables = {name: filled(value) for name, value in case.variables.items()}
    words: list[str | Path] = [filled(word) for word in case.words]
    done = run(
        *(uvpip, "--no-index", "--find-links", wheels, "zope.deferred", *words),
        cwd=tmp_path / case.cwd,
        **{"PATH": filled("{path}"), **variables},
    )
    assert done.returncode == 0, done.stderr
    found = found_below(tmp_path, "*deferred*.dist-info", "*TableSorter*.dist-info")
    names = ["XStatic_JQuery.TableSorter-2.14.5.3.dist-info", "zope.deferred-1.2.dist-info"]
    assert [os.path.basename(path) for path in found] == names
    assert all(fnmatch.fnmatchcase(os.path.dirname(path), case.lands) for path in found), found


def test_a_virtual_environment_with_system_site_packages_gets_it_and_the_system_keeps_what_it_has(
    run: Run, uv: Path, uvpip: Path, make_venv: MakeVenv, installation: Path, wheels: Path
) -> None:
    offline = ("--no-index", "--find-links", wheels)
    in_system = Venv(installation)
    assert run(uv, "pip", "install", "-p", installation, *offline, "simple").returncode == 0
    before = tree(in_system.site_packages)
    venv = make_venv(".venv", "--system-site-packages", python=installation / "bin" / "python")
    done = run(uvpip, "--reinstall", *offline, "zope.deferred")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    assert tree(in_system.site_packages) == before
    assert "zope_deferred-1.2.dist-info" in in_system.dist_infos()


@pytest.mark.parametrize(
    "name", ["with spaces", "Umgebung-ü-ñ-中", "a'quote\"and $HOME;", "new\nline"]
)
def test_the_path_of_an_environment_may_hold_anything(
    name: str, run: Run, uvpip: Path, make_venv: MakeVenv, wheels: Path, tmp_path: Path
) -> None:
    venv = make_venv(f"{name}/.venv")
    offline = ("--no-index", "--find-links", wheels)
    here = tmp_path / name
    for options, site_packages in {
        (): venv.site_packages,
        ("--target", f"{name} target"): here / f"{name} target",
        ("--target", here / "a`b"): here / "a`b",
        ("-p", here / ".venv", "--reinstall"): venv.site_packages,
    }.items():
        done = run(uvpip, *offline, "zope.deferred", *options, cwd=here)
        assert done.returncode == 0, done.stderr
        assert "zope.deferred-1.2.dist-info" in dist_infos(site_packages)


@pytest.fixture
def wheel_of_uvshim(wheels: Path) -> None:
    """The wheel of uvshim itself among the others."""
    package = Path(uvshim.__file__).parent
    build_wheel(
        wheels,
        "uvshim",
        "9.9",
        files={f"uvshim/{each.name}": each.read_text() for each in package.glob("*.py")},
        entry_points="[console_scripts]\nuvpip = uvshim.uvpip:main\n",
    )


@pytest.mark.usefixtures("wheel_of_uvshim")
def test_uvshim_in_one_environment_installs_into_another(
    run: Run, uv: Path, make_venv: MakeVenv, wheels: Path
) -> None:
    tools, venv = make_venv("tools"), make_venv()
    offline = ("--no-index", "--find-links", wheels)
    assert run(uv, "pip", "install", "-p", tools.path, *offline, "uvshim").returncode == 0
    done = run(tools.path / "bin" / "uvpip", *offline, "zope.deferred")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    assert tools.dist_infos() == ["uvshim-9.9.dist-info"]


@pytest.mark.usefixtures("wheel_of_uvshim")
@pytest.mark.parametrize(
    ("words", "remaining"),
    [
        (["zope.deferred"], ["uvshim-9.9.dist-info"]),
        (["--reinstall", "zope.deferred", "uvshim"], ["uvshim-9.9.dist-info"]),
        (["--exact", "zope.deferred"], []),
        (["sync", "-"], []),
    ],
)
def test_uvshim_in_its_own_environment_works_even_while_it_is_replaced_or_removed(
    words: list[str], remaining: list[str], run: Run, uv: Path, venv: Venv, wheels: Path
) -> None:
    offline = ("--no-index", "--find-links", wheels)
    assert run(uv, "pip", "install", *offline, "uvshim").returncode == 0
    own = venv.path / "bin" / "uvpip"
    done = run(own, *words, *offline, stdin="zope.deferred\n")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    assert [name for name in venv.dist_infos() if name.startswith("uvshim")] == remaining


DEBIAN = Path("/usr/bin/python3")


@pytest.fixture
def debian(run: Run, uv: Path) -> Iterator[Path]:
    """Debian's own Python, from which what the test installs is taken away again."""
    marks = list(Path("/usr/lib").glob("python3.*/EXTERNALLY-MANAGED"))
    if not (DEBIAN.is_file() and marks and os.access("/usr/local/lib", os.W_OK)):
        pytest.skip("there is no Debian system Python that this user may install into")
    yield DEBIAN
    left = (uv, "pip", "uninstall", "-p", DEBIAN, "--break-system-packages", "uvshim.test-only")
    assert run(*left).returncode == 0
    assert not list(Path("/usr/local/lib").glob("python3*/*-packages/uvshim?test*"))


def test_debians_system_python_gets_it_in_dist_packages(
    run: Run, uvpip: Path, debian: Path, wheels: Path
) -> None:
    wheel = build_wheel(wheels, "uvshim.test-only", "1.0")
    done = run(uvpip, "-p", debian, "--break-system-packages", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    (dist_info,) = Path("/usr/local/lib").glob("python3*/dist-packages/uvshim?test*.dist-info")
    assert dist_info.name == "uvshim.test_only-1.0.dist-info"
