"""A survey on a real Dask cluster, with workers that die."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

import uvshim
from tests.corpus import installed, under
from tests.images.making import layout, tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

pytestmark = pytest.mark.index

SITE = "opt/app/lib/python3.11/site-packages"
BASE = tar(
    {
        **under(
            SITE,
            installed("setuptools-75.8.0", "setuptools"),
            installed("zope_interface-1.0", "zope.interface"),
        ),
        "opt/app/pyvenv.cfg": "home = /usr/bin\n",
    }
)


class Cluster:
    """A scheduler and workers, each its own process, on this machine."""

    def __init__(self, stack: ExitStack, directory: Path, workers: int = 2) -> None:
        self._stack = stack
        self._directory = directory
        command = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        scheduler = self._start(*command)
        self.address = self._said(scheduler, r"Scheduler at: +(tcp://[0-9.:]+)")
        self.workers = [self._worker() for _ in range(workers)]

    def _worker(self) -> subprocess.Popen[str]:
        worker = self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard"
        )
        self._said(worker, r"Registered to: +(tcp)")
        return worker

    def _start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]],
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._directory,
            env={**os.environ, "XDG_CACHE_HOME": str(self._directory / "cache")},
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _said(self, process: subprocess.Popen[str], pattern: str) -> str:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(pattern, line):
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return found[1]
        pytest.fail(f"a process of the cluster has ended: {process.args!r}")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(stack, tmp_path)


def images(directory: Path, count: int) -> list[Path]:
    return [layout(directory / str(n), [BASE, tar({f"file{n}": ""})]) for n in range(count)]


def test_a_scheduler_s_workers_give_the_answers(
    cluster: Cluster, run: Run, uvshim: Path, tmp_path: Path
) -> None:
    paths = images(tmp_path, 4)
    here = run(uvshim, "check", "--format", "json", *paths, "oci:no")
    there = run(
        uvshim, "check", "--format", "json", "--scheduler", cluster.address, *paths, "oci:no"
    )
    assert there.returncode == 2
    assert there.stdout == here.stdout.replace("`no` does", f"`{tmp_path}/no` does")


def test_a_scheduler_without_workers_is_an_error(run: Run, uvshim: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        address = Cluster(stack, tmp_path, workers=0).address
        done = run(uvshim, "check", "--scheduler", address, *images(tmp_path, 1))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: the Dask scheduler at `{address}` has no workers\n"


@pytest.mark.parametrize("what", [b"", b"HTTP/1.1 400 Bad Request\r\n" * 9])
def test_something_else_than_a_scheduler_is_an_error(
    run: Run, uvshim: Path, tmp_path: Path, what: bytes
) -> None:
    """It accepts the connection, and is silent or does not speak Dask's protocol."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            with contextlib.suppress(OSError):
                while connection := server.accept()[0]:
                    connection.sendall(what)
                    kept.append(connection)

        kept: list[socket.socket] = []
        threading.Thread(target=answer, daemon=True).start()
        done = run(uvshim, "check", "--scheduler", address, *images(tmp_path, 1))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: no Dask scheduler answers at `{address}`: ")


def _tasks(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_survey_whose_workers_are_busy(
    cluster: Cluster, uvshim: Path, tmp_path: Path, number: int
) -> None:
    """Stopped workers never answer."""
    from distributed import Client

    for worker in cluster.workers:
        worker.send_signal(signal.SIGSTOP)
    started = subprocess.Popen(
        [uvshim, "check", "--scheduler", cluster.address, *images(tmp_path, 2)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        with Client(cluster.address) as client:  # type: ignore[no-untyped-call]
            while not client.run_on_scheduler(_tasks):
                assert started.poll() is None
                time.sleep(0.05)
        started.send_signal(number)
        assert started.wait(30) == -number
    finally:
        started.kill()
        for worker in cluster.workers:
            worker.send_signal(signal.SIGCONT)


def test_a_worker_that_is_killed_costs_no_answer(cluster: Cluster, tmp_path: Path) -> None:
    from distributed import Client

    paths = images(tmp_path, 40)
    with Client(cluster.address) as client, client.get_executor(pure=False) as executor:  # type: ignore[no-untyped-call]
        answers = uvshim.survey(paths, executor, cache=None)
        first = [next(answers)]
        cluster.workers[0].send_signal(signal.SIGKILL)
        rest = list(answers)
    assert {answer.reference for answer in first + rest} == set(map(str, paths))
    assert [answer.error for answer in first + rest if answer.error] == []
    assert all(answer.images[0].broken for answer in first + rest)
    assert cluster.workers[0].wait() == -signal.SIGKILL
    assert cluster.workers[1].poll() is None
