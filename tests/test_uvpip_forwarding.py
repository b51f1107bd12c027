"""`uvpip` passes arguments, streams and environment to uv, and returns its exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.places import Venv, tree
from tests.wheels import build_wheel
from uvshim.uv.arguments import Arguments

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

RECORDER = """\
#!{python} -IS
import json, os, sys
seen = {{
    "argv": [os.fsencode(word).hex() for word in sys.argv[1:]],
    "environment": {{os.fsencode(k).hex(): os.fsencode(v).hex() for k, v in os.environ.items()}},
    "directory": os.getcwd(),
    "streams": [os.readlink(f"/proc/self/fd/{{number}}") for number in range(3)],
    "open": [n for n in range(100) if n not in (3,) and os.path.exists(f"/proc/self/fd/{{n}}")],
}}
with open({log!r}, "a") as log:
    print(json.dumps(seen), file=log)
os.execv({uv!r}, [{uv!r}, *sys.argv[1:]])
"""


class Recorder:
    """A program that acts as uv: it records its call, then becomes the real uv."""

    def __init__(self, directory: Path, uv: Path) -> None:
        self.path = directory / "recorder"
        self._log = directory / "recorder.log"
        script = RECORDER.format(python=sys.executable, log=str(self._log), uv=str(uv))
        self.path.write_text(script)
        self.path.chmod(0o755)

    def calls(self) -> list[dict[str, Any]]:
        """Return its calls, except the questions of uvpip."""
        if not self._log.exists():
            return []
        seen = [json.loads(line) for line in self._log.read_text().splitlines()]
        own = [["--version"], ["pip", "install", "-r", os.devnull, "--dry-run", "-vv"]]
        hexed = [[word.encode().hex() for word in words] for words in own]
        return [each for each in seen if each["argv"][:6] not in hexed]

    def arguments(self) -> list[bytes]:
        """Return the arguments of the only call."""
        (call,) = self.calls()
        return [bytes.fromhex(word) for word in call["argv"]]


@pytest.fixture
def recorder(tmp_path: Path, uv: Path) -> Recorder:
    return Recorder(tmp_path, uv)


@pytest.mark.parametrize(
    "words",
    [
        [],
        [b""],
        [b"a b", b"  ", b"\t\n"],
        [b"it's", b'"quoted"', b"\\", b"$HOME", b"*", b"`x`", b"{a,b}", b"; rm"],
        [b"zope.deferred", b"--", b"-p", b"--dry-run", b"install"],
        [b"--", b"--"],
        [b"\xff\xfe", b"caf\xe9", "ünï-中".encode()],
        [b"--target", b"\xff\xfe", b"zope.deferred"],
        [b"-r", b"-", b"-e", b".", b"-c", b"a", b"--no-such-option", b"--also=not"],
        [b"--python"],
        [b"-p"],
        [b"-"],
        [b"install"],
        [b"x", b"install"],
    ],
    ids=str,
)
def test_uv_gets_every_argument_unchanged(
    words: list[bytes], uvpip: Path, venv: Venv, variables: dict[str, str], recorder: Recorder
) -> None:
    subprocess.run(
        [os.fsencode(uvpip), *words],
        cwd=venv.path.parent,
        env={**variables, "UVSHIM_UV": str(recorder.path)},
        capture_output=True,
        check=False,
    )
    given = words[1:] if words[:1] == [b"install"] else words
    assert recorder.arguments() == [b"pip", b"install", *given]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["install", "install"], ["install", "install"]),
        (["zope.deferred", "sync"], ["install", "zope.deferred", "sync"]),
        (["-q", "zope.deferred", "list"], ["install", "-q", "zope.deferred", "list"]),
        *(
            ([*before, *words], [*before, *words])
            for before in (
                ["-q"],
                ["--color", "never"],
                ["--no-cache"],
                ["-v", "--offline"],
                ["--directory", "."],
                ["-qn", "--color=never", "--no-config"],
            )
            for words in (["install", "--dry-run", "six"], ["sync", "a.txt"], ["list"])
        ),
        (["sync", "a.txt", "--dry-run"], ["sync", "a.txt", "--dry-run"]),
        (["sync", "a.txt"], ["sync", "a.txt"]),
        (["uninstall", "x", "-p", "y"], ["uninstall", "x", "-p", "y"]),
        (["list", "--format", "json"], ["list", "--format", "json"]),
        *(
            ([name, "x"], [name, "x"])
            for name in (
                "check",
                "compile",
                "freeze",
                "help",
                "show",
                "tree",
                "uninstall",
                "install",
            )
        ),
    ],
    ids=str,
)
def test_a_subcommand_of_uv_pip_after_global_options_is_that_subcommand(
    words: list[str], expected: list[str], run: Run, uvpip: Path, venv: Venv, recorder: Recorder
) -> None:
    run(uvpip, *words, UVSHIM_UV=str(recorder.path))
    assert recorder.arguments() == [word.encode() for word in ["pip", *expected]]


@pytest.mark.parametrize("subcommand", ["install", "sync", "list"])
def test_a_subcommand_after_an_option_of_install_is_refused_with_the_right_order(
    subcommand: str, run: Run, uvpip: Path, venv: Venv, wheels: Path, recorder: Recorder
) -> None:
    build_wheel(wheels, subcommand)
    offline = ("--no-index", "-f", wheels)
    before = tree(venv.path)
    done = run(uvpip, *offline, subcommand, "zope deferred", UVSHIM_UV=str(recorder.path))
    assert done.returncode == 2
    right = f"--no-index -f {wheels} 'zope deferred'"
    assert f"Write `{subcommand}` before the options: `uvpip {subcommand} {right}`." in done.stderr
    assert f"`uvpip install {right} {subcommand}`" in done.stderr
    assert recorder.calls() == []
    assert tree(venv.path) == before
    assert run(uvpip, "install", *offline, subcommand).returncode == 0
    assert f"{subcommand}-1.0.dist-info" in venv.dist_infos()


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("-q pip list", "-q list"),
        ("--python v pip install x", "install --python v x"),
        ("-U pip sync -r r.txt", "sync -U -r r.txt"),
    ],
)
def test_pip_before_a_subcommand_is_refused(
    run: Run, uvpip: Path, venv: Venv, recorder: Recorder, words: str, right: str
) -> None:
    done = run(uvpip, *words.split(), UVSHIM_UV=str(recorder.path))
    assert (done.returncode, done.stderr) == (
        2,
        f"error: uvpip already is `uv pip`: write `uvpip {right}`\n",
    )
    assert Arguments(right.split()).misplaced is None
    assert recorder.calls() == []


def test_every_subcommand_that_this_uv_has_is_known(run: Run, uv: Path) -> None:
    from uvshim.uv.arguments import SUBCOMMANDS

    lines = run(uv, "pip", "--help", "--color", "never").stdout.split("Commands:\n")[1]
    listed = re.findall(r"^  (\w+)", lines.split("\n\n")[0], re.MULTILINE)
    assert set(listed) > {"install", "sync", "uninstall"}
    assert set(listed) <= SUBCOMMANDS


@pytest.mark.on_macos_too
def test_uv_gets_the_environment_the_directory_and_the_streams_unchanged(
    uvpip: Path, venv: Venv, variables: dict[str, str], recorder: Recorder, tmp_path: Path
) -> None:
    given = {
        **{os.fsencode(name): os.fsencode(value) for name, value in variables.items()},
        b"UVSHIM_UV": os.fsencode(recorder.path),
        b"UV_CONSTRAINT": b"",
        b"RUST_LOG": b"off",
        b"NOT_UTF_8": b"\xff\xfe",
        b"EMPTY": b"",
    }
    streams = [tmp_path / name for name in ("in", "out", "err")]
    streams[0].write_text("zope.deferred\n")
    with streams[0].open() as stdin, streams[1].open("w") as out, streams[2].open("w") as err:
        subprocess.run(
            [uvpip, "-r", "-"],
            cwd=venv.path.parent,
            env=given,
            stdin=stdin,
            stdout=out,
            stderr=err,
            check=False,
        )
    (call,) = recorder.calls()
    seen = {bytes.fromhex(k): bytes.fromhex(v) for k, v in call["environment"].items()}
    seen.pop(b"LC_CTYPE", None)  # Python's own, of the recording program
    given.pop(b"LC_CTYPE", None)
    assert seen == given
    assert call["directory"] == str(venv.path.parent)
    assert call["streams"] == [str(path) for path in streams]
    assert call["open"] == [0, 1, 2]


@pytest.mark.on_macos_too
def test_requirements_are_read_from_standard_input(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    done = run(uvpip, "--no-index", "-f", wheels, "-r", "-", stdin="simple\n# done\n")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


@pytest.mark.on_macos_too
def test_a_requirements_file_may_be_a_process_substitution(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    script = '"$0" --no-index --find-links "$1" -r <(echo simple) -c <(echo "simple==4.0")'
    done = run("bash", "-c", script, uvpip, wheels)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


def test_standard_output_is_uvs_alone(run: Run, uvpip: Path, venv: Venv, wheels: Path) -> None:
    done = run(uvpip, "--no-index", "-f", wheels, "simple")
    assert done.stdout == ""
    assert " ~ zope.deferred==1.2\n" in done.stderr


@pytest.mark.on_macos_too
def test_exit_codes_are_uvs(run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path) -> None:
    for words in (["no-such-thing"], ["--no-such-option"], [], ["simple"]):
        arguments = ["--no-index", "-f", str(wheels), *words]
        expected = run(uv, "pip", "install", *arguments, "--dry-run").returncode
        assert run(uvpip, *arguments).returncode == expected
    assert run(uvpip, "show", "no-such-thing").returncode == 1
    assert run(uvpip, "list", "--no-such-option").returncode == 2


def test_an_error_of_uv_is_reported_once_and_by_uv(
    run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    for words in (
        ["no-such-thing"],
        ["--no-such-option"],
        ["-p", tmp_path / "nowhere", "x"],
        ["--config-file", tmp_path / "nowhere", "x"],
        ["-r", tmp_path / "nowhere"],
    ):
        arguments: list[str | Path] = ["--no-index", *words]
        plain, ours = run(uv, "pip", "install", *arguments), run(uvpip, *arguments)
        assert (ours.returncode, ours.stdout, ours.stderr) == (
            plain.returncode,
            plain.stdout,
            plain.stderr,
        )


def test_help_is_ours_and_then_uvs(run: Run, uv: Path, uvpip: Path) -> None:
    for option in ("--help", "-h"):
        done = run(uvpip, option)
        assert done.returncode == 0
        assert done.stdout.startswith("uvpip: ")
        assert done.stdout.endswith(run(uv, "pip", "install", option).stdout)
    assert "Usage: uv pip list" in run(uvpip, "list", "--help").stdout


def test_the_version_is_ours_and_uvs(run: Run, uv: Path, uvpip: Path) -> None:
    from uvshim import __version__

    for option in ("--version", "-V"):
        done = run(uvpip, option)
        assert done.stdout == f"uvshim {__version__}\n{run(uv, '--version').stdout}"
        assert done.returncode == 0


def test_a_dry_run_is_uvs_and_changes_nothing(
    run: Run, uvpip: Path, venv: Venv, wheels: Path, recorder: Recorder
) -> None:
    before = tree(venv.path)
    done = run(
        *(uvpip, "--no-index", "-f", wheels, "simple", "--dry-run"), UVSHIM_UV=str(recorder.path)
    )
    assert " + zope-deferred==1.2" in done.stderr
    assert tree(venv.path).keys() - before.keys() <= {".lock"}
    assert recorder.arguments()[-1] == b"--dry-run"


def in_a_terminal(command: list[str | Path], cwd: Path, environment: dict[str, str]) -> bytes:
    """Return the output of `command` in a terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        os.execve(command[0], [str(word) for word in command], environment)
    written = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        written += data
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, written
    return written


@pytest.mark.on_macos_too
def test_in_a_terminal_uv_draws_its_progress_and_both_speak_in_colour(
    uvpip: Path, venv: Venv, wheels: Path, variables: dict[str, str]
) -> None:
    command: list[str | Path] = [uvpip, "--no-index", "-f", wheels, "simple"]
    terminal = {**variables, "TERM": "xterm-256color"}
    terminal.pop("CI", None)
    written = in_a_terminal(command, venv.path.parent, terminal)
    assert b"\x1b[2K" in written  # a carriage return: a progress bar
    assert "⠋".encode() in written or b"Resolving" in written
    assert b"\x1b[32m+\x1b[39m" in written
    assert b"\x1b[33m~\x1b[0m \x1b[1mzope.deferred\x1b[0m\x1b[2m==1.2" in written


def test_colours_follow_uvs_option_and_variables(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    def says_in_colour(*options: str, **more: str) -> bool:
        words: list[str | Path] = ["--no-index", "-f", wheels, "--reinstall", "zope.deferred"]
        done = run(uvpip, *words, *options, cwd=None, stdin=None, **more)
        ours = [line for line in done.stderr.splitlines() if "Renormalized" in line]
        uvs = [line for line in done.stderr.splitlines() if "Resolved" in line]
        assert ("\x1b" in ours[0]) == ("\x1b" in uvs[0]), done.stderr
        return "\x1b" in ours[0]

    assert not says_in_colour()
    assert says_in_colour("--color", "always")
    assert says_in_colour(FORCE_COLOR="1")
    assert says_in_colour(CLICOLOR_FORCE="1")
    assert not says_in_colour(FORCE_COLOR="1", NO_COLOR="1")
    assert not says_in_colour("--color=never", FORCE_COLOR="1")
    assert says_in_colour("--color=always", NO_COLOR="1")
    assert not says_in_colour("--no-color", FORCE_COLOR="1")


def test_quiet_says_nothing_and_verbose_says_more(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    command = (uvpip, "--no-index", "-f", wheels, "--reinstall", "zope.deferred")
    assert run(*command, "-q").stderr == ""
    assert run(*command, "-qq").stderr == ""
    normal, verbose = run(*command).stderr, run(*command, "-v").stderr
    assert "uvshim:" not in normal
    assert "zope_deferred-1.2.dist-info` is now `" in verbose


@pytest.fixture
def no_uv(tmp_path: Path) -> str:
    """A PATH without uv."""
    (tmp_path / "empty").mkdir()
    return str(tmp_path / "empty")


def test_uv_is_the_one_that_a_variable_names(
    run: Run, uvpip: Path, uv: Path, no_uv: str, recorder: Recorder, tmp_path: Path
) -> None:
    other = Recorder(tmp_path / no_uv, uv)
    run(uvpip, "list", UV=str(recorder.path), PATH=no_uv)
    assert len(recorder.calls()) == 1
    run(uvpip, "list", UVSHIM_UV=str(other.path), UV=str(recorder.path))
    assert (len(recorder.calls()), len(other.calls())) == (1, 1)
    run(uvpip, "list", UVSHIM_UV="recorder", PATH=str(recorder.path.parent))
    assert (len(recorder.calls()), len(other.calls())) == (2, 1)


# A uv that runs uvpip for what uvpip wraps. Each round is counted, and the fifth one fails.
TRANSPARENT = """\
#!/bin/sh
echo round >> {rounds}
[ "$(wc -l < {rounds})" -lt 5 ] || exit 99
if [ "$1 $2" = "pip install" ]; then shift 2; exec {uvpip} "$@"; fi
exec {uv} "$@"
"""


@pytest.mark.parametrize(
    ("words", "disabled"),
    [
        (["zope.deferred"], None),
        (["install", "-q", "zope.deferred"], None),
        (["zope.deferred", "--dry-run"], None),
        (["--help"], None),
        (["list"], None),
        (["zope.deferred"], "1"),
    ],
    ids=str,
)
def test_a_uv_that_runs_uvpip_again_is_refused_after_one_round(
    words: list[str],
    disabled: str | None,
    run: Run,
    uv: Path,
    uvpip: Path,
    venv: Venv,
    wheels: Path,
    tmp_path: Path,
) -> None:
    wrapper = tmp_path / "wrapper" / "uv"
    wrapper.parent.mkdir()
    rounds = tmp_path / "rounds"
    wrapper.write_text(TRANSPARENT.format(rounds=rounds, uvpip=uvpip, uv=uv))
    wrapper.chmod(0o755)
    path = f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"
    done = run(uvpip, *words, "--no-index", "-f", wheels, PATH=path, UVSHIM_DISABLE=disabled)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: `{wrapper}` runs uvpip again")
    assert done.stderr.count("\n") == 1
    assert rounds.read_text() == "round\n"
    assert venv.dist_infos() == []
    if words == ["zope.deferred"]:  # a wrapper that names the real uv is no loop
        wrapper.write_text(wrapper.read_text().replace("exec", f"export UVSHIM_UV={uv}; exec"))
        rounds.unlink()
        done = run(uvpip, *words, "--no-index", "-f", wheels, PATH=path, UVSHIM_DISABLE=disabled)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("value", ["1", "true", "yes", "on"])
def test_disabled_it_is_uv_and_nothing_else(
    value: str, run: Run, uvpip: Path, uv: Path, venv: Venv, wheels: Path
) -> None:
    offline = ("--no-index", "--find-links", wheels)
    done = run(uvpip, *offline, "zope.deferred", UVSHIM_DISABLE=value)
    assert done.returncode == 0
    assert "Renormalized" not in done.stderr
    assert "zope_deferred-1.2.dist-info" in venv.dist_infos()
    misplaced = ("--dry-run", *offline, "install")
    ours, plain = (
        run(uvpip, *misplaced, UVSHIM_DISABLE=value),
        run(uv, "pip", "install", *misplaced),
    )
    assert (ours.stderr, ours.returncode) == (plain.stderr, plain.returncode)
    for words in (["--help"], ["--version"]):
        ours = run(uvpip, *words, UVSHIM_DISABLE=value)
        plain = run(uv, "pip", "install", *words)
        assert (ours.stdout, ours.returncode) == (plain.stdout, plain.returncode)


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_a_variable_that_says_no_does_not_disable_it(
    value: str, run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    run(uvpip, "--no-index", "-f", wheels, "zope.deferred", UVSHIM_DISABLE=value)
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


@pytest.mark.on_macos_too
@pytest.mark.parametrize("options", [[], ["--directory", "/"]], ids=str)
def test_in_a_removed_working_directory_uv_reports_the_error(
    options: list[str], uvpip: Path, uv: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    script = 'mkdir gone; cd gone; rmdir ../gone; "$@"; echo $?'
    ours, plain = (
        subprocess.run(
            ["bash", "-c", script, "-", *words],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        for words in ([str(uvpip), "x", *options], [str(uv), "pip", "install", "x", *options])
    )
    assert (ours.stdout, ours.stderr) == (plain.stdout, plain.stderr)


ON_WINDOWS = "import sys; sys.platform = 'win32'; from uvshim.{} import main; sys.exit(main())"


def test_on_windows_uvpip_says_that_it_only_runs_uv_and_runs_it(
    run: Run, uv: Path, venv: Venv, wheels: Path
) -> None:
    offline = ("--no-index", "-f", wheels, "zope.deferred")
    done = run(sys.executable, "-c", ON_WINDOWS.format("uvpip"), *offline, UVSHIM_UV=str(uv))
    assert done.returncode == 0
    assert done.stderr.startswith("uvpip renames nothing on Windows: it only runs uv\n")
    assert "zope_deferred-1.2.dist-info" in venv.dist_infos()
    done = run(sys.executable, "-c", ON_WINDOWS.format("uvpip"), "list", "-q", UVSHIM_UV=str(uv))
    assert (done.returncode, done.stderr) == (0, "")
    assert "zope-deferred" in done.stdout
    done = run(sys.executable, "-c", ON_WINDOWS.format("uvpip"), "x", UVSHIM_UV="no-such-uv")
    assert done.returncode == 127
    done = run(sys.executable, "-c", ON_WINDOWS.format("cli"), "check")
    assert (done.returncode, done.stderr) == (2, "error: uvshim does not work on Windows\n")


@pytest.mark.parametrize("words", [["--version"], ["list"], ["zope.deferred"]], ids=str)
def test_a_uv_that_is_uvpip_itself_is_refused(words: list[str], run: Run, uvpip: Path) -> None:
    done = run(uvpip, *words, UVSHIM_UV=str(uvpip))
    assert done.returncode == 2
    assert "runs uvpip again" in done.stderr
