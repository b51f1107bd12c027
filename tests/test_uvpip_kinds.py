"""Every kind of source and link, and of earlier installations."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import installer
import packaging
import pytest

import uvshim
from tests.damage import follow_hints
from tests.places import found_below, record_faults, tree
from tests.wheels import build_wheel

if TYPE_CHECKING:
    from tests.conftest import MakeVenv, Run
    from tests.places import Venv

DOTTED = "zope.deferred-1.2.dist-info"
NORMALIZED = "zope_deferred-1.2.dist-info"

# A build backend in the project itself, without requirements: so an sdist can be built
# without a package index. What it writes is what today's backends write: the normalized name.
BACKEND = """\
import shutil, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from tests.wheels import build_wheel as build

def _build(directory, **more):
    return build(Path(directory), {name!r}, {version!r}, **more).name

def build_wheel(directory, config_settings=None, metadata_directory=None):
    return _build(directory)

def build_editable(directory, config_settings=None, metadata_directory=None):
    return _build(directory, files={{"_{version}.pth": {here!r}}})
"""


def make_project(directory: Path, name: str, version: str) -> Path:
    """Write a project with its own build backend to `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (directory / "PKG-INFO").write_text(
        f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"
    )
    (directory / "backend.py").write_text(
        BACKEND.format(
            tests=str(Path(__file__).parent.parent),
            name=name,
            version=version,
            here=str(directory),
        )
    )
    return directory


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a dotted name in a directory, from which it can be built offline."""
    return make_project(tmp_path / "project", "zope.deferred", "1.2")


@pytest.fixture
def sdist(project: Path, tmp_path: Path) -> Path:
    stem = "zope_deferred-1.2"
    shutil.copytree(project, tmp_path / "root" / stem)
    archive = shutil.make_archive(str(tmp_path / stem), "gztar", tmp_path / "root", stem)
    shutil.rmtree(tmp_path / "root")
    return Path(archive)


SOURCES = {
    "a wheel from an index": ["--no-deps", "-f", "{wheels}", "zope.deferred"],
    "a wheel by its path": ["--no-deps", "{wheel}"],
    "a wheel by its URL": ["--no-deps", "file://{wheel}"],
    "a wheel by name and URL": ["--no-deps", "zope.deferred @ file://{wheel}"],
    "an sdist by its path": ["{sdist}"],
    "an sdist by its URL": ["file://{sdist}"],
    "an sdist from an index": ["-f", "{tmp}", "--no-binary", "zope.deferred", "zope.deferred"],
    "a directory": ["{project}"],
    "a directory, relative": ["./project"],
    "a directory by its URL": ["zope.deferred @ file://{project}"],
    "editable": ["-e", "{project}"],
    "editable, relative": ["--editable", "./project"],
    "editable by its URL": ["-e", "file://{project}"],
    "a requirements file": ["-r", "{requirements}"],
    "a requirements file, editable": ["-r", "{editable}"],
    "without build isolation": ["--no-build-isolation", "{project}"],
}


@pytest.fixture
def places(tmp_path: Path, wheels: Path, project: Path, sdist: Path) -> dict[str, Path]:
    (tmp_path / "requirements.txt").write_text(f"{project}\n")
    (tmp_path / "editable.txt").write_text("-e ./project\n")
    return {
        "tmp": tmp_path,
        "wheels": wheels,
        "wheel": next(wheels.glob("zope_deferred-*")),
        "project": project,
        "sdist": sdist,
        "requirements": tmp_path / "requirements.txt",
        "editable": tmp_path / "editable.txt",
    }


@pytest.mark.parametrize("words", SOURCES.values(), ids=SOURCES)
def test_from_every_source_it_gets_its_name_and_a_true_record(
    words: list[str], run: Run, uv: Path, uvpip: Path, venv: Venv, places: dict[str, Path]
) -> None:
    done = run(uvpip, "--no-index", *[word.format(**places) for word in words])
    assert done.returncode == 0, done.stderr
    assert venv.dist_infos() == [DOTTED]
    assert record_faults(venv.site_packages / DOTTED) == []
    editable = (venv.site_packages / "_1.2.pth").exists()
    assert editable == any(word in {"-e", "--editable", "{editable}"} for word in words)
    assert run(uv, "pip", "uninstall", "zope.deferred").returncode == 0
    assert found_below(venv.site_packages, "*zope*", "_1.2.pth") == []


def files_in(cache: Path) -> dict[str, tuple[str, bytes]]:
    """Return the files in uv's `cache`, except data on interpreters."""
    return {
        path: (kind, content)
        for path, (kind, content) in tree(cache).items()
        if kind != "directory" and not path.startswith("interpreter")
    }


@pytest.mark.parametrize("mode", ["hardlink", "copy", "clone", "symlink"])
@pytest.mark.parametrize("compile_", [[], ["--compile-bytecode"]], ids=["source", "bytecode"])
def test_in_every_link_mode_uvs_cache_is_unchanged(
    mode: str,
    compile_: list[str],
    run: Run,
    uv: Path,
    uvpip: Path,
    make_venv: MakeVenv,
    wheels: Path,
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    words: list[str | Path] = ["--no-index", "-f", wheels, "--link-mode", mode, "simple"]
    first, second = make_venv("first"), make_venv("second")
    plain = run(uv, "pip", "install", "-p", first.path, *words, UV_CACHE_DIR=str(cache))
    assert plain.returncode == 0, plain.stderr
    before = files_in(cache)
    done = run(uvpip, "-p", second.path, *words, *compile_, UV_CACHE_DIR=str(cache))
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in second.dist_infos()
    for name in second.dist_infos():
        assert record_faults(second.site_packages / name) == []
    assert files_in(cache) == before
    assert run(uv, "pip", "uninstall", "-p", second.path, "zope.deferred", "simple").returncode == 0
    assert found_below(second.site_packages, "*zope*", "simple*") == []


@pytest.fixture
def two_versions(wheels: Path) -> Path:
    build_wheel(wheels, "zope.deferred", "1.3", requires=["XStatic-JQuery.TableSorter"])
    return wheels


@pytest.mark.parametrize("before", ["dotted", "normalized"])
@pytest.mark.parametrize(
    ("first", "words", "expected"),
    [
        ("==1.2", ["zope.deferred==1.3"], "1.3"),
        ("==1.2", ["-U", "zope.deferred"], "1.3"),
        ("==1.2", ["-P", "zope.deferred", "simple"], "1.3"),
        ("==1.3", ["zope.deferred<1.3"], "1.2"),
        ("==1.2", ["--reinstall", "zope.deferred==1.2"], "1.2"),
        ("==1.2", ["--reinstall-package", "zope.deferred", "zope.deferred==1.2"], "1.2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_after_a_reinstall_only_the_dotted_directory_is_left(
    before: str,
    first: str,
    words: list[str],
    expected: str,
    run: Run,
    uv: Path,
    uvpip: Path,
    venv: Venv,
    two_versions: Path,
) -> None:
    offline: list[str | Path] = ["--no-index", "-f", two_versions]
    command = [uvpip] if before == "dotted" else [uv, "pip", "install"]
    assert run(*command, *offline, f"zope.deferred{first}").returncode == 0
    done = run(uvpip, *offline, *words)
    assert done.returncode == 0, done.stderr
    assert found_below(venv.site_packages, "zope*.dist-info") == [
        f"zope.deferred-{expected}.dist-info"
    ]
    assert record_faults(venv.site_packages / f"zope.deferred-{expected}.dist-info") == []


def test_exact_and_sync_remove_unwanted_distributions_of_any_name(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    offline: list[str | Path] = ["--no-index", "-f", wheels]
    for words in (["--exact", "plain_name"], ["sync", "-"]):
        assert run(uvpip, *offline, "simple").returncode == 0
        assert DOTTED in venv.dist_infos()
        done = run(uvpip, *words[:1], *offline, *words[1:], stdin="plain_name\n")
        assert done.returncode == 0, done.stderr
        assert venv.dist_infos() == ["plain_name-3.0.dist-info"]
        assert found_below(venv.site_packages, "zope*", "xstatic*", "simple*") == []


def test_sync_gives_what_it_installs_its_name(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    requirements = wheels.parent / "requirements.txt"
    requirements.write_text("zope.deferred==1.2\nplain_name\n")
    done = run(uvpip, "sync", "--no-index", "-f", wheels, requirements)
    assert done.returncode == 0, done.stderr
    assert venv.dist_infos() == ["plain_name-3.0.dist-info", DOTTED]


def test_without_dependencies_only_what_is_named_is_installed_and_renamed(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    assert run(uvpip, "--no-index", "-f", wheels, "--no-deps", "zope.deferred").returncode == 0
    assert venv.dist_infos() == [DOTTED]


def test_only_what_is_new_is_touched(
    run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    offline: list[str | Path] = ["--no-index", "-f", wheels]
    old = "XStatic-JQuery.TableSorter"
    assert run(uv, "pip", "install", *offline, old).returncode == 0
    directory = venv.site_packages / "xstatic_jquery_tablesorter-2.14.5.3.dist-info"
    before = (tree(directory), os.stat(directory).st_mtime_ns, states(directory))
    assert run(uvpip, *offline, "zope.deferred", "plain_name").returncode == 0
    assert venv.dist_infos() == ["plain_name-3.0.dist-info", directory.name, DOTTED]
    assert (tree(directory), os.stat(directory).st_mtime_ns, states(directory)) == before


def states(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Return the inode, mtime and ctime of everything in `directory`, by its path."""
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_ctime_ns)
        for path in directory.rglob("*")
        if path.name != ".lock"
    }


def test_a_second_run_renames_nothing_and_changes_no_file(
    run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    words: list[str | Path] = ["--no-index", "-f", wheels, "simple", "plain_name"]
    assert "Renormalized 2" in run(uvpip, *words).stderr
    before = states(venv.path)
    assert len(before) > 20
    again = run(uvpip, *words)
    assert (again.returncode, "Renormalized" in again.stderr) == (0, False)
    assert states(venv.path) == before


def test_a_reinstall_renames_each_again(run: Run, uvpip: Path, venv: Venv, wheels: Path) -> None:
    words: list[str | Path] = ["--no-index", "-f", wheels, "--reinstall", "simple"]
    for _ in range(3):
        assert "Renormalized 2" in run(uvpip, *words).stderr
        assert venv.dist_infos() == [
            "XStatic_JQuery.TableSorter-2.14.5.3.dist-info",
            "simple-4.0.dist-info",
            DOTTED,
        ]


def test_a_record_that_names_another_directory_is_fixed(
    run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    for version in ("0.1", "0.2"):
        build_wheel(
            wheels,
            "ruamel.like",
            version,
            stem=f"ruamel.like-{version}",
            record_stem=f"ruamel_like-{version}",
        )
    for version in ("0.2", "0.1", "0.2"):
        done = run(uvpip, "--no-index", "-f", wheels, f"ruamel.like=={version}")
        assert done.returncode == 0, done.stderr
        assert venv.dist_infos() == [f"ruamel.like-{version}.dist-info"]
        assert record_faults(venv.site_packages / f"ruamel.like-{version}.dist-info") == []
    assert run(uv, "pip", "uninstall", "ruamel.like").returncode == 0
    assert found_below(venv.site_packages, "*ruamel*") == []


@pytest.mark.on_macos_too
def test_what_a_failed_install_has_completed_is_renamed(
    run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    """A script acts as a uv that installs, and then fails."""
    failing = tmp_path / "uv-that-fails"
    failing.write_text(
        f'#!/bin/sh\n{uv} "$@" || exit 9\ncase "$*" in *dry-run*) ;; *) exit 7 ;; esac\n'
    )
    failing.chmod(0o755)
    done = run(uvpip, "--no-index", "-f", wheels, "zope.deferred", UVSHIM_UV=str(failing))
    assert done.returncode == 7
    assert DOTTED in venv.dist_infos()


def test_what_cannot_be_fixed_is_reported_and_is_an_error(
    run: Run, uvpip: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    (venv.site_packages / "zope.deferred-1.2.dist-info").mkdir()
    (venv.site_packages / "zope.deferred-1.2.dist-info" / "METADATA").touch()
    done = run(uvpip, "--no-index", "-f", wheels, "zope.deferred", "--reinstall")
    assert done.returncode == 3
    assert f"zope_deferred-1.2.dist-info` was left alone: `{DOTTED}` exists already" in done.stderr
    assert f"hint: `uvshim fix {venv.path}" in done.stderr
    assert NORMALIZED in venv.dist_infos()
    assert "XStatic_JQuery.TableSorter-2.14.5.3.dist-info" in venv.dist_infos()


@pytest.mark.parametrize(
    ("option", "place"),
    [
        ("--target", "./t"),
        ("--target", "."),
        ("--target", "a/../t"),
        ("--target", "t"),
        ("--prefix", "./p"),
        ("--prefix", "a/../p"),
    ],
)
def test_installing_again_into_a_relative_place_leaves_one_directory(
    option: str,
    place: str,
    run: Run,
    uv: Path,
    uvpip: Path,
    uvshim: Path,
    venv: Venv,
    wheels: Path,
    tmp_path: Path,
) -> None:
    desk = tmp_path / "desk"
    (desk / "a").mkdir(parents=True)
    offline = ("--no-index", "-f", wheels, "zope.deferred==1.2")
    command = (uvpip, "-p", venv.python, *offline, option, place)
    for more in ((), ("--reinstall",), ("--reinstall", "--no-deps")):
        done = run(*command, *more, cwd=desk)
        assert done.returncode == 0, done.stderr
        assert "left alone" not in done.stderr
        (info,) = desk.rglob("*deferred*.dist-info")
        assert info.name == DOTTED
        assert record_faults(info) == []
    plain = run(uv, "pip", "install", *command[1:], "--reinstall", cwd=desk)
    assert plain.returncode == 0
    # Older releases of uv leave an empty directory.
    are_two = len([each for each in desk.rglob("*deferred*.dist-info") if os.listdir(each)]) > 1
    done = run(uvshim, "fix", info.parent)  # nothing proves which one is later
    assert done.returncode == (3 if are_two else 0)
    assert (f"`{info}` duplicates zope.deferred" in done.stderr) == are_two
    if are_two:
        found = {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels)}
        follow_hints(run, uvshim, info.parent, found)
    assert [each.name for each in desk.rglob("*deferred*.dist-info")] == [DOTTED]


@pytest.mark.parametrize("left", ["an egg-info", "no RECORD"])
def test_nothing_is_renamed_beside_an_older_installation_that_uv_has_left(
    left: str, run: Run, uvpip: Path, venv: Venv, wheels: Path
) -> None:
    """Both would have the same key, and pkg_resources may find the older one."""
    suffix, file = ("egg-info", "PKG-INFO") if left == "an egg-info" else ("dist-info", "METADATA")
    older = venv.site_packages / f"zope.deferred-0.5.{suffix}"
    older.mkdir()
    (older / file).write_text("Metadata-Version: 1.0\nName: zope.deferred\nVersion: 0.5\n")
    done = run(uvpip, "--no-index", "-f", wheels, "zope.deferred==1.2")
    assert done.returncode == 3, done.stderr
    assert "was left alone: another installation of it was not removed" in done.stderr
    assert NORMALIZED in venv.dist_infos()
    assert "XStatic_JQuery.TableSorter-2.14.5.3.dist-info" in venv.dist_infos()
    assert older.is_dir()


def test_a_wheel_with_a_dash_in_its_directory_is_renamed(
    run: Run, uvpip: Path, uv: Path, venv: Venv, wheels: Path
) -> None:
    build_wheel(wheels, "oslo-hy", "1.0", stem="oslo-hy-1.0")
    done = run(uvpip, "--no-index", "-f", wheels, "oslo-hy")
    assert done.returncode == 0, done.stderr
    assert venv.dist_infos() == ["oslo_hy-1.0.dist-info"]
    assert record_faults(venv.site_packages / "oslo_hy-1.0.dist-info") == []
    done = run(uv, "pip", "list")
    assert (done.returncode, "oslo-hy" in done.stdout) == (0, True), done.stderr


def test_a_sync_that_removes_uvshim_itself_is_completed(
    run: Run, uv: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    """The RECORD needs modules that a usual rename does not load."""
    package = Path(uvshim.__file__).parent
    files = {
        str(path.relative_to(package.parent)): path.read_text() for path in package.rglob("*.py")
    }
    build_wheel(wheels, "uvshim", "9.0", files=files)
    odd = {"zope_deferred/with,comma.py": "", "zope_deferred/__init__.py": ""}
    build_wheel(wheels, "zope.deferred", "1.2", files=odd)
    for module in (installer, packaging):
        directory = Path(module.__file__ or "").parent
        shutil.copytree(directory, venv.site_packages / directory.name)
    wanted = ("--no-index", "-f", wheels)
    assert run(uv, "pip", "install", *wanted, "uvshim").returncode == 0
    (tmp_path / "r.txt").write_text("zope.deferred\n")
    code = "import sys; from uvshim.uvpip import main; sys.exit(main())"
    done = run(venv.python, "-c", code, "sync", *wanted, tmp_path / "r.txt", UVSHIM_UV=str(uv))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert venv.dist_infos() == [DOTTED]
    assert record_faults(venv.site_packages / DOTTED) == []
