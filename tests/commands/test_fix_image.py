"""`uvshim fix IMAGE --output IMAGE`."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.corpus import installed, under
from tests.images.making import Making, docker_archive, layout, tar
from tests.images.unpacking import index
from uvshim.commands import fix_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

SITE = "opt/app/lib/python3.12/site-packages"
WRONG = tar(under(SITE, installed("oslo_cache-1.0", "oslo.cache")))
RIGHT = tar(under(SITE, installed("oslo.cache-1.0", "oslo.cache")))
STALE = tar(under(SITE, installed("oslo.cache-1.0", "oslo.cache", record="oslo_cache-1.0")))
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
        "would be written to the same place: `oci:new:1`. `--output` can be a pattern",
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


def test_check_names_the_command_that_fixes_an_image(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    name = f"oci:{layout(tmp_path / 'stale', [STALE])}:latest"
    command = f"uvshim fix {name} --output docker-archive:fixed.tar"
    assert hints(run, uvshim, name) == [command]
    done = run(uvshim, *command.split()[1:])
    assert done.returncode == 0, done.stderr
    assert run(uvshim, "check", "--no-cache", tmp_path / "fixed.tar").returncode == 0


def hints(run: Run, uvshim: Path, image: Path | str) -> list[str]:
    """Return the commands that `check` names for `image`."""
    said = run(uvshim, "check", "--no-cache", image).stdout
    return [line.partition("hint: ")[2] for line in said.splitlines() if "hint: " in line]


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({}, "--prefix /opt/app --python 3.12"),
        ({"opt/app/pyvenv.cfg": "home = /usr/bin\n"}, "--python /opt/app"),
        ({"opt/app/bin/python3.12": ""}, "--prefix /opt/app --python 3.12"),
        (
            {"opt/app/bin/python3.12": "", "opt/app/lib/python3.12/os.py": ""},
            "--python /opt/app/bin/python3.12",
        ),
        (
            under(
                "opt/app",
                {"bin/python3.12": ""},
                under("lib/python3.12", {"os.py": "", "EXTERNALLY-MANAGED": ""}),
            ),
            "--python /opt/app/bin/python3.12 --break-system-packages",
        ),
    ],
    ids=["prefix", "venv", "a link of uv", "Python", "managed"],
)
def test_what_no_rename_helps_is_a_line_for_the_dockerfile(
    files: dict[str, str], place: str, run: Run, uvshim: Path, tmp_path: Path
) -> None:
    """A command would change this machine."""
    image = f"oci:{layout(tmp_path / 'layout', [GHOST, tar(files)])}:latest"
    line = f"RUN uvpip install {place} --no-deps --reinstall zope.deferred==1.0"
    assert hints(run, uvshim, image) == [line]
    done = run(uvshim, "fix", image, "--dry-run")
    assert f"hint: {line}\n" in done.stderr


def test_no_command_is_named_for_an_image_from_a_pipe(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    saved = docker_archive(tmp_path / "saved.tar", [STALE], ["app:1"])
    done = run("sh", "-c", f"{uvshim} check --no-cache - <{saved}")
    assert done.returncode == 1, done.stderr
    assert "hint" not in done.stdout


def test_no_command_is_named_that_cannot_work(run: Run, uvshim: Path, tmp_path: Path) -> None:
    """For a file system without an image, and for a path with a colon."""
    docker_archive(tmp_path / "app:1.tar", [STALE], ["app:1"])
    stale = under(SITE, installed("oslo.cache-1.0", "oslo.cache", record="oslo_cache-1.0"))
    (tmp_path / "root.tar").write_bytes(tar({"usr/": "", "etc/": "", **stale}))
    for name in ("app:1.tar", "root.tar"):
        done = run(uvshim, "check", "--no-cache", name)
        assert done.returncode == 1, done.stderr
        assert "uvshim fix" not in done.stdout


def test_the_tag_that_is_reported_is_the_one_that_was_written(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    """The usual one belongs to another image there."""
    for name in ("app", "db"):
        docker_archive(tmp_path / f"{name}.tar", [WRONG], [f"{name}:1.0"])
    words = ("--format", "json", "--output", f"oci:{tmp_path}/both")
    outputs = [
        json.loads(run(uvshim, "fix", tmp_path / f"{name}.tar", *words).stdout)["images"][0][
            "output"
        ]
        for name in ("app", "db")
    ]
    tags = ["1.0-fixed", "db-1.0-fixed"]
    assert outputs == [f"oci:{tmp_path}/both:{tag}" for tag in tags]
    assert list(index(tmp_path / "both")) == tags


def test_each_image_is_reported_with_its_own_name_also_beside_one_that_is_fixed(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    """A layout has both after `uvshim fix`."""
    source = layout(tmp_path / "both", [WRONG])
    assert run(uvshim, "fix", f"oci:{source}", "--output", f"oci:{source}").returncode == 0
    other = layout(tmp_path / "other", [RIGHT])
    assert run(uvshim, "fix", f"oci:{other}", "--output", f"oci:{tmp_path}/new:x").returncode == 0
    for target in (source, tmp_path / "new", tmp_path / "newest"):
        done = run(uvshim, "fix", f"oci:{source}", "--output", f"oci:{target}", "--format", "json")
        assert done.returncode == 0, done.stderr
        (found,) = json.loads(done.stdout)["images"]
        names = [(each["tag"], each["output"]) for each in found["results"]]
        fixed = f"oci:{target}:latest-fixed"
        assert names == [("latest", fixed), ("latest-fixed", fixed)]
    archive = tmp_path / "saved.tar"
    assert run(uvshim, "fix", f"oci:{source}", "--output", f"oci-archive:{archive}").returncode == 0
    with tarfile.open(archive) as saved:
        listed = saved.extractfile("manifest.json")
        assert listed is not None
        assert len(json.load(listed)) == 1


def test_what_another_package_manager_owns_is_named_if_nothing_else_is_done(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    owner = {"zope_x-1.0.dist-info/INSTALLER": "conda\n"}
    others = installed("setuptools-75.8.0", "setuptools")
    files = under(SITE, installed("zope_x-1.0", "zope.x"), owner, others)
    image = f"oci:{layout(tmp_path / 'owned', [tar(files)])}:latest"
    done = run(uvshim, "fix", image, "--dry-run")
    assert done.returncode == 0
    assert "Left 1 directory unchanged that conda owns: zope_x-1.0.dist-info" in done.stderr


def test_a_layout_without_a_tag_takes_several(run: Run, uvshim: Path, tmp_path: Path) -> None:
    making = Making(tmp_path / "from")
    for tag, content in (("1", WRONG), ("2", RIGHT)):
        making.add(making.manifest([content]), tag)
    words = [f"oci:{making.path}:{tag}" for tag in "12"]
    done = run(uvshim, "fix", *words, "--output", f"oci:{tmp_path}/new")
    assert done.returncode == 0, done.stderr
    assert list(index(tmp_path / "new")) == ["1-fixed", "2-fixed"]
    done = run(uvshim, "fix", making.path, "--output", f"oci:{tmp_path}/whole", "--format", "json")
    (found,) = json.loads(done.stdout)["images"]
    written = [f"oci:{tmp_path}/whole:{tag}-fixed" for tag in "12"]
    assert [each["output"] for each in found["results"]] == written
    assert found["output"] == f"oci:{tmp_path}/whole"
    said = run(uvshim, "fix", making.path, "--output", f"oci:{tmp_path}/again").stderr
    assert f"Wrote `oci:{tmp_path}/again:1-fixed` (" in said
    other = f"oci:{layout(tmp_path / 'other', [GHOST])}:latest"
    twice = [f"oci:{layout(tmp_path / 'third', [WRONG])}:latest", other]
    done = run(uvshim, "fix", *twice, "--output", f"oci:{tmp_path}/new")
    assert done.returncode == 2
    assert "`latest-fixed` is there, and was made from another image" in done.stderr


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("docker://r:5/app:1", "docker://r:5/app:1-fixed"),
        ("docker://r:5/app", "docker://r:5/app:latest-fixed"),
        ("docker://r:5/app@sha256:ab", "docker://r:5/app:ab-fixed"),
        ("docker://r:5/app:1@sha256:ab", "docker://r:5/app:1-fixed"),
        ("oci:d@sha256:ab", "oci:d:ab-fixed"),
        ("docker-daemon:app:1", "docker-daemon:app:1-fixed"),
    ],
)
def test_a_pattern_takes_repository_and_tag(name: str, wanted: str) -> None:
    assert fix_image._output("{repository}:{tag}-fixed", name) == wanted


@pytest.mark.skipif(not shutil.which("skopeo"), reason="there is no skopeo here")
def test_a_full_directory_for_temporary_files_is_named(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    """Not the registry, to which nothing was sent."""
    large = tar({"x": os.urandom(100_000)})
    image = f"oci:{layout(tmp_path / 'layout', [WRONG, large])}:latest"
    words = ("fix", image, "--output", "docker://no.example/app:1")
    (tmp_path / "small").mkdir()
    done = run("prlimit", "--fsize=50000", uvshim, *words, TMPDIR=str(tmp_path / "small"))
    assert done.returncode == 2
    assert f"`{tmp_path}/small/uvshim.run-" in done.stderr
    assert "cannot be written: File too large" in done.stderr


def environment(said: dict[str, Any]) -> Any:
    return said["images"][0]["results"][0]["platforms"][0]["environments"][0]


def test_excluded_names_are_skipped(run: Run, uvshim: Path, image: Path) -> None:
    words = ("fix", f"oci:{image}:latest", "--output", f"oci:{image}:new", "--format", "json")
    done = run(uvshim, *words, UVSHIM_EXCLUDE="oslo.*")
    assert done.returncode == 0
    assert environment(json.loads(done.stdout))["renamed"] == []
    assert index(image)["new"]["digest"] == index(image)["latest"]["digest"]


def test_no_failure_of_one_image_stops_the_others(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even one that nobody has foreseen."""
    from uvshim import __main__
    from uvshim.images.fix import layer

    layout(tmp_path / "other", [WRONG, tar({"f": ""})])
    rename = layer.rename

    def failing(one: Any, *more: Any) -> Any:
        if len(one.layers) == 2:
            raise RecursionError
        return rename(one, *more)

    monkeypatch.setattr(layer, "rename", failing)
    names = [f"oci:{tmp_path}/other:latest", f"oci:{image}:latest"]
    command = ["uvshim", "fix", *names, "--output", "{repository}:{tag}-fixed"]
    monkeypatch.setattr("sys.argv", command)
    status = __main__.uvshim()
    said = capfd.readouterr().err
    assert status == 2
    assert f"`oci:{tmp_path}/other:latest`: RecursionError" in said
    assert "latest-fixed" in index(image)
