from __future__ import annotations

import errno
import os
import posixpath
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus import (
    Files,
    MemoryTree,
    ZipTree,
    installed,
    installed_pkg_resources,
    metadata,
    under,
    write,
    write_zip,
)
from uvshim.check.diagnosis import Diagnosis, diagnose, site_packages_in
from uvshim.check.directories import Finding
from uvshim.check.lookups import EntryPoint, Failure, Lookups, Unresolvable
from uvshim.environments.interpreter import version_of
from uvshim.environments.tree import DiskTree

if TYPE_CHECKING:
    from pathlib import Path

SITE = "lib/python3.11/site-packages"
AFFECTED = {"setuptools-75.8.0.dist-info/METADATA": metadata("setuptools", "75.8.0")}
FIXED = {"setuptools-80.9.0.dist-info/METADATA": metadata("setuptools", "80.9.0")}

INCIDENT = {
    **installed("oslo_service-4.0", "oslo.service", ["pbr"]),
    **installed("pbr-6.1", "pbr"),
    **installed("magnum-20.0", "magnum", ["oslo.service>=2", "pbr"]),
    **installed(
        "magnum_cluster_api-0.28",
        "magnum-cluster-api",
        ["magnum"],
        entry_points="# drivers\n[magnum.drivers]\nk8s_ubuntu = m.driver:Ubuntu\n"
        "k8s_flatcar=m.driver:Flatcar [x]\n\n[console_scripts]\nmagnum-x = m.cmd:main\n",
    ),
    **AFFECTED,
}


def examine(*parts: Files) -> Diagnosis:
    return diagnose(MemoryTree(under(SITE, *parts)), [SITE])


def kinds(*parts: Files) -> list[tuple[str, str]]:
    """Return the findings as kind and directory."""
    found = examine(*parts).findings
    return [(each.kind, each.path.removeprefix(f"{SITE}/")) for each in found]


# --- findings -----------------------------------------------------------------------------------


def test_a_dotted_name_under_a_normalized_directory_is_found() -> None:
    assert examine(installed("oslo_cache-3.10.2", "oslo.cache")).findings == (
        Finding(
            kind="normalized-name",
            name="oslo.cache",
            version="3.10.2",
            path=f"{SITE}/oslo_cache-3.10.2.dist-info",
            expected="oslo.cache-3.10.2.dist-info",
        ),
    )


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("oslo.cache-3.10.2", "oslo.cache"),
        ("XStatic_JQuery.TableSorter-2.14.5.3", "XStatic-JQuery.TableSorter"),
        ("typing_extensions-4.0", "typing-extensions"),
        ("typing_extensions-4.0", "typing_extensions"),
        ("Foo_Bar-1.0", "foo-bar"),
        ("pbr-6.1", "pbr"),
        ("local-1.0+ab.1", "local"),
    ],
)
def test_a_right_name_is_no_finding(stem: str, name: str) -> None:
    diagnosis = examine(installed(stem, name))
    assert (diagnosis.findings, diagnosis.unreadable) == ((), ())


@pytest.mark.parametrize(
    ("stem", "name", "expected"),
    [
        ("oslo.cache-info", "oslo.cache", "oslo.cache-1.0"),
        ("XStatic-JQuery.TableSorter-2.14", "XStatic-JQuery.TableSorter", "XStatic_JQuery.TableSorter-2.14"),
        ("typing-extensions-4.0", "typing-extensions", "typing_extensions-4.0"),
        ("pbr-info", "pbr", "pbr-1.0"),
        ("oslo_cache", "oslo.cache", "oslo.cache-1.0"),
    ],
)  # fmt: skip
def test_a_name_that_is_neither_is_misnamed(stem: str, name: str, expected: str) -> None:
    (finding,) = examine(installed(stem, name)).findings
    assert (finding.kind, finding.expected) == ("misnamed", f"{expected}.dist-info")
    assert finding.version == expected.rpartition("-")[2]


def test_a_record_that_speaks_of_another_directory_is_stale() -> None:
    assert kinds(installed("oslo.cache-3.0", "oslo.cache", record="oslo_cache-3.0")) == [
        ("stale-record", "oslo.cache-3.0.dist-info")
    ]


@pytest.mark.parametrize("egg", [False, True])
def test_an_egg_of_the_same_name_hides_no_failing_lookup(egg: bool) -> None:  # noqa: FBT001
    """It is on no path: `easy_install` of an older Python has left it."""
    older = {"oslo.cache-0.9-py3.7.egg/EGG-INFO/PKG-INFO": metadata("oslo.cache", "0.9")}
    files = {**installed("oslo_cache-3.0", "oslo.cache"), **FIXED, **(older if egg else {})}
    (found,) = examine(files).by_require_only
    assert found.name == "oslo.cache"
    assert {"by_key", "Environment"} <= set(found.failing)


def test_a_record_that_lists_both_names_is_stale() -> None:
    files = installed("oslo.cache-3.0", "oslo.cache")
    record = files["oslo.cache-3.0.dist-info/RECORD"]
    assert isinstance(record, str)
    files["oslo.cache-3.0.dist-info/RECORD"] = record + "oslo_cache-3.0.dist-info/METADATA,,\n"
    assert kinds(files) == [("stale-record", "oslo.cache-3.0.dist-info")]


def test_the_same_record_in_directories_of_two_names_is_read_for_each() -> None:
    right = installed("oslo.cache-3.0", "oslo.cache")
    wrong = installed("oslo_cache-3.0", "oslo.cache", record="oslo.cache-3.0")
    record = "oslo_cache-3.0.dist-info/RECORD"
    wrong[record] = right["oslo.cache-3.0.dist-info/RECORD"]
    assert kinds(right) == []
    assert ("stale-record", "oslo_cache-3.0.dist-info") in kinds(wrong)


def test_a_record_that_lists_another_distribution_s_directory_is_not_stale() -> None:
    files = installed("oslo.cache-3.0", "oslo.cache")
    files["oslo.cache-3.0.dist-info/RECORD"] += "vendored/x-1.dist-info/METADATA,,\n"  # type: ignore[operator]
    files["oslo.cache-3.0.dist-info/RECORD"] += "other-1.dist-info/METADATA,,\n"  # type: ignore[operator]
    assert kinds(files) == []


def test_a_distribution_whose_code_is_gone_is_a_ghost() -> None:
    ghost = installed("oslo.cache-3.0", "oslo.cache", record="oslo_cache-3.0", code=False)
    assert kinds(ghost) == [("ghost", "oslo.cache-3.0.dist-info")]


def test_one_whose_code_was_compiled_or_packed_is_no_ghost() -> None:
    """`python -m compileall -b` and PyInstaller do that."""
    files = installed("oslo.cache-3.0", "oslo.cache", code=False)
    assert kinds(files) == [("ghost", "oslo.cache-3.0.dist-info")]
    record = str(files["oslo.cache-3.0.dist-info/RECORD"])
    (path,) = (row.partition(",")[0] for row in record.splitlines() if ".py," in row)
    assert kinds({**files, f"{path}c": ""}) == []
    assert kinds({**files, "base_library.zip": ""}) == []


@pytest.mark.parametrize(
    "row",
    [
        "oslo",
        "../../../bin/oslo-cache",
        "_oslo.pth",
        '"with,comma.py"',
        "oslo\\\\cache.py",
        f"/{SITE}/x.py",
    ],
)
def test_where_any_file_is_left_it_is_no_ghost(row: str) -> None:
    files = installed("oslo.cache-3.0", "oslo.cache", code=False)
    files["oslo.cache-3.0.dist-info/RECORD"] = f"gone.py,,\n{row},,\n"
    rest = under(SITE, files, {"_oslo.pth": "/src", "with,comma.py": "", "oslo/cache.py": ""})
    rest["bin/oslo-cache"] = rest[f"/{SITE}/x.py"] = ""
    assert diagnose(MemoryTree(rest), [SITE]).findings == ()


def test_a_distribution_without_code_of_its_own_is_no_ghost() -> None:
    files = installed("oslo.meta-3.0", "oslo.meta", code=False)
    files["oslo.meta-3.0.dist-info/RECORD"] = "oslo.meta-3.0.dist-info/METADATA,,\n"
    assert kinds(files) == []


@pytest.mark.parametrize("record", ["", "a\nb", '"', "\0", b"\xff,,\n", None])
def test_a_record_that_is_none_is_no_finding(record: str | bytes | None) -> None:
    files = installed("oslo.cache-3.0", "oslo.cache")
    del files["oslo.cache-3.0.dist-info/RECORD"]
    if record is not None:
        files["oslo.cache-3.0.dist-info/RECORD"] = record
    assert [kind for kind, _ in kinds(files) if kind != "ghost"] == []


def test_two_directories_of_one_distribution_are_duplicates_and_nothing_else_is_reported_of_them() -> (
    None
):
    both = (
        installed("oslo_cache-3.0", "oslo.cache"),
        installed("oslo.cache-3.0", "oslo.cache", record="oslo_cache-3.0"),
    )
    assert kinds(*both) == [
        ("duplicate", "oslo.cache-3.0.dist-info"),
        ("duplicate", "oslo_cache-3.0.dist-info"),
    ]


def test_a_ghost_beside_its_successor_is_distinguished_from_it() -> None:
    both = (
        installed("oslo_cache-3.1", "oslo.cache"),
        installed("oslo.cache-3.0", "oslo.cache", code=False),
    )
    assert kinds(*both) == [
        ("ghost", "oslo.cache-3.0.dist-info"),
        ("duplicate", "oslo_cache-3.1.dist-info"),
    ]


def test_two_versions_of_a_plain_name_are_duplicates() -> None:
    both = installed("pbr-1.0", "pbr"), installed("pbr-2.0", "pbr")
    assert [kind for kind, _ in kinds(*both)] == ["duplicate", "duplicate"]


def test_one_distribution_in_two_site_packages_is_no_duplicate() -> None:
    tree = MemoryTree(
        {**under("a", installed("pbr-1.0", "pbr")), **under("b", installed("pbr-2.0", "pbr"))}
    )
    assert diagnose(tree, ["a", "b"]).findings == ()


def test_excluded_names_are_listed_separately() -> None:
    tree = MemoryTree(
        under(SITE, installed("oslo_cache-3.0", "oslo.cache"), installed("a_b-1.0", "a.b"))
    )
    diagnosis = diagnose(tree, [SITE], excluded=lambda name: name.startswith("oslo."))
    assert [each.name for each in diagnosis.findings] == ["a.b"]
    assert [each.name for each in diagnosis.excluded] == ["oslo.cache"]


def test_what_misses_only_excluded_names_is_not_broken() -> None:
    tree = MemoryTree(under(SITE, INCIDENT))
    diagnosis = diagnose(tree, [SITE], excluded=lambda name: name == "oslo.service")
    assert {each.excluded for each in diagnosis.unresolvable} == {("oslo.service",)}
    assert (diagnosis.hidden, diagnosis.refused, diagnosis.broken) == ([], [], False)


# --- hostile directories ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a_b-1.0.dist-info/RECORD": ""}, "it has no METADATA"),
        ({"a_b-1.0.dist-info": "x"}, "it is not a directory"),
        ({"a_b-1.0.dist-info/METADATA": "Version: 1\n"}, "has no Name"),
        ({"a_b-1.0.dist-info/METADATA": "Name: a.b\nName: c\n"}, "more than one Name"),
        ({"a_b-1.0.dist-info/METADATA": "Name: ../../etc\n"}, "not a valid project name"),
        ({"a_b-1.0.dist-info/METADATA": "Name: other.name\n"}, "another distribution"),
        ({"a_b-x.dist-info/METADATA": "Name: a.b\nVersion: ../..\n"}, "valid version"),
        ({"a_b-1.0.dist-info/METADATA": b"\x7fELF\0\0\0" * 1000}, "has no Name"),
        ({"-.dist-info/METADATA": "Name: a.b\n"}, "another distribution"),
        ({".dist-info/METADATA": "Name: a.b\n"}, "another distribution"),
    ],
)
def test_a_directory_that_says_nothing_is_reported_with_the_reason(
    files: Files, reason: str
) -> None:
    diagnosis = examine(files, installed("oslo_cache-3.0", "oslo.cache"), AFFECTED)
    (unreadable,) = diagnosis.unreadable
    assert reason in unreadable.reason
    assert [each.name for each in diagnosis.findings] == ["oslo.cache"]
    assert diagnosis.distributions == 2


def test_a_metadata_without_end_does_no_harm(tmp_path: Path) -> None:
    site = write({**INCIDENT, **installed("a_b-1.0", "a.b")}, tmp_path / "site-packages")
    for stem in ("a_b-1.0", "pbr-6.1"):
        for file in ("METADATA", "RECORD"):
            with (site / f"{stem}.dist-info/{file}").open("r+b") as huge:
                huge.truncate(1 << 36)
    diagnosis = diagnose(DiskTree(), [str(site)])
    assert [each.name for each in diagnosis.findings] == ["a.b", "oslo.service"]


@given(
    st.dictionaries(
        st.text(alphabet="ab._-12/", min_size=1, max_size=9).map(lambda s: s + ".dist-info/METADATA"),
        st.binary(max_size=30) | st.sampled_from([b"Name: a.b\n", b"Name: a_b\nVersion: 1\n"]),
        max_size=6,
    )
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_nothing_in_a_tree_makes_the_diagnosis_fail(files: dict[str, bytes]) -> None:
    diagnosis = diagnose(MemoryTree(under(SITE, {**files}, AFFECTED)), [SITE])
    for finding in diagnosis.findings:
        assert "/" not in finding.expected


# --- consequences -------------------------------------------------------------------------------


def test_what_pkg_resources_cannot_resolve_is_reported_with_what_it_misses() -> None:
    assert examine(INCIDENT).unresolvable == (
        Unresolvable("magnum", "20.0", ("oslo.service",), ()),
        Unresolvable("magnum-cluster-api", "0.28", ("oslo.service",), ()),
        Unresolvable("oslo.service", "4.0", ("oslo.service",), ()),
    )


def test_the_entry_points_of_what_cannot_be_resolved_are_reported_by_group() -> None:
    assert examine(INCIDENT).entry_points == (
        EntryPoint("magnum.drivers", "k8s_ubuntu", "magnum-cluster-api"),
        EntryPoint("magnum.drivers", "k8s_flatcar", "magnum-cluster-api"),
    )


@pytest.mark.parametrize(
    ("script", "listed"),
    [("from pkg_resources import load_entry_point", True), ("from m.cmd import main", False)],
)
def test_a_script_is_listed_only_if_it_asks_pkg_resources(script: str, *, listed: bool) -> None:
    directory = f"{SITE}/magnum_cluster_api-0.28.dist-info"
    files = under(SITE, INCIDENT)
    files[f"{directory}/RECORD"] = "../../../bin/magnum-x,,\n"
    files["bin/magnum-x"] = f"#!/usr/bin/python3\n{script}\n"
    scripts = EntryPoint("console_scripts", "magnum-x", "magnum-cluster-api")
    assert (scripts in diagnose(MemoryTree(files), [SITE]).entry_points) is listed


def test_with_the_right_name_nothing_is_unresolvable() -> None:
    fixed = {
        name.replace("oslo_service-", "oslo.service-"): text.replace("oslo_service-", "oslo.service-")  # type: ignore[arg-type]
        for name, text in INCIDENT.items()
    }  # fmt: skip
    diagnosis = examine(fixed)
    assert (diagnosis.findings, diagnosis.unresolvable, diagnosis.entry_points) == ((), (), ())
    assert diagnosis.affected


def test_a_name_that_is_not_installed_at_all_is_reported_as_absent() -> None:
    alone = examine(installed("a-1.0", "a", ["b.c", "d", "e"]), installed("e-1", "e"), AFFECTED)
    (only,) = alone.unresolvable
    assert only == Unresolvable("a", "1.0", only.missing, only.absent)
    assert set(only.missing) == set(only.absent) == {"b.c", "d"}
    assert (alone.hidden, alone.refused, alone.broken) == ([], [only], False)
    both = examine(INCIDENT, installed("z-1.0", "z", ["no", "oslo.service"]))
    last = both.unresolvable[-1]
    assert (last.name, set(last.missing)) == ("z", {"no", "oslo.service"})
    assert (last.absent, last.hidden) == (("no",), ("oslo.service",))
    assert last in both.hidden
    assert both.refused == []


def test_what_fails_for_another_reason_is_listed_separately() -> None:
    diagnosis = examine(
        installed("oslo.cache-info", "oslo.cache"),
        installed("a-1.0", "a", ["oslo.cache"]),
        installed("b-1.0", "b", ["a>=2"]),
        AFFECTED,
    )
    assert diagnosis.unresolvable == ()
    assert diagnosis.failures == (
        Failure("a", "1.0", "InvalidVersion"),
        Failure("b", "1.0", "VersionConflict", "a>=2 is required, and 1.0 is installed"),
        Failure("oslo.cache", "1.0", "InvalidVersion"),
    )


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("40.8.0", True), ("59.6.0", True), ("65.5.1", True), ("75.3.4", True), ("75.8.0", True),
        ("75.8.1", True), ("75.8.1.post20250225", True), ("75.8.2", False), ("75.9.1", False),
        ("76.0.0", False), ("80.9.0", False), ("81.0.0", False), ("82.0.0", False), ("100", False),
        ("strange", False),
    ],
)  # fmt: skip
def test_the_version_of_setuptools_says_whether_the_environment_is_affected(
    version: str, *, affected: bool
) -> None:
    files = {k: v for k, v in INCIDENT.items() if not k.startswith("setuptools")}
    diagnosis = examine(files, {f"setuptools-{version}.dist-info/METADATA": ""})
    assert (diagnosis.setuptools, diagnosis.affected) == (version, affected)
    assert bool(diagnosis.unresolvable) == affected
    assert len(diagnosis.findings) == 1


def test_an_environment_without_setuptools_is_not_affected() -> None:
    diagnosis = examine({k: v for k, v in INCIDENT.items() if not k.startswith("setuptools")})
    assert (diagnosis.setuptools, diagnosis.affected, diagnosis.unresolvable) == (None, False, ())


@pytest.mark.parametrize(
    ("source", "affected"),
    [("by_key.get(req.key)", True), ('safe_name(req.key).replace(".", "-"),', False)],
)
def test_a_pkg_resources_without_setuptools_is_judged_by_its_source(
    source: str, *, affected: bool
) -> None:
    files = {k: v for k, v in INCIDENT.items() if not k.startswith("setuptools")}
    diagnosis = examine(files, {"pkg_resources/__init__.py": source})
    assert (diagnosis.setuptools, diagnosis.affected) == (None, affected)
    assert bool(diagnosis.unresolvable) == affected


def test_behind_a_setuptools_without_pkg_resources_that_of_another_directory_counts() -> None:
    files = {k: v for k, v in INCIDENT.items() if not k.startswith("setuptools")}
    newest = {"setuptools-84.2.1.dist-info/METADATA": metadata("setuptools", "84.2.1")}
    tree = MemoryTree({**under("own", files, newest), **under("below", AFFECTED)})
    diagnosis = diagnose(tree, ["own", "below"])
    assert (diagnosis.setuptools, diagnosis.affected) == ("75.8.0", True)
    assert diagnosis.unresolvable
    assert diagnose(tree, ["own"]).setuptools == "84.2.1"
    assert not diagnose(tree, ["own"]).affected


def test_an_egg_info_says_the_version_of_setuptools_too() -> None:
    files = {k: v for k, v in INCIDENT.items() if not k.startswith("setuptools")}
    diagnosis = examine(files, {"setuptools-66.1.1.egg-info/PKG-INFO": metadata("setuptools")})
    assert (diagnosis.setuptools, diagnosis.affected) == ("66.1.1", True)


def test_what_setuptools_brings_along_counts_where_pkg_resources_counts_it() -> None:
    files = {
        **installed("jaraco_text-4.0", "jaraco.text"),
        **installed("a-1.0", "a", ["jaraco.text"]),
        "pkg_resources/__init__.py": "",
        "setuptools/_vendor/jaraco.text-3.12.1.dist-info/METADATA": metadata("jaraco.text"),
    }
    assert examine(files, AFFECTED).unresolvable == ()
    older = {"setuptools-70.3.0.dist-info/METADATA": ""}
    assert [each.name for each in examine(files, older).unresolvable] == ["a", "jaraco.text"]


def test_only_the_pkg_resources_that_is_imported_brings_something_along() -> None:
    """Each of two setuptools has one, and they bring different distributions."""
    own = {**AFFECTED, **installed("a-1.0", "a", ["inflect"]), "pkg_resources/__init__.py": ""}
    brought = "setuptools/_vendor/inflect-7.3.1.dist-info/METADATA"
    below = {**AFFECTED, "pkg_resources/__init__.py": "", brought: metadata("inflect")}
    tree = MemoryTree({**under("own", own), **under("below", below)})
    assert [each.name for each in diagnose(tree, ["own", "below"]).unresolvable] == ["a"]
    assert diagnose(tree, ["below", "own"]).unresolvable == ()


def test_eggs_that_are_directories_are_asked_for_on_the_path_and_beside_it() -> None:
    files = {
        "easy-install.pth": "./on.path-1.0-py3.11.egg\n",
        "on.path-1.0-py3.11.egg/EGG-INFO/PKG-INFO": metadata("on.path", "1.0"),
        "on.path-1.0-py3.11.egg/EGG-INFO/requires.txt": "oslo.service\n",
        "on.path-1.0-py3.11.egg/EGG-INFO/entry_points.txt": "[drivers]\nx = y:z\n",
        "beside-2.0-py3.11.egg/EGG-INFO/PKG-INFO": metadata("beside", "2.0"),
        "beside-2.0-py3.11.egg/EGG-INFO/requires.txt": "missing\n",
    }
    diagnosis = examine(INCIDENT, files)
    missing = {each.name: each.missing for each in diagnosis.unresolvable}
    assert missing["on.path"] == ("oslo.service",)
    assert missing["beside"] == ("missing",)
    assert EntryPoint("drivers", "x", "on.path") in diagnosis.entry_points


def test_what_an_egg_link_leads_to_is_installed() -> None:
    """pkg_resources activates it, although no .pth file names its directory."""
    files = {**installed("a-1.0", "a", ["linked"]), "linked.egg-link": "/src\n.\n", **AFFECTED}
    source = {
        "/src/linked.egg-info/PKG-INFO": metadata("linked", "2.0"),
        "/src/linked.egg-info/requires.txt": "missing\n",
    }
    diagnosis = diagnose(MemoryTree({**under(SITE, files), **source}), [SITE])
    missing = {each.name: each.missing for each in diagnosis.unresolvable}
    assert missing == {"a": ("missing",), "linked": ("missing",)}


def test_entry_points_that_pkg_resources_cannot_read_are_not_listed() -> None:
    files = {
        **INCIDENT,
        "magnum-20.0.dist-info/entry_points.txt": "[no-group]\na = b\n[g]\na = b\n",
    }
    names = {each.distribution for each in examine(files).entry_points}
    assert names == {"magnum-cluster-api"}


@pytest.mark.parametrize("version", ["59.6.0", "75.8.0"])
def test_what_is_reported_comes_in_the_order_of_the_directories(version: str) -> None:
    """Whatever setuptools sorts them by."""
    parts = [installed(f"{name}-1.0", name, ["missing"]) for name in "bac"]
    setuptools = {f"setuptools-{version}.dist-info/METADATA": metadata("setuptools", version)}
    unresolvable = examine(*parts, setuptools).unresolvable
    assert [each.name for each in unresolvable] == ["a", "b", "c"]


def test_what_a_pth_file_leads_to_counts() -> None:
    files = {
        "src.pth": "../../../src\n",
        **installed("a-1.0", "a", ["edited.here"]),
        **AFFECTED,
    }
    source = {"src/edited.here.egg-info/PKG-INFO": metadata("edited.here", "2.0")}
    assert diagnose(MemoryTree({**under(SITE, files), **source}), [SITE]).unresolvable == ()
    (only,) = diagnose(MemoryTree(under(SITE, files)), [SITE]).unresolvable
    assert only.name == "a"


def test_markers_are_evaluated_for_the_environment_s_python() -> None:
    requires = ["no.old ; python_version < '3.9'", "no.new ; python_version >= '3.13'"]
    files = {**installed("a-1.0", "a", requires), **AFFECTED}
    for series, missing in (("3.8", {"no.old"}), ("3.11", set()), ("3.13", {"no.new"})):
        site = f"lib/python{series}/site-packages"
        found = diagnose(MemoryTree(under(site, files)), [site]).unresolvable
        assert {name for each in found for name in each.missing} == missing
    found = diagnose(MemoryTree(under("s", files)), ["s"], python="3.8.1").unresolvable
    assert [each.missing for each in found] == [("no.old",)]


def test_the_diagnosis_agrees_with_pkg_resources(tmp_path: Path) -> None:
    site = write({**INCIDENT, **installed("a-1.0", "a", ["no"])}, tmp_path / SITE)
    diagnosis = diagnose(DiskTree(), [str(site)])
    names = ["magnum", "magnum-cluster-api", "oslo.service", "pbr", "a", "setuptools"]
    real = installed_pkg_resources().outcomes([site], names)
    assert {each.name for each in diagnosis.unresolvable} == {
        name for name, (error, _) in real.items() if error == "DistributionNotFound"
    }


# --- the lookups beside require -----------------------------------------------------------------

KEY_LOOKUPS = ("by_key", "Environment", "in Requirement", "project_name")
OSLO = installed("oslo_cache-3.10.2", "oslo.cache")


def test_from_75_8_2_on_four_lookups_do_not_find_a_normalized_name() -> None:
    diagnosis = examine(OSLO, FIXED)
    assert diagnosis.lookups == (Lookups("oslo.cache", "3.10.2", KEY_LOOKUPS),)
    assert diagnosis.by_require_only == [*diagnosis.lookups]
    assert not diagnosis.broken
    assert examine(installed("oslo.cache-3.10.2", "oslo.cache"), FIXED).lookups == ()


def test_a_name_is_reported_whatever_else_its_distribution_lacks() -> None:
    diagnosis = examine(installed("oslo_cache-3.10.2", "oslo.cache", ["pbr"]), FIXED)
    assert diagnosis.by_require_only == [Lookups("oslo.cache", "3.10.2", KEY_LOOKUPS)]
    assert [each.name for each in diagnosis.refused] == ["oslo.cache"]
    assert examine(installed("six-1.0", "six", ["pbr"]), FIXED).by_require_only == []


@pytest.mark.parametrize(
    ("python", "release", "failing"),
    [("3.12.1", "66.0.0", ["setuptools"]), ("3.12.1", "66.1.0", []), ("3.11.9", "44.1.1", [])],
)
def test_python_3_12_cannot_import_an_old_pkg_resources(
    python: str, release: str, failing: list[str]
) -> None:
    path = f"s/setuptools-{release}.dist-info/METADATA"
    tree = MemoryTree({path: metadata("setuptools", release)})
    found = diagnose(tree, "s", python=python)
    assert [each.name for each in found.failures] == failing
    assert [each.name for each in found.refused] == failing
    assert not found.broken


def test_before_75_8_2_every_lookup_misses_it_but_its_entry_points_are_seen() -> None:
    entry_points = "[plugins]\nx = m\n"
    files = installed("oslo_cache-3.10.2", "oslo.cache", entry_points=entry_points)
    (lookups,) = examine(files, AFFECTED).lookups
    assert {*lookups.failing} == {
        *KEY_LOOKUPS,
        *("require", "get_distribution", "best_match", "load_entry_point"),
    }
    assert examine(files, AFFECTED).by_require_only == []


@pytest.mark.parametrize(
    ("wanted", "broken"), [(">=3.14", True), (">=5", False), ("", False)], ids=str
)
def test_a_version_that_setuptools_brings_hides_a_normalized_name(
    wanted: str, *, broken: bool
) -> None:
    """A right name comes first on `sys.path`: it helps if that version is the required one."""
    tree = MemoryTree(
        under(
            SITE,
            installed("setuptools-80.9.0", "setuptools"),
            {"setuptools/__init__.py": "", "pkg_resources/__init__.py": ""},
            under("setuptools/_vendor", installed("jaraco.text-3.12.1", "jaraco.text")),
            installed("jaraco_text-4.3.0", "jaraco.text"),
            installed("irc-20.5.0", "irc", [f"jaraco.text{wanted}"]),
        )
    )
    found = diagnose(tree, [SITE])
    assert found.broken == broken
    assert [one.hidden for one in found.hidden] == [("jaraco.text",)] * broken
    assert [one.name for one in found.wrong] == ["jaraco.text"] * broken
    assert [one.name for one in found.failures] == (["irc"] if wanted == ">=5" else [])


@pytest.mark.parametrize("extras", ["[psutil]", "[given, psutil]"])
def test_a_script_with_an_extra_that_nobody_can_install_is_not_about_names(extras: str) -> None:
    """pyroute2 has one: its METADATA has no such extra."""
    entry_points = f"[console_scripts]\nss2 = m:run {extras}\n"
    files = installed("pyroute2-0.8.1", "pyroute2", extras=["given"], entry_points=entry_points)
    assert examine(files, FIXED).lookups == ()


def test_excluded_names_and_what_setuptools_brings_along_are_not_looked_up() -> None:
    vendored = under("setuptools/_vendor", installed("jaraco_text-4.0", "jaraco.text"))
    tree = MemoryTree(under(SITE, OSLO, FIXED, vendored))
    found = diagnose(tree, [SITE], excluded=lambda name: name == "oslo.cache")
    assert found.lookups == ()


@pytest.mark.parametrize("stem", ["foo.bar-1.0", "Foo.Bar-1.0", "FOO.bar-1.0"])
@pytest.mark.parametrize("setuptools", [AFFECTED, FIXED])
def test_what_every_lookup_finds_is_not_reported(stem: str, setuptools: Files) -> None:
    assert examine(installed(stem, "Foo.Bar"), setuptools).lookups == ()
    assert kinds(installed(stem, "Foo.Bar"), setuptools) == []


@pytest.mark.parametrize(
    ("version", "setuptools", "broken"),
    [("1.0.1", FIXED, True), ("1.0.1", AFFECTED, True), ("2.0.0", FIXED, False)],
)
def test_a_program_that_is_known_to_fail_breaks_the_environment(
    version: str, setuptools: Files, *, broken: bool
) -> None:
    plug = installed("acme_plug-1.0", "acme.plug", entry_points="[z3c.autoinclude.plugin]\nt = p\n")
    loader = installed(f"plone.autoinclude-{version}", "plone.autoinclude")
    diagnosis = examine(plug, OSLO, loader, setuptools)
    assert [(each.name, each.affects) for each in diagnosis.programs] == (
        [("plone.autoinclude", ("acme.plug",))] if broken else []
    )
    assert examine(OSLO, loader, setuptools).programs == ()
    assert diagnosis.broken is (broken or setuptools is AFFECTED)


def test_a_name_whose_metadata_has_other_separators_is_listed_separately() -> None:
    files = (
        installed("acme_core-1.0", "acme-core"),
        installed("user-1.0", "user", ["acme.core"]),
    )
    (unresolvable,) = examine(*files, AFFECTED).unresolvable
    assert unresolvable.misspelled == ("acme.core",)
    assert unresolvable.hidden == ("acme.core",)
    (unresolvable,) = examine(OSLO, installed("u-1.0", "u", ["oslo-cache"]), AFFECTED).unresolvable
    assert unresolvable.name == "oslo.cache"
    assert unresolvable.misspelled == ()
    assert examine(*files, FIXED).unresolvable == ()


# --- the environment's own Python ---------------------------------------------------------------


def test_markers_are_evaluated_for_the_platform_of_the_image() -> None:
    requires = ["no; platform_machine == 'aarch64'", "nor; sys_platform == 'win32'"]
    tree = MemoryTree(under(SITE, installed("a-1.0", "a", requires), FIXED))
    missing = {
        platform: [each.missing for each in diagnose(tree, [SITE], platform=platform).unresolvable]
        for platform in ("linux/arm64", "linux/arm64/v8", "linux/amd64", "windows/amd64")
    }
    assert missing == {
        "linux/arm64": [("no",)],
        "linux/arm64/v8": [("no",)],
        "linux/amd64": [],
        "windows/amd64": [("nor",)],
    }


@pytest.mark.parametrize(("machine", "missing"), [(b"\xb7\0", 1), (b"\x3e\0", 0), (b"\0\0", 0)])
def test_markers_are_evaluated_for_the_machine_of_the_interpreter(
    machine: bytes, missing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="x86_64"))
    requires = ["no; platform_machine == 'aarch64'"]
    files = under(SITE, installed("a-1.0", "a", requires), FIXED)
    files["bin/python3"] = b"\x7fELF" + b"\0" * 14 + machine
    assert len(diagnose(MemoryTree(files), [SITE]).unresolvable) == missing


def test_the_distributions_in_the_standard_library_of_pypy_are_installed() -> None:
    """PyPy has a `cffi.dist-info` there, without a version in its name and without RECORD."""
    site = "lib/pypy3.9/site-packages"
    tree = MemoryTree(
        {
            **under(f"v/{site}", installed("a-1.0", "a", ["cffi>=1"]), FIXED),
            "v/pyvenv.cfg": "home = /usr/bin\n",
            "usr/lib/pypy3.9/os.py": "",
            "usr/lib/pypy3.9/cffi.dist-info/METADATA": metadata("cffi", "1.15.1"),
        }
    )
    diagnosis = diagnose(tree, [f"v/{site}"])
    assert (diagnosis.unresolvable, diagnosis.unreadable) == ((), ())
    assert diagnosis.distributions == 2


# --- trees --------------------------------------------------------------------------------------


def test_every_kind_of_tree_is_diagnosed_alike(tmp_path: Path) -> None:
    files = under(
        SITE, INCIDENT, installed("a.b-info", "a.b"), installed("c_d-1", "c.d", code=False)
    )
    in_memory = diagnose(MemoryTree(files))
    assert in_memory.site_packages == (SITE,)
    assert len(in_memory.findings) == 3
    assert len(in_memory.unresolvable) == 4
    assert diagnose(ZipTree(write_zip(files, tmp_path / "tree.zip"))) == in_memory
    assert diagnose(DiskTree(str(write(files, tmp_path / "disk")))) == in_memory


def test_where_there_is_no_pkg_resources_metadata_and_record_are_all_that_is_read() -> None:
    names = ["pbr-6.1", "six-1.16.0", "Babel-2.1", "x-1!2.0+local"]
    last = {"setuptools-82.0.0.dist-info/METADATA": metadata("setuptools", "82.0.0")}
    tree = MemoryTree(under(SITE, *[installed(n, n.split("-")[0]) for n in names], last))
    diagnosis = diagnose(tree, [SITE])
    assert (diagnosis.distributions, diagnosis.findings) == (5, ())
    assert {posixpath.basename(path) for path in tree.asked} == {"METADATA", "RECORD"}


def test_a_record_of_another_directory_is_found_whatever_the_name() -> None:
    files = under(SITE, installed("Babel-2.1", "Babel", record="babel-2.1"), FIXED)
    (finding,) = diagnose(MemoryTree(files), [SITE]).findings
    assert (finding.kind, finding.name) == ("stale-record", "Babel")


@pytest.mark.parametrize("setuptools", [AFFECTED, FIXED])
def test_what_require_refuses_is_reported_where_every_name_is_right(setuptools: Files) -> None:
    diagnosis = examine(
        installed("a-1.0", "a", ["b>=2"]),
        installed("b-1.0", "b", ["nowhere"]),
        installed("c.d-1.0", "c.d"),
        setuptools,
    )
    refused = {each.name: each for each in diagnosis.refused}
    assert refused == {
        "a": Failure("a", "1.0", "VersionConflict", "b>=2 is required, and 1.0 is installed"),
        "b": Unresolvable("b", "1.0", ("nowhere",), ("nowhere",)),
    }
    assert not diagnosis.broken
    assert examine(installed("a-1.0", "a", ["b>=2"]), installed("b-1.0", "b")).refused == []


@pytest.mark.parametrize(
    ("place", "extra", "version"),
    [
        ("v/lib/python3.9/site-packages", {"v/pyvenv.cfg": "version_info = 3.9.18\n"}, "3.9.18"),
        ("v/lib64/python3.9/site-packages", {"v/pyvenv.cfg": "home = x\nversion = 3.9.1\n"}, "3.9.1"),
        ("lib/python3.13t/site-packages", {"pyvenv.cfg": "version = 3.13.2\n"}, "3.13.2"),
        ("v/Lib/site-packages", {"v/pyvenv.cfg": "version = 3.12.0.final.0\n"}, "3.12.0"),
        ("usr/lib/python3.10/site-packages", {}, "3.10.99"),
        ("/usr/lib/pypy3.10/site-packages", {}, "3.10.99"),
        (
            "usr/local/lib/python3.11/site-packages",
            {"usr/local/include/python3.11/patchlevel.h": '#define PY_VERSION "3.11.4"\n'},
            "3.11.4",
        ),
        ("usr/lib/python3/dist-packages", {"usr/lib/python3.9/os.py": "", "usr/lib/python3.11/os.py": ""}, "3.11.99"),
        ("anywhere", {}, ".".join(map(str, sys.version_info[:3]))),
    ],
)  # fmt: skip
def test_the_version_of_python_is_read_from_the_tree(
    place: str, extra: Files, version: str
) -> None:
    assert version_of(MemoryTree({f"{place}/x.py": "", **extra}), [place]) == version


def test_site_packages_are_found_in_the_usual_places() -> None:
    tree = MemoryTree(
        {
            "lib/python3.11/site-packages/a.py": "",
            "lib64/python3.11/site-packages/a.py": "",
            "lib/python3/dist-packages/b.py": "",
            "lib/pypy3.10/site-packages/c.py": "",
            "local/lib/python3.11/dist-packages/d.py": "",
            "lib/python3.11/os.py": "",
        }
    )
    assert site_packages_in(tree) == [
        "lib/pypy3.10/site-packages",
        "lib/python3/dist-packages",
        "lib/python3.11/site-packages",
        "local/lib/python3.11/dist-packages",
    ]
    assert site_packages_in(MemoryTree({"Lib/site-packages/x": ""})) == ["Lib/site-packages"]
    assert site_packages_in(MemoryTree({"pbr-1.dist-info/METADATA": ""})) == ["."]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "FileNotFoundError"),
        ("Name: foo bar\nRequires-Dist: nonexist\n", None),
        ("Name: foo\nName: foo\nRequires-Dist: nonexist\n", None),
    ],
)
def test_what_require_fails_for_without_a_metadata_that_tells_its_name(
    content: str | None, error: str | None
) -> None:
    """It breaks nothing by its name, but counts with --strict."""
    name = "METADATA" if content else "WHEEL"
    found = examine({f"foo-1.0.dist-info/{name}": content or ""}, AFFECTED)
    assert (found.findings, found.unreadable, found.broken) == ((), (), False)
    assert [each.path for each in found.invalid] == [f"{SITE}/foo-1.0.dist-info"]
    (refused,) = found.refused
    assert (refused.name, refused.version) == ("foo", "1.0")
    assert getattr(refused, "error", None) == error


@pytest.mark.parametrize("denied", ["", "METADATA"])
def test_what_may_not_be_read_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denied: str
) -> None:
    stem = "foo-1.0.dist-info"
    write({**installed("foo-1.0", "foo"), **installed("a_b-1.0", "a.b"), **AFFECTED}, tmp_path)
    really = os.open

    def refuse(path: str, *flags: int) -> int:
        if f"{stem}/{denied}" in str(path) or "a_b-1.0.dist-info/METADATA" in str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return really(path, *flags)

    monkeypatch.setattr(os, "open", refuse)
    found = diagnose(DiskTree(), [tmp_path])
    (unreadable,) = found.unreadable
    assert unreadable.reason == "permission denied (METADATA)"
    (failure,) = found.failures
    assert (failure.name, failure.error) == ("foo", "PermissionError")


def test_a_setuptools_without_its_pkg_resources_has_none() -> None:
    files = {**installed("a_b-1.0", "a.b"), **AFFECTED, "setuptools/__init__.py": ""}
    assert examine(files).affected is False
    assert examine({**files, "pkg_resources/__init__.py": ""}).affected is True


def test_of_two_metadata_directories_of_setuptools_the_newest_counts() -> None:
    left = {"setuptools-9.0.dist-info/METADATA": metadata("setuptools", "9.0")}
    assert examine(FIXED, AFFECTED, left).setuptools == "80.9.0"
