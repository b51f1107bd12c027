"""Several processes in one environment: none fails that would not fail with plain uv."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.robustness.invariants import is_right
from tests.wheels import build_wheel, normalized

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeVenv
    from tests.robustness.invariants import Tools

NAMES = [
    f"Race.{word}-x"
    for word in ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
]
VERSIONS = ("1.0", "2.0")


def directory(name: str, version: str) -> str:
    """Return what the directory of a distribution shall be called."""
    return f"{name.replace('-', '_')}-{version}.dist-info"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Wheels of ten distributions in two versions each, most of them needing another."""
    wheels = tmp_path / "many"
    for number, name in enumerate(NAMES):
        for version in VERSIONS:
            files = {f"{normalized(name)}/m{n}.py": f"{version}\n" for n in range(20)}
            requires = [NAMES[number // 2]] if number % 3 else []
            build_wheel(wheels, name, version, files=files, requires=requires)
    return wheels


def at_once(
    tools: Tools, commands: list[list[str | Path]]
) -> list[subprocess.CompletedProcess[str]]:
    """Run all `commands` at the same time and return how they ended."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda command: tools.run(*command), commands))


@pytest.mark.parametrize("seed", range(4))
def test_eight_uvpip_at_once_leave_every_name_and_record_right(
    make_venv: MakeVenv, tools: Tools, many: Path, seed: int, tried: Callable[[str, int], None]
) -> None:
    venv = make_venv("raced")
    chance = random.Random(seed)
    choice = ("--python", venv.python, "--no-index", "--find-links", many)
    commands: list[list[str | Path]] = []
    for _ in range(8):
        wanted = [
            f"{name}=={chance.choice(VERSIONS)}" if chance.random() < 0.5 else name
            for name in chance.sample(NAMES, 4)
        ]
        more = ["--reinstall"] if chance.random() < 0.3 else []
        commands.append([tools.uvpip, *choice, *more, *wanted])
    for command, done in zip(commands, at_once(tools, commands), strict=True):
        # uv refuses what cannot be resolved at all; that is the same with uv alone.
        assert done.returncode == 0 or "No solution found" in done.stderr, (command, done.stderr)
        assert "warning" not in done.stderr, done.stderr
    found = venv.dist_infos()
    assert set(found) <= {directory(name, version) for name in NAMES for version in VERSIONS}
    assert len({name.partition("-")[0] for name in found}) == len(found)
    is_right(venv, found)
    tried("races", 1)


@pytest.mark.parametrize("seed", range(4))
def test_uvpip_among_plain_uv_and_fix_leaves_nothing_that_a_last_fix_does_not_fix(
    make_venv: MakeVenv, tools: Tools, many: Path, seed: int, tried: Callable[[str, int], None]
) -> None:
    venv = make_venv("raced")
    chance = random.Random(seed)
    choice: list[str | Path] = ["--python", venv.python]
    source: list[str | Path] = [*choice, "--no-index", "--find-links", many]
    kinds: list[Callable[[list[str]], list[str | Path]]] = [
        lambda names: [tools.uvpip, *source, "--reinstall", *names],
        lambda names: [tools.uv, "pip", "install", *source, "--reinstall", *names],
        lambda names: [tools.uv, "pip", "uninstall", *choice, *names],
        lambda _names: [tools.uvshim, "fix", venv.path],
    ]
    for _ in range(3):
        commands = [kind(chance.sample(NAMES, 4)) for kind in kinds * 2]
        chance.shuffle(commands)
        for command, done in zip(commands, at_once(tools, commands), strict=True):
            assert done.returncode == 0, (command, done.stderr)
            assert "was left alone" not in done.stderr
    done = tools.fix(venv)
    assert done.returncode == 0, done.stderr
    is_right(venv, venv.dist_infos())
    assert set(venv.dist_infos()) <= {directory(name, "2.0") for name in NAMES}
    assert tools.fix(venv).stderr == f"Nothing to fix in `{venv.path}`\n"
    tried("races", 3)
