"""How installed requirements spell names, and the report on it before setuptools 62."""

from __future__ import annotations

import pytest

from tests.corpus import Files, MemoryTree, installed, metadata, under
from uvshim.check import required
from uvshim.check.diagnosis import Diagnosis, diagnose
from uvshim.check.required import Spelling

SITE = "lib/python3.10/site-packages"
INTERFACE = installed("zope_interface-7.0", "zope.interface")
TWISTED = installed("twisted-25.5.0", "Twisted", ["zope-interface>=5"])


def setuptools(version: str) -> Files:
    return {f"setuptools-{version}.dist-info/METADATA": metadata("setuptools", version)}


OLD = setuptools("59.6.0")


def keys(*parts: Files) -> set[str]:
    spellings = required.spellings(MemoryTree(under(SITE, *parts)), [SITE])
    assert spellings is not None
    return set(spellings.required)


def examine(*parts: Files) -> Diagnosis:
    return diagnose(MemoryTree(under(SITE, *parts)), [SITE])


@pytest.mark.parametrize("version", ["44.1.1", "59.6.0", "61.3.1"])
def test_a_name_that_is_required_as_it_is_spelled_is_not_wrong(version: str) -> None:
    diagnosis = examine(INTERFACE, TWISTED, setuptools(version))
    assert keys(INTERFACE, TWISTED, setuptools(version)) == {"zope-interface"}
    assert diagnosis.findings == ()
    assert [each.name for each in diagnosis.unresolvable] == ["zope.interface"]  # by itself
    assert diagnosis.spellings == (  # which says why it is not found, and what would help
        Spelling("zope.interface", "zope-interface", found=True, by=("Twisted",)),
    )


@pytest.mark.parametrize("version", ["62.0.0", "62.6.0", "75.8.0", "80.9.0"])
def test_from_setuptools_62_on_no_spelling_matters(version: str) -> None:
    files = (INTERFACE, TWISTED, setuptools(version))
    later = SITE.replace("3.10", "3.11")
    assert required.spellings(MemoryTree(under(later, *files)), [later]) is None
    # On an older Python, one before 62 may come: the name in the wheel is kept.
    found = required.spellings(MemoryTree(under(SITE, *files)), [SITE])
    assert found
    assert not found.required
    assert [each.kind for each in examine(*files).findings] == ["normalized-name"]
    assert examine(*files).spellings == ()


@pytest.mark.parametrize(
    ("library", "version", "expected"),
    [
        ("python3.10", "59.6.0", {"zope-interface"}),
        ("python3.10", "62.0.0", set()),  # an older one may replace it
        ("python3.10", None, set()),  # one may be installed later
        ("python3.10", "82.0.0", set()),
        ("python3.11", None, None),  # too new for one that finds one spelling only
        ("python3.11", "62.0.0", None),
    ],
)
def test_spelling_matters_where_a_pkg_resources_finds_one_only_or_may_come(
    library: str, version: str | None, expected: set[str] | None
) -> None:
    site = f"lib/{library}/site-packages"
    files = under(site, TWISTED, setuptools(version) if version else {})
    found = required.spellings(MemoryTree(files), [site])
    assert (found and set(found.required)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [("by_key.get(req.key)", {"zope-interface"}), ("normalized_to_canonical_keys", None)],
)
def test_a_pkg_resources_without_setuptools_tells_by_its_source(
    source: str, expected: set[str] | None
) -> None:
    site = "lib/python3.11/site-packages"
    files = under(site, TWISTED, {"pkg_resources/__init__.py": source})
    found = required.spellings(MemoryTree(files), [site])
    assert (found and set(found.required)) == expected


@pytest.mark.parametrize("other", ["zope.interface", "zope-event"])
def test_a_name_that_no_one_requires_as_it_is_spelled_is_wrong(other: str) -> None:
    user = installed("user-1.0", "user", [other])
    assert "zope-interface" not in keys(INTERFACE, user, OLD)
    assert [each.kind for each in examine(INTERFACE, user, OLD).findings] == ["normalized-name"]


def test_if_spellings_disagree_the_name_in_the_wheel_stays_and_the_rest_is_reported() -> None:
    users = [installed(f"user{n}-1.0", f"user{n}", ["zope.interface"]) for n in range(3)]
    diagnosis = examine(INTERFACE, TWISTED, *users, OLD)
    assert diagnosis.findings == ()
    assert diagnosis.broken
    assert diagnosis.spellings == (
        Spelling("zope.interface", "zope-interface", found=True, by=("Twisted",)),
        Spelling("zope.interface", "zope.interface", found=False, by=("user0", "user1", "user2")),
    )


def test_a_dotted_name_in_the_wheel_is_right_whatever_is_required() -> None:
    diagnosis = examine(installed("zope.interface-7.0", "zope.interface"), TWISTED, OLD)
    assert diagnosis.findings == ()
    assert diagnosis.spellings == (
        Spelling("zope.interface", "zope-interface", found=False, by=("Twisted",)),
    )


def test_a_name_that_a_rename_changed_is_wrong_once_the_original_is_required() -> None:
    renamed = installed("zope.interface-7.0", "zope.interface")
    original = {"zope.interface-7.0.dist-info/ORIGINAL.uvshim": "zope_interface-7.0.dist-info\n"}
    assert examine(renamed, original, OLD).findings == ()
    (finding,) = examine(renamed, original, TWISTED, OLD).findings
    assert (finding.kind, finding.expected) == ("misnamed", "zope_interface-7.0.dist-info")


def test_what_any_extra_requires_counts() -> None:
    needs = ["zope-interface; extra == 'x'", "missing; extra == 'y'", "zope-event; extra == 'y'"]
    user = installed("user-1.0", "user", needs, ["x", "y"])
    assert keys(user, OLD) == {"zope-interface", "zope-event", "missing"}


def test_what_another_python_needs_does_not_count() -> None:
    user = installed("user-1.0", "user", ["zope-interface; python_version < '3'"])
    assert keys(INTERFACE, user, OLD) == set()


def test_a_distribution_that_cannot_be_read_requires_nothing() -> None:
    user = installed("user-1.0", "user", ["zope-interface", "?"])
    assert keys(INTERFACE, user, TWISTED, OLD) == {"zope-interface"}
    assert keys(INTERFACE, user, OLD) == set()


def test_the_requirements_of_egg_info_count() -> None:
    egg = {
        "user-1.0.egg-info/PKG-INFO": metadata("user"),
        "user-1.0.egg-info/requires.txt": "zope-interface\n",
    }
    assert keys(INTERFACE, egg, OLD) == {"zope-interface"}
