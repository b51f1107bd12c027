"""Closed standard streams, and pipes without a reader, do not change the result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import MakeVenv, Run
    from tests.places import Venv

CLOSED = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"]
DOTTED = "zope.deferred-1.2.dist-info"


def shell(run: Run, script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a line of shell, in which `words` are the parameters."""
    return run("bash", "-c", script, "-", *words)


@pytest.mark.on_macos_too
@pytest.mark.parametrize("closed", CLOSED)
def test_with_a_closed_stream_uvpip_renames(
    closed: str, run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    words = (uvpip, "--no-index", "-f", wheels, "zope.deferred")
    done = shell(run, f'"$@" {closed}', *words)
    assert done.returncode == 0, done.stderr
    assert DOTTED in venv.dist_infos()
    assert ("Renormalized" in done.stderr) == ("2>" not in closed)
    assert "Traceback" not in done.stderr


@pytest.mark.on_macos_too
@pytest.mark.parametrize("closed", CLOSED)
def test_with_a_closed_stream_uvshim_run_renames_and_check_checks(
    closed: str, run: Run, uv: Path, uvshim: Path, make_venv: MakeVenv, wheels: Path
) -> None:
    venv = make_venv("elsewhere")  # which only uv finds
    install = (uv, "pip", "install", "--no-index", "-f", wheels, "zope.deferred")
    done = shell(
        run, f'"$@" {closed}', "env", f"VIRTUAL_ENV={venv.path}", uvshim, "run", "--", *install
    )
    assert done.returncode == 0, done.stderr
    assert DOTTED in venv.dist_infos()
    done = shell(run, f'"$@" {closed}', uvshim, "check", venv.path)
    assert (done.returncode, done.stderr) == (0, "")
    # A message that no encoding has does not fail on a closed stream.
    assert shell(run, f"\"$@\"$'\\xff' {closed}", uvshim, "check", "x").returncode == 2


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("words", [["list"], ["--version"], ["--help"]], ids=str)
def test_with_a_closed_stream_uvpip_becomes_uv(
    words: list[str], closed: str, run: Run, uvpip: Path, venv: Venv
) -> None:
    done = shell(run, f'"$@" {closed}', uvpip, *words)
    assert (done.returncode, done.stderr) == (0, "")


STREAMS = """\
#!{python} -IS
import os
with open({log!r}, "a") as log:
    print([os.readlink(f"/proc/self/fd/{{n}}") for n in range(3)], file=log)
"""


@pytest.mark.on_macos_too
def test_uv_gets_dev_null_for_a_closed_stream(
    run: Run, uvpip: Path, venv: Venv, tmp_path: Path
) -> None:
    """A script acts as uv, and records its streams."""
    uv, log = tmp_path / "streams", tmp_path / "log"
    uv.write_text(STREAMS.format(python=sys.executable, log=str(log)))
    uv.chmod(0o755)
    for word in ("x", "list"):
        shell(run, '"$@" <&- >&- 2>&-', "env", f"UVSHIM_UV={uv}", uvpip, word)
        assert str(["/dev/null"] * 3) in log.read_text().splitlines()
        log.unlink()


# Its standard error is a pipe whose reader has ended before the command starts.
UNREAD = """
import os, subprocess, sys
reading, writing = os.pipe()
os.close(reading)
sys.exit(subprocess.call(sys.argv[1:], stderr=writing))
"""


def unread(run: Run, *words: str | Path, uv: Path | None = None) -> int:
    return run(sys.executable, "-c", UNREAD, *words, UVSHIM_UV=str(uv) if uv else None).returncode


@pytest.mark.on_macos_too
def test_where_nobody_reads_what_is_reported_the_exit_code_is_the_same(
    run: Run, uv: Path, uvpip: Path, uvshim: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    install = ("--no-index", "-f", wheels, "--reinstall", "zope.deferred", "-v")
    assert unread(run, uvpip, *install) == 0
    assert DOTTED in venv.dist_infos()
    assert unread(run, uvshim, "run", "--", uv, "pip", "install", *install) == 0
    assert DOTTED in venv.dist_infos()
    assert unread(run, uvshim, "fix", "-v", venv.path) == 0
    assert unread(run, uvpip, "x", uv=tmp_path / "none") == 127
    assert unread(run, uvpip, "x", uv=Path("/bin/true")) == 3
    assert unread(run, uvshim, "run", "--", tmp_path / "none") == 127
    assert unread(run, uvshim, "check", tmp_path / "none") == 2


@pytest.mark.on_macos_too
@pytest.mark.parametrize("more", [[], ["PYTHONUNBUFFERED=1"]], ids=str)
def test_where_standard_output_cannot_be_written_uv_says_so(
    more: list[str], run: Run, uv: Path, uvpip: Path
) -> None:
    for option in ("--version", "--help"):
        words = ("pip", "install") if option == "--help" else ()
        plain = shell(run, '"$@" > /dev/full', uv, *words, option)
        ours = shell(run, '"$@" > /dev/full', "env", *more, uvpip, option)
        assert "Traceback" not in ours.stderr
        assert "cannot be run" not in ours.stderr
        assert ours.returncode == plain.returncode


@pytest.fixture
def no_program(tmp_path: Path) -> Path:
    """An executable file in a format that the system cannot run."""
    path = tmp_path / "noshebang"
    path.write_text("echo\n")
    path.chmod(0o755)
    return path


@pytest.mark.on_macos_too
@pytest.mark.parametrize("disabled", ["0", "1"])
def test_what_cannot_be_started_is_reported_and_ends_with_126(
    disabled: str, run: Run, uvpip: Path, uvshim: Path, venv: Venv, no_program: Path
) -> None:
    said = f"error: `{no_program}` cannot be run: Exec format error\n"
    done = run(uvshim, "run", "--", no_program, UVSHIM_DISABLE=disabled)
    assert (done.returncode, done.stderr) == (126, said)
    for word in ("x", "list", "--version"):
        done = run(uvpip, word, UVSHIM_UV=str(no_program), UVSHIM_DISABLE=disabled)
        assert (done.returncode, done.stderr) == (126, said)
        assert unread(run, uvpip, word, uv=no_program) == 126


@pytest.mark.on_macos_too
def test_where_no_file_can_be_opened_for_its_answer_uv_installs_and_that_is_reported(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    done = run(
        sys.executable, "-c", NO_FILES.format(words=["--no-index", "-f", str(wheels), "six"])
    )
    assert done.returncode == 1
    assert "six was not found" in done.stderr
    words = ["--no-index", "-f", str(wheels), "zope.deferred"]
    done = run(sys.executable, "-c", NO_FILES.format(words=words))
    assert done.returncode == 3
    assert "uv did not say where it installed: nothing was renamed" in done.stderr
    assert "zope_deferred-1.2.dist-info" in venv.dist_infos()


NO_FILES = """
import os, sys, tempfile
from uvshim import uvpip
def none(*_, **__):
    raise OSError(24, os.strerror(24))
os.memfd_create = tempfile.TemporaryFile = none
sys.argv[1:] = {words!r}
sys.exit(uvpip.main())
"""
