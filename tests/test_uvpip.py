"""`uvpip`, the command: one install from beginning to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.places import Venv, record_faults

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run


@pytest.mark.on_macos_too
def test_a_dotted_name_is_found_by_pkg_resources_only_after_uvpip(
    run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path, old_setuptools: Path
) -> None:
    wanted = ("--no-index", "--find-links", wheels, "setuptools", "simple", "plain_name")
    assert run(uv, "pip", "install", *wanted).returncode == 0
    assert not venv.requires("simple")
    assert run(uvpip, "--reinstall", *wanted).returncode == 0
    assert venv.requires("simple")
    assert venv.requires("zope.deferred")
    assert venv.requires("XStatic-JQuery.TableSorter")
    assert venv.dist_infos() == [
        "XStatic_JQuery.TableSorter-2.14.5.3.dist-info",
        "plain_name-3.0.dist-info",
        "setuptools-75.8.0.dist-info",
        "simple-4.0.dist-info",
        "zope.deferred-1.2.dist-info",
    ]
    for name in venv.dist_infos():
        assert record_faults(venv.site_packages / name) == []
