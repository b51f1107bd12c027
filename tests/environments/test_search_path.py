"""The `sys.path` of a Python, as its module `site` builds it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import interpreters
from tests.corpus import MemoryTree, write
from uvshim.environments.search_path import search_path
from uvshim.environments.tree import DiskTree

if TYPE_CHECKING:
    from pathlib import Path


def test_the_search_path_is_site_packages_and_what_pth_files_name() -> None:
    tree = MemoryTree(
        {
            "site/b.pth": "../src\nimport os; os.sep\nimport\tsys\n# ../lib\n\n../missing\n",
            "site/a.pth": "../lib  \n/absolute\n../file.zip\n",
            "site/c.txt": "../hidden\n",
            "src/x": "",
            "lib/x": "",
            "hidden/x": "",
            "absolute/x": "",
            "file.zip": "",
        }
    )
    assert search_path(tree, ["site", "lib"]) == ["site", "lib", "/absolute", "file.zip", "src"]


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: str(path.name))
def test_each_python_reads_pth_files_in_its_own_way(python: Path, tmp_path: Path) -> None:
    """Newer ones skip hidden files and a byte order mark."""
    site = tmp_path / "lib" / python.name / "site-packages"
    write(
        {
            ".hidden.pth": "../hidden\n",
            "mark.pth": b"\xef\xbb\xbf../marked\n../after\n",
            "../hidden/": "",
            "../marked/": "",
            "../after/": "",
        },
        site,
    )
    version = subprocess.run(
        [python, "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (tmp_path / "pyvenv.cfg").write_text(f"version = {version}")
    assert search_path(DiskTree(), [str(site)]) == installed_site_path(site, python)


def test_the_search_path_is_the_one_that_site_makes(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    source = tmp_path / "source with space"
    source.mkdir()
    write(
        {
            "zz.pth": f"# {tmp_path}\n\n{source}  \nimport sys\nnowhere\n",
            "aa.pth": f"./egg.egg\n../site-packages\nimport\tos\n{site}/egg.egg\n",
            "egg.egg/x": "",
            "not-a-pth.txt": "egg.egg",
        },
        site,
    )
    real = installed_site_path(site)
    assert search_path(DiskTree(), [str(site)]) == real
    assert real == [str(site), str(site / "egg.egg"), str(source)]


def installed_site_path(site: Path, python: str | Path = sys.executable) -> list[str]:
    """Return what the module `site` of `python` adds to `sys.path` for the directory `site`."""
    code = (
        f"import sys, site; b = len(sys.path); site.addsitedir({str(site)!r}); print(sys.path[b:])"
    )
    done = subprocess.run([python, "-I", "-S", "-c", code], capture_output=True, check=True)
    path: list[str] = eval(done.stdout)
    return path
