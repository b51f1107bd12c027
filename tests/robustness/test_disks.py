"""Full disks, read-only disks, and directories of other users."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.places import Venv, dist_infos, record_faults, tree
from tests.robustness.conftest import DOTTED, NAMES, NORMALIZED
from tests.robustness.disks import mount, unmount
from tests.robustness.invariants import checksum, remains
from tests.robustness.test_killed import fixed_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.robustness.invariants import Tools

PAGE = 4096


@pytest.fixture
def small(tmp_path: Path, mounts: None, installed: Venv) -> Iterator[Venv]:
    """The environment on a disk of a megabyte."""
    memory = tmp_path / "memory"
    mount("tmpfs", memory, "size=1m")
    subprocess.run(["cp", "-a", installed.path, memory / "venv"], check=True)
    yield Venv(memory / "venv")
    unmount(memory)


@pytest.fixture
def ignoring_case(tmp_path: Path, mounts: None) -> Iterator[Path]:
    """A directory on a disk for which names that differ in case are one, as on macOS."""
    here, image = tmp_path / "ignoring-case", tmp_path / "image"
    here.mkdir()
    made = "truncate -s 64M {image} && mkfs.{kind} {image} && mount -o loop {image} {here}"
    attempts = [
        "mount -t tmpfs -o size=20m,casefold tmpfs {here} && mkdir {here}/in && chattr +F {here}/in",
        made.replace("{kind}", "ext4 -q -O casefold")
        + " && mkdir {here}/in && chattr +F {here}/in",
        made.replace("{kind}", "vfat") + " && mkdir {here}/in",
    ]
    for attempt in attempts:
        script = attempt.format(here=here, image=image)
        done = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
        if done.returncode == 0:
            break
        unmount(here)
        image.unlink(missing_ok=True)
    else:
        pytest.skip("NOT TRIED: a file system that ignores case (tmpfs, ext4 or vfat can, as root)")
    (here / "in" / "a").touch()
    assert (here / "in" / "A").exists()
    yield here / "in"
    unmount(here)


@pytest.fixture
def root() -> None:
    """Skip, if we may not give files to somebody else."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("NOT TRIED: files of other users (needs root, and setpriv)")


def fill(directory: Path) -> Path:
    """Leave no space on the disk of `directory`."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(PAGE))
        except OSError:
            pass
    return path


def pad(dist_info: Path, room: int) -> None:
    """Let the RECORD end `room` bytes before the end of a page, so that an addition needs one."""
    record = dist_info / "RECORD"
    lines = record.read_text().splitlines(keepends=True)
    row = "zope_deferred/{}.py,,\n"
    length = (PAGE - room - record.stat().st_size - len(row.format(""))) % PAGE
    while length > 200:
        lines.append(row.format("x" * 100 + str(len(lines))))
        length = (PAGE - room - len("".join(lines)) - len(row.format(""))) % PAGE
    lines.append(row.format("y" * length))
    for line in lines:
        (dist_info.parent / line.split(",")[0]).touch()
    record.write_text("".join(sorted(lines)))
    assert (record.stat().st_size + room) % PAGE == 0


def as_it_was(venv: Venv) -> dict[str, bytes]:
    """Return the content of every file, by its path before the directories were renamed."""
    found = {}
    for path, (_, content) in tree(venv.site_packages).items():
        top, _, rest = path.partition("/")
        found[f"{dict(zip(DOTTED, NORMALIZED, strict=True)).get(top, top)}/{rest}"] = content
    return found


def quote_a_row(venv: Venv) -> None:
    """Let the RECORD be one that cannot be rewritten in place."""
    (venv.site_packages / "zope_deferred" / "with,comma.py").touch()
    with (venv.site_packages / NORMALIZED[0] / "RECORD").open("a") as record:
        record.write('"zope_deferred/with,comma.py",,\n')


@pytest.mark.parametrize("room", [0, 1, 60, 500])
@pytest.mark.parametrize("quoted", [False, True], ids=["in place", "replaced"])
def test_a_full_disk_is_reported_and_loses_nothing(
    small: Venv,
    tools: Tools,
    empty: set[str],
    room: int,
    quoted: bool,  # noqa: FBT001
    tried: Callable[[str, int], None],
) -> None:
    pad(small.site_packages / NORMALIZED[0], room)
    if quoted:
        quote_a_row(small)
    filler = fill(small.path)
    before = as_it_was(small)
    done = tools.fix(small)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("was left alone: no space left on device") == 1
    tools.finds(small, NAMES)
    after = as_it_was(small)
    assert set(after) == set(before)
    for path, content in before.items():
        if path == f"{NORMALIZED[0]}/RECORD":
            assert after[path].startswith(content)
            assert after[path].endswith(b"\n")
            assert quoted or after[path] == content
        elif not path.endswith(".dist-info/RECORD"):
            assert after[path] == content
    filler.unlink()
    fixed_by(tools, small)
    assert tools.uninstall(small, NAMES).returncode == 0
    assert remains(small, empty) == []
    tried("runs on a full disk", 1)


def test_a_rename_that_needs_no_further_page_needs_no_space(small: Venv, tools: Tools) -> None:
    pad(small.site_packages / NORMALIZED[0], 2000)
    filler = fill(small.path)
    done = tools.fix(small)
    assert done.returncode == 0, done.stderr
    filler.unlink()
    fixed_by(tools, small)


def test_a_read_only_disk_is_reported_and_loses_nothing(small: Venv, tools: Tools) -> None:
    before = checksum(small.path)
    subprocess.run(["mount", "-o", "remount,ro", small.path.parent], check=True)
    for options in (["--dry-run"], []):
        done = tools.run(tools.uvshim, "fix", *options, small.path)
        assert done.returncode == 3, done.stderr
        assert done.stderr.count("was left alone: read-only file system") == 2
    done = tools.check(small)
    assert "Traceback" not in done.stderr
    assert checksum(small.path) == before
    subprocess.run(["mount", "-o", "remount,rw", small.path.parent], check=True)
    fixed_by(tools, small)


def test_names_are_fixed_where_case_does_not_matter(
    ignoring_case: Path, prepared: Venv, tools: Tools
) -> None:
    site = ignoring_case / "site-packages"
    shutil.copytree(prepared.site_packages, site, symlinks=True)
    for stem, name in (("a.b-1.0", "A.B"), ("c_d-1.0", "C.d")):  # the first is found by its key
        info = site / f"{stem}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{info.name}/RECORD,,\n")
    done = tools.run(tools.uvshim, "fix", site)
    assert done.returncode == 0, done.stderr
    assert dist_infos(site) == sorted([*DOTTED, "a.b-1.0.dist-info", "C.d-1.0.dist-info"])
    for name in dist_infos(site):
        assert record_faults(site / name) == []
    done = tools.run(tools.uvshim, "fix", site)
    assert (done.returncode, done.stderr) == (0, f"Nothing to fix in `{site}`\n")


def test_the_directories_of_another_user_are_left_alone_without_the_right_to_them(
    installed: Venv, tools: Tools, root: None
) -> None:
    for path in (installed.site_packages, *installed.site_packages.rglob("*")):
        if not path.is_file() or path.stat().st_nlink == 1:
            os.chown(path, 1234, 1234)
    before = checksum(installed.path)
    # Root without its capabilities is a user like any other.
    without_rights = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    for options in (["--dry-run"], []):
        done = tools.run(*without_rights, tools.uvshim, "fix", *options, installed.path)
        assert done.returncode == 3, done.stderr
        assert done.stderr.count("was left alone: permission denied") == 2
        assert checksum(installed.path) == before
    fixed_by(tools, installed)


def test_files_of_another_user_keep_their_owner(installed: Venv, tools: Tools, root: None) -> None:
    for path in (installed.site_packages, *installed.site_packages.rglob("*")):
        os.chown(path, 1234, 1235)
    fixed_by(tools, installed)
    for name in DOTTED:
        assert record_faults(installed.site_packages / name) == []
    owners = {
        (path.stat().st_uid, path.stat().st_gid) for path in installed.site_packages.rglob("*")
    }
    assert owners == {(1234, 1235)}
