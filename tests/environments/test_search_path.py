"""The `sys.path` of a Python, as its module `site` builds it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.corpus import MemoryTree, write
from uvshim.environments import discovery
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


@pytest.mark.parametrize("alone", [True, False])
def test_an_environment_of_an_old_virtualenv_may_leave_out_the_user_s_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, alone: bool
) -> None:
    """Before 20 it made no pyvenv.cfg, but copied the standard library and a `site` of its own."""
    users = tmp_path / "user" / "lib" / "python3.7" / "site-packages"
    own = tmp_path / "old" / "lib" / "python3.7" / "site-packages"
    for each in (users, own, tmp_path / "old" / "bin"):
        each.mkdir(parents=True)
    (tmp_path / "old" / "bin" / "python").touch()
    if alone:
        (own.parent / "no-global-site-packages.txt").touch()
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "user"))
    monkeypatch.delenv("PYTHONNOUSERSITE", raising=False)
    (found,) = discovery.find(str(tmp_path / "old"))
    assert found.visible == ((str(own),) if alone else (str(users), str(own)))


def installed_site_path(site: Path, python: str | Path = sys.executable) -> list[str]:
    """Return what the module `site` of `python` adds to `sys.path` for the directory `site`."""
    code = (
        f"import sys, site; b = len(sys.path); site.addsitedir({str(site)!r}); print(sys.path[b:])"
    )
    done = subprocess.run([python, "-I", "-S", "-c", code], capture_output=True, check=True)
    path: list[str] = eval(done.stdout)
    return path
