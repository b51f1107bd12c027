from __future__ import annotations

import gzip
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from tests.images.making import (
    INDEX,
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
from uvshim.images import reference
from uvshim.images.layer import changes

if TYPE_CHECKING:
    from pathlib import Path

    from uvshim.images.image import Image

LAYER = tar({"usr/": "", "usr/x": ""})


def images(text: str | Path) -> list[Image]:
    """Return the images that `text` names, after their layers were read."""
    with opened(text) as found:
        for image in found:
            assert [changes.read(layer).groups for layer in image.layers]
        return found


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("oci:dir", ("oci", "dir", None)),
        ("oci:/a/b:1.0", ("oci", "/a/b", "1.0")),
        ("oci:dir:registry.example/app:1.0", ("oci", "dir", "registry.example/app:1.0")),
        ("oci:dir:@2", ("oci", "dir", "@2")),
        (f"oci:dir@{digest(b'')}", ("oci", "dir", digest(b""))),
        (f"oci:dir:{digest(b'')}", ("oci", "dir", digest(b""))),
        ("oci-archive:a.tar:1", ("oci-archive", "a.tar", "1")),
        ("docker-archive:a.tar:app:1", ("docker-archive", "a.tar", "app:1")),
        ("docker://localhost:5000/a:1", ("docker", "//localhost:5000/a:1", None)),
        ("containers-storage:app", ("containers-storage", "app", None)),
        ("docker-daemon:app:1", ("docker-daemon", "app:1", None)),
        ("dir:x", ("dir", "x", None)),
    ],
)
def test_names_are_those_of_skopeo(text: str, parts: tuple[str, str, str | None]) -> None:
    named = reference.parse(text)
    assert named is not None
    assert named == (text, *parts)


@pytest.mark.parametrize("text", [".venv", "no-such:thing", "C:/x", ":", "", "/usr/bin/python3"])
def test_other_words_are_not_images(text: str) -> None:
    assert reference.parse(text) is None


def test_what_exists_under_that_name_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "oci:x").mkdir()
    assert reference.parse("oci:x") is None


def test_an_image_is_found_in_every_form(tmp_path: Path) -> None:
    directory = layout(tmp_path / "layout", [LAYER])
    archive = oci_archive(directory, tmp_path / "oci.tar")
    saved = docker_archive(tmp_path / "saved.tar", [LAYER])
    names = {
        f"oci:{directory}": f"oci:{directory}:latest",
        f"oci:{directory}:latest": f"oci:{directory}:latest",
        f"{directory}": f"oci:{directory}:latest",
        f"oci-archive:{archive}": f"oci-archive:{archive}:latest",
        f"oci-archive:{archive}:latest": f"oci-archive:{archive}:latest",
        f"{archive}": f"oci-archive:{archive}:latest",
        f"docker-archive:{saved}": f"docker-archive:{saved}:app:latest",
        f"docker-archive:{saved}:app": f"docker-archive:{saved}:app:latest",
        f"docker-archive:{saved}:docker.io/library/app:latest": (
            f"docker-archive:{saved}:app:latest"
        ),
        f"docker-archive:{saved}:@0": f"docker-archive:{saved}:app:latest",
        f"{saved}": f"docker-archive:{saved}:app:latest",
    }
    for text, called in names.items():
        (image,) = images(text)
        assert image.reference == called
        assert str(image.platform) == "linux/amd64"
        assert image.digest


def test_a_tar_of_a_root_is_an_image_without_a_digest(tmp_path: Path) -> None:
    path = tmp_path / "root.tar"
    for content in (LAYER, gzipped(LAYER)):
        path.write_bytes(content)
        (image,) = images(path)
        assert image.reference == str(path)
        assert (image.digest, image.platform) == (None, None)


def test_a_compressed_archive_is_read_too(tmp_path: Path) -> None:
    """As of `docker save app | gzip`."""
    saved = docker_archive(tmp_path / "saved.tar", [LAYER])
    (tmp_path / "saved.tar.gz").write_bytes(gzip.compress(saved.read_bytes()))
    for text in (tmp_path / "saved.tar.gz", f"docker-archive:{tmp_path}/saved.tar.gz"):
        assert str(images(text)[0].platform) == "linux/amd64"


def test_a_damaged_compressed_archive_is_an_error(tmp_path: Path) -> None:
    saved = gzip.compress(docker_archive(tmp_path / "saved.tar", [LAYER]).read_bytes())
    (tmp_path / "saved.tar.gz").write_bytes(saved[: len(saved) - 30])
    with pytest.raises(ImageError, match=r"cannot be decompressed"):
        images(f"docker-archive:{tmp_path}/saved.tar.gz")


def test_a_directory_that_skopeo_has_written_is_read(tmp_path: Path) -> None:
    """Its manifests have other names, and its blobs are called by bare digests."""
    making = Making(tmp_path / "layout")
    manifests = [making.manifest([LAYER], architecture=name) for name in ("amd64", "arm64")]
    index = making.described(INDEX, {"mediaType": INDEX, "manifests": manifests})
    copied = tmp_path / "copied"
    copied.mkdir()
    names = {each["digest"]: ".manifest.json" for each in manifests}
    for blob in (making.path / "blobs/sha256").iterdir():
        if f"sha256:{blob.name}" == index["digest"]:
            shutil.copy(blob, copied / "manifest.json")
        else:
            shutil.copy(blob, copied / (blob.name + names.get(f"sha256:{blob.name}", "")))
    found = images(f"dir:{copied}")
    assert [str(image.platform) for image in found] == ["linux/amd64", "linux/arm64"]
    assert [image.digest for image in found] == [each["digest"] for each in manifests]


def fake_skopeo(directory: Path, script: str) -> None:
    directory.mkdir()
    path = directory / "skopeo"
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_skopeo_copies_all_platforms_of_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making = Making(tmp_path / "layout")
    manifest = making.manifest([LAYER])
    blobs = making.path / "blobs/sha256"
    (blobs / manifest["digest"].partition(":")[2]).rename(blobs / "manifest.json")
    script = f'[ $1 = copy ] || exit 1\necho "$@" >{tmp_path}/said\nfor last; do :; done\ncp {blobs}/* "${{last#dir:}}"'
    fake_skopeo(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    (image,) = images("docker://registry.example/app:1.0")
    assert image.reference == "docker://registry.example/app:1.0"
    assert image.digest == manifest["digest"]
    said = (tmp_path / "said").read_text()
    assert said.startswith("copy --quiet --all docker://registry.example/app:1.0 dir:")
    assert not list(tmp_path.glob("uvshim-*"))


def test_what_skopeo_says_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_skopeo(
        tmp_path / "bin",
        'echo \'time="now" level=fatal msg="initializing source \\"x\\": no such host"\' >&2; exit 1',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    with pytest.raises(ImageError) as raised:
        images("docker://x/y")
    assert str(raised.value) == (
        'skopeo cannot read `docker://x/y`: initializing source "x": no such host'
    )


def test_without_skopeo_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match=r"not installed.*apt-get install skopeo"):
        images("docker://x/y")


@pytest.mark.parametrize(
    "text",
    ["oci:no", "oci-archive:no", "docker-archive:no", "oci:.", "dir:no", "dir:.", "oci-archive:."],
)
def test_a_missing_or_different_file_is_an_error(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError):
        images(text)


def test_an_archive_of_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(LAYER)
    for transport in ("oci-archive", "docker-archive"):
        with pytest.raises(ImageError, match=r"has no file `\w+\.json`"):
            images(f"{transport}:{tmp_path}/x.tar")
    (tmp_path / "x.tar").write_bytes(b"no tar at all")
    with pytest.raises(ImageError, match="is not a tar archive"):
        images(f"oci-archive:{tmp_path}/x.tar")
