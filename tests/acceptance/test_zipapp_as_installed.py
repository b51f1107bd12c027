"""The single file passes the tests that the installed commands pass.

What follows are those tests, collected once more: the commands they run are the file here, under both names.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.commands.test_check import *  # noqa: F403
from tests.commands.test_fix import *  # noqa: F403
from tests.commands.test_run import *  # noqa: F403
from tests.test_cli import *  # noqa: F403
from tests.test_uvpip_forwarding import *  # noqa: F403
from tools import zipapp

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.index

# It is about PYTHONIOENCODING, which does not reach the file.
del test_output_that_cannot_be_written_is_no_traceback  # noqa: F821


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file under the names of the commands, run by the Python that runs the tests."""
    directory = tmp_path_factory.mktemp("bin")
    interpreter = f"#!{sys.executable} -IS\n".encode()
    (directory / "uvshim").write_bytes(interpreter + zipapp.archive(zipapp.contents()))
    (directory / "uvshim").chmod(0o755)
    (directory / "uvpip").symlink_to("uvshim")
    return directory


@pytest.fixture
def uvpip(commands: Path) -> Path:
    return commands / "uvpip"


@pytest.fixture
def uvshim(commands: Path) -> Path:
    return commands / "uvshim"
