"""The comparison of files with RECORD."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.wheels import build_wheel
from uvshim.check.verify import Difference, verify
from uvshim.environments.tree import DiskTree

if TYPE_CHECKING:
    from pathlib import Path

INFO = "zope_deferred-1.2.dist-info"


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """A directory in which `zope.deferred` is installed."""
    directory = tmp_path / "site-packages"
    files = {"zope_deferred/data.bin": "0" * 3_000_000}
    wheel = build_wheel(tmp_path / "wheels", "zope.deferred", "1.2", files=files)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def found(site_packages: Path) -> tuple[Difference, ...]:
    return verify(DiskTree(), [str(site_packages)])


def only(site_packages: Path) -> Difference:
    (difference,) = found(site_packages)
    assert (difference.name, difference.version) == ("zope.deferred", "1.2")
    assert difference.path == str(site_packages / INFO)
    return difference


def add_row(site_packages: Path, row: str) -> None:
    with (site_packages / INFO / "RECORD").open("a") as record:
        record.write(f"{row}\n")


def test_what_was_installed_and_left_alone_is_as_record_says(site_packages: Path) -> None:
    assert found(site_packages) == ()
    assert verify(DiskTree(str(site_packages.parent)), ["/site-packages"]) == ()


def test_a_changed_byte_is_found(site_packages: Path) -> None:
    data = site_packages / "zope_deferred" / "data.bin"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    assert only(site_packages)[3:] == ((), ("zope_deferred/data.bin",), (), "")


def test_a_file_of_another_length_is_found_without_a_hash(site_packages: Path) -> None:
    (site_packages / "more.py").write_text("12")
    add_row(site_packages, "more.py,,3")
    assert only(site_packages).changed == ("more.py",)


def test_a_removed_file_is_found(site_packages: Path) -> None:
    (site_packages / "zope_deferred" / "__init__.py").unlink()
    assert only(site_packages).missing == ("zope_deferred/__init__.py",)


def test_a_file_that_was_added_to_the_dist_info_directory_is_found(site_packages: Path) -> None:
    (site_packages / INFO / "licenses").mkdir()
    (site_packages / INFO / "licenses" / "NEW").write_text("")
    (site_packages / INFO / "RECORD.jws").write_text("")
    (site_packages / "zope_deferred" / "beside.py").write_text("")
    assert only(site_packages).unlisted == (f"{INFO}/licenses/NEW",)


def test_links_in_a_circle_and_pipes_are_not_followed(site_packages: Path) -> None:
    (site_packages / INFO / "again").symlink_to(".")
    os.mkfifo(site_packages / INFO / "pipe")
    add_row(site_packages, f"{INFO}/pipe,sha256=x,1")
    difference = only(site_packages)
    assert difference.unlisted == (f"{INFO}/again",)
    assert difference.missing == (f"{INFO}/pipe",)


def test_bytecode_without_a_hash_need_not_be_there(site_packages: Path) -> None:
    add_row(site_packages, "zope_deferred/__pycache__/x.cpython-311.pyc,,")
    assert found(site_packages) == ()
    add_row(site_packages, "zope_deferred/__pycache__,,")  # as virtualenv lists them
    add_row(site_packages, "zope_deferred,,")  # as PDM lists its links
    assert found(site_packages) == ()
    add_row(site_packages, "zope_deferred/gone.py,,")
    assert only(site_packages).missing == ("zope_deferred/gone.py",)


def test_a_file_of_two_distributions_is_as_one_of_them_lists_it(
    site_packages: Path, tmp_path: Path
) -> None:
    """No install could satisfy both: a namespace package's `__init__.py` is often such a file."""
    files = {"zope_deferred/__init__.py": "another = 1\n"}
    wheel = build_wheel(tmp_path / "wheels", "zope.other", "1.0", files=files)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    assert found(site_packages) == ()
    (site_packages / "zope_deferred/__init__.py").write_text("a third\n")
    assert [each.changed for each in found(site_packages)] == [("zope_deferred/__init__.py",)] * 2


def test_scripts_of_a_target_are_elsewhere(site_packages: Path) -> None:
    """pip moves them to `bin` below it; for a site-packages directory they are where RECORD says."""
    add_row(site_packages, "../../bin/zope,,")
    assert found(site_packages) == ()
    library = site_packages.parent / "lib/python3.11"
    library.mkdir(parents=True)
    (site_packages.rename(library / "site-packages"))
    (difference,) = found(library / "site-packages")
    assert difference.missing == ("../../bin/zope",)


def test_a_link_may_lead_to_files_that_are_listed_from_the_root_on(site_packages: Path) -> None:
    """Poetry lists them so."""
    record = site_packages / INFO / "RECORD"
    rows = record.read_text().splitlines(keepends=True)
    record.write_text("".join(f"{site_packages}/{row}" for row in rows))
    (site_packages.parent / "link").symlink_to("site-packages")
    assert found(site_packages.parent / "link") == ()
    record.write_text("".join(f"{site_packages}/{row}" for row in rows if "WHEEL" not in row))
    assert [one.unlisted for one in found(site_packages.parent / "link")] == [(f"{INFO}/WHEEL",)]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("a,b", "its RECORD has a row that cannot be read (Row Index "),
        ("a,nonsense,1", "its RECORD has a row that cannot be read (`hash` does not follow"),
        ("zope_deferred/__init__.py,none=x,1", "invalid hash algorithm 'none'"),
        ("zope_deferred/__init__.py,shake_128=x,1", "its RECORD has hashes of an unknown kind"),
        ("a,,many", "`size` cannot be non-integer"),
    ],
)
def test_a_record_that_cannot_be_read_is_reported(
    site_packages: Path, row: str, fault: str
) -> None:
    add_row(site_packages, row)
    assert fault in only(site_packages).fault


def test_a_record_that_is_missing_is_reported(site_packages: Path) -> None:
    (site_packages / INFO / "RECORD").unlink()
    assert only(site_packages).fault == "it has no RECORD"


def test_other_hashes_and_names_in_quotes_are_understood(site_packages: Path) -> None:
    (site_packages / 'a, "b".py').write_bytes(b"")
    add_row(site_packages, '"a, ""b"".py",md5=1B2M2Y8AsgTpgAmY7PhCfg,0')
    assert found(site_packages) == ()


@pytest.mark.parametrize("name", ["zope.deferred-info", "zope_deferred", "zope-deferred-1.2"])
def test_the_version_of_a_misnamed_directory_is_that_in_metadata(
    site_packages: Path, name: str
) -> None:
    (site_packages / INFO).rename(site_packages / f"{name}.dist-info")
    (difference,) = found(site_packages)
    assert (difference.name, difference.version) == ("zope.deferred", "1.2")
    assert difference.missing


def test_a_distribution_without_metadata_is_called_as_its_directory_is(
    site_packages: Path,
) -> None:
    (site_packages / INFO / "METADATA").unlink()
    (difference,) = found(site_packages)
    assert (difference.name, difference.missing) == ("zope_deferred", (f"{INFO}/METADATA",))
