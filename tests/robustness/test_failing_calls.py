"""A system call fails: uvshim reports it, exits with 3 and loses nothing; `fix` completes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.robustness.conftest import NAMES
from tests.robustness.faults import CHANGING, LOOKING, points, trace, trace_uvshim
from tests.robustness.invariants import checksum, remains
from tests.robustness.test_killed import are_found, fix, fixed_by, installing, without_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.places import Venv
    from tests.robustness.disks import Overlay, Place, Plain
    from tests.robustness.invariants import Tools
    from tests.robustness.test_killed import Runs

# Two of a kind would show the same: what the code asks is whether it may not (PermissionError), and
# everything else is one. A disk that is full or read-only, test_disks has for real.
ERRORS = {"EIO": "input/output error", "EACCES": "permission denied"}


def failing_everywhere(
    place: Place,
    run: Runs,
    error: str,
    tools: Tools,
    directory: Path,
    empty: set[str],
) -> int:
    """Let each call of that run that changes something fail once, and check every time."""
    venv = place.fresh()
    whole = run(tools, venv, directory)
    assert whole.status == 0, whole.output
    found = points(whole, venv.site_packages)
    harmless = 0
    for point in found:
        print("failed:", point.name, point.number)
        venv = place.fresh()
        cache = checksum(directory / "cache")
        inject = f"{point.name}:error={error}:when={point.number}"
        traced = run(tools, venv, directory, inject)
        assert "(INJECTED)" in traced.log
        assert checksum(directory / "cache") == cache
        assert "Traceback" not in traced.output
        if traced.status == 0:
            harmless += 1  # there was another way, or it was not necessary
        else:
            assert traced.status == 3, traced.output
            assert f"was left alone: {ERRORS[error]}" in traced.output
            if run is not fix:
                assert (
                    f"hint: `uvshim fix {venv.path}` tries again, or names what helps\n"
                    in traced.output
                )
        are_found(tools, venv)
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
    count = failing_everywhere(plain(installed), fix, error, tools, tmp_path, empty)
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
    run = installing(two_wheels)
    count = failing_everywhere(plain(bare), run, error, tools, tmp_path, empty)
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
    count = failing_everywhere(overlay(installed), fix, error, tools, tmp_path, empty)
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
    whole = trace_uvshim(tools, ["fix", venv.path], tmp_path, calls=calls)
    looks = [
        call for call in whole.calls if str(venv.site_packages) in call.text and not call.changes
    ]
    assert len(looks) > 20
    for point in looks:
        print("failed:", point.name, point.number)
        venv = place.fresh()
        inject = f"{point.name}:error={error}:when={point.number}"
        command = ("fix", venv.path)
        traced = trace_uvshim(tools, command, tmp_path, inject=inject, calls=calls)
        assert "(INJECTED)" in traced.log
        assert "Traceback" not in traced.output
        assert traced.status in {0, 2, 3}, traced.output
        tools.finds(venv, NAMES)
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


def test_a_fix_in_a_python_that_is_ready_makes_the_calls_of_one_that_starts(
    strace: None, overlay: Callable[[Venv], Overlay], installed: Venv, tools: Tools, tmp_path: Path
) -> None:
    place = overlay(installed)
    venv = place.fresh()
    command: list[str | Path] = [tools.uvshim, "fix", venv.path]
    started = trace(command, tools.variables, tmp_path)
    ready = fix(tools, place.fresh(), tmp_path)
    assert (ready.status, started.status) == (0, 0), ready.output
    one, other = (points(each, venv.site_packages) for each in (started, ready))
    assert [call.name for call in one] == [call.name for call in other]
    assert len(one) > 40
