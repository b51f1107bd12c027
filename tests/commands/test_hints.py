"""The commands that `uvshim check` prints, pasted into a shell: afterwards nothing is broken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.corpus import installed, under, write
from tests.damage import follow_hints

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeVenv, Run

NAME = "zope_deferred-1.2.dist-info"


def twin(site: Path, name: str, version: str) -> None:
    """Put a second directory of the distribution beside the one that uv has installed."""
    (info,) = site.glob("zope_deferred-*.dist-info")
    other = Path(shutil.copytree(info, site / name))
    for file in ("METADATA", "RECORD"):
        text = (other / file).read_text()
        (other / file).unlink()
        new = text.replace("Version: 1.2", f"Version: {version}").replace(info.name, name)
        (other / file).write_text(new)
    os.utime(other, (0, 0))  # it was there before


def a_duplicate(site: Path) -> None:
    twin(site, "zope.deferred-1.1.dist-info", "1.1")


def a_misnamed_twin(site: Path) -> None:
    twin(site, "zope.deferred-info.dist-info", "1.1")


def a_ghost(site: Path) -> None:
    shutil.rmtree(site / "zope_deferred")


def a_misnamed_ghost(site: Path) -> None:
    a_ghost(site)
    (site / NAME).rename(site / "zope.deferred-info.dist-info")


def an_empty_directory(site: Path) -> None:
    """As uv leaves one on a full disk."""
    for each in (site / NAME).iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()


def the_rest_of_an_uninstall(site: Path) -> None:
    for name in ("INSTALLER", "METADATA", "RECORD"):
        (site / NAME / name).unlink()


def a_name(site: Path) -> None:
    assert (site / NAME).is_dir()


@pytest.fixture
def install(run: Run, uv: Path, wheels: Path, old_setuptools: Path) -> Callable[..., None]:
    """Install what the tests are about with plain uv."""

    def command(*where: str | Path) -> None:
        choice = ("--no-index", "--find-links", wheels, "--break-system-packages", *where)
        done = run(uv, "pip", "install", "--reinstall", *choice, "simple", "setuptools")
        assert done.returncode == 0, done.stderr

    return command


@pytest.mark.parametrize(
    "spoil",
    [
        *(a_name, a_duplicate, a_ghost, a_misnamed_twin, a_misnamed_ghost),
        *(an_empty_directory, the_rest_of_an_uninstall),
    ],
)
@pytest.mark.parametrize("place", ["venv", "prefix", "target", "inherited", "added", "root"])
def test_every_hint_helps(
    run: Run,
    uvshim: Path,
    make_venv: MakeVenv,
    installation: Path,
    install: Callable[..., None],
    offline: dict[str, Any],
    tmp_path: Path,
    place: str,
    spoil: Callable[[Path], None],
) -> None:
    named = tmp_path / place
    site = named
    if place == "target":
        install("--target", named)
    elif place == "prefix":  # as pip makes one, without a lock
        install("--prefix", named)
        (named / ".lock").unlink()
        (site,) = named.glob("lib/python*/site-packages")
    elif place == "inherited":
        (python,) = installation.glob("bin/python3.*[0-9]")
        (installation / "lib" / python.name / "EXTERNALLY-MANAGED").write_text("[x]\n")
        install("--python", python)
        make_venv(place, "--system-site-packages", python=python)
        (site,) = installation.glob("lib/python*/site-packages")
    elif place == "added":  # by a .pth file
        venv = make_venv("other")
        install("--python", venv.python)
        site = venv.site_packages
        (make_venv(place).site_packages / "other.pth").write_text(f"{site}\n")
    else:
        venv = make_venv(f"{place}/opt/app" if place == "root" else place)
        install("--python", venv.python)
        site = venv.site_packages
        if place == "root":
            for name in ("usr", "etc", "srv"):
                (named / name).mkdir()
            site = Path(shutil.move(site, named / "srv/shared"))
            (next((named / "opt/app/lib").iterdir()) / "site-packages").symlink_to("/srv/shared")
    spoil(site)
    checked = run(uvshim, "check", named)
    assert checked.returncode == 1
    if spoil is an_empty_directory and place in {"target", "root"}:  # nothing tells what it was
        hint = checked.stdout.splitlines()[-1]
        assert "with the Python that imports it: " in hint
        assert "zope_deferred==1.2" in hint
        return
    for _ in range(2):  # `fix` may only tell then that a command is needed
        if run(uvshim, "check", named).returncode:
            follow_hints(run, uvshim, named, offline)
    checked = run(uvshim, "check", named)
    assert checked.returncode == 0, checked.stdout
    assert run(uvshim, "fix", named).returncode == 0
    assert (site / "zope_deferred").is_dir()
    assert not Path("/srv/shared").exists()


def test_a_hint_for_an_inherited_directory_names_all_that_decide_its_spelling(
    run: Run,
    uvshim: Path,
    make_venv: MakeVenv,
    installation: Path,
    install: Callable[..., None],
) -> None:
    """Before setuptools 62, `simple` needs a directory under the name that it spells."""
    (python,) = installation.glob("bin/python3.*[0-9]")
    install("--python", python)
    (base,) = installation.glob("lib/python*/site-packages")
    for path in base.glob("setuptools-*"):
        shutil.rmtree(path)
    shutil.rmtree(base / "pkg_resources")
    venv = make_venv("above", "--system-site-packages", python=python)
    own = venv.site_packages
    (own / "pkg_resources").mkdir()
    (own / "pkg_resources/__init__.py").touch()
    old = own / "setuptools-59.6.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: setuptools\nVersion: 59.6.0\n")
    user = own / "user-1.0.dist-info"
    user.mkdir()
    (user / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: user\nVersion: 1.0\nRequires-Dist: zope-deferred\n"
    )
    checked = run(uvshim, "check", venv.path)
    assert f"hint: uvshim fix {venv.path} {base}\n" in checked.stdout, checked.stdout
    for words in ([venv.path, base], [base, venv.path]):
        run(uvshim, "fix", *words)
        assert (base / NAME).is_dir()
        assert list(base.glob("XStatic_JQuery.TableSorter-*.dist-info"))


def test_all_environments_of_a_root_decide_the_spelling(
    run: Run, uvshim: Path, tmp_path: Path
) -> None:
    site, below = "lib/python3.11/site-packages", tmp_path / "root/base"
    for path, text in {
        "etc/os-release": "",
        "usr/x": "",
        "base/bin/python3.11": "",
        "base/lib/python3.11/os.py": "",
        f"base/{site}/{NAME}/METADATA": "Name: zope.deferred\nVersion: 1.2\n",
        f"base/{site}/{NAME}/RECORD": f"{NAME}/METADATA,,\n{NAME}/RECORD,,\n",
        "env/pyvenv.cfg": "home = /base/bin\ninclude-system-site-packages = true\n",
        f"env/{site}/setuptools-59.6.0.dist-info/METADATA": "Name: setuptools\nVersion: 59.6.0\n",
        f"env/{site}/user-1.0.dist-info/METADATA": (
            "Name: user\nVersion: 1.0\nRequires-Dist: zope-deferred\n"
        ),
    }.items():
        file = tmp_path / "root" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for command, code in (("check", 1), ("fix", 3), ("check", 1)):
        done = run(uvshim, command, tmp_path / "root")
        assert done.returncode == code, done.stdout + done.stderr
        assert "user==1.0" not in done.stdout
        assert " ~ " not in done.stderr
    assert (below / site / NAME).is_dir()


@pytest.mark.parametrize(("python", "helps"), [("3.6", False), ("3.7", True)])
def test_a_newer_setuptools_is_named_only_where_the_python_has_one(
    run: Run, uvshim: Path, tmp_path: Path, python: str, *, helps: bool
) -> None:
    """62 needs Python 3.7."""
    site = under(
        f"lib/python{python}/site-packages",
        installed("setuptools-59.6.0", "setuptools"),
        {"pkg_resources/__init__.py": ""},
        installed("zope_interface-1.0", "zope.interface"),
        installed("one-1.0", "one", ["zope.interface"]),
        installed("two-1.0", "two", ["zope-interface"]),
    )
    done = run(uvshim, "check", write(site, tmp_path / "e"))
    assert done.returncode == 1, done.stderr
    assert "zope.interface is not found as zope.interface" in done.stdout
    assert ("setuptools>=62,<82" in done.stdout) is helps
