"""The real tools load what `uvshim fix` writes, and nothing that existed is changed."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.images import formats
from tests.acceptance.images.contents import SITE, WRONG, Directory, Link, broken_site, tar
from tests.acceptance.images.engines import names_below, need, output
from tests.acceptance.images.formats import Layout
from tests.acceptance.images.test_examination import ROOT, unpacked

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.images.conftest import Uvshim
    from tests.acceptance.images.engines import Buildah, Containerd, Docker

pytestmark = [pytest.mark.index, pytest.mark.image]

NEW = ["acme.plug-1.0", "oslo.cache-3.10.2", "oslo.i18n-6.7.2", "zope.interface-7.2"]
FIXED = sorted(f"{name}.dist-info" for name in [*NEW, "setuptools-75.8.0", "simple-4.0"])


def state(path: Path) -> dict[str, str]:
    """Return the digest of every file in a directory, or of a file."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {
        str(each): hashlib.sha256(each.read_bytes()).hexdigest() for each in files if each.is_file()
    }


def top(path: Path) -> list[dict[str, Any]]:
    """Return the manifests in the index of a layout, or of an archive of one."""
    data = (
        (path / "index.json").read_bytes() if path.is_dir() else formats.members(path)["index.json"]
    )
    found: list[dict[str, Any]] = json.loads(data)["manifests"]
    return found


def blob(layout: Path, descriptor: dict[str, Any]) -> Any:
    return json.loads((layout / "blobs/sha256" / descriptor["digest"][7:]).read_bytes())


def config_of(layout: Path, tag: str) -> dict[str, Any]:
    """Return the config of an image of one platform in a layout."""
    (descriptor,) = (
        each for each in top(layout) if each.get("annotations", {}).get(formats.REF_NAME) == tag
    )
    found: dict[str, Any] = blob(layout, blob(layout, descriptor)["config"])
    return found


# --- the real tools load it -----------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_one_archive_is_loaded_by_docker_podman_and_containerd_and_copied_by_skopeo(
    box: Uvshim,
    docker: Docker,
    podman: Buildah,
    containerd: Containerd,
    source: Path,
    tmp_path: Path,
    transport: str,
) -> None:
    need("skopeo")
    path = tmp_path / "fixed.tar"
    name = f"loaded-{transport}:1.1"
    tag = name if transport == "docker-archive" else "1.1"
    done = box.fix(f"oci:{source}:1.0", f"{transport}:{path}:{tag}")
    assert done.status == 0, done
    loaded = docker.load(path)
    assert len(loaded) == 1
    if transport == "docker-archive":
        assert loaded == [name]
    assert docker.names(loaded[0]) == FIXED
    assert "Loaded image" in podman("load", "--input", path)
    assert containerd.load(path, f"localhost/{transport}")
    output("skopeo", "copy", "--quiet", f"oci-archive:{path}", f"oci:{tmp_path}/a:x")
    output("skopeo", "copy", "--quiet", f"docker-archive:{path}", f"oci:{tmp_path}/b:x")
    for copied in ("a", "b"):
        assert box.check(f"oci:{tmp_path}/{copied}:x").status == 0


def test_in_a_container_of_it_the_real_pkg_resources_finds_everything(
    box: Uvshim, buildah: Buildah, source: Path, tmp_path: Path
) -> None:
    before, _ = buildah.container(f"oci:{source}:1.0")
    assert buildah.ask(before, SITE, "simple") == {"simple": "misses oslo.cache"}
    assert box.fix(f"oci:{source}:1.0", f"oci:{tmp_path}/fixed:1.0").status == 0
    after, root = buildah.container(f"oci:{tmp_path}/fixed:1.0")
    names = ("simple", "oslo.cache", "oslo.i18n", "zope.interface", "acme.plug")
    assert buildah.ask(after, SITE, *names) == dict.fromkeys(names, "found")
    assert names_below(root) == FIXED


@pytest.mark.parametrize("compress", [formats.plain, formats.zstandard], ids=["plain", "zstd"])
def test_layers_keep_their_compression(
    box: Uvshim, buildah: Buildah, base: bytes, packages: bytes, tmp_path: Path, compress: Any
) -> None:
    made = formats.image(base, packages, compress=compress)
    found = formats.layout(tmp_path / "layout", made)
    assert box.fix(f"oci:{found.path}:1.0", f"oci:{tmp_path}/fixed:1.0").status == 0
    manifest = blob(tmp_path / "fixed", top(tmp_path / "fixed")[0])
    assert len(manifest["layers"]) == 3
    assert len({each["mediaType"] for each in manifest["layers"]}) == 1
    _, root = buildah.container(f"oci:{tmp_path}/fixed:1.0")
    assert names_below(root) == FIXED


def test_media_types_of_docker_stay_where_a_tag_is_found_with_them(
    box: Uvshim, image: formats.Image, tmp_path: Path
) -> None:
    """In a layout or an archive, skopeo, podman and umoci find a tag only with those of OCI."""
    found = formats.layout(tmp_path / "layout", image, docker=True)
    assert box.fix(f"oci:{found.path}:1.0", f"dir:{tmp_path}/kept").status == 0
    kept = json.loads((tmp_path / "kept" / "manifest.json").read_text())
    of_docker = {formats.DOCKER_MANIFEST, formats.DOCKER_CONFIG, formats.DOCKER_LAYER + ".gzip"}
    assert media_types(kept) == of_docker
    assert box.fix(f"oci:{found.path}:1.0", f"oci:{tmp_path}/fixed:1.0").status == 0
    manifest = blob(tmp_path / "fixed", top(tmp_path / "fixed")[0])
    assert media_types(manifest) == {
        f"application/vnd.oci.image.{kind}"
        for kind in ("manifest.v1+json", "config.v1+json", "layer.v1.tar+gzip")
    }


def media_types(manifest: dict[str, Any]) -> set[str]:
    described = (manifest, manifest["config"], *manifest["layers"])
    return {each["mediaType"] for each in described}


def test_the_same_image_gives_the_same_bytes_whatever_its_form(
    box: Uvshim, image: formats.Image, source: Path, tmp_path: Path
) -> None:
    for number in (1, 2):
        done = box.fix(f"oci:{source}:1.0", f"oci-archive:{tmp_path}/{number}.tar:1.0")
        assert done.status == 0, done
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    pack = formats.pack(source, tmp_path / "in.tar")
    crane = formats.crane(tmp_path / "crane.tar", [(image, ["app:1.0"])])
    for form in (pack, crane):
        assert box.fix(form, f"oci:{tmp_path}/{form.stem}:1.0").status == 0
    configs = {
        json.dumps(config_of(tmp_path / stem, "1.0"), sort_keys=True) for stem in ("in", "crane")
    }
    assert len(configs) == 1


# --- 4: attributes of the overlay file system -----------------------------------------------------

OPAQUE = "SCHILY.xattr.trusted.overlay.opaque"


@pytest.mark.parametrize(
    "attribute",
    [OPAQUE, "SCHILY.xattr.user.overlay.opaque", "SCHILY.xattr.trusted.overlay.redirect"],
)
@pytest.mark.parametrize("place", ["opt", "opt/app", SITE])
def test_attributes_of_the_overlay_are_not_copied(
    box: Uvshim, buildah: Buildah, installed: Path, base: bytes, place: str, attribute: str
) -> None:
    if not buildah.has_overlay:
        pytest.skip("NOT TRIED: buildah has no overlay here")
    here = box.directory
    parents = dict.fromkeys(("opt", "opt/app", "opt/app/lib", "opt/app/lib/python3.11", SITE))
    hidden: Any = {**parents, place: Directory({attribute: "y", "SCHILY.xattr.user.kept": "yes"})}
    everything = {f"{SITE}/{each.name}": each for each in sorted(installed.iterdir())}
    found = formats.layout(here / "layout", formats.image(base, tar({**hidden, **everything})))
    done = box.fix(f"oci:{found.path}:1.0", f"oci:{here}/fixed:1.0")
    assert done.status == 0, done
    if "opaque" in attribute:
        _, root = buildah.container(f"oci:{here}/fixed:1.0")
        assert names_below(root) == FIXED
    manifest = blob(here / "fixed", top(here / "fixed")[0])
    added = here / "fixed/blobs/sha256" / manifest["layers"][-1]["digest"][7:]
    content = gzip.decompress(added.read_bytes())
    assert b".overlay." not in content
    assert b"SCHILY.xattr.user.kept=yes" in content


# --- 5 and 6: archives are never modified ---------------------------------------------------------


@pytest.fixture
def two(image: formats.Image, fine: formats.Image, tmp_path: Path) -> Path:
    """An archive of two images with one ref.name, as containerd exports them."""
    found = Layout(tmp_path / "two")
    for made, name in ((image, "docker.io/library/app:1.0"), (fine, "docker.io/library/fine:1.0")):
        found.add(found.image(made), "1.0", **{formats.CONTAINERD_NAME: name})
    return formats.pack(found.path, tmp_path / "two.tar")


@pytest.mark.parametrize("name", ["two.tar:@0", "two.tar:1.0", "two.tar"])
@pytest.mark.parametrize(
    "output", ["oci-archive:{}:1.0", "docker-archive:{}:app:2", "oci-archive:{}"]
)
def test_an_archive_that_exists_is_not_written(
    box: Uvshim, two: Path, name: str, output: str
) -> None:
    before = state(two)
    done = box.fix(f"oci-archive:{two.parent}/{name}", output.format(two))
    assert done.status == 2, done
    assert state(two) == before


@pytest.mark.parametrize("writing", [formats.old_docker, formats.new_docker, formats.crane])
def test_an_archive_of_docker_is_not_written_into_itself(
    box: Uvshim, image: formats.Image, tmp_path: Path, writing: Any
) -> None:
    path = writing(tmp_path / "w.tar", [(image, ["app:1"])])
    before = state(path)
    for target in (f"docker-archive:{path}:app:2", f"oci-archive:{path}:2", str(path)):
        done = box.fix(f"docker-archive:{path}:app:1", target)
        assert done.status == 2, done
        assert state(path) == before
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix == ".tar") == ["w.tar"]


def test_any_file_that_exists_is_not_overwritten_by_an_archive(
    box: Uvshim, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "link.tar").symlink_to("nowhere.tar")
    for name in ("notes.txt", "link.tar"):
        done = box.fix(f"oci:{source}:1.0", f"oci-archive:{tmp_path}/{name}:1")
        assert done.status == 2, done
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "nowhere.tar").exists()


def test_a_flat_index_of_three_platforms_is_written_whole(
    box: Uvshim, image: formats.Image, fine: formats.Image, tmp_path: Path
) -> None:
    need("skopeo")
    found = Layout(tmp_path / "flat")
    arm = image._replace(config={**image.config, "architecture": "arm64"})
    s390x = fine._replace(config={**fine.config, "architecture": "s390x"})
    for made in (image, arm, s390x):
        found.add(found.image(made), "1.0")
    done = box.fix(f"oci:{found.path}:1.0", f"oci:{tmp_path}/fixed:1.1")
    assert done.status == 0, done
    checked = box.check(f"oci:{tmp_path}/fixed:1.1")
    assert checked.status == 0, checked
    assert sorted(each["platform"] for each in checked.images) == [
        "linux/amd64",
        "linux/arm64",
        "linux/s390x",
    ]
    for architecture in ("amd64", "arm64", "s390x"):
        source = f"oci:{tmp_path}/fixed:1.1"
        output("skopeo", f"--override-arch={architecture}", "inspect", source)


def test_all_platforms_of_an_index_are_fixed_and_the_healthy_one_stays(
    box: Uvshim, image: formats.Image, fine: formats.Image, tmp_path: Path
) -> None:
    found = Layout(tmp_path / "layout")
    arm = fine._replace(config={**fine.config, "architecture": "arm64"})
    descriptors = [found.image(image), found.image(arm)]
    found.add(found.index(descriptors), "1.0")
    assert box.fix(found.path, f"oci:{tmp_path}/fixed:1.0").status == 0
    index = blob(tmp_path / "fixed", top(tmp_path / "fixed")[0])
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    assert index["manifests"][1]["digest"] == descriptors[1]["digest"]


def test_of_an_archive_with_two_indexes_docker_loads_the_fixed_image(
    box: Uvshim, docker: Docker, image: formats.Image, tmp_path: Path
) -> None:
    path = formats.new_docker(tmp_path / "x.tar", [(image, ["both:1.0"])])
    into_itself = box.fix(path, f"oci-archive:{path}:1.0")
    assert into_itself.status == 2, into_itself
    done = box.fix(path, f"oci-archive:{tmp_path}/new.tar:both:1.1")
    if done.status == 2:  # a ref.name without a colon
        done = box.fix(path, f"oci-archive:{tmp_path}/new.tar:1.1")
    assert done.status == 0, done
    assert {"index.json", "oci-layout", "manifest.json"} <= set(
        formats.members(tmp_path / "new.tar")
    )
    (name,) = docker.load(tmp_path / "new.tar")
    assert docker.names(name) == FIXED


def test_other_images_in_a_layout_stay(
    box: Uvshim, source: Path, fine: formats.Image, tmp_path: Path
) -> None:
    other = formats.layout(tmp_path / "other", fine, "kept")
    before = top(other.path)
    assert box.fix(f"oci:{source}:1.0", f"oci:{other.path}:new").status == 0
    assert top(other.path)[0] == before[0]
    assert len(top(other.path)) == 2
    assert box.check(f"oci:{other.path}:kept").status == 0


# --- 10: names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "loaded"),
    [
        ("nameless", "nameless:latest"),
        ("reg.example:5000/x/nameless", "reg.example:5000/x/nameless:latest"),
        ("localhost:5000/x/app:7", "localhost:5000/x/app:7"),
        ("tagged:2.0", "tagged:2.0"),
    ],
)
def test_docker_loads_the_name_that_was_written(
    box: Uvshim, docker: Docker, source: Path, tmp_path: Path, name: str, loaded: str
) -> None:
    done = box.fix(f"oci:{source}:1.0", f"docker-archive:{tmp_path}/o.tar:{name}")
    assert done.status == 0, done
    assert docker.load(tmp_path / "o.tar") == [loaded]


@pytest.mark.parametrize(
    "name",
    [
        "App:4",
        "app:",
        "app:a b",
        "app:-x",
        "app:" + "x" * 129,
        "a//b:1",
        "/app:1",
        "app@sha256:" + "0" * 64,
        "app:1@sha256:" + "0" * 64,
        "a" * 256 + ":1",
        "a" * 238 + ":1",
        "HOST/app:1",
        "-/app:1",
        "x.-y/app:1",
    ],
)
def test_a_name_that_docker_refuses_is_refused_before_anything_is_written(
    box: Uvshim, source: Path, tmp_path: Path, name: str
) -> None:
    done = box.fix(f"oci:{source}:1.0", f"docker-archive:{tmp_path}/o.tar:{name}")
    assert done.status == 2, done
    assert not (tmp_path / "o.tar").exists()


def test_without_a_name_the_output_has_that_of_the_input_and_says_that_it_is_fixed(
    box: Uvshim, docker: Docker, image: formats.Image, source: Path, tmp_path: Path
) -> None:
    saved = formats.old_docker(tmp_path / "in.tar", [(image, ["suffixed:1.0"])])
    done = box.fix(saved, f"docker-archive:{tmp_path}/o.tar")
    assert done.status == 0, done
    assert docker.load(tmp_path / "o.tar") == ["suffixed:1.0-fixed"]
    for target in (f"oci:{tmp_path}/layout", f"oci:{source}", f"oci-archive:{tmp_path}/a.tar"):
        done = box.fix(f"oci:{source}:1.0", target)
        assert done.status == 0, done
        path = box.directory / target.partition(":")[2].rpartition("/")[2]
        tags = {each.get("annotations", {}).get(formats.REF_NAME) for each in top(path)}
        assert "1.0-fixed" in tags, done


@pytest.mark.parametrize("tag", ["App:1", "a b", "", "app@sha256:" + "0" * 64])
def test_a_name_of_the_input_that_docker_refuses_is_not_written(
    box: Uvshim, docker: Docker, image: formats.Image, tmp_path: Path, tag: str
) -> None:
    saved = formats.old_docker(tmp_path / "in.tar", [(image, [tag])])
    done = box.fix(saved, f"docker-archive:{tmp_path}/o.tar")
    if done.status == 0:
        docker.load(tmp_path / "o.tar")
    else:
        assert done.status == 2, done
        assert not (tmp_path / "o.tar").exists()


@pytest.mark.parametrize(
    "target",
    [
        "oci:",
        "oci::1",
        "docker-archive:",
        "docker-archive::a:1",
        "dir:",
        "oci:x@sha256:" + "0" * 64,
    ],
)
def test_an_output_without_a_place_is_refused(box: Uvshim, source: Path, target: str) -> None:
    before = sorted(box.directory.iterdir())
    done = box.fix(f"oci:{source}:1.0", target)
    assert done.status == 2, done
    assert sorted(box.directory.iterdir()) == before


def test_an_image_without_any_name_can_be_written(
    box: Uvshim, docker: Docker, image: formats.Image, tmp_path: Path
) -> None:
    saved = formats.crane(tmp_path / "in.tar", [(image, None)])
    done = box.fix(saved, f"docker-archive:{tmp_path}/o.tar")
    if done.status == 0:
        assert len(docker.load(tmp_path / "o.tar")) == 1
    else:
        assert done.status == 2
        assert "name" in done.stderr or "tag" in done.stderr


# --- 11: history ----------------------------------------------------------------------------------


def history_of(layout: Path, tag: str) -> Any:
    return config_of(layout, tag).get("history")


def test_an_image_without_history_gets_none_and_can_be_committed(
    box: Uvshim, buildah: Buildah, base: bytes, packages: bytes, tmp_path: Path
) -> None:
    found = formats.layout(tmp_path / "layout", formats.image(base, packages, history=False))
    assert box.fix(f"oci:{found.path}:1.0", f"oci:{tmp_path}/fixed:1.0").status == 0
    assert not history_of(tmp_path / "fixed", "1.0")
    container = buildah("from", f"oci:{tmp_path}/fixed:1.0")
    buildah("commit", "--quiet", container, "localhost/without-history")


@pytest.mark.parametrize("entries", [[], [{"created_by": "one"}], [{"empty_layer": True}] * 3])
def test_a_history_that_fits_no_layers_gets_no_entry(
    box: Uvshim, base: bytes, packages: bytes, tmp_path: Path, entries: list[Any]
) -> None:
    made = formats.image(base, packages)
    found = formats.layout(
        tmp_path / "layout", made._replace(config={**made.config, "history": entries})
    )
    assert box.fix(f"oci:{found.path}:1.0", f"oci:{tmp_path}/fixed:1.0").status == 0
    assert (history_of(tmp_path / "fixed", "1.0") or []) == entries


def test_a_history_that_fits_gets_one_entry(box: Uvshim, source: Path, tmp_path: Path) -> None:
    assert box.fix(f"oci:{source}:1.0", f"oci:{tmp_path}/fixed:1.0").status == 0
    found = history_of(tmp_path / "fixed", "1.0")
    assert len(found) == 3
    assert "uvshim" in json.dumps(found[2])


def test_more_layers_than_docker_takes_are_a_warning(
    box: Uvshim, packages: bytes, tmp_path: Path
) -> None:
    small = [tar({f"layers/{number}": ""}) for number in range(124)]
    found = formats.layout(tmp_path / "layout", formats.image(*small, packages))
    done = box.fix(f"oci:{found.path}:1.0", f"oci:{tmp_path}/fixed:1.0")
    assert done.status == 0, done
    assert "125 layers" in done.stderr
    assert "warning" in done.stderr


# --- 14: a directory of skopeo --------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["{}/x", "{}/x/", "{}/./x", "{}/y"])
def test_a_directory_is_not_overwritten_by_its_own_fixed_image(
    box: Uvshim, source: Path, tmp_path: Path, spelling: str
) -> None:
    need("skopeo")
    output("skopeo", "copy", "--quiet", f"oci:{source}:1.0", f"dir:{tmp_path}/x")
    (tmp_path / "y").symlink_to("x")
    before = state(tmp_path / "x")
    done = box.fix(f"dir:{tmp_path}/x", f"dir:{spelling.format(tmp_path)}")
    assert done.status == 2, done
    assert state(tmp_path / "x") == before


def test_a_directory_of_skopeo_is_fixed_into_another(
    box: Uvshim, source: Path, tmp_path: Path
) -> None:
    need("skopeo")
    output("skopeo", "copy", "--quiet", f"oci:{source}:1.0", f"dir:{tmp_path}/x")
    assert box.fix(f"dir:{tmp_path}/x", f"dir:{tmp_path}/y").status == 0
    assert box.check(f"dir:{tmp_path}/x").wrong == WRONG
    assert box.check(f"dir:{tmp_path}/y").status == 0
    output("skopeo", "copy", "--quiet", f"dir:{tmp_path}/y", f"oci:{tmp_path}/z:1")


# --- 16: what is read is read once ----------------------------------------------------------------


@pytest.mark.parametrize("target", ["oci:{}/other:1.1", "oci-archive:{}/new.tar:1.1"])
def test_the_index_of_the_source_is_read_once(
    box: Uvshim, source: Path, tmp_path: Path, target: str
) -> None:
    need("strace")
    trace = tmp_path / "trace"
    words = box.command(["fix", f"oci:{source}:1.0", "--output", target.format(tmp_path)])
    strace = ["strace", "--follow-forks", "--trace=open,openat", "--output", str(trace)]
    subprocess.run([*strace, *words], env=box.variables, cwd=tmp_path, check=True, timeout=60)
    opened = [line for line in trace.read_text().splitlines() if f"{source}/index.json" in line]
    assert len([line for line in opened if "ENOENT" not in line]) == 1, opened


def test_many_fixes_into_one_layout_lose_nothing(box: Uvshim, source: Path, tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            box.command(["fix", f"oci:{source}:1.0", "--output", f"oci:{tmp_path}/all:{tag}"]),
            env=box.variables,
            cwd=tmp_path,
            stderr=subprocess.PIPE,
        )
        for tag in range(6)
    ]
    for run in runs:
        _, error = run.communicate(timeout=60)
        assert run.returncode == 0, error
    tags = {each["annotations"][formats.REF_NAME] for each in top(tmp_path / "all")}
    assert tags == {str(tag) for tag in range(6)}


# --- 17: an image is fixed as its root is ---------------------------------------------------------


def files_below(root: Path) -> dict[str, Any]:
    """Return what a root has: contents, targets of links, modes."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = (path.read_bytes(), path.stat().st_mode)
        else:
            found[name] = path.stat().st_mode
    return found


INFO = f"{SITE}/oslo_cache-1.0.dist-info"

ODD: dict[str, dict[str, Any]] = {
    "METADATA that is an absolute link": {
        "srv/METADATA": broken_site(SITE)[f"{INFO}/METADATA"],
        **broken_site(SITE),
        f"{INFO}/METADATA": Link("/srv/METADATA"),
    },
    "METADATA that is a relative link": {
        "srv/METADATA": broken_site(SITE)[f"{INFO}/METADATA"],
        **broken_site(SITE),
        f"{INFO}/METADATA": Link("../../../../../../srv/METADATA"),
    },
    "RECORD that is an absolute link": {
        "srv/RECORD": broken_site(SITE)[f"{INFO}/RECORD"],
        **broken_site(SITE),
        f"{INFO}/RECORD": Link("/srv/RECORD"),
    },
    "METADATA that leads nowhere": {**broken_site(SITE), f"{INFO}/METADATA": Link("/nowhere")},
    "no RECORD": {
        name: text for name, text in broken_site(SITE).items() if name != f"{INFO}/RECORD"
    },
    "no METADATA": {
        name: text for name, text in broken_site(SITE).items() if name != f"{INFO}/METADATA"
    },
    "a dist-info directory that is a link": {
        **{
            name.replace(SITE, "srv/real") if name.startswith(INFO) else name: text
            for name, text in broken_site(SITE).items()
        },
        INFO: Link("/srv/real/oslo_cache-1.0.dist-info"),
    },
    "both names": {
        **broken_site(SITE),
        f"{SITE}/oslo.cache-1.0.dist-info/METADATA": broken_site(SITE)[f"{INFO}/METADATA"],
    },
    "a read-only directory": {**broken_site(SITE), INFO: Directory(mode=0o555)},
    "subdirectories": {
        **broken_site(SITE),
        f"{INFO}/licenses/a/b/LICENSE": "x",
        f"{INFO}/empty": None,
    },
}


@pytest.mark.parametrize("kind", ODD)
def test_an_image_is_fixed_as_its_root_is(box: Uvshim, tmp_path: Path, kind: str) -> None:
    contents = dict(sorted(ODD[kind].items()))
    found = formats.layout(tmp_path / "layout", formats.image(tar(ROOT), tar(contents)))
    done = box.fix(f"oci:{found.path}:1.0", f"oci:{tmp_path}/fixed:1.0")
    root = unpacked(found.path, "1.0", tmp_path / "before")
    of_root = box("fix", root)
    assert done.status == of_root.status, (done, of_root)
    if (tmp_path / "fixed/index.json").exists() and top(tmp_path / "fixed"):
        after = unpacked(tmp_path / "fixed", "1.0", tmp_path / "after")
        mine, roots = files_below(after), files_below(root)
        assert mine == roots
    else:
        untouched = unpacked(found.path, "1.0", tmp_path / "untouched")
        assert files_below(untouched) == files_below(root)
    shutil.rmtree(root)
