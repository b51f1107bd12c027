"""Images as they lie, in every form and from a registry: the same answer as of the unpacked root."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.corpus_images import layout as corpus_layout
from tests.acceptance.corpus_images import output
from tests.acceptance.test_image import CACHE, base  # noqa: F401
from tests.images.making import Hard, Link, layout, tar
from uvshim.errors import ImageError
from uvshim.images import changes, layers, reference
from uvshim.images.changes import Link as LinkInLayer
from uvshim.images.layers import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    """Return what lies below `root`: a directory, a file, or the target of a link, by path."""
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
                (f"link to {node.target}" if isinstance(node, LinkInLayer) else "file"),
            )


@pytest.mark.parametrize("start", range(0, 200, 20))
def test_layers_are_put_together_as_umoci_does(start: int, tmp_path: Path) -> None:
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
            continue  # it takes the one or the other for an error that we can do without
        named = reference.parse(str(path))
        assert named is not None
        try:
            with reference.opened(named) as (image,):
                root = layers.put_together(map(changes.read, image.layers))
        except ImageError as error:
            pytest.fail(f"{number}: {error}")
        assert dict(in_tree(root)) == on_disk(bundle / "rootfs"), number
        compared += 1
    assert compared >= 3
