"""What the acceptance tests share: a cache that outlives them, and every uv that is supported."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from uv import find_uv_bin

CACHE = Path(__file__).parent.parent.parent / ".cache"


@pytest.fixture(scope="session")
def shared_cache() -> Path:
    """uv's cache, for all acceptance tests and the next run of them: what they download is big."""
    return CACHE / "uv-cache"


def install_uv(version: str) -> Path:
    """Return the path of uv's binary in `version`, installed once and kept."""
    kept = CACHE / "uv" / version
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            target = Path(scratch) / "uv"
            command = [find_uv_bin(), "pip", "install", "--quiet", "--no-config", "--no-deps"]
            variables = {k: v for k, v in os.environ.items() if not k.startswith("UV")}
            subprocess.run(
                [*command, "--target", target, f"uv=={version}"], check=True, env=variables
            )
            shutil.rmtree(kept, ignore_errors=True)
            try:
                target.rename(kept)
            except OSError:  # another process was quicker
                if not kept.exists():
                    raise
    return kept / "bin" / "uv"
