"""`uvpip` and `fix` keep everything resolved that pkg_resources resolves after plain uv.

On 177 real distributions that spell each other's names in every way, for nine releases of
setuptools; and after each step of random sequences of installs, for those before 62.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.conftest import interpreters
from tests.corpus import CORPORA, RealPkgResources
from tests.places import Venv
from tests.wheels import build_wheel
from uvshim.check.diagnosis import diagnose
from uvshim.check.metadata import NOT_FOUND
from uvshim.environments.tree import DiskTree
from uvshim.rename.names import parse_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

pytestmark = pytest.mark.index

LISTED = CORPORA / "spellings.txt"
CONSTRAINTS = CORPORA / "build-constraints.txt"

# How many `require(name)` fail after plain uv, and after uvpip. Before 62 one of two spellings
# keeps failing: Twisted spells zope-interface, 34 others zope.interface.
FAILURES = {
    "44.1.1": (80, 53),
    "59.6.0": (70, 40),
    "61.3.1": (70, 40),
    "62.6.0": (70, 0),
    "65.5.0": (70, 0),
    "69.5.1": (70, 0),
    "75.3.0": (65, 0),
    "75.8.0": (65, 0),
    "80.9.0": (0, 0),
}


class Installed(NamedTuple):
    """An environment, and what fails in it."""

    venv: Venv

    def failures(self) -> dict[str, str]:
        """Return what `require` raises, as the real pkg_resources says and the model does."""
        site_packages = self.venv.site_packages
        names = {
            parse_metadata(path.read_bytes())[0]
            for path in site_packages.glob("*.dist-info/METADATA")
        }
        with contextlib.closing(RealPkgResources(self.venv.python)) as real:
            outcomes = real.outcomes(None, names)
        failures = {name: error for name, (error, _) in outcomes.items() if error is not None}
        told = diagnose(DiskTree(), [str(site_packages)])
        modelled = {each.name: each.error for each in told.failures}
        modelled |= {each.name: NOT_FOUND for each in told.unresolvable}
        assert {name: modelled.get(name) for name in names} == {
            name: failures.get(name) for name in names
        }
        return failures


@pytest.fixture(scope="module")
def old_python() -> Path:
    """Python 3.10, the last for which every one of these releases works."""
    for each in interpreters():
        if each.name == "python3.10":
            return each
    pytest.skip("there is no Python 3.10 here: old releases of setuptools work on no newer one")


@pytest.mark.parametrize("version", FAILURES)
def test_nothing_that_pkg_resources_resolved_is_lost(
    run: Run, uv: Path, uvpip: Path, uvshim: Path, old_python: Path, tmp_path: Path, version: str
) -> None:
    def make(name: str, *installer: str | Path) -> Installed:
        path = tmp_path / name
        assert run(uv, "venv", "-q", "-p", old_python, path).returncode == 0
        wanted = ("--no-deps", "--build-constraints", CONSTRAINTS, "-r", LISTED)
        done = run(*installer, "-q", "-p", path, *wanted, f"setuptools=={version}")
        assert done.returncode == 0, done.stderr
        return Installed(Venv(path))

    plain = make("plain", uv, "pip", "install")
    before = plain.failures()
    renamed = make("renamed", uvpip)
    after = renamed.failures()
    assert after.keys() <= before.keys()
    assert (len(before), len(after)) == FAILURES[version]

    fixed, checked = (run(uvshim, word, plain.venv.path) for word in ("fix", "check"))
    assert (fixed.returncode == 0) == (checked.returncode == 0)
    assert plain.venv.dist_infos() == renamed.venv.dist_infos()
    again = run(uvshim, "fix", renamed.venv.path)
    assert "Renormalized" not in again.stderr
    assert plain.venv.dist_infos() == renamed.venv.dist_infos()
    shutil.rmtree(tmp_path / "plain")


# --- random sequences -----------------------------------------------------------------------------

# How many sequences are tried with each setuptools, and how many steps each has.
SEQUENCES = int(os.environ.get("UVSHIM_TEST_SEQUENCES", "4"))
STEPS = 8

# Ten projects that spell each other's names in every way; of each version the directory's name in
# the wheel ("" is the normalized one) and the requirements.
PROJECTS: dict[str, dict[str, tuple[str, list[str]]]] = {
    "zope.x": {"1.0": ("", []), "2.0": ("zope.x", ["a.b-c"]), "3.0": ("", ["deep-down"])},
    "zope.y": {"1.0": ("zope.y", []), "2.0": ("", ["zope-x"])},
    "a.b-c": {"1.0": ("", ["zope.y"]), "2.0": ("a.b_c", [])},
    "Foo.Bar": {"1.0": ("", ["zope.x; extra == 'all'"]), "2.0": ("Foo_Bar", [])},
    "deep.down": {"1.0": ("", []), "2.0": ("", ["foo-bar>=2"])},
    "ud": {"1.0": ("", ["zope-x"]), "2.0": ("", ["zope.x>=2", "a-b-c"])},
    "uw": {"1.0": ("", ["zope.x", "Foo.Bar"]), "2.0": ("", ["Foo-Bar"])},
    "ue": {
        "1.0": ("", ["zope-y; extra == 'e'", "deep.down; extra == 'f'"]),
        "2.0": ("", ["zope.y", "deep-down; extra == 'f' and python_version < '3'"]),
    },
    "um": {
        "1.0": ("", ["zope-x; python_version < '3'", "a-b-c; python_version >= '3'"]),
        "2.0": ("", ["deep-down[all]; sys_platform != 'win32'", "ue[e]"]),
    },
    "plain_one": {"1.0": ("", ["zope.x", "deep-down"]), "2.0": ("", [])},
}
EXTRAS = {"Foo.Bar": ["all"], "ue": ["e", "f"], "deep.down": ["all"]}


def build(wheels: Path) -> None:
    """Build the wheels of `PROJECTS`."""
    for name, versions in PROJECTS.items():
        for version, (stem, requires) in versions.items():
            lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
            lines += [f"Provides-Extra: {extra}" for extra in EXTRAS.get(name, ())]
            lines += [f"Requires-Dist: {each}" for each in requires]
            build_wheel(
                wheels,
                name,
                version,
                stem=f"{stem}-{version}" if stem else None,
                metadata="\n".join([*lines, ""]),
            )


def steps(choose: random.Random, requirements: Path) -> Iterator[list[str]]:
    """Yield the arguments of random commands; `requirements` is a file that they may name."""
    for _ in range(STEPS):
        wanted = [
            f"{name}=={choose.choice(list(PROJECTS[name]))}"
            for name in choose.sample(list(PROJECTS), choose.randint(1, 3))
        ]
        kind = choose.choice(["install"] * 6 + ["uninstall", "sync"])
        if kind == "uninstall":
            yield ["uninstall", *(each.partition("==")[0] for each in wanted)]
        elif kind == "sync":
            text = "\n".join([*wanted, "setuptools"])
            requirements.write_text(text)
            yield ["sync", str(requirements)]
        else:
            options = choose.choice([[], ["--no-deps"], ["--no-deps"], ["--reinstall"]])
            yield ["install", *options, *wanted]


@pytest.fixture(scope="module")
def python_39() -> Path:
    """Python 3.9: the newest for which setuptools 44.1.1 works, vendored packages included."""
    for each in interpreters():
        if each.name == "python3.9":
            return each
    pytest.skip("there is no Python 3.9 here")


@pytest.mark.parametrize("version", ["44.1.1", "57.5.0", "59.6.0", "61.3.1"])
def test_no_step_of_any_sequence_resolves_less_than_plain_uv(
    run: Run, uv: Path, uvpip: Path, uvshim: Path, python_39: Path, tmp_path: Path, version: str
) -> None:
    wheels = tmp_path / "wheels"
    build(wheels)
    cache: dict[str, Any] = {"UV_CACHE_DIR": str(tmp_path / "cache")}
    done = run(
        *(python_39, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels),
        f"setuptools=={version}",
    )
    assert done.returncode == 0, done.stderr
    index = ("--offline", "--no-index", "-f", str(wheels))
    venvs = {}
    for name in ("plain", "renamed"):
        venvs[name] = Venv(tmp_path / name)
        assert run(uv, "venv", "-q", "-p", python_39, tmp_path / name, **cache).returncode == 0
        words = ("-q", "-p", tmp_path / name, *index, "setuptools")
        assert run(uv, "pip", "install", *words, **cache).returncode == 0
    commands = {"plain": (uv, "pip"), "renamed": (uvpip,)}
    real = {name: RealPkgResources(venv.python) for name, venv in venvs.items()}

    def failures(name: str, venv: Venv) -> dict[str, str]:
        installed = {
            parse_metadata(path.read_bytes())[0]
            for path in venv.site_packages.glob("*.dist-info/METADATA")
        }
        outcomes = real[name].outcomes([venv.site_packages], installed)
        return {name: error for name, (error, _) in outcomes.items() if error is not None}

    def compare(what: object) -> None:
        plain, renamed = (failures(*each) for each in venvs.items())
        assert renamed.keys() <= plain.keys(), (what, plain, renamed)

    for seed in range(19, 19 + SEQUENCES):  # the first ones need names back, with 59.6.0
        history = []
        for step in steps(random.Random(f"{version} {seed}"), tmp_path / "r.txt"):
            history.append(step)
            codes = set()
            for name, venv in venvs.items():
                options = () if step[0] == "uninstall" else index
                done = run(
                    *commands[name], step[0], "-q", "-p", venv.path, *options, *step[1:], **cache
                )
                codes.add(done.returncode)
            assert len(codes) == 1, (seed, history, codes, done.stderr)
            compare((seed, history))
        for venv in venvs.values():
            fixed, checked = (run(uvshim, word, venv.path) for word in ("fix", "check"))
            assert (fixed.returncode == 0) == (checked.returncode == 0)
            assert '"findings": []' in run(uvshim, "check", "--format=json", venv.path).stdout
        compare((seed, history, "fix"))
        assert venvs["plain"].dist_infos() == venvs["renamed"].dist_infos(), (seed, history)
        (tmp_path / "r.txt").write_text("setuptools")
        for venv in venvs.values():
            words = ("-q", "-p", venv.path, *index, str(tmp_path / "r.txt"))
            assert run(uv, "pip", "sync", *words, **cache).returncode == 0
            assert [each for each in venv.dist_infos() if "setuptools" not in each] == []
            assert not list(venv.site_packages.glob("*.uvshim")), history
    for each in real.values():
        each.close()
