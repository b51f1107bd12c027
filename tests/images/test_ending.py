"""After a signal, the run removes its copy of an image, then ends by that signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.corpus import write
from uvshim.images import ending

if TYPE_CHECKING:
    from collections.abc import Iterator

# It copies a part of an image, prints its process number, and waits for ever.
SKOPEO = """#!/bin/sh
if [ $1 = inspect ]; then exit 1; fi
for last; do :; done
echo part >"${last#dir:}/blob"
echo $$ >"$STARTED"
exec cat "$NEVER"
"""

CHECK = ["check", "--no-cache", "--jobs", "2", "docker://no.example/a"]
FIX = ["fix", "docker://no.example/a", "--output", "docker://no.example/b"]


class Run:
    """A run of `uvshim` that copies images for ever."""

    def __init__(self, directory: Path) -> None:
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        skopeo = directory / "bin" / "skopeo"
        skopeo.parent.mkdir()
        skopeo.write_text(SKOPEO)
        skopeo.chmod(0o755)
        pipes = [str(directory / name) for name in ("started", "never")]
        for pipe in pipes:
            os.mkfifo(pipe)
        self._started, self._never = (open(os.open(pipe, os.O_RDWR), "rb") for pipe in pipes)  # noqa: SIM115
        self._environment = os.environ | {
            "PATH": f"{skopeo.parent}:/usr/bin:/bin",
            "TMPDIR": str(self.temporary),
            "STARTED": pipes[0],
            "NEVER": pipes[1],
        }

    def start(self, *words: str, through: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*through, sys.executable, "-m", "uvshim", *words],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def copying(self) -> int:
        """Return the process that copies the next image, once it has begun."""
        return int(self._started.readline())

    def copies(self) -> int:
        return len([*self.temporary.rglob("blob")])

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal, and return the exit code and output of the run."""
        self.process.send_signal(number)
        said, _ = self.process.communicate()
        return self.process.returncode, said

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._started.close()
        self._never.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    found = Run(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "copies"),
    [(CHECK, 1), ([*CHECK, "docker://no.example/b"], 2), (FIX, 1)],
    ids=["check", "check of two", "fix"],
)
def test_what_was_copied_is_removed(
    run: Run, words: list[str], copies: int, number: signal.Signals
) -> None:
    run.start(*words)
    skopeos = [run.copying() for _ in range(copies)]
    assert run.copies() == copies
    assert run.end(number) == (-number, "")
    assert not [*run.temporary.iterdir()]
    end = time.monotonic() + 30
    while any(map(is_running, skopeos)):  # killed with their group, but not waited for
        assert time.monotonic() < end


def test_no_process_outlives_a_killed_survey(run: Run) -> None:
    run.start(*CHECK, "docker://no.example/b")
    skopeos = [run.copying(), run.copying()]
    workers = [int(Path(f"/proc/{each}/stat").read_text().split()[3]) for each in skopeos]
    assert run.process.pid not in workers
    run.process.kill()
    end = time.monotonic() + 30
    while any(map(is_running, workers)):
        assert time.monotonic() < end
    for each in skopeos:
        os.kill(each, signal.SIGKILL)  # a real one ends with its work
    run.process.communicate()


def is_running(process: int) -> bool:
    """Return True if a process is there and has not ended. A container's first one may reap none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_signal_that_is_ignored_stays_ignored(run: Run) -> None:
    """As after `nohup`."""
    run.start(*CHECK, through=("sh", "-c", 'trap "" HUP; exec "$@"', "sh"))
    run.copying()
    run.process.send_signal(signal.SIGHUP)
    assert run.end(signal.SIGTERM) == (-signal.SIGTERM, "")
    assert not [*run.temporary.iterdir()]


def test_a_process_of_a_pool_cleans_up_after_itself(run: Run) -> None:
    """A worker that is ended alone is replaced."""
    run.start(*CHECK, "docker://no.example/b")
    skopeos = [run.copying(), run.copying()]
    above = int(Path(f"/proc/{skopeos[0]}/stat").read_text().split()[3])
    assert above != run.process.pid
    os.kill(above, signal.SIGTERM)
    assert run.copying() not in skopeos
    assert run.copies() == 1
    assert run.end(signal.SIGTERM) == (-signal.SIGTERM, "")
    assert not [*run.temporary.iterdir()]


def test_what_a_killed_run_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    script = (
        "import os, sys; from uvshim.images import ending\n"
        f"with ending.directory({str(tmp_path)!r}) as path:\n"
        "    open(path + '/big', 'w').close(); print(path, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as run:
        assert run.stdout is not None
        other = Path(run.stdout.readline().strip())
        (tmp_path / "uvshim.run-file").touch()
        (tmp_path / "uvshim.run-link").symlink_to(other)
        write({"notes": "mine"}, tmp_path / "uvshim.run-mine")
        with ending.directory(str(tmp_path)) as own:
            assert (other / "big").exists()  # that run goes on
        assert not os.path.exists(own)
        run.kill()
        run.wait()
    with ending.directory(str(tmp_path)) as own:
        assert not other.exists()
    assert sorted(os.listdir(tmp_path)) == [
        f"uvshim.run-{each}" for each in ("file", "link", "mine")
    ]
    assert (tmp_path / "uvshim.run-mine/notes").exists()


def test_a_directory_that_another_run_removes_before_it_is_locked_is_made_again(
    tmp_path: Path,
) -> None:
    made: list[Path] = []

    def make() -> str:
        made.append(tmp_path / str(len(made)))
        if len(made) > 1:
            made[-1].mkdir()
        return str(made[-1])

    with ending.locked(make) as path:
        assert path == str(tmp_path / "1")
    assert len(made) == 2


def test_two_signals_at_once_are_one_end_without_a_word() -> None:
    """As with Ctrl-C during a survey: the terminal's SIGINT and the SIGTERM of the first process."""
    both = "{signal.SIGINT, signal.SIGTERM}"
    code = (
        "import os, signal\n"
        "from uvshim.images import ending\n"
        "with ending.cleanly():\n"
        f"    signal.pthread_sigmask(signal.SIG_BLOCK, {both})\n"
        f"    for each in {both}:\n"
        "        os.kill(os.getpid(), each)\n"
        f"    signal.pthread_sigmask(signal.SIG_UNBLOCK, {both})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")
