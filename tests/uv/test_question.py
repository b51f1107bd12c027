"""The question to uv where it installs, and which uv is asked."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.corpus import under, write
from tests.places import found_below
from uvshim.environments import snapshot
from uvshim.errors import UvshimError
from uvshim.uv import question

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run
    from tests.places import Venv


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        ((), True),
        ((0, 3, 5), False),
        ((0, 1), False),
        ((0, 4, 18), False),
        ((0, 4, 19), True),
        ((0, 13, 9), True),
        ((1,), True),
    ],
)
def test_an_old_version_is_refused(version: tuple[int, ...], accepted: bool) -> None:  # noqa: FBT001
    if accepted:
        question.check_version(version, "uv")
    else:
        with pytest.raises(UvshimError, match=r"uvshim needs uv 0\.4\.19 or later; `uv` is 0\."):
            question.check_version(version, "uv")


OLD_UV = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "uv {version}"; exit; fi
{logs}
case "$*" in *--dry-run*) ;; *) touch "{witness}" ;; esac
"""


@pytest.mark.parametrize("logs", ['echo "    0.000597s DEBUG uv uv {version}" >&2', ":"])
def test_an_old_uv_is_refused_before_it_installs_anything(
    logs: str, run: Run, uvpip: Path, program: Path, tmp_path: Path
) -> None:
    """A script acts as uv 0.3.5, which logs its version, and 0.1.45, which does not."""
    text = OLD_UV.replace("{logs}", logs)
    witness = tmp_path / "installed"
    program.write_text(text.format(version="0.3.5", witness=witness))
    done = run(uvpip, "x", UVSHIM_UV=str(program))
    assert done.returncode == 2
    assert done.stderr == f"error: uvshim needs uv 0.4.19 or later; `{program}` is 0.3.5\n"
    assert not witness.exists()
    program.write_text(text.format(version="0.4.19", witness=witness))
    assert run(uvpip, "x", UVSHIM_UV=str(program)).returncode == 3
    assert witness.exists()


GROUP = """\
[project]
name = "app"
version = "0"
[dependency-groups]
dev = ["lib @ {url}"]
[tool.uv.pip]
group = ["dev"]
"""


def test_a_question_builds_nothing_and_is_answered_all_the_same(
    run: Run, uvshim: Path, uvpip: Path, venv: Venv, tmp_path: Path
) -> None:
    """uv adds a group that its configuration names to every install."""
    project = tmp_path / "project"
    backend = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    source = {"backend.py": "open('ran', 'w')", "pyproject.toml": backend}
    write(under("lib", source), project)
    (project / "pyproject.toml").write_text(GROUP.format(url=(project / "lib").as_uri()))
    done = run(uvshim, "check", cwd=project)
    assert done.returncode == 0, done.stderr
    assert str(venv.path) in done.stdout
    assert run(uvpip, "--no-build", "x", cwd=project).returncode != 0
    assert sorted(os.listdir(project / "lib")) == sorted(source)


SILENT_UV = """\
#!/bin/sh
case "$*" in *--dry-run*) {answer} ;; *) exec {uv} "$@" ;; esac
"""


def test_a_uv_that_does_not_say_where_it_installs_is_an_error_after_the_install(
    run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path, program: Path
) -> None:
    """A script acts as a uv whose log is not understood; it installs as the real one does."""
    program.write_text(SILENT_UV.format(answer="exit 0", uv=uv))
    offline = ("--no-index", "-f", wheels)
    done = run(uvpip, *offline, "zope.deferred", UVSHIM_UV=str(program))
    assert done.returncode == 3
    assert "warning: uv did not say where it installed" in done.stderr
    assert "uvshim fix" in done.stderr
    assert "zope_deferred-1.2.dist-info" in venv.dist_infos()
    assert run(uvpip, *offline, "no-such-thing", UVSHIM_UV=str(program)).returncode == 1


def test_a_uv_that_says_only_afterwards_where_it_installs_is_enough(
    run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path, program: Path, tmp_path: Path
) -> None:
    """A script acts as a uv that fails on the first question, and on that alone."""
    offline = ("--no-index", "-f", wheels)
    assert run(uv, "pip", "install", *offline, "XStatic-JQuery.TableSorter").returncode == 0
    installed = next(venv.site_packages.glob("xstatic*")).stat().st_ctime_ns
    while snapshot._time_of_disk(str(venv.site_packages), None) <= installed:
        """A directory as old as the resolution of the file system's times."""
    asked = tmp_path / "asked"
    answer = f'if [ -e "{asked}" ]; then exec {uv} "$@"; fi; touch "{asked}"; exit 1'
    program.write_text(SILENT_UV.format(answer=answer, uv=uv))
    done = run(uvpip, *offline, "zope.deferred", UVSHIM_UV=str(program))
    assert done.returncode == 0, done.stderr
    assert venv.dist_infos() == [  # earlier directories are not new
        "xstatic_jquery_tablesorter-2.14.5.3.dist-info",
        "zope.deferred-1.2.dist-info",
    ]


def test_a_place_that_is_not_there_is_no_answer(
    run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path, program: Path
) -> None:
    """A script acts as a uv whose log names a missing place."""
    answer = "echo Using Python 3.12.1 environment at: elsewhere >&2"
    program.write_text(SILENT_UV.format(answer=answer, uv=uv))
    done = run(uvpip, "--no-index", "-f", wheels, "zope.deferred", UVSHIM_UV=str(program))
    assert done.returncode == 3
    assert "warning: uv did not say where it installed" in done.stderr


def test_the_question_leaves_nothing_behind(
    run: Run, uvpip: Path, venv: Venv, tmp_path: Path
) -> None:
    before = found_below(tmp_path, "*")
    (tmp_path / "tmp").mkdir()
    assert run(uvpip, "--offline", "no-such-thing", TMPDIR=str(tmp_path / "tmp")).returncode == 1
    assert set(found_below(tmp_path, "*")) - set(before) <= {"tmp", ".venv/.lock"}


def test_where_the_kernel_has_no_nameless_files_in_memory_uv_is_asked_nevertheless(
    run: Run, uvpip: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("NOT TRIED: strace is not installed")
    without = ("strace", "-f", "-o", os.devnull, "-e", "inject=memfd_create:error=ENOSYS")
    (tmp_path / "tmp").mkdir()
    offline = ("--no-index", "-f", wheels, "zope.deferred")
    done = run(*without, uvpip, *offline, TMPDIR=str(tmp_path / "tmp"))
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    assert list((tmp_path / "tmp").iterdir()) == []


# Runs uvpip where no directory for temporary files can be written.
NO_PLACE = """
import os, sys, tempfile
tempfile._candidate_tempdir_list = lambda: ["/no/such/directory"]
if sys.argv.pop(1) == "no memory":
    del os.memfd_create
from uvshim.uvpip import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("memory", "configuration"),
    [("no memory", ""), ("memory", '[tool.uv.pip]\nextra = ["more"]\n')],
    ids=["for any answer", "for a project"],
)
def test_where_there_is_no_place_for_the_question_uv_installs_and_that_is_reported(
    memory: str, configuration: str, run: Run, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "0"\ndependencies = ["zope.deferred"]\n'
        f"[project.optional-dependencies]\nmore = []\n{configuration}"
    )
    offline = ("--no-index", "-f", wheels, "-r", "pyproject.toml")
    done = run(sys.executable, "-c", NO_PLACE, memory, *offline)
    assert "zope_deferred-1.2.dist-info" in venv.dist_infos()
    assert done.returncode == 3
    assert "warning: uv did not say where it installed: nothing was renamed\n" in done.stderr
