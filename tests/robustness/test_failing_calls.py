"""A system call that fails: said, exit 3, nothing lost, and `fix` completes it afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.robustness.conftest import NAMES
from tests.robustness.faults import CHANGING, LOOKING, points, trace
from tests.robustness.invariants import checksum, finds, remains
from tests.robustness.test_killed import are_found, fixed_by, without_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.places import Venv
    from tests.robustness.disks import Overlay, Place, Plain
    from tests.robustness.invariants import Tools

ERRORS = {
    "EIO": "input/output error",
    "ENOSPC": "no space left on device",
    "EACCES": "permission denied",
    "EROFS": "read-only file system",
}


def failing_everywhere(
    place: Place,
    command: Callable[[Venv], list[str | Path]],
    error: str,
    tools: Tools,
    directory: Path,
    empty: set[str],
) -> int:
    """Let each call of `command` that changes something fail once, and look every time."""
    venv = place.fresh()
    whole = trace(command(venv), tools.variables, directory)
    assert whole.status == 0, whole.output
    found = points(whole, venv.site_packages)
    harmless = 0
    for point in found:
        print("failed:", point.name, point.number)
        venv = place.fresh()
        cache = checksum(directory / "cache")
        inject = f"{point.name}:error={error}:when={point.number}"
        traced = trace(command(venv), tools.variables, directory, inject=inject)
        assert "(INJECTED)" in traced.log
        assert checksum(directory / "cache") == cache
        assert "Traceback" not in traced.output
        if traced.status == 0:
            harmless += 1  # there was another way, or it was not necessary
        else:
            assert traced.status == 3, traced.output
            assert f"was left alone: {ERRORS[error]}" in traced.output
            if command(venv)[0] == tools.uvpip:
                assert f"hint: `uvshim fix {venv.path}` tries again\n" in traced.output
        are_found(venv)
        copy = place.copy()
        for _ in range(2):  # twice, if both names are there: see test_killed
            done = tools.uninstall(copy, NAMES)
        refused = "`RECORD` file not found" in done.stderr
        assert refused or set(remains(copy, empty)) <= without_files(venv), done.stderr
        fixed_by(tools, place.copy())
    assert harmless < len(found) / 2
    return len(found)


@pytest.mark.parametrize("error", ERRORS)
def test_fix_says_which_call_failed_and_loses_nothing(
    strace: None,
    plain: Callable[[Venv], Plain],
    installed: Venv,
    tools: Tools,
    tmp_path: Path,
    empty: set[str],
    tried: Callable[[str, int], None],
    error: str,
) -> None:
    place = plain(installed)
    count = failing_everywhere(
        place, lambda venv: [tools.uvshim, "fix", venv.path], error, tools, tmp_path, empty
    )
    tried("failing calls of uvshim fix", count)


@pytest.mark.parametrize("error", ERRORS)
def test_uvpip_says_which_call_failed_and_loses_nothing(
    strace: None,
    plain: Callable[[Venv], Plain],
    bare: Venv,
    tools: Tools,
    two_wheels: Path,
    tmp_path: Path,
    empty: set[str],
    tried: Callable[[str, int], None],
    error: str,
) -> None:
    def command(venv: Venv) -> list[str | Path]:
        choice = ("--python", venv.python, "--no-index", "--find-links", two_wheels)
        return [tools.uvpip, *choice, *NAMES]

    count = failing_everywhere(plain(bare), command, error, tools, tmp_path, empty)
    tried("failing calls of uvpip", count)


@pytest.mark.parametrize("error", ERRORS)
def test_fix_says_which_call_failed_and_loses_nothing_of_a_lower_layer(
    strace: None,
    overlay: Callable[[Venv], Overlay],
    installed: Venv,
    tools: Tools,
    tmp_path: Path,
    empty: set[str],
    tried: Callable[[str, int], None],
    error: str,
) -> None:
    place = overlay(installed)
    count = failing_everywhere(
        place, lambda venv: [tools.uvshim, "fix", venv.path], error, tools, tmp_path, empty
    )
    tried("failing calls of uvshim fix on an overlay", count)


@pytest.mark.parametrize("error", ["EIO", "EACCES"])
def test_fix_says_which_look_failed_and_loses_nothing(
    strace: None,
    plain: Callable[[Venv], Plain],
    installed: Venv,
    tools: Tools,
    tmp_path: Path,
    tried: Callable[[str, int], None],
    error: str,
) -> None:
    place = plain(installed)
    calls = ("openat", "read", "getdents64", "lstat", "stat", "newfstatat", "statx", "fstat")
    venv = place.fresh()
    whole = trace([tools.uvshim, "fix", venv.path], tools.variables, tmp_path, calls=calls)
    looks = [
        call for call in whole.calls if str(venv.site_packages) in call.text and not call.changes
    ]
    assert len(looks) > 20
    for point in looks:
        print("failed:", point.name, point.number)
        venv = place.fresh()
        inject = f"{point.name}:error={error}:when={point.number}"
        traced = trace(
            [tools.uvshim, "fix", venv.path], tools.variables, tmp_path, inject=inject, calls=calls
        )
        assert "(INJECTED)" in traced.log
        assert "Traceback" not in traced.output
        assert traced.status in {0, 2, 3}, traced.output
        finds(venv, NAMES)
        fixed_by(tools, venv)
    tried("failing looks of uvshim fix", len(looks))


def test_no_call_that_changes_a_file_is_forgotten(
    strace: None, overlay: Callable[[Venv], Overlay], installed: Venv, tools: Tools, tmp_path: Path
) -> None:
    venv = overlay(installed).fresh()
    command: list[str | Path] = [tools.uvshim, "fix", venv.path]
    traced = trace(command, tools.variables, tmp_path, calls=("all",))
    assert traced.status == 0, traced.output
    made = {call.name for call in traced.calls if str(venv.path) in call.text}
    assert made - set(CHANGING) - set(LOOKING) == set()
    assert {"rename", "openat", "write"} <= made
