"""Images of real sets of packages, fixed with one layer, and tested with the real tools."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.acceptance.corpus_images import PLACE, TAG, at_its_place, layout, output
from tests.acceptance.test_corpora import DRIVERS, REQUIRE_EVERY_ONE
from tests.acceptance.test_image import CACHE, base  # noqa: F401
from tests.corpus import installed, under
from tests.images.making import INDEX, Making, tar
from tests.places import record_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Run

pytestmark = [pytest.mark.index, pytest.mark.image]

# What is in an image, in how many layers, what fails before, and how many directories are wrong.
KINDS = {
    "the incident in three layers": ("magnum-2025.1", 1000, 23, 4),
    "the incident in many layers": ("magnum-2025.1", 20, 23, 4),
    "OpenStack in three layers": ("openstack-2025.2", 1000, 62, 27),
    "OpenStack in many layers": ("openstack-2025.2", 20, 62, 27),
}


class Pair(NamedTuple):
    """An image in a layout, broken and fixed."""

    path: Path
    failures: int
    wrong: int

    @property
    def broken(self) -> str:
        return f"oci:{self.path}:{TAG}"

    @property
    def fixed(self) -> str:
        return f"oci:{self.path}:fixed"

    def manifest(self, tag: str) -> dict[str, Any]:
        """Return the manifest of `tag`."""
        index = json.loads((self.path / "index.json").read_text())
        (found,) = [
            each
            for each in index["manifests"]
            if each["annotations"]["org.opencontainers.image.ref.name"] == tag
        ]
        return self.blob(found["digest"])

    def blob(self, digest: str) -> dict[str, Any]:
        """Return the JSON in the blob `digest`."""
        path = self.path / "blobs" / digest.replace(":", "/")
        found: dict[str, Any] = json.loads(path.read_text())
        return found


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest,
    base: Path,  # noqa: F811
    uv: Path,
    shared_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """One of the images."""
    corpus, size, failures, wrong = KINDS[request.param]
    original = layout(corpus, size, base, uv, (CACHE, shared_cache))
    path = Path(shutil.copytree(original, tmp_path_factory.mktemp("pair") / "layout"))
    yield Pair(path, failures, wrong)
    shutil.rmtree(path.parent)


@pytest.fixture
def uvshim_here(uvshim: Path, run: Run) -> Any:
    """Run uvshim."""
    return lambda *words: run(uvshim, *words, SOURCE_DATE_EPOCH=None)


def states(directory: Path) -> dict[str, str]:
    """Return a digest of what is on the disk for every path below `directory`."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content: bytes = b""
        if path.is_symlink():
            content = os.readlink(path).encode()
        elif path.is_file():
            content = path.read_bytes()
        about = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)
        found[str(path.relative_to(directory))] = f"{about} {hashlib.sha256(content).hexdigest()}"
    return found


def in_root(root: Path, code: str) -> Any:
    """Return what `code` prints in the Python of the environment below `root`, as JSON."""
    said = output(
        *("chroot", root, f"{PLACE}/bin/python", "-BIW", "ignore", "-c", code),
    )
    return json.loads(said.splitlines()[-1])


def test_nothing_fails_and_nothing_else_has_changed(
    pair: Pair, uvshim_here: Any, uv: Path, tmp_path: Path
) -> None:
    before = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (pair.path / "blobs" / "sha256").iterdir()
    }
    done = uvshim_here("fix", pair.broken, "--output", pair.fixed)
    assert done.returncode == 0, done.stderr
    assert f"Renormalized {pair.wrong} distributions in " in done.stderr

    # One more layer; everything else is unchanged.
    old, new = pair.manifest(TAG), pair.manifest("fixed")
    assert new["layers"][:-1] == old["layers"]
    assert new["layers"][-1]["mediaType"] == old["layers"][-1]["mediaType"]
    assert new["layers"][-1]["size"] < 0.01 * sum(each["size"] for each in old["layers"])
    configs = [pair.blob(each["config"]["digest"]) for each in (old, new)]
    assert configs[1]["rootfs"]["diff_ids"][:-1] == configs[0]["rootfs"]["diff_ids"]
    assert configs[1]["history"][:-1] == configs[0]["history"]
    assert configs[1]["config"].pop("Labels").pop("uvshim.fixed-by").startswith("uvshim ")
    configs[0]["config"].pop("Labels")
    others = [
        {key: value for key, value in each.items() if key not in {"rootfs", "history"}}
        for each in configs
    ]
    assert others[0] == others[1]
    for name, digest in before.items():
        assert digest == name
        assert hashlib.sha256((pair.path / "blobs/sha256" / name).read_bytes()).hexdigest() == name

    # The same again, elsewhere.
    again = uvshim_here("fix", pair.broken, "--output", f"oci:{tmp_path / 'again'}:fixed")
    assert again.returncode == 0, again.stderr
    assert Pair(tmp_path / "again", 0, 0).manifest("fixed") == new
    shutil.rmtree(tmp_path / "again")

    checked = uvshim_here("check", "--no-cache", pair.fixed)
    assert checked.returncode == 0, checked.stdout
    assert f"{pair.fixed} {PLACE}: ok (" in checked.stdout

    # Unpacked by others.
    roots = []
    for tag in (TAG, "fixed"):
        roots.append(tmp_path / tag / "rootfs")
        output("umoci", "unpack", "--image", f"{pair.path}:{tag}", tmp_path / tag)
    unpacked = [states(root) for root in roots]
    different = {
        path.partition(".dist-info")[0]
        for path in unpacked[0].keys() | unpacked[1].keys()
        if unpacked[0].get(path) != unpacked[1].get(path)
    }
    assert all("/site-packages/" in path for path in different)
    assert len(different) == 2 * pair.wrong

    assert len(in_root(roots[0], REQUIRE_EVERY_ONE)[1]) == pair.failures
    assert in_root(roots[1], REQUIRE_EVERY_ONE)[1] == {}
    app = roots[1] / PLACE.lstrip("/")
    (site_packages,) = app.glob("lib/*/site-packages")
    dotted = {
        path
        for path in site_packages.glob("*.dist-info")
        if path.name in {Path(f"{each}.dist-info").name for each in different}
    }
    assert len(dotted) == pair.wrong
    assert {path: faults for path in dotted if (faults := record_faults(path))} == {}

    # An uninstall leaves no file, neither of what was renamed nor of the rest.
    options = ("--python", PLACE, "--format", "json")
    names = [each["name"] for each in json.loads(at_its_place(app, uv, "pip", "list", *options))]
    at_its_place(app, uv, "pip", "uninstall", "--python", PLACE, *names)
    left = [path for path in site_packages.rglob("*") if not path.is_dir()]
    assert [path.name for path in left] in ([], ["_virtualenv.pth", "_virtualenv.py"])


# --- the real tools -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def incident(
    base: Path,  # noqa: F811
    uv: Path,
    uvshim: Path,
    shared_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """The image of the incident, fixed."""
    original = layout("magnum-2025.1", 20, base, uv, (CACHE, shared_cache))
    path = Path(shutil.copytree(original, tmp_path_factory.mktemp("incident") / "layout"))
    pair = Pair(path, 23, 4)
    output(uvshim, "fix", pair.broken, "--output", pair.fixed)
    yield pair
    shutil.rmtree(path.parent)


def test_in_a_container_all_five_drivers_are_found(incident: Pair, tmp_path: Path) -> None:
    storage = ("--root", tmp_path / "root", "--runroot", tmp_path / "run")

    def buildah(*words: str | Path) -> str:
        return output("buildah", *storage, *words, STORAGE_DRIVER="vfs").strip()

    found = {}
    for image in (incident.broken, incident.fixed):
        container = buildah("from", "--quiet", image)
        command = ("python", "-W", "ignore", "-c", DRIVERS)
        said = buildah("run", "--isolation", "chroot", container, "--", *command)
        found[image] = json.loads(said.splitlines()[-1])
        buildah("rm", container)
        buildah("rmi", "--all")
    assert found[incident.broken] == ["k8s_fedora_coreos_v1"]
    assert found[incident.fixed] == [
        "k8s_cluster_api_flatcar",
        "k8s_cluster_api_rockylinux",
        "k8s_cluster_api_ubuntu",
        "k8s_cluster_api_ubuntu_focal",
        "k8s_fedora_coreos_v1",
    ]


def test_skopeo_takes_it_to_every_format_and_to_a_registry(
    incident: Pair, registry: str, tmp_path: Path, uvshim_here: Any
) -> None:
    told = json.loads(output("skopeo", "inspect", incident.fixed))
    manifest = incident.manifest("fixed")
    assert told["Layers"] == [each["digest"] for each in manifest["layers"]]
    for target in (
        f"oci:{tmp_path}/oci:x",
        f"oci-archive:{tmp_path}/oci.tar:x",
        f"docker-archive:{tmp_path}/docker.tar:app:x",
        f"dir:{tmp_path}/dir",
        f"docker://{registry}/app:x",
    ):
        output("skopeo", "copy", "--quiet", incident.fixed, target)
        checked = uvshim_here("check", "--no-cache", target)
        assert checked.returncode == 0, (target, checked.stdout, checked.stderr)
        name = target.partition(":")[2]
        shutil.rmtree(name, ignore_errors=True)
    told = json.loads(output("skopeo", "inspect", f"docker://{registry}/app:x"))
    assert told["Layers"] == [each["digest"] for each in manifest["layers"]]


def test_from_a_registry_to_the_registry_one_layer_is_added_and_a_tag(
    incident: Pair, registry: str, tmp_path: Path, uvshim_here: Any
) -> None:
    broken, fixed = (f"docker://{registry}/app:{tag}" for tag in ("1", "1-fixed"))
    output("skopeo", "copy", "--quiet", incident.broken, broken)
    blobs = tmp_path / "registry" / "docker" / "registry" / "v2" / "blobs" / "sha256"
    before = {path.name for path in blobs.glob("*/*")}
    inspected = output("skopeo", "inspect", broken)
    done = uvshim_here("fix", "--format", "json", broken, "--output", "{repository}:{tag}-fixed")
    assert done.returncode == 0, done.stderr
    assert len({path.name for path in blobs.glob("*/*")} - before) == 3  # layer, config, manifest
    (result,) = json.loads(done.stdout)["images"][0]["results"]
    told = json.loads(output("skopeo", "inspect", fixed))
    assert told["Digest"] == result["digest"]
    assert told["Layers"] == [each["digest"] for each in incident.manifest("fixed")["layers"]]
    assert (
        json.loads(output("skopeo", "inspect", broken))["Layers"] == json.loads(inspected)["Layers"]
    )
    assert uvshim_here("check", "--no-cache", fixed).returncode == 0


def test_manifests_of_docker_and_of_several_platforms_stay_what_they_are_in_a_registry(
    registry: str, tmp_path: Path, uvshim_here: Any
) -> None:
    files = under(f"{PLACE}/lib/python3.12/site-packages", installed("a_b-1.0", "a.b"))
    making = Making(tmp_path / "small")
    parts = [
        {
            **making.manifest([tar(files)], architecture=each),
            "platform": {"os": "linux", "architecture": each},
        }
        for each in ("amd64", "arm64")
    ]
    making.add(making.described(INDEX, {"schemaVersion": 2, "manifests": parts}), "all")
    making.add(parts[0], "one")
    docker = f"docker://{registry}/app:docker"
    output("skopeo", "copy", "--format", "v2s2", f"oci:{making.path}:one", docker)
    for image, several in ((docker, False), (f"oci:{making.path}:all", True)):
        target = f"docker://{registry}/app:fixed"
        done = uvshim_here("fix", image, "--output", target)
        assert done.returncode == 0, done.stderr
        assert ("/arm64)" in done.stderr) is several
        raw = json.loads(output("skopeo", "inspect", "--raw", target))
        assert ("docker" in raw.get("mediaType", "")) is not several
        assert len(raw.get("manifests", [])) == 2 * several
        checked = uvshim_here("check", "--no-cache", target)
        assert checked.returncode == 0, checked.stdout
        again = uvshim_here("fix", target, "--output", f"oci:{tmp_path}/none:1")
        how = "unchanged " if several else ""  # a layout gets OCI's media types for Docker's
        assert again.stderr.startswith(f"Nothing to fix in `{target}`: wrote it {how}to ")


def small(directory: Path) -> str:
    """Make an image with one wrong name below `directory`, and return its name."""
    files = under(f"{PLACE}/lib/python3.12/site-packages", installed("a_b-1.0", "a.b"))
    making = Making(directory / "small")
    making.add(making.manifest([tar(files)]), "one")
    return f"oci:{making.path}:one"


@pytest.mark.parametrize("target", ["oci:{}/new:1", "oci-archive:{}/new.tar:1"])
def test_an_image_with_docker_s_media_types_is_found_by_its_tag_in_a_layout(
    tmp_path: Path, target: str, uvshim_here: Any
) -> None:
    docker = f"dir:{tmp_path}/docker"
    output("skopeo", "copy", "--quiet", "--format", "v2s2", small(tmp_path), docker)
    new = target.format(tmp_path)
    done = uvshim_here("fix", docker, "--output", new)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(output("skopeo", "inspect", new))["Layers"]) == 2
    output("skopeo", "copy", "--quiet", new, f"oci:{tmp_path}/copy:1")
    output("umoci", "unpack", "--image", f"{tmp_path}/copy:1", tmp_path / "unpacked")


def test_the_repository_of_a_registry_stays_in_the_name_in_an_archive(
    registry: str, tmp_path: Path, uvshim_here: Any
) -> None:
    output("skopeo", "copy", small(tmp_path), f"docker://{registry}/app:1")
    archive = tmp_path / "new.tar"
    done = uvshim_here("fix", f"docker://{registry}/app:1", "--output", f"docker-archive:{archive}")
    assert done.returncode == 0, done.stderr
    with tarfile.open(archive) as opened:
        listed = opened.extractfile("manifest.json")
        assert listed is not None
        assert json.load(listed)[0]["RepoTags"] == [f"{registry}/app:1-fixed"]


@pytest.mark.parametrize("form", ["oci-archive:{}/x.tar:1", "docker-archive:{}/x.tar:app:1"])
def test_the_archive_of_an_archive_is_read_by_all(
    incident: Pair, form: str, tmp_path: Path, uvshim_here: Any
) -> None:
    broken = form.format(tmp_path)
    output("skopeo", "copy", "--quiet", incident.broken, broken)
    fixed = broken[:-1].replace("x.tar", "fixed.tar") + "2"
    done = uvshim_here("fix", broken, "--output", fixed)
    assert done.returncode == 0, done.stderr
    assert uvshim_here("check", "--no-cache", broken).returncode == 1
    assert uvshim_here("check", "--no-cache", fixed).returncode == 0
    output("skopeo", "copy", "--quiet", fixed, f"oci:{tmp_path}/copy:x")
    output("umoci", "unpack", "--image", f"{tmp_path}/copy:x", tmp_path / "unpacked")
    assert len(in_root(tmp_path / "unpacked" / "rootfs", DRIVERS)) == 5
