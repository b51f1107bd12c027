"""The ground truth for the names: what setuptools itself wrote, before it normalized them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.places import record_faults

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeVenv, Run

pytestmark = pytest.mark.index

# Real projects that publish sdists built with setuptools, and what setuptools 75.0.0 writes.
PROJECTS = {
    "XStatic-JQuery.TableSorter==2.14.5.3": "XStatic_JQuery.TableSorter-2.14.5.3.dist-info",
    "backports.entry-points-selectable==1.3.0": (
        "backports.entry_points_selectable-1.3.0.dist-info"
    ),
    "oslo.cache==3.10.2": "oslo.cache-3.10.2.dist-info",
    "oslo.i18n==6.5.1": "oslo.i18n-6.5.1.dist-info",
    "zope.deferredimport==5.0": "zope.deferredimport-5.0.dist-info",
    "zope.event==5.0": "zope.event-5.0.dist-info",
    "jaraco.classes==3.4.0": "jaraco.classes-3.4.0.dist-info",
    "dogpile.cache==1.3.4": "dogpile.cache-1.3.4.dist-info",
    "os-client-config==2.1.0": "os_client_config-2.1.0.dist-info",
}


def test_what_uvpip_writes_is_what_an_older_setuptools_wrote_for_the_same_sdists(
    run: Run, uv: Path, uvpip: Path, make_venv: MakeVenv, tmp_path: Path
) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join([*PROJECTS, ""]))
    old, new = make_venv("old"), make_venv("new")
    commands: dict[str, list[str | Path]] = {
        "75.0.0": [uv, "pip", "install", "-p", old.path],
        "80.9.0": [uvpip, "-p", new.path],
    }
    for setuptools, command in commands.items():
        constraints = tmp_path / f"{setuptools}.txt"
        constraints.write_text(f"setuptools=={setuptools}\n")
        # uv knows a wheel that it has built by its source alone: each setuptools has its own cache.
        done = run(
            *command,
            *("--no-deps", "--no-binary", ":all:", "--build-constraints", constraints),
            *("-r", requirements),
            UV_CACHE_DIR=str(tmp_path / setuptools),
        )
        assert done.returncode == 0, done.stderr
    assert old.dist_infos() == sorted(PROJECTS.values())
    assert new.dist_infos() == old.dist_infos()
    for name in new.dist_infos():
        assert record_faults(new.site_packages / name) == []
