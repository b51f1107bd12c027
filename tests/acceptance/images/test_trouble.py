"""Trouble of real machines: full disks, missing rights, kills, foreign caches."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import registry  # noqa: F401
from tests.acceptance.images import formats
from tests.acceptance.images.contents import tar
from tests.acceptance.images.engines import need, output
from tests.acceptance.images.formats import Layout
from tests.acceptance.images.test_recognition import is_answered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.images.conftest import Uvshim

pytestmark = [pytest.mark.index, pytest.mark.image]

NOBODY = 65534


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB, less than any of the images takes."""
    path = tmp_path / "disk"
    path.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(path)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("NOT TRIED: no file system can be mounted here")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize(
    "target", ["docker-archive:{}/o.tar:a:1", "oci-archive:{}/o.tar:1", "oci:{}/l:1", "dir:{}/d"]
)
def test_on_a_full_disk_nothing_is_left_and_a_second_run_completes(
    box: Uvshim, source: Path, small_disk: Path, target: str
) -> None:
    done = box.fix(f"oci:{source}:1.0", target.format(small_disk))
    assert done.status == 2, done
    assert "o space left on device" in done.stderr
    assert [path.name for path in small_disk.rglob("*") if path.is_file()] == []
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    done = box.fix(f"oci:{source}:1.0", target.format(small_disk))
    assert done.status == 0, done


def test_a_full_temporary_directory_is_named(
    box: Uvshim, image: formats.Image, small_disk: Path, tmp_path: Path
) -> None:
    plain = image._replace(blobs=image.tars, suffix="")
    path = formats.old_docker(tmp_path / "x.tar", [(plain, ["app:1"])])
    with path.open("rb") as file, subprocess.Popen(["cat"], stdin=file, stdout=-1) as cat:
        assert cat.stdout is not None
        done = box("check", "-", stdin=cat.stdout.fileno(), TMPDIR=str(small_disk))
        cat.stdout.close()
    assert done.status == 2, done
    assert str(small_disk) in done.stderr
    assert "Errno" not in done.stderr
    assert list(small_disk.iterdir()) == []


def as_nobody(box: Uvshim, *words: str | Path) -> subprocess.CompletedProcess[str]:
    need("setpriv")
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return subprocess.run(
        [*user, *box.command(["check", "--no-cache", *words])],
        env={**box.variables, "HOME": "/nonexistent", "TMPDIR": "/tmp"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        cwd="/",
    )


def open_to_all(path: Path) -> None:
    """Let all users read `path`, which pytest forbids."""
    for each in path.parents:
        if each.stat().st_mode & 0o005 != 0o005 and each.stat().st_uid == os.getuid():
            each.chmod(0o755)


@pytest.mark.parametrize("what", ["archive", "layout", "blobs", "blob"])
def test_what_may_not_be_read_is_reported_to_be_so(
    box: Uvshim, image: formats.Image, source: Path, tmp_path: Path, what: str
) -> None:
    need("setpriv")
    open_to_all(source)
    saved = formats.crane(tmp_path / "saved.tar", [(image, ["app:1"])])
    path = {
        "archive": saved,
        "layout": source,
        "blobs": source / "blobs",
        "blob": max((source / "blobs/sha256").iterdir(), key=lambda one: one.stat().st_size),
    }[what]
    named = saved if what == "archive" else source
    before = as_nobody(box, named)
    if before.returncode != 1:
        pytest.skip(f"NOT TRIED: another user cannot run this Python ({before.stderr[-99:]!r})")
    path.chmod(0)
    done = as_nobody(box, named)
    assert done.returncode == 2, done
    assert "ermission denied" in done.stderr, done


@pytest.mark.parametrize("kind", ["pipe", "endless", "link", "directory", "damaged", "empty"])
def test_a_cache_may_contain_anything(
    box: Uvshim, image: formats.Image, tmp_path: Path, kind: str
) -> None:
    saved = formats.crane(tmp_path / "saved.tar", [(image, ["app:1"])])
    words = ("check", "--format", "json", "--cache-dir", tmp_path / "cache", saved)
    is_answered(box(*words))
    entries = [path for path in (tmp_path / "cache").rglob("sha256-*") if path.is_file()]
    assert entries
    (tmp_path / "victim").write_text("precious")
    for path in entries:
        content = path.read_bytes()
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "endless":
            path.symlink_to("/dev/zero")
        elif kind == "link":
            path.symlink_to(tmp_path / "victim")
        elif kind == "directory":
            path.mkdir()
        elif kind == "damaged":
            path.write_bytes(content[: len(content) // 2] + b"x" * 9)
        else:
            path.touch()
    done = box(*words)
    is_answered(done)
    assert done.seconds < 20
    assert (tmp_path / "victim").read_text() == "precious"


def test_another_directory_is_not_mistaken_for_a_cache(
    box: Uvshim, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("x")
    os.utime(tmp_path / "mine" / "precious.txt", (1, 1))
    done = box("check", "--cache-dir", tmp_path / "mine", source)
    assert done.status == 2, done
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious.txt"]


def test_in_a_registry_a_tag_that_is_not_named_is_not_overwritten(
    box: Uvshim,
    source: Path,
    registry: str,  # noqa: F811
) -> None:
    need("skopeo")
    for tag in ("1.0", "latest"):
        output("skopeo", "copy", "--quiet", f"oci:{source}:1.0", f"docker://{registry}/app:{tag}")
    for name, written in (("app", "app:latest-fixed"), ("app:1.0", "app:1.0-fixed")):
        done = box.fix(f"docker://{registry}/{name}", f"docker://{registry}/app")
        assert done.status == 0, done
        assert box.check(f"docker://{registry}/{written}").status == 0
        assert written in done.stderr
    is_answered(box.check(f"docker://{registry}/app:latest"))


def test_every_name_that_is_shown_means_one_image(
    box: Uvshim, image: formats.Image, fine: formats.Image, tmp_path: Path
) -> None:
    found = Layout(tmp_path / "layout")
    other = formats.image(*image.tars, tar({"other": ""}))
    found.add(found.image(image), "1.0")
    found.add(found.image(fine), "1.0", **{formats.CONTAINERD_NAME: "docker.io/library/x:1.0"})
    found.add(found.image(other), "1.0")
    found.add(found.image(formats.image(tar({"third": ""}))))
    archive = formats.pack(found.path, tmp_path / "layout.tar")
    saved = [(image, ["app:1", "app:2"]), (fine, ["x:1"]), (other, None)]
    docker = formats.new_docker(tmp_path / "new.tar", saved)
    crane = formats.crane(tmp_path / "crane.tar", saved)
    for path in (found.path, archive, docker, crane):
        shown = box.check(path).images
        assert len({each["image"] for each in shown}) == len(shown) >= 3
        for each in shown:
            (again,) = box.check(each["image"]).images
            assert again == each


def test_killed_at_any_moment_what_was_there_is_good_and_a_second_run_completes(
    box: Uvshim, image: formats.Image, tmp_path: Path
) -> None:
    chance = random.Random(21)
    saved = formats.crane(tmp_path / "saved.tar", [(image, ["app:1"])])
    here = tmp_path / "here"
    targets = (f"docker-archive:{here}/o.tar:app:2", f"oci:{here}/l:2")
    for target in targets:
        took = None
        for _ in range(6):
            shutil.rmtree(here, ignore_errors=True)
            here.mkdir()
            begin = time.monotonic()
            with subprocess.Popen(
                box.command(["fix", saved, "--output", target]),
                env=box.variables,
                start_new_session=True,
                stderr=subprocess.DEVNULL,
            ) as run:
                if took is None:
                    run.wait()
                    took = time.monotonic() - begin
                    complete = sorted(path.name for path in here.iterdir())
                    continue
                try:
                    run.wait(chance.uniform(0.5, 1) * took)
                except subprocess.TimeoutExpired:
                    os.killpg(run.pid, signal.SIGKILL)
            written = (here / "o.tar").exists()  # an archive is written once
            done = box.fix(saved, target)
            assert done.status == (2 if written else 0), done
            assert not written or box.check(here / "o.tar").status == 0
            assert sorted(path.name for path in here.iterdir()) == complete
