from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.images.making import (
    CONFIG,
    DOCKER,
    INDEX,
    MANIFEST,
    OCI,
    Making,
    digest,
    docker_archive,
    gzipped,
    layout,
    plain,
    tar,
)
from tests.images.opening import opened
from uvshim.errors import ImageError
from uvshim.images.blob import Folder
from uvshim.images.layer import changes
from uvshim.images.sources import layout as source

if TYPE_CHECKING:
    from pathlib import Path

LAYER = tar({"a": ""})


@pytest.fixture
def making(tmp_path: Path) -> Making:
    return Making(tmp_path / "layout")


def read(making: Making, tag: str | None = None) -> list[Any]:
    found = source.read(Folder(str(making.path)), "oci:x", tag)
    return [image for entry in found for image in entry.images]


def test_an_image_has_a_name_a_digest_a_platform_and_layers(making: Making) -> None:
    descriptor = making.manifest([LAYER, tar({"b": ""})])
    making.add(descriptor, "1.0")
    (image,) = read(making)
    assert image.reference == "oci:x:1.0"
    assert image.digest == descriptor["digest"]
    assert image.platform == ("linux", "amd64", "")
    assert str(image.platform) == "linux/amd64"
    assert [layer.digest for layer in image.layers] == [
        digest(gzipped(LAYER)),
        digest(gzipped(tar({"b": ""}))),
    ]
    assert image.config["os"] == "linux"


def test_without_a_tag_all_images_are_meant_and_with_one_that_one(making: Making) -> None:
    first, second = making.manifest([LAYER]), making.manifest([LAYER, LAYER])
    making.add(first, "a")
    making.add(second, "b")
    assert [image.reference for image in read(making)] == ["oci:x:a", "oci:x:b"]
    for tag in ("b", second["digest"], "@1"):
        assert [image.digest for image in read(making, tag)] == [second["digest"]]
    with pytest.raises(ImageError, match=r"no image `c` in it; its tags: `a, b`"):
        read(making, "c")


def test_each_name_that_is_shown_means_one_image(making: Making) -> None:
    making.add(making.manifest([LAYER]), "1.0")
    making.add(making.manifest([LAYER, LAYER]), "1.0")
    full = {"io.containerd.image.name": "docker.io/library/fine:1.0"}
    named = {**full, "org.opencontainers.image.ref.name": "1.0"}
    making.add({**making.manifest([tar({})]), "annotations": named})
    shown = [image.reference.partition("oci:x:")[2] for image in read(making)]
    assert shown == ["@0", "@1", "fine:1.0"]
    assert [len(read(making, name)) for name in shown] == [1, 1, 1]


def test_an_index_for_several_platforms_is_several_images(making: Making) -> None:
    manifests = [making.manifest([LAYER], architecture=name) for name in ("amd64", "arm64")]
    index = {"schemaVersion": 2, "manifests": manifests}
    making.add(making.described(INDEX, index), "1.0")
    assert [str(image.platform) for image in read(making)] == ["linux/amd64", "linux/arm64"]
    assert {image.reference for image in read(making)} == {"oci:x:1.0"}


def test_attestations_signatures_and_charts_are_not_images(making: Making) -> None:
    image = making.manifest([LAYER])
    attestation = {
        **making.manifest([tar({"x": ""})]),
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    index = {"schemaVersion": 2, "manifests": [image, attestation]}
    making.add(making.described(INDEX, index), "1.0")
    chart = {
        "schemaVersion": 2,
        "config": making.described("application/vnd.cncf.helm.config.v1+json", {}),
        "layers": [making.described("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"x")],
    }
    making.add(making.described(MANIFEST, chart), "chart")
    assert [one.digest for one in read(making)] == [image["digest"]]
    with pytest.raises(ImageError, match="it has no container image"):
        opened(f"oci:{making.path}:chart").__enter__()


@pytest.mark.parametrize(
    "media_type",
    [
        f"{OCI}.layer.v1.tar",
        f"{OCI}.layer.v1.tar+gzip",
        f"{OCI}.layer.v1.tar+zstd",
        f"{OCI}.layer.nondistributable.v1.tar+gzip",
        f"{DOCKER}.image.rootfs.diff.tar",
        f"{DOCKER}.image.rootfs.diff.tar.gzip",
        f"{DOCKER}.image.rootfs.diff.tar.zstd",
        f"{DOCKER}.image.rootfs.foreign.diff.tar.gzip",
    ],
)
@pytest.mark.parametrize("compress", [plain, gzipped])
def test_what_a_layer_is_compressed_with_is_recognized_by_its_content(
    making: Making, media_type: str, compress: Any
) -> None:
    making.add(making.manifest([LAYER], compress, media_type=media_type))
    ((layer,),) = [image.layers for image in read(making)]
    assert changes.read(layer).groups[0][1][0][0] == "a"


def test_a_layer_that_is_not_a_tar_is_an_error(making: Making) -> None:
    making.add(making.manifest([LAYER], media_type="application/octet-stream"))
    with pytest.raises(ImageError, match="it has no container image"):
        opened(making.path).__enter__()
    descriptor = making.manifest([LAYER, LAYER])
    path = making.path / "blobs/sha256" / descriptor["digest"].partition(":")[2]
    content = json.loads(path.read_text())
    content["layers"][1]["mediaType"] = "application/octet-stream"
    making.add(making.described(MANIFEST, content))
    with pytest.raises(ImageError, match=r"is not a tar: `application/octet-stream`"):
        read(making)


@pytest.mark.parametrize(
    "bad",
    [
        "sha256:../../../etc/passwd",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 64 + "\n",
        "sha1:" + "a" * 40,
        "md5:x",
        "",
        7,
        None,
        ["sha256:" + "a" * 64],
    ],
)
def test_an_invalid_digest_leads_nowhere(making: Making, bad: object) -> None:
    making.index({"manifests": [{"mediaType": MANIFEST, "digest": bad, "size": 1}]})
    with pytest.raises(ImageError, match="has an invalid digest"):
        read(making)


@pytest.mark.parametrize("size", [-1, "7", None, 1.5, True, []])
def test_a_size_that_is_not_one_is_an_error(making: Making, size: object) -> None:
    making.index({"manifests": [{"mediaType": MANIFEST, "digest": digest(b""), "size": size}]})
    with pytest.raises(ImageError, match="has an invalid size"):
        read(making)


@pytest.mark.parametrize(
    "index",
    [
        *(b"", b"{", b"\xff", b"[]", b"7", b"null", b'"x"', b"[" * 100_000, b'{"a":' * 100_000),
        *({}, {"manifests": {}}, {"manifests": [7]}, {"manifests": [[]]}, {"manifests": [{}]}),
    ],
)
def test_an_invalid_index_is_an_error(making: Making, index: object) -> None:
    making.index(index)
    with pytest.raises(ImageError):
        read(making)


@pytest.mark.parametrize(
    "manifest",
    [
        b"{",
        {},
        {"config": {}, "layers": []},
        {"config": 7, "layers": []},
        {"config": {"mediaType": CONFIG, "digest": digest(b"{}"), "size": 2}, "layers": 7},
        {"config": {"mediaType": CONFIG, "digest": digest(b"{}"), "size": 2}, "layers": [7]},
        {"config": {"mediaType": [], "digest": digest(b"{}"), "size": 2}, "layers": []},
    ],
)
def test_an_invalid_manifest_is_an_error(making: Making, manifest: object) -> None:
    making.blob(b"{}")
    making.add(making.described(MANIFEST, manifest))
    with pytest.raises(ImageError):
        read(making)


def test_a_long_json_is_an_error_before_it_is_in_memory(making: Making) -> None:
    making.add(making.described(MANIFEST, b" " * 10_000_000))
    with pytest.raises(ImageError, match="is longer than"):
        read(making)


def test_an_index_in_itself_ends(making: Making) -> None:
    inner: dict[str, Any] = making.manifest([LAYER])
    for _ in range(9):
        inner = making.described(INDEX, {"manifests": [inner]})
    making.add(inner)
    with pytest.raises(ImageError, match="too deep"):
        read(making)


def test_a_wrong_digest_of_a_manifest_is_an_error(making: Making) -> None:
    descriptor = making.manifest([LAYER])
    making.add(descriptor)
    path = making.path / "blobs/sha256" / descriptor["digest"].partition(":")[2]
    path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))
    with pytest.raises(ImageError, match="is damaged: its digest is sha256:"):
        read(making)


@pytest.mark.parametrize("compress", [plain, gzipped])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda blob: blob[:-9], "has [0-9]+ bytes instead of"),
        (lambda blob: blob + b"x", "is longer than"),
        (lambda blob: blob[:-1] + bytes([blob[-1] ^ 1]), "is damaged: its digest is"),
        (lambda blob: bytes([blob[0] ^ 1]) + blob[1:], "is damaged: its digest is"),
        (lambda blob: bytes(len(blob)), "is damaged: its digest is"),
    ],
)
def test_a_damaged_layer_is_an_error_and_the_digest_is_the_reason(
    making: Making, compress: Any, how: Any, said: str
) -> None:
    making.add(making.manifest([LAYER], compress))
    ((layer,),) = [image.layers for image in read(making)]
    path = making.path / layer.name
    path.write_bytes(how(path.read_bytes()))
    with pytest.raises(ImageError, match=said):
        changes.read(layer)


def test_a_layer_that_is_damaged_before_its_digest_was_taken_is_an_error(making: Making) -> None:
    made = tar({"x": random.Random(0).randbytes(100_000)})
    making.add(making.manifest([made], lambda one: gzipped(one)[:-20_000]))
    ((layer,),) = [image.layers for image in read(making)]
    with pytest.raises(ImageError, match=r"is not a tar that can be read"):
        changes.read(layer)


def test_a_missing_layer_is_an_error(making: Making) -> None:
    making.add(making.manifest([LAYER]))
    ((layer,),) = [image.layers for image in read(making)]
    (making.path / layer.name).unlink()
    with pytest.raises(ImageError, match=r"cannot be read: No such file"):
        changes.read(layer)


def test_an_archive_of_docker_save_verifies_layers_by_what_they_unpack_to(tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "saved.tar", [LAYER])
    named = f"docker-archive:{path}"
    with opened(named) as (image,):
        assert image.layers[0].diff_id == digest(LAYER)
        changes.read(image.layers[0])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0000644", b"0000755", 2).replace(b"ustar", b"ustar"))
    damaged = bytearray(content)
    damaged[512 + 1] ^= 1  # the name in the layer's first header
    path.write_bytes(damaged)
    with opened(named) as (image,), pytest.raises(ImageError):
        changes.read(image.layers[0])


def test_the_json_of_an_image_is_kept_as_it_is(tmp_path: Path) -> None:
    path = layout(tmp_path / "layout", [LAYER])
    index, (descriptor,) = source.index_of(Folder(str(path)))
    assert index == json.loads((path / "index.json").read_text())
    assert descriptor.raw == index["manifests"][0]  # type: ignore[index]


def test_a_layer_of_docker_save_that_is_named_by_no_string_is_an_error(tmp_path: Path) -> None:
    described = json.dumps({"rootfs": {"diff_ids": [digest(LAYER)]}}).encode()
    name = digest(described).partition(":")[2] + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": ["a:1"], "Layers": [7]}])
    path = tmp_path / "saved.tar"
    path.write_bytes(tar([(name, described), ("manifest.json", manifest)]))
    named = f"docker-archive:{path}"
    with pytest.raises(ImageError, match="is not a string"), opened(named):
        pass
