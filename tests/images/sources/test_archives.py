"""Archives as many tools write them are recognized by what is in them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.corpus import installed, under
from tests.images.making import (
    CONFIG,
    INDEX,
    MANIFEST,
    OCI,
    Making,
    digest,
    docker_archive,
    gzipped,
    layout,
    oci_archive,
    tar,
)
from tests.images.opening import opened
from uvshim.errors import ImageError
from uvshim.images import archive
from uvshim.images.budget import Budget
from uvshim.images.layer import changes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Run

SITE = "opt/app/lib/python3.12/site-packages"
BROKEN = tar(
    under(
        SITE,
        installed("setuptools-75.8.0", "setuptools"),
        installed("oslo_cache-1.0", "oslo.cache"),
    )
)
FINE = tar({"etc/motd": ""})


def described(tars: list[bytes]) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest(each) for each in tars]}
    return json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).encode()


def crane(tars: list[bytes]) -> bytes:
    """Return an archive as crane, ko, kaniko and apko write it."""
    config = described(tars)
    blobs = [(f"{digest(one).partition(':')[2]}.tar.gz", one) for one in map(gzipped, tars)]
    listed = [
        {"Config": digest(config), "RepoTags": ["app:1"], "Layers": [name for name, _ in blobs]}
    ]
    return tar([(digest(config), config), *blobs, ("manifest.json", json.dumps(listed))])


def jib(tars: list[bytes]) -> bytes:
    """Return an archive as jib writes it: layers first, then a config of that name."""
    blobs = [(f"{digest(one).partition(':')[2]}.tar.gz", one) for one in map(gzipped, tars)]
    listed = [
        {"Config": "config.json", "RepoTags": ["app:1"], "Layers": [name for name, _ in blobs]}
    ]
    return tar([*blobs, ("config.json", described(tars)), ("manifest.json", json.dumps(listed))])


@pytest.mark.parametrize("form", [crane, jib])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_what_go_and_java_tools_write_is_an_archive_of_images(
    run: Run, uvshim: Path, tmp_path: Path, form: Any, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "app"
    path.write_bytes(compress(form([BROKEN, FINE])))
    checked = run(uvshim, "check", "--no-cache", path)
    assert checked.returncode == 1, checked.stderr
    assert f"docker-archive:{path}:app:1 /opt/app: broken" in checked.stdout
    fixed = run(uvshim, "fix", path, "--output", f"docker-archive:{tmp_path}/new.tar")
    assert fixed.returncode == 0, fixed.stderr
    checked = run(uvshim, "check", "--no-cache", f"docker-archive:{tmp_path}/new.tar:app:1-fixed")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def in_subdirectory(tmp_path: Path) -> bytes:
    layout(tmp_path / "sub" / "layout", [FINE])
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        made.add(tmp_path / "sub", "sub")
    return file.getvalue()


OTHERS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "an sdist": (
        lambda _: gzipped(tar({"app-1.0/": "", "app-1.0/PKG-INFO": ""})),
        "it holds `app-1.0`. Name an archive of `docker save`",
    ),
    "a Helm chart": (
        lambda _: gzipped(tar({"chart/Chart.yaml": "", "chart/templates/x": ""})),
        "it holds `chart`",
    ),
    "a layout in a subdirectory": (in_subdirectory, "it holds `sub`"),
    "a layout in a directory": (
        lambda tmp: gzipped(renamed(in_subdirectory(tmp), "sub/", "")),
        "with an OCI layout in the directory `layout`: unpack it",
    ),
    "text in gzip": (lambda _: gzipped(b"hello" * 500), "compressed, but not a tar archive"),
}


def renamed(content: bytes, old: str, new: str) -> bytes:
    """Return the tar `content` with `old` at the beginning of names replaced."""
    file = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as before,
        tarfile.open(fileobj=file, mode="w") as after,
    ):
        for member in before:
            data = before.extractfile(member) if member.isfile() else None
            if member.name != old.rstrip("/"):
                member.name = member.name.replace(old, new, 1)
                after.addfile(member, data)
    return file.getvalue()


@pytest.mark.parametrize("what", OTHERS)
def test_other_archives_are_refused_with_what_would_work(
    run: Run, uvshim: Path, tmp_path: Path, what: str
) -> None:
    make, said = OTHERS[what]
    path = tmp_path / "other.tgz"
    path.write_bytes(make(tmp_path))
    for words in (("check",), ("fix", "--dry-run")):
        done = run(uvshim, *words, path)
        assert done.returncode == 2
        assert "ok (" not in done.stdout
        assert said in done.stderr


def test_of_two_names_of_one_image_the_requested_one_is_reported(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    saved = docker_archive(tmp_path / "x.tar", [BROKEN], ["app:1", "app:2"])
    done = run(uvshim, "check", f"docker-archive:{saved}:app:2")
    assert done.stdout.startswith(f"docker-archive:{saved}:app:2 /opt/app: broken")


# --- what is not there, and what is no image ------------------------------------------------------


def partial(tmp_path: Path) -> Making:
    """Return a layout of three platforms, of which one is there."""
    making = Making(tmp_path / "partial")
    parts = [
        {
            **making.manifest([BROKEN], architecture=each),
            "platform": {"os": "linux", "architecture": each},
        }
        for each in ("amd64", "arm64", "s390x")
    ]
    attestation = {
        "mediaType": MANIFEST,
        "digest": digest(b"attestation"),
        "size": 5,
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    making.add(making.described(INDEX, {"manifests": [*parts, attestation]}), "1.0")
    (making.path / "blobs" / parts[1]["digest"].replace(":", "/")).unlink()
    raw = (making.path / "blobs" / parts[2]["digest"].replace(":", "/")).read_text()
    config = json.loads(raw)["config"]["digest"]
    (making.path / "blobs" / config.replace(":", "/")).unlink()
    return making


def test_of_a_partial_archive_what_is_there_is_examined(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    path = oci_archive(partial(tmp_path).path, tmp_path / "x.tar")
    done = run(uvshim, "check", path)
    assert done.returncode == 1
    assert f"oci-archive:{path}:1.0 /opt/app: broken" in done.stdout
    assert [line.split("` for ")[1] for line in done.stderr.splitlines()] == [
        f"linux/{each} was not examined: its files are missing" for each in ("arm64", "s390x")
    ]
    listed = json.loads(run(uvshim, "check", "--format", "json", path).stdout)["images"]
    assert [(each["platform"], each["absent"]) for each in listed] == [
        ("linux/amd64", False),
        ("linux/arm64", True),
        ("linux/s390x", True),
    ]
    only = run(uvshim, "check", "--platform", "linux/amd64", path)
    assert (only.returncode, only.stderr) == (1, "")
    for platform, said in (
        ("linux/arm64", "the files of linux/arm64 (sha256:"),
        ("windows/amd64", "it has no container image for windows/amd64"),
    ):
        none = run(uvshim, "check", "--platform", platform, path)
        assert none.returncode == 2
        assert said in none.stderr
    fixed = run(uvshim, "fix", path, "--output", f"oci:{tmp_path}/new:1")
    assert fixed.returncode == 0, fixed.stderr
    assert "linux/arm64 (sha256:" in fixed.stderr
    assert "was skipped: its files are missing" in fixed.stderr
    assert run(uvshim, "check", f"oci:{tmp_path}/new:1").stderr == ""


def test_one_platform_is_chosen(tmp_path: Path) -> None:
    making = Making(tmp_path / "x")
    parts = [making.manifest([FINE], architecture=each) for each in ("amd64", "arm64")]
    making.add(making.described(INDEX, {"manifests": parts}), "1.0")
    for name in ("linux/arm64", "linux/arm64/v8", "linux/aarch64"):
        with opened(making.path, name) as (image,):
            assert image.platform == ("linux", "arm64", "")
    none = "it has no container image for linux/arm64/v7, only for linux/amd64, linux/arm64"
    with pytest.raises(ImageError, match=none), opened(making.path, "linux/arm64/v7"):
        pass
    with opened(making.path, "linux") as images:
        assert len(images) == 2


@pytest.mark.parametrize("config", [CONFIG, "application/vnd.oci.empty.v1+json"])
def test_a_signature_beside_an_image_is_skipped(tmp_path: Path, config: str) -> None:
    """cosign gives it the config of an image."""
    making = Making(tmp_path / "x")
    making.add(making.manifest([FINE]), "1.0")
    layers = [making.described("application/vnd.dev.cosign.simplesigning.v1+json", b"{}")]
    rootfs = {"diff_ids": [digest(b"{}")]}
    raw = {"config": making.described(config, {"rootfs": rootfs}), "layers": layers}
    making.add(making.described(MANIFEST, raw), "sha256-0.sig")
    with opened(making.path) as images:
        assert [each.reference for each in images] == [f"oci:{making.path}:1.0"]


def test_null_is_an_empty_list(tmp_path: Path) -> None:
    """As Go writes it, such as `umoci init`."""
    making = Making(tmp_path / "x")
    making.index({"schemaVersion": 2, "manifests": None})
    with pytest.raises(ImageError, match="it has no container image"), opened(making.path):
        pass
    config = making.described(CONFIG, {"rootfs": {"diff_ids": None}})
    making.add(making.described(MANIFEST, {"config": config, "layers": None}), "empty")
    with opened(making.path) as (image,):
        assert image.layers == ()


DIFF_IDS = [[1, 2], ["md9:00"], ["zz"], ["shake_128:00"], [], None, {}, "sha256:", ["sha256:\n"]]


@pytest.mark.parametrize("diff_ids", DIFF_IDS)
@pytest.mark.parametrize("form", ["layout", "archive"])
def test_invalid_diff_ids_are_an_error(
    run: Run, uvshim: Path, tmp_path: Path, diff_ids: object, form: str
) -> None:
    path = tmp_path / "x"
    if form == "archive":
        docker_archive(path, [FINE], rootfs={"diff_ids": diff_ids})
    else:
        making = Making(path)
        config = making.described(CONFIG, {"rootfs": {"diff_ids": diff_ids}})
        layers = [making.described(f"{OCI}.layer.v1.tar", FINE)]
        making.add(making.described(MANIFEST, {"config": config, "layers": layers}), "x")
    for words in (("check", path), ("fix", path, "--output", f"oci:{tmp_path}/new:1")):
        done = run(uvshim, *words)
        assert done.returncode == 2, done.stdout
        assert "diff_ids" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_name_that_cannot_be_printed_is_an_error(run: Run, uvshim: Path, tmp_path: Path) -> None:
    making = Making(tmp_path / "x")
    making.add(making.manifest([BROKEN]), "\ud800")
    for words in (("check",), ("check", "--format", "html"), ("fix", "--dry-run")):
        done = run(uvshim, *words, making.path)
        assert done.returncode == 2
        assert "the index has an invalid name: '\\ud800'" in done.stderr


def test_a_colon_may_be_in_the_path_of_a_directory_of_skopeo(tmp_path: Path) -> None:
    making = Making(tmp_path / "x")
    manifest = making.manifest([FINE])
    place = tmp_path / "a:b"
    place.mkdir()
    for blob in (making.path / "blobs/sha256").iterdir():
        own = f"sha256:{blob.name}" == manifest["digest"]
        (place / ("manifest.json" if own else blob.name)).write_bytes(blob.read_bytes())
    with opened(f"dir:{place}") as images:
        assert len(images) == 1


# --- streams and spooling -------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [bytes, gzipped])
@pytest.mark.parametrize("way", ["-", "pipe"])
def test_a_stream_is_read(
    tmp_path: Path, uvshim: Path, way: str, compress: Callable[[bytes], bytes]
) -> None:
    """As `docker save app | uvshim check -` and `uvshim check <(docker save app)`."""
    content = compress(docker_archive(tmp_path / "x.tar", [BROKEN]).read_bytes())
    command = [str(uvshim), "check", "--no-cache", "-"]
    if way == "pipe":
        pipe = tmp_path / "pipe"
        command[-1] = str(pipe)
        os.mkfifo(pipe)
        threading.Thread(target=pipe.write_bytes, args=(content,)).start()
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    assert f"docker-archive:{command[-1]}:app:latest /opt/app: broken" in done.stdout.decode()


def test_a_stream_among_others_is_read_by_this_process(
    tmp_path: Path, uvshim: Path, run: Run
) -> None:
    image = layout(tmp_path / "x", [FINE])
    content = docker_archive(tmp_path / "x.tar", [BROKEN]).read_bytes()
    command = [str(uvshim), "check", "--no-cache", "--jobs", "2", "-", str(image), f"oci:{image}"]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert b"3 images: 1 broken" in done.stdout


def test_what_a_compressed_archive_expands_to_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = docker_archive(tmp_path / "x.tar", [tar({"usr/zeros": bytes(3_000_000)})])
    packed = tmp_path / "x.tar.gz"
    packed.write_bytes(gzip.compress(saved.read_bytes()))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("uvshim.images.budget.EXPANDED", 1 << 20)
    with pytest.raises(ImageError, match=r"needs more than 1 MiB in .*UVSHIM_SPOOL_LIMIT=64G"):
        opened(packed).__enter__()
    monkeypatch.setenv(archive.LIMIT, "1M")
    with pytest.raises(ImageError, match="needs more than 1 MiB"):
        opened(packed).__enter__()
    monkeypatch.setenv(archive.LIMIT, "4m")
    with opened(packed) as (image,):
        assert changes.read(image.layers[0], Budget()).groups
    monkeypatch.setenv(archive.LIMIT, "much")
    with pytest.raises(ImageError, match="is not a number of bytes"):
        opened(packed).__enter__()


def test_a_compressed_root_file_system_is_not_spooled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root.tar.gz"
    path.write_bytes(gzipped(tar({"usr/": "", "usr/zeros": bytes(3_000_000)})))
    monkeypatch.setenv(archive.LIMIT, "1")
    with opened(path) as (image,):
        assert changes.read(image.layers[0], Budget()).groups


def test_the_daemon_without_skopeo_suggests_a_pipe(run: Run, uvshim: Path, tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "uvshim", "check", "docker-daemon:app:1", PATH="/nowhere")
    assert done.returncode == 2
    assert "Try: docker save app:1 | uvshim check -" in done.stderr
