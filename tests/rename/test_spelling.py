"""The name of a directory if pkg_resources finds one spelling only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.corpus import Files, MemoryTree, installed, metadata, write
from tests.places import record_faults
from uvshim.environments.tree import DiskTree
from uvshim.rename import on_disk
from uvshim.rename.plan import ORIGINAL
from uvshim.rename.spelling import Spellings

if TYPE_CHECKING:
    from pathlib import Path

WHEEL, DOTTED = "zope_x-1.0.dist-info", "zope.x-1.0.dist-info"
KEY, OTHER = "zope-x", "zope.x"


def chosen(own: str, original: str | None, *required: str) -> tuple[str, str]:
    """Return the choice for the directory `own`, which holds the name `original` in a file."""
    files = {f"{own}/METADATA": metadata("zope.x")}
    if original is not None:
        files[f"{own}/{ORIGINAL}"] = original
    return Spellings(required).choose(MemoryTree(files), own, "zope.x", DOTTED)


@pytest.mark.parametrize("required", [(KEY,), (KEY, OTHER)])
def test_the_name_in_the_wheel_is_right_if_something_requires_it(required: tuple[str, ...]) -> None:
    assert chosen(WHEEL, None, *required) == (WHEEL, "")
    assert chosen(WHEEL, WHEEL, *required) == (WHEEL, "")
    assert chosen(DOTTED, WHEEL, *required) == (WHEEL, "")
    assert chosen(DOTTED, f"{WHEEL}\n", *required) == (WHEEL, "")


@pytest.mark.parametrize("required", [(), (OTHER,), ("other",)])
def test_the_dotted_name_is_right_if_nothing_does(required: tuple[str, ...]) -> None:
    assert chosen(WHEEL, None, *required) == (DOTTED, WHEEL)
    assert chosen(WHEEL, WHEEL, *required) == (DOTTED, "")
    assert chosen(DOTTED, WHEEL, *required) == (DOTTED, "")


@pytest.mark.parametrize(
    "original",
    [
        "",
        "other-1.0.dist-info",
        "zope_x-2.0.dist-info",
        "zope_x.dist-info",
        "../zope_x-1.0.dist-info",
        "zope_x-1.0.dist-info/..",
        "zope_x-1.0.dist-info\nx",
        "zope_x-1.0\0.dist-info",
        "zope_x-1.0.dist-info" * 50,
    ],
)
def test_an_original_name_that_is_not_one_of_this_version_is_ignored(original: str) -> None:
    assert chosen(DOTTED, original, KEY) == (DOTTED, "")


@pytest.mark.parametrize("own", ["zope_x-info.dist-info", "zope-x-1.0.dist-info"])
def test_a_name_that_no_wheel_may_have_is_not_kept(own: str) -> None:
    assert chosen(own, None, KEY, "zope") == (DOTTED, "")


def test_only_directories_that_were_renamed_get_their_name_back() -> None:
    files: Files = {
        f"{WHEEL}/{ORIGINAL}": WHEEL,
        f"{DOTTED}/{ORIGINAL}": WHEEL,
        "zope.y-1.0.dist-info/METADATA": "",
        f"a.b-1.0.dist-info/{ORIGINAL}": "a_b-1.0.dist-info",
    }
    paths = sorted({path.partition("/")[0] for path in files})
    assert Spellings({KEY, "zope-y"}).due_back(MemoryTree(files), paths) == [DOTTED]


def test_a_rename_keeps_the_original_name_and_one_back_uses_it(tmp_path: Path) -> None:
    write(installed("zope_x-1.0", "zope.x"), tmp_path)

    def rename(path: Path, *required: str) -> list[str]:
        done = on_disk.rename([str(path)], lambda _: True, spellings=Spellings(required))
        assert done.left_alone == []
        return [os.path.basename(each.path) for each in done.renamed]

    assert rename(tmp_path / WHEEL) == [DOTTED]
    assert (tmp_path / DOTTED / ORIGINAL).read_text() == f"{WHEEL}\n"
    assert rename(tmp_path / DOTTED, OTHER) == []
    assert rename(tmp_path / DOTTED, KEY) == [WHEEL]
    assert rename(tmp_path / WHEEL, KEY) == []
    assert rename(tmp_path / WHEEL) == [DOTTED]
    assert (tmp_path / DOTTED / ORIGINAL).read_text() == f"{WHEEL}\n"
    assert [each for each in record_faults(tmp_path / DOTTED) if each != "not sorted"] == []
    assert list(tmp_path.glob("*.dist-info")) == [tmp_path / DOTTED]


def test_what_a_killed_run_has_begun_to_keep_is_completed(tmp_path: Path) -> None:
    for content in (None, "", "zope_"):
        directory = write(installed("zope_x-1.0", "zope.x"), tmp_path / str(content)) / WHEEL
        with (directory / "RECORD").open("a") as file:
            file.write(f"{WHEEL}/{ORIGINAL},,\n")
        if content is not None:
            (directory / ORIGINAL).write_text(content)
        on_disk.rename([str(directory)], lambda _: True, spellings=Spellings())
        directory = directory.with_name(DOTTED)
        assert (directory / ORIGINAL).read_text() == f"{WHEEL}\n"
        assert Spellings({KEY}).choose(DiskTree(), str(directory), "zope.x", DOTTED)[0] == WHEEL
        assert [each for each in record_faults(directory) if each != "not sorted"] == []


def test_a_link_in_the_place_of_the_original_name_is_replaced_and_not_followed(
    tmp_path: Path,
) -> None:
    directory = write(installed("zope_x-1.0", "zope.x"), tmp_path) / WHEEL
    (tmp_path / "mine").write_text("mine")
    (directory / ORIGINAL).symlink_to(tmp_path / "mine")
    (done,) = on_disk.rename([str(directory)], lambda _: True, spellings=Spellings()).renamed
    assert not os.path.islink(f"{done.path}/{ORIGINAL}")
    assert (tmp_path / "mine").read_text() == "mine"
