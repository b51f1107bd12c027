"""The content of RECORD before, during and after a rename."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from uvshim.rename import record
from uvshim.rename.record import UNFINISHED, Record, RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable

OLD, NEW = "a_b-1.dist-info", "a.b-1.dist-info"
RECORD = f"""\
a_b/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
{OLD}/METADATA,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,12
{OLD}/RECORD,,
""".encode()

Row = tuple[str, str, str]

# Any file names in UTF-8. (Tests below have backslashes.)
COMPONENTS = st.text(
    st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda part: part not in {".", ".."})
PLAIN_COMPONENTS = st.from_regex(r"[a-zA-Z0-9_é@~-][a-zA-Z0-9_. é@~-]{0,11}", fullmatch=True)
HASHES = st.sampled_from(["", "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"])


@st.composite
def rows(draw: st.DrawFn, components: st.SearchStrategy[str] = COMPONENTS) -> list[Row]:
    """Draw the rows of a RECORD: every path once, in any order."""
    below = st.lists(components, min_size=1, max_size=4).map("/".join)
    own = below.map(lambda path: f"{OLD}/{path}")
    paths = draw(st.lists(st.one_of(below, own), min_size=1, max_size=12, unique=True))
    assume(not any(UNFINISHED in path for path in paths))
    return [(path, draw(HASHES), draw(st.sampled_from(["", "0", "12"]))) for path in paths]


def content(rows: Iterable[Row], end: str = "\n") -> bytes:
    """Return the RECORD with `rows`, as an installer writes it."""

    def quoted(path: str) -> str:
        return '"' + path.replace('"', '""') + '"' if set(path) & set('",\r\n') else path

    text = "".join(f"{quoted(path)},{hash_},{size}{end}" for path, hash_, size in rows)
    return text.encode("utf-8", "surrogateescape")


def listed(found: bytes) -> list[Row]:
    """Return the rows of a RECORD, as the module `csv` reads it."""
    text = found.decode("utf-8", "surrogateescape")
    return [(path, hash_, size) for path, hash_, size in csv.reader(io.StringIO(text, newline=""))]


def under_the_new_name(rows: Iterable[Row]) -> list[Row]:
    return [
        (NEW + path.removeprefix(OLD) if path.startswith(OLD + "/") else path, hash_, size)
        for path, hash_, size in rows
    ]


@given(rows())
@example([("a\rb", "", "")])
@example([('quote"comma,newline\nfeed', "", "")])
@example([("two\n\nlines", "", "")])
@example([(f'{OLD}/"', "", ""), (f"{OLD}/,", "", "0")])
def test_a_rename_changes_the_paths_in_the_directory_and_keeps_the_order(before: list[Row]) -> None:
    found = Record(content(before), OLD).renamed({OLD, NEW}, NEW)
    assert listed(found) == under_the_new_name(before)
    assert Record(found, OLD).renamed({OLD, NEW}, NEW) == found


@given(rows(PLAIN_COMPONENTS), st.sampled_from(["\n", "\r\n"]))
def test_where_rows_are_plain_each_row_stays_at_its_offset(before: list[Row], end: str) -> None:
    old = content(before, end)
    found = Record(old, OLD)
    assert record._is_plain(old)
    assert found.only in {OLD, ""}
    new = found.renamed({OLD, NEW}, NEW)
    assert len(new) == len(old)
    assert new == old.replace(b"\n" + OLD.encode() + b"/", b"\n" + NEW.encode() + b"/").replace(
        OLD.encode() + b"/", NEW.encode() + b"/", old.startswith(OLD.encode() + b"/")
    )


@given(rows())
def test_with_the_added_rows_both_names_list_every_file(before: list[Row]) -> None:
    found = Record(content(before), OLD)
    added = found.added({OLD}, NEW)
    both = Record(found.content + b"".join(added), OLD)
    paths = list(both.paths())
    assert len(set(paths)) == len(paths)
    wanted = {path for path, _, _ in [*before, *under_the_new_name(before)]}
    assert set(paths) == wanted | {f"{NEW}/{UNFINISHED}"}
    assert both.added({OLD}, NEW) == []
    assert both.renamed({OLD, NEW}, NEW) == found.renamed({OLD, NEW}, NEW)


@given(st.binary(max_size=200))
@example(b"a\0b,,\n")
@example(b'"a,,\n')
@example(b"a,,\r")
@example(b"a,b\\c,d\r\n")
@example(b'a,"b,c",d\n')
def test_whatever_the_bytes_a_record_is_read_or_refused(found: bytes) -> None:
    refusal = ""
    try:
        read = Record(found, OLD)
        assert list(read.paths())
        again = read.renamed({OLD}, NEW)
        assert Record(again, OLD).renamed({OLD}, NEW) == again
    except RecordError as refused:
        refusal = str(refused)
    assert refusal.isprintable()


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw the text of a RECORD, or of nearly one: lines with delimiters, hardly unusual."""
    field = st.text("ab./ é\udc80\x1c\x85\u2028\"'\r", max_size=4)
    lines = draw(st.lists(st.lists(field, min_size=1, max_size=4).map(",".join), max_size=6))
    return draw(st.sampled_from(["\n", "\n\n", "\r\n"])).join(lines) + draw(
        st.sampled_from(["", "\n", "\r\n"])
    )


@given(texts())
@example("a,b,c\n")
@example(",b,c\n")
@example("a,b,c\n,b,c\n")
@example("a,b\na,b,c,d\n")
@example("a,b,c\r\nd,e,f\n")
@example("a,b,c\nd")
@example(",,\ra\n")
def test_plain_lines_are_read_as_the_module_csv_reads_them(text: str) -> None:
    found = text.encode("utf-8", "surrogateescape")
    if record._is_plain(found) and all(path for path, _, _ in listed(found)):
        assert list(record.elements(found)) == listed(found)
        assert list(Record(found, OLD).paths()) == [path for path, _, _ in listed(found)]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (b"", "its RECORD is empty"),
        (b"\n\n", "its RECORD is empty"),
        (b"a\n", "its RECORD has a row that cannot be read (Row Index 0"),
        (b"a,b\n", "its RECORD has a row that cannot be read (Row Index 0"),
        (b"a,,,\n", "its RECORD has a row that cannot be read (Row Index 0"),
        (b",,\n", "its RECORD has a row that is not a path"),
        (b"a\0b,,\n", "its RECORD"),
        (b'"a\\b,c",,\n', "its RECORD has a row that is not a path"),
        (b'a,"b,c",d\n', "its RECORD has a row that is not a path"),
    ],
)
def test_what_is_no_record_is_refused(found: bytes, reason: str) -> None:
    with pytest.raises(RecordError) as refused:
        Record(found, OLD)
    assert str(refused.value).startswith(reason)


@pytest.mark.parametrize(
    ("path", "renamed"),
    [
        (f"{OLD}/METADATA", f"{NEW}/METADATA"),
        (f"{OLD}//METADATA", f"{NEW}//METADATA"),
        (f"{OLD}/back\\slash", f"{NEW}/back\\slash"),
        (f"{OLD}.py", f"{OLD}.py"),
        (f"a_b/{OLD}/METADATA", f"a_b/{OLD}/METADATA"),
        (f"../{OLD}/METADATA", f"../{OLD}/METADATA"),
        (f"{OLD}/../a_b/x.py", f"{NEW}/../a_b/x.py"),
        (f"/{OLD}/METADATA", f"/{OLD}/METADATA"),
        ("a_b\\x.py", "a_b\\x.py"),
        ("./a_b/x.py", "./a_b/x.py"),
    ],
)
def test_a_path_is_examined_as_what_it_is(path: str, renamed: str) -> None:
    found = Record(f"{path},,\n".encode(), OLD).renamed({OLD, NEW}, NEW)
    assert found == f"{renamed},,\n".encode()


def test_of_a_path_that_is_listed_twice_the_first_place_and_the_hash_are_kept() -> None:
    hashed, bare = f"{OLD}/METADATA,sha256=x,1\n".encode(), f"{NEW}/METADATA,,\n".encode()
    for both in ([hashed, bare], [bare, hashed]):
        found = Record(b"".join(both) + b"code.py,,\n", OLD).renamed({OLD, NEW}, NEW)
        assert found == f"{NEW}/METADATA,sha256=x,1\ncode.py,,\n".encode()


def test_rows_of_others_are_kept_even_if_they_are_listed_twice() -> None:
    others = b"code.py,,\ncode.py,,\nother-1.dist-info/x,,\n"
    assert Record(others, OLD).renamed({OLD}, NEW) == others


def test_a_record_torn_anywhere_in_what_was_appended_is_completed() -> None:
    whole = Record(RECORD, OLD)
    tail = b"".join(whole.added({OLD}, NEW))
    for length in range(len(tail)):
        torn = Record(RECORD + tail[:length], OLD)
        line_end = b"" if torn.content.endswith(b"\n") else b"\n"
        completed = Record(torn.content + line_end + b"".join(torn.added({OLD}, NEW)), OLD)
        assert completed.files(NEW) == {"METADATA", "RECORD", UNFINISHED}
        assert torn.renamed({OLD, NEW}, NEW) == whole.renamed({OLD, NEW}, NEW)


def test_a_record_that_an_installer_left_torn_is_refused() -> None:
    end_of_second_row = RECORD.rindex(b"\n", 0, -1)
    for length in range(RECORD.index(b"\n") + 2, end_of_second_row):
        last = RECORD[:length].rsplit(b"\n", 1)[-1]
        if last and last.count(b",") < 2:
            with pytest.raises(RecordError):
                Record(RECORD[:length], OLD)


# --- what is appended -----------------------------------------------------------------------------

PAGE = 4096
FILLER = f"{NEW}/{UNFINISHED},,\n".encode()


@given(
    st.lists(st.binary(min_size=1, max_size=150).map(lambda b: b.hex().encode() + b",,\n")),
    st.integers(0, 3 * PAGE),
)
@example([b"x" * 300 + b",,\n"] * 30, PAGE - len(FILLER))
@example([b"x,,\n"] * 3000, 17)
def test_no_appended_row_crosses_the_border_of_a_page(rows: list[bytes], end: int) -> None:
    found = record.appended([*rows, FILLER], end)
    assert b"".join(row for row in found.splitlines(keepends=True) if row in rows) == b"".join(rows)
    assert {row.rstrip(b"_,\n") for row in found.splitlines() if row + b"\n" not in rows} <= {
        FILLER[:-3]
    }
    if 0 < -end % PAGE < len(FILLER):
        return  # no row is short enough for what is left of this page
    for border in range(PAGE, end + len(found), PAGE):
        if end < border:
            assert found[border - end - 1 : border - end] == b"\n"


def test_without_a_border_nothing_but_the_rows_is_appended() -> None:
    rows = [b"x,,\n", b"y,,\n"]
    assert record.appended([*rows, FILLER], 100) == b"".join([*rows, FILLER])


def test_what_fills_a_page_is_gone_after_the_rename() -> None:
    found = Record(RECORD, OLD)
    rows = found.added({OLD}, NEW)
    tail = record.appended([*rows, FILLER], PAGE - len(FILLER) - 30)
    assert len(tail) > len(b"".join(rows))
    assert Record(RECORD + tail, OLD).renamed({OLD, NEW}, NEW) == found.renamed({OLD, NEW}, NEW)
