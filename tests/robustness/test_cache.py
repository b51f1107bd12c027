"""uv's cache, whose files an environment may share, is unchanged byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.robustness.conftest import DOTTED, NAMES, NORMALIZED
from tests.robustness.invariants import checksum, is_right

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.places import Venv
    from tests.robustness.invariants import Tools


@pytest.mark.parametrize("mode", ["hardlink", "copy", "clone", "symlink"])
def test_nothing_in_the_cache_changes_in_any_link_mode(
    bare: Venv,
    tools: Tools,
    two_wheels: Path,
    own_cache: Path,
    mode: str,
    tried: Callable[[str, int], None],
) -> None:
    choice: list[str | Path] = ["--python", bare.python, "--no-index", "--find-links", two_wheels]
    wanted: list[str | Path] = [*choice, "--link-mode", mode, "--reinstall", *NAMES]
    for _ in range(2):  # after the first time the cache is complete
        assert tools.run(tools.uv, "pip", "install", *wanted).returncode == 0
    metadata = bare.site_packages / NORMALIZED[0] / "METADATA"
    assert (mode == "symlink") == metadata.is_symlink()
    if mode in {"hardlink", "copy"}:  # for `clone`, a file system that cannot gets hard links
        assert (mode == "hardlink") == (metadata.stat().st_nlink > 1)
    before = checksum(own_cache)

    assert tools.fix(bare).returncode == 0
    is_right(bare, DOTTED)
    assert checksum(own_cache) == before

    assert tools.run(tools.uvpip, *wanted).returncode == 0
    is_right(bare, DOTTED)
    assert checksum(own_cache) == before

    assert tools.uninstall(bare, NAMES).returncode == 0
    assert bare.dist_infos() == []
    assert checksum(own_cache) == before
    tried("link modes", 1)


def test_the_checksum_sees_a_byte_and_a_mode_that_change(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a")
    before = checksum(tmp_path)
    file.write_bytes(b"b")
    assert checksum(tmp_path) != before
    file.write_bytes(b"a")
    assert checksum(tmp_path) == before
    file.chmod(0o600)
    assert checksum(tmp_path) != before
