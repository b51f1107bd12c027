"""Where a mended image is written, everything that was there is there still."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.corpus import installed, under
from tests.images.making import (
    CONFIG,
    MANIFEST,
    OCI,
    Making,
    digest,
    docker_archive,
    gzipped,
    layout,
    oci_archive,
    plain,
    tar,
)
from tests.images.unpacking import index, manifest, states, unpacked
from uvshim.check.report import Gate
from uvshim.errors import ImageError
from uvshim.images import destination, mend, reference
from uvshim.images.destination import Tagged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SITE = "opt/app/lib/python3.12/site-packages"
WRONG = tar(under(SITE, installed("oslo_cache-1.0", "oslo.cache")))
OTHER = tar(under(SITE, installed("zope_deferred-1.0", "zope.deferred")))


def fix(source: str, target: str) -> str | None:
    """Mend the image `source` as `target`; return what `destination.write` does."""
    named, goal = reference.parse(source), destination.parse(target)
    assert named is not None
    with contextlib.ExitStack() as stack:
        place = reference.place(named, stack)
        (result,) = mend.mend(place, source, named.tag, Gate())
        assert result.new is not None
        return destination.write(goal, [Tagged(result.new, goal.tag or result.tag, result.tag)])


def content(path: Path) -> dict[str, Any]:
    """Return everything below `path`, or what it holds itself."""
    return states(path) if path.is_dir() else {"": path.read_bytes() if path.exists() else None}


@pytest.fixture
def source(tmp_path: Path) -> str:
    return f"oci:{layout(tmp_path / 'source', [WRONG])}:latest"


# --- a layout -------------------------------------------------------------------------------------


def test_a_new_layout_holds_the_image_and_nothing_else(tmp_path: Path, source: str) -> None:
    fix(source, f"oci:{tmp_path}/a/b/new:1")
    path = tmp_path / "a" / "b" / "new"
    assert sorted(os.listdir(path)) == ["blobs", "index.json", "oci-layout"]
    assert json.loads((path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert list(index(path)) == ["1"]
    assert len(os.listdir(path / "blobs" / "sha256")) == 4
    for name in os.listdir(path / "blobs" / "sha256"):
        assert digest((path / "blobs" / "sha256" / name).read_bytes()) == f"sha256:{name}"
    assert (unpacked(path, "1", tmp_path / "root") / SITE / "oslo.cache-1.0.dist-info").is_dir()


def test_in_the_same_layout_blobs_and_a_tag_are_added(tmp_path: Path, source: str) -> None:
    path = tmp_path / "source"
    (path / "index.json").chmod(0o640)
    before = content(path)
    fix(source, f"oci:{path}:new")
    after = content(path)
    added = set(after) - set(before)
    assert len(added) == 3
    assert {key for key in before if after[key] != before[key]} == {"index.json"}
    assert after["index.json"][0] == before["index.json"][0]
    assert list(index(path)) == ["latest", "new"]
    again = content(path)
    fix(source, f"oci:{path}:new")
    assert {k: v[:2] for k, v in content(path).items()} == {k: v[:2] for k, v in again.items()}


def test_a_tag_that_is_there_is_replaced_only_if_it_is_named(tmp_path: Path, source: str) -> None:
    other = layout(tmp_path / "other", [OTHER])
    before = index(other)["latest"]
    fix(source, f"oci:{other}:new")
    assert index(other)["latest"] == before
    fix(source, f"oci:{other}:latest")
    assert index(other)["latest"]["digest"] == index(other)["new"]["digest"] != before["digest"]
    assert len(json.loads((other / "index.json").read_text())["manifests"]) == 2


def test_more_that_an_index_says_stays(tmp_path: Path, source: str) -> None:
    path = tmp_path / "source"
    raw = json.loads((path / "index.json").read_text())
    more = {"mediaType": "application/vnd.oci.image.index.v1+json", "annotations": {"a": "b"}}
    (path / "index.json").write_text(json.dumps({**more, **raw, "x": [1]}))
    fix(source, f"oci:{path}:new")
    after = json.loads((path / "index.json").read_text())
    assert {key: value for key, value in after.items() if key != "manifests"} == {
        **more,
        "schemaVersion": 2,
        "x": [1],
    }


def test_what_a_killed_run_has_left_is_written_over(tmp_path: Path, source: str) -> None:
    path = tmp_path / "new"
    fix(source, f"oci:{path}:1")
    good = {key: value[:2] for key, value in content(path).items()}
    (path / "index.json").unlink()
    (path / ".uvshim-unfinished").write_text("half")
    next((path / "blobs" / "sha256").iterdir()).write_text("half")
    fix(source, f"oci:{path}:1")
    assert {key: value[:2] for key, value in content(path).items()} == good


def test_a_link_in_the_place_of_what_is_written_leads_nowhere(tmp_path: Path, source: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "source" / ".uvshim-unfinished").symlink_to(victim)
    fix(source, f"oci:{tmp_path}/source:new")
    assert victim.read_text() == "mine"


def _fix_with_tag(source: str, form: str, number: int) -> None:
    fix(source, form.format(number))


FORMS = {
    "a layout": "oci:{0}/shared:{{}}",
    "an archive of a layout": "oci-archive:{0}/shared.tar:{{}}",
    "an archive of docker save": "docker-archive:{0}/shared.tar:app:{{}}",
}


@pytest.mark.parametrize("form", FORMS)
def test_several_at_once_lose_nothing(tmp_path: Path, source: str, form: str) -> None:
    target = FORMS[form].format(tmp_path)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_fix_with_tag, args=(source, target, number)) for number in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    for number in range(8):
        named = reference.parse(target.format(number))
        assert named is not None
        with reference.opened(named) as images:
            assert len(images) == 1


# --- archives -------------------------------------------------------------------------------------


def test_an_archive_keeps_what_it_has(tmp_path: Path, source: str) -> None:
    path = oci_archive(layout(tmp_path / "other", [OTHER]), tmp_path / "images.tar")
    path.chmod(0o600)
    fix(source, f"oci-archive:{path}:new")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "content", filter="data")
    assert sorted(index(tmp_path / "content")) == ["latest", "new"]
    assert unpacked(tmp_path / "content", "latest", tmp_path / "one").is_dir()
    assert unpacked(tmp_path / "content", "new", tmp_path / "two").is_dir()
    assert (path.stat().st_mode & 0o777, sorted(os.listdir(tmp_path))) == (
        0o600,
        ["content", "images.tar", "one", "other", "source", "two"],
    )


@pytest.mark.parametrize("compress", [gzipped, plain])
def test_an_archive_of_docker_save_is_made_of_a_layout(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    layout(tmp_path / "from", [OTHER, WRONG, OTHER], compress)
    path = docker_archive(tmp_path / "images.tar", [OTHER], ["app:1", "app:2"])
    told = fix(f"oci:{tmp_path}/from:latest", f"docker-archive:{path}:app:2")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "content", filter="data")
    listed = json.loads((tmp_path / "content" / "manifest.json").read_text())
    assert [each["RepoTags"] for each in listed] == [["app:1"], ["app:2"]]
    config = (tmp_path / "content" / listed[1]["Config"]).read_bytes()
    assert told == digest(config) == f"sha256:{listed[1]['Config'].removesuffix('.json')}"
    layers = [(tmp_path / "content" / name).read_bytes() for name in listed[1]["Layers"]]
    assert layers[:3] == [OTHER, WRONG, OTHER]
    assert [digest(each) for each in layers] == json.loads(config)["rootfs"]["diff_ids"]
    with reference.opened(reference.parse(f"docker-archive:{path}:app:1")) as images:  # type: ignore[arg-type]
        assert len(images) == 1


@pytest.mark.parametrize("compress", [gzipped, plain])
def test_an_archive_of_docker_save_becomes_a_layout(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    rootfs = {"type": "layers", "diff_ids": [digest(OTHER), digest(WRONG)]}
    layers = [compress(OTHER), compress(WRONG)]
    saved = docker_archive(tmp_path / "images.tar", layers, rootfs=rootfs)
    fix(f"docker-archive:{saved}:app", f"oci:{tmp_path}/new:1")
    kinds = [each["mediaType"] for each in manifest(tmp_path / "new", "1")["layers"]]
    suffix = "+gzip" if compress is gzipped else ""
    plain_kind = "application/vnd.oci.image.layer.v1.tar"
    assert kinds == [plain_kind + suffix, plain_kind + suffix, plain_kind]
    assert unpacked(tmp_path / "new", "1", tmp_path / "root").is_dir()


def test_another_list_of_what_is_in_an_archive_does_not_stay(tmp_path: Path, source: str) -> None:
    directory = layout(tmp_path / "other", [OTHER])
    (config,) = [
        path for path in (directory / "blobs/sha256").iterdir() if b'"rootfs"' in path.read_bytes()
    ]
    entry = {
        "Config": f"blobs/sha256/{config.name}",
        "RepoTags": ["app:1"],
        "Layers": [f"blobs/sha256/{digest(gzipped(OTHER)).partition(':')[2]}"],
    }
    (directory / "manifest.json").write_text(json.dumps([entry]))
    path = oci_archive(directory, tmp_path / "images.tar")  # as Docker 25 and later write it
    fix(source, f"docker-archive:{path}:app:2")
    with tarfile.open(path) as archive:
        names = set(archive.getnames())
    assert not names & {"index.json", "oci-layout"}
    for tag in ("1", "2"):
        with reference.opened(reference.parse(f"docker-archive:{path}:app:{tag}")) as images:  # type: ignore[arg-type]
            assert len(images) == 1


def test_a_layer_that_the_config_does_not_name_is_not_put_into_an_archive(tmp_path: Path) -> None:
    making = Making(tmp_path / "from")
    raw = json.loads(making.blob(b"{}").read_text())
    rootfs = {"type": "layers", "diff_ids": [digest(OTHER)]}
    config = making.described(CONFIG, {"rootfs": rootfs})
    layers = [making.described(f"{OCI}.layer.v1.tar+gzip", gzipped(WRONG))]
    making.add(making.described(MANIFEST, {**raw, "config": config, "layers": layers}), "x")
    with pytest.raises(ImageError, match="that the config names"):
        fix(f"oci:{making.path}:x", f"docker-archive:{tmp_path}/new.tar:app:1")
    assert os.listdir(tmp_path) == ["from"]


def test_several_platforms_do_not_fit_into_an_archive_of_docker_save(tmp_path: Path) -> None:
    making = Making(tmp_path / "from")
    parts = [making.manifest([WRONG], architecture=each) for each in ("amd64", "arm64")]
    kind = "application/vnd.oci.image.index.v1+json"
    making.add(making.described(kind, {"schemaVersion": 2, "manifests": parts}), "all")
    with pytest.raises(ImageError, match="holds an image for one platform"):
        fix(f"oci:{tmp_path}/from:all", f"docker-archive:{tmp_path}/x.tar:app:1")
    assert sorted(os.listdir(tmp_path)) == ["from"]
    fix(f"oci:{tmp_path}/from:all", f"oci-archive:{tmp_path}/x.tar:all")
    with reference.opened(reference.parse(f"oci-archive:{tmp_path}/x.tar:all")) as images:  # type: ignore[arg-type]
        assert {image.platform for image in images} == {"linux/amd64", "linux/arm64"}


# --- what fails -----------------------------------------------------------------------------------

TARGETS = {
    "a new layout": "oci:{}/a/new:1",
    "a layout": "oci:{}/other:1",
    "a new archive": "oci-archive:{}/new.tar:1",
    "an archive": "oci-archive:{}/images.tar:1",
    "a new archive of docker save": "docker-archive:{}/new.tar:app:1",
    "an archive of docker save": "docker-archive:{}/saved.tar:app:1",
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_failure_leaves_everything_as_it_was(
    tmp_path: Path, source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    oci_archive(layout(tmp_path / "other", [OTHER]), tmp_path / "images.tar")
    docker_archive(tmp_path / "saved.tar", [OTHER])
    before = content(tmp_path)

    # Read well at first, and damaged when it is copied.
    original = mend.mend

    def damaging(*words: Any) -> Any:
        results = original(*words)
        (layer,) = [
            path
            for path in (tmp_path / "source" / "blobs" / "sha256").iterdir()
            if path.read_bytes() == gzipped(WRONG)
        ]
        layer.write_bytes(layer.read_bytes()[:-1] + b"x")
        return results

    monkeypatch.setattr(mend, "mend", damaging)
    with pytest.raises(ImageError, match=r"damaged|cannot be decompressed"):
        fix(source, TARGETS[target].format(tmp_path))
    after = content(tmp_path)
    shutil.rmtree(tmp_path / "source")
    kept = {key: value for key, value in before.items() if not key.startswith("source")}
    assert {key: value for key, value in after.items() if not key.startswith("source")} == kept


@pytest.mark.parametrize(
    "text", ["new", "./new:1", "http://x/y:1", "oci", "registry.example/app:1", ""]
)
def test_a_target_must_say_what_it_is(text: str) -> None:
    with pytest.raises(ImageError, match="does not say what to write"):
        destination.parse(text)


def test_without_skopeo_it_is_said_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ImageError, match="apt-get install skopeo"):
        destination.parse("docker://registry.example/app:1")
    assert destination.parse("oci:new:1").transport == "oci"


def test_what_is_not_a_regular_file_is_not_an_archive(source: str) -> None:
    with pytest.raises(ImageError, match="is not a regular file"):
        fix(source, "oci-archive:/dev/null:1")
