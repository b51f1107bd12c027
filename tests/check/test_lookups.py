"""Every lookup of the model against the real pkg_resources of setuptools 75.8.0.

`tests/acceptance/test_lookups.py` does the same with other releases and many more environments.
"""

from __future__ import annotations

import contextlib
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.check.test_working_set import ENVIRONMENTS, names_in
from tests.conftest import DOWNLOADED
from tests.corpus import write
from tests.lookups import RealLookups, differences
from tests.random_environments import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RELEASE = "75.8.0"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLookups]:
    directory = tmp_path_factory.mktemp("setuptools")
    (wheel,) = DOWNLOADED.glob(f"setuptools-{RELEASE}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    with contextlib.closing(RealLookups(directory)) as lookups:
        yield lookups


@pytest.mark.parametrize("title", ENVIRONMENTS)
def test_every_lookup_agrees_about(title: str, real: RealLookups, tmp_path: Path) -> None:
    files = ENVIRONMENTS[title]
    place = str(write(files, tmp_path / "site"))
    assert differences(RELEASE, [place], real, sorted(names_in(files))) == []


@pytest.mark.parametrize("number", range(20))
def test_every_lookup_agrees_about_an_environment_made_at_random(
    number: int, real: RealLookups, tmp_path: Path
) -> None:
    places = [
        str(write(files, tmp_path / str(place))) for place, files in enumerate(environment(number))
    ]
    assert differences(RELEASE, places, real) == []
