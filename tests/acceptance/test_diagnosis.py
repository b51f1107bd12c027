"""The diagnosis of whole environments that plain uv installed, against their own pkg_resources."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest

from tests.check.test_working_set import ENVIRONMENTS, model, names_in
from tests.corpus import CORPORA, RealPkgResources, write
from tests.lookups import refusal
from tests.places import Venv
from uvshim.check.diagnosis import diagnose
from uvshim.check.directories import DUPLICATE
from uvshim.check.metadata import NOT_FOUND
from uvshim.environments.tree import DiskTree
from uvshim.rename.names import parse_metadata
from uvshim.rename.plan import MISNAMED, NORMALIZED_NAME, STALE_RECORD
from uvshim.rename.setuptools import PkgResources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from uvshim.check.diagnosis import Diagnosis

pytestmark = pytest.mark.index

MAGNUM = "magnum-2025.1"
OPENSTACK = "openstack-2025.2"
DISTRIBUTIONS = {MAGNUM: 140, OPENSTACK: 265}
UNRESOLVABLE = {MAGNUM: 23, OPENSTACK: 62}
WRONG_NAMES = {MAGNUM: 4, OPENSTACK: 27}


def install(uv: Path, environment: Path, *arguments: str | Path) -> None:
    """Run plain `uv pip install`."""
    command = [uv, "pip", "install", "--quiet", "--python", environment / "bin/python", *arguments]
    subprocess.run(command, check=True)


@pytest.fixture(scope="session", params=[MAGNUM, OPENSTACK])
def corpus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, uv: Path
) -> tuple[str, Venv]:
    """A corpus as plain uv installs it. Made once, for all processes of a parallel run."""
    name: str = request.param
    shared = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        shared = shared.parent
    path = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path / "complete").exists():
            subprocess.run([uv, "venv", "-q", "-p", sys.executable, path], check=True)
            constraints = CORPORA / "build-constraints.txt"
            listed = CORPORA / f"{name}.txt"
            install(uv, path, "--no-deps", "--build-constraints", constraints, "-r", listed)
            (path / "complete").touch()
    return name, Venv(path)


@pytest.fixture
def copy(corpus: tuple[str, Venv], tmp_path: Path) -> Venv:
    """The corpus, to be changed."""
    return Venv(shutil.copytree(corpus[1].path, tmp_path / "copy", symlinks=True))


def diagnosed(venv: Venv) -> Diagnosis:
    return diagnose(DiskTree(), [str(venv.site_packages)])


def real_errors(venv: Venv) -> dict[str, str]:
    """Return the exception of the environment's own `require`, for every name it fails for.

    The names are all that `importlib.metadata` sees beside pkg_resources, those that setuptools
    brings along included.
    """
    places = [venv.site_packages, venv.site_packages / "setuptools/_vendor"]
    names = {each.metadata["Name"] for each in distributions(path=list(map(str, places)))}
    with contextlib.closing(RealPkgResources(venv.python)) as real:
        outcomes = real.outcomes(None, names)
    return {name: error for name, (error, _) in outcomes.items() if error is not None}


def modelled_errors(diagnosis: Diagnosis) -> dict[str, str]:
    errors = {each.name: each.error for each in diagnosis.failures}
    return errors | {each.name: NOT_FOUND for each in diagnosis.unresolvable}


def test_unresolvable_is_what_pkg_resources_does_not_find(corpus: tuple[str, Venv]) -> None:
    name, venv = corpus
    diagnosis = diagnosed(venv)
    assert modelled_errors(diagnosis) == real_errors(venv)
    assert len(diagnosis.unresolvable) == UNRESOLVABLE[name]
    assert diagnosis.distributions == DISTRIBUTIONS[name]
    assert [each.kind for each in diagnosis.findings] == [NORMALIZED_NAME] * WRONG_NAMES[name]
    assert (diagnosis.failures, diagnosis.unreadable) == ((), ())
    assert not any(each.absent for each in diagnosis.unresolvable)


def test_the_dropped_drivers_are_reported(corpus: tuple[str, Venv]) -> None:
    name, venv = corpus
    drivers = {
        each.name
        for each in diagnosed(venv).entry_points
        if (each.group, each.distribution) == ("magnum.drivers", "magnum-cluster-api")
    }
    flavours = ("ubuntu", "ubuntu_focal", "flatcar", "rockylinux")
    assert drivers == (
        {f"k8s_cluster_api_{each}" for each in flavours} if name == MAGNUM else set()
    )


def test_an_environment_as_a_root_of_its_own_is_diagnosed_alike(corpus: tuple[str, Venv]) -> None:
    _, venv = corpus
    inside = diagnose(DiskTree(str(venv.path)))
    outside = diagnosed(venv)
    assert inside.unresolvable == outside.unresolvable
    assert inside.entry_points == outside.entry_points
    assert [f.expected for f in inside.findings] == [f.expected for f in outside.findings]


def test_with_the_right_names_nothing_is_unresolvable(copy: Venv) -> None:
    for finding in diagnosed(copy).findings:
        (copy.site_packages / finding.path).rename(copy.site_packages / finding.expected)
    diagnosis = diagnosed(copy)
    assert modelled_errors(diagnosis) == real_errors(copy) == {}
    assert {each.kind for each in diagnosis.findings} == {STALE_RECORD}  # nothing was done to it


def test_with_a_setuptools_that_is_not_affected_nothing_is_unresolvable(
    corpus: tuple[str, Venv], copy: Venv, uv: Path
) -> None:
    install(uv, copy.path, "setuptools==80.9.0")
    diagnosis = diagnosed(copy)
    assert (diagnosis.setuptools, diagnosis.affected) == ("80.9.0", False)
    assert modelled_errors(diagnosis) == real_errors(copy) == {}
    assert len(diagnosis.findings) == WRONG_NAMES[corpus[0]]


def test_what_a_naive_rename_has_spoiled_is_reported(corpus: tuple[str, Venv], copy: Venv) -> None:
    """That rename uses the text after the last dash as the version, which is `info`."""
    for own in copy.site_packages.glob("*.dist-info"):
        name = parse_metadata((own / "METADATA").read_bytes())[0]
        version = own.name.rsplit("-", 1)[1].removesuffix(".dist-info")
        if "." in name:
            own.rename(own.with_name(f"{name}-{version}.dist-info"))
    diagnosis = diagnosed(copy)
    errors = real_errors(copy)
    assert modelled_errors(diagnosis) == errors
    assert set(errors.values()) == {"InvalidVersion"} or NOT_FOUND in errors.values()
    kinds = [each.kind for each in diagnosis.findings if each.kind != STALE_RECORD]
    assert kinds == [MISNAMED] * len(kinds)
    assert len(kinds) >= WRONG_NAMES[corpus[0]]
    assert DUPLICATE not in kinds
    assert len(errors) > UNRESOLVABLE[corpus[0]]


def test_the_diagnosis_takes_no_time_to_speak_of(corpus: tuple[str, Venv]) -> None:
    code = (
        "import sys; from uvshim.check.diagnosis import diagnose; from uvshim.environments.tree import DiskTree\n"
        "diagnose(DiskTree(), sys.argv[1:])"
    )
    times = []
    for _ in range(5):
        start = time.perf_counter()
        command = [sys.executable, "-c", code, str(corpus[1].site_packages)]
        subprocess.run(command, check=True)
        times.append(time.perf_counter() - start)
    assert statistics.median(times) < 1.5


# --- version by version -------------------------------------------------------------------------

VERSIONS = [
    *("57.5.0", "59.6.0", "60.10.0", "61.3.1", "62.0.0", "63.4.3", "65.5.1"),
    *("66.0.0", "66.1.1", "67.0.0", "67.5.0", "67.5.1", "68.2.2", "69.5.1", "70.3.0"),
    *("71.0.0", "72.1.0", "74.0.0", "75.0.0", "75.3.0", "75.3.1", "75.3.2", "75.3.4"),
    *("75.6.0", "75.8.0", "75.8.1", "75.8.2", "76.1.0", "78.1.1", "80.9.0", "81.0.0"),
]

# Older ones put requirements into sets: which of two errors comes first is left to chance there.
KEEPS_ORDER = (60, 4)
BY_CHANCE = {"a", "b", "c", "d", "e", "users_e", "users.e"}


@pytest.fixture(params=VERSIONS)
def release(
    request: pytest.FixtureRequest, tmp_path: Path, uv: Path
) -> Iterator[tuple[tuple[int, ...], RealPkgResources]]:
    """A release of setuptools, and its pkg_resources, alone in an environment."""
    numbers = tuple(map(int, request.param.split(".")))
    if sys.version_info >= (3, 12) and numbers < (66, 1):
        pytest.skip("this pkg_resources does not work on Python 3.12 and later")
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, tmp_path / "v"], check=True)
    install(uv, tmp_path / "v", f"setuptools=={request.param}")
    with contextlib.closing(RealPkgResources(tmp_path / "v/bin/python")) as real:
        yield numbers, real


def test_the_model_agrees_with_every_version(
    release: tuple[tuple[int, ...], RealPkgResources], tmp_path: Path
) -> None:
    numbers, real = release
    pkg_resources = PkgResources(numbers)
    vendored = pkg_resources.vendored
    brought = [real.location.parent.parent / vendored] if vendored else []
    for number, (title, files) in enumerate(ENVIRONMENTS.items()):
        entries = [write(files, tmp_path / str(number)), *brought]
        names = names_in(files) - (BY_CHANCE if numbers < KEEPS_ORDER else set())
        working_set = model(*entries, pkg_resources=pkg_resources)
        assert {name: refusal(working_set, name)[0] for name in names} == {
            name: error for name, (error, _) in real.outcomes(entries, names).items()
        }, title
