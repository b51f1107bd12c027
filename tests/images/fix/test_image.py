"""A fixed image: everything except the new layer is unchanged."""

from __future__ import annotations

import bz2
import functools
import json
import lzma
from typing import TYPE_CHECKING, Any

import pytest

import uvshim
from tests.corpus import installed, under
from tests.images.making import CONFIG, DOCKER, INDEX, MANIFEST, OCI, Making, digest, gzipped, plain
from tests.images.making import tar as tar_of
from tests.images.unpacking import blob, index, manifest, pointed_to, tars, unpacked
from uvshim import __version__
from uvshim.check.report import Gate
from uvshim.errors import ImageError, UvshimError
from uvshim.images import compression, reference, sources
from uvshim.images.fix import image as fixing
from uvshim.images.fix import layer as new_layer
from uvshim.images.fix import names, write
from uvshim.images.layer import changes
from uvshim.images.sources import layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from uvshim.images.fix.image import FixedImage

SITE = "opt/app/lib/python3.12/site-packages"
WRONG = tar_of(under(SITE, installed("oslo_cache-1.0", "oslo.cache")))
RIGHT = tar_of(under(SITE, installed("oslo.cache-1.0", "oslo.cache")))
PLAIN = tar_of({"etc/": "", "etc/motd": "hello"})
CREATED = "2026-11-22T19:31:12.882700412Z"


def fix(path: Path, old: str = "old", new: str = "new") -> FixedImage:
    """Fix the image `old` of the layout at `path` as `new`."""
    named = reference.parse(f"oci:{path}:{old}")
    assert named is not None
    with sources.opened(named) as (entry,):
        fixed = fixing.FixedImage(entry, Gate(), for_layout=True)
        write.write(names.parse(f"oci:{path}:{new}"), [fixed])
    return fixed


def image(
    making: Making,
    *layers: bytes,
    compress: Callable[[bytes], bytes] = gzipped,
    kinds: tuple[str, str, str] = (MANIFEST, CONFIG, f"{OCI}.layer.v1.tar+gzip"),
    config: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Add an image whose config and manifest have more keys; return its descriptor."""
    described = making.described(
        kinds[1],
        {
            "os": "linux",
            "architecture": "amd64",
            "created": CREATED,
            "rootfs": {"type": "layers", "diff_ids": [digest(each) for each in layers], "x": 1},
            "history": [{"created_by": "ADD"} for _ in layers],
            **(config or {}),
        },
        annotations={"of": "config"},
    )
    listed = [making.described(kinds[2], compress(each), annotations={"n": "1"}) for each in layers]
    raw = {"schemaVersion": 2, "mediaType": kinds[0], "config": described, "layers": listed, **more}
    return making.described(kinds[0], raw)


def test_a_layer_that_several_images_share_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making = Making(tmp_path / "x")
    for name, own in (("one", RIGHT), ("two", PLAIN)):
        making.add(image(making, WRONG, own), name)
    read: list[str | None] = []
    really = changes.read

    def noted(layer: Any, *arguments: Any, **options: Any) -> changes.Changes:
        read.append(layer.diff_id)
        return really(layer, *arguments, **options)

    monkeypatch.setattr(changes, "read", noted)
    store = new_layer.store()
    named = reference.parse(f"oci:{making.path}")
    assert named is not None
    with sources.opened(named) as entries:
        for each in entries:
            alone = fixing.FixedImage(each, Gate(), for_layout=True).digest
            del read[:]
            fixed = fixing.FixedImage(each, Gate(), for_layout=True, store=store)
            assert fixed.digest == alone
    assert digest(WRONG) not in read
    assert digest(PLAIN) in read


@pytest.fixture
def making(tmp_path: Path) -> Making:
    return Making(tmp_path / "layout")


def test_every_other_key_stays_as_it_was(making: Making) -> None:
    strange = {
        "Config": {"Env": ["A=é\ud800"]},
        "big": 12345678901234567890,
        "null": None,
        "f": 1.5,
    }
    more: dict[str, Any] = {"annotations": {"a": "b", "é": "ü"}, "subject": {"any": ["thing"]}}
    making.add(image(making, PLAIN, WRONG, config=strange, **more), "old")
    fix(making.path)
    old, new = manifest(making.path, "old"), manifest(making.path, "new")
    assert list(new) == list(old)
    changed = {"config", "layers"}
    note = {"uvshim.fixed-by": f"uvshim {uvshim.__version__}"}
    assert {k: new[k] for k in new if k not in changed} == {
        **{k: old[k] for k in old if k not in changed},
        "annotations": {**old["annotations"], **note},
    }
    assert new["layers"][:2] == old["layers"]
    assert new["config"]["annotations"] == old["config"]["annotations"]
    configs = [pointed_to(making.path, each["config"]) for each in (old, new)]
    assert list(configs[1]) == [*configs[0], "config"]
    assert configs[1]["config"] == {"Labels": note}
    changed = {"rootfs", "history", "config"}
    assert {k: v for k, v in configs[0].items() if k not in changed} == {
        k: v for k, v in configs[1].items() if k not in changed
    }
    assert configs[1]["rootfs"]["x"] == 1
    assert configs[1]["rootfs"]["diff_ids"] == [digest(each) for each in tars(making.path, "new")]
    assert configs[1]["history"][:2] == configs[0]["history"]
    assert configs[1]["history"][2] == {
        "created": CREATED,
        "created_by": f"uvshim {__version__} fix",
        "comment": "renormalized 1 distribution",
    }


def test_the_same_image_gives_the_same_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")  # an unset ARG of a Dockerfile
    for name in ("one", "two"):
        making = Making(tmp_path / name)
        making.add(image(making, WRONG), "old")
        fix(making.path)
        digests.append(index(making.path)["new"]["digest"])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    (*_, layer) = manifest(making.path, "new")["layers"]
    assert blob(making.path, layer["digest"])[4:8] == bytes(4)  # gzip's own date
    fix(making.path, new="dated")
    dated = manifest(making.path, "dated")
    assert digests[0] == digests[1] != index(making.path)["dated"]["digest"]
    assert (
        pointed_to(making.path, dated["config"])["history"][-1]["created"] == "1970-01-02T00:00:00Z"
    )
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "tomorrow")
    with pytest.raises(UvshimError, match="SOURCE_DATE_EPOCH is not a number of seconds"):
        fix(making.path)


@pytest.mark.parametrize("created", [None, "yesterday", 5, "2026-13-01T00:00:00Z"])
def test_an_image_without_a_date_or_history_is_fixed_too(making: Making, created: object) -> None:
    making.add(image(making, WRONG, config={"created": created, "history": None}), "old")
    fix(making.path)
    config = pointed_to(making.path, manifest(making.path, "new")["config"])
    assert config["created"] == created
    assert config["history"] is None  # buildah refuses a history that lists fewer layers


KINDS = {
    "OCI, gzip": (MANIFEST, CONFIG, f"{OCI}.layer.v1.tar+gzip"),
    "OCI, zstd": (MANIFEST, CONFIG, f"{OCI}.layer.v1.tar+zstd"),
    "OCI, plain": (MANIFEST, CONFIG, f"{OCI}.layer.v1.tar"),
    "OCI, not to be distributed": (MANIFEST, CONFIG, f"{OCI}.layer.nondistributable.v1.tar+gzip"),
    "Docker": (
        f"{DOCKER}.distribution.manifest.v2+json",
        f"{DOCKER}.container.image.v1+json",
        f"{DOCKER}.image.rootfs.diff.tar.gzip",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_new_layer_is_like_its_neighbours(making: Making, tmp_path: Path, kind: str) -> None:
    kinds = KINDS[kind]
    compress = gzipped if kinds[2].endswith("gzip") else plain
    if kinds[2].endswith("zstd"):
        pytest.importorskip("backports.zstd")
        compress = functools.partial(compression.compressed, media_type="zstd")
    making.add(image(making, WRONG, kinds=kinds, compress=compress), "old")
    fix(making.path)
    new = manifest(making.path, "new")
    manifest_kind, config_kind, layer_kind = KINDS["OCI, gzip"] if kind == "Docker" else kinds
    assert index(making.path)["new"]["mediaType"] == new["mediaType"] == manifest_kind
    assert new["config"]["mediaType"] == config_kind
    kinds_of_layers = [layer_kind, layer_kind.replace("nondistributable.", "")]
    assert [each["mediaType"] for each in new["layers"]] == kinds_of_layers
    heads = {content[:2] for content in (blob(making.path, one["digest"]) for one in new["layers"])}
    assert len(heads) == 1 or kinds[2].endswith(".tar")
    root = unpacked(making.path, "new", tmp_path / "new")
    assert (root / SITE / "oslo.cache-1.0.dist-info" / "RECORD").exists()


@pytest.mark.parametrize("kind", ["xz", "bzip2"])
def test_beside_a_layer_that_oci_does_not_know_the_new_one_is_gzip(
    making: Making, tmp_path: Path, kind: str
) -> None:
    compress: Any = {"xz": lzma.compress, "bzip2": bz2.compress}[kind]
    kinds = (MANIFEST, CONFIG, f"{OCI}.layer.v1.tar+{kind}")
    making.add(image(making, WRONG, kinds=kinds, compress=compress), "old")
    fix(making.path)
    layers = manifest(making.path, "new")["layers"]
    assert [each["mediaType"] for each in layers] == [kinds[2], f"{OCI}.layer.v1.tar+gzip"]
    assert blob(making.path, layers[1]["digest"])[:2] == gzipped(b"")[:2]


def test_a_config_that_is_in_its_descriptor_is_not_the_one_of_the_new_image(
    making: Making,
) -> None:
    described = image(making, WRONG)
    raw = pointed_to(making.path, described)
    raw["config"] |= {"data": "e30=", "urls": ["https://registry.example/config"]}
    making.add(making.described(MANIFEST, raw), "old")
    fix(making.path)
    assert set(manifest(making.path, "new")["config"]) == {
        *("mediaType", "digest", "size", "annotations"),
    }


def test_an_image_whose_config_lists_no_layers_is_an_error(making: Making) -> None:
    making.add(image(making, WRONG, config={"rootfs": {"type": "layers"}}), "old")
    with pytest.raises(ImageError, match="it has 1 layer, and its config lists 0"):
        fix(making.path)


@pytest.mark.parametrize(
    ("history", "more"),
    [
        ([], 0),
        ([{"created_by": "FROM"}], 1),
        ([{"empty_layer": True}, {"created_by": "ADD"}, {"empty_layer": True}], 1),
        ([{"empty_layer": True}], 0),
        ([{}, {}], 0),
        ("x", 0),
    ],
)
def test_history_gets_an_entry_where_it_lists_every_layer(
    making: Making, history: Any, more: int
) -> None:
    """buildah refuses to commit an image whose history lists fewer layers than there are."""
    making.add(image(making, WRONG, config={"history": history}), "old")
    fix(making.path)
    after = pointed_to(making.path, manifest(making.path, "new")["config"])["history"]
    assert len(after) == len(history) + more


@pytest.mark.parametrize("config", [None, {}, {"Labels": None}, {"Labels": {"a": "b"}, "Env": []}])
def test_a_fixed_image_says_so(making: Making, config: Any) -> None:
    making.add(image(making, WRONG, config={"config": config}), "old")
    fix(making.path)
    new = manifest(making.path, "new")
    after = pointed_to(making.path, new["config"])["config"]
    note = {"uvshim.fixed-by": f"uvshim {uvshim.__version__}"}
    assert after == {**(config or {}), "Labels": {**((config or {}).get("Labels") or {}), **note}}
    assert new["annotations"] == note


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("content", [WRONG, RIGHT])
def test_docker_s_media_types_stay_outside_of_layouts_and_change_in_them(
    making: Making, tmp_path: Path, content: bytes, kind: str
) -> None:
    """skopeo, podman and umoci find no tag in a layout that leads to a manifest of Docker."""
    if kind == "zstd":
        pytest.importorskip("backports.zstd")
    layer_kind = f"{DOCKER}.image.rootfs.diff.tar.{kind}"
    compress = functools.partial(compression.compressed, media_type=kind)
    kinds = (*KINDS["Docker"][:2], layer_kind)
    parts = [image(making, content, kinds=kinds, compress=compress)]
    listed = f"{DOCKER}.distribution.manifest.list.v2+json"
    raw = {"schemaVersion": 2, "mediaType": listed, "manifests": parts}
    making.add(making.described(listed, raw), "old")
    named = reference.parse(f"oci:{making.path}:old")
    assert named is not None
    with sources.opened(named) as (entry,):
        kept = fixing.FixedImage(entry, Gate(), for_layout=False)
        write.write(names.parse(f"dir:{tmp_path}/kept"), [kept])
    top = json.loads((tmp_path / "kept" / "manifest.json").read_bytes())
    assert top["mediaType"] == listed
    own = f"{top['manifests'][0]['digest'].removeprefix('sha256:')}.manifest.json"
    own_manifest = json.loads((tmp_path / "kept" / own).read_bytes())
    assert own_manifest["mediaType"] == KINDS["Docker"][0]
    assert "annotations" not in own_manifest
    assert {each["mediaType"] for each in own_manifest["layers"]} == {layer_kind}

    fix(making.path)
    for path in (making.path / "blobs" / "sha256").iterdir():
        if path.name in {each.partition(":")[2] for each in _below(making.path, "new")}:
            assert b"vnd.docker" not in path.read_bytes()
    assert index(making.path)["new"]["mediaType"] == INDEX


def _below(path: Path, tag: str) -> list[str]:
    """Return the digests of the index with the `tag` and of the manifests that it lists."""
    top = index(path)[tag]
    return [top["digest"], *(each["digest"] for each in pointed_to(path, top)["manifests"])]


def test_the_index_is_read_once(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixed and the written images are the same."""
    making.add(image(making, WRONG), "old")
    reads = []
    original = layout.index_of

    def noted(place: Any, *more: Any) -> Any:
        reads.append(place.path)
        return original(place, *more)

    monkeypatch.setattr(layout, "index_of", noted)
    named = reference.parse(f"oci:{making.path}:old")
    assert named is not None
    with sources.opened(named) as (entry,):
        making.add(image(making, RIGHT), "other")
        fixed = fixing.FixedImage(entry, Gate(), for_layout=True)
        write.write(names.parse(f"oci:{making.path}:new"), [fixed])
    assert reads == [str(making.path)] * 2  # the second time under the lock, to add a tag
    assert list(index(making.path)) == ["old", "other", "new"]


# --- several platforms ----------------------------------------------------------------------------


def attestation(making: Making, of: dict[str, Any]) -> dict[str, Any]:
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": of["digest"],
    }
    statement = [making.described("application/vnd.in-toto+json", {"of": of["digest"]})]
    raw = {"schemaVersion": 2, "config": making.described(CONFIG, {}), "layers": statement}
    return {**making.described(MANIFEST, raw), "annotations": annotations}


def test_each_platform_is_fixed_and_what_attests_the_old_one_is_left_out(making: Making) -> None:
    wrong = {**image(making, WRONG), "platform": {"os": "linux", "architecture": "amd64"}}
    other = {**image(making, PLAIN, WRONG), "platform": {"architecture": "arm64"}, "x": "y"}
    right = {**image(making, RIGHT), "platform": {"architecture": "s390x"}}
    parts = [wrong, other, right, *(attestation(making, each) for each in (wrong, other, right))]
    raw = {"schemaVersion": 2, "annotations": {"a": "b"}, "manifests": parts, "more": [1]}
    making.add(making.described(INDEX, raw), "old")
    result = fix(making.path)
    assert result.dropped == 2
    assert [each.layer is not None for each in result.platforms] == [True, True, False]
    new = manifest(making.path, "new")
    assert (new["annotations"], new["more"]) == ({"a": "b"}, [1])
    assert new["manifests"][2:] == [right, parts[5]]
    for old, fixed in zip(parts[:2], new["manifests"], strict=False):
        assert fixed["digest"] != old["digest"]
        assert {**fixed, "digest": 0, "size": 0} == {**old, "digest": 0, "size": 0}
        layers = [pointed_to(making.path, each)["layers"] for each in (old, fixed)]
        assert layers[1][:-1] == layers[0]


def test_all_platforms_are_bounded_in_sum(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their new layers are in memory until all are written."""
    layers = ([WRONG], [PLAIN, WRONG])
    parts = [
        {**image(making, *each), "platform": {"os": "linux", "architecture": str(len(each))}}
        for each in layers
    ]
    making.add(making.described(INDEX, {"schemaVersion": 2, "manifests": parts}), "old")
    monkeypatch.setattr("uvshim.images.fix.layer._LONGEST_LAYER", 2_500)
    result = fix(making.path)
    assert [each.layer is not None for each in result.platforms] == [True, False]


def test_what_is_not_an_image_stays_in_the_index(making: Making) -> None:
    config = making.described("application/vnd.dev.cosign.simplesigning.v1+json", {})
    signature = making.described(MANIFEST, {"schemaVersion": 2, "config": config, "layers": []})
    nested = making.described(INDEX, {"schemaVersion": 2, "manifests": [image(making, WRONG)]})
    making.add(
        making.described(INDEX, {"schemaVersion": 2, "manifests": [signature, nested]}), "old"
    )
    fix(making.path)
    new = manifest(making.path, "new")["manifests"]
    assert new[0] == signature
    assert (
        len(pointed_to(making.path, pointed_to(making.path, new[1])["manifests"][0])["layers"]) == 2
    )


def test_with_nothing_to_fix_the_same_image_gets_the_new_name(making: Making) -> None:
    making.add(image(making, RIGHT), "old")
    result = fix(making.path)
    assert not result.changed
    assert index(making.path)["new"]["digest"] == index(making.path)["old"]["digest"]


def test_another_name_that_containerd_gave_it_is_not_that_of_the_new_one(making: Making) -> None:
    making.add(image(making, WRONG), "old")
    listed = json.loads((making.path / "index.json").read_text())
    listed["manifests"][0]["annotations"] |= {
        "io.containerd.image.name": "docker.io/a:old",
        "x": "y",
    }
    making.index(listed)
    before = index(making.path)["old"]["digest"]
    fix(making.path)
    assert index(making.path)["new"]["annotations"] == {
        "x": "y",
        "org.opencontainers.image.ref.name": "new",
        "io.containerd.image.name": "docker.io/library/a:new",
        "uvshim.fixed-from": before,
    }
