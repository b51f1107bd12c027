"""The `sys.path` of a Python, as its module `site` builds it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

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


def test_hidden_files_and_a_byte_order_mark_are_skipped() -> None:
    """As in the newest Python."""
    tree = MemoryTree(
        {
            "site/.hidden.pth": "../hidden\n",
            "site/mark.pth": b"\xef\xbb\xbf../marked\n../after\n",
            **{f"{name}/x": "" for name in ("hidden", "marked", "after")},
        }
    )
    assert search_path(tree, ["site"]) == ["site", "marked", "after"]


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
