"""What a dist-info directory should be called: the rules, and that they agree with pkg_resources."""

from __future__ import annotations

import os
import re
import string
import tracemalloc
from email.parser import Parser
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from pkg_resources import Distribution, safe_name

from tests.corpus import MemoryTree
from uvshim.check import distributions
from uvshim.check.metadata import wanted_fields
from uvshim.rename import names
from uvshim.rename.names import MetadataError, expected, parse_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

LETTERS = string.ascii_letters + string.digits
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?", fullmatch=True)
VERSIONS = st.from_regex(
    r"([0-9]!)?[0-9]{1,3}(\.[0-9]{1,3}){0,3}(rc1|\.post1|\.dev0)?(\+ab_1)?", fullmatch=True
)


@pytest.mark.parametrize(
    ("directory", "name", "version", "wanted"),
    [
        ("oslo_cache-3.10.2", "oslo.cache", "3.10.2", "oslo.cache-3.10.2"),
        ("oslo.cache-3.10.2", "oslo.cache", "3.10.2", "oslo.cache-3.10.2"),
        (
            "xstatic_jquery_tablesorter-2.1",
            "XStatic-JQuery.TableSorter",
            "2.1",
            "XStatic_JQuery.TableSorter-2.1",
        ),
        (
            "backports_entry_points_selectable-1",
            "backports.entry_points_selectable",
            "1",
            "backports.entry_points_selectable-1",
        ),
        # No dot: right in any case and spelling.
        ("Plain_Name-1.0", "plain-name", "1.0", "Plain_Name-1.0"),
        # The directory's own version is the wheel's; METADATA's may be spelt in another way.
        ("zope_event-5.0", "zope.event", "5.0.0", "zope.event-5.0"),
        # What wrong renames have made of directories.
        ("oslo.cache-info", "oslo.cache", "3.10.2", "oslo.cache-3.10.2"),
        ("oslo.cache-", "oslo.cache", "3.10.2", "oslo.cache-3.10.2"),
        ("oslo.cache", "oslo.cache", "3.10.2", "oslo.cache-3.10.2"),
        ("oslo.cache-info", "oslo.cache", "3.10.2-1", "oslo.cache-3.10.2.post1"),
        # Whatever packaging reads is a version; a ``-`` is not written.
        ("foo-1.0-1", "foo", "1.0-1", "foo-1.0-1"),
        ("foo_bar-1.0-1", "foo.bar", "1.0-1", "foo.bar-1.0.post1"),
        ("foo_bar-1.0_1", "foo.bar", "1.0-1", "foo.bar-1.0.post1"),
        ("foo-v1.5", "foo", "v1.5", "foo-v1.5"),
        ("foo_bar-v1.5", "foo.bar", "v1.5", "foo.bar-v1.5"),
        ("a-1-2", "a-1", "2", "a_1-2"),
        # There is no better name.
        ("foo-0.0.0-dirty", "foo", "0.0.0-dirty", "foo-0.0.0-dirty"),
        ("foo.bar-0.0.0_dirty", "foo.bar", "0.0.0-dirty", "foo.bar-0.0.0_dirty"),
        ("foo-r123", "foo", "r123", "foo-r123"),
        (
            "XStatic-JQuery.TableSorter-2.1",
            "XStatic-JQuery.TableSorter",
            "2.1",
            "XStatic_JQuery.TableSorter-2.1",
        ),
        ("plain-name-1.0", "plain-name", "1.0", "plain_name-1.0"),
        ("a_b-1!2.0+local.1", "a.b", "", "a.b-1!2.0+local.1"),
    ],
)
def test_a_directory_is_called_by_the_dotted_name_and_its_own_version(
    directory: str, name: str, version: str, wanted: str
) -> None:
    assert expected(f"{directory}.dist-info", name, version) == f"{wanted}.dist-info"


@pytest.mark.parametrize(
    ("directory", "name", "version"),
    [
        ("other_name-1.0", "oslo.cache", "1.0"),
        ("oslo-1.0", "oslo.cache", "1.0"),
        ("oslo_cache_extra-1.0", "oslo.cache", "1.0"),
        ("oslo.cache-info", "oslo.cache", ""),
        ("oslo.cache-info", "oslo.cache", "../../etc"),
        ("oslo.cache-info", "oslo.cache", "1.0/2"),
        ("oslo.cache-info", "oslo.cache", "unknown"),
        ("oslo_cache-unknown", "oslo.cache", "unknown"),
        ("oslo_cache-1.0-5-gabc", "oslo.cache", "1.0-5-gabc"),
        ("oslo.cache-info", "oslo.cache", "1.0\n"),
        ("a_b-1.0", "a" + "." * 240 + "b", "1.0"),
    ],
)
def test_a_directory_of_another_name_or_without_a_version_is_refused(
    directory: str, name: str, version: str
) -> None:
    with pytest.raises(MetadataError):
        expected(f"{directory}.dist-info", name, version)


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"\n\nName: a.b\n",
        b"Metadata-Version: 2.1\n",
        b"Metadata-Version: 2.1\n\nName: a.b\n",
        b"Name: a.b\nName: a.c\n",
        b"Name: a.b\nname: a.b\n",
        b"Name: ../../a.b\n",
        b"Name: /etc/a.b\n",
        b"Name: a/b\n",
        b"Name: a\\b\n",
        b"Name:\n",
        b"Name: .\n",
        b"Name: ..\n",
        b"Name: a.b \x00\n",
        b"Name: a\x1b[31m.b\n",
        b"Name: a.b\xff\n",
        "Name: osl\u043e.cache\n".encode(),  # a Cyrillic letter
        "Name: a\u202e.b\n".encode(),
        "Name: \u017flo.cache\n".encode(),  # a long s, which is equal to `s` without case
        "Name: a.b\n".encode("utf-16"),
        b"Name: -a.b\n",
        b"Name: a.b-\n",
        b" Name: a.b\n",
        b"Name a.b\n",
    ],
)
def test_a_name_that_is_missing_doubled_or_invalid_is_refused(metadata: bytes) -> None:
    with pytest.raises(MetadataError) as refused:
        parse_metadata(metadata)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


def test_a_name_is_read_in_any_case_with_any_line_ends_and_spaces_around() -> None:
    for metadata in (
        b"Metadata-Version: 2.1\nName: a.b\nVersion: 1\n\nName: other\n",
        b"Metadata-Version: 2.1\r\nNAME:  a.b \r\nVersion: 1\r\n\r\nName: other\r\n",
        b"name:a.b\nversion:1",
        b"Summary: long\n  Name: other\nName: a.b\nVersion: 1\n",
        b"Author: \xff\xfe\nName: a.b\nVersion: 1\n",
    ):
        assert parse_metadata(metadata) == ("a.b", "1")
    assert parse_metadata(b"Name: a.b\nVersion: 1\nVersion: 2\n") == ("a.b", "")


WANTED = {"requires-dist", "provides-extra"}
LINES = st.sampled_from(
    [
        "Requires-Dist: a.b",
        "REQUIRES-DIST:b",
        "provides-extra:  z ",
        "Requires-Di\u017ft: c",
        "X-y: z",
        " folded",
        "\tfolded",
        "",
        " ",
        "no field",
        "a b: c",
        ":",
        "Ü: x",
    ]
)


# A METADATA as build backends write it, and everything near it.
HEADS = st.lists(
    st.sampled_from(
        [
            *("Metadata-Version: 2.1\n", "Name: a.b\n", "Version: 1.0\n", "Summary: x\n"),
            *("name: b\n", "VERSION: 2\n", "Name:c\n", " folded\n", "\tfolded\n", "\n", "no field\n"),
            *("\r\n", "\r", "Name: a_\n", "Version: 1-1\n", "Name: a\x1cb\n", "Name: é\n", "X: \x0bName: d\n"),
            *("Version: 1.0", "Name: a.b", "Metadata-Version: 2.1", "Metadata-Version: \nName: x\n"),
        ]
    ),
    max_size=9,
).map("".join)  # fmt: skip


@given(HEADS)
@example("Metadata-Version: 2.1\nName: a.b\nVersion: 1.0\n")
@example("Metadata-Version: 2.1\nName: a.b\nVersion: 1.0\n folded\n")
@example("Metadata-Version: 2.1\nName: a.b\nVersion: 1.0\nX: y\nname: b\n")
@example("Metadata-Version: 2.1\nName: a.b\nVersion: 1.0\nX: y\n\nname: b\n")
@example("Metadata-Version: 2.1\nName: a.b\nVersion: 1.0\nno field\nname: b\n")
@example("Metadata-Version: 2.1\nName: a.b\nVersion: 1.0\rname: b\n")
def test_the_fast_way_to_read_a_name_agrees_with_the_standard_library_or_declines(
    text: str,
) -> None:
    metadata = text.encode()
    try:
        by_email = names._parse_any(text)
    except MetadataError:
        by_email = ("", "")
    header = metadata.partition(b"\n\n")[0].partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")
    assert names._parse_usual(header) in {None, by_email}


def test_metadata_of_build_backends_is_read_the_fast_way() -> None:
    for end in (b"\n", b"\r\n"):
        lines = (b"Metadata-Version: 2.4", b"Name: a.b", b"Version: 1.0.post1", b"Summary: x", b"")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(names, "_parse_any", None)
            assert parse_metadata(end.join([*lines, b"\r"])) == ("a.b", "1.0.post1")


@given(st.lists(LINES, max_size=7), st.sampled_from(["\n", "\r\n", "\r"]))
@example(["Name: a", "", "Name: b"], "\n")
def test_the_fields_are_those_that_the_standard_library_reads(lines: list[str], end: str) -> None:
    text = "Metadata-Version: 2.1\n" + end.join(lines)

    def values(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        plain = ((name, re.sub(r"[\r\n]+", "\n", value).rstrip("\n")) for name, value in fields)
        return [(name.lower(), value) for name, value in plain if name.lower() in WANTED]

    read = wanted_fields(re.split(r"\n\n|\r\n\r\n", text)[0])
    assert values(read) == values(Parser().parsestr(text).items())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_long_description_is_not_taken_apart(end: str) -> None:
    text = f"Name: a.b{end}Version: 1{end}{end}" + f"x{end}" * 20_000
    (one,) = distributions.find(MemoryTree({"site/a.b-1.dist-info/METADATA": text}), "site")
    tracemalloc.start()
    try:
        assert one.header == (("a.b", "1"), (), ())
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@given(NAMES)
@example("a._.b")
@example("A-_-b")
@example("XStatic-JQuery.TableSorter")
def test_pkg_resources_reads_the_name_back_out_of_the_dotted_one(name: str) -> None:
    stem = names.dotted(name)
    assert safe_name(stem) == safe_name(name)
    assert canonicalize_name(stem) == canonicalize_name(name)
    assert "-" not in stem
    assert names.dotted(stem) == stem


@given(NAMES, VERSIONS)
def test_pkg_resources_finds_the_distribution_under_the_expected_directory(
    name: str, version: str
) -> None:
    normal = re.sub(r"[-_.]+", "_", name).lower()
    before = f"{normal}-{version}.dist-info"
    directory = expected(before, name, version)
    found = Distribution.from_location("", directory)
    if "." in name:
        assert found.key == safe_name(name).lower()
        was_found = Distribution.from_location("", before).key == found.key
        assert (directory == before) == was_found
    assert Version(found.version) == Version(version)
    assert expected(directory, name, version) == directory


@given(st.text(max_size=30))
@example("a._.b é--x")
def test_names_are_spelled_as_pkg_resources_spells_them(name: str) -> None:
    assert names.safe_name(name) == safe_name(name)
    assert names.key_of(name) == safe_name(name).lower()
    assert names.normalized(name) == canonicalize_name(name)
    assert names.dotted(name) == re.sub(r"[^A-Za-z0-9.]+", "_", name)
    valid = re.fullmatch(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", name, re.ASCII | re.IGNORECASE)
    assert names.is_project_name(name) == (name.isascii() and valid is not None)
    assert not names.is_version(f"{name}/1.0")


@given(st.text("0123456789abcdehlopqrstvw.-_+!", max_size=12))
@example("1.0.dev0.post1")
@example("1.0a1.rc2")
@example("1..0")
@example("1.")
@example("1.0a")
@example("\u0663.0")
@example("1.0\n")
def test_a_version_is_what_packaging_reads(version: str) -> None:
    try:
        Version(version)
        is_one = version.isascii() and version.isprintable() and " " not in version
    except InvalidVersion:
        is_one = False
    assert names.is_version(version) == is_one


@given(NAMES)
def test_names_are_normalized_as_everybody_normalizes_them(name: str) -> None:
    assert names.is_project_name(name)
    assert names.normalized(name) == canonicalize_name(name)


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
@example("a.b-info", "a.b", "..")
@example("a.b-1/../../c", "a.b", "1")
def test_no_directory_and_no_metadata_lead_out_of_the_directory(
    directory: str, name: str, version: str
) -> None:
    metadata = f"Name: {name}\nVersion: {version}\n".encode("utf-8", "surrogatepass")
    try:
        found = expected(f"{directory}.dist-info", *parse_metadata(metadata))
    except MetadataError:
        return
    if found != f"{directory}.dist-info":
        assert os.path.basename(found) == found
        assert set(found) <= set(LETTERS + "._-!+")
        assert not found.startswith(".")


@given(st.binary(max_size=300))
def test_whatever_the_bytes_metadata_is_read_or_refused(content: bytes) -> None:
    refusal = ""
    try:
        assert names.is_project_name(parse_metadata(content)[0])
    except MetadataError as refused:
        refusal = str(refused)
    assert refusal.isprintable()


@given(st.text())
@example("\x1b]0;title\x07")
@example("\u202eevil")
@example("\ud800")
def test_what_is_shown_of_foreign_text_can_be_printed(text: str) -> None:
    assert names.shown(text).isprintable()
    assert len(names.shown(text)) <= 80 * len("\\U00000000") + 2
