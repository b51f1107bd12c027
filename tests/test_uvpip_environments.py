"""Environments of every kind that `uvpip` meets: Debian's, its own, one with an odd path."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import packaging
import pytest

import uvshim
from tests import corpus
from tests.places import Venv, dist_infos, tree
from tests.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeVenv, Run


def test_a_virtual_environment_with_system_site_packages_gets_it_and_the_system_keeps_what_it_has(
    run: Run, uv: Path, uvpip: Path, make_venv: MakeVenv, installation: Path, wheels: Path
) -> None:
    offline = ("--no-index", "--find-links", wheels)
    in_system = Venv(installation)
    assert run(uv, "pip", "install", "-p", installation, *offline, "simple").returncode == 0
    before = tree(in_system.site_packages)
    venv = make_venv(".venv", "--system-site-packages", python=installation / "bin" / "python")
    done = run(uvpip, "--reinstall", *offline, "zope.deferred")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    assert tree(in_system.site_packages) == before
    assert "zope_deferred-1.2.dist-info" in in_system.dist_infos()


@pytest.mark.parametrize("brings_one", [False, True])
def test_an_inherited_setuptools_misses_what_is_older_and_the_command_is_named(
    run: Run,
    uv: Path,
    uvpip: Path,
    make_venv: MakeVenv,
    installation: Path,
    wheels: Path,
    *,
    brings_one: bool,
) -> None:
    site = Venv(installation).site_packages
    for each in site.glob("setuptools-*"):
        shutil.rmtree(each)
    corpus.write(corpus.installed("setuptools-75.8.0", "setuptools"), site)
    corpus.write({"pkg_resources/__init__.py": "", "setuptools/__init__.py": ""}, site)
    venv = make_venv(".venv", "--system-site-packages", python=installation / "bin" / "python")
    if brings_one:  # without a pkg_resources
        corpus.write(corpus.installed("setuptools-84.2.1", "setuptools"), venv.site_packages)
        corpus.write({"setuptools/__init__.py": ""}, venv.site_packages)
    build_wheel(wheels, "new.one")
    offline = ("--no-index", "--find-links", wheels)
    assert run(uv, "pip", "install", *offline, "zope.deferred").returncode == 0
    done = run(uvpip, *offline, "new.one")
    assert done.returncode == 0, done.stderr
    assert "new.one-1.0.dist-info" in venv.dist_infos()
    assert f"hint: `uvshim fix {venv.path}` renames" in done.stderr


@pytest.mark.parametrize(
    "name", ["with spaces", "Umgebung-ü-ñ-中", "a'quote\"and $HOME;", "Using Python 3", "new\nline"]
)
def test_the_path_of_an_environment_may_hold_anything(
    name: str,
    run: Run,
    uv_version: tuple[int, ...],
    uvpip: Path,
    make_venv: MakeVenv,
    wheels: Path,
    tmp_path: Path,
) -> None:
    if "\n" in name and uv_version < (0, 12):
        pytest.skip("this uv does not say where a path ends")
    venv = make_venv(f"{name}/.venv")
    offline = ("--no-index", "--find-links", wheels)
    here = tmp_path / name
    for options, site_packages in {
        (): venv.site_packages,
        ("--target", f"{name} target"): here / f"{name} target",
        ("--target", here / "a`b"): here / "a`b",
        ("-p", here / ".venv", "--reinstall"): venv.site_packages,
    }.items():
        done = run(uvpip, *offline, "zope.deferred", *options, cwd=here)
        assert done.returncode == 0, done.stderr
        assert "zope.deferred-1.2.dist-info" in dist_infos(site_packages)
    elsewhere = ("-p", here / ".venv", "--reinstall")  # uv writes the whole path
    assert run(uvpip, *offline, "zope.deferred", *elsewhere, cwd=tmp_path).returncode == 0
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


@pytest.mark.parametrize("how", ["option", "variable", "configuration"])
def test_hashes_may_be_required(
    how: str, run: Run, uvpip: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    wheel = next(wheels.glob("zope*.whl"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "r.txt").write_text(f"zope.deferred==1.2 --hash=sha256:{digest}\n")
    variable = "1" if how == "variable" else None
    if how == "configuration":
        (tmp_path / "uv.toml").write_text("[pip]\nrequire-hashes = true\n")
    words: list[str | Path] = ["--no-index", "-f", wheels, "--no-deps", "-r", "r.txt"]
    words += ["--require-hashes"] if how == "option" else []
    done = run(uvpip, *words, UV_REQUIRE_HASHES=variable)
    assert done.returncode == 0, done.stderr
    assert venv.dist_infos() == ["zope.deferred-1.2.dist-info"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a directory without a log."""

    def log_message(self, *_: object) -> None:
        pass


def test_constraints_may_come_from_a_server(
    run: Run, uvpip: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    (tmp_path / "constraints.txt").write_text("zope.deferred==1.2\n")
    serve = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/constraints.txt"
        words: list[str | Path] = ["--no-index", "-f", wheels, "--no-deps", "zope.deferred"]
        done = run(uvpip, *words, UV_CONSTRAINT=url)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert venv.dist_infos() == ["zope.deferred-1.2.dist-info"]


def test_a_cache_that_cannot_be_written_is_uvs_to_complain_of(
    run: Run, uv: Path, uvpip: Path, venv: Venv, wheels: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    words: list[str | Path] = ["--no-index", "-f", wheels, "zope.deferred"]
    cache = str(tmp_path / "file" / "cache")
    plain = run(uv, "pip", "install", *words, UV_CACHE_DIR=cache)
    ours = run(uvpip, *words, UV_CACHE_DIR=cache)
    assert plain.returncode == 2
    assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr)


@pytest.fixture
def wheel_of_uvshim(wheels: Path) -> None:
    """The wheel of uvshim itself among the others."""
    package = Path(uvshim.__file__).parent
    build_wheel(
        wheels,
        "uvshim",
        "9.9",
        files={
            f"uvshim/{each.relative_to(package)}": each.read_text()
            for each in package.rglob("*.py")
        },
        entry_points="[console_scripts]\nuvpip = uvshim.uvpip:main\nuvshim = uvshim.cli:main\n",
    )


@pytest.mark.usefixtures("wheel_of_uvshim")
def test_uvshim_in_one_environment_installs_into_another(
    run: Run, uv: Path, make_venv: MakeVenv, wheels: Path
) -> None:
    tools, venv = make_venv("tools"), make_venv()
    offline = ("--no-index", "--find-links", wheels)
    assert run(uv, "pip", "install", "-p", tools.path, *offline, "uvshim").returncode == 0
    done = run(tools.path / "bin" / "uvpip", *offline, "zope.deferred")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    assert tools.dist_infos() == ["uvshim-9.9.dist-info"]


@pytest.mark.on_macos_too
@pytest.mark.usefixtures("wheel_of_uvshim")
@pytest.mark.parametrize(
    ("words", "remaining"),
    [
        (["zope.deferred"], ["uvshim-9.9.dist-info"]),
        (["--reinstall", "zope.deferred", "uvshim"], ["uvshim-9.9.dist-info"]),
        (["--exact", "zope.deferred"], []),
        (["sync", "-"], []),
    ],
)
def test_uvshim_in_its_own_environment_works_even_while_it_is_replaced_or_removed(
    words: list[str], remaining: list[str], run: Run, uv: Path, venv: Venv, wheels: Path
) -> None:
    offline = ("--no-index", "--find-links", wheels)
    assert run(uv, "pip", "install", *offline, "uvshim").returncode == 0
    own = venv.path / "bin" / "uvpip"
    done = run(own, *words, *offline, stdin="zope.deferred\n")
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    assert [name for name in venv.dist_infos() if name.startswith("uvshim")] == remaining


@pytest.mark.usefixtures("wheel_of_uvshim")
def test_what_uvshim_runs_may_remove_it_where_the_spelling_of_names_counts_too(
    run: Run, uv: Path, venv: Venv, wheels: Path
) -> None:
    build_wheel(wheels, "setuptools", "59.6.0", files={"pkg_resources/__init__.py": ""})
    offline = ("--no-index", "--find-links", wheels)
    assert run(uv, "pip", "install", *offline, "uvshim", "setuptools").returncode == 0
    shutil.copytree(Path(packaging.__file__).parent, venv.site_packages / "packaging")
    script = (
        f"{uv} pip uninstall uvshim && rm -r {venv.site_packages / 'packaging'} && "
        f"{uv} pip install --no-index --find-links {wheels} zope.deferred"
    )
    done = run(venv.path / "bin" / "uvshim", "run", "--env", venv.path, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


DEBIAN = Path("/usr/bin/python3")


@pytest.fixture
def debian(run: Run, uv: Path) -> Iterator[Path]:
    """Debian's own Python; the test's distributions are removed at the end."""
    marks = list(Path("/usr/lib").glob("python3.*/EXTERNALLY-MANAGED"))
    if not (DEBIAN.is_file() and marks and os.access("/usr/local/lib", os.W_OK)):
        pytest.skip("there is no Debian system Python that this user may install into")
    yield DEBIAN
    left = (uv, "pip", "uninstall", "-p", DEBIAN, "--break-system-packages", "uvshim.test-only")
    assert run(*left).returncode == 0
    assert not list(Path("/usr/local/lib").glob("python3*/*-packages/uvshim?test*"))


@pytest.mark.on_macos_too
def test_debians_system_python_gets_it_in_dist_packages(
    run: Run, uvpip: Path, debian: Path, wheels: Path
) -> None:
    wheel = build_wheel(wheels, "uvshim.test-only", "1.0")
    done = run(uvpip, "-p", debian, "--break-system-packages", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    (dist_info,) = Path("/usr/local/lib").glob("python3*/dist-packages/uvshim?test*.dist-info")
    assert dist_info.name == "uvshim.test_only-1.0.dist-info"
