"""Measure uvpip beside uv, the snippet that is pasted in its place, and pip; print the ratios.

What is compared runs in turn (A B C A B C …), so that a machine whose speed drifts drifts for all;
a ratio is that of two runs next to each other, and is printed as its median and its quartiles.
Times are wall-clock times of whole processes, memory is the largest resident set of one process
(getrusage). Run it by `make bench`; it needs the package index once, to fill uv's cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
CORPORA = ROOT / "tests" / "corpora"
BIN = Path(sys.executable).parent

# How many distributions the snippet is given at the most.
_SNIPPET_UP_TO = 200

# What is pasted where this program is not known (with the version put right): the time to beat.
SNIPPET = """
import pathlib, sys
for info in pathlib.Path(sys.argv[1]).glob("*.dist-info"):
    for line in (info / "METADATA").read_text().splitlines():
        if line.startswith("Name: "):
            name = line[6:].strip()
            break
    if "." in name:
        version = info.name.split("-")[1].removesuffix(".dist-info")
        info.rename(info.parent / f"{name.replace('-', '_')}-{version}.dist-info")
"""


class Run(NamedTuple):
    """What one run of a command took."""

    seconds: float
    mebibytes: float


def measured(*command: str | Path, may_fail: bool = False) -> Run:
    """Run `command` once, with its output thrown away. Exits if it fails and may not."""
    words = [str(word) for word in command]
    null = os.open(os.devnull, os.O_RDWR)
    begin = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, null, stream) for stream in (0, 1, 2)]
    pid = os.posix_spawn(words[0], words, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    os.close(null)
    if status != 0 and not may_fail:
        sys.exit(f"failed: {' '.join(words)}")
    return Run(seconds, usage.ru_maxrss / 1024)


def ratio(of: list[Run], to: list[Run]) -> str:
    """Return the median of the ratios, run by run, and their quartiles."""
    ratios = [one.seconds / other.seconds for one, other in zip(of, to, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def line(name: str, runs: list[Run]) -> None:
    """Print the median time and the peak memory of `runs`."""
    median = statistics.median(run.seconds for run in runs) * 1000
    least = min(run.seconds for run in runs) * 1000
    peak = max(run.mebibytes for run in runs)
    print(f"  {name:34} {median:9.1f} ms   least {least:9.1f} ms   peak {peak:6.1f} MiB")


def virtual_environment(path: Path) -> Path:
    """Make a new virtual environment at `path`."""
    shutil.rmtree(path, ignore_errors=True)
    subprocess.run([BIN / "uv", "venv", "-q", "-p", sys.executable, path], check=True)
    return path


def nothing_to_do(work: Path, rounds: int) -> None:
    """Measure an install of what is installed already."""
    print("\n1. Nothing to do: the requirement is satisfied")
    venv = virtual_environment(work / "nothing")
    wanted: list[str | Path] = ["--python", venv, "six"]
    subprocess.run([BIN / "uv", "pip", "install", "-q", *wanted], check=True)
    bare, uv, uvpip = [], [], []
    for _ in range(rounds):
        bare.append(measured(BIN / "python", "-c", "pass"))
        uv.append(measured(BIN / "uv", "pip", "install", *wanted))
        uvpip.append(measured(BIN / "uvpip", *wanted))
    line("python -c pass", bare)
    line("uv pip install", uv)
    line("uvpip", uvpip)
    added = [Run(one.seconds - other.seconds, 0) for one, other in zip(uvpip, uv, strict=True)]
    print(f"  uvpip less uv, in interpreter start-ups: {ratio(added, bare)}")


def openstack(work: Path, rounds: int) -> None:
    """Measure the OpenStack 2025.2 set from a warm cache into new environments."""
    print("\n2. OpenStack 2025.2, 265 distributions, from a warm cache into a new environment")
    snippet = work / "snippet.py"
    snippet.write_text(SNIPPET)
    wanted: list[str | Path] = ["--no-deps", "-r", CORPORA / "openstack-2025.2.txt"]
    uv_wanted = [*wanted, "--build-constraints", CORPORA / "build-constraints.txt"]
    venv = virtual_environment(work / "openstack")
    subprocess.run([BIN / "uv", "pip", "install", "-q", "-p", venv, *uv_wanted], check=True)
    uv, uvpip, pasted = [], [], []

    def with_uv() -> None:
        virtual_environment(venv)
        uv.append(measured(BIN / "uv", "pip", "install", "-p", venv, *uv_wanted))
        (site_packages,) = venv.glob("lib/*/site-packages")
        rename = measured(venv / "bin" / "python", snippet, site_packages)
        pasted.append(Run(uv[-1].seconds + rename.seconds, uv[-1].mebibytes))

    def with_uvpip() -> None:
        virtual_environment(venv)
        uvpip.append(measured(BIN / "uvpip", "-p", venv, *uv_wanted))

    for number in range(rounds):  # each goes first as often: the disk may still be at the last one
        for run in (with_uv, with_uvpip) if number % 2 else (with_uvpip, with_uv):
            run()
    for _ in range(2):  # the first one fills pip's own cache
        virtual_environment(venv)
        options = ["--python", venv, "install", "--disable-pip-version-check", *wanted]
        options += ["--build-constraint", CORPORA / "build-constraints.txt"]
        pip = [measured(BIN / "uv", "tool", "run", "--from", "pip>=25.3", "pip", *options)]
    line("uv pip install", uv)
    line("uvpip", uvpip)
    line("uv pip install, then the snippet", pasted)
    line("pip install (once)", pip)
    print(f"  uvpip to uv: {ratio(uvpip, uv)};  snippet to uv: {ratio(pasted, uv)}")


def populate(directory: Path, dotted: int, plain: int) -> Path:
    """Make a site-packages directory with so many small distributions of either kind."""
    shutil.rmtree(directory, ignore_errors=True)
    for number in range(dotted + plain):
        name = f"made.up{number}" if number < dotted else f"made-up-{number}"
        info = directory / f"{name.replace('.', '_').replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        files = [f"{info.name}/{file}" for file in ("METADATA", "WHEEL", "INSTALLER")]
        files += [f"made_up{number}/module{index}.py" for index in range(12)]
        (info / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in sorted(files)))
    return directory


def rename_alone(work: Path) -> None:
    """Measure the rename in a process of its own, without its start."""
    print("\n3. The rename alone, among as many plain distributions")
    code = (
        "import os, sys, time\n"
        "from uvshim.watch import Watch, load\n"
        "from uvshim.environments.snapshot import Snapshot\n"
        "from uvshim import {module} as module\n"
        "paths = sorted(Snapshot.take([sys.argv[1]]).states)\n"
        "begin = time.perf_counter()\n"
        "outcome = module.renormalize_directories(paths, lambda name: '.' in name)\n"
        "print(time.perf_counter() - begin, len(outcome.renamed))\n"
    ).replace("{module}", "renaming")
    snippet = work / "snippet.py"
    snippet.write_text(SNIPPET)
    for count in (10, 100, 200, 1000, 10000):
        times, pasted = [], []
        for _ in range(3):
            site_packages = populate(work / "many", count, count)
            done = subprocess.run(
                [sys.executable, "-c", code, site_packages],
                capture_output=True,
                text=True,
                check=True,
            )
            seconds, renamed = done.stdout.split()
            if int(renamed) != count:
                sys.exit(f"{renamed} renamed instead of {count}")
            times.append(float(seconds))
            if count <= _SNIPPET_UP_TO:
                populate(work / "many", count, count)
                pasted.append(measured(sys.executable, snippet, work / "many").seconds)
        median = statistics.median(times) * 1000
        beside = (
            f"   the snippet's process {statistics.median(pasted) * 1000:.1f} ms" if pasted else ""
        )
        print(f"  {count:6} dotted {median:9.1f} ms   {median / count:6.3f} ms each{beside}")


def snapshot_alone(work: Path) -> None:
    """Measure the snapshot, less what a listing of the directory takes."""
    print("\n4. The snapshot alone: cost above a listing of the directory")
    code = (
        "import os, sys, time\n"
        "from uvshim.environments.snapshot import Snapshot\n"
        "def least(function, rounds=15):\n"
        "    def once():\n"
        "        begin = time.perf_counter(); function(); return time.perf_counter() - begin\n"
        "    return min(once() for _ in range(rounds))\n"
        "def listing():\n"
        "    with os.scandir(sys.argv[1]) as entries:\n"
        "        for entry in entries: pass\n"
        "print(least(lambda: Snapshot.take([sys.argv[1]])), least(listing))\n"
    )
    for count in (100, 1000, 10000):
        site_packages = populate(work / "many", count // 10, count - count // 10)
        done = subprocess.run(
            [sys.executable, "-c", code, site_packages], capture_output=True, text=True, check=True
        )
        whole, listing = map(float, done.stdout.split())
        each = (whole - listing) / count * 1e6
        print(
            f"  {count:6} directories {whole * 1000:8.2f} ms   "
            f"{each:5.2f} µs each above the listing"
        )


def check(work: Path, rounds: int) -> None:
    """Measure `uvshim check` on real environments and on large ones."""
    print("\n5. uvshim check")

    def examined(name: str, place: Path) -> None:
        uvshim = BIN / "uvshim"
        line(name, [measured(uvshim, "check", place, may_fail=True) for _ in range(rounds)])

    line("python -c pass", [measured(BIN / "python", "-c", "pass") for _ in range(rounds)])
    for corpus in ("magnum-2025.1", "openstack-2025.2"):
        venv = virtual_environment(work / corpus)
        wanted: list[str | Path] = ["--no-deps", "-r", CORPORA / f"{corpus}.txt"]
        wanted += ["--build-constraints", CORPORA / "build-constraints.txt"]
        subprocess.run([BIN / "uv", "pip", "install", "-q", "-p", venv, *wanted], check=True)
        examined(corpus, venv)
    examined("5,000 distributions", populate(work / "site-packages", 2500, 2500))
    without = populate(work / "site-packages", 0, 500)
    for info in without.iterdir():
        info.rename(info.with_name(info.name.replace("made_up_", "madeup")))
    examined("500 without a dot", without)


def main() -> None:
    """Run all of it, or the parts that are named on the command line by number."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uvshim-bench-", dir=ROOT / ".cache") as directory:
        work = Path(directory)
        (work / "pyproject.toml").touch()  # the nearest one, which says nothing of uvshim
        os.chdir(work)
        os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        parts = {
            1: lambda: nothing_to_do(work, options.rounds),
            2: lambda: openstack(work, max(options.rounds // 4, 3)),
            3: lambda: rename_alone(work),
            4: lambda: snapshot_alone(work),
            5: lambda: check(work, max(options.rounds // 4, 3)),
        }
        for part in options.parts:
            parts[part]()


if __name__ == "__main__":
    main()
