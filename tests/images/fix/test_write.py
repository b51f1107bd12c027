"""Writing a fixed image keeps everything that exists there."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import corpus
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
    plain,
    tar,
)
from tests.images.opening import opened
from tests.images.unpacking import index, manifest, states, unpacked
from uvshim.check.report import Gate
from uvshim.errors import ImageError
from uvshim.images import reference, sources
from uvshim.images.blob import Verified
from uvshim.images.budget import Budget
from uvshim.images.fix import image as fixing
from uvshim.images.fix import names, write
from uvshim.images.layer import changes
from uvshim.images.sources import skopeo

if TYPE_CHECKING:
    from collections.abc import Callable

SITE = "opt/app/lib/python3.12/site-packages"
WRONG = tar(under(SITE, installed("oslo_cache-1.0", "oslo.cache")))
OTHER = tar(under(SITE, installed("zope_deferred-1.0", "zope.deferred")))


def fix(source: str, target: str, waiting: Any = str, platform: str | None = None) -> write.Written:
    """Fix the images called `source` as `target`; return what `write.write` does."""
    named, goal = reference.parse(source), names.parse(target)
    assert named is not None
    write.prepare(goal)
    with sources.opened(named, platform) as entries:
        for_layout = goal.transport in names.LAYOUTS
        fixed = [fixing.FixedImage(entry, Gate(), for_layout=for_layout) for entry in entries]
        return write.write(goal, fixed, waiting)


def content(path: Path) -> dict[str, Any]:
    """Return the contents of the directory or file `path`."""
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
    corpus.write(LEFT, path / ".uvshim-left")
    next((path / "blobs" / "sha256").iterdir()).write_text("half")
    fix(source, f"oci:{path}:1")
    assert {key: value[:2] for key, value in content(path).items()} == good


def test_a_damaged_blob_of_the_right_size_is_replaced(tmp_path: Path, source: str) -> None:
    """As a power failure leaves it."""
    path = tmp_path / "new"
    fix(source, f"oci:{path}:1")
    good = {key: value[:2] for key, value in content(path).items()}
    (path / "index.json").unlink()
    for blob in (path / "blobs" / "sha256").iterdir():
        blob.write_bytes(bytes(blob.stat().st_size))
    fix(source, f"oci:{path}:1")
    assert {key: value[:2] for key, value in content(path).items()} == good


def test_an_index_that_is_a_link_stays_one(tmp_path: Path, source: str) -> None:
    path, elsewhere = tmp_path / "source" / "index.json", tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    fix(source, f"oci:{tmp_path}/source:new")
    assert path.is_symlink()
    assert list(index(tmp_path / "source")) == ["latest", "new"]


def test_who_waits_for_a_layout_is_reported(tmp_path: Path, source: str) -> None:
    descriptor = os.open(tmp_path / "source", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    told = []

    def waiting(path: str) -> None:
        told.append(path)
        os.close(descriptor)

    fix(source, f"oci:{tmp_path}/source:new", waiting)
    assert told == [f"{tmp_path}/source"]


def _fix_with_tag(source: str, form: str, number: int) -> None:
    fix(source, form.format(number))


def test_several_at_once_lose_nothing(tmp_path: Path, source: str) -> None:
    target = f"oci:{tmp_path}/shared:{{}}"
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
        with opened(target.format(number)) as images:
            assert len(images) == 1


# --- archives -------------------------------------------------------------------------------------


def unpacked_archive(path: Path) -> Path:
    """Return a directory with what is in the archive at `path`."""
    target = path.with_suffix(".unpacked")
    with tarfile.open(path) as archive:
        archive.extractall(target, filter="data")
    return target


@pytest.mark.parametrize("form", ["oci-archive:{}:1.0", "docker-archive:{}:app:1.0"])
@pytest.mark.parametrize("compress", [gzipped, plain])
def test_an_archive_is_a_layout_and_what_docker_load_reads(
    tmp_path: Path, form: str, compress: Callable[[bytes], bytes]
) -> None:
    layout(tmp_path / "from", [OTHER, WRONG], compress)
    path = tmp_path / "new.tar"
    fix(f"oci:{tmp_path}/from:latest", form.format(path))
    directory = unpacked_archive(path)
    assert sorted(os.listdir(directory)) == ["blobs", "index.json", "manifest.json", "oci-layout"]
    assert list(index(directory)) == ["1.0"]
    (listed,) = json.loads((directory / "manifest.json").read_text())
    assert listed["RepoTags"] == (["app:1.0"] if form.startswith("docker") else [])
    by_index = manifest(directory, "1.0")
    assert [each.rpartition("/")[2] for each in listed["Layers"]] == [
        each["digest"].partition(":")[2] for each in by_index["layers"]
    ]
    assert listed["Config"].endswith(by_index["config"]["digest"].partition(":")[2])
    for name in (f"oci-archive:{path}:1.0", f"docker-archive:{path}", str(path)):
        with opened(name) as (image,):
            assert len(image.layers) == 3


@pytest.mark.parametrize("tag", ["1.0", None])
def test_the_repository_of_an_image_goes_with_it(tmp_path: Path, tag: str | None) -> None:
    saved = docker_archive(tmp_path / "old.tar", [WRONG], ["registry.example:5000/x/app:0.9"])
    new = tmp_path / "new.tar"
    fix(str(saved), f"oci-archive:{new}" + (f":{tag}" if tag else ""))
    directory = unpacked_archive(new)
    (listed,) = json.loads((directory / "manifest.json").read_text())
    wanted = tag or "0.9-fixed"
    assert listed["RepoTags"] == [f"registry.example:5000/x/app:{wanted}"]
    (described,) = json.loads((directory / "index.json").read_text())["manifests"]
    origin = described["annotations"].pop("uvshim.fixed-from")
    with opened(saved) as (image,):
        assert image.digest == origin
    assert described["annotations"] == {
        "org.opencontainers.image.ref.name": wanted,
        "io.containerd.image.name": f"registry.example:5000/x/app:{wanted}",
    }
    with opened(f"docker-archive:{new}:registry.example:5000/x/app:{wanted}") as images:
        assert len(images) == 1


@pytest.mark.parametrize(("tag", "wanted"), [("2", "2"), (None, "1-fixed")])
@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_a_name_that_a_layout_has_for_a_tag_is_that_of_docker_too(
    tmp_path: Path, tag: str | None, wanted: str, form: str
) -> None:
    """podman, buildah and skopeo write it."""
    making = Making(tmp_path / "old")
    making.add(making.manifest([WRONG]), "localhost/app:1")
    full = f"localhost/app:{tag}" if form == "docker-archive" else tag
    fix(f"oci:{making.path}", f"{form}:{tmp_path}/new.tar" + (f":{full}" if tag else ""))
    (listed,) = json.loads((unpacked_archive(tmp_path / "new.tar") / "manifest.json").read_text())
    assert listed["RepoTags"] == [f"localhost/app:{wanted}"]


NAMES = {
    "app": "app:latest",
    "registry.example:5000/x/app": "registry.example:5000/x/app:latest",
    "x/app:1": "x/app:1",
    "docker.io/library/app:1": "app:1",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_written_as_docker_load_accepts_it(
    tmp_path: Path, source: str, name: str
) -> None:
    fix(source, f"docker-archive:{tmp_path}/new.tar:{name}")
    (listed,) = json.loads((unpacked_archive(tmp_path / "new.tar") / "manifest.json").read_text())
    assert listed["RepoTags"] == [NAMES[name]]


@pytest.mark.parametrize(
    "text",
    [
        *("docker-archive:x.tar:HOST/app:1", "docker-archive:x.tar:-/app:1"),
        *("docker-archive:x.tar:x.-y/app:1", f"docker-archive:x.tar:{'a' * 238}:1"),
        *("docker-archive:x.tar:" + "0" * 64, "docker-archive:x.tar:/app"),
        *("docker-archive:x.tar:App:4", "docker-archive:x.tar:a:b:c", "docker-archive:x.tar:-a"),
        *("docker-archive:x.tar:a@sha256:0", "docker-archive:x.tar:a//b", "oci:x:-", "oci:x:a b"),
        *("oci-archive:x.tar:\udcff", "docker-archive:x.tar:app:", "docker-daemon:App:1"),
        *("docker://registry.example/App:1", "docker-archive:x.tar:app:" + "x" * 129),
    ],
)
def test_a_name_that_nobody_accepts_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="is not a valid name for an image"):
        names.parse(text)


@pytest.mark.parametrize(
    ("target", "source", "wanted"),
    [
        ("docker://r.example/one", "docker://r.example/one", "docker://r.example/one:latest-fixed"),
        ("docker://r.example/b", "docker://r.example/one:1", "docker://r.example/b:1-fixed"),
        ("docker://r.example:5/b", "docker://r:5/one:1", "docker://r.example:5/b:1-fixed"),
        (
            "docker://r.example/b",
            f"docker://r.example/one:1@{digest(b'')}",
            "docker://r.example/b:1-fixed",
        ),
        ("docker-archive:x", f"containers-storage:{'0' * 64}", "docker-archive:x"),
        (
            "containers-storage:[vfs@/a+/b]localhost/one",
            "containers-storage:[vfs@/a+/b]localhost/one:1",
            "containers-storage:[vfs@/a+/b]localhost/one:1-fixed",
        ),
        (
            "containers-storage:[vfs@/a+/b]one:2",
            "containers-storage:[vfs@/a+/b]one:1",
            "containers-storage:[vfs@/a+/b]one:2",
        ),
        ("docker-archive:x", f"containers-storage:@{'0' * 64}", "docker-archive:x"),
        ("docker-archive:x", f"docker-daemon:{digest(b'')}", "docker-archive:x"),
        ("docker://r.example/b:2", "docker://r.example/one:1", "docker://r.example/b:2"),
        ("oci:new", "oci:old:1.0", "oci:new:1.0-fixed"),
        ("docker://r.example/b", "oci:old:localhost/one:1", "docker://r.example/b:1-fixed"),
    ],
)
def test_an_output_without_a_tag_gets_that_of_the_input_and_a_suffix(
    tmp_path: Path, target: str, source: str, wanted: str
) -> None:
    """A registry's `latest` is not replaced."""
    assert names.completed(names.parse(target), fixed_as(source, tmp_path)) == wanted


def test_an_image_that_has_the_suffix_and_is_unchanged_keeps_its_tag(tmp_path: Path) -> None:
    target = names.parse("docker://r.example/b")
    source = "docker://r.example/b:1-fixed"
    unchanged = fixed_as(source, tmp_path / "1", tar({"etc/motd": ""}))
    assert names.completed(target, unchanged) == "docker://r.example/b:1-fixed"
    changed = fixed_as(source, tmp_path / "2")
    assert names.completed(target, changed) == "docker://r.example/b:1-fixed-fixed"


def fixed_as(source: str, tmp_path: Path, content: bytes = WRONG) -> fixing.FixedImage:
    """Return a fixed image that `source` names, with the layer `content`."""
    named = reference.parse(f"oci:{layout(tmp_path / 'x', [content])}")
    assert named is not None
    with sources.opened(named) as (entry,):
        tag = source.split(":", 2)[2] if source.startswith("oci:") else None
        renamed = entry._replace(reference=source, tag=tag)
        return fixing.FixedImage(renamed, Gate(), for_layout=True)


@pytest.mark.parametrize(
    "source",
    [
        f"docker://r.example/one@{digest(b'')}",
        f"containers-storage:{'0' * 64}",
        f"docker-daemon:{digest(b'')}",
        "docker-archive:saved.tar",
    ],
)
def test_an_image_without_a_tag_needs_one_where_it_would_replace_another(
    tmp_path: Path, source: str
) -> None:
    """A tag of an engine or a registry does not say what it was made from."""
    target = names.parse("docker://r.example/b")
    with pytest.raises(ImageError, match=r"has no tag.*as in: docker://r.example/b:1.0-fixed"):
        names.completed(target, fixed_as(source, tmp_path))


@pytest.mark.parametrize("name", ["App:1", "a b", "app@sha256:" + "0" * 64])
def test_a_name_of_the_input_that_docker_refuses_is_not_written(tmp_path: Path, name: str) -> None:
    saved = docker_archive(tmp_path / "old.tar", [WRONG], [name])
    for target in ("docker-archive", "oci-archive"):
        with pytest.raises(ImageError, match="is not a valid name for an image"):
            fix(str(saved), f"{target}:{tmp_path}/new.tar")
    fix(str(saved), f"docker-archive:{tmp_path}/new.tar:app")


@pytest.mark.parametrize(
    "text", ["oci:", "oci::1", "docker-archive:", "dir:", f"oci:x@{digest(b'')}"]
)
def test_an_output_without_a_place_or_tag_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="does not name a place and a tag"):
        names.parse(text)


# A temporary directory of a killed run.
LEFT: dict[str, str | bytes] = {"temporary-directory-of-uvshim": "", "content/half": "half"}

NEW = {
    "oci-archive": "oci-archive:{}/new:1",
    "docker-archive": "docker-archive:{}/new:app:1",
    "dir": "dir:{}/new",
}


@pytest.mark.parametrize("target", NEW.values(), ids=NEW)
def test_what_a_killed_run_has_left_is_removed_and_nothing_of_a_running_one(
    tmp_path: Path, source: str, target: str
) -> None:
    left, running, foreign = (tmp_path / f".new.uvshim-{name}" for name in "abc")
    for path in (left, running):
        corpus.write(LEFT, path)
    corpus.write({"content/half": "half"}, foreign)
    descriptor = os.open(running, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    fix(source, target.format(tmp_path))
    os.close(descriptor)
    assert sorted(os.listdir(tmp_path)) == [running.name, foreign.name, "new", "source"]
    assert (running / "content/half").exists()
    assert (foreign / "content/half").exists()
    with opened(target.format(tmp_path)) as images:
        assert len(images) == 1


@pytest.mark.parametrize("target", NEW.values(), ids=NEW)
def test_of_two_at_once_one_writes_everything_and_the_other_fails(
    tmp_path: Path, source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither waits, even if somebody has a lock on the directory above."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    finish = Verified.finish

    def other(read: Verified) -> None:
        if [*tmp_path.glob(".new.*")]:  # while the first one writes
            monkeypatch.undo()
            fix(source, target.format(tmp_path))
        finish(read)

    monkeypatch.setattr(Verified, "finish", other)
    with pytest.raises(ImageError, match="new` cannot be written: it exists now"):
        fix(source, target.format(tmp_path))
    os.close(descriptor)
    assert sorted(os.listdir(tmp_path)) == ["new", "source"]
    with opened(target.format(tmp_path)) as (image,):
        for layer in image.layers:
            changes.read(layer, Budget())


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive", "dir"])
def test_what_exists_is_never_modified(tmp_path: Path, source: str, transport: str) -> None:
    path = tmp_path / "there"
    path.write_text("mine")
    with pytest.raises(ImageError, match="exists, and uvshim does not modify it"):
        fix(source, f"{transport}:{path}:1" if transport != "dir" else f"dir:{path}")
    assert path.read_text() == "mine"


@pytest.mark.parametrize("target", NEW.values(), ids=NEW)
def test_killed_just_after_the_end_the_next_run_removes_what_is_left(
    tmp_path: Path, source: str, target: str
) -> None:
    fix(source, target.format(tmp_path))
    corpus.write(LEFT, tmp_path / ".new.uvshim-a")
    with pytest.raises(ImageError, match="exists, and uvshim does not modify it"):
        fix(source, target.format(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["new", "source"]


@pytest.mark.parametrize("compress", [gzipped, plain])
def test_an_archive_of_docker_save_becomes_a_layout(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    rootfs = {"type": "layers", "diff_ids": [digest(OTHER), digest(WRONG)]}
    layers = [compress(OTHER), compress(WRONG)]
    saved = docker_archive(tmp_path / "images.tar", layers, rootfs=rootfs)
    fix(f"docker-archive:{saved}:app", f"oci:{tmp_path}/new:1")
    kinds = [each["mediaType"] for each in manifest(tmp_path / "new", "1")["layers"]]
    kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if compress is gzipped else "")
    assert kinds == [kind] * 3
    assert unpacked(tmp_path / "new", "1", tmp_path / "root").is_dir()


@pytest.mark.parametrize("target", ["oci:{}/new:1", "oci-archive:{}/new.tar:1"])
def test_a_layer_that_the_config_does_not_name_is_an_error(tmp_path: Path, target: str) -> None:
    making = Making(tmp_path / "from")
    rootfs = {"type": "layers", "diff_ids": [digest(OTHER)]}
    config = making.described(CONFIG, {"rootfs": rootfs})
    layers = [making.described(f"{OCI}.layer.v1.tar+gzip", gzipped(WRONG))]
    making.add(making.described(MANIFEST, {"config": config, "layers": layers}), "x")
    with pytest.raises(ImageError, match=r"\(`diff_ids`\) is not the digest of the layer"):
        fix(f"oci:{making.path}:x", target.format(tmp_path))
    assert os.listdir(tmp_path) == ["from"]


def platforms(making: Making, *architectures: str) -> list[dict[str, Any]]:
    return [
        {
            **making.manifest([WRONG], architecture=each),
            "platform": {"os": "linux", "architecture": each},
        }
        for each in architectures
    ]


@pytest.mark.parametrize("nested", [True, False])
def test_all_platforms_are_written(tmp_path: Path, *, nested: bool) -> None:
    """Whether the index lists them itself, each under the same tag, or another index does."""
    making = Making(tmp_path / "from")
    parts = platforms(making, "amd64", "arm64")
    right = making.manifest([OTHER, OTHER], architecture="s390x")
    parts.append({**right, "platform": {"os": "linux", "architecture": "s390x"}})
    if nested:
        kind = "application/vnd.oci.image.index.v1+json"
        making.add(making.described(kind, {"schemaVersion": 2, "manifests": parts}), "all")
    else:
        for each in parts:
            making.add(each, "all")
    wanted = {("linux", each, "") for each in ("amd64", "arm64", "s390x")}
    for target in (f"oci-archive:{tmp_path}/x.tar:all", f"oci:{tmp_path}/new:all"):
        fix(f"oci:{tmp_path}/from:all", target)
        with opened(target) as images:
            assert {image.platform for image in images} == wanted
    (listed,) = json.loads((unpacked_archive(tmp_path / "x.tar") / "manifest.json").read_text())
    assert len(listed["Layers"]) in {2, 3}


def test_each_name_of_an_image_is_kept(tmp_path: Path) -> None:
    """By what reads manifest.json, and by what reads index.json."""
    saved = docker_archive(tmp_path / "saved.tar", [WRONG], ["a:1", "b:2", "c:1"])
    wanted = ["a:1-fixed", "b:2-fixed", "c:1-fixed"]
    fix(str(saved), f"oci-archive:{tmp_path}/x.tar")
    (listed,) = json.loads((unpacked_archive(tmp_path / "x.tar") / "manifest.json").read_text())
    assert listed["RepoTags"] == wanted
    assert called(tmp_path / "x.tar") == wanted
    for _ in range(2):
        fix(str(saved), f"oci:{tmp_path}/new")
        assert called(tmp_path / "new") == wanted
        assert list(index(tmp_path / "new")) == ["1-fixed", "2-fixed", "c-1-fixed"]


@pytest.fixture
def two(tmp_path: Path) -> Making:
    """Two images with one tag, as `ctr image export` writes them."""
    making = Making(tmp_path / "two")
    for name, content in (("a", WRONG), ("b", OTHER)):
        full = {
            "org.opencontainers.image.ref.name": "1.0",
            "io.containerd.image.name": f"docker.io/library/{name}:1.0",
        }
        making.add({**making.manifest([content]), "annotations": full})
    return making


def called(name: object) -> list[str]:
    """Return what the images called `name` are called in their layout or archive."""
    with opened(str(name)) as images:
        return [":".join(each.reference.split(":")[2:]) for each in images]


def test_of_two_images_with_one_tag_each_is_found_and_written(tmp_path: Path, two: Making) -> None:
    assert called(two.path) == ["a:1.0", "b:1.0"]
    assert called(f"oci:{two.path}:b:1.0") == ["b:1.0"]
    fix(f"oci:{two.path}", f"oci:{tmp_path}/new")
    assert called(tmp_path / "new") == ["a:1.0-fixed", "b:1.0-fixed"]
    fix(f"oci:{two.path}", f"oci-archive:{tmp_path}/new.tar")
    listed = json.loads((unpacked_archive(tmp_path / "new.tar") / "manifest.json").read_text())
    assert [each["RepoTags"] for each in listed] == [["a:1.0-fixed"], ["b:1.0-fixed"]]
    for name in ("b:1.0", "a:1.0", "b:1.0"):
        fix(f"oci:{two.path}:{name}", f"oci:{tmp_path}/single")
    assert called(tmp_path / "single") == ["a:1.0-fixed", "b:1.0-fixed"]
    # Each can be named without its repository, as skopeo and umoci do.
    for place, expected in (
        ("new", ["1.0-fixed", "b-1.0-fixed"]),
        ("single", ["1.0-fixed", "a-1.0-fixed"]),
    ):
        listed = json.loads((tmp_path / place / "index.json").read_text())["manifests"]
        tags = [each["annotations"]["org.opencontainers.image.ref.name"] for each in listed]
        assert sorted(tags) == expected


def test_a_tag_of_another_repository_is_not_replaced(
    tmp_path: Path, two: Making, source: str
) -> None:
    for name in (source, f"oci:{two.path}:a:1.0"):
        before = content(two.path)
        with pytest.raises(ImageError, match=r"the tag `1.0` belongs to `[ab]:1.0` there"):
            fix(name, f"oci:{two.path}:1.0")
        assert content(two.path) == before
    fix(f"oci:{two.path}:a:1.0", f"oci:{two.path}:a:1.0")
    assert called(two.path) == ["b:1.0", "a:1.0"]
    assert called(f"oci:{two.path}:a:1.0") == ["a:1.0"]


def test_a_layout_can_be_fixed_in_itself_again_and_again(tmp_path: Path) -> None:
    """What was made before is not given one more suffix."""
    making = Making(tmp_path / "new")
    making.add(making.manifest([WRONG]), "1")
    making.add(making.manifest([tar({"etc/motd": ""})]), "2")
    found = []
    for _ in range(3):
        fix(f"oci:{making.path}", f"oci:{making.path}")
        assert sorted(index(making.path)) == ["1", "1-fixed", "2", "2-fixed"]
        found.append({tag: each["digest"] for tag, each in index(making.path).items()})
    assert found[0] == found[1] == found[2]


def test_a_tag_that_nobody_named_replaces_only_what_was_made_from_the_same_image(
    tmp_path: Path, source: str
) -> None:
    for _ in range(2):
        fix(source, f"oci:{tmp_path}/new")
    other = layout(tmp_path / "other", [OTHER])
    before = content(tmp_path / "new")
    with pytest.raises(ImageError, match="`latest-fixed` is there, and was made from another"):
        fix(f"oci:{other}", f"oci:{tmp_path}/new")
    assert content(tmp_path / "new") == before
    fix(f"oci:{other}", f"oci:{tmp_path}/new:latest-fixed")
    assert list(index(tmp_path / "new")) == ["latest-fixed"]
    assert content(tmp_path / "new") != before


def test_one_platform_goes_where_an_index_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making = Making(tmp_path / "from")
    parts = platforms(making, "amd64", "arm64")
    kind = "application/vnd.oci.image.index.v1+json"
    making.add(making.described(kind, {"schemaVersion": 2, "manifests": parts}), "all")
    target, kinds = "containers-storage:localhost/app:1", []

    def copy(source: str, *words: Any) -> None:
        with opened(source) as images:
            assert len(images) == 1
        manifest = json.loads((Path(source.removeprefix("dir:")) / "manifest.json").read_text())
        kinds.append("layers" in manifest)
        Path(words[-1]).write_text("sha256:0")

    monkeypatch.setattr(skopeo, "copy", copy)
    monkeypatch.setattr(skopeo, "require", str)
    with pytest.raises(ImageError, match="with --platform: linux/amd64, linux/arm64"):
        fix(f"oci:{making.path}:all", target)
    fix(f"oci:{making.path}:all", target, platform="linux/arm64")
    fix(f"oci:{making.path}:all", "docker://no.example/app:1", platform="linux/arm64")
    assert kinds == [True, False]


def test_a_platform_whose_files_are_absent_is_left_out(tmp_path: Path) -> None:
    """As in what `docker save` writes with the image store of containerd."""
    making = Making(tmp_path / "from")
    parts = platforms(making, "amd64", "arm64")
    kind = "application/vnd.oci.image.index.v1+json"
    making.add(making.described(kind, {"schemaVersion": 2, "manifests": parts}), "all")
    (making.path / "blobs" / parts[1]["digest"].replace(":", "/")).unlink()
    fix(f"oci:{making.path}:all", f"oci:{tmp_path}/new:1")
    (kept,) = manifest(tmp_path / "new", "1")["manifests"]
    assert kept["platform"]["architecture"] == "amd64"


# --- what fails -----------------------------------------------------------------------------------

TARGETS = {
    "a new layout": "oci:{}/a/new:1",
    "a layout": "oci:{}/other:1",
    "an archive": "oci-archive:{}/new.tar:1",
    "an archive for Docker": "docker-archive:{}/new.tar:app:1",
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_failure_changes_nothing(
    tmp_path: Path, source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout(tmp_path / "other", [OTHER])
    before = content(tmp_path)

    # Read well at first, and damaged when it is copied.
    original = fixing.FixedImage

    def damaging(*words: Any, **more: Any) -> Any:
        result = original(*words, **more)
        (layer,) = [
            path
            for path in (tmp_path / "source" / "blobs" / "sha256").iterdir()
            if path.read_bytes() == gzipped(WRONG)
        ]
        layer.write_bytes(layer.read_bytes()[:-1] + b"x")
        return result

    monkeypatch.setattr(fixing, "FixedImage", damaging)
    with pytest.raises(ImageError, match="damaged"):
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
        names.parse(text)


def test_without_skopeo_it_is_reported_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ImageError, match="apt-get install skopeo"):
        write.prepare(names.parse("docker://registry.example/app:1"))
    write.prepare(names.parse("oci:new:1"))
