"""`uvshim fix IMAGE --output IMAGE`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.corpus import installed, under
from tests.images.making import Making, docker_archive, layout, tar
from tests.images.unpacking import index

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

SITE = "opt/app/lib/python3.12/site-packages"
WRONG = tar(under(SITE, installed("oslo_cache-1.0", "oslo.cache")))
RIGHT = tar(under(SITE, installed("oslo.cache-1.0", "oslo.cache")))
GHOST = tar(under(SITE, installed("zope.deferred-1.0", "zope.deferred", code=False)))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return layout(tmp_path / "layout", [WRONG])


def test_what_was_done_is_reported(run: Run, uvshim: Path, image: Path) -> None:
    done = run(uvshim, "fix", f"oci:{image}:latest", "--output", f"oci:{image}:new")
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Renormalized 1 distribution in ")
    assert lines[1] == " ~ oslo.cache==1.0"
    digest = index(image)["new"]["digest"]
    assert lines[2] == f"Wrote `oci:{image}:new` ({digest}): 1 layer added, 1 kB"
    assert lines[3:] == ["Existing signatures do not cover the new digest: sign the image again"]
    quiet = run(uvshim, "fix", "-q", f"oci:{image}:latest", "--output", f"oci:{image}:again")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert index(image)["again"]["digest"] == digest


def test_with_nothing_to_fix_the_image_is_written_unchanged(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    image = layout(tmp_path / "layout", [RIGHT])
    done = run(uvshim, "fix", f"oci:{image}:latest", "--output", f"oci:{tmp_path}/new:1")
    assert done.returncode == 0
    digest = index(image)["latest"]["digest"]
    assert done.stderr == (
        f"Nothing to fix in `oci:{image}:latest`: "
        f"wrote it unchanged to `oci:{tmp_path}/new:1` ({digest})\n"
    )
    assert index(tmp_path / "new")["1"]["digest"] == digest
    assert run(uvshim, "check", f"oci:{tmp_path}/new:1").returncode == 0


def test_problems_that_no_rename_fixes_are_reported_and_the_rest_is_fixed(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    image = layout(tmp_path / "layout", [WRONG, GHOST])
    done = run(uvshim, "fix", f"oci:{image}:latest", "--output", f"oci:{tmp_path}/new:1")
    assert done.returncode == 3
    assert " ~ oslo.cache==1.0\n" in done.stderr
    assert (
        "zope.deferred-1.0.dist-info` belongs to zope.deferred, but its code is gone" in done.stderr
    )
    assert list(index(tmp_path / "new")) == ["1"]
    again = run(uvshim, "fix", f"oci:{tmp_path}/new:1", "--output", f"oci:{tmp_path}/new:2")
    assert again.returncode == 3
    assert list(index(tmp_path / "new")) == ["1", "2"]


def test_a_dry_run_needs_no_output_and_writes_nothing(run: Run, uvshim: Path, image: Path) -> None:
    before = index(image)
    done = run(uvshim, "fix", "--dry-run", f"oci:{image}:latest")
    assert done.returncode == 0
    assert "Would renormalize 1 distribution in " in done.stderr
    assert "\nWould write (sha256:" in done.stderr
    told = run(uvshim, "fix", "--dry-run", f"oci:{image}:latest", "--output", f"oci:{image}:new")
    assert f"\nWould write `oci:{image}:new` (sha256:" in told.stderr
    assert index(image) == before


def test_the_json_has_digests_sizes_and_names(run: Run, uvshim: Path, image: Path) -> None:
    output = f"oci:{image}:new"
    done = run(uvshim, "fix", "--format", "json", f"oci:{image}:latest", "--output", output)
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    listed = index(image)
    assert (said["schema"], said["dry_run"]) == (1, False)
    (found,) = said["images"]
    assert (found["image"], found["output"]) == (f"oci:{image}:latest", output)
    assert (found["error"], found["complete"]) == (None, True)
    (result,) = found["results"]
    assert result["digest_before"] == listed["latest"]["digest"]
    assert result["digest"] == listed["new"]["digest"]
    assert result["written"] is True
    (platform,) = result["platforms"]
    assert platform["platform"] == "linux/amd64"
    blob = image / "blobs" / platform["layer"]["digest"].replace(":", "/")
    assert platform["layer"]["size"] == blob.stat().st_size
    (environment,) = platform["environments"]
    assert environment["path"] == "/opt/app"
    assert [each["name"] for each in environment["renamed"]] == ["oslo.cache"]


def test_several_are_fixed_by_a_pattern_and_one_failure_stops_none(
    run: Run, uvshim: Path, tmp_path: Path, image: Path
) -> None:
    other = docker_archive(tmp_path / "saved.tar", [WRONG])
    listed = tmp_path / "images.txt"
    names = [
        f"oci:{image}:latest",
        f"oci:{tmp_path}/missing:1",
        f"docker-archive:{other}:app:latest",
    ]
    listed.write_text("# ours\n" + "\n".join(names))
    words = ("fix", "--images", listed, "--output", "{repository}:{tag}-fixed")
    done = run(uvshim, *words)
    assert done.returncode == 2
    assert f"[1/3] `{names[0]}`\n" in done.stderr
    assert f"error: `{names[1]}`: `{tmp_path}/missing` does not exist\n" in done.stderr
    assert f"`{other}` exists, and uvshim does not modify it. Name a new file\n" in done.stderr
    assert "latest-fixed" in index(image)
    checked = run(uvshim, "check", "--no-cache", f"{names[0]}-fixed")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    from_input = run(uvshim, "fix", "--images", "-", "--dry-run", stdin=names[0])
    assert from_input.returncode == 0, from_input.stderr


def test_all_images_of_a_layout_get_tags_like_their_own(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    making = Making(tmp_path / "layout")
    for tag, content in (("1", WRONG), ("2", RIGHT), ("3", WRONG)):
        making.add(making.manifest([content]), tag)
    done = run(uvshim, "fix", f"oci:{making.path}", "--output", f"oci:{tmp_path}/new")
    assert done.returncode == 0, done.stderr
    assert list(index(tmp_path / "new")) == ["1-fixed", "2-fixed", "3-fixed"]
    assert f"Nothing to fix in `oci:{making.path}:2`: wrote it unchanged" in done.stderr
    done = run(uvshim, "fix", f"oci:{making.path}:1", "--output", f"oci:{making.path}")
    assert done.returncode == 0, done.stderr
    assert list(index(making.path)) == ["1", "2", "3", "1-fixed"]


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no output": (["oci:{}:latest"], "name a place for the fixed one with --output"),
    "an invalid output": (
        ["oci:{}:latest", "--output", "new"],
        "does not say what to write",
    ),
    "an archive that exists": (
        ["oci:{}:latest", "--output", "oci-archive:{}:1"],
        "does not modify it",
    ),
    "a name that Docker refuses": (
        ["oci:{}:latest", "--output", "docker-archive:new.tar:App:1"],
        "`App:1` is not a valid name for an image",
    ),
    "an invalid tag": (["oci:{}:latest", "--output", "oci:new:-"], "`-` is not a valid"),
    "several to one place": (
        ["oci:{}:latest", "oci:{}", "--output", "oci:new:1"],
        "Several images would be written to the same place",
    ),
    "no such tag": (["oci:{}:no", "--output", "oci:new:1"], "there is no image `no` in it"),
    "an environment": ([".", "--output", "oci:new:1"], "`.` is not one"),
    "nothing": (["--output", "oci:new:1"], "none is named"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_and_nothing_is_written(
    run: Run, uvshim: Path, image: Path, mistake: str, tmp_path: Path
) -> None:
    words, message = MISTAKES[mistake]
    before = index(image)
    done = run(uvshim, "fix", *(word.format(image) for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert index(image) == before
    assert sorted(os.listdir(tmp_path)) == ["home", "layout"]


def test_several_images_do_not_go_to_one_tag(run: Run, uvshim: Path, tmp_path: Path) -> None:
    making = Making(tmp_path / "layout")
    for tag in ("1", "2"):
        making.add(making.manifest([WRONG]), tag)
    done = run(uvshim, "fix", f"oci:{making.path}", "--output", f"oci:{tmp_path}/new:1")
    assert done.returncode == 2
    assert f"`oci:{making.path}` names 2 images, and `oci:{tmp_path}/new:1` one" in done.stderr


def test_a_root_in_a_tar_is_not_an_image(run: Run, uvshim: Path, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(tar({"usr/": "", "opt/x": ""}))
    done = run(uvshim, "fix", tmp_path / "root.tar", "--output", f"oci:{tmp_path}/new:1")
    assert done.returncode == 2
    assert "is a root file system and not an image: unpack it" in done.stderr


def test_check_names_the_command_that_fixes_an_image(run: Run, uvshim: Path, image: Path) -> None:
    stale = under(SITE, installed("oslo.cache-1.0", "oslo.cache", record="oslo_cache-1.0"))
    path = layout(image.parent / "stale", [tar(stale)])
    name = f"oci:{path}:latest"
    checked = run(uvshim, "check", "--no-cache", name)
    assert f"hint: uvshim fix {name} --output {name}-fixed\n" in checked.stdout
    done = run(uvshim, *f"fix {name} --output {name}-fixed".split())
    assert done.returncode == 0, done.stderr
    assert run(uvshim, "check", "--no-cache", f"{name}-fixed").returncode == 0


def environment(said: dict[str, Any]) -> Any:
    return said["images"][0]["results"][0]["platforms"][0]["environments"][0]


def test_excluded_names_are_skipped(run: Run, uvshim: Path, image: Path) -> None:
    words = ("fix", f"oci:{image}:latest", "--output", f"oci:{image}:new", "--format", "json")
    done = run(uvshim, *words, UVSHIM_EXCLUDE="oslo.*")
    assert done.returncode == 0
    assert environment(json.loads(done.stdout))["renamed"] == []
    assert index(image)["new"]["digest"] == index(image)["latest"]["digest"]
