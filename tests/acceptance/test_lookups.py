"""Every lookup of the model against the real pkg_resources of each release, one for one.

`UVSHIM_ENVIRONMENTS=10000` compares as many environments that are made by chance.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from tests.acceptance.conftest import CACHE
from tests.check.test_working_set import ENVIRONMENTS, names_in
from tests.corpus import write
from tests.lookups import KEEPS_ORDER, RELEASES, RealLookups, differences
from tests.random_environments import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.index

MADE_BY_CHANCE = int(os.environ.get("UVSHIM_ENVIRONMENTS", "300"))


def setuptools(release: str) -> Path:
    """Return a directory with that release of setuptools, downloaded once and kept."""
    kept = CACHE / "setuptools" / release
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            command = [find_uv_bin(), "pip", "install", "--quiet", "--no-config", "--no-deps"]
            command += ["--python", sys.executable, "--target", f"{scratch}/new"]
            subprocess.run([*command, f"setuptools=={release}"], check=True)
            with contextlib.suppress(OSError):  # another process was quicker
                Path(scratch, "new").rename(kept)
    return kept


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if sys.version_info >= (3, 12) and tuple(map(int, name.split("."))) < (66, 1):
        pytest.skip("this pkg_resources does not work on Python 3.12 and later")
    return name


@pytest.fixture
def real(release: str) -> Iterator[RealLookups]:
    with contextlib.closing(RealLookups(setuptools(release))) as lookups:
        yield lookups


def test_the_model_answers_about_every_kind_of_environment(
    release: str, real: RealLookups, tmp_path: Path
) -> None:
    is_old = tuple(map(int, release.split("."))) < KEEPS_ORDER
    for number, (title, files) in enumerate(ENVIRONMENTS.items()):
        # Two errors at once: which comes first is left to chance in old releases.
        if is_old and title in {"unreadable metadata", "names that are no names"}:
            continue
        place = str(write(files, tmp_path / str(number)))
        names = sorted(names_in(files))
        assert differences(release, [place], real, names) == [], title


def test_the_model_answers_about_environments_made_at_random(
    release: str, real: RealLookups
) -> None:
    for number in range(MADE_BY_CHANCE):
        directory = Path(tempfile.mkdtemp())
        try:
            places = [
                str(write(files, directory / str(place)))
                for place, files in enumerate(environment(number))
            ]
            assert differences(release, places, real) == [], number
        finally:
            shutil.rmtree(directory)
