"""A fix of an image is killed, or the disk is full: nothing that existed is lost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.corpus import installed, under
from tests.images.making import digest, layout, oci_archive, tar
from tests.images.opening import opened
from tests.images.unpacking import index, states, unpacked
from tests.robustness.disks import mount, unmount
from tests.robustness.faults import points, trace_uvshim
from tests.robustness.test_disks import fill
from uvshim.images.budget import Budget
from uvshim.images.layer import changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.robustness.invariants import Tools

SITE = "opt/app/lib/python3.12/site-packages"
WRONG = tar(under(SITE, installed("oslo_cache-1.0", "oslo.cache")))

TARGETS = {
    "the layout it comes from": "oci:{}/here/source:new",
    "a layout with other images": "oci:{}/here/other:new",
    "a new layout": "oci:{}/here/new:new",
    "an archive": "oci-archive:{}/here/new.tar:new",
    "an archive for Docker": "docker-archive:{}/here/saved.tar:app:new",
}


def prepared(directory: Path) -> Path:
    """Write layouts and an archive below `directory`/here, the same every time; return that."""
    original, here = directory / "original", directory / "here"
    if not original.exists():
        layout(original / "source", [WRONG])
        other = layout(original / "other", [tar({"etc/motd": "hello"})])
        oci_archive(other, original / "images.tar")
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(original, here)
    return here


def is_well(here: Path) -> None:
    """Assert that everything can be read, and that old files are unchanged."""
    for path in here.iterdir():
        if path.is_dir() and (path / "index.json").exists():
            for blob in path.glob("blobs/sha256/*"):
                assert digest(blob.read_bytes()) == f"sha256:{blob.name}"
            if not index(path):
                continue  # a new layout with no image in it yet
        elif path.name.endswith("-unfinished") or path.is_dir():
            continue
        with opened(path) as images:
            for image in images:
                for layer in image.layers:
                    changes.read(layer, Budget())
    assert "latest" in index(here / "source")
    assert "latest" in index(here / "other")


def finished(here: Path) -> dict[str, object]:
    """Return all contents, without times."""
    return {path: state[1] if len(state) > 1 else None for path, state in states(here).items()}


@pytest.mark.parametrize("target", TARGETS)
def test_killed_before_any_call_that_changes_a_file_and_completed_by_a_second_run(
    tmp_path: Path,
    strace: None,
    tools: Tools,
    target: str,
    tried: Callable[[str, int], None],
) -> None:
    here = prepared(tmp_path)
    output = TARGETS[target].format(tmp_path)
    words = ("fix", f"oci:{here}/source:latest", "--output", output)
    traced = trace_uvshim(tools, words, tmp_path)
    assert traced.status == 0, traced.output
    wanted = finished(here)
    found = points(traced, here)
    assert len(found) >= 4
    for point in found:
        prepared(tmp_path)
        before = finished(here)
        inject = f"{point.name}:signal=KILL:when={point.number}"
        killed = trace_uvshim(tools, words, tmp_path, inject=inject)
        assert killed.status == -9, killed.output
        is_well(here)
        after = finished(here)
        assert {key for key in before if after[key] != before[key]} <= {
            f"{name}/index.json" for name in ("source", "other")
        }
        done = tools.run_uvshim(*words)
        if done.returncode == 2:  # it was killed after the archive had got its name
            assert "exists, and uvshim does not modify it" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
        assert finished(here) == wanted
    tried("kills of a run that fixes an image", len(found))


@pytest.fixture
def small(tmp_path: Path, mounts: None) -> Iterator[Path]:
    """A directory on a disk of a megabyte."""
    memory = tmp_path / "memory"
    mount("tmpfs", memory, "size=1m")
    yield memory
    unmount(memory)


@pytest.mark.parametrize("target", TARGETS)
def test_a_full_disk_is_reported_and_changes_nothing(
    small: Path, tools: Tools, target: str
) -> None:
    here = prepared(small)
    output = TARGETS[target].format(small)
    filler = fill(here)
    for room in (0, 1, 2, 3, 5):
        os.truncate(filler, filler.stat().st_size - 4096 * room)
        before = states(here)
        done = tools.run_uvshim("fix", f"oci:{here}/source:latest", "--output", output)
        if done.returncode == 0:
            assert room > 0
            break
        assert done.returncode == 2, done.stderr
        assert "cannot be written: No space left on device" in done.stderr
        assert states(here) == before
        fill_up = fill(here)
        assert fill_up == filler
    filler.unlink()
    for written in ("new.tar", "saved.tar"):
        (here / written).unlink(missing_ok=True)
    done = tools.run_uvshim("fix", f"oci:{here}/source:latest", "--output", output)
    assert done.returncode == 0, done.stderr
    is_well(here)
    if output.startswith("oci:"):
        path = Path(output.removeprefix("oci:").removesuffix(":new"))
        assert unpacked(path, "new", small.parent / "root").is_dir()
