"""What images cost is bounded in sum: many small things as well as one large thing."""

from __future__ import annotations

import io
import json
import tarfile
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

import uvshim
from tests.corpus import installed, metadata, under
from tests.images.making import (
    INDEX,
    Making,
    docker_archive,
    gzipped,
    layout,
    plain,
    tar,
)
from tests.images.opening import opened
from uvshim.errors import ImageError
from uvshim.images import archive, budget, image, survey
from uvshim.images.blob import Folder
from uvshim.images.budget import Budget
from uvshim.images.layer import changes
from uvshim.images.sources import layout as source
from uvshim.images.union import unite

if TYPE_CHECKING:
    from pathlib import Path

SITE = "opt/app/lib/python3.11/site-packages"
BASE: dict[str, Any] = {
    **under(SITE, installed("setuptools-75.8.0", "setuptools"), installed("a_b-1.0", "a.b")),
    "opt/app/pyvenv.cfg": "home = /usr/bin\n",
}


def error(path: Path | str) -> str:
    """Return why an image cannot be examined."""
    vars(survey._of_thread).clear()
    (answer,) = uvshim.survey([str(path)], cache=None)
    return answer.error or ""


def nested(making: Making, times: int) -> None:
    """Add an index that lists the same index over and over, which again does so."""
    descriptor = making.manifest([tar(BASE)])
    for _ in range(3):
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] * times}
        descriptor = making.described(INDEX, content)
    making.add(descriptor)


def test_indexes_that_list_each_other_are_bounded_in_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "IMAGES", 100)
    making = Making(tmp_path / "few")
    nested(making, 4)  # 1 + 4 + 16 + 64
    assert error(making.path) == ""
    making = Making(tmp_path / "many")
    nested(making, 5)
    assert "lists more than 100 images. Name one image by its tag" in error(making.path)


def test_nine_thousand_times_nine_thousand_images_are_an_error_at_once(tmp_path: Path) -> None:
    making = Making(tmp_path / "x")
    nested(making, 9_000)
    assert "lists more than 10000 images" in error(making.path)


def test_an_image_with_many_names_is_read_and_examined_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, examined = [], []
    load, examine = image.loaded, survey.reports

    def loading(content: bytes, what: str, *more: Any) -> object:
        loaded.append(what)
        return load(content, what, *more)

    def examining(*arguments: Any) -> Any:
        examined.append(arguments)
        return examine(*arguments)

    monkeypatch.setattr(image, "loaded", loading)
    monkeypatch.setattr(survey, "reports", examining)
    making = Making(tmp_path / "x")
    manifest = making.manifest([tar(BASE)])
    for number in range(20):
        making.add(manifest, f"t{number}")
    (answer,) = uvshim.survey([making.path], cache=None)
    assert [each.reference.rpartition(":")[2] for each in answer.images] == [
        f"t{number}" for number in range(20)
    ]
    assert {each.reports[0].image for each in answer.images} == {
        each.reference for each in answer.images
    }
    assert (len(loaded), len(examined)) == (3, 1)  # index, manifest and config
    saved = docker_archive(tmp_path / "x.tar", [tar(BASE)])
    with tarfile.open(saved) as file:
        members = {one.name: file.extractfile(one).read() for one in file}  # type: ignore[union-attr]
    (listed,) = json.loads(members["manifest.json"])
    members["manifest.json"] = json.dumps(
        [{**listed, "RepoTags": [f"app:{number}"]} for number in range(20)]
    ).encode()
    saved.write_bytes(tar(members))
    del loaded[:]
    (answer,) = uvshim.survey([saved], cache=None)
    assert len(answer.images) == 20
    assert len(loaded) == 3  # manifest.json twice: to recognize the format, and to read it


def test_what_json_takes_in_memory_is_bounded_in_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is small, but its values are not."""
    making = Making(tmp_path / "x")
    for number in range(10):
        descriptor = making.manifest([tar({f"f{number}": ""})])
        manifest = json.loads((making.path / "blobs/sha256" / descriptor["digest"][7:]).read_text())
        manifest["x"] = [{}] * 1000
        making.add(making.described(descriptor["mediaType"], manifest), f"t{number}")
    assert error(making.path) == ""
    monkeypatch.setattr(budget, "MEMORY", 2_000_000)
    assert "has more than 2000000 bytes of metadata" in error(making.path)
    assert error(f"oci:{making.path}:t3") == ""


def test_deep_json_is_an_error(tmp_path: Path) -> None:
    """Not only where it is read: it would be written again."""
    making = Making(tmp_path / "x")
    making.index(b'{"manifests": [], "x": ' + b"[" * 200 + b"]" * 200 + b"}")
    assert "is JSON that is nested more than 100 deep" in error(making.path)


def test_the_metadata_of_all_layers_are_bounded_in_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MEMORY", 1_000_000)
    text = metadata("x.y") + "x" * 50_000
    tars = [tar({f"{SITE}/x{n}-1.0.dist-info/METADATA": text}) for n in range(12)]
    assert error(layout(tmp_path / "few", tars[:5])) == ""
    assert "the layer sha256:" in error(layout(tmp_path / "many", tars))
    # Also if the contents of the layers are known.
    with monkeypatch.context() as unlimited:
        unlimited.setattr(budget, "MEMORY", 1 << 30)
        (answer,) = uvshim.survey([tmp_path / "many"], cache=tmp_path / "cache")
        assert answer.error is None
    for _ in range(2):  # from the cache, and from memory
        (answer,) = uvshim.survey([tmp_path / "many"], cache=tmp_path / "cache")
        assert "has more than 1000000 bytes" in (answer.error or "")
        vars(survey._of_thread).clear()


def test_long_paths_are_bounded_in_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MEMORY", 1_000_000)
    long = "/".join(["x" * 200] * 15)
    files = {f"{n}/{long}": "" for n in range(300)}
    assert error(layout(tmp_path / "few", [tar({**BASE, "f": ""})])) == ""
    making = Making(tmp_path / "many")
    making.add(making.manifest([tar(files, form=tarfile.PAX_FORMAT)]), "1")
    assert "bytes of metadata, names and links" in error(making.path)


def test_a_layer_that_is_listed_often_is_applied_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "STEPS", 100_000)
    layer = tar({f"{n}/f": "" for n in range(500)})
    assert error(layout(tmp_path / "few", [tar(BASE), layer])) == ""
    often = error(layout(tmp_path / "many", [tar(BASE), *[layer] * 200]))
    assert "has more than 100000 parts" in often


def test_what_layers_expand_to_is_bounded_in_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "EXPANDED", 5_000_000)
    zeros = [tar({f"z{n}": bytes(2_000_000)}) for n in range(3)]
    assert error(layout(tmp_path / "two", zeros[:2])) == ""
    assert "expands to more than 5000000 bytes, 100 times its size" in error(
        layout(tmp_path / "three", zeros)
    )
    assert error(layout(tmp_path / "plain", zeros, plain)) == ""  # its size is what it is


def test_one_tebibyte_of_zeros_ends_soon(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    header = tarfile.TarInfo("big")
    header.size = 1 << 40
    zeros = zstd.compress(bytes(1 << 28))
    content = zstd.compress(header.tobuf(tarfile.GNU_FORMAT)) + zeros * 4096
    making = Making(tmp_path / "x")
    kind = "application/vnd.oci.image.layer.v1.tar+zstd"
    making.add(making.image([(f"sha256:{'0' * 64}", content)], kind), "1")
    assert "expands to more than 1073741824 bytes" in error(making.path)


def test_deep_paths_beside_a_whiteout_take_little_memory() -> None:
    """What a layer adds is noted for each directory, not with all that is above it."""
    from uvshim.images import blob

    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w") as made:
        made.addfile(tarfile.TarInfo("x/.wh.y"))
        for number in range(10):
            made.addfile(tarfile.TarInfo(f"{number}" + "/aa" * 1300))
    found = changes.read(blob.in_memory(file.getvalue()), Budget())
    tracemalloc.start()
    paid = Budget()
    unite([found], paid)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15_000_000
    assert peak < 2 * paid.memory


def test_the_names_of_an_archive_are_bounded_in_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MEMORY", 1_000_000)
    saved = docker_archive(tmp_path / "x.tar", [tar(BASE)])
    assert error(saved) == ""
    names = {f"{n}/{'x' * 90}/{'y' * 90}": "" for n in range(3_000)}
    saved.write_bytes(tar(names) + saved.read_bytes())
    assert "bytes of metadata, names and links" in error(saved)


def test_a_name_in_an_archive_is_bounded(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.size, header.type = 1 << 30, tarfile.GNUTYPE_LONGNAME
    with (tmp_path / "x.tar").open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(1 << 30)
    assert "one of its headers is too long" in error(tmp_path / "x.tar")


def test_a_long_index_is_read_in_a_moment(tmp_path: Path) -> None:
    """Not each name is compared with each other one."""
    making = Making(tmp_path / "x")
    described = making.described("application/x", {})
    making.index(
        {
            "manifests": [
                {**described, "annotations": {image.FULL_NAME: f"r.example/a{number}:1"}}
                for number in range(9_000)
            ]
        }
    )
    begin = time.process_time()
    found = source.read(Folder(str(making.path)), "oci:x", None, Budget())
    assert len(found) == 9_000
    assert time.process_time() - begin < 5


def test_a_long_file_is_read_in_a_moment(tmp_path: Path) -> None:
    from uvshim.images.layer import tar as reader

    with opened(layout(tmp_path / "x", [tar({"f": bytes(50_000_000)})])) as (one,):
        begin = time.process_time()
        with reader.opened(one.layers[0], Budget()) as found:
            for _, header in found:
                assert len(found.content(header, header.size)) == 50_000_000
    assert time.process_time() - begin < 5


def test_what_is_remembered_of_the_last_image_does_not_add_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uvshim.images import store

    monkeypatch.setattr(store, "_HELD", 100_000)
    known = store.Store(None)
    text = metadata("x.y") + "x" * 50_000
    for number in range(5):
        path = layout(tmp_path / f"{number}", [tar({f"{SITE}/x{number}.egg-info": text})])
        with opened(path) as (one,):
            known.tree(one)
    assert len(known._known) <= 2


def test_a_limit_for_archives_is_no_limit_for_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = docker_archive(tmp_path / "x.tar", [tar({**BASE, "z": bytes(3_000_000)})])
    packed = tmp_path / "x.tar.gz"
    packed.write_bytes(gzipped(saved.read_bytes()))
    monkeypatch.setattr(budget, "EXPANDED", 1 << 20)
    monkeypatch.setenv(archive.LIMIT, "10M")
    assert error(packed) == ""


def test_the_look_ups_of_all_images_are_bounded_in_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "STEPS", 10)
    whole = Budget()
    for _ in range(10):
        Budget(whole).look_up(10, "it")
    with pytest.raises(ImageError, match="it and others have more than 100 parts"):
        Budget(whole).look_up(1, "it")
    whole.look_up(10, "the index")
