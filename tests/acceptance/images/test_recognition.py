"""Archives and layouts of every tool are recognized by what they contain."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
import tarfile
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.images import formats
from tests.acceptance.images.contents import SITE, WRONG, broken_site, tar
from tests.acceptance.images.engines import need, output
from tests.acceptance.images.formats import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.images.conftest import Done, Uvshim
    from tests.acceptance.images.engines import Buildah, Containerd, Docker

pytestmark = [pytest.mark.index, pytest.mark.image]


def without_names(done: Done) -> list[Any]:
    """Return the answers about the environments, without the name of the image."""
    found = done.json["environments"]
    return [{**each, **dict.fromkeys(("image", "digest", "platform"))} for each in found]


def is_answered(done: Done, platform: str | None = "linux/amd64") -> None:
    """Assert that the image with four wrong names was examined."""
    assert done.status == 1, done
    assert done.wrong == WRONG
    (image,) = done.images
    assert image["broken"]
    assert image["platform"] == platform


# --- 1: every archive of every tool ---------------------------------------------------------------


@pytest.mark.parametrize("form", formats.HAND_MADE)
@pytest.mark.parametrize("names", [["registry.example/app:1.0"], None], ids=["named", "no name"])
def test_an_archive_of_a_tool_is_examined(
    box: Uvshim, image: formats.Image, tmp_path: Path, form: str, names: list[str] | None
) -> None:
    path = formats.HAND_MADE[form](tmp_path / "app.tar", [(image, names)])
    is_answered(box.check(path))


@pytest.mark.parametrize("form", ["crane", "jib", "Docker before 25", "rules_oci", "Docker 25"])
def test_an_archive_of_a_tool_is_fixed_and_docker_loads_the_result(
    box: Uvshim, docker: Docker, image: formats.Image, tmp_path: Path, form: str
) -> None:
    path = formats.HAND_MADE[form](tmp_path / "app.tar", [(image, ["app:1.0"])])
    tag = f"fixed-{form.replace(' ', '-').lower()}:1"
    done = box.fix(path, f"docker-archive:{tmp_path}/fixed.tar:{tag}")
    assert done.status == 0, done
    assert docker.load(tmp_path / "fixed.tar") == [tag]
    assert "oslo.cache-3.10.2.dist-info" in docker.names(tag)


def test_archives_of_docker_are_examined_like_the_exported_root(
    box: Uvshim, docker: Docker, image: formats.Image, tmp_path: Path
) -> None:
    (name,) = docker.load(formats.old_docker(tmp_path / "in.tar", [(image, ["saved:1.0"])]))
    docker("save", "--output", tmp_path / "saved.tar", name)
    container = docker("create", name, "true")
    docker("export", "--output", tmp_path / "exported.tar", container)
    docker("rm", container)
    saved, exported = box.check(tmp_path / "saved.tar"), box.check(tmp_path / "exported.tar")
    is_answered(saved)
    is_answered(exported, None)
    assert without_names(saved) == without_names(exported)


def test_an_archive_of_containerd_is_examined(
    box: Uvshim, containerd: Containerd, source: Path, tmp_path: Path
) -> None:
    names = containerd.load(formats.pack(source, tmp_path / "in.tar"))
    containerd("images", "export", tmp_path / "exported.tar", names[0])
    is_answered(box.check(tmp_path / "exported.tar"))


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir", "docker-dir"])
def test_what_podman_saves_is_examined(
    box: Uvshim, podman: Buildah, source: Path, tmp_path: Path, form: str
) -> None:
    podman("load", "--quiet", "--input", formats.pack(source, tmp_path / "in.tar"))
    saved = tmp_path / "saved"
    podman("save", "--quiet", f"--format={form}", f"--output={saved}", "localhost/1.0:latest")
    is_answered(box.check(f"dir:{saved}" if form == "docker-dir" else saved))


def test_two_images_that_podman_saves_in_one_archive_are_both_examined(
    box: Uvshim, podman: Buildah, source: Path, fine: formats.Image, tmp_path: Path
) -> None:
    podman("load", "--quiet", "--input", formats.pack(source, tmp_path / "in.tar"))
    other = formats.old_docker(tmp_path / "other.tar", [(fine, ["fine:2"])])
    podman("load", "--quiet", "--input", other)
    saved = tmp_path / "saved.tar"
    names = ("localhost/1.0:latest", "localhost/fine:2")
    podman("save", "--quiet", "--multi-image-archive", f"--output={saved}", *names)
    done = box.check(saved)
    assert done.status == 1, done
    assert {each["image"].rpartition("localhost/")[2]: each["broken"] for each in done.images} == {
        "1.0:latest": True,
        "fine:2": False,
    }


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci", "dir"])
def test_what_skopeo_copies_is_examined(
    box: Uvshim, source: Path, tmp_path: Path, form: str
) -> None:
    need("skopeo")
    tag = {"docker-archive": ":app:1.0", "dir": ""}.get(form, ":1.0")
    target = f"{form}:{tmp_path}/copied{tag}"
    output("skopeo", "copy", "--quiet", f"oci:{source}:1.0", target)
    is_answered(box.check(target))
    if form != "dir":
        is_answered(box.check(tmp_path / "copied"))


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_what_buildah_pushes_is_examined(
    box: Uvshim, buildah: Buildah, source: Path, tmp_path: Path, form: str
) -> None:
    container = buildah("from", f"oci:{source}:1.0")
    name = f"localhost/pushed-{form}"
    buildah("commit", "--quiet", container, name)
    tag = "app:1.0" if form == "docker-archive" else "1.0"
    buildah("push", "--quiet", name, f"{form}:{tmp_path}/pushed:{tag}")
    is_answered(box.check(tmp_path / "pushed"))


# --- 2: what is no image is no image without faults -----------------------------------------------


def tgz(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return path


def wheel(path: Path) -> Path:
    return formats.write_tar(path, {"a-1.0/PKG-INFO": b"", "a-1.0/setup.py": b""})


NO_IMAGES: dict[str, Callable[[Path], Path]] = {
    "a tgz of a project": lambda tmp: tgz(tmp / "x.tgz", "src/main.c", "Makefile"),
    "a Helm chart": lambda tmp: tgz(
        tmp / "chart-1.0.tgz", "chart/Chart.yaml", "chart/values.yaml", "chart/templates/x.yaml"
    ),
    "a source distribution": lambda tmp: wheel(tmp / "a-1.0.tar"),
    "an empty tar": lambda tmp: formats.write_tar(tmp / "x.tar", {}),
    "an empty gzip": lambda tmp: _written(tmp / "x.tar.gz", gzip.compress(b"")),
    "a database dump": lambda tmp: _written(tmp / "x.sql.gz", gzip.compress(b"select 1;\n" * 99)),
    "a text": lambda tmp: _written(tmp / "x.tar", b"hello\n" * 400),
    "an empty file": lambda tmp: _written(tmp / "x.tar", b""),
    "a manifest.json that is a web extension's": lambda tmp: formats.write_tar(
        tmp / "x.tar", {"manifest.json": b'{"manifest_version": 3}', "background.js": b""}
    ),
    "an index.json that is not a layout's": lambda tmp: formats.write_tar(
        tmp / "x.tar", {"index.json": b'{"title": "blog"}', "index.html": b""}
    ),
}


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_image_cannot_be_examined(box: Uvshim, tmp_path: Path, kind: str) -> None:
    path = NO_IMAGES[kind](tmp_path)
    done = box("check", path)
    assert done.status == 2, done
    assert path.name in done.stderr
    assert "ok" not in done.stdout.split()


def test_an_unknown_tar_is_answered_with_what_would_work(box: Uvshim, tmp_path: Path) -> None:
    done = box("check", NO_IMAGES["a tgz of a project"](tmp_path))
    assert "docker save" in done.stderr, done


def test_a_layout_in_a_subdirectory_of_a_tar_is_not_an_image(
    box: Uvshim, source: Path, tmp_path: Path
) -> None:
    path = formats.pack(source, tmp_path / "x.tar", "images/app/")
    done = box("check", path)
    assert done.status == 2, done
    assert "`images`" in done.stderr


def test_a_layout_below_a_dot_is_one(box: Uvshim, source: Path, tmp_path: Path) -> None:
    """As `tar -C DIR -cf FILE .` writes it."""
    is_answered(box.check(formats.pack(source, tmp_path / "x.tar", "./")))


def test_an_exported_root_without_packages_is_examined(box: Uvshim, tmp_path: Path) -> None:
    path = tmp_path / "root.tar"
    path.write_bytes(tar(dict.fromkeys(("bin", "etc", "usr/bin", "var", "proc", "sys", "tmp"))))
    assert box("check", path).status == 0


# --- 3: archives that lack platforms --------------------------------------------------------------


@pytest.fixture
def partial(image: formats.Image, tmp_path: Path) -> Path:
    """What `docker save` writes with the containerd store: three platforms, one of them there."""
    return formats.new_docker(
        tmp_path / "partial.tar", [(image, ["app:1.0"])], absent=["arm64", "s390x"]
    )


def test_of_an_archive_without_some_platforms_the_others_are_examined(
    box: Uvshim, partial: Path
) -> None:
    done = box.check(partial)
    assert done.status == 1, done
    assert done.wrong == WRONG
    assert "linux/arm64" in done.said
    assert "linux/s390x" in done.said
    text = box("check", "--no-cache", partial)
    assert text.status == 1
    assert "linux/arm64" in text.said
    assert "oslo.cache" in text.stdout


def test_the_absent_platforms_are_in_the_json(box: Uvshim, partial: Path) -> None:
    done = box.check(partial)
    assert "linux/arm64" in done.stdout
    assert [each["platform"] for each in done.images if each["broken"]] == ["linux/amd64"]


def test_an_absent_platform_makes_a_good_image_no_error(
    box: Uvshim, fine: formats.Image, tmp_path: Path
) -> None:
    path = formats.new_docker(tmp_path / "x.tar", [(fine, ["app:1.0"])], absent=["arm64"])
    assert box.check(path).status == 0


def test_an_absent_platform_that_is_asked_for_is_an_error(box: Uvshim, partial: Path) -> None:
    done = box.check("--platform", "linux/arm64", partial)
    assert done.status == 2, done
    assert "linux/arm64" in done.stderr


def test_an_archive_that_lacks_all_platforms_cannot_be_examined(
    box: Uvshim, image: formats.Image, tmp_path: Path
) -> None:
    found = Layout(tmp_path / "layout")
    arm, intel = (found.image(image), found.image(image._replace(tars=())))
    found.add(found.index([arm, intel]), "1.0")
    for each in {arm["digest"]: arm, intel["digest"]: intel}.values():
        found.remove(each)
    done = box.check(found.path)
    assert done.status == 2, done


def test_containerd_exports_one_platform_of_several(
    box: Uvshim, containerd: Containerd, docker: Docker, image: formats.Image, tmp_path: Path
) -> None:
    arm = formats.image(image.tars[0], tar({"arm": "64"}), architecture="arm64")
    found = Layout(tmp_path / "layout")
    found.add(found.index([found.image(image), found.image(arm)]), "both")
    (name,) = (
        name
        for name in containerd.load(formats.pack(found.path, tmp_path / "in.tar"), "localhost/x")
        if name.endswith(":both")
    )
    archive = tmp_path / "exported.tar"
    containerd("images", "export", "--platform", "linux/amd64", archive, name)
    assert len(json.loads(formats.members(archive)["index.json"])["manifests"]) == 1
    done = box.check(archive)
    assert done.status == 1, done
    assert done.wrong == WRONG
    fixed = box.fix(archive, f"docker-archive:{tmp_path}/fixed.tar:partial:1")
    assert fixed.status == 0, fixed
    assert docker.load(tmp_path / "fixed.tar") == ["partial:1"]
    assert "oslo.cache-3.10.2.dist-info" in docker.names("partial:1")


def test_an_archive_without_some_platforms_is_fixed_and_loaded(
    box: Uvshim, partial: Path, docker: Docker, tmp_path: Path
) -> None:
    done = box.fix(partial, f"docker-archive:{tmp_path}/fixed.tar:present:1")
    assert done.status == 0, done
    assert "linux/arm64" in done.said
    assert docker.load(tmp_path / "fixed.tar") == ["present:1"]
    assert "zope.interface-7.2.dist-info" in docker.names("present:1")


# --- 8: archives that expand ----------------------------------------------------------------------


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    """An archive of 3 MB that is 3 GB: one file of zeros, and a manifest behind it."""
    head = tarfile.TarInfo("layer.tar")
    head.size = 3 * 1024**3
    manifest = formats.as_json([{"Config": "c.json", "RepoTags": None, "Layers": ["layer.tar"]}])
    rest = tmp_path / "rest.tar"
    formats.write_tar(rest, {"c.json": b"{}", "manifest.json": manifest})
    part = 64 * 1024**2
    compressor = zlib.compressobj(9, wbits=31)
    zeros = compressor.compress(bytes(part)) + compressor.flush()
    path = tmp_path / "bomb.tar.gz"
    with path.open("wb") as file:
        file.write(gzip.compress(head.tobuf(tarfile.USTAR_FORMAT)))
        for _ in range(head.size // part):
            file.write(zeros)
        file.write(gzip.compress(rest.read_bytes()))
    return path


def test_an_archive_that_expands_without_bounds_is_refused(box: Uvshim, bomb: Path) -> None:
    done = box("check", "--no-cache", bomb)
    assert done.status == 2, done
    assert done.mebibytes < 200
    assert done.seconds < 60
    assert "MiB" in done.stderr, done
    assert "UVSHIM_SPOOL_LIMIT=" in done.stderr


def test_an_archive_that_expands_is_examined_if_it_may(
    box: Uvshim, image: formats.Image, tmp_path: Path
) -> None:
    path = tmp_path / "x.tar.gz"
    written = formats.crane(tmp_path / "x.tar", [(image, ["app:1"])])
    path.write_bytes(gzip.compress(written.read_bytes()))
    assert box("check", path, UVSHIM_SPOOL_LIMIT="100K").status == 2
    is_answered(box.check(path, UVSHIM_SPOOL_LIMIT="100M"))


# --- 12: what is strange and right ----------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix", [".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst"], ids=lambda one: one[5:]
)
@pytest.mark.parametrize("form", ["Docker 25", "Docker before 25", "crane"])
def test_archives_are_examined_however_they_are_compressed(
    box: Uvshim, image: formats.Image, tmp_path: Path, form: str, suffix: str
) -> None:
    written = formats.HAND_MADE[form](tmp_path / "plain.tar", [(image, ["app:1.0"])])
    compress: dict[str, Callable[[bytes], bytes]] = {
        ".tar.gz": formats.gzipped,
        ".tar.xz": lambda content: lzma.compress(content, preset=0),
        ".tar.bz2": bz2.compress,
        ".tar.zst": formats.zstandard,
    }
    path = tmp_path / f"app{suffix}"
    path.write_bytes(compress[suffix](written.read_bytes()))
    is_answered(box.check(path))
    if form != "Docker 25":
        is_answered(box.check(f"docker-archive:{path}"))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_an_exported_root_is_examined_however_it_is_compressed(
    box: Uvshim, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "root.tar.x"
    path.write_bytes(compress(tar({"etc/passwd": "", **broken_site(SITE)})))
    done = box.check(path)
    assert done.status == 1, done
    assert done.wrong == ["oslo.cache"]


def test_an_index_whose_manifests_are_null_is_empty(
    box: Uvshim, image: formats.Image, tmp_path: Path
) -> None:
    found = Layout(tmp_path / "layout")
    found.add(found.index(None), "empty")
    found.add(found.image(image), "1.0")
    is_answered(box.check(found.path))


def test_an_image_is_written_into_a_layout_that_umoci_has_made(
    box: Uvshim, source: Path, tmp_path: Path
) -> None:
    need("umoci", "skopeo")
    output("umoci", "init", "--layout", tmp_path / "new")
    assert json.loads((tmp_path / "new/index.json").read_text())["manifests"] is None
    empty = box("check", tmp_path / "new")
    assert empty.status in {0, 2}, empty
    done = box.fix(f"oci:{source}:1.0", f"oci:{tmp_path}/new:1.1")
    assert done.status == 0, done
    assert box.check(f"oci:{tmp_path}/new:1.1").status == 0


def test_an_image_whose_layers_are_null_has_no_packages(box: Uvshim, tmp_path: Path) -> None:
    need("umoci")
    output("umoci", "init", "--layout", tmp_path / "new")
    output("umoci", "new", "--image", f"{tmp_path}/new:empty")
    done = box.check(tmp_path / "new")
    assert done.status == 0, done
    assert len(done.images) == 1


def artifact(found: Layout, kind: str, subject: formats.Descriptor) -> formats.Descriptor:
    """Add something to the layout that is not an image, as the tools write it."""
    empty = found.blob("application/vnd.oci.empty.v1+json", b"{}")
    if kind == "signature of cosign":
        config = found.blob(
            formats.OCI_CONFIG,
            {
                "architecture": "",
                "os": "",
                "rootfs": {"type": "layers", "diff_ids": [formats.digest(b"{}")]},
            },
        )
        layer = found.blob("application/vnd.dev.cosign.simplesigning.v1+json", b'{"critical": {}}')
        return found.blob(
            formats.OCI_MANIFEST, {"schemaVersion": 2, "config": config, "layers": [layer]}
        )
    if kind == "attestation of BuildKit":
        config = found.blob(formats.OCI_CONFIG, {"architecture": "unknown", "os": "unknown"})
        layer = found.blob("application/vnd.in-toto+json", b"{}")
        more = {
            "annotations": {
                "vnd.docker.reference.digest": subject["digest"],
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": {"architecture": "unknown", "os": "unknown"},
        }
        return found.blob(
            formats.OCI_MANIFEST, {"schemaVersion": 2, "config": config, "layers": [layer]}, **more
        )
    content = {
        "schemaVersion": 2,
        "mediaType": formats.OCI_MANIFEST,
        "config": empty,
        "layers": [found.blob("application/spdx+json", b'{"spdxVersion": "SPDX-2.3"}')],
    }
    if kind == "SBOM that refers to it":
        content |= {"artifactType": "application/spdx+json", "subject": subject}
    if kind == "chart of Helm":
        content |= {
            "config": found.blob("application/vnd.cncf.helm.config.v1+json", {"name": "x"}),
            "layers": [found.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"x")],
        }
    return found.blob(formats.OCI_MANIFEST, content)


ARTIFACTS = [
    "signature of cosign",
    "attestation of BuildKit",
    "SBOM",
    "SBOM that refers to it",
    "chart of Helm",
]


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_beside_an_image_its_artifacts_are_skipped(
    box: Uvshim, image: formats.Image, tmp_path: Path, kind: str
) -> None:
    found = Layout(tmp_path / "layout")
    described = found.image(image)
    found.add(described, "1.0")
    other = artifact(found, kind, described)
    found.add(other, f"{described['digest'].replace(':', '-')}.sig")
    is_answered(box.check(found.path))
    done = box.fix(f"oci:{found.path}:1.0", f"oci:{tmp_path}/fixed:1.0")
    assert done.status == 0, done


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_in_one_index_with_its_artifacts_an_image_is_fixed(
    box: Uvshim, image: formats.Image, tmp_path: Path, kind: str
) -> None:
    found = Layout(tmp_path / "layout")
    described = found.image(image)
    found.add(found.index([described, artifact(found, kind, described)]), "1.0")
    is_answered(box.check(found.path))
    done = box.fix(found.path, f"oci:{tmp_path}/fixed:1.0")
    assert done.status == 0, done
    assert box.check(tmp_path / "fixed").status == 0


def test_a_layout_that_has_only_a_signature_cannot_be_examined(box: Uvshim, tmp_path: Path) -> None:
    found = Layout(tmp_path / "layout")
    found.add(artifact(found, "signature of cosign", {}), "sha256-0.sig")
    assert box.check(found.path).status == 2


def test_a_directory_may_have_a_colon_in_its_name(
    box: Uvshim, source: Path, tmp_path: Path
) -> None:
    need("skopeo")
    output("skopeo", "copy", "--quiet", f"oci:{source}:1.0", f"dir:{tmp_path}/app")
    shutil.move(tmp_path / "app", tmp_path / "app:1.0")
    is_answered(box.check(f"dir:{tmp_path}/app:1.0"))
    done = box.fix(f"dir:{tmp_path}/app:1.0", f"dir:{tmp_path}/app:1.1")
    assert done.status == 0, done
    assert box.check(f"dir:{tmp_path}/app:1.1").status == 0


# --- 15: the name that was asked for --------------------------------------------------------------


def test_of_two_names_of_one_image_the_answer_has_the_one_asked_for(
    box: Uvshim, image: formats.Image, tmp_path: Path
) -> None:
    path = formats.old_docker(tmp_path / "x.tar", [(image, ["app:1", "app:2"])])
    for tag in ("app:1", "app:2"):
        done = box.check(f"docker-archive:{path}:{tag}")
        assert [each["image"].endswith(tag) for each in done.images] == [True], done


def test_of_two_images_the_one_asked_for_is_examined(
    box: Uvshim, image: formats.Image, fine: formats.Image, tmp_path: Path
) -> None:
    both = [(fine, ["app:1"]), (image, ["app:2"])]
    for writing in (formats.old_docker, formats.crane):
        path = writing(tmp_path / "x.tar", both)
        assert box.check(f"docker-archive:{path}:app:1").status == 0
        is_answered(box.check(f"docker-archive:{path}:app:2"))
        assert len(box.check(path).images) == 2
        assert box.check(f"docker-archive:{path}:app:3").status == 2
