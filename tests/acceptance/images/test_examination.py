"""Packages are found anywhere in an image, and hostile images are bounded."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

import uvshim as api
from tests.acceptance.images import formats
from tests.acceptance.images.contents import (
    APP,
    SITE,
    Directory,
    Hard,
    Link,
    broken_site,
    dist_info,
    metadata,
    tar,
)
from tests.acceptance.images.engines import need, output
from tests.acceptance.images.formats import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.acceptance.images.conftest import Done, Uvshim
    from tests.acceptance.images.contents import Content

pytestmark = [pytest.mark.index, pytest.mark.image]


def unpacked(layout: Path, tag: str, directory: Path) -> Path:
    """Return the root of an image as umoci unpacks it."""
    need("umoci")
    output("umoci", "unpack", "--image", f"{layout}:{tag}", directory)
    return directory / "rootfs"


def below(done: Done, root: str = "") -> list[Any]:
    """Return what was said of each environment, with paths that begin at the root of the image."""
    found = done.json["environments"]
    for each in found:
        each.update(dict.fromkeys(("image", "digest", "platform")))
    text = json.dumps(found).replace(f'"{root}/', '"/') if root else json.dumps(found)
    said: list[Any] = sorted(json.loads(text), key=lambda one: str(one["path"]))
    return said


def examined(box: Uvshim, *layers: Mapping[str, Content]) -> Done:
    """Examine an image of `layers`, and assert that its unpacked root gives the same answer."""
    made = formats.image(*(tar(each) for each in layers))
    found = formats.layout(box.directory / "layout", made)
    done = box.check(found.path)
    root = unpacked(found.path, "1.0", box.directory / "bundle")
    of_root = box("check", "--format", "json", root)
    assert of_root.status == done.status, (of_root, done)
    assert below(of_root, str(root)) == below(done)
    return done


# --- 13: packages are wherever there are dist-info directories ------------------------------------

ROOT: dict[str, Content] = {"etc/os-release": "ID=x\n", "usr/bin": None, "var/lib": None}

PLACES: dict[str, Mapping[str, Content]] = {
    "a Lambda": broken_site("var/task"),
    "a Lambda's layer": broken_site("opt/python"),
    "the runfiles of Bazel": {
        **broken_site("app/main.runfiles/pip_deps_setuptools/site-packages", "zope.event"),
        **dist_info("app/main.runfiles/pip_deps_oslo_cache/site-packages", "oslo.cache"),
    },
    "an environment whose lib is a link": {
        f"{APP}/pyvenv.cfg": "home = /usr/bin\n",
        f"{APP}/lib": Link("lib64"),
        **broken_site(f"{APP}/lib64/python3.11/site-packages"),
    },
    "an environment that is a link": {
        "srv/current": Link("releases/7"),
        "srv/releases/7/pyvenv.cfg": "home = /usr/bin\n",
        **broken_site("srv/releases/7/lib/python3.11/site-packages"),
    },
    "Nix": {
        **broken_site(
            "nix/store/0c5zkr-python3.11-setuptools-75.8.0/lib/python3.11/site-packages",
            "zope.event",
        ),
        **dist_info(
            "nix/store/9x1lvs-python3.11-oslo.cache-1.0/lib/python3.11/site-packages", "oslo.cache"
        ),
    },
    "an environment of Nix, all links": {
        "nix/store/7a-env/lib/python3.11/site-packages": Link("/nix/store/5b-site"),
        **broken_site("nix/store/6c-setuptools/lib/python3.11/site-packages", "zope.event"),
        **{
            f"nix/store/5b-site/{name}": Link(
                f"/nix/store/{folder}/lib/python3.11/site-packages/{name}"
            )
            for name, folder in {
                "setuptools-75.8.0.dist-info": "6c-setuptools",
                "pkg_resources": "6c-setuptools",
                "oslo_cache-1.0.dist-info": "8d-oslo.cache",
                "oslo_cache": "8d-oslo.cache",
            }.items()
        },
        **dist_info("nix/store/8d-oslo.cache/lib/python3.11/site-packages", "oslo.cache"),
    },
    "an environment whose lib is a link to elsewhere": {
        f"{APP}/pyvenv.cfg": "home = /usr/bin\n",
        f"{APP}/lib": Link("/data/python"),
        **broken_site("data/python/python3.11/site-packages"),
    },
    "a tool below /usr/share": broken_site("usr/share/tool/lib/python3/packages"),
    "a directory of an application": broken_site("srv/app/vendor-packages"),
    "Conda": broken_site("opt/conda/lib/python3.11/site-packages"),
    "an environment of Conda": broken_site("opt/conda/envs/app/lib/python3.11/site-packages"),
    "a user's own": broken_site("home/app/.local/lib/python3.11/site-packages"),
    "a target with a blank and an umlaut": broken_site("srv/my äpp/packages"),
}


@pytest.mark.parametrize("place", PLACES)
def test_packages_are_found_in(box: Uvshim, place: str) -> None:
    done = examined(box, ROOT, PLACES[place])
    assert "oslo.cache" in done.wrong, done


@pytest.mark.parametrize(
    "place",
    ["a Lambda", "a tool below /usr/share", "an environment whose lib is a link", "Conda"],
)
def test_packages_are_fixed_in(box: Uvshim, place: str) -> None:
    found = formats.layout(box.directory / "layout", formats.image(tar(ROOT), tar(PLACES[place])))
    done = box.fix(found.path, f"oci:{box.directory}/fixed:1.0")
    assert done.status == 0, done
    root = unpacked(box.directory / "fixed", "1.0", box.directory / "bundle")
    assert [path.name for path in root.rglob("oslo*.dist-info")] == ["oslo.cache-1.0.dist-info"]
    assert box("check", root).status == 0


@pytest.mark.parametrize("cache", ["root/.cache/uv", "var/cache/uv", "home/app/.cache/uv"])
def test_a_cache_is_not_examined(box: Uvshim, cache: str) -> None:
    files = dist_info(f"{cache}/archive-v0/x1", "oslo.cache")
    files[f"{cache}/CACHEDIR.TAG"] = "Signature: 8a477f597d28d172789f06886806bc55\n"
    done = examined(box, ROOT, {**broken_site(SITE, "zope.event"), **files})
    assert done.wrong == ["zope.event"]


@pytest.mark.parametrize(
    "vendored",
    ["setuptools/_vendor", "pkg_resources/_vendor", "pip/_vendor", "poetry/core/_vendor"],
)
def test_a_vendored_copy_is_not_examined(box: Uvshim, vendored: str) -> None:
    files = dist_info(f"{SITE}/{vendored}", "jaraco.text")
    done = examined(box, ROOT, {**broken_site(SITE), **files})
    assert done.wrong == ["oslo.cache"]


def test_a_root_of_several_environments_is_like_its_image(box: Uvshim) -> None:
    everything = {name: content for place in PLACES.values() for name, content in place.items()}
    done = examined(box, ROOT, everything)
    assert len(done.json["environments"]) >= 10


def test_distributions_that_upper_layers_remove_are_not_found(box: Uvshim) -> None:
    lower = {**ROOT, **broken_site(SITE, "oslo.cache", "oslo.config", "zope.event")}
    upper = {f"{SITE}/.wh.oslo_cache-1.0.dist-info": "", f"{SITE}/.wh.oslo_cache": ""}
    last = {
        f"{SITE}/zope_event-1.0.dist-info/.wh..wh..opq": "",
        f"{SITE}/zope_event-1.0.dist-info/METADATA": metadata("zope.event"),
    }
    done = examined(box, lower, upper, last)
    assert done.wrong == ["oslo.config", "zope.event"]


def test_metadata_that_is_a_link_is_read(box: Uvshim) -> None:
    info = f"{SITE}/oslo_cache-1.0.dist-info"
    files = broken_site(SITE)
    shared = {"srv/shared/METADATA": files.pop(f"{info}/METADATA")}
    for link in (Link("/srv/shared/METADATA"), Hard("srv/shared/METADATA")):
        done = examined(box, ROOT, {**shared, **files, f"{info}/METADATA": link})
        assert done.wrong == ["oslo.cache"]
        for name in ("layout", "bundle"):
            shutil.rmtree(box.directory / name)


# --- hostile images -------------------------------------------------------------------------------


ZEROS = bytes(60 * 1024 * 1024)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with a dist-info directory of 12 files of 60 MB, 1 MB as a blob."""
    files = tar(broken_site(SITE, "oslo.cache", "zope.event"))
    zeros = gzip.compress(ZEROS, 6, mtime=0)
    blob, of_tar = b"", hashlib.sha256()
    for number in range(12):
        entry = tarfile.TarInfo(f"{SITE}/oslo_cache-1.0.dist-info/licenses/{number}")
        entry.size = len(ZEROS)
        header = entry.tobuf(tarfile.PAX_FORMAT)
        blob += gzip.compress(header, mtime=0) + zeros
        of_tar.update(header)
        of_tar.update(ZEROS)
    blob += gzip.compress(files, mtime=0)
    of_tar.update(files)
    diff_ids = [f"sha256:{of_tar.hexdigest()}"]
    made = formats.image(files, rootfs={"type": "layers", "diff_ids": diff_ids})
    path = tmp_path_factory.mktemp("heavy") / "layout"
    return formats.layout(path, made._replace(blobs=(blob,))).path


def test_a_dist_info_directory_of_720_megabytes_is_left_and_named(
    box: Uvshim, heavy: Path, tmp_path: Path
) -> None:
    done = box.fix(f"oci:{heavy}:1.0", f"oci:{tmp_path}/fixed:1.0")
    assert done.status == 3, done
    assert "oslo_cache-1.0.dist-info" in done.stderr
    assert done.mebibytes < 300
    assert done.seconds < 30
    assert box.check(f"oci:{tmp_path}/fixed:1.0").wrong == ["oslo.cache"]


def test_a_dist_info_directory_of_720_megabytes_is_checked(box: Uvshim, heavy: Path) -> None:
    done = box.check(f"oci:{heavy}:1.0")
    assert done.wrong == ["oslo.cache", "zope.event"]
    assert done.mebibytes < 200
    assert done.seconds < 30


DIFF_IDS = {
    "numbers": [1, 2],
    "an unknown algorithm": ["md9:00", "md9:00"],
    "no digests": ["zz", "zz"],
    "a digest of any length": ["shake_128:00", "shake_128:00"],
    "digests of other layers": [formats.digest(b"x"), formats.digest(b"y")],
    "one too few": [formats.digest(b"x")],
    "null": None,
    "an object": {"a": "b"},
    "upper case": ["SHA256:" + "A" * 64] * 2,
}

OUTPUTS = {
    "layout": "oci:{}/out:1.0",
    "archive of OCI": "oci-archive:{}/out.tar:1.0",
    "archive of Docker": "docker-archive:{}/out.tar:app:1.0",
    "directory": "dir:{}/out",
}


@pytest.mark.parametrize("form", OUTPUTS)
@pytest.mark.parametrize("kind", DIFF_IDS)
def test_diff_ids_that_are_not_those_of_the_layers_are_an_error_before_anything_is_written(
    box: Uvshim, image: formats.Image, tmp_path: Path, kind: str, form: str
) -> None:
    config = {**image.config, "rootfs": {"type": "layers", "diff_ids": DIFF_IDS[kind]}}
    found = formats.layout(tmp_path / "layout", image._replace(config=config))
    done = box.fix(f"oci:{found.path}:1.0", OUTPUTS[form].format(tmp_path))
    assert done.status == 2, done
    assert "diff_id" in done.stderr
    assert not (tmp_path / "out.tar").exists()
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    "kind", ["numbers", "an unknown algorithm", "no digests", "a digest of any length"]
)
def test_an_image_with_impossible_diff_ids_is_no_broken_image(
    box: Uvshim, image: formats.Image, tmp_path: Path, kind: str
) -> None:
    """Exit code 1 is for names; here it is 2, or the layers are examined as they are."""
    config = {**image.config, "rootfs": {"type": "layers", "diff_ids": DIFF_IDS[kind]}}
    found = formats.layout(tmp_path / "layout", image._replace(config=config))
    old = formats.old_docker(tmp_path / "old.tar", [(image._replace(config=config), ["app:1"])])
    for path in (found.path, old):
        done = box.check(path)
        assert done.status == 2 or (done.status == 1 and done.wrong), done


def test_a_name_that_is_not_text_is_an_error_and_no_traceback(
    box: Uvshim, image: formats.Image, tmp_path: Path
) -> None:
    found = Layout(tmp_path / "layout")
    found.add(found.image(image), "\ud800")
    done = box.check(found.path)
    assert done.status == 2, done
    fixed = box.fix(found.path, f"oci:{tmp_path}/out:1")
    assert fixed.status in {0, 2}, fixed


STRANGE: dict[str, Any] = {
    "an index that is a list": [],
    "an index that is null": None,
    "manifests that are an object": {"schemaVersion": 2, "manifests": {}},
    "a manifest that is a number": {"schemaVersion": 2, "manifests": [7]},
    "a digest that is a path": {
        "manifests": [{"mediaType": formats.OCI_MANIFEST, "digest": "sha256:../../etc", "size": 1}]
    },
    "a digest that is null": {
        "manifests": [{"mediaType": formats.OCI_MANIFEST, "digest": None, "size": 1}]
    },
    "a size that is negative": {
        "manifests": [
            {"mediaType": formats.OCI_MANIFEST, "digest": formats.digest(b""), "size": -1}
        ]
    },
}


def test_an_image_that_cannot_be_examined_has_every_documented_key(
    box: Uvshim, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.tgz").write_bytes(gzip.compress(b"hello"))
    done = box.check(f"oci:{source}:1.0", f"docker-archive:{tmp_path}/x.tgz")
    assert done.status == 2, done
    good, bad = done.images
    assert set(good) == set(bad)
    assert bad["error"]


@pytest.mark.parametrize("kind", STRANGE)
def test_a_damaged_index_is_an_error(box: Uvshim, source: Path, kind: str) -> None:
    (source / "index.json").write_bytes(formats.as_json(STRANGE[kind]))
    for reference in (f"oci:{source}", f"oci:{source}:1.0"):
        done = box("check", "--no-cache", reference)
        assert done.status == 2, done


def test_an_index_that_contains_itself_many_times_is_bounded(
    box: Uvshim, image: formats.Image, tmp_path: Path
) -> None:
    """Ten levels of ten: ten thousand million images, in eleven small blobs."""
    found = Layout(tmp_path / "layout")
    descriptor = found.image(image)
    for _ in range(10):
        descriptor = found.index([descriptor] * 10)
    found.add(descriptor, "1.0")
    done = box("check", "--no-cache", found.path)
    assert done.seconds < 30
    assert done.mebibytes < 300
    assert done.status in {1, 2}


def test_the_python_api_answers_like_the_command(
    box: Uvshim, image: formats.Image, fine: formats.Image, tmp_path: Path
) -> None:
    both = formats.crane(tmp_path / "x.tar", [(image, ["app:1"]), (fine, ["app:2"])])
    (answer,) = api.survey([both], cache=None)
    assert answer.error is None
    assert sorted((str(one.reference), one.broken) for one in answer.images) == [
        (each["image"], each["broken"]) for each in box.check(both).images
    ]
    other = tmp_path / "x.tgz"
    other.write_bytes(gzip.compress(b"hello"))
    (answer,) = api.survey([other], cache=None)
    assert answer.error is not None


def test_a_layer_with_odd_entries_is_read_like_umoci_reads_it(box: Uvshim) -> None:
    files: dict[str, Content] = {
        "./etc/motd": "",
        f"./{SITE}/zope_event-1.0.dist-info/METADATA": metadata("zope.event"),
        f"{SITE}/a b\nc_d-1.0.dist-info/METADATA": metadata("a b"),
        f"{SITE}/{'x' * 200}_y-1.0.dist-info/METADATA": metadata(f"{'x' * 200}.y"),
        f"{SITE}/caf\udce9_x-1.0.dist-info/METADATA": metadata("cafe.x"),
        "opt/closed": Directory(mode=0o700, uid=7),
    }
    done = examined(box, {**ROOT, **broken_site(SITE)}, files)
    assert "oslo.cache" in done.wrong
    assert "zope.event" in done.wrong
