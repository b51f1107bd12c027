"""Which names a rename must leave findable, where pkg_resources finds each under one spelling."""

from __future__ import annotations

import pytest

from tests.corpus import Files, MemoryTree, installed, metadata, under
from uvshim.check import spelling
from uvshim.check.diagnosis import Diagnosis, diagnose
from uvshim.check.spelling import Spelling

SITE = "lib/python3.10/site-packages"
INTERFACE = installed("zope_interface-7.0", "zope.interface")
TWISTED = installed("twisted-25.5.0", "Twisted", ["zope-interface>=5"])


def setuptools(version: str) -> Files:
    return {f"setuptools-{version}.dist-info/METADATA": metadata("setuptools", version)}


OLD = setuptools("59.6.0")


def in_use(*parts: Files, stood: tuple[str, ...] = ()) -> frozenset[str]:
    return spelling.in_use(MemoryTree(under(SITE, *parts)), [SITE], stood=stood)


def examine(*parts: Files) -> Diagnosis:
    return diagnose(MemoryTree(under(SITE, *parts)), [SITE])


@pytest.mark.parametrize("version", ["44.1.1", "59.6.0", "61.3.1"])
def test_a_name_that_works_as_it_is_spelled_is_not_wrong(version: str) -> None:
    diagnosis = examine(INTERFACE, TWISTED, setuptools(version))
    assert "zope-interface" in in_use(INTERFACE, TWISTED, setuptools(version))
    assert diagnosis.findings == ()
    assert [each.name for each in diagnosis.unresolvable] == ["zope.interface"]  # by itself
    assert diagnosis.spellings == (  # which says why it is not found, and what would help
        Spelling("zope.interface", "zope-interface", found=True, by=("Twisted",)),
    )


@pytest.mark.parametrize("version", ["62.0.0", "62.6.0", "75.8.0", "80.9.0"])
def test_from_setuptools_62_on_no_spelling_matters(version: str) -> None:
    files = (INTERFACE, TWISTED, setuptools(version))
    assert in_use(*files) == frozenset()
    assert [each.kind for each in examine(*files).findings] == ["normalized-name"]
    assert examine(*files).spellings == ()


def test_without_a_pkg_resources_no_spelling_matters() -> None:
    assert in_use(INTERFACE, TWISTED) == frozenset()


def test_a_pkg_resources_without_setuptools_tells_by_its_source() -> None:
    old = {"pkg_resources/__init__.py": "by_key.get(req.key)"}
    newer = {"pkg_resources/__init__.py": "self.normalized_to_canonical_keys = {}"}
    assert "zope-interface" in in_use(INTERFACE, TWISTED, old)
    assert in_use(INTERFACE, TWISTED, newer) == frozenset()


def test_a_name_that_is_needed_with_its_dot_is_wrong_without() -> None:
    user = installed("user-1.0", "user", ["zope.interface"])
    assert in_use(INTERFACE, user, OLD).isdisjoint({"zope-interface"})
    assert [each.kind for each in examine(INTERFACE, user, OLD).findings] == ["normalized-name"]


def test_where_spellings_disagree_what_works_goes_on_and_the_rest_is_told() -> None:
    users = [installed(f"user{n}-1.0", f"user{n}", ["zope.interface"]) for n in range(3)]
    diagnosis = examine(INTERFACE, TWISTED, *users, OLD)
    assert diagnosis.findings == ()
    assert diagnosis.broken
    assert diagnosis.spellings == (
        Spelling("zope.interface", "zope-interface", found=True, by=("Twisted",)),
        Spelling("zope.interface", "zope.interface", found=False, by=("user0", "user1", "user2")),
    )


def test_a_directory_that_was_renamed_is_not_renamed_back() -> None:
    renamed = installed("zope.interface-7.0", "zope.interface")
    diagnosis = examine(renamed, TWISTED, OLD)
    assert diagnosis.findings == ()
    assert diagnosis.spellings == (
        Spelling("zope.interface", "zope-interface", found=False, by=("Twisted",)),
    )


def test_among_what_does_not_work_anyway_the_majority_decides() -> None:
    one = installed("one-1.0", "one", ["zope-interface", "missing"])
    two = installed("two-1.0", "two", ["zope.interface", "missing"])
    three = installed("three-1.0", "three", ["zope-interface", "missing"])
    assert "zope-interface" not in in_use(INTERFACE, one, two, OLD)
    assert "zope-interface" in in_use(INTERFACE, one, OLD)
    assert "zope-interface" in in_use(INTERFACE, one, two, three, OLD)


def test_what_an_extra_needs_counts_if_the_extra_works() -> None:
    needs = ["zope-interface; extra == 'x'", "missing; extra == 'y'", "zope-event; extra == 'y'"]
    user = installed("user-1.0", "user", needs, ["x", "y"])
    event = installed("zope_event-5.0", "zope.event")
    assert in_use(INTERFACE, event, user, OLD) & {"zope-interface", "zope-event"} == {
        "zope-interface"
    }


def test_what_another_python_needs_does_not_count() -> None:
    user = installed("user-1.0", "user", ["zope-interface; python_version < '3'"])
    assert "zope-interface" not in in_use(INTERFACE, user, OLD)


def test_a_dotted_name_that_stood_there_comes_back_for_what_needs_it() -> None:
    user = installed("user-1.0", "user", ["zope.interface"])
    assert "zope-interface" in in_use(INTERFACE, TWISTED, user, OLD)
    assert "zope-interface" not in in_use(INTERFACE, TWISTED, user, OLD, stood=("zope.interface",))


def test_the_requirements_of_egg_info_count() -> None:
    egg = {
        "user-1.0.egg-info/PKG-INFO": metadata("user"),
        "user-1.0.egg-info/requires.txt": "zope-interface\n",
    }
    assert "zope-interface" in in_use(INTERFACE, egg, OLD)
