"""Images in every form and from a registry give the same answer as the unpacked root."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.acceptance.corpus_images import layout as corpus_layout
from tests.acceptance.corpus_images import output
from tests.acceptance.test_image import CACHE, base  # noqa: F401
from tests.corpus import installed, under
from tests.images.making import Hard, Link, layout, tar
from tests.images.opening import opened
from tools import zipapp
from uvshim.errors import ImageError
from uvshim.images import union
from uvshim.images.budget import Budget
from uvshim.images.layer import changes
from uvshim.images.layer.header import LINK
from uvshim.images.union import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

pytestmark = [pytest.mark.index, pytest.mark.image]

DRIVERS = ["flatcar", "rockylinux", "ubuntu", "ubuntu_focal"]


def answer(uvshim: Path, image: str | Path) -> list[Any]:
    """Return what `uvshim check` says of the environments of an image, without its name."""
    done = subprocess.run(
        [uvshim, "check", "--no-cache", "--format", "json", image],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)["environments"]
    return [{**each, **dict.fromkeys(("image", "digest", "platform"))} for each in found]


def answer_of_root(uvshim: Path, root: Path) -> list[Any]:
    done = subprocess.run(
        [uvshim, "check", "--format", "json", root], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    environments: list[Any] = json.loads(done.stdout.replace(f"{root}/", "/"))["environments"]
    return environments


@pytest.fixture(params=[("magnum-2025.1", 1000), ("magnum-2025.1", 20), ("openstack-2025.2", 1000)])
def image(
    request: pytest.FixtureRequest,
    base: Path,  # noqa: F811
    uv: Path,
    shared_cache: Path,
) -> Path:
    """A layout with an image of a corpus, of three layers or of many."""
    corpus, size = request.param
    return corpus_layout(corpus, size, base, uv, (CACHE, shared_cache))


def test_every_form_of_an_image_gives_the_answer_of_its_unpacked_root(
    image: Path, registry: str, uvshim: Path, tmp_path: Path
) -> None:
    source = f"oci:{image}:broken"
    output("umoci", "unpack", "--image", f"{image}:broken", tmp_path / "bundle")
    root = tmp_path / "bundle" / "rootfs"
    expected = answer_of_root(uvshim, root)
    assert expected
    with tarfile.open(tmp_path / "export.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(root, ".")
    forms = {
        "zstd": f"oci:{tmp_path}/zstd:x",
        "archive": f"oci-archive:{tmp_path}/oci.tar:x",
        "saved": f"docker-archive:{tmp_path}/docker.tar:app:x",
        "plain": f"dir:{tmp_path}/plain",
        "registry": f"docker://{registry}/app:x",
    }
    for name, form in forms.items():
        options = {
            "zstd": ["--dest-compress-format", "zstd"],
            "plain": ["--dest-decompress"],
        }.get(name, [])
        output("skopeo", "copy", "--quiet", *options, source, form)
        assert answer(uvshim, form) == expected, name
    assert answer(uvshim, source) == expected
    assert answer(uvshim, tmp_path / "export.tar") == expected
    shutil.rmtree(tmp_path / "bundle")


def test_the_drivers_of_the_incident_are_named_from_the_archive_alone(
    base: Path,  # noqa: F811
    uv: Path,
    shared_cache: Path,
    uvshim: Path,
    tmp_path: Path,
    record_property: Any,
) -> None:
    original = corpus_layout("magnum-2025.1", 1000, base, uv, (CACHE, shared_cache))
    saved = tmp_path / "magnum.tar"
    output(
        "skopeo", "copy", "--quiet", f"oci:{original}:broken", f"docker-archive:{saved}:magnum:1"
    )
    begin = time.monotonic()
    done = subprocess.run(
        [uvshim, "check", "--no-cache", saved], check=False, capture_output=True, text=True
    )
    record_property("seconds", time.monotonic() - begin)
    assert done.returncode == 1
    (line,) = [one for one in done.stdout.splitlines() if one.strip().startswith("magnum.drivers:")]
    for driver in DRIVERS:
        assert f"k8s_cluster_api_{driver}" in line


# --- the recipes ----------------------------------------------------------------------------------


@pytest.fixture
def in_registry(registry: str, tmp_path: Path) -> Path:
    """A directory with a list of two images in a registry: a broken one, and one without fault."""
    site = "opt/app/lib/python3.11/site-packages"
    files = {
        "broken": under(
            site,
            installed("setuptools-75.8.0", "setuptools"),
            installed("oslo_cache-1.0", "oslo.cache", entry_points="[plug.ins]\nmine = a:b\n"),
        ),
        "fine": under(site, installed("plain-1.0", "plain")),
    }
    directory = tmp_path / "project"
    directory.mkdir()
    names = []
    for name, content in files.items():
        path = layout(tmp_path / name, [tar(content)])
        names.append(f"docker://{registry}/{name}:1")
        output("skopeo", "copy", "--quiet", f"oci:{path}:latest", names[-1])
    (directory / "images.txt").write_text("# nightly\n" + "\n".join(names))
    return directory


def test_the_recipe_of_a_survey_writes_a_page_and_json(
    in_registry: Path, run: Run, uvshim: Path
) -> None:
    path = f"{uvshim.parent}:{os.environ['PATH']}"
    done = run("sh", zipapp.ROOT / "recipes" / "survey.sh", cwd=in_registry, PATH=path)
    assert done.returncode == 1, done.stderr
    page = (in_registry / "survey.html").read_text()
    assert "<h1>1 of 2 images broken</h1>" in page
    found = json.loads((in_registry / "survey.json").read_text())
    assert [each["broken"] for each in found["images"]] == [True, False]


def test_the_nightly_recipe_fails_if_an_image_is_broken_and_knows_it_the_next_night(
    in_registry: Path, run: Run, tmp_path: Path
) -> None:
    recipe = yaml.safe_load((zipapp.ROOT / "recipes" / "nightly-survey.yml").read_text())
    steps = recipe["jobs"]["survey"]["steps"]
    command = next(step["run"] for step in steps if "run" in step)
    kept = next(step["with"]["path"] for step in steps if "path" in step.get("with", {}))
    assert [step.get("if") for step in steps if "cache/save" in step.get("uses", "")] == [
        "always()"
    ]
    output(sys.executable, zipapp.__file__, "--output", in_registry)
    for _ in range(2):
        done = run("bash", "-e", "-c", command, cwd=in_registry, XDG_CACHE_HOME=None)
        assert done.returncode == 1, done.stderr
        assert "2 images: 1 broken" in done.stdout
        assert (tmp_path / "home" / kept.removeprefix("~/")).is_dir()
    for blobs in (tmp_path / "registry").rglob("blobs/sha256"):
        for data in blobs.rglob("data"):
            if data.read_bytes()[:2] == b"\x1f\x8b":  # no layer is read again
                data.unlink()
    assert "2 images: 1 broken" in run("bash", "-c", command, cwd=in_registry).stdout


def test_the_lines_for_one_image_work(in_registry: Path, run: Run, uvshim: Path) -> None:
    """With skopeo in the place of `docker save`, which writes the same."""
    page = (zipapp.ROOT / "docs" / "survey.md").read_text()
    assert "\ndocker save app:1.0 --output app.tar\nuvshim check app.tar\n" in page
    assert "\nuvshim check docker://registry.example.com/app:1.0\n" in page
    name = (in_registry / "images.txt").read_text().splitlines()[1]
    output("skopeo", "copy", "--quiet", name, f"docker-archive:{in_registry}/app.tar:app:1.0")
    for image in ("app.tar", name):
        done = run(uvshim, "check", image, cwd=in_registry)
        assert done.returncode == 1, done.stderr
        assert "plug.ins: mine" in done.stdout


# --- beside umoci ---------------------------------------------------------------------------------

NAMES = ["a", "b", "c"]


def some_path(chance: random.Random) -> str:
    return "/".join(chance.choice(NAMES) for _ in range(chance.randint(1, 3)))


def some_entry(chance: random.Random, files: list[str]) -> tuple[str, Any]:
    """Return an entry that overwrites, removes, shadows or links to what others make."""
    path = some_path(chance)
    directory = path.rpartition("/")[0]
    above = f"{directory}/" if directory else ""
    kind = chance.random()
    if kind < 0.3:
        return f"{path}/", ""
    if kind < 0.55:
        files.append(path)
        return path, "x"
    if kind < 0.75:
        return path, Link(chance.choice(["", "/", "../"]) + some_path(chance))
    if kind < 0.8 and files:
        return path, Hard(chance.choice(files))
    if kind < 0.92:
        return f"{above}.wh.{path.rpartition('/')[2]}", ""
    return f"{above}.wh..wh..opq", ""


def on_disk(root: Path) -> dict[str, str]:
    """Return the contents of `root`: a directory, a file, or the target of a link, by path."""
    found = {}
    for parent, directories, names in os.walk(root):
        for name in directories + names:
            path = os.path.join(parent, name)
            kind = "directory" if os.path.isdir(path) else "file"
            found[os.path.relpath(path, root)] = (
                f"link to {os.readlink(path)}" if os.path.islink(path) else kind
            )
    return found


def in_tree(directory: Directory, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, node in directory.children.items():
        if isinstance(node, Directory):
            yield prefix + name, "directory"
            yield from in_tree(node, f"{prefix}{name}/")
        else:
            yield (
                prefix + name,
                (f"link to {node.target}" if node.kind == LINK else "file"),
            )


@pytest.mark.parametrize("start", range(0, 200, 20))
def test_layers_are_united_as_umoci_does(start: int, tmp_path: Path) -> None:
    compared = 0
    for number in range(start, start + 20):
        chance = random.Random(number)
        files: list[str] = []
        tars = [
            tar([some_entry(chance, files) for _ in range(chance.randint(1, 8))])
            for _ in range(chance.randint(1, 3))
        ]
        path = layout(tmp_path / f"{number}", tars)
        bundle = tmp_path / f"{number}-bundle"
        unpacked = subprocess.run(
            ["umoci", "unpack", "--image", f"{path}:latest", bundle],
            check=False,
            capture_output=True,
        )
        if unpacked.returncode != 0:
            continue  # umoci refuses some layers that uvshim accepts
        try:
            with opened(path) as (image,):
                root = union.unite([changes.read(one, Budget()) for one in image.layers], Budget())
        except ImageError as error:
            pytest.fail(f"{number}: {error}")
        assert dict(in_tree(root)) == on_disk(bundle / "rootfs"), number
        compared += 1
    assert compared >= 3
