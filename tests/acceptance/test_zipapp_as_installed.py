"""The single files pass the tests that the installed commands pass.

What follows are those tests, collected once more: the commands they run are the files here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.test_zipapp import build
from tests.commands.test_check import *  # noqa: F403
from tests.commands.test_fix import *  # noqa: F403
from tests.commands.test_run import *  # noqa: F403
from tests.test_cli import *  # noqa: F403
from tests.test_uvpip_forwarding import *  # noqa: F403
from tools import zipapp

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.index


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files under the names of the commands, run by the Python that runs the tests."""
    directory = build(tmp_path_factory.mktemp("bin"))
    interpreter = f"#!{sys.executable}\n".encode()
    for name in zipapp.MODULES:
        archive = (directory / f"{name}.pyz").read_bytes()
        (directory / name).write_bytes(archive.replace(zipapp.SHEBANG, interpreter, 1))
        (directory / name).chmod(0o755)
    return directory


@pytest.fixture
def uvpip(commands: Path) -> Path:
    return commands / "uvpip"


@pytest.fixture
def uvshim(commands: Path) -> Path:
    return commands / "uvshim"
