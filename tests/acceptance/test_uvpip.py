"""`uvpip` with what comes from the package index: pip, and wheels that were built wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import install_uv
from tests.places import Venv, found_below, record_faults
from tests.wheels import build_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

pytestmark = pytest.mark.index


@pytest.mark.parametrize("pip", ["pip", "pip==23.2"])
def test_pip_lists_checks_upgrades_and_uninstalls_what_uvpip_installed(
    pip: str, run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    def piped(*words: str | Path) -> str:
        done = run(venv.python, "-m", "pip", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(uvpip, pip).returncode == 0
    offline: list[str | Path] = ["--no-index", "--find-links", wheels]
    assert run(uvpip, *offline, "simple", "plain_name").returncode == 0
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()

    listed = piped("list", "--format", "freeze").splitlines()
    assert {"zope.deferred==1.2", "XStatic-JQuery.TableSorter==2.14.5.3", "simple==4.0"} < {*listed}
    assert "No broken requirements" in piped("check")
    assert "Name: zope.deferred" in piped("show", "zope-deferred")

    build_wheel(wheels, "zope.deferred", "1.3")
    piped("install", "--upgrade", *offline, "zope.deferred")
    assert found_below(venv.site_packages, "zope*.dist-info") == ["zope_deferred-1.3.dist-info"]
    assert run(uvpip, "--reinstall", *offline, "zope.deferred").returncode == 0
    assert found_below(venv.site_packages, "zope*.dist-info") == ["zope.deferred-1.3.dist-info"]

    for name in ("zope_deferred", "XStatic-JQuery.TableSorter", "simple", "plain-name"):
        piped("uninstall", "--yes", name)
    assert found_below(venv.site_packages, "*zope*", "*xstatic*", "simple*", "plain*") == []


@pytest.mark.parametrize("version", ["0.10.12", "0.11.33"])
def test_a_real_wheel_whose_record_names_another_directory_leaves_one_version_after_a_downgrade(
    version: str, run: Run, uvpip: Path, venv: Venv
) -> None:
    uv = install_uv(version)
    wanted = ("--no-deps", "--only-binary", ":all:")
    for release in ("0.18.11", "0.18.10", "0.18.11"):
        done = run(uvpip, *wanted, f"ruamel.yaml=={release}", UVSHIM_UV=str(uv))
        assert done.returncode == 0, done.stderr
        assert venv.dist_infos() == [f"ruamel.yaml-{release}.dist-info"]
        faults = record_faults(venv.site_packages / f"ruamel.yaml-{release}.dist-info")
        # The wheel itself carries a METADATA that its RECORD has another hash of.
        assert [fault for fault in faults if "METADATA has another content" not in fault] == []
    assert run(uv, "pip", "uninstall", "ruamel.yaml").returncode == 0
    assert found_below(venv.site_packages, "*ruamel*") == []


def test_without_uvpip_that_wheel_leaves_two_versions(run: Run, venv: Venv) -> None:
    uv = install_uv("0.10.12")
    for release in ("0.18.11", "0.18.10"):
        wanted = ("--no-deps", "--only-binary", ":all:", f"ruamel.yaml=={release}")
        assert run(uv, "pip", "install", *wanted).returncode == 0
    assert len(venv.dist_infos()) == 2
