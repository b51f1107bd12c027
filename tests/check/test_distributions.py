"""The distributions that pkg_resources finds, and their metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.corpus import Files, MemoryTree, metadata
from uvshim.check import distributions, versions
from uvshim.check.metadata import NoVersionError, RequireError
from uvshim.rename import names

if TYPE_CHECKING:
    from uvshim.check.distributions import Distribution

Order = Callable[[str], Any]


def found(files: Files, *, order: Order | None = None, nested: bool = False) -> list[Distribution]:
    """Return the distributions at the entry `site` of a search path that has those files below."""
    tree = MemoryTree({f"site/{name}": content for name, content in files.items()})
    every = distributions.find(tree, "site", order)
    return [each for each in every if nested or each.is_direct]


def only(files: Files) -> Distribution:
    """Return the one distribution in `files`."""
    (one,) = found(files)
    return one


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("oslo.cache", "oslo.cache"),
        ("oslo_cache", "oslo-cache"),
        ("XStatic_JQuery.TableSorter", "xstatic-jquery.tablesorter"),
        ("a__b", "a-b"),
        ("a..b", "a..b"),
        ("ä.b", "-.b"),
    ],
)
def test_a_key_keeps_dots_and_no_other_separator(name: str, key: str) -> None:
    assert names.key_of(name) == key
    assert names.safe_name(name).lower() == key


@pytest.mark.parametrize(
    ("name", "key", "version", "python"),
    [
        ("oslo.cache-3.10.2.dist-info", "oslo.cache", "3.10.2", ""),
        ("oslo_cache-3.10.2.dist-info", "oslo-cache", "3.10.2", ""),
        ("oslo.cache-info.dist-info", "oslo.cache", "info", ""),
        ("A-B-1.0.dist-info", "a", "B", ""),
        ("a-1.0-py3.11.dist-info", "a", "1.0", "3.11"),
        ("a-01.0.DIST-INFO", "a", "1.0", ""),
    ],
)
def test_name_and_version_are_in_the_name_of_the_directory(
    name: str, key: str, version: str, python: str
) -> None:
    one = only({f"{name}/METADATA": metadata("something.else", "9")})
    assert (one.key, one.version, one.python) == (key, version, python)


def test_a_version_that_the_directory_does_not_have_is_that_of_the_metadata() -> None:
    assert only({"a.dist-info/METADATA": metadata("a", "1.0")}).version == "1.0"
    assert only({"a.egg-info/PKG-INFO": metadata("a", "2.0")}).version == "2.0"
    assert only({"a-1.0.egg-info/PKG-INFO": metadata("a", "2.0")}).version == "2.0"
    with pytest.raises(NoVersionError):
        _ = only({"a.dist-info/METADATA": "Name: a\n"}).version


def test_a_version_outside_pep_440_is_made_fit_for_a_file_name() -> None:
    assert only({"a-1.0 weird!.dist-info/METADATA": ""}).version == "1.0.weird-"
    assert only({"a-1.0RC1.dist-info/METADATA": ""}).version == "1.0rc1"


def test_what_a_dist_info_directory_requires_is_in_its_metadata() -> None:
    text = metadata("a", "1", ["b", "c; extra == 'x'"], ["x", "y"])
    one = only({"a-1.dist-info/METADATA": text})
    assert list(one.requirement_lines()) == [("", "b"), ("", "c; extra == 'x'")]
    assert one.header.extras == ("x", "y")
    (empty,) = found({"a-1.dist-info/RECORD": ""})
    with pytest.raises(RequireError, match="FileNotFoundError"):
        list(empty.requirement_lines())


@pytest.mark.parametrize("kind", ["egg-info", "egg"])
def test_what_an_egg_requires_is_in_sections(kind: str) -> None:
    requires = "b>=1\n# c\n\n[x]\nd\n[:python_version<'3']\ne\n[y:sys_platform=='win32']\nf\n[z]\n"
    directory = {"egg-info": "a-1.egg-info", "egg": "a-1.egg/EGG-INFO"}[kind]
    files = {f"{directory}/PKG-INFO": "Version: 1\n", f"{directory}/requires.txt": requires}
    (one,) = found(files, nested=True)
    assert list(one.requirement_lines()) == [
        ("", "b>=1"),
        ("x", ""),
        ("x", "d"),
        (":python_version<'3'", ""),
        (":python_version<'3'", "e"),
        ("y:sys_platform=='win32'", ""),
        ("y:sys_platform=='win32'", "f"),
        ("z", ""),
    ]


def test_a_section_that_does_not_end_cannot_be_read() -> None:
    one = only({"a-1.egg-info/PKG-INFO": "", "a-1.egg-info/requires.txt": "[x\nb\n"})
    with pytest.raises(RequireError, match="ValueError"):
        list(one.requirement_lines())


def test_metadata_that_are_not_utf_8_are_refused_except_where_the_end_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = only({"a-1.dist-info/METADATA": metadata("a").encode() + b"\xff"})
    with pytest.raises(RequireError, match="UnicodeDecodeError"):
        one.read("METADATA")
    long = only({"a-1.dist-info/METADATA": "Name: a\n\n" + "ä" * 100})
    for module in ("distributions", "metadata"):  # in the middle of a letter
        monkeypatch.setattr(f"uvshim.check.{module}.METADATA_LIMIT", 100)
    assert (long.read("METADATA") or "").startswith("Name: a\n\nää")
    assert long.read("INSTALLER") is None


def test_an_egg_info_may_be_a_file_and_an_empty_directory_is_nothing() -> None:
    one = only({"a-1.egg-info": "Name: a\nVersion: 1.5\n"})
    assert (one.kind, one.version) == (".egg-info", "1.5")
    tree = MemoryTree({"site/a-1.dist-info/METADATA": "", "site/b-1.dist-info": ""})
    tree.children["site/c-1.dist-info"] = set()
    tree.children["site"].add("c-1.dist-info")
    keys = [each.key for each in distributions.find(tree, "site")]
    assert keys == ["a"]


def test_an_egg_counts_where_it_is_an_entry_itself_or_one_looks_inside_of_entries() -> None:
    files: Files = {
        "a-1.egg/EGG-INFO/PKG-INFO": "Version: 1\n",
        "zipped-2.egg": b"PK\3\4",
        "no-3.egg": "",
    }
    assert found(files) == []
    assert [(each.key, each.location) for each in found(files, nested=True)] == [
        ("a", "site/a-1.egg"),
        ("zipped", "site/zipped-2.egg"),
    ]
    tree = MemoryTree({f"site/{name}": content for name, content in files.items()})
    (egg,) = distributions.find(tree, "site/a-1.egg")
    assert (egg.key, egg.version) == ("a", "1")


def test_an_egg_link_leads_to_a_directory_and_never_in_a_circle() -> None:
    tree = MemoryTree(
        {
            "site/a.egg-link": "\n../src\n.\n",
            "src/a.egg-info/PKG-INFO": "Version: 1\n",
            "src/b.egg-link": "../site\n",
        }
    )
    every = distributions.find(tree, "site")
    assert [(each.location, each.is_direct) for each in every] == [("src", False)]


def test_of_two_versions_older_releases_of_setuptools_see_the_newer_one_first() -> None:
    ten, nine = "a-1.10.dist-info/METADATA", "a-1.9.dist-info/METADATA"
    eggs = {"a-2.0.dist-info/METADATA": "", "a-10.0.dist-info/METADATA": ""}
    assert [each.version for each in found(eggs)] == ["10.0", "2.0"]  # as the alphabet has it
    eggs = {ten: "", nine: "", "a-2.0.dist-info/METADATA": ""}
    assert [each.version for each in found(eggs)] == ["1.10", "1.9", "2.0"]
    assert [each.version for each in found(eggs, order=versions.by_version)] == [
        "2.0",
        "1.10",
        "1.9",
    ]


def test_a_version_is_parsed_if_it_is_one() -> None:
    assert str(versions.parsed_version("1.0RC1")) == "1.0rc1"
    assert versions.parsed_version("2004d") is None
    assert versions.parsed_version("info") is None
