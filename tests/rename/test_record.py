"""RECORD: read and written as uv does, torn or not, and told of other names of a directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from installer.records import parse_record_file

from uvshim.rename import record
from uvshim.rename.record import Record, RecordError, Row

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OLD, NEW = "a_b-1.dist-info", "a.b-1.dist-info"
RECORD = f"""\
a_b/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
{OLD}/METADATA,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,12
{OLD}/RECORD,,
"""

# File names as anybody may choose them, if only they are UTF-8.
COMPONENTS = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda part: part not in {".", ".."})
PATHS = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)
OWN = st.lists(COMPONENTS, min_size=1, max_size=3).map(lambda parts: "/".join([OLD, *parts]))
HASHES = st.sampled_from(["", "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"])


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Draw the rows of a RECORD: every path once."""
    paths = draw(st.lists(st.one_of(PATHS, OWN), min_size=1, max_size=12, unique=True))
    return [Row(path, draw(HASHES), draw(st.sampled_from(["", "0", "12"]))) for path in paths]


def listing(rows: Iterable[Row]) -> Record:
    """Return the record that lists `rows`."""
    rows = list(rows)
    rest = ["\0".join(row) for row in rows if ".dist-info" not in "".join(row)]
    return Record([row for row in rows if ".dist-info" in "".join(row)], rest)


def listed(found: Record) -> list[Row]:
    """Return the rows that `found` lists, sorted."""
    return sorted([*found.infos, *(Row(*row.split("\0")) for row in found.rest)])


@given(rows())
@example([Row("a\rb", "", "")])
@example([Row('quote"comma,newline\nfeed', "", "")])
def test_what_is_written_is_read_as_it_was_by_us_and_by_others(written: list[Row]) -> None:
    written.sort()
    content = record.render(listing(written))
    assert record.parse(content) == listing(written)
    lines = content.decode().splitlines(keepends=True)
    # That reader splits lines and paths where a file system does not.
    if len(lines) == len(written) and "\\" not in content.decode():
        assert [Row(*row) for row in parse_record_file(lines)] == written


@given(st.binary(max_size=200))
@example(b"a\0b,,\n")
@example(b'"a,,\n')
@example(b"a,,\r")
def test_whatever_the_bytes_a_record_is_read_or_refused(content: bytes) -> None:
    refusal = ""
    try:
        found = record.parse(content)
        assert listed(found)
        assert listed(record.parse(record.render(found))) == listed(found)
    except RecordError as refused:
        refusal = str(refused)
    assert refusal.isprintable()


@st.composite
def contents(draw: st.DrawFn) -> str:
    """Draw the text of a RECORD, or of nearly one: lines with borders in them, hardly unusual."""
    field = st.text("ab./\\ é\udc80\x1c\x85\u2028\"'\r", max_size=4)
    lines = draw(st.lists(st.lists(field, min_size=2, max_size=4).map(",".join), max_size=6))
    return draw(st.sampled_from(["\n", "\n\n", "\r\n"])).join(lines) + draw(
        st.sampled_from(["", "\n"])
    )


@given(contents())
@example("a,b,c\n")
@example(",b,c\n")
@example("a,b,c\n,b,c\n")
@example("a,b\na,b,c,d\n")
def test_what_is_read_as_plain_lines_is_what_the_module_csv_reads(text: str) -> None:
    plain = record._plain_rows(text)
    if plain is not None:
        assert plain == record._quoted_rows(text)


@given(rows())
def test_a_record_without_anything_unusual_is_read_as_plain_lines(written: list[Row]) -> None:
    text = "".join(",".join(row) + "\n" for row in written)
    if not any(c in "".join(row) for row in written for c in '",\r\n'):
        assert record._plain_rows(text) == ["\0".join(row) for row in written]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\n\n", b"a\n", b"a,b\n", b"a,,,\n", b",,\n", b"a\0b,,\n"]
)
def test_what_is_no_record_is_refused(content: bytes) -> None:
    with pytest.raises(RecordError):
        record.parse(content)


@given(rows())
def test_a_move_changes_exactly_the_paths_under_the_directory(before: list[Row]) -> None:
    after = record.relocated(listing(before), {OLD, NEW}, NEW)
    wanted = [
        row._replace(path=NEW + row.path.removeprefix(OLD))
        if row.path.startswith(OLD + "/")
        else row
        for row in before
    ]
    assert listed(after) == sorted(wanted)
    assert record.relocated(after, {OLD, NEW}, NEW) == after


@given(rows())
def test_both_names_list_every_file_and_the_move_from_both_is_that_from_one(
    before: list[Row],
) -> None:
    both = [*before, *record.also_listed(listing(before), {OLD}, NEW)]
    paths = {row.path for row in both}
    for row in before:
        assert row in both
        if row.path.startswith(OLD + "/"):
            assert NEW + row.path.removeprefix(OLD) in paths
    assert f"{NEW}/{record.UNFINISHED}" in paths
    assert len(paths) == len(both)
    assert record.also_listed(listing(both), {OLD}, NEW) == []
    once, twice = (record.relocated(listing(each), {OLD, NEW}, NEW) for each in (before, both))
    assert listed(once) == listed(twice)


@pytest.mark.parametrize(
    ("path", "moved"),
    [
        (f"{OLD}/METADATA", f"{NEW}/METADATA"),
        (f"./{OLD}/METADATA", f"{NEW}/METADATA"),
        (f"{OLD}//METADATA", f"{NEW}/METADATA"),
        (f"a_b/../{OLD}/METADATA", f"{NEW}/METADATA"),
        (f"{OLD}\\licenses\\MIT", f"{NEW}/licenses/MIT"),
        (f"{OLD}/back\\slash", f"{NEW}/back\\slash"),
        (f"{OLD}.py", f"{OLD}.py"),
        (f"a_b/{OLD}/METADATA", f"a_b/{OLD}/METADATA"),
        (f"../{OLD}/METADATA", f"../{OLD}/METADATA"),
        (f"{OLD}/../a_b/x.py", f"{OLD}/../a_b/x.py"),
        (f"/{OLD}/METADATA", f"/{OLD}/METADATA"),
        ("a_b\\x.py", "a_b\\x.py"),
        ("./a_b/x.py", "./a_b/x.py"),
    ],
)
def test_a_path_is_taken_for_what_it_means(path: str, moved: str) -> None:
    found = record.relocated(listing([Row(path, "", "")]), {OLD, NEW}, NEW)
    assert listed(found) == [Row(moved, "", "")]


def test_of_a_path_that_is_listed_twice_the_row_with_a_hash_is_kept() -> None:
    hashed = Row(f"{OLD}/METADATA", "sha256=x", "1")
    bare = Row(f"{NEW}/METADATA", "", "")
    for both in ([hashed, bare], [bare, hashed]):
        found = record.relocated(listing(both), {OLD, NEW}, NEW)
        assert found.infos == [bare._replace(hash_="sha256=x", size="1")]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / OLD
    path.mkdir()
    (path / "RECORD").write_text(RECORD)
    return path


def added(directory: Path) -> bytes:
    """Append the rows of the new name; return what was appended."""
    found = record.read(str(directory))
    record.append(str(directory), record.also_listed(found, {OLD}, NEW))
    return (directory / "RECORD").read_bytes()[len(RECORD) :]


def test_a_record_torn_anywhere_in_what_was_appended_is_completed(directory: Path) -> None:
    tail = added(directory)
    whole = record.read(str(directory))
    for length in range(len(tail)):
        (directory / "RECORD").write_bytes(RECORD.encode() + tail[:length])
        added(directory)
        assert record.parse(RECORD.encode() + tail[:length])
        found = record.read(str(directory))
        assert set(found.paths()) >= set(whole.paths())
        assert record.relocated(found, {OLD, NEW}, NEW) == record.relocated(whole, {OLD, NEW}, NEW)


def test_a_record_that_an_installer_left_torn_is_refused() -> None:
    whole = RECORD.encode()
    end_of_second_row = whole.rindex(b"\n", 0, -1)
    for length in range(whole.index(b"\n") + 2, end_of_second_row):
        if whole[:length].rsplit(b"\n", 1)[-1].count(b",") not in {0, 1}:
            continue
        if whole[:length].endswith(b"\n"):
            continue
        with pytest.raises(RecordError):
            record.parse(whole[:length])


def test_a_record_without_a_last_line_end_gets_one_before_a_row_is_appended(
    directory: Path,
) -> None:
    (directory / "RECORD").write_text(RECORD.removesuffix("\n"))
    before = record.read(str(directory))
    added(directory)
    after = record.read(str(directory))
    assert after.infos[: len(before.infos)] == before.infos
    assert len(after.infos) == len(before.infos) + 3
    assert after.rest == before.rest


def test_appending_keeps_the_file_its_mode_and_its_times(directory: Path) -> None:
    path = directory / "RECORD"
    path.chmod(0o640)
    os.utime(path, ns=(1_000_000_001, 2_000_000_002))
    before = path.stat()
    added(directory)
    after = path.stat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_mtime_ns,
    )


def test_replacing_keeps_mode_owner_and_times(directory: Path) -> None:
    path = directory / "RECORD"
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1235)
    os.utime(path, ns=(1_000_000_001, 2_000_000_002))
    before = path.stat()
    record.replace(str(directory), listing([Row("x", "", "")]))
    after = path.stat()
    assert path.read_text() == "x,,\n"
    assert (after.st_mode, after.st_uid, after.st_gid, after.st_mtime_ns) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
        before.st_mtime_ns,
    )
    assert os.listdir(directory) == ["RECORD"]


@pytest.mark.parametrize("kind", ["hard", "symbolic"])
def test_a_record_with_another_name_elsewhere_is_not_written_there(
    directory: Path, tmp_path: Path, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    if kind == "hard":
        elsewhere.hardlink_to(directory / "RECORD")
    else:
        (directory / "RECORD").rename(elsewhere)
        (directory / "RECORD").symlink_to(elsewhere)
    added(directory)
    assert elsewhere.read_text() == RECORD
    assert len(list(record.read(str(directory)).paths())) == 6
    assert not (directory / "RECORD").is_symlink()


def test_what_a_link_in_the_way_leads_to_is_not_written(directory: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (directory / record.UNFINISHED).symlink_to(elsewhere)
    record.replace(str(directory), listing([Row("x", "", "")]))
    assert elsewhere.read_text() == "precious"
    assert (directory / "RECORD").read_text() == "x,,\n"


@pytest.mark.parametrize("kind", ["pipe", "directory", "device", "dangling link"])
def test_what_is_no_file_is_no_record(directory: Path, kind: str) -> None:
    path = directory / "RECORD"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to("nowhere")
    with pytest.raises(RecordError):
        record.read(str(directory))
