"""Every uv that is supported does what the newest does: the newest of every minor since 0.4."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import install_uv
from tests.places import tree

if TYPE_CHECKING:
    from tests.conftest import Run
    from tests.places import Venv

pytestmark = pytest.mark.index

SUPPORTED = [
    "0.4.30",
    "0.5.31",
    "0.6.17",
    "0.7.22",
    "0.8.24",
    "0.9.30",
    "0.10.12",
    "0.11.33",
    "0.12.24",
    "0.13.9",
]
TOO_OLD = ["0.1.45", "0.2.37", "0.3.5", "0.4.18"]

# The offline tests that are run with each of them: where it installs, what, what is found then.
CORE = [
    "tests/uv/test_arguments.py",
    "tests/test_uvpip.py",
    "tests/test_uvpip_afterwards.py",
    "tests/test_uvpip_environments.py",
    "tests/test_uvpip_kinds.py",
    "tests/test_uvpip_targets.py",
]


@pytest.mark.parametrize("version", SUPPORTED)
def test_the_core_tests_pass_with_every_supported_uv(version: str) -> None:
    root = Path(__file__).parent.parent.parent
    outside = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not macOS", *CORE],
        cwd=root,
        env={**outside, "UVSHIM_TEST_UV": str(install_uv(version))},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-20000:]
    assert int(done.stdout.splitlines()[-1].split(" passed")[0].split()[-1]) > 200


@pytest.mark.parametrize("version", TOO_OLD)
def test_an_older_uv_is_refused_before_anything_is_installed(
    version: str, run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    before = tree(venv.path)
    binary = install_uv(version)
    done = run(uvpip, "--no-index", "-f", wheels, "zope.deferred", UVSHIM_UV=str(binary))
    assert done.returncode == 2
    assert done.stderr == f"error: uvshim needs uv 0.4.19 or later; `{binary}` is {version}\n"
    assert tree(venv.path).keys() - before.keys() <= {".lock"}
