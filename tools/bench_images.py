"""Compare `uvshim check` of images with decompressing their layers; print ratios (`make bench`).

Commands that are compared run in turn. A ratio is that of the least times of whole processes,
including Python's start. The image is a Debian with the OpenStack set in /opt/app. Its layers are
compressed with gzip, and are read with the library that `uvshim[images]` installs. This needs root,
Debian and debootstrap; without them it prints a line and measures nothing.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.images.making import OCI, Making, tar  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Command: TypeAlias = tuple[str | Path, ...]

BIN = Path(sys.executable).parent
CORPORA = ROOT / "tests" / "corpora"
KEPT = ROOT / ".cache" / "bench-images"

# The baseline: decompress every blob that is named, and nothing else.
DECOMPRESS = """
import sys
from isal import igzip
for path in sys.argv[1:]:
    with igzip.open(path) as file:
        while file.read(128 * 1024): pass
"""

# The same with Python's own library.
DECOMPRESS_ZLIB = DECOMPRESS.replace("from isal import igzip", "import gzip as igzip")

# How many images share a base, and differ in one layer.
MANY = 12


class Run(NamedTuple):
    """The time and memory that one run of a command took."""

    seconds: float
    processor: float
    mebibytes: float


def measured(*command: str | Path) -> Run:
    """Run `command` once. Exit if it fails; `check` ends with 1 here, which is not a failure."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None  # noqa: S101
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if os.waitstatus_to_exitcode(status) not in {0, 1}:
        sys.exit(f"{command}: {said.decode()}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_turn(commands: dict[str, Sequence[str | Path]], rounds: int) -> dict[str, Run]:
    """Return the least that each of `commands` takes in `rounds` runs."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(measured(*command))
    return {
        name: Run(
            min(run.seconds for run in every),
            min(run.processor for run in every),
            max(run.mebibytes for run in every),
        )
        for name, every in runs.items()
    }


def row(name: str, run: Run, beside: Run) -> None:
    """Print a line: times, each also as a multiple of the run `beside`, and memory."""
    print(
        f"  {name:45} {run.seconds:6.2f} s {run.seconds / beside.seconds:6.2f} times"
        f"  {run.processor:6.2f} s of processors {run.processor / beside.processor:6.2f} times"
        f"  {run.mebibytes:4.0f} MiB"
    )


def base() -> bytes:
    """Return a small Debian with Python as a tar. It is created only once."""
    path = KEPT / "base.tar"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
            root = Path(scratch) / "root"
            command = ["debootstrap", "--variant=minbase", "--include=python3", "stable", str(root)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            shutil.rmtree(root / "var/cache/apt/archives")
            path.write_bytes(packed(root, "."))
    return path.read_bytes()


def app() -> bytes:
    """Return the OpenStack set in /opt/app as a tar. It is created only once."""
    path = KEPT / "app.tar"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
            prefix = Path(scratch) / "opt" / "app"
            command: list[str | Path] = [
                BIN / "uv",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--prefix",
                prefix,
            ]
            command += ["--build-constraints", CORPORA / "build-constraints.txt"]
            command += ["-r", CORPORA / "openstack-2025.2.txt", "--python", sys.executable]
            subprocess.run(command, check=True)
            (prefix / "pyvenv.cfg").write_text("home = /usr/bin\n")
            path.write_bytes(packed(Path(scratch), "opt"))
    return path.read_bytes()


@functools.cache
def compressed(content: bytes) -> bytes:
    """Return `content` as gzip, as container engines write it."""
    return gzip.compress(content, 6, mtime=0)


def packed(directory: Path, name: str) -> bytes:
    """Return `name` in `directory` as a tar. Times are whole seconds, as engines write them."""

    def whole(header: tarfile.TarInfo) -> tarfile.TarInfo:
        header.mtime = int(header.mtime)
        return header

    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(directory / name, name, filter=whole)
    return file.getvalue()


def one_image(making: Path, directory: Path, rounds: int) -> None:
    """Compare `check` of one image with its decompression and with unpacking it."""
    image = f"oci:{making}:openstack"
    blobs = layers(making, ["openstack"])
    check: Command = (BIN / "uvshim", "check", "--no-cache", image)
    runs = in_turn(
        {
            "zlib": (sys.executable, "-c", DECOMPRESS_ZLIB, *blobs),
            "isal": (sys.executable, "-c", DECOMPRESS, *blobs),
            "one": (*check, "--jobs", "1"),
            "all": check,
        },
        rounds,
    )
    megabytes = sum(blob.stat().st_size for blob in blobs) / 1e6
    print(f"one image, {megabytes:.0f} MB in two layers of gzip")
    row("decompressing the layers, zlib", runs["zlib"], runs["isal"])
    row("decompressing the layers, isal", runs["isal"], runs["isal"])
    row("uvshim check --jobs 1", runs["one"], runs["isal"])
    row("uvshim check", runs["all"], runs["isal"])
    if shutil.which("umoci"):
        bundle = directory / "bundle"
        unpack = measured("umoci", "unpack", "--image", image.removeprefix("oci:"), bundle)
        root = measured(BIN / "uvshim", "check", bundle / "rootfs")
        both = Run(unpack.seconds + root.seconds, unpack.processor + root.processor, 0)
        row("umoci unpack, and uvshim check of the root", both, runs["isal"])
        print(f"  check is {both.seconds / runs['all'].seconds:.1f} times as fast as unpacking")
        shutil.rmtree(bundle)


def many_images(making: Path, directory: Path, rounds: int) -> None:
    """Measure images that share a base, without and with a cache."""
    names = [f"many{number}" for number in range(MANY)]
    images = [f"oci:{making}:{name}" for name in names]
    check: Command = (BIN / "uvshim", "check", *images)
    warm = ("--cache-dir", directory / "cache")
    measured(*check, *warm)
    runs = in_turn(
        {
            "isal": (sys.executable, "-c", DECOMPRESS, *layers(making, names)),
            "cold": (*check, "--no-cache"),
            "warm": (*check, *warm),
        },
        rounds,
    )
    print(f"{MANY} images that share a base, and differ in one layer")
    row("decompressing each layer once", runs["isal"], runs["isal"])
    row("uvshim check --no-cache", runs["cold"], runs["isal"])
    row("uvshim check, all layers cached", runs["warm"], runs["isal"])


def jobs(making: Path, rounds: int) -> None:
    """Compare two processes with one, for images that share nothing."""
    images = [f"oci:{making}:alone{number}" for number in range(4)]
    check: Command = (BIN / "uvshim", "check", "--no-cache", *images)
    runs = in_turn({n: (*check, "--jobs", n) for n in ("1", "2")}, rounds)
    print("four images that share nothing")
    row("--jobs 1", runs["1"], runs["1"])
    row("--jobs 2", runs["2"], runs["1"])
    print(f"  two jobs are {runs['1'].seconds / runs['2'].seconds:.2f} times as fast as one")


def layers(making: Path, tags: Sequence[str]) -> list[Path]:
    """Return the distinct layers of the images called `tags`."""
    from uvshim.images.blob import Folder
    from uvshim.images.budget import Budget
    from uvshim.images.sources import layout

    found = [layout.read(Folder(str(making)), "oci", tag, Budget())[0].image for tag in tags]
    names = [layer.name for one in found if one for layer in one.layers]
    return [making / name for name in dict.fromkeys(names)]


def main() -> None:
    """Make the images, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds: int = options.rounds
    if options.make is not None:
        make(options.make)
        return
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        print("images: not measured, because that needs root and debootstrap")
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
        directory = Path(scratch)
        # In another process, because a child's peak memory begins with that of its parent.
        subprocess.run([sys.executable, __file__, "--make", directory / "layout"], check=True)
        making = directory / "layout"
        one_image(making, directory, rounds)
        many_images(making, directory, rounds)
        jobs(making, rounds)


def make(path: Path) -> None:
    """Write a layout with all images to `path`."""
    making = Making(path)
    lower, upper = base(), app()

    def add(tag: str, *tars: bytes) -> None:
        kind = f"{OCI}.layer.v1.tar+gzip"
        making.add(making.manifest(tars, compressed, media_type=kind), tag)

    add("openstack", lower, upper)
    for number in range(MANY):
        own = tar({f"opt/app/lib/python3.11/site-packages/own{number}.py": "x" * 100_000})
        add(f"many{number}", lower, upper, own)
    for number in range(4):
        mark = tar({f"mark{number}": ""}).rstrip(b"\0")
        add(f"alone{number}", mark + bytes(-len(mark) % 512) + upper)


if __name__ == "__main__":
    main()
