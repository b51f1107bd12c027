"""The table of what each release of setuptools does, and how a copy without a release is recognized."""

from __future__ import annotations

import pytest

from uvshim.rename.setuptools import PkgResources


@pytest.mark.parametrize(
    ("version", "needs_dots", "finds_every_spelling"),
    [
        ("44.1.1", True, False),
        ("61.3.1", True, False),
        ("62.0.0", True, True),
        ("75.8.1", True, True),
        ("75.8.2", False, True),
        ("81.0.0", False, True),
        ("75.9.0b1", False, True),
    ],
)
def test_what_requirement_lookups_find(
    version: str, *, needs_dots: bool, finds_every_spelling: bool
) -> None:
    found = PkgResources.of_version(version)
    assert found.exists
    assert (found.needs_dots, found.finds_every_spelling) == (needs_dots, finds_every_spelling)


@pytest.mark.parametrize("version", ["82.0.0", "100", "unknown", ""])
def test_without_pkg_resources_nothing_can_be_missed(version: str) -> None:
    found = PkgResources.of_version(version)
    assert not found.exists
    assert (found.needs_dots, found.finds_every_spelling) == (False, True)


@pytest.mark.parametrize(
    ("code", "release", "vendored"),
    [
        ("", (61,), None),
        ("self.normalized_to_canonical_keys", (62,), None),
        ("normalized_to_canonical_keys\nfor entry in sorted(entries)", (66,), None),
        ("in sorted(entries)\n_forgiving_parsed_version", (67, 5, 1), None),
        ("'setuptools', '_vendor')) not in sys.path", (71,), "setuptools/_vendor"),
        (
            "'setuptools', '_vendor')) not in sys.path\nsafe_name(req.key).replace(\".\", \"-\")",
            (75, 8, 2),
            "setuptools/_vendor",
        ),
        (
            "'pkg_resources', '_vendor')) not in sys.path\n.replace(\".\", \"-\")",
            (75, 8, 2),
            "pkg_resources/_vendor",
        ),
    ],
)
def test_a_copy_is_recognized_by_its_source(
    code: str, release: tuple[int, ...], vendored: str | None
) -> None:
    found = PkgResources.of_source(code.encode())
    assert (found.release, found.vendored) == (release, vendored)
