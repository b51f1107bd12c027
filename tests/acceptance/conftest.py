"""What the acceptance tests share: a cache that outlives them, and every uv that is supported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture
def registry(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A registry of Docker's own make on this machine: its host and port."""
    if not shutil.which("docker-registry"):
        pytest.skip("NOT TRIED: docker-registry is not installed")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    where = f"127.0.0.1:{port}"
    configuration = tmp_path / "registry.yml"
    configuration.write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"level": "error"},
                "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
                "http": {"addr": where},
            }
        )
    )
    settings = tmp_path / "home" / ".config" / "containers" / "registries.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(f'[[registry]]\nlocation = "{where}"\ninsecure = true\n')
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    process = subprocess.Popen(
        ["docker-registry", "serve", configuration],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(200):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield where
    process.send_signal(signal.SIGTERM)
    process.wait()
