"""What `import uvshim` offers to programs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import uvshim
from tests.corpus import installed, write
from uvshim.errors import ConfigurationError, EnvironmentUnknownError

if TYPE_CHECKING:
    from tests.conftest import Run
    from tests.places import Venv


def test_renormalize_renames_what_is_new_since_a_snapshot(
    run: Run, uv: Path, venv: Venv, wheels: Path
) -> None:
    install = (uv, "pip", "install", "--no-index", "--find-links", wheels)
    assert run(*install, "xstatic-jquery.tablesorter").returncode == 0
    before = uvshim.Snapshot.take([str(venv.site_packages)])
    assert run(*install, "zope.deferred").returncode == 0
    (renamed,) = uvshim.renormalize(venv.site_packages, before).renamed
    assert (renamed.name, renamed.version) == ("zope.deferred", "1.2")
    assert renamed.path == str(venv.site_packages / "zope.deferred-1.2.dist-info")
    assert "xstatic_jquery_tablesorter-2.14.5.3.dist-info" in venv.dist_infos()


@pytest.mark.parametrize("spelling", ["a string", "a path", "through a link"])
def test_a_snapshot_is_of_a_directory_however_it_is_named(
    spelling: str, run: Run, uv: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    install = (uv, "pip", "install", "--no-index", "--find-links", wheels)
    assert run(*install, "xstatic-jquery.tablesorter").returncode == 0
    (tmp_path / "link").symlink_to(venv.path)
    linked = tmp_path / "link" / venv.site_packages.relative_to(venv.path)
    named: dict[str, str | Path] = {"a string": str(venv.site_packages), "through a link": linked}
    before = uvshim.Snapshot.take(named.get(spelling, venv.site_packages))
    assert run(*install, "zope.deferred").returncode == 0
    renamed = uvshim.renormalize(venv.site_packages, before).renamed
    assert [each.name for each in renamed] == ["zope.deferred"]


def test_a_snapshot_of_another_directory_is_refused(venv: Venv, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not one of"):
        uvshim.renormalize(venv.site_packages, uvshim.Snapshot.take([str(tmp_path)]))


def test_renormalize_leaves_excluded_names_and_wants_the_directory_itself(
    run: Run, uv: Path, venv: Venv, wheels: Path
) -> None:
    assert run(uv, "pip", "install", "--no-index", "-f", wheels, "simple").returncode == 0
    (renamed,) = uvshim.renormalize(venv.site_packages, exclude=["zope.*"]).renamed
    assert renamed.name == "XStatic-JQuery.TableSorter"
    assert uvshim.renormalize(venv.site_packages, exclude="zope.deferred").renamed == []
    with pytest.raises(ConfigurationError, match="matches no project name"):
        uvshim.renormalize(venv.site_packages, exclude="zope.deferred simple")
    with pytest.raises(EnvironmentUnknownError, match=f"Name `{venv.site_packages}`"):
        uvshim.renormalize(venv.path)
    (venv.path / "x-1.0.dist-info").mkdir()  # a target may have other directories below it
    assert uvshim.renormalize(venv.path).renamed == []


def test_renormalize_without_a_snapshot_renames_all_of_a_directory(
    run: Run, uv: Path, venv: Venv, wheels: Path
) -> None:
    wanted = ("--no-index", "--find-links", wheels, "simple", "plain_name")
    assert run(uv, "pip", "install", *wanted).returncode == 0
    assert len(uvshim.renormalize(str(venv.site_packages)).renamed) == 2
    assert uvshim.renormalize(str(venv.site_packages)).renamed == []


def test_renormalize_names_what_has_a_twin(venv: Venv) -> None:
    for version in ("1.0", "1.1"):
        write(installed(f"a_b-{version}", "a.b"), venv.site_packages)
    done = uvshim.renormalize(venv.site_packages)
    assert done.renamed == []
    assert {Path(each.path).name for each in done.left_alone} == {
        "a_b-1.0.dist-info",
        "a_b-1.1.dist-info",
    }


def test_renormalize_counts_a_directory_once_however_it_is_named(
    venv: Venv, tmp_path: Path
) -> None:
    """A requirement needs the wheel's name back."""
    files = installed("a.b-1.0", "a.b") | installed("needs-1.0", "needs", ["a-b"])
    old = installed("setuptools-59.6.0", "setuptools") | {"pkg_resources/__init__.py": ""}
    write({**files, **old, "a.b-1.0.dist-info/ORIGINAL.uvshim": "a_b-1.0"}, venv.site_packages)
    (tmp_path / "current").symlink_to(venv.path)
    done = uvshim.renormalize(tmp_path / "current" / venv.site_packages.relative_to(venv.path))
    assert ([each.name for each in done.renamed], done.left_alone) == (["a.b"], [])


def test_renormalize_refuses_what_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnknownError, match="nowhere"):
        uvshim.renormalize(tmp_path / "nowhere")


def test_diagnose_reads_a_tree(run: Run, uv: Path, venv: Venv, wheels: Path) -> None:
    wanted = ("--no-index", "--find-links", wheels, "zope.deferred")
    assert run(uv, "pip", "install", *wanted).returncode == 0
    diagnosis = uvshim.diagnose(uvshim.DiskTree(str(venv.path)))
    assert [each.name for each in diagnosis.findings] == [
        "XStatic-JQuery.TableSorter",
        "zope.deferred",
    ]


def test_renormalize_leaves_what_conda_owns_unless_a_snapshot_proves_that_it_is_new(
    run: Run, uv: Path, venv: Venv, wheels: Path
) -> None:
    """Packages of conda are built with uv: their RECORD looks like its own."""
    wanted = ("--no-index", "--find-links", wheels, "zope.deferred")
    assert run(uv, "pip", "install", *wanted).returncode == 0
    (info,) = venv.site_packages.glob("zope_deferred-*.dist-info")
    (info / "INSTALLER").unlink()
    (info / "INSTALLER").write_text("conda\n")
    outcome = uvshim.renormalize(venv.site_packages)
    assert [each.name for each in outcome.renamed] == ["XStatic-JQuery.TableSorter"]
    assert [(each.path, each.reason) for each in outcome.owned] == [(str(info), "conda")]


def test_diagnose_takes_paths_and_says_what_a_platform_is(venv: Venv) -> None:
    assert uvshim.diagnose(uvshim.DiskTree(), [venv.site_packages]).findings == ()
    for platform in ("linux", "linux/", "a/b/c/d"):
        with pytest.raises(ValueError, match="OS/ARCHITECTURE"):
            uvshim.diagnose(uvshim.DiskTree(), [venv.site_packages], platform=platform)


def test_everything_that_is_offered_is_there_and_nothing_else() -> None:
    assert all(getattr(uvshim, name) is not None for name in dir(uvshim))
    typed = re.findall(r"import \w+ as (\w+)", Path(uvshim.__file__).read_text())
    assert sorted(typed) == sorted({*dir(uvshim)} - {"__version__"})
    names: dict[str, object] = {}
    exec("from uvshim import *", names)
    assert {*typed} <= names.keys()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = uvshim.nothing


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import uvshim; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"uvshim"}
