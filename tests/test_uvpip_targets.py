"""`uvpip` finds what uv has installed, however the environment was chosen."""

from __future__ import annotations

import fnmatch
import os
import platform
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.places import copy_installation, found_below

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import MakeVenv, Run

SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = "desk/.venv/lib/python*/site-packages"
OTHER = "other/lib/python*/site-packages"
INSTALLATION = "python/lib/python*/site-packages"

MANAGED = f"cpython-{platform.python_version()}-linux-{platform.machine()}-gnu"
PROJECT = (
    '[project]\nname = "x"\nversion = "0"\n'
    '[project.optional-dependencies]\nmore = ["zope.deferred"]\n'
)


class Case(NamedTuple):
    """One way to choose an environment. `{here}` stands for the test's directory.

    There are virtual environments at `desk/.venv` and `other`; where it is spoken of, there is an
    installation of Python without packages at `python`, and one that uv manages at `managed`. The command is run in `desk/a/b`, or in `cwd`.
    `lands` is the pattern of the directory, relative to the test's, that it installs into; `since`
    is the first minor release of uv of which every one knows this way.
    """

    lands: str
    words: tuple[str, ...] = ()
    variables: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    cwd: str = "desk/a/b"
    since: tuple[int, int] = (0, 4)

    def speaks_of(self, place: str) -> bool:
        """Return True if a word, a variable or a file names that place."""
        return any(place in each for each in (*self.words, *self.variables.values(), *self.files))


CASES = {
    # The environment that is active, or near.
    "VIRTUAL_ENV": Case(OTHER, variables={"VIRTUAL_ENV": "{here}/other"}),
    "VIRTUAL_ENV, relative": Case(OTHER, variables={"VIRTUAL_ENV": "../../../other"}),
    "VIRTUAL_ENV, by a link": Case(OTHER, variables={"VIRTUAL_ENV": "{here}/link"}),
    ".venv here": Case(HERE, cwd="desk"),
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
        "desk/a/b/v1/lib/python*/site-packages", ("-p", "./v1")
    ),
    "--python over VIRTUAL_ENV": Case(
        OTHER, ("-p", "../../../other"), {"VIRTUAL_ENV": "{here}/desk/.venv"}
    ),
    "an option's value that looks like an option": Case(HERE, ("-f--target", "-f=-tnew")),
    "positionals behind --": Case(HERE, ("simple", "--", "plain_name")),
    "UV_PYTHON": Case(OTHER, variables={"UV_PYTHON": "{here}/other"}),
    "UV_PYTHON, relative": Case(OTHER, variables={"UV_PYTHON": "../../../other"}),
    "--python over UV_PYTHON": Case(
        OTHER, ("-p", "{here}/other"), {"UV_PYTHON": "{here}/desk/.venv"}
    ),
    # The system's Python.
    "--system": Case(INSTALLATION, ("--system",), {"PATH": "{here}/python/bin:{path}"}),
    "a Python that uv manages": Case(
        "managed/cpython-*/lib/python*/site-packages",
        ("--system", "--break-system-packages", "--managed-python", "-p", SERIES),
        {"UV_PYTHON_INSTALL_DIR": "{here}/managed"},
        since=(0, 8),
    ),
    "UV_SYSTEM_PYTHON": Case(
        INSTALLATION, variables={"UV_SYSTEM_PYTHON": "1", "PATH": "{here}/python/bin:{path}"}
    ),
    "--no-system over the configuration": Case(
        HERE, ("--no-system",), files={"desk/uv.toml": "[pip]\nsystem = true\n"}
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
    "--target, new, relative, deep": Case("desk/a/b/new/er", ("--target", "new/er")),
    "--target, existing": Case("there", ("--target", "{here}/there")),
    "--target, existing, relative": Case("there", ("--target", "../../../there")),
    "--target .": Case("desk/a/b", ("--target", ".")),
    "--target=DIRECTORY": Case("new", ("--target={here}/new",)),
    "-t DIRECTORY": Case("new", ("-t", "{here}/new"), since=(0, 9)),
    "-tDIRECTORY": Case("new", ("-t{here}/new",), since=(0, 9)),
    "-qt DIRECTORY": Case("new", ("-qt", "{here}/new"), since=(0, 9)),
    "--target with --python": Case("new", ("--target", "{here}/new", "-p", "{here}/other")),
    "--target with --system": Case(
        "new", ("--target", "{here}/new", "--system"), {"PATH": "{here}/python/bin:{path}"}
    ),
    "--prefix, new": Case("new/lib/python*/site-packages", ("--prefix", "{here}/new")),
    "--prefix, new, relative": Case(
        "desk/a/b/new/er/lib/python*/site-packages", ("--prefix", "new/er")
    ),
    "--prefix, existing": Case("there/lib/python*/site-packages", ("--prefix", "{here}/there")),
    "--prefix=DIRECTORY": Case("new/lib/python*/site-packages", ("--prefix={here}/new",)),
    "--prefix with --python": Case(
        "new/lib/python*/site-packages", ("--prefix", "{here}/new", "-p", "{here}/other")
    ),
    "--prefix that is a virtual environment": Case(OTHER, ("--prefix", "{here}/other")),
    # Configuration files.
    "pyproject.toml: python": Case(
        OTHER, files={"desk/pyproject.toml": '[tool.uv.pip]\npython = "{here}/other"\n'}
    ),
    "pyproject.toml: system": Case(
        INSTALLATION,
        variables={"PATH": "{here}/python/bin:{path}"},
        files={"desk/pyproject.toml": "[tool.uv.pip]\nsystem = true\n"},
    ),
    "pyproject.toml: target": Case(
        "new", files={"desk/pyproject.toml": '[tool.uv.pip]\ntarget = "{here}/new"\n'}
    ),
    "pyproject.toml: target, relative": Case(
        "desk/a/b/new", files={"desk/pyproject.toml": '[tool.uv.pip]\ntarget = "new"\n'}
    ),
    "pyproject.toml: prefix": Case(
        "new/lib/python*/site-packages",
        files={"desk/pyproject.toml": '[tool.uv.pip]\nprefix = "{here}/new"\n'},
    ),
    "uv.toml: python": Case(OTHER, files={"desk/uv.toml": '[pip]\npython = "{here}/other"\n'}),
    "uv.toml: system": Case(
        INSTALLATION,
        variables={"PATH": "{here}/python/bin:{path}"},
        files={"desk/uv.toml": "[pip]\nsystem = true\n"},
    ),
    "uv.toml: target": Case("new", files={"desk/uv.toml": '[pip]\ntarget = "{here}/new"\n'}),
    "uv.toml: prefix": Case(
        "new/lib/python*/site-packages",
        files={"desk/uv.toml": '[pip]\nprefix = "{here}/new"\n'},
    ),
    "uv.toml of the user": Case(
        "new", files={"home/.config/uv/uv.toml": '[pip]\ntarget = "{here}/new"\n'}
    ),
    "an option over the configuration": Case(
        OTHER,
        ("-p", "{here}/other"),
        files={"desk/uv.toml": '[pip]\npython = "{here}/desk/.venv"\n'},
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
        HERE, ("--no-config",), files={"desk/uv.toml": '[pip]\ntarget = "{here}/new"\n'}
    ),
    "UV_NO_CONFIG": Case(
        HERE,
        variables={"UV_NO_CONFIG": "1"},
        files={"desk/uv.toml": '[pip]\ntarget = "{here}/new"\n'},
    ),
    # Another working directory.
    "--directory": Case(HERE, ("--directory", "{here}/desk"), cwd="."),
    "--directory, relative": Case(HERE, ("--directory", "desk/a"), cwd="."),
    "--directory with --target": Case(
        "desk/a/new", ("--directory", "desk/a", "--target", "new"), cwd="."
    ),
    "--directory with --python": Case(
        OTHER, ("--directory", "desk/a", "-p", "../../other"), cwd="."
    ),
    "--directory=DIRECTORY": Case("desk/a/new", ("--directory=desk/a", "--target=new"), cwd="."),
    "--directory with a configuration": Case(
        "desk/a/new",
        ("--directory", "desk/a"),
        files={"desk/uv.toml": '[pip]\ntarget = "new"\n'},
        cwd=".",
    ),
    "UV_WORKING_DIR": Case(
        "desk/a/new", ("-t", "new"), {"UV_WORKING_DIR": "{here}/desk/a"}, cwd=".", since=(0, 10)
    ),
    "UV_WORKING_DIR, relative": Case(
        HERE, variables={"UV_WORKING_DIR": "desk/a"}, cwd=".", since=(0, 10)
    ),
    "--directory over UV_WORKING_DIR": Case(
        "desk/a/new",
        ("--directory", "desk/a", "--target=new"),
        {"UV_WORKING_DIR": "other"},
        cwd=".",
    ),
    "--project": Case(
        "new",
        ("--project", "{here}/desk", "-p", "{here}/other"),
        files={"desk/pyproject.toml": '[tool.uv.pip]\ntarget = "{here}/new"\n'},
        cwd=".",
    ),
    "UV_PROJECT": Case(
        "new",
        ("-p", "{here}/other"),
        {"UV_PROJECT": "{here}/desk"},
        files={"desk/pyproject.toml": '[tool.uv.pip]\ntarget = "{here}/new"\n'},
        cwd=".",
        since=(0, 6),
    ),
    # What uv ignores here.
    ".python-version that points elsewhere": Case(HERE, files={"desk/.python-version": "3.8\n"}),
    "requires-python that points elsewhere": Case(
        HERE,
        files={
            "desk/pyproject.toml": '[project]\nname = "x"\nversion = "0"\nrequires-python = ">=3.99"\n'
        },
    ),
    "UV_PROJECT_ENVIRONMENT": Case(HERE, variables={"UV_PROJECT_ENVIRONMENT": "{here}/other"}),
    # What changes uv's log, or keeps it from taking a file with no requirements.
    "RUST_LOG=trace": Case(HERE, variables={"RUST_LOG": "trace"}),
    "RUST_LOG=off": Case(HERE, variables={"RUST_LOG": "off"}),
    "RUST_LOG=off with --target": Case(
        "new", ("--target", "{here}/new"), variables={"RUST_LOG": "off"}
    ),
    "UV_LOG_CONTEXT": Case(HERE, variables={"UV_LOG_CONTEXT": "1"}),
    "FORCE_COLOR": Case(HERE, variables={"FORCE_COLOR": "1"}),
    "--color always": Case(HERE, ("--color", "always")),
    "UV_CONSTRAINT": Case(
        HERE,
        variables={"UV_CONSTRAINT": "{here}/constraints.txt"},
        files={"constraints.txt": "zope.deferred==1.2\n"},
    ),
    "UV_CONSTRAINT, a URL": Case(
        HERE,
        variables={"UV_CONSTRAINT": "file://{here}/constraints.txt"},
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
            "desk/pyproject.toml": "[tool.uv]\n"
            'constraint-dependencies = ["zope.deferred==1.2"]\n'
            'override-dependencies = ["zope.deferred==1.2"]\n'
            'build-constraint-dependencies = ["setuptools==80.9.0"]\n'
        },
    ),
    "all extras, configured": Case(
        HERE,
        ("-r", "pyproject.toml"),
        files={"desk/a/b/pyproject.toml": PROJECT + "[tool.uv.pip]\nall-extras = true\n"},
    ),
    "an extra, configured": Case(
        "new",
        ("-r", "pyproject.toml"),
        files={
            "desk/a/b/pyproject.toml": PROJECT
            + '[tool.uv.pip]\nextra = ["more"]\ntarget = "{here}/new"\n'
        },
    ),
    "--all-extras": Case(
        HERE, ("-r", "pyproject.toml", "--all-extras"), files={"desk/a/b/pyproject.toml": PROJECT}
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


# One of each kind that matters on macOS: the program that uvpip asks for
# the place of it, how often, and from where.
ON_MACOS_TOO = [
    "VIRTUAL_ENV",
    "--python EXECUTABLE of an installation",
    "--target, new",
    "--prefix, new",
    "all extras, configured",
    "--directory",
]


@pytest.mark.parametrize(
    ("case", "system"),
    [
        *(pytest.param(case, "linux", id=name) for name, case in CASES.items()),
        *(
            pytest.param(CASES[name], "like macOS", id=f"{name}, like macOS")
            for name in ON_MACOS_TOO
        ),
    ],
    indirect=["system"],
)
def test_what_uv_installs_gets_its_dotted_name_where_uv_puts_it(
    case: Case,
    system: str,
    run: Run,
    uv_version: tuple[int, ...],
    uvpip: Path,
    only_uv: Path,
    make_venv: MakeVenv,
    wheels: Path,
    tmp_path: Path,
) -> None:
    if uv_version < case.since:
        pytest.skip("this uv does not know that")

    def filled(text: str) -> str:
        for name, value in {
            "here": tmp_path,
            "cache": f"{tmp_path}-cache",
            "path": only_uv,  # and none of the machine's own interpreters
            "series": SERIES,
        }.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    make_venv("desk/.venv")
    make_venv("other")
    make_venv("desk/a/b/v1")
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".venv").symlink_to("../other")
    for name in ("there", "desk/a/b/--target", "desk/a/b/-tnew"):
        (tmp_path / name).mkdir()
    if case.speaks_of("{here}/python"):
        (copy_installation(tmp_path / "python") / "conda-meta").mkdir()
    if case.speaks_of("{here}/managed"):
        copy_installation(tmp_path / "managed" / MANAGED)
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
