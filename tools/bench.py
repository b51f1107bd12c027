"""Compare uvpip with uv, the copy-and-paste snippet and pip; print times and ratios (`make bench`).

Commands that are compared run in turn, in alternating order, after a `sync`: if the speed of the
machine changes, it changes for all. Each run has its own environment, and environments are removed
only at the end: shortly after many files were removed, ext4 takes up to three times as long to
create one. Ratios are those of neighbouring runs, printed as their median and quartiles. Times are
wall-clock times of whole processes. Memory is the largest resident set of one process (getrusage).
The package index is needed once, to fill uv's cache.
"""

from __future__ import annotations

import argparse
import compileall
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).parent.parent
CORPORA = ROOT / "tests" / "corpora"
BIN = Path(sys.executable).parent

# The real sets, smallest RECORDs first.
SETS = ("magnum-2025.1", "openstack-2025.2", "plone-6.2")

# The copy-and-paste fix, with the version corrected: uvpip should be faster.
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

# The rename in its own process, without the start of Python: seconds, and the renamed paths. With
# the words of a command, only what that installs is renamed, as by uvpip.
RENAME = """
import os, subprocess, sys, time
from uvshim import Snapshot, renormalize
os.mkdir(sys.argv[1] + "/nothing")
renormalize(sys.argv[1] + "/nothing")  # load every module that is needed
before = Snapshot.take([sys.argv[1]]) if sys.argv[2:] else None
if before:
    subprocess.run(sys.argv[2:], check=True)
os.sync()
begin = time.perf_counter()
outcome = renormalize(sys.argv[1], since=before)
print(time.perf_counter() - begin, *(each.path for each in outcome.renamed), sep="\\n")
"""

# The modules that a run with nothing to rename loads, then those that a rename needs: milliseconds.
IMPORTS = """
import time
import uvshim.uvpip, uvshim.environments.snapshot, uvshim.uv.question, uvshim.uv.supervisor
begin = time.perf_counter()
import uvshim.after_install, uvshim.messages
print((time.perf_counter() - begin) * 1000)
"""

# The snapshot and a bare listing of the same directory: seconds, each the least of fifteen.
SNAPSHOT = """
import os, sys, time
from uvshim.environments.snapshot import Snapshot
def least(function, rounds=15):
    def once():
        begin = time.perf_counter(); function(); return time.perf_counter() - begin
    return min(once() for _ in range(rounds))
def listing():
    with os.scandir(sys.argv[1]) as entries:
        for entry in entries: pass
print(least(lambda: Snapshot.take([sys.argv[1]])), least(listing))
"""


class Run(NamedTuple):
    """The time and memory that one run of a command took."""

    seconds: float
    mebibytes: float


def measured(*command: str | Path, may_fail: bool = False) -> Run:
    """Run `command` once, without its output. Exit if it fails, unless it may."""
    words = [str(word) for word in command]
    null = os.open(os.devnull, os.O_RDWR)
    os.sync()
    begin = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, null, stream) for stream in (0, 1, 2)]
    pid = os.posix_spawn(words[0], words, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    os.close(null)
    if status != 0 and not may_fail:
        sys.exit(f"failed: {' '.join(words)}")
    return Run(seconds, usage.ru_maxrss / 1024)


def alternating(rounds: int, *runs: Callable[[], None]) -> None:
    """Call all of `runs` in turn, `rounds` times, in alternating order."""
    for number in range(rounds):
        for run in runs if number % 2 else runs[::-1]:
            run()


def less(one: list[Run], other: list[Run]) -> list[Run]:
    """Return how much longer the runs of `one` take than those of `other`, pair by pair."""
    pairs = zip(one, other, strict=True)
    return [Run(one.seconds - other.seconds, one.mebibytes) for one, other in pairs]


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


def virtual_environment(directory: Path) -> Path:
    """Make a new virtual environment in `directory`, and return its path."""
    directory.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=directory))
    subprocess.run([BIN / "uv", "venv", "-q", "-p", sys.executable, path], check=True)
    return path


def wanted(name: str) -> list[str | Path]:
    """Return the arguments that install the real set `name`."""
    constraints: list[str | Path] = ["--build-constraints", CORPORA / "build-constraints.txt"]
    return ["--no-deps", "-r", CORPORA / f"{name}.txt", *constraints]


def installed(name: str, directory: Path) -> Path:
    """Install the real set `name` by uv into a new environment in `directory`; return its path."""
    venv = virtual_environment(directory)
    subprocess.run([BIN / "uv", "pip", "install", "-q", "-p", venv, *wanted(name)], check=True)
    return venv


def site_packages_of(venv: Path) -> Path:
    """Return the site-packages directory of the virtual environment `venv`."""
    (site_packages,) = venv.glob("lib/*/site-packages")
    return site_packages


def rows(directories: Iterable[str]) -> int:
    """Return how many rows there are in the RECORDs of the dist-info `directories`."""
    count = 0
    for directory in directories:
        with open(os.path.join(directory, "RECORD"), newline="", encoding="utf-8") as record:
            count += sum(1 for _ in csv.reader(record))
    return count


def nothing_to_do(work: Path, rounds: int) -> None:
    """Measure an install with nothing to do, outside of a project and in one that names uvshim."""
    print("\n1. Nothing to do: the requirement is satisfied")
    venv = virtual_environment(work / "nothing")
    six: list[str | Path] = ["--python", venv, "six"]
    subprocess.run([BIN / "uv", "pip", "install", "-q", *six], check=True)
    project = work / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\ndependencies = ["uvshim"]\n'
        '[project.scripts]\nuvshim = "uvshim.cli:main"\n'
    )
    bare: list[Run] = []
    uv: list[Run] = []
    uvpip: list[Run] = []
    in_project: list[Run] = []
    directory: list[str | Path] = ["--directory", project]
    alternating(
        rounds,
        lambda: bare.append(measured(BIN / "python", "-c", "pass")),
        lambda: uv.append(measured(BIN / "uv", "pip", "install", *six)),
        lambda: uvpip.append(measured(BIN / "uvpip", *six)),
        lambda: in_project.append(measured(BIN / "uvpip", *directory, *six)),
    )
    line("python -c pass", bare)
    line("uv pip install", uv)
    for name, runs in (("uvpip", uvpip), ("uvpip in a project that needs it", in_project)):
        line(name, runs)
        print(f"    less uv, in interpreter starts: {ratio(less(runs, uv), bare)}")


def real_installs(work: Path, rounds: int) -> None:
    """Measure the real sets from a warm cache into new environments."""
    print("\n2. Real sets, from a warm cache into a new environment")
    snippet = work / "snippet.py"
    snippet.write_text(SNIPPET)
    real = work / "real"

    def compared(name: str) -> None:
        installed(name, real)  # fills uv's cache
        bare: list[Run] = []
        uv: list[Run] = []
        uvpip: list[Run] = []
        pasted: list[Run] = []

        def with_uv() -> None:
            bare.append(measured(BIN / "python", "-c", "pass"))
            venv = virtual_environment(real)
            uv.append(measured(BIN / "uv", "pip", "install", "-p", venv, *wanted(name)))
            rename = measured(venv / "bin" / "python", snippet, site_packages_of(venv))
            pasted.append(Run(uv[-1].seconds + rename.seconds, uv[-1].mebibytes))

        def with_uvpip() -> None:
            venv = virtual_environment(real)
            uvpip.append(measured(BIN / "uvpip", "-p", venv, *wanted(name)))

        alternating(rounds, with_uv, with_uvpip)
        print(f"  {name}")
        line("uv pip install", uv)
        line("uvpip", uvpip)
        line("uv pip install, then the snippet", pasted)
        print(f"    uvpip to uv: {ratio(uvpip, uv)};  snippet to uv: {ratio(pasted, uv)}")
        added = less(uvpip, uv)
        print(f"    uvpip less uv, in interpreter starts: {ratio(added, bare)}")
        print(f"    uvpip less uv, to the snippet less uv: {ratio(added, less(pasted, uv))}")

    for name in SETS:
        compared(name)


def real_renames(work: Path, rounds: int) -> None:
    """Measure the rename alone, and `uvshim fix`, in the real sets as plain uv installs them."""
    print("\n3. The rename alone in the real sets, and the whole of `uvshim fix`")
    real = work / "real"
    for name in SETS:
        alone = []
        for _ in range(rounds):
            venv = virtual_environment(real)
            install = [BIN / "uv", "pip", "install", "-q", "-p", venv, *wanted(name)]
            seconds, renamed = rename_alone(site_packages_of(venv), *install)
            alone.append(seconds)
        shown(name, alone, len(renamed), rows(renamed))
        bare, fix = [], []
        for _ in range(rounds):
            venv = installed(name, real)
            bare.append(measured(BIN / "python", "-c", "pass"))
            fix.append(measured(BIN / "uvshim", "fix", venv))
        line("uvshim fix", fix)
        added = statistics.median(run.seconds for run in less(fix, bare))
        print(f"    less an interpreter's start: {added * 1000:.1f} ms")
    loaded = min(float(measured_imports()) for _ in range(rounds))
    print(f"  loading what a rename needs beyond a run without one: {loaded:.1f} ms")


def measured_imports() -> str:
    """Return how many milliseconds a Python takes to load what a rename needs."""
    command = [sys.executable, "-c", IMPORTS]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def rename_alone(site_packages: Path, *install: str | Path) -> tuple[float, list[str]]:
    """Rename the directories in `site_packages`; return the seconds and the renamed paths.

    If the command `install` is given, it is run first, and what it installs is renamed.
    """
    command = [sys.executable, "-c", RENAME, site_packages, *install]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, *renamed = done.stdout.splitlines()
    return float(seconds), renamed


def shown(name: str, seconds: list[float], renamed: int, rows: int) -> None:
    """Print how long it took to rename so many distributions with so many rows."""
    median, least = statistics.median(seconds), min(seconds)
    print(
        f"  {name:18} {renamed:6} renamed, {rows:8} rows: {median * 1000:8.1f} ms"
        f"  (least {least * 1000:.1f})   {median / renamed * 1000:6.3f} ms each"
        f"   {median / rows * 1e9:6.0f} ns a row"
    )


def populate(work: Path, dotted: int, plain: int, files: int = 12) -> Path:
    """Create a site-packages directory with so many small distributions of both kinds."""
    directory = Path(tempfile.mkdtemp(dir=work)) / "site-packages"
    for number in range(dotted + plain):
        name = f"made.up{number}" if number < dotted else f"made-up-{number}"
        info = directory / f"{name.replace('.', '_').replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        own = [f"{info.name}/{file}" for file in ("METADATA", "WHEEL", "INSTALLER")]
        own += [f"made_up{number}/module{index}.py" for index in range(files)]
        content = "".join(f"{file},sha256={'x' * 43},1\n" for file in sorted(own))
        (info / "RECORD").write_text(content)
    return directory


def made_up_renames(work: Path) -> None:
    """Measure the rename of many distributions, and of a few with many rows: both are linear."""
    print("\n4. The rename alone of made-up ones: first many of them, then many rows in each")
    snippet = work / "snippet.py"
    snippet.write_text(SNIPPET)
    small = 12
    for count, files in (
        *((count, small) for count in (10, 100, 200, 1000, 10000)),
        *((100, files) for files in (100, 1000, 10000)),
    ):
        times, pasted = [], []
        for _ in range(3):
            seconds, renamed = rename_alone(populate(work, count, 0, files))
            if len(renamed) != count:
                sys.exit(f"{len(renamed)} renamed instead of {count}")
            times.append(seconds)
            many = populate(work, count, 0, files)
            pasted.append(measured(sys.executable, snippet, many).seconds)
        shown(f"{files + 3} rows", times, count, count * (files + 3))
        print(f"    the snippet's process {statistics.median(pasted) * 1000:.1f} ms")


def snapshot_alone(work: Path) -> None:
    """Measure how much longer the snapshot takes than a listing of the directory."""
    print("\n5. The snapshot alone: cost above a listing of the directory")
    for count in (100, 1000, 10000):
        site_packages = populate(work, count // 10, count - count // 10)
        done = subprocess.run(
            [sys.executable, "-c", SNAPSHOT, site_packages],
            capture_output=True,
            text=True,
            check=True,
        )
        whole, listing = map(float, done.stdout.split())
        each = (whole - listing) / count * 1e6
        print(
            f"  {count:6} directories {whole * 1000:8.2f} ms   "
            f"{each:5.2f} µs each above the listing"
        )


def check(work: Path, rounds: int) -> None:
    """Measure `uvshim check` on real environments and on large ones."""
    print("\n6. uvshim check")

    def examined(name: str, place: Path) -> None:
        uvshim = BIN / "uvshim"
        line(name, [measured(uvshim, "check", place, may_fail=True) for _ in range(rounds)])

    line("python -c pass", [measured(BIN / "python", "-c", "pass") for _ in range(rounds)])
    for name in SETS:
        examined(name, installed(name, work / "real"))
    examined("5,000 distributions", populate(work, 2500, 2500))
    without = populate(work, 0, 500)
    for info in without.iterdir():
        info.rename(info.with_name(info.name.replace("made_up_", "madeup")))
    examined("500 without a dot", without)


def pip_once(work: Path) -> None:
    """Measure pip with the OpenStack set, from its own cache."""
    print("\n7. pip, with OpenStack 2025.2 from its own cache")
    name = "openstack-2025.2"
    for _ in range(2):  # the first one fills that cache
        venv = virtual_environment(work / "real")
        options: list[str | Path] = ["--python", venv, "install", "--disable-pip-version-check"]
        options += ["--no-deps", "-r", CORPORA / f"{name}.txt"]
        options += ["--build-constraint", CORPORA / "build-constraints.txt"]
        pip = [measured(BIN / "uv", "tool", "run", "--from", "pip>=25.3", "pip", *options)]
    line("pip install (once)", pip)


def main() -> None:
    """Run all parts, or those with the numbers on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", type=int, default=[1, 2, 3, 4, 5, 6, 7])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument(
        "--directory", help="where to install: on the disk of uv's cache, in no project"
    )
    options = parser.parse_args()
    few = max(options.rounds // 3, 3)
    compileall.compile_dir(ROOT / "uvshim", quiet=1)  # as an installer does
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # with it, dependencies are compiled each time
    with tempfile.TemporaryDirectory(prefix="uvshim-bench-", dir=options.directory) as directory:
        work = Path(directory)
        os.chdir(work)
        os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        parts: dict[int, Callable[[], None]] = {
            1: lambda: nothing_to_do(work, options.rounds),
            2: lambda: real_installs(work, few),
            3: lambda: real_renames(work, few),
            4: lambda: made_up_renames(work),
            5: lambda: snapshot_alone(work),
            6: lambda: check(work, few),
            7: lambda: pip_once(work),
        }
        for part in options.parts:
            parts[part]()


if __name__ == "__main__":
    main()
