"""Images with Docker alone: pipes, names, platforms, pages."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.conftest import registry  # noqa: F401
from tests.acceptance.images import formats
from tests.acceptance.images.contents import WRONG, tar
from tests.acceptance.images.engines import need, output
from tests.acceptance.images.formats import Layout
from tests.acceptance.images.test_fixed_images import blob, config_of, top
from tests.acceptance.images.test_recognition import is_answered, without_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.images.conftest import Uvshim
    from tests.acceptance.images.engines import Docker

pytestmark = [pytest.mark.index, pytest.mark.image]


@pytest.fixture
def saved(docker: Docker, image: formats.Image, tmp_path: Path) -> Path:
    """What `docker save` writes."""
    (name,) = docker.load(formats.old_docker(tmp_path / "in.tar", [(image, ["piped:1.0"])]))
    docker("save", "--output", tmp_path / "saved.tar", name)
    return tmp_path / "saved.tar"


# --- pipes ----------------------------------------------------------------------------------------


def test_what_docker_saves_is_examined_from_standard_input(box: Uvshim, saved: Path) -> None:
    with subprocess.Popen(["cat", saved], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        done = box.check("-", stdin=cat.stdout.fileno())
    is_answered(done)
    assert without_names(done) == without_names(box.check(saved))
    assert list((box.directory / "spool").iterdir()) == []


def test_a_file_may_be_standard_input(box: Uvshim, saved: Path) -> None:
    with saved.open("rb") as file:
        is_answered(box.check("-", stdin=file))


def test_a_compressed_archive_may_be_standard_input(box: Uvshim, saved: Path) -> None:
    with subprocess.Popen(["gzip", "-1", "-c", saved], stdout=subprocess.PIPE) as gzip:
        assert gzip.stdout is not None
        is_answered(box.check("-", stdin=gzip.stdout.fileno()))


def test_process_substitution_is_examined(box: Uvshim, saved: Path) -> None:
    command = shlex.join(box.command(["check", "--no-cache", "--format", "json"]))
    line = f"{command} <(cat {shlex.quote(str(saved))})"
    done = subprocess.run(
        ["bash", "-c", line], env=box.variables, capture_output=True, check=False, text=True
    )
    assert done.returncode == 1, done
    found = {
        one["name"] for each in json.loads(done.stdout)["environments"] for one in each["findings"]
    }
    assert sorted(found) == WRONG


def test_an_image_from_standard_input_is_fixed(
    box: Uvshim, docker: Docker, saved: Path, tmp_path: Path
) -> None:
    with saved.open("rb") as file:
        done = box.fix("-", f"docker-archive:{tmp_path}/o.tar:piped:1.1", stdin=file)
    assert done.status == 0, done
    assert docker.load(tmp_path / "o.tar") == ["piped:1.1"]


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x1f\x8b"], ids=["nothing", "text", "gzip"])
def test_standard_input_that_is_no_image_is_an_error(
    box: Uvshim, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "in").write_bytes(content)
    with (tmp_path / "in").open("rb") as file:
        done = box("check", "-", stdin=file)
    assert done.status == 2, done


ENDLESS = """
import sys, tarfile
entry = tarfile.TarInfo("x")
entry.size = 2**43
sys.stdout.buffer.write(entry.tobuf(tarfile.GNU_FORMAT))
while True:
    sys.stdout.buffer.write(bytes(2**20))
"""


def test_standard_input_without_end_is_bounded(box: Uvshim) -> None:
    """A tar header of a file of many terabytes, and zeros for as long as they are read."""
    command = ["timeout", "100", sys.executable, "-c", ENDLESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as endless:
        assert endless.stdout is not None
        done = box("check", "-", stdin=endless.stdout.fileno(), UVSHIM_SPOOL_LIMIT="200M")
        endless.stdout.close()
        endless.kill()
    assert done.status == 2, done
    assert "UVSHIM_SPOOL_LIMIT" in done.stderr
    assert list((box.directory / "spool").iterdir()) == []


# --- without skopeo -------------------------------------------------------------------------------


def path_without(program: str, directory: Path) -> str:
    """Return a PATH with everything except `program`."""
    found = directory / "bin"
    found.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        if Path(folder).is_dir():
            for each in Path(folder).iterdir():
                if each.name != program and not (found / each.name).is_symlink():
                    (found / each.name).symlink_to(each)
    return str(found)


def test_without_skopeo_docker_save_is_suggested(box: Uvshim, tmp_path: Path) -> None:
    done = box("check", "docker-daemon:app:1.0", PATH=path_without("skopeo", tmp_path))
    assert done.status == 2, done
    assert "docker save app:1.0 | uvshim check -" in done.stderr


# --- platforms and names --------------------------------------------------------------------------


@pytest.fixture
def both(image: formats.Image, fine: formats.Image, tmp_path: Path) -> Path:
    """A layout of an image for two platforms, which is broken on one of them."""
    found = Layout(tmp_path / "both")
    arm = fine._replace(config={**fine.config, "architecture": "arm64", "variant": "v8"})
    described = found.image(arm)
    described["platform"]["variant"] = "v8"
    found.add(found.index([found.image(image), described]), "1.0")
    return found.path


@pytest.mark.parametrize(
    ("platform", "status", "number"),
    [
        ("linux/amd64", 1, 1),
        ("linux/arm64", 0, 1),
        ("linux/arm64/v8", 0, 1),
        ("linux/riscv64", 2, 0),
    ],
)
def test_a_platform_is_chosen(
    box: Uvshim, both: Path, platform: str, status: int, number: int
) -> None:
    done = box.check("--platform", platform, both)
    assert done.status == status, done
    assert len([each for each in done.images if each["error"] is None]) == number
    if status == 2:
        assert platform in done.stderr


@pytest.mark.parametrize("platform", ["", "linux/", "a/b/c/d", "linux amd64"])
def test_an_invalid_platform_is_refused(box: Uvshim, both: Path, platform: str) -> None:
    assert box("check", "--platform", platform, both).status == 2


def test_one_platform_is_fixed_for_docker(
    box: Uvshim, docker: Docker, both: Path, tmp_path: Path
) -> None:
    done = box.fix(both, f"docker-archive:{tmp_path}/o.tar:one:1", "--platform", "linux/amd64")
    assert done.status == 0, done
    assert docker.load(tmp_path / "o.tar") == ["one:1"]
    checked = box.check(tmp_path / "o.tar")
    assert [each["platform"] for each in checked.images] == ["linux/amd64"]


def test_two_images_in_one_archive_have_different_names(
    box: Uvshim, image: formats.Image, fine: formats.Image, tmp_path: Path
) -> None:
    path = formats.new_docker(tmp_path / "two.tar", [(image, ["app:1.0"]), (fine, ["other:1.0"])])
    done = box.check(path)
    names = [each["image"] for each in done.images]
    assert len(set(names)) == 2
    for word in ("app:1.0", "other:1.0"):
        assert any(word in name for name in names), names
        assert word in box("check", "--no-cache", path).stdout
        assert word in box("check", "--no-cache", "--format", "html", path).stdout


def test_an_image_may_be_named_by_tag_and_digest(
    box: Uvshim,
    source: Path,
    registry: str,  # noqa: F811
) -> None:
    need("skopeo")
    output("skopeo", "copy", "--quiet", f"oci:{source}:1.0", f"docker://{registry}/app:1")
    digest = json.loads(output("skopeo", "inspect", f"docker://{registry}/app:1"))["Digest"]
    for name in (f"app:1@{digest}", f"app@{digest}", "app:1"):
        is_answered(box.check(f"docker://{registry}/{name}"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_a_list_of_images_has_comments_and_a_byte_order_mark(
    box: Uvshim, source: Path, both: Path, tmp_path: Path, encoding: str, end: str
) -> None:
    lines = ["# nightly", "", f"oci:{source}:1.0  # the old one", f"  oci:{both}:1.0  ", "   # end"]
    (tmp_path / "images.txt").write_bytes(end.join(lines).encode(encoding))
    done = box.check("--images", tmp_path / "images.txt")
    assert done.status == 1, done
    assert len(done.images) == 3


# --- what is shown --------------------------------------------------------------------------------


def on_terminal(box: Uvshim, *words: str | Path) -> str:
    """Run `uvshim` with a terminal as standard error, and return what that gets."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        box.command(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**box.variables, "TERM": "xterm"},
        cwd=box.directory,
    )
    os.close(theirs)
    shown = b""
    try:
        while select.select([ours], [], [], 60)[0]:
            part = os.read(ours, 65536)
            if not part:
                break
            shown += part
    except OSError:  # the other end is closed
        pass
    process.wait()
    os.close(ours)
    return shown.decode(errors="replace")


def test_one_image_shows_progress(box: Uvshim, base: bytes, tmp_path: Path) -> None:
    much = tar({"var/much": bytes(300_000_000)})  # its digest takes more than a tenth of a second
    found = formats.layout(tmp_path / "big", formats.image(base, much, compress=formats.plain))
    shown = on_terminal(box, "check", "--no-cache", found.path)
    assert re.search(r"\d+ ?%|\d+(\.\d+)? ?[MG]i?B", shown), repr(shown)


def test_the_page_fits_a_telephone(box: Uvshim, source: Path) -> None:
    page = box("check", "--no-cache", "--format", "html", source).stdout
    assert re.search(r'<meta name="viewport" content="[^"]*width=device-width', page)
    assert not re.search(r"[^-](min-)?width: *[4-9]\d\dpx", page)


def test_a_page_about_environments(box: Uvshim, installed: Path) -> None:
    done = box("check", "--format", "html", installed)
    assert done.status == 1, done
    assert "<html" in done.stdout
    assert "oslo.cache" in done.stdout


def test_an_image_without_environments_is_neither_good_nor_bad(
    box: Uvshim, base: bytes, tmp_path: Path
) -> None:
    found = formats.layout(tmp_path / "empty", formats.image(base))
    done = box("check", "--no-cache", found.path)
    assert done.status == 0, done
    assert not re.search(r"\bok\b", done.stdout), done.stdout


# --- what a fixed image says of itself ------------------------------------------------------------


def test_a_fixed_image_says_so_in_a_label_and_an_annotation(
    box: Uvshim, source: Path, tmp_path: Path
) -> None:
    assert box.fix(f"oci:{source}:1.0", f"oci:{tmp_path}/fixed:1.0").status == 0
    labels = config_of(tmp_path / "fixed", "1.0")["config"]["Labels"]
    assert labels["team"] == "cloud"
    assert any("uvshim" in key for key in labels), labels
    annotations = blob(tmp_path / "fixed", top(tmp_path / "fixed")[0]).get("annotations", {})
    assert any("uvshim" in key for key in annotations), annotations


def test_an_image_of_two_platforms_says_so_too(box: Uvshim, both: Path, tmp_path: Path) -> None:
    assert box.fix(both, f"oci:{tmp_path}/fixed:1.0").status == 0
    index = blob(tmp_path / "fixed", top(tmp_path / "fixed")[0])
    fixed, healthy = (blob(tmp_path / "fixed", each) for each in index["manifests"])
    assert "uvshim" in json.dumps(fixed.get("annotations", {}))
    assert "uvshim" not in json.dumps(healthy)


# --- nothing to fix -------------------------------------------------------------------------------

TARGETS: dict[str, Callable[[Path], tuple[str, str]]] = {
    "layout": lambda tmp: (f"oci:{tmp}/out:1.1", f"oci:{tmp}/out:1.1"),
    "archive of Docker": lambda tmp: (f"docker-archive:{tmp}/o.tar:app:1.1", f"{tmp}/o.tar"),
    "archive of OCI": lambda tmp: (f"oci-archive:{tmp}/o.tar:1.1", f"oci-archive:{tmp}/o.tar:1.1"),
    "directory": lambda tmp: (f"dir:{tmp}/out", f"dir:{tmp}/out"),
}


@pytest.mark.parametrize("form", TARGETS)
def test_with_nothing_to_fix_the_image_is_written_nevertheless(
    box: Uvshim, fine: formats.Image, tmp_path: Path, form: str
) -> None:
    found = formats.layout(tmp_path / "fine", fine)
    target, written = TARGETS[form](tmp_path)
    done = box.fix(f"oci:{found.path}:1.0", target)
    assert done.status == 0, done
    assert "Nothing to fix" in done.said
    checked = box.check(written)
    assert checked.status == 0, checked
    assert len(checked.images) == 1


def test_with_nothing_to_fix_the_digest_stays(
    box: Uvshim, fine: formats.Image, tmp_path: Path
) -> None:
    found = formats.layout(tmp_path / "fine", fine)
    for target in (f"oci:{tmp_path}/out:1.1", f"oci:{found.path}:1.1"):
        assert box.fix(f"oci:{found.path}:1.0", target).status == 0
    digests = {each["digest"] for path in ("out", "fine") for each in top(tmp_path / path)}
    assert len(digests) == 1


def test_with_nothing_to_fix_a_registry_gets_the_tag(
    box: Uvshim,
    fine: formats.Image,
    registry: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    need("skopeo")
    found = formats.layout(tmp_path / "fine", fine)
    assert box.fix(f"oci:{found.path}:1.0", f"docker://{registry}/fine:1.1").status == 0
    said: Any = json.loads(output("skopeo", "inspect", f"docker://{registry}/fine:1.1"))
    assert said["Digest"] == top(found.path)[0]["digest"]
