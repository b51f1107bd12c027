"""An image is read as container engines read it, and examined as its unpacked root would be."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

import uvshim
from tests.corpus import installed, metadata, under
from tests.images.making import DOCKER, OCI, Link, Making, digest, gzipped, layout, tar
from uvshim.images import survey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.conftest import Run

SITE = "opt/app/lib/python3.11/site-packages"
BASE: dict[str, Any] = {
    **under(SITE, installed("setuptools-75.8.0", "setuptools"), installed("a_b-1.0", "a.b")),
    "opt/app/pyvenv.cfg": "home = /usr/bin\n",
}


def answer(path: Path, **options: Any) -> uvshim.Surveyed:
    (found,) = uvshim.survey([path], cache=None, **options)
    return found


def hidden(path: Path) -> list[str]:
    """Return the names that are not found in all environments of an image."""
    found = answer(path)
    assert found.error is None
    return [
        one.name
        for each in found.images
        for report in each.reports
        for one in report.diagnosis.hidden
    ]


# --- headers --------------------------------------------------------------------------------------


def extended(entries: Mapping[str, Any], fields: Mapping[str, str]) -> bytes:
    """Return a tar of `entries`, each with an extended header that has `fields`."""
    made = b""
    body = b"".join(record(*field) for field in fields.items())
    with tarfile.open(fileobj=io.BytesIO(tar(entries))) as archive:
        for header in archive:
            content = archive.extractfile(header)
            data = b"" if content is None else content.read()
            extra = tarfile.TarInfo("PaxHeaders/x")
            extra.type, extra.size = tarfile.XHDTYPE, len(body)
            made += extra.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)
            made += header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
    return made + bytes(1024)


def record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


@pytest.mark.parametrize("more", [{}, {"comment": "ü"}])
@pytest.mark.parametrize(
    "fields",
    [
        {"path": ""},
        {"linkpath": ""},
        {"uid": "", "mtime": ""},
        {"GNU.sparse.name": "opt/elsewhere"},
    ],
)
def test_a_field_that_says_nothing_changes_nothing(
    fields: dict[str, str], more: dict[str, str], tmp_path: Path
) -> None:
    path = layout(tmp_path / "x", [extended(BASE, {**fields, **more})])
    assert hidden(path) == ["a.b"]


def test_global_headers_are_ignored(run: Run, uvshim: Path, tmp_path: Path) -> None:
    fields = {"path": "opt/zzz", "uid": "77", "mtime": "7"}
    made = tarfile.TarInfo.create_pax_global_header(fields) + tar(BASE)
    path = layout(tmp_path / "x", [made])
    assert hidden(path) == ["a.b"]
    assert run(uvshim, "fix", f"oci:{path}:latest", "--output", f"oci:{path}:new").returncode == 0
    (descriptor,) = [
        each
        for each in json.loads((path / "index.json").read_text())["manifests"]
        if each["annotations"]["org.opencontainers.image.ref.name"] == "new"
    ]
    blobs = path / "blobs" / "sha256"
    manifest = json.loads((blobs / descriptor["digest"][7:]).read_text())
    layer = gzip.decompress((blobs / manifest["layers"][-1]["digest"][7:]).read_bytes())
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        (member,) = [one for one in archive if one.name.endswith("METADATA")]
    assert (member.uid, member.mtime) == (0, 1_000_000_000)


# --- the same as for the root -------------------------------------------------------------------


SCRIPT = "#!/bin/python3\n# EASY-INSTALL-ENTRY-SCRIPT\nfrom pkg_resources import load_entry_point\n"


def program(place: str, script: str, site: str = SITE) -> dict[str, Any]:
    """Return a distribution that nothing finds, and its script, which RECORD lists at `place`."""
    info = f"{site}/acme_app-1.0.dist-info"
    rows = f"{os.path.relpath(place, site)},,\nacme_app-1.0.dist-info/RECORD,,\nacme.py,,\n"
    return {
        f"{info}/METADATA": metadata("acme.app"),
        f"{info}/entry_points.txt": "[console_scripts]\nacme = acme:main\n",
        f"{info}/RECORD": rows,
        f"{site}/acme.py": "",
        place: script,
    }


ROOT = "lib/python3.11/site-packages"
INFO = "oslo.cache-1.0.dist-info"
LONG_RECORD = (
    "".join(f"aaa/{n:06d}{'x' * 3900}.py,,\n" for n in range(2_300))
    + f"{INFO}/METADATA,,\n{INFO}/RECORD,,\noslo_cache.py,sha256=x,1\n"
)
SAME: dict[str, dict[str, Any]] = {
    "a long .pth file": {
        **BASE,
        f"{SITE}/x.pth": f"#{'x' * 98}\n" * 900 + "/opt/eggs\n",
        **under("opt/eggs", installed("foo_bar-1.0", "foo.bar")),
    },
    "a script at the root": {
        **under(ROOT, installed("setuptools-75.8.0", "setuptools")),
        **program("bin/acme", SCRIPT, ROOT),
        "bin/python3.11": "\x7fELF",
    },
    "a script with a licence in front": {
        **BASE,
        **program("opt/app/bin/acme", f"#!/bin/python3\n{'# x' * 1000}\n{SCRIPT}"),
    },
    "a script behind a link": {
        **BASE,
        **{
            name.replace("opt/app/bin/", "opt/app/scripts/"): text
            for name, text in program("opt/app/bin/acme", SCRIPT).items()
        },
        "opt/app/bin": Link("scripts"),
    },
    "a long RECORD": {
        **BASE,
        f"{SITE}/oslo.cache-1.0.dist-info/METADATA": metadata("oslo.cache"),
        f"{SITE}/oslo.cache-1.0.dist-info/RECORD": LONG_RECORD,
        f"{SITE}/oslo_cache.py": "",
    },
    "a script in sbin": {**BASE, **program("opt/app/sbin/acme", SCRIPT)},
}


@pytest.mark.parametrize("what", SAME)
def test_an_image_is_examined_as_its_root_is(
    what: str, run: Run, uvshim: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    content = tar({**SAME[what], "usr/": "", "etc/": ""})
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(root, filter="fully_trusted")
    path = layout(tmp_path / "x", [content])
    command = (uvshim, "check", "--no-cache", "--verify", "--format", "json")
    on_disk = run(*command, root).stdout.replace(str(root), "")
    in_image = run(*command, path).stdout
    assert facts(on_disk) == facts(in_image)
    assert facts(on_disk)


def facts(said: str) -> list[dict[str, Any]]:
    """Return what was said of each environment, except its name."""
    own = {"image", "digest", "platform"}
    found = json.loads(said)["environments"]
    return [{key: one[key] for key in one if key not in own} for one in found]


def test_only_files_that_a_record_lists_are_hashed(run: Run, uvshim: Path, tmp_path: Path) -> None:
    """Another one may be sparse, and have a size without end."""
    right = base64.urlsafe_b64encode(hashlib.sha256(b"uv").digest()).rstrip(b"=").decode()
    info = f"{SITE}/c.d-1.0.dist-info"
    entries = {
        **BASE,
        f"{info}/METADATA": metadata("c.d"),
        f"{info}/INSTALLER": "uv",
        f"{info}/RECORD": f"c.d-1.0.dist-info/INSTALLER,sha256={right},2\n",
    }
    size = 1 << 50
    holes = {"major": "0", "minor": "1", "name": "opt/s", "size": f"{size}", "numblocks": "1"}
    fields = {f"GNU.sparse.{key}": value for key, value in holes.items()}
    sparse = extended({"opt/s": ""}, {**fields, "GNU.sparse.map": f"{size},0"})
    path = layout(tmp_path / "x", [tar(entries), sparse])
    done = run(uvshim, "check", "--no-cache", "--verify", path)
    assert "INSTALLER" not in done.stdout
    assert done.returncode == 1


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-9], lambda content: content + b"garbage"]
)
def test_a_compression_that_does_not_end_well_is_an_error(
    damage: Any, run: Run, uvshim: Path, tmp_path: Path
) -> None:
    making = Making(tmp_path / "x")
    content = damage(gzip.compress(tar(BASE)))
    making.add(making.image([(digest(tar(BASE)), content)], f"{OCI}.layer.v1.tar+gzip"), "1")
    for command in (["check", "--no-cache"], ["fix", "--dry-run"]):
        done = run(uvshim, *command, f"oci:{making.path}:1")
        assert done.returncode == 2
        assert "the layer sha256:" in done.stderr
        assert "bug" not in done.stderr
        assert "EOFError" not in done.stderr


def test_a_small_file_that_is_not_a_tar_is_not_an_empty_layer(tmp_path: Path) -> None:
    assert "is not a tar that can be read" in str(answer(layout(tmp_path / "x", [b"no tar"])).error)
    assert answer(layout(tmp_path / "y", [b""])).error is None


def test_a_manifest_of_schema_1_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schemaVersion": 1, "fsLayers": []}')
    (found,) = uvshim.survey([f"dir:{tmp_path}"], cache=None)
    assert "its manifest is of schema 1. Convert it: skopeo copy --format oci" in str(found.error)


# --- platforms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", [None, "", "linux"])
def test_a_config_without_a_system_is_for_linux(system: object, tmp_path: Path) -> None:
    making = Making(tmp_path / "x")
    layer = making.described(f"{OCI}.layer.v1.tar+gzip", gzipped(tar(BASE)))
    rootfs = {"type": "layers", "diff_ids": [digest(tar(BASE))]}
    config = {"architecture": "amd64", "os": system, "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "config": making.described(f"{DOCKER}.container.image.v1+json", config),
        "layers": [layer],
    }
    making.add(making.described(f"{OCI}.manifest.v1+json", manifest), "1")
    found = answer(making.path)
    assert found.error is None
    assert found.images[0].platform == "linux/amd64"


def test_a_variant_that_only_the_index_has_is_found(tmp_path: Path) -> None:
    making = Making(tmp_path / "x")
    tars: Sequence[bytes] = [tar(BASE), tar({"f": ""})]
    listed = [
        {
            **making.manifest([one], architecture="arm"),
            "platform": {"os": "linux", "architecture": "arm", "variant": variant},
        }
        for one, variant in zip(tars, ("v6", "v7"), strict=True)
    ]
    index = {"schemaVersion": 2, "manifests": listed}
    making.add(making.described(f"{OCI}.index.v1+json", index), "1")
    assert [each.platform for each in answer(making.path).images] == [
        "linux/arm/v6",
        "linux/arm/v7",
    ]
    (chosen,) = answer(making.path, platform="linux/arm/v7").images
    assert chosen.digest == listed[1]["digest"]
    vars(survey._of_thread).clear()
