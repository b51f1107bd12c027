"""Registries, through skopeo."""

from __future__ import annotations

import json
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from tests.images.making import Making, layout, tar
from uvshim.images.sources import skopeo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

pytestmark = pytest.mark.skipif(not shutil.which("skopeo"), reason="there is no skopeo here")


@pytest.fixture
def silent() -> Iterator[str]:
    """An image in a registry that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"docker://127.0.0.1:{server.getsockname()[1]}/app:1"


def test_a_registry_that_does_not_answer_is_given_up(
    run: Run, uvshim: Path, tmp_path: Path, silent: str
) -> None:
    image = f"oci:{layout(tmp_path / 'layout', [tar({'etc/motd': ''})])}:latest"
    done = run(uvshim, "check", "--no-cache", silent, image, UVSHIM_REGISTRY_TIMEOUT="1")
    assert done.returncode == 2
    why = "no progress for 1 second (UVSHIM_REGISTRY_TIMEOUT)"
    assert f"error: skopeo cannot read `{silent}`: {why}\n" in done.stderr
    assert "2 images: 0 broken, 1 not examined" in done.stdout
    done = run(uvshim, "fix", image, "--output", silent, UVSHIM_REGISTRY_TIMEOUT="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"skopeo cannot write `{silent}`: {why}\n" in done.stderr
    done = run(uvshim, "check", silent, UVSHIM_REGISTRY_TIMEOUT="soon")
    assert "UVSHIM_REGISTRY_TIMEOUT is not a number of seconds: `soon`" in done.stderr


def test_slow_bytes_are_no_progress_and_many_are(run: Run, uvshim: Path, tmp_path: Path) -> None:
    """A skopeo in its place prints one byte at a time, or in two seconds a million."""
    program = tmp_path / "bin" / "skopeo"
    program.parent.mkdir()
    found = {}
    for size in (1, 500_000):
        program.write_text(
            "#!/usr/bin/env python3\nimport os, time\nend = time.monotonic() + 2.5\n"
            "while time.monotonic() < end:\n"
            f"    os.write(2, b' ' * {size}); time.sleep(0.2)\n"
        )
        program.chmod(0o755)
        found[size] = run(
            *(uvshim, "check", "--no-cache", "docker://no.example/app:1"),
            PATH=f"{program.parent}:/usr/bin:/bin",
            UVSHIM_REGISTRY_TIMEOUT="1",
        ).stderr
    assert "no progress for 1 second" in found[1]
    assert "no progress" not in found[500_000]


@pytest.mark.parametrize("platform", ["linux/aarch64", "linux/arm64", "linux/arm64/v8"])
def test_a_platform_has_the_same_names_everywhere(tmp_path: Path, platform: str) -> None:
    """skopeo itself knows only one."""
    making = Making(tmp_path / "layout")
    parts = [
        {
            **making.manifest([tar({})], architecture=name),
            "platform": {"os": "linux", "architecture": name},
        }
        for name in ("amd64", "arm64")
    ]
    kind = "application/vnd.oci.image.index.v1+json"
    making.add(making.described(kind, {"schemaVersion": 2, "manifests": parts}), "all")
    copied = tmp_path / "copied"
    skopeo.copy(f"oci:{making.path}:all", f"dir:{copied}", "it cannot be copied", platform)
    manifest = json.loads((copied / "manifest.json").read_text())
    config = copied / manifest["config"]["digest"].partition(":")[2]
    assert json.loads(config.read_text())["architecture"] == "arm64"


@pytest.mark.parametrize(
    ("platform", "variants", "found"),
    [
        ("linux/arm", ["v6", "v7"], ["linux/arm/v6", "linux/arm/v7"]),
        ("linux/amd64", ["", "v2"], ["linux/amd64", "linux/amd64/v2"]),
        ("linux/amd64/v2", ["", "v2"], ["linux/amd64/v2"]),
        ("linux/amd64", ["v2"], ["linux/amd64/v2"]),
        ("linux/arm64", ["v8", "v9"], ["linux/arm64/v8", "linux/arm64/v9"]),
    ],
    ids=str,
)
def test_all_variants_of_a_platform_are_examined(
    platform: str, variants: list[str], found: list[str], run: Run, uvshim: Path, tmp_path: Path
) -> None:
    """Of a registry, for which skopeo reads a layout here."""
    architecture = platform.split("/")[1]
    making = Making(tmp_path / "layout")
    parts = [
        {
            **making.manifest([tar({f"usr/{variant}": ""})], architecture=architecture),
            "platform": {"os": "linux", "architecture": architecture, "variant": variant},
        }
        for variant in variants
    ]
    kind = "application/vnd.oci.image.index.v1+json"
    making.add(making.described(kind, {"schemaVersion": 2, "manifests": parts}), "all")
    program = tmp_path / "bin" / "skopeo"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\nfor each; do\n"
        f'  [ "$each" = docker://no.example/app:1 ] && each=oci:{making.path}:all\n'
        f'  set -- "$@" "$each"; shift\ndone\nexec {shutil.which("skopeo")} "$@"\n'
    )
    program.chmod(0o755)
    done = run(
        *(uvshim, "check", "--no-cache", "--format", "json", "--platform", platform),
        "docker://no.example/app:1",
        PATH=f"{program.parent}:/usr/bin:/bin",
    )
    assert [one["platform"] for one in json.loads(done.stdout)["images"]] == found, done.stderr
