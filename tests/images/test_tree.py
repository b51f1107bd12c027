from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.images.making import Hard, Link, layout, plain, tar
from tests.images.opening import opened
from uvshim.errors import ImageError
from uvshim.images import budget as prices
from uvshim.images.budget import Budget
from uvshim.images.layer import changes
from uvshim.images.tree import ImageTree
from uvshim.images.union import Directory, unite

if TYPE_CHECKING:
    from pathlib import Path


def tree_of(tmp_path: Path, *tars: bytes) -> ImageTree:
    """Return the tree of an image with the layers `tars`."""
    with opened(layout(tmp_path / "layout", tars, plain)) as (image,):
        budget = Budget()
        root = unite([changes.read(layer, budget) for layer in image.layers], budget)
        return ImageTree(root, budget, image.layers)


def listed(found: ImageTree, directory: str = "/") -> list[str]:
    return sorted(found.names(directory))


def completely(found: ImageTree, path: str) -> bytes | None:
    """Return the content of a file, whether it was kept or not."""
    return found.complete(lambda: found.read(path, 9))


INFO = "lib/a-1.0.dist-info/METADATA"


def test_a_tree_is_read_as_a_disk_is(tmp_path: Path) -> None:
    found = tree_of(tmp_path, tar({"usr/": "", "usr/lib/": "", f"usr/{INFO}": "Name: a", "f": ""}))
    assert listed(found) == ["f", "usr"]
    assert found.names("usr/lib") == ("a-1.0.dist-info",)
    assert found.names("f") == found.names("no") == ()
    assert found.is_directory("/usr/lib/")
    assert not found.is_directory("f")
    assert found.is_file(f"/usr/./lib/../{INFO}")
    assert not found.is_file("usr")
    assert found.read(f"usr/{INFO}", 4) == b"Name"
    assert found.read("usr", 4) is None
    assert found.read("no", 4) is None
    assert found.read("f", 4) == b""
    assert found.real("/usr/lib/..") == "/usr"
    assert found.real("no") is None
    assert found.on_disk("f") is None
    assert [(path, sorted(names), below) for path, names, below in found.walk("/")] == [
        ("", ["f", "usr"], ["usr"]),
        ("/usr", ["lib"], ["lib"]),
        ("/usr/lib", ["a-1.0.dist-info"], ["a-1.0.dist-info"]),
        ("/usr/lib/a-1.0.dist-info", ["METADATA"], []),
    ]


def test_a_later_layer_adds_and_overwrites(tmp_path: Path) -> None:
    found = tree_of(
        tmp_path, tar({"a/": "", "a/x.pth": "1", "a/y": ""}), tar({"a/x.pth": "2", "a/z": ""})
    )
    assert listed(found, "a") == ["x.pth", "y", "z"]
    assert found.read("a/x.pth", 9) == b"2"


def test_a_whiteout_removes_what_is_below(tmp_path: Path) -> None:
    found = tree_of(
        tmp_path,
        tar({"a/x": "", "a/d/y": "", "b": ""}),
        tar({"a/.wh.x": "", "a/.wh.d": "", ".wh.no": "", "no/.wh.no": ""}),
    )
    assert listed(found) == ["a", "b"]
    assert listed(found, "a") == []


@pytest.mark.parametrize("last", [False, True])
def test_a_whiteout_leaves_what_its_own_layer_adds(tmp_path: Path, *, last: bool) -> None:
    added = [("a/x.pth", "new"), ("a/d/n", "")]
    removed = [("a/.wh.x.pth", ""), ("a/.wh.d", "")]
    found = tree_of(
        tmp_path,
        tar({"a/x.pth": "old", "a/d/o": ""}),
        tar(added + removed if last else removed + added),
    )
    assert found.read("a/x.pth", 9) == b"new"
    assert listed(found, "a/d") == ["n"]


@pytest.mark.parametrize("last", [False, True])
def test_an_opaque_directory_hides_all_that_is_below(tmp_path: Path, *, last: bool) -> None:
    added = [("a/", ""), ("a/n", ""), ("a/d/n", "")]
    opaque = [("a/.wh..wh..opq", "")]
    found = tree_of(
        tmp_path,
        tar({"a/o": "", "a/d/o": "", "a/e/o": "", "o": ""}),
        tar(added + opaque if last else opaque + added),
    )
    assert listed(found) == ["a", "o"]
    assert listed(found, "a") == ["d", "n"]
    assert listed(found, "a/d") == ["n"]


@pytest.mark.parametrize("hidden", [".wh..wh..opq", ".wh.lib"])
@pytest.mark.parametrize("first", [False, True])
def test_what_a_directory_in_place_of_a_link_hides_is_not_behind_the_link(
    tmp_path: Path, hidden: str, *, first: bool
) -> None:
    """Overlay file systems mark such a directory as opaque."""
    marker, new = [(f"app/venv/{hidden}", "")], [("app/venv/", ""), ("app/venv/bin/x", "")]
    found = tree_of(
        tmp_path,
        tar({"opt/venv/lib/x": "", "app/venv": Link("/opt/venv")}),
        tar(marker + new if first else new + marker),
    )
    assert listed(found, "opt/venv") == ["lib"]
    assert listed(found, "app/venv") == ["bin"]


def test_a_loop_of_links_in_whose_place_a_layer_has_a_directory_does_no_harm(
    tmp_path: Path,
) -> None:
    found = tree_of(
        tmp_path,
        tar({"a": Link("/a"), "old": ""}),
        tar([(".wh.old", ""), ("a/", ""), ("a/b/", ""), ("a/b/c", "")]),
    )
    assert listed(found) == ["a"]
    assert listed(found, "a/b") == ["c"]


def test_files_of_aufs_itself_are_ignored(tmp_path: Path) -> None:
    assert listed(tree_of(tmp_path, tar({"a": "", ".wh..wh.plnk": "", ".wh..wh.aufs": ""}))) == [
        "a"
    ]


def test_a_file_takes_the_place_of_a_directory_and_the_other_way_round(tmp_path: Path) -> None:
    found = tree_of(
        tmp_path, tar({"a/x": "", "b": "", "c/x": "", "d": ""}), tar({"a": "", "b/": "", "d/x": ""})
    )
    assert found.is_file("a")
    assert found.is_directory("b")
    assert listed(found, "d") == ["x"]


def test_a_directory_takes_the_place_of_a_link_to_one(tmp_path: Path) -> None:
    found = tree_of(tmp_path, tar({"real/x": "", "link": Link("real")}), tar({"link/": ""}))
    assert listed(found, "link") == []
    assert listed(found, "real") == ["x"]


def test_a_layer_writes_through_the_links_of_those_below(tmp_path: Path) -> None:
    base = tar({"usr/lib/": "", "lib": Link("usr/lib"), "opt": Link("/srv"), "srv/": ""})
    found = tree_of(tmp_path, base, tar({"lib/x": "", "opt/app/y": "", "lib/.wh.no": ""}))
    assert listed(found, "usr/lib") == ["x"]
    assert listed(found, "srv") == ["app"]
    assert found.real("lib/x") == "/usr/lib/x"
    assert found.real("opt/app/y") == "/srv/app/y"


def test_a_whiteout_goes_through_links(tmp_path: Path) -> None:
    base = tar({"usr/lib/x": "", "lib": Link("usr/lib")})
    assert listed(tree_of(tmp_path, base, tar({"lib/.wh.x": ""})), "usr/lib") == []


@pytest.mark.parametrize("target", ["/usr/lib", "../usr/lib", "../../../usr/lib", "/../usr/lib"])
def test_links_stay_inside_of_the_image(tmp_path: Path, target: str) -> None:
    found = tree_of(tmp_path, tar({"usr/lib/x": "", "a/link": Link(target)}))
    assert found.is_file("a/link/x")
    assert "/a/link" not in {path for path, _, _ in found.walk("/")}


def test_a_loop_of_links_leads_nowhere(tmp_path: Path) -> None:
    found = tree_of(tmp_path, tar({"a": Link("b"), "b": Link("/a"), "c": Link("c/c")}))
    assert not found.is_directory("a")
    assert found.read("c", 1) is None
    assert found.real("b/x") is None


def test_an_entry_below_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="loop of links"):
        tree_of(tmp_path, tar([("a", Link("b")), ("b", Link("a")), ("a/x", "")]))


def test_hard_links_are_the_files_that_they_name(tmp_path: Path) -> None:
    found = tree_of(
        tmp_path,
        tar({"a/x.pth": "one", "b/y.pth": Hard("a/x.pth"), "c/z.pth": Hard("/b/y.pth")}),
        tar({"d/old.pth": Hard("c/z.pth"), "a/x.pth": "two"}),
    )
    assert found.read("c/z.pth", 9) == found.read("d/old.pth", 9) == b"one"
    assert found.read("a/x.pth", 9) == b"two"


def test_a_hard_link_to_a_file_that_was_not_kept_has_its_content(
    tmp_path: Path,
) -> None:
    found = tree_of(
        tmp_path, tar({"store/0f3a": "Name: a\n", INFO: Hard("store/0f3a"), "z.pth": "z"})
    )
    assert completely(found, INFO) == b"Name: a\n"
    assert completely(found, "store/0f3a") == b"Name: a\n"


def test_a_link_to_a_file_with_another_name_has_its_content(tmp_path: Path) -> None:
    base = tar({"store/0f3a": "Name: a\n"})
    found = tree_of(tmp_path, base, tar({INFO: Link("/store/0f3a"), "b": Hard("store/0f3a")}))
    assert completely(found, INFO) == b"Name: a\n"


def test_metadata_behind_a_link_with_another_name_are_read(tmp_path: Path) -> None:
    base = tar({"store/0f3a/METADATA": "Name: a\n", "store/0f3a/junk": "junk"})
    found = tree_of(tmp_path, base, tar({"lib/a-1.0.dist-info": Link("../store/0f3a")}))
    assert completely(found, INFO) == b"Name: a\n"
    assert found.read("store/0f3a/junk", 9) is None


def test_a_hard_link_to_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="hard link to a missing file: `no`"):
        tree_of(tmp_path, tar({"a": Hard("no")}))


def test_of_two_entries_with_one_name_the_last_counts(tmp_path: Path) -> None:
    found = tree_of(tmp_path, tar([("a.pth", "1"), ("b", ""), ("a.pth", "2"), ("b/", "")]))
    assert found.read("a.pth", 9) == b"2"
    assert found.is_directory("b")


@pytest.mark.parametrize("prefix", ["", "./", "/", ".//", "/./", "../", "x/../../"])
def test_names_begin_at_the_root_however_they_are_written(tmp_path: Path, prefix: str) -> None:
    found = tree_of(tmp_path, tar([("./", ""), (f"{prefix}a/", ""), (f"{prefix}a//x.pth", "1")]))
    assert [name for name in listed(found) if name != "x"] == ["a"]
    assert found.read("a/x.pth", 9) == b"1"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_links_are_read(tmp_path: Path, form: int) -> None:
    long = "/".join(["d" * 90] * 5)
    name = f"{long}/{'n' * 200}.pth"
    found = tree_of(
        tmp_path, tar({name: "1", "link": Link(f"/{name}"), "hard": Hard(name)}, form=form)
    )
    assert found.read("link", 9) == found.read("hard", 9) == found.read(name, 9) == b"1"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_that_are_not_utf_8_are_names(tmp_path: Path, form: int) -> None:
    name = os.fsdecode(b"caf\xe9.pth")
    assert tree_of(tmp_path, tar({name: "1", "grün": ""}, form=form)).read(name, 9) == b"1"


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_sparse_files_are_an_error_only_where_they_are_read(tmp_path: Path, form: str) -> None:
    for name in ("x.so", "x.pth"):
        with (tmp_path / name).open("wb") as file:
            file.seek(20_000)
            file.write(b"end")
        command = ["tar", "--sparse", f"--format={form}", "-cf", "x.tar", name]
        subprocess.run(command, cwd=tmp_path, check=True)
        made = (tmp_path / "x.tar").read_bytes()
        (tmp_path / "x.tar").unlink()
        assert len(made) < 20_000
        if name == "x.so":
            found = tree_of(tmp_path / "other", made).file(name)
            assert found is not None
            assert found.size == 20_003
        else:
            with pytest.raises(ImageError, match=r"has a sparse file, `x\.pth`. Unpack the image"):
                tree_of(tmp_path / "needed", made)


def test_devices_and_pipes_are_there_and_nothing_more(tmp_path: Path) -> None:
    found = tree_of(tmp_path, tar({"pipe": None}))
    assert listed(found) == ["pipe"]
    assert not found.is_file("pipe")
    assert found.read("pipe", 1) is None


def test_empty_layers_change_nothing(tmp_path: Path) -> None:
    assert listed(tree_of(tmp_path, tar({"a": ""}), tar({}), b"")) == ["a"]


def test_a_tar_whose_last_block_is_not_filled_is_whole(tmp_path: Path) -> None:
    """umoci 0.4 writes such headers."""
    whole = tar({"a": "", "b.pth": "x" * 700})
    end = whole.rindex(b"x") + 1
    assert tree_of(tmp_path, whole[:end]).read("b.pth", 1000) == b"x" * 700


@pytest.mark.parametrize("lost", [1, 100, 188, 300, 700])
def test_a_tar_that_ends_too_early_is_an_error(tmp_path: Path, lost: int) -> None:
    whole = tar({"a": "", "b": "x" * 700})
    end = whole.rindex(b"x") + 1
    with pytest.raises(ImageError, match="is not a tar that can be read"):
        tree_of(tmp_path, whole[: end - lost])


def test_a_damaged_header_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    made = bytearray(tar({"a": "", "b": ""}))
    made[512 + 20] ^= 1
    with pytest.raises(ImageError, match="headers is damaged"):
        tree_of(tmp_path, bytes(made))


def test_adding_a_layer_does_not_change_lower_ones(tmp_path: Path) -> None:
    tars = [tar({"a/b/x": "", "c": ""}), tar({"a/b/y": "", ".wh.c": "", "a/b/.wh.x": ""})]
    with opened(layout(tmp_path / "layout", tars)) as (image,):
        lower, upper = [changes.read(layer, Budget()) for layer in image.layers]
    base = unite([lower], Budget())
    assert listed(ImageTree(unite([upper], Budget(), base), Budget()), "a/b") == ["y"]
    assert listed(ImageTree(base, Budget()), "a/b") == ["x"]
    assert listed(ImageTree(base, Budget())) == ["a", "c"]


def test_the_entries_of_a_layer_can_be_read_again(tmp_path: Path) -> None:
    """Entries with all header fields, which a new layer needs."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        made = tarfile.TarInfo("a/WHEEL")
        made.size, made.mode, made.uid, made.mtime = 3, 0o640, 7, 1.5
        made.pax_headers = {"SCHILY.xattr.user.x": "y"}
        archive.addfile(tarfile.TarInfo("b"))
        archive.addfile(made, io.BytesIO(b"abc"))
    with opened(layout(tmp_path / "layout", [file.getvalue()])) as (image,):
        root = unite([changes.read(image.layers[0], Budget())], Budget())
        node = ImageTree(root, Budget()).node("a/WHEEL")
        assert isinstance(node, changes.Entry)
        assert node.layer == image.layers[0].identity
        ((key, header, content),) = (
            (key, header, archive.content(header, 100))
            for key, header, archive in changes.entries(image.layers[0], {node[:2]}, Budget())
        )
    assert (key, content) == ((node.layer, 1), b"abc")
    block = tarfile.TarInfo.frombuf(header.block, "utf-8", "strict")
    assert (block.mode, block.uid, header.fields["mtime"]) == (0o640, 7, "1.5")
    assert header.fields["SCHILY.xattr.user.x"] == "y"


def test_the_root_of_the_tree_knows_its_entry(tmp_path: Path) -> None:
    node = tree_of(tmp_path, tar({"x": "", "a/": ""})).node("a")
    assert isinstance(node, Directory)
    assert node.entry is not None
    assert node.entry.number == 1


def test_more_entries_than_the_limit_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "ENTRY", 100_000)
    monkeypatch.setattr(prices, "MEMORY", 1_050_000)
    assert len(listed(tree_of(tmp_path / "ten", tar({f"f{n}": "" for n in range(10)})))) == 10
    with pytest.raises(
        ImageError, match="has more than 1050000 bytes of metadata, names and links"
    ):
        tree_of(tmp_path / "eleven", tar({f"f{n}": "" for n in range(11)}))
