"""Broken and hostile trees: nothing outside of the directory is touched."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.places import Venv, record_faults
from tests.robustness.invariants import clone
from uvshim.environments.snapshot import Snapshot
from uvshim.rename.on_disk import rename

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.robustness.invariants import Tools

OWN = "a_b-1.0.dist-info"
METADATA = b"Metadata-Version: 2.1\nName: a.b\nVersion: 1.0\n"
RECORD = (f"a_b/__init__.py,,\n{OWN}/METADATA,,\n{OWN}/RECORD,,\n").encode()

Content: TypeAlias = "bytes | str | Callable[[], bytes] | None"

# A name for each input, what METADATA and RECORD are, and True if it is renamed nevertheless
# (None: that depends on Python's version). Bytes stand for a file, a string for a symbolic link,
# nothing for none; what is large is made when it is needed.


def named(name: bytes) -> bytes:
    return METADATA.replace(b"a.b", name)


def listing(*rows: bytes) -> bytes:
    return RECORD + b"".join(row + b"\n" for row in rows)


LONG = b"x" * 10_000
FILES: dict[str, tuple[Content, Content, bool | None]] = {
    "nothing wrong": (METADATA, RECORD, True),
    "METADATA missing": (None, RECORD, False),
    "METADATA empty": (b"", RECORD, False),
    "METADATA of 100 MB": (lambda: METADATA + b"\n" + bytes(100_000_000), RECORD, True),
    "METADATA of 100 MB without a Name": (lambda: b"Summary: " + b"x" * 100_000_000, RECORD, False),
    "METADATA binary": (bytes(range(256)) * 100, RECORD, False),
    "METADATA in UTF-16": (METADATA.decode().encode("utf-16"), RECORD, False),
    "METADATA in Latin-1": (METADATA + "Author: Bjørn\n".encode("latin-1"), RECORD, True),
    "METADATA a dangling link": ("nowhere", RECORD, False),
    "METADATA a link to itself": ("METADATA", RECORD, False),
    "METADATA a link to a device": ("/dev/zero", RECORD, False),
    "METADATA a link out of the environment": ("{outside}/METADATA", RECORD, True),
    "two Names": (METADATA + b"Name: c.d\n", RECORD, False),
    "the same Name twice": (METADATA + b"Name: a.b\n", RECORD, False),
    "Name with ../": (named(b"../../../outside/a.b"), RECORD, False),
    "Name of dots": (named(b".."), RECORD, False),
    "Name with a slash": (named(b"a/b"), RECORD, False),
    "Name absolute": (named(b"/outside/a.b"), RECORD, False),
    "Name with a backslash": (named(b"a\\.b"), RECORD, False),
    "Name with a newline": (named(b"a.b\n ../../evil"), RECORD, False),
    "Name with a carriage return": (named(b"a.b\revil"), RECORD, True),
    "Name with NUL": (named(b"a.b\0"), RECORD, False),
    "Name that clears the screen": (named(b"a.b\x1b[2J\x1b]0;evil\x07"), RECORD, False),
    "Name that is turned round": (named("a.b\u202eevil".encode()), RECORD, False),
    "Name with a Cyrillic letter": (named("\u0430.b".encode()), RECORD, False),
    "Name with a long s": (named("a.b\u017f".encode()), RECORD, False),
    "Name with a combining letter": (named("a.b\u0301".encode()), RECORD, False),
    "Name of 10,000 letters": (named(LONG), RECORD, False),
    "Name of 10,000 dots": (named(b"a" + b"." * 10_000 + b"b"), RECORD, False),
    "Name of another distribution": (named(b"other.name"), RECORD, False),
    "Name of the neighbour": (named(b"zope.deferred"), RECORD, False),
    "Name that is a beginning": (named(b"a"), RECORD, False),
    "Name invalid": (named(b"-a.b"), RECORD, False),
    "Name empty": (named(b""), RECORD, False),
    "Name in other case": (named(b"A.B"), RECORD, True),
    "Version hostile": (METADATA.replace(b"1.0", b"../../evil"), RECORD, True),
    "RECORD missing": (METADATA, None, False),
    "RECORD empty": (METADATA, b"", False),
    "RECORD of blank lines": (METADATA, b"\n\n\n", False),
    "RECORD binary": (METADATA, bytes(range(256)) * 100, False),
    "RECORD of one column": (METADATA, RECORD.replace(b",,", b""), False),
    "RECORD of five columns": (METADATA, RECORD.replace(b",,", b",,,,"), False),
    "RECORD with an open quote": (METADATA, listing(b'"a_b/x,,'), False),
    "RECORD torn by an installer": (METADATA, RECORD[:30], False),
    "RECORD a dangling link": (METADATA, "nowhere", False),
    "RECORD a link to a device": (METADATA, "/dev/zero", False),
    "RECORD a link out of the environment": (METADATA, "{outside}/RECORD", True),
    "RECORD with quotes": (METADATA, listing(b'"a_b/say ""x"".py",,'), True),
    "RECORD with commas": (METADATA, listing(b'"a_b/a,b.py",,'), True),
    "RECORD with newlines": (METADATA, listing(b'"a_b/a\nb.py",,', b'"a_b/a\rb.py",,'), True),
    "RECORD with NUL": (METADATA, listing(b"a_b/a\0b.py,,"), None),
    "RECORD with bytes that are not UTF-8": (METADATA, listing(b"a_b/\xff\xfe.py,,"), True),
    "RECORD with backslashes": (METADATA, RECORD.replace(b"/", b"\\"), False),
    "RECORD with Windows line ends": (METADATA, RECORD.replace(b"\n", b"\r\n"), True),
    "RECORD with absolute paths elsewhere": (METADATA, listing(b"/etc/passwd,,"), True),
    "RECORD with absolute paths to itself": (
        METADATA,
        b"{site}/" + OWN.encode() + b"/METADATA,,\n" + RECORD,
        False,
    ),
    "RECORD with .. elsewhere": (METADATA, listing(b"../../../../outside/precious,,"), True),
    "RECORD with .. to itself": (
        METADATA,
        listing(b"../site-packages/" + OWN.encode() + b"/METADATA,,"),
        False,
    ),
    "RECORD of the neighbour": (METADATA, listing(b"zope_deferred-1.2.dist-info/METADATA,,"), True),
    "RECORD with a name of control characters": (
        METADATA,
        listing(b"a_b-\x1b[2J.dist-info/METADATA,,"),
        True,
    ),
    "RECORD with rows twice": (METADATA, RECORD + RECORD, True),
    "RECORD unsorted": (METADATA, b"".join(RECORD.splitlines(keepends=True)[::-1]), True),
    "RECORD without its own directory": (METADATA, b"a_b/__init__.py,,\n", True),
    "RECORD of 100,000 rows": (
        METADATA,
        lambda: b"".join(b"a_b/m%d.py,,\n" % n for n in range(100_000)) + RECORD,
        True,
    ),
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the environment, with what hostile input would like to reach."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "precious").write_text("precious")
    (directory / "METADATA").write_bytes(METADATA)
    (directory / "RECORD").write_bytes(RECORD)
    return directory


@pytest.fixture
def hostile(tmp_path: Path, prepared: Venv, outside: Path) -> Venv:
    """An environment with two ordinary distributions, and the code of a third."""
    venv = Venv(clone(prepared.path, tmp_path / "hostile"))
    (venv.site_packages / "a_b").mkdir()
    (venv.site_packages / "a_b" / "__init__.py").touch()
    return venv


def put(path: Path, content: Content, outside: Path) -> None:
    """Write a file, or make a link, or nothing."""
    if callable(content):
        path.write_bytes(content())
    elif isinstance(content, bytes):
        path.write_bytes(content.replace(b"{site}", str(path.parent.parent).encode()))
    elif content is not None:
        path.symlink_to(content.format(outside=outside))


def state(directory: Path, besides: tuple[str, ...]) -> dict[str, object]:
    """Return what every path below `directory` is, except below names that begin with `besides`."""
    found: dict[str, object] = {}
    for parent, directories, names in os.walk(directory):
        if os.path.basename(parent) == "site-packages":
            directories[:] = [name for name in directories if not name.startswith(besides)]
            names = [name for name in names if not name.startswith(besides)]  # noqa: PLW2901
        for name in [*directories, *names]:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            content: object = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif name in names and os.path.isfile(path):
                with open(path, "rb") as file:
                    content = hash(file.read())
            found[path] = (status.st_mode, status.st_uid, content)
    return found


def printable(text: str) -> bool:
    """Return True if `text` has no control characters."""
    return all(line.isprintable() for line in text.split("\n"))


def is_survived(
    tools: Tools, venv: Venv, outside: Path, besides: tuple[str, ...] = ("a_b-", "a.b-", "A.B-")
) -> str:
    """Assert that no command touches foreign files; return the output of `fix`."""
    directories = ("zope", "XStatic", "xstatic")  # these are renamed, as they should be
    before = state(venv.path, (*besides, *directories)), state(outside, ())
    whole = state(venv.path, ()), state(outside, ())
    for words in ((), ("--format", "json")):
        done = tools.check(venv, *words)
        assert done.returncode in {0, 1, 2}, done.stderr
        assert "Traceback" not in done.stderr
        assert printable(done.stdout), repr(done.stdout)
        assert printable(done.stderr), repr(done.stderr)
        if words and done.returncode != 2:
            json.loads(done.stdout)
    assert (state(venv.path, ()), state(outside, ())) == whole

    done = tools.fix(venv)
    assert done.returncode in {0, 3}, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert printable(done.stderr), repr(done.stderr)
    assert len(done.stderr) < 5000
    assert (state(venv.path, (*besides, *directories)), state(outside, ())) == before
    for name in ("zope.deferred-1.2.dist-info", "XStatic_JQuery.TableSorter-2.14.5.3.dist-info"):
        assert record_faults(venv.site_packages / name) == []

    whole = state(venv.path, ()), state(outside, ())
    again = tools.fix(venv)
    assert "Renormalized" not in again.stderr
    assert (state(venv.path, ()), state(outside, ())) == whole
    return done.stderr


@pytest.mark.parametrize("case", FILES)
def test_hostile_files_in_a_directory_do_no_harm(
    case: str, hostile: Venv, outside: Path, tools: Tools, tried: Callable[[str, int], None]
) -> None:
    metadata, record, renamed = FILES[case]
    by_uvpip = Venv(clone(hostile.path, hostile.path.with_name("by-uvpip")))
    for venv in (hostile, by_uvpip):
        directory = venv.site_packages / OWN
        directory.mkdir()
        put(directory / "METADATA", metadata, outside)
        put(directory / "RECORD", record, outside)

    said = is_survived(tools, hostile, outside)
    right = "A.B-1.0.dist-info" if "other case" in case else "a.b-1.0.dist-info"
    if renamed is not None:
        assert (right in hostile.dist_infos()) == renamed, said
        assert (OWN in hostile.dist_infos()) != renamed
        assert (OWN + "` was left alone" in said) != renamed

    # The same by the other way in: what uvpip does with what uv has written.
    before = state(by_uvpip.path, ("a_b-", "a.b-", "A.B-")), state(outside, ())
    paths = sorted(Snapshot.take([str(by_uvpip.site_packages)]).states)
    outcome = rename([path for path in paths if "a_b" in path], lambda name: "." in name)
    assert (right in by_uvpip.dist_infos()) == (right in hostile.dist_infos())
    assert (state(by_uvpip.path, ("a_b-", "a.b-", "A.B-")), state(outside, ())) == before
    assert all(each.reason.isprintable() for each in outcome.left_alone)
    tried("hostile inputs", 1)


def a_file(site: Path, outside: Path) -> None:
    (site / OWN).write_text("no directory")


def a_link_to_a_directory_outside(site: Path, outside: Path) -> None:
    (outside / OWN).mkdir()
    (outside / OWN / "METADATA").write_bytes(METADATA)
    (outside / OWN / "RECORD").write_bytes(RECORD)
    (site / OWN).symlink_to(outside / OWN)


def a_dangling_link(site: Path, outside: Path) -> None:
    (site / OWN).symlink_to("nowhere")


def a_link_to_itself(site: Path, outside: Path) -> None:
    (site / OWN).symlink_to(OWN)


def a_link_to_the_neighbour(site: Path, outside: Path) -> None:
    (site / OWN).symlink_to("zope_deferred-1.2.dist-info")


def an_empty_directory(site: Path, outside: Path) -> None:
    (site / OWN).mkdir()


def a_directory_with(site: Path, name: str = OWN) -> Path:
    (site / name).mkdir()
    (site / name / "METADATA").write_bytes(METADATA)
    (site / name / "RECORD").write_bytes(RECORD.replace(OWN.encode(), os.fsencode(name)))
    return site / name


def pipes(site: Path, outside: Path) -> None:
    (site / OWN).mkdir()
    os.mkfifo(site / OWN / "METADATA")
    os.mkfifo(site / OWN / "RECORD")


def a_pipe_for_a_record(site: Path, outside: Path) -> None:
    directory = a_directory_with(site)
    (directory / "RECORD").unlink()
    os.mkfifo(directory / "RECORD")


def directories_for_files(site: Path, outside: Path) -> None:
    (site / OWN / "METADATA").mkdir(parents=True)
    (site / OWN / "RECORD").mkdir()


def a_link_where_the_new_record_goes(site: Path, outside: Path) -> None:
    directory = a_directory_with(site)
    (directory / "RECORD.uvshim").symlink_to(outside / "precious")


def a_directory_where_the_new_record_goes(site: Path, outside: Path) -> None:
    directory = a_directory_with(site)
    (directory / "RECORD.uvshim").mkdir()


def a_record_with_a_second_name(site: Path, outside: Path) -> None:
    directory = a_directory_with(site)
    (outside / "RECORD").unlink()
    (outside / "RECORD").hardlink_to(directory / "RECORD")


def the_new_name_is_taken_by_a_file(site: Path, outside: Path) -> None:
    a_directory_with(site)
    (site / "a.b-1.0.dist-info").write_text("precious")


def the_new_name_is_taken_by_a_link_outside(site: Path, outside: Path) -> None:
    a_directory_with(site)
    (outside / "empty").mkdir()
    (site / "a.b-1.0.dist-info").symlink_to(outside / "empty")


def the_new_name_is_taken_by_the_like(site: Path, outside: Path) -> None:
    a_directory_with(site)
    a_directory_with(site, "a.b-1.0.dist-info")


def a_link_where_a_layer_is_built(site: Path, outside: Path) -> None:
    a_directory_with(site)
    (site / "a.b-1.0.dist-info.uvshim").symlink_to(outside)


def names_that_differ_only_in_case(site: Path, outside: Path) -> None:
    a_directory_with(site)
    other = a_directory_with(site, "A_B-1.0.dist-info")
    (other / "METADATA").write_bytes(METADATA.replace(b"a.b", b"A.B"))


def both_would_take_the_same_name(site: Path, outside: Path) -> None:
    a_directory_with(site)
    a_directory_with(site, "a-b-1.0.dist-info")


def a_name_of_control_characters(site: Path, outside: Path) -> None:
    a_directory_with(site, "a_b-\x1b[2J\n1.dist-info")
    a_directory_with(site, "a_b-\u202e1.dist-info")


def a_name_that_is_not_utf_8(site: Path, outside: Path) -> None:
    a_directory_with(site, os.fsdecode(b"a_b-\xff.dist-info"))


def a_name_of_nothing(site: Path, outside: Path) -> None:
    a_directory_with(site, ".dist-info")
    a_directory_with(site, "-.dist-info")
    a_directory_with(site, "-1.0.dist-info")


def a_thousand_directories_inside(site: Path, outside: Path) -> None:
    path = a_directory_with(site)
    for _ in range(100):
        path = path / "deep"
        path.mkdir()


SHAPES = [
    a_file,
    a_link_to_a_directory_outside,
    a_dangling_link,
    a_link_to_itself,
    a_link_to_the_neighbour,
    an_empty_directory,
    pipes,
    a_pipe_for_a_record,
    directories_for_files,
    a_link_where_the_new_record_goes,
    a_directory_where_the_new_record_goes,
    a_record_with_a_second_name,
    the_new_name_is_taken_by_a_file,
    the_new_name_is_taken_by_a_link_outside,
    the_new_name_is_taken_by_the_like,
    a_link_where_a_layer_is_built,
    names_that_differ_only_in_case,
    both_would_take_the_same_name,
    a_name_of_control_characters,
    a_name_that_is_not_utf_8,
    a_name_of_nothing,
    a_thousand_directories_inside,
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.__name__))
def test_hostile_directories_do_no_harm(
    shape: Callable[[Path, Path], None],
    hostile: Venv,
    outside: Path,
    tools: Tools,
    tried: Callable[[str, int], None],
) -> None:
    shape(hostile.site_packages, outside)
    count = len(list(hostile.site_packages.iterdir()))
    is_survived(tools, hostile, outside, ("a_b-", "a-b-", "a.b-", "A.B-", "A_B-"))
    assert len(list(hostile.site_packages.iterdir())) == count
    tried("hostile inputs", 1)


def test_an_empty_directory_with_the_new_name_is_replaced(
    hostile: Venv, outside: Path, tools: Tools, tried: Callable[[str, int], None]
) -> None:
    """uv leaves one in a target whose path has ``./``."""
    a_directory_with(hostile.site_packages)
    (hostile.site_packages / "a.b-1.0.dist-info").mkdir()
    count = len(list(hostile.site_packages.iterdir()))
    is_survived(tools, hostile, outside, ("a_b-", "a.b-"))
    assert len(list(hostile.site_packages.iterdir())) == count - 1
    tried("hostile inputs", 1)


def test_site_packages_may_be_a_link_and_is_fixed_where_it_leads(
    hostile: Venv, outside: Path, tools: Tools, tried: Callable[[str, int], None]
) -> None:
    real = outside / "real"
    place = hostile.site_packages
    place.rename(real)
    place.symlink_to(real)
    a_directory_with(real)
    done = tools.fix(hostile)
    assert done.returncode == 0, done.stderr
    assert re.search("Renormalized.* 3 distributions", done.stderr)
    assert place.is_symlink()
    assert (real / "a.b-1.0.dist-info").is_dir()
    assert tools.fix(hostile).stderr == f"Nothing to fix in `{hostile.path}`\n"
    tried("hostile inputs", 1)


def test_nothing_is_written_to_a_device_that_stands_for_a_record(hostile: Venv) -> None:
    directory = a_directory_with(hostile.site_packages)
    (directory / "RECORD").unlink()
    (directory / "RECORD").symlink_to("/dev/full")
    outcome = rename([str(directory)], lambda _name: True)
    assert [each.reason for each in outcome.left_alone] == ["it has no RECORD"]
