from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from uvshim.environments.tree import DiskTree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A mounted image, with the machine's own files beside it."""
    (tmp_path / "secret").write_text("the machine's")
    (tmp_path / "outside").mkdir()
    image = tmp_path / "image"
    (image / "usr/lib").mkdir(parents=True)
    (image / "usr/lib/file").write_text("the image's")
    return image


def test_a_tree_without_a_root_is_the_machine_s(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_text("b")
    tree = DiskTree()
    assert sorted(tree.names(str(tmp_path))) == ["a", "b"]
    assert tree.is_directory(f"{tmp_path}/a")
    assert not tree.is_file(f"{tmp_path}/a")
    assert tree.is_file(f"{tmp_path}/b")
    assert tree.read(f"{tmp_path}/b", 10) == b"b"


@pytest.mark.parametrize("path", ["usr/lib/file", "/usr/lib/file", "/usr/./lib/../lib/file"])
def test_a_path_begins_at_the_root(image: Path, path: str) -> None:
    assert DiskTree(str(image)).read(path, 100) == b"the image's"


@pytest.mark.parametrize(
    "target", ["/usr/lib", "usr/lib", "../usr/lib", "../../../../usr/lib", "/../usr/lib"]
)
def test_a_link_is_followed_inside_the_root(image: Path, target: str) -> None:
    (image / "lib").symlink_to(target)
    tree = DiskTree(str(image))
    assert tree.read("/lib/file", 100) == b"the image's"
    assert tree.names("lib") == ("file",)
    assert tree.on_disk("lib/file") == str(image / "usr/lib/file")


@pytest.mark.parametrize("target", ["../secret", "../../secret", "{tmp}/secret", "/secret"])
def test_no_link_leads_out_of_the_root(image: Path, tmp_path: Path, target: str) -> None:
    (image / "link").symlink_to(target.format(tmp=tmp_path))
    tree = DiskTree(str(image))
    assert tree.read("link", 100) is None
    assert not tree.is_file("link")
    assert tree.read("../secret", 100) is None


def test_a_link_to_a_directory_that_is_a_link_is_followed_inside_the_root(image: Path) -> None:
    (image / "opt").symlink_to("/srv")
    (image / "usr/share").symlink_to("/usr/lib")
    assert DiskTree(str(image)).read("usr/share/file", 100) == b"the image's"
    (image / "srv").symlink_to("usr")
    (image / "venv").symlink_to("/opt/lib")
    assert DiskTree(str(image)).read("venv/file", 100) == b"the image's"


def test_a_loop_of_links_leads_nowhere(image: Path) -> None:
    (image / "a").symlink_to("b")
    (image / "b").symlink_to("/a")
    tree = DiskTree(str(image))
    assert tree.names("a") == ()
    assert not tree.is_directory("a/b")
    assert tree.read("b", 1) is None


def test_a_walk_goes_where_its_caller_wants_and_through_no_link(image: Path) -> None:
    (image / "usr/bin/deep").mkdir(parents=True)
    (image / "usr/lib64").symlink_to("lib")
    walked = {}
    for path, names, below in DiskTree(str(image)).walk("/"):
        walked[path] = names
        if path == "/usr/bin":
            below.clear()
    assert walked == {
        "": {"usr"},
        "/usr": {"bin", "lib", "lib64"},
        "/usr/bin": {"deep"},
        "/usr/lib": {"file"},
    }
    walked_too = sorted(path for path, *_ in DiskTree().walk(f"{image}/usr"))
    assert walked_too == ["", "/bin", "/bin/deep", "/lib"]
    assert list(DiskTree(str(image)).walk("/no")) == []


def test_a_real_path_has_no_links_in_it(image: Path) -> None:
    (image / "lib").symlink_to("/usr/lib")
    (image / "astray").symlink_to("/no")
    tree = DiskTree(str(image))
    assert tree.real("lib/../lib/file") == "/usr/lib/file"
    assert tree.real("/") == "/"
    assert tree.real("astray") is None
    (image / "here").symlink_to("usr")
    assert DiskTree().real(f"{image}/here/lib") == str(image / "usr/lib")


def test_a_root_that_is_a_link_itself_is_followed(image: Path, tmp_path: Path) -> None:
    (tmp_path / "mnt").symlink_to(image)
    assert DiskTree(str(tmp_path / "mnt")).read("usr/lib/file", 3) == b"the"


@pytest.mark.parametrize("root", [None, "image"])
def test_a_missing_or_different_file_is_no_error(image: Path, root: str | None) -> None:
    tree = DiskTree(root and str(image))
    start = "" if root else f"{image}/"
    for path in ("no", "usr/lib/file/no", "a\0b", "x" * 300):
        assert tree.names(start + path) == ()
        assert not tree.is_directory(start + path)
        assert not tree.is_file(start + path)
        assert tree.read(start + path, 10) is None
    assert tree.names(start + "usr/lib/file") == ()
    assert tree.read(start + "usr/lib", 10) is None


def test_reading_ends_at_the_limit(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.write(b"head")
        file.truncate(1 << 40)
    assert DiskTree().read(f"{tmp_path}/huge", 6) == b"head\0\0"


def test_a_fifo_does_not_stop_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "METADATA")
    assert DiskTree().read(f"{tmp_path}/METADATA", 10) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    assert DiskTree().names(f"{tmp_path}/closed") == ()
