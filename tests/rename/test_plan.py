"""The plan for one dist-info directory, read from a tree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.corpus import Files, MemoryTree, installed, metadata, under, write
from tests.places import tree
from uvshim.environments.tree import DiskTree
from uvshim.rename import names, plan
from uvshim.rename.record import Record
from uvshim.rename.spelling import Spellings

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tests.conftest import Run
    from tests.places import Venv

SITE = "lib/site-packages"
DETOUR = "its RECORD lists its files by another path than the one from beside it"


def planned(
    root: Path, stem: str, *parts: Files, required: Collection[str] | None = None
) -> plan.Plan:
    """Return the plan for ``STEM.dist-info`` among the files of `parts`, on a disk at `root`."""
    write(under(SITE, *parts), root)
    path = f"/{SITE}/{stem}.dist-info"
    before = tree(root)
    spellings = None if required is None else Spellings(required)
    wanted = plan.make(DiskTree(str(root)), path, spellings=spellings)
    assert tree(root) == before
    assert wanted is not None
    assert (wanted.path, wanted.own) == (path, f"{stem}.dist-info")
    return wanted


def listing(*paths: str) -> dict[str, str]:
    """Return the METADATA of `a.b`."""
    return {"a_b-1.0.dist-info/RECORD": "".join(f"{path},,\n" for path in paths)}


def listed(wanted: plan.Plan) -> list[str]:
    """Return the paths that RECORD lists."""
    assert wanted.record is not None
    return list(wanted.record.paths())


A_B = installed("a_b-1.0", "a.b")
OWN = "a_b-1.0.dist-info"
RIGHT = "a.b-1.0.dist-info"
ALIASES = {RIGHT, f"{RIGHT}.uvshim"}


@pytest.mark.parametrize(
    ("stem", "name", "right", "wrong"),
    [
        ("a.b-1.0", "a.b", "a.b-1.0", ()),
        ("plain-1.0", "plain", "plain-1.0", ()),
        ("a_b-1.0", "a-b", "a_b-1.0", ()),
        ("a_b-1.0", "a.b", "a.b-1.0", (plan.NORMALIZED_NAME,)),
        ("a_b_c-1.0", "A-B.c", "A_B.c-1.0", (plan.NORMALIZED_NAME,)),
        ("A.B-1.0", "a.b", "A.B-1.0", ()),
        ("foo.bar-1.0", "Foo.Bar", "foo.bar-1.0", ()),
        ("a.b__c-1.0", "a.b__c", "a.b__c-1.0", ()),
        ("a-b-1.0", "a-b", "a_b-1.0", (plan.MISNAMED,)),
        ("a.b", "a.b", "a.b-1.0", (plan.MISNAMED,)),
        ("a-b-1.0", "a.b", "a.b-1.0", (plan.MISNAMED,)),
        ("a.b-info", "a.b", "a.b-1.0", (plan.MISNAMED,)),
    ],
)
def test_what_is_wrong_with_a_name_is_reported_with_the_right_one(
    tmp_path: Path, stem: str, name: str, right: str, wrong: tuple[str, ...]
) -> None:
    wanted = planned(tmp_path, stem, installed(stem, name))
    assert (wanted.name, wanted.version) == (name, "1.0")
    assert wanted.directory == f"{right}.dist-info"
    assert wanted.destination == f"/{SITE}/{right}.dist-info"
    assert wanted.wrong == wrong
    assert wanted.obstacle == ""


def test_record_lists_both_names_for_a_while_and_the_right_one_in_the_end(tmp_path: Path) -> None:
    wanted = planned(tmp_path, "a_b-1.0", A_B)
    assert listed(wanted) == [f"{OWN}/METADATA", f"{OWN}/RECORD", "module_of_a_b_1_0.py"]
    assert wanted.aliases == {OWN} | ALIASES
    assert wanted.record is not None
    assert wanted.record.added(wanted.aliases, wanted.directory) == [
        f"{RIGHT}/{name},,\n".encode() for name in ("METADATA", "RECORD", "RECORD.uvshim")
    ]
    assert list(Record(wanted.new_record(), RIGHT).paths()) == [
        f"{RIGHT}/METADATA",
        f"{RIGHT}/RECORD",
        "module_of_a_b_1_0.py",
    ]


def test_a_right_directory_needs_no_other_rows(tmp_path: Path) -> None:
    wanted = planned(tmp_path, "a.b-1.0", installed("a.b-1.0", "a.b"))
    assert wanted.wrong == ()
    assert wanted.aliases == ALIASES
    assert wanted.record is not None
    assert wanted.new_record() == wanted.record.content


def test_a_record_that_lists_an_unfinished_one_is_what_a_killed_run_has_left(
    tmp_path: Path,
) -> None:
    unfinished = {f"{RIGHT}/RECORD": f"{RIGHT}/RECORD,,\n{RIGHT}/RECORD.uvshim,,\n"}
    wanted = planned(tmp_path, "a.b-1.0", installed("a.b-1.0", "a.b"), unfinished)
    assert wanted.wrong == (plan.STALE_RECORD,)
    assert wanted.new_record() == f"{RIGHT}/RECORD,,\n".encode()


def test_a_file_of_the_code_that_has_the_name_of_an_unfinished_one_is_like_any_other(
    tmp_path: Path,
) -> None:
    code = {f"{RIGHT}/RECORD": f"{RIGHT}/RECORD,,\na_b/RECORD.uvshim,,\n"}
    assert planned(tmp_path, "a.b-1.0", installed("a.b-1.0", "a.b"), code).wrong == ()


@pytest.mark.parametrize(
    ("installer", "owner"),
    [
        ("conda", "conda"),
        ("conda-pypi", "conda"),
        ("rpm", "rpm"),
        ("dpkg", "dpkg"),
        ("debian", "dpkg"),
    ],
)
def test_what_another_package_manager_owns_is_reported(
    tmp_path: Path, installer: str, owner: str
) -> None:
    owned = {f"{OWN}/INSTALLER": f"{installer}\n"}
    assert planned(tmp_path, "a_b-1.0", A_B, owned).owner == owner
    assert planned(tmp_path, "a_b-1.0", A_B, owned, {f"{OWN}/RECORD": ""}).owner == owner


def test_what_pdm_has_in_its_cache_belongs_to_it(tmp_path: Path) -> None:
    """It deletes what no directory listed there uses, by path."""
    cached = {f"{OWN}/INSTALLER": "pdm\n", f"{OWN}/REFER_TO": "/cache/a.b-1.0"}
    assert planned(tmp_path, "a_b-1.0", A_B, cached).owner == "PDM"
    assert planned(tmp_path / "2", "a_b-1.0", A_B, {f"{OWN}/INSTALLER": "pdm\n"}).owner == ""


def test_of_what_uv_has_just_installed_the_owner_is_not_looked_for(
    run: Run, uv: Path, venv: Venv, wheels: Path
) -> None:
    asked = []

    class Disk(DiskTree):
        def read(self, path: str, limit: int) -> bytes | None:
            asked.append(os.path.basename(path))
            return super().read(path, limit)

    done = run(uv, "pip", "install", "--no-index", "-f", wheels, "zope.deferred")
    assert done.returncode == 0, done.stderr
    path = str(venv.site_packages / "zope_deferred-1.2.dist-info")
    for only_new in (True, False):
        wanted = plan.make(Disk(), path, only_new=only_new)
        assert wanted is not None
        assert wanted.wrong == (plan.NORMALIZED_NAME,)
    assert asked == ["METADATA", "RECORD", "METADATA", "RECORD", "INSTALLER"]


@pytest.mark.parametrize("installer", ["uv", "pip", "poetry 1.8", "\udcff", ""])
def test_what_a_python_installer_wrote_has_no_owner(tmp_path: Path, installer: str) -> None:
    write({f"{SITE}/{OWN}/INSTALLER": ""}, tmp_path)
    (tmp_path / SITE / OWN / "INSTALLER").write_bytes(installer.encode("utf-8", "surrogateescape"))
    assert planned(tmp_path, "a_b-1.0", A_B).owner == ""


@pytest.mark.parametrize(
    ("stem", "name", "is_planned"),
    [
        ("a_b-1.0", "a.b", True),
        ("a_b-1.0", "a-b", False),
        ("a-b-1.0", "a-b", True),
        ("a.b", "a.b", True),
    ],
)
def test_of_what_is_new_only_dotted_names_and_malformed_directories_are_planned(
    stem: str,
    name: str,
    is_planned: bool,  # noqa: FBT001
) -> None:
    files = MemoryTree(installed(stem, name))
    found = plan.make(files, f"{stem}.dist-info", only_new=True)
    assert (found is not None) == is_planned
    assert plan.make(files, f"{stem}.dist-info") is not None


@pytest.mark.parametrize("record", ["a_b-1.0", "a.b-1.0.dist-info.uvshim", "A-B", "a.b-0.9"])
def test_a_record_that_names_a_directory_that_is_not_there_is_stale(
    tmp_path: Path, record: str
) -> None:
    wanted = planned(tmp_path, "a.b-1.0", installed("a.b-1.0", "a.b", record=record))
    assert wanted.directory == wanted.own
    assert wanted.wrong == (plan.STALE_RECORD,)
    assert wanted.aliases == {f"{record}.dist-info"} | ALIASES
    assert f"{RIGHT}/METADATA" in list(Record(wanted.new_record(), RIGHT).paths())


def test_a_name_and_a_record_can_be_wrong_at_once(tmp_path: Path) -> None:
    wanted = planned(tmp_path, "a_b-1.0", installed("a_b-1.0", "a.b", record="a.b-1.0"))
    assert wanted.wrong == (plan.NORMALIZED_NAME, plan.STALE_RECORD)


@pytest.mark.parametrize("other", ["a.b-2.0", "c_d-1.0", "a_b_c-1.0"])
def test_the_directory_of_another_version_or_project_is_no_other_name_of_this_one(
    tmp_path: Path, other: str
) -> None:
    beside = installed(other, "a.b" if other == "a.b-2.0" else "c.d")
    listed = listing(f"{OWN}/RECORD", f"{other}.dist-info/METADATA")
    wanted = planned(tmp_path, "a_b-1.0", A_B, beside, listed)
    assert wanted.wrong == (plan.NORMALIZED_NAME,)
    assert wanted.aliases == {OWN} | ALIASES
    assert f"{other}.dist-info/METADATA" in list(Record(wanted.new_record(), RIGHT).paths())


@pytest.mark.parametrize("key", ["a-b", "other"])
def test_a_directory_keeps_the_name_under_which_it_is_required(tmp_path: Path, key: str) -> None:
    wanted = planned(tmp_path, "a_b-1.0", A_B, required={key})
    assert wanted.directory == (OWN if key == "a-b" else RIGHT)
    assert wanted.wrong == (() if key == "a-b" else (plan.NORMALIZED_NAME,))


def test_a_name_that_no_requirement_can_spell_is_not_kept(tmp_path: Path) -> None:
    required = {"a", "a-b", "a-b-1.0"}
    wanted = planned(tmp_path, "a-b-1.0", installed("a-b-1.0", "a.b"), required=required)
    assert wanted.directory == RIGHT


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "it has no RECORD"),
        ("", "its RECORD is empty"),
        ("x,,\n" * 10, "its RECORD is too long"),
        ("x\n", "its RECORD has a row that cannot be read (Row Index 0"),
    ],
)
def test_a_record_that_is_of_no_use_is_an_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, reason: str
) -> None:
    monkeypatch.setattr(plan, "RECORD_LIMIT", 20)
    files: Files = {f"{OWN}/METADATA": metadata("a.b")}
    if content is not None:
        files = {**files, f"{OWN}/RECORD": content}
    wanted = planned(tmp_path, "a_b-1.0", files)
    assert wanted.obstacle.startswith(reason)
    assert wanted.wrong == (plan.NORMALIZED_NAME,)
    assert wanted.record is None


@pytest.mark.parametrize(
    ("path", "obstacle"),
    [
        (f"../site-packages/{OWN}/METADATA", DETOUR),
        (f"x/../../site-packages/{OWN}/METADATA", DETOUR),
        (f"/{SITE}/{OWN}/METADATA", DETOUR),
        (f"/the/same/behind/a/link/{OWN}/METADATA", DETOUR),
        (f"x/../{OWN}/METADATA", DETOUR),
        (f"./{OWN}/METADATA", DETOUR),
        (f".//{OWN}//METADATA", DETOUR),
        (f"{OWN}\\licenses\\MIT", DETOUR),
        (f"{OWN}//METADATA", ""),
        ("./x.py", ""),
        ("../../bin/a.dist-info", ""),
        (f"../site-packages/{OWN}-not/METADATA", ""),
        ("/etc/a.dist-info", ""),
    ],
)
def test_files_that_are_listed_by_a_detour_are_an_obstacle_if_they_are_its_own(
    tmp_path: Path, path: str, obstacle: str
) -> None:
    assert planned(tmp_path, "a_b-1.0", A_B, listing(f"{OWN}/RECORD", path)).obstacle == obstacle


def test_whom_nobody_is_concerned_with_is_not_read_further() -> None:
    files = MemoryTree(A_B)
    assert plan.make(files, OWN, lambda name: name != "a.b") is None
    assert files.asked == [f"{OWN}/METADATA"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({f"{OWN}/RECORD": ""}, "it has no METADATA"),
        ({OWN: "a file"}, "it is not a directory"),
        ({}, "it is not a directory"),
        ({f"{OWN}/METADATA": metadata("c.d")}, "its METADATA is that of another distribution"),
    ],
)
def test_where_nothing_can_be_known_there_is_no_plan(files: Files, reason: str) -> None:
    with pytest.raises(names.MetadataError, match=reason):
        plan.make(MemoryTree(files), OWN)


def test_a_plan_is_the_same_wherever_the_files_lie(tmp_path: Path) -> None:
    files = under(SITE, A_B, installed("c_d-1.0", "c.d", record="c.d-1.0"))
    write(files, tmp_path)
    for own in (OWN, "c_d-1.0.dist-info"):
        path = f"/{SITE}/{own}"
        memory, disk = (
            plan.make(files_, path) for files_ in (MemoryTree(files), DiskTree(str(tmp_path)))
        )
        assert memory is not None
        assert disk is not None
        assert (memory.wrong, memory.new_record()) == (disk.wrong, disk.new_record())


@pytest.mark.parametrize(
    ("directory", "beyond"),
    [
        ("plain-1.0", True),
        ("Plain-1.0", True),
        ("a_b-1.0", False),
        ("a.b-1.0", False),
        ("plain", False),
        ("a-b-1.0", False),
    ],
)
def test_only_a_well_formed_name_of_one_word_is_beyond_doubt(directory: str, beyond: bool) -> None:  # noqa: FBT001
    assert plan.is_beyond_doubt(f"{directory}.dist-info") == beyond
