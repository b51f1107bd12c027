"""Signals, and the end of uv, in runs of the commands."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from uvshim.errors import CannotRunError
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run
    from tests.places import Venv

pytestmark = pytest.mark.on_macos_too

# It answers the question at once, and otherwise waits for signals, which it notes: all that come
# until its parent no longer handles them.
WAITING_UV = """\
#!{python} -IS
import os, select, signal, sys, time
def is_idle(number):
    with open("/proc/%d/status" % number) as file:
        status = dict(line.split(":", 1) for line in file)
    pending = int(status["ShdPnd"], 16) & ~(1 << signal.SIGCHLD - 1)
    return status["State"].split()[0] == "S" and not pending
if "--dry-run" in sys.argv or "--version" in sys.argv:
    sys.exit()
arrived, arriving = os.pipe()
for end in (arrived, arriving):  # a signal that never comes is an error, not a wait
    os.set_blocking(end, False)
signal.set_wakeup_fd(arriving)  # a byte for each, where a handler may be called once for two
for number in {numbers}:
    signal.signal(number, lambda *_: None)
with open({log!r}, "a") as log:
    print("waits", file=log, flush=True)
    select.select([arrived], [], [], 20)
    print("wakes", file=log, flush=True)
    end = time.monotonic() + 20
    while not is_idle(os.getppid()) and time.monotonic() < end:
        pass
    numbers = os.read(arrived, 100)
    for number in numbers:
        print(number, file=log)
if {dies}:
    signal.signal(numbers[0], signal.SIG_DFL)
    os.kill(os.getpid(), numbers[0])
sys.exit(5)
"""


# What does not end a program by default, cannot be handled, or is ignored by Python.
OTHERS = """
    SIGCHLD SIGCONT SIGTSTP SIGTTIN SIGTTOU SIGURG SIGWINCH
    SIGKILL SIGSTOP
    SIGPIPE SIGXFSZ
""".split()
ENDING = sorted(map(int, signal.valid_signals() - {getattr(signal, name) for name in OTHERS}))


class Waiting:
    """A program that acts as a slow uv, and the signals that it got."""

    def __init__(self, directory: Path, *, dies: bool) -> None:
        self.path = directory / "waiting"
        self._log = directory / "waiting.log"
        self.path.write_text(
            WAITING_UV.format(python=sys.executable, log=str(self._log), dies=dies, numbers=ENDING)
        )
        self.path.chmod(0o755)

    def has_begun(self) -> None:
        """Wait until it waits for signals."""
        self._has_said("waits")

    def has_been_woken(self) -> None:
        """Wait until the first signal has reached it."""
        self._has_said("wakes")

    def received(self) -> list[int]:
        return list(map(int, self._log.read_text().splitlines()[2:]))

    def _has_said(self, word: str) -> None:
        end = time.monotonic() + 30
        while not self._log.exists() or word not in self._log.read_text():
            assert time.monotonic() < end
            time.sleep(0.005)


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("dies", [True, False], ids=["dies", "goes on"])
def test_a_signal_to_uvpip_alone_reaches_uv_once_and_its_end_is_ours(
    number: int,
    dies: bool,  # noqa: FBT001
    uvpip: Path,
    variables: dict[str, str],
    venv: Venv,
    tmp_path: Path,
) -> None:
    uv = Waiting(tmp_path, dies=dies)
    with subprocess.Popen(
        ["sh", "-c", 'ulimit -c 0; exec "$0" x', uvpip],
        cwd=tmp_path,
        env={**variables, "UVSHIM_UV": str(uv.path)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        uv.has_begun()
        process.send_signal(number)
        assert process.wait(30) == (-number if dies else 5)
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert uv.received() == [number]


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "goes on"])
def test_a_key_on_the_terminal_reaches_uv_once(
    dies: bool,  # noqa: FBT001
    uvpip: Path,
    variables: dict[str, str],
    venv: Venv,
    tmp_path: Path,
) -> None:
    uv = Waiting(tmp_path, dies=dies)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve(uvpip, [str(uvpip), "x"], {**variables, "UVSHIM_UV": str(uv.path)})
    uv.has_begun()
    os.kill(child, signal.SIGSTOP)  # of two signals at once a process would see one
    os.write(terminal, b"\x03")
    uv.has_been_woken()
    os.kill(child, signal.SIGCONT)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    assert status == (-signal.SIGINT if dies else 5)
    assert uv.received() == [signal.SIGINT]


def test_the_end_of_the_terminal_reaches_uv_once_if_uvpip_leads_the_session(
    uvpip: Path, variables: dict[str, str], venv: Venv, tmp_path: Path
) -> None:
    uv = Waiting(tmp_path, dies=True)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve(uvpip, [str(uvpip), "x"], {**variables, "UVSHIM_UV": str(uv.path)})
    uv.has_begun()
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGHUP
    assert uv.received() == [signal.SIGHUP]


def test_an_alarm_that_was_set_for_uvpip_before_it_began_ends_uv(
    run: Run, uvpip: Path, venv: Venv, tmp_path: Path
) -> None:
    """As `perl -e 'alarm 9; exec @ARGV'` does where there is no `timeout`."""
    uv = Waiting(tmp_path, dies=True)
    program = "import os, signal, sys; signal.alarm(2); os.execv(sys.argv[1], sys.argv[1:])"
    done = run(sys.executable, "-c", program, uvpip, "x", UVSHIM_UV=str(uv.path))
    assert done.returncode == -signal.SIGALRM
    assert uv.received() == [signal.SIGALRM]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_if_uv_dies_of_a_signal_a_shell_sees_what_it_would_see_of_uv(
    number: signal.Signals, run: Run, uvpip: Path, venv: Venv, tmp_path: Path
) -> None:
    """A script acts as a uv that is killed."""
    killed = tmp_path / "killed"
    killed.write_text(f'#!/bin/sh\ncase "$*" in *dry-run*) ;; *) kill -{number.value} $$ ;; esac\n')
    killed.chmod(0o755)
    command = ("sh", "-c", 'ulimit -c 0; "$0" x; echo $?', uvpip)
    assert run(*command, UVSHIM_UV=str(killed)).stdout == f"{128 + number}\n"


STATUS = """\
#!/bin/sh
case "$*" in *dry-run*|--version) ;; *) grep ^Sig /proc/self/status ;; esac
"""


def signals(status: str) -> tuple[set[int], set[int]]:
    """Return the signals that are blocked and those that are ignored, in a process's `status`."""
    masks = {line.split(":")[0]: int(line.split(":")[1], 16) for line in status.splitlines()[1:]}
    # 32 and 33 are glibc's own: its posix_spawn has them ignored.
    blocked, unheeded = (
        {number for number in range(1, 32) if masks[name] >> (number - 1) & 1}
        for name in ("SigBlk", "SigIgn")
    )
    return blocked, unheeded


@pytest.mark.parametrize("ignored", [[], ["HUP"], ["PIPE"], ["INT", "TERM"]], ids=str)
@pytest.mark.parametrize("words", [["x"], ["list"]], ids=str)
def test_uv_starts_with_the_original_signal_handling(
    words: list[str], ignored: list[str], run: Run, uvpip: Path, venv: Venv, tmp_path: Path
) -> None:
    """A script acts as uv, and prints which signals are blocked and ignored."""
    status = tmp_path / "status"
    status.write_text(STATUS)
    status.chmod(0o755)
    trap = "".join(f"trap '' {name}; " for name in ignored if name != "PIPE")
    command = ["sh", "-c", trap + '"$0" "$@"']
    seen = run(*command, uvpip, *words, UVSHIM_UV=str(status)).stdout
    plain = run(*command, status, *words).stdout
    assert signals(seen) == signals(plain)


def test_where_the_end_of_children_is_ignored_uvpip_works_nevertheless(
    run: Run, uvpip: Path, venv: Venv, tmp_path: Path
) -> None:
    """`true` acts as a uv that has ended before uvpip waits for it."""
    program = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    program += "os.execv(sys.argv[1], sys.argv[1:])"
    for _ in range(5):
        done = run(sys.executable, "-c", program, uvpip, "x", UVSHIM_UV="/bin/true")
        assert "Traceback" not in done.stderr
        assert done.returncode == 3


# --- before anything is begun ---------------------------------------------------------------------

# It acts as a uv that waits for another one's lock when it is asked.
WAITING = """\
#!/bin/sh
case "$*" in *--dry-run*) touch {here}/asked; exec sleep 60 ;; --version) exit ;; esac
touch {here}/begun
"""

COMMANDS = {
    "uvpip": ("uvpip", "x"),
    "uvshim run": ("uvshim", "run", "--", "touch", "begun"),
    "uvshim fix": ("uvshim", "fix", "python"),
    "uvshim fix, no ENV": ("uvshim", "fix"),
    "uvshim check, no ENV": ("uvshim", "check"),
}


def appears(path: Path, started: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert started.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_signal_while_uv_is_asked_ends_the_command_and_nothing_is_begun(
    command: tuple[str, ...],
    number: signal.Signals,
    variables: dict[str, str],
    installation: Path,
    venv: Venv,
    tmp_path: Path,
) -> None:
    uv = tmp_path / "waiting"
    uv.write_text(WAITING.format(here=tmp_path))
    uv.chmod(0o755)
    (site_packages,) = installation.glob("lib/*/site-packages")
    misnamed = site_packages / "a_b-1.0.dist-info"
    misnamed.mkdir()
    (misnamed / "METADATA").write_text("Name: a.b\nVersion: 1.0\n")
    (misnamed / "RECORD").write_text("a_b-1.0.dist-info/METADATA,,\na_b-1.0.dist-info/RECORD,,\n")
    started = subprocess.Popen(
        [os.path.join(os.path.dirname(sys.executable), command[0]), *command[1:]],
        cwd=tmp_path,
        env={**variables, "UVSHIM_UV": str(uv)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # no terminal: what comes is not from its keys
    )
    appears(tmp_path / "asked", started)
    started.send_signal(number)
    assert started.communicate(timeout=30) == ("", "")
    assert started.returncode == -number
    assert not (tmp_path / "begun").exists()
    assert misnamed.exists()


# Runs uvpip, and waits until a key was pressed.
SLOW_LOOK = """
import signal, sys, time
from uvshim import uvpip
from uvshim.environments import snapshot
def look(environment, take=snapshot.Snapshot.of):
    open("looks", "w").close()
    end = time.monotonic() + 30
    while signal.SIGINT not in signal.sigpending() and time.monotonic() < end:
        time.sleep(0.01)
    return take(environment)
snapshot.Snapshot.of = look
sys.exit(uvpip.main())
"""


def test_a_key_between_the_question_and_the_start_of_uv_ends_uvpip_and_uv_is_not_started(
    variables: dict[str, str], venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", SLOW_LOOK, "--no-index", "-f", str(wheels), "zope.deferred"]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, words, variables)
    end = time.monotonic() + 30
    while not (tmp_path / "looks").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGINT
    os.close(terminal)
    assert venv.dist_infos() == []


FAILS = """
import os
from uvshim.uv.supervisor import Supervisor
def fail():
    raise MemoryError("no more memory")
supervisor = Supervisor()
child = supervisor.start(["/bin/sh", "-c", "sleep 0.3; exit 7"])
os._exit(supervisor.wait(child, while_waiting=fail))
"""


def test_what_fails_while_uv_works_does_not_leave_uv_alone() -> None:
    done = subprocess.run([sys.executable, "-c", FAILS], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (7, b"")


LATE = """
import os, signal, _signal
for name in ("sigwaitinfo", "sigtimedwait"):
    for module in (signal, _signal):
        if hasattr(module, name):
            delattr(module, name)
from uvshim.uv.supervisor import Supervisor
supervisor = Supervisor()
child = supervisor.start(["/bin/true"])
really = os.waitpid
def ends_as_a_signal_comes(*arguments):
    ended = really(*arguments)
    if ended[0]:
        os.kill(os.getpid(), signal.SIGTERM)
    return ended
os.waitpid = ends_as_a_signal_comes
status = supervisor.wait(child)
print("waited for it", status, flush=True)
supervisor.finish(status)
"""


def test_a_signal_that_comes_as_uv_has_just_ended_is_for_us_where_nobody_tells_who_sent_it() -> (
    None
):
    done = subprocess.run([sys.executable, "-c", LATE], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "waited for it 0\n", "")


# --- programs and their output ---------------------------------------------------------------------


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """A supervisor in this process."""
    supervisor = Supervisor()
    yield supervisor
    supervisor.release()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@pytest.mark.parametrize("kept", ["in memory", "in a file, as on macOS"])
def test_kept_output_is_that_of_both_streams(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    if kept != "in memory":
        monkeypatch.delattr(os, "memfd_create")
    script = "cat; printf 'out '; printf '\\377 err' >&2; exit 7"
    child = supervisor.start(["/bin/sh", "-c", script], keep_output=True)
    assert supervisor.wait(child) == 7
    assert child.output() == os.fsdecode(b"out \xff err")


def test_a_program_has_the_variables_that_it_is_given_and_else_ours(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "1")
    for given, expected in ((None, "1-"), ({"THEIRS": "2"}, "-2")):
        child = supervisor.start(
            ["/bin/sh", "-c", 'printf %s "$OURS-$THEIRS"'], given, keep_output=True
        )
        assert (supervisor.wait(child), child.output()) == (0, expected)


def test_of_a_program_whose_output_is_not_kept_nothing_is_reported(
    supervisor: Supervisor,
) -> None:
    child = supervisor.start(["/bin/true"])
    assert (supervisor.wait(child), child.output()) == (0, "")


def test_what_cannot_be_run_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    for name in ("text", "missing"):
        with pytest.raises(CannotRunError, match=str(tmp_path / name)):
            supervisor.start([str(tmp_path / name)])


# `os.kill` of another user's process, as that of sudo, is a fake: it needs a program with setuid.
REFUSED = """
import os, signal
from uvshim.uv.supervisor import Supervisor

kill = os.kill
receiver, sender = os.pipe()
os.dup2(receiver, 0)

def refuse(process, number):
    if process == os.getpid():
        return kill(process, number)
    os.write(sender, b"go on\\n")
    raise PermissionError

os.kill = refuse
supervisor = Supervisor()
child = supervisor.start(["/bin/sh", "-c", "read line && echo $line"])
kill(os.getpid(), signal.SIGTERM)
status = supervisor.wait(child)
print(status, flush=True)
supervisor.finish(status)
"""


def test_a_signal_that_the_child_may_not_get_ends_us_when_the_child_has_ended() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, b"go on\n0\n", b"")
