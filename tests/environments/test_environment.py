"""The site-packages directories of one environment."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from uvshim.environments.environment import Environment, dist_infos
from uvshim.uv.question import Answer
from uvshim.uv.supervisor import Supervisor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.places import Venv


class InThisProcess(Supervisor):
    """Acts as the real one, which would block the signals of this process."""

    def __init__(self) -> None:
        pass

    def ask(self, command: list[str]) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return "" if done.returncode else done.stdout


def answering(**facts: object) -> Answer:
    """Return an answer of uv with those facts."""
    answer = Answer()
    vars(answer).update(facts)
    return answer


@pytest.fixture
def supervisor() -> Supervisor:
    return InThisProcess()


def test_a_target_is_its_own_site_packages(tmp_path: Path, supervisor: Supervisor) -> None:
    environment = Environment.of(answering(directory=str(tmp_path)), supervisor)
    assert environment is not None
    assert environment.on_disk == [str(tmp_path)]


@pytest.mark.parametrize(
    "target", [Answer(), answering(directory="/no/such/place"), answering(root="/no/such/place")]
)
def test_what_is_not_there_is_no_environment(target: Answer, supervisor: Supervisor) -> None:
    assert Environment.of(target, supervisor) is None


def test_a_virtual_environment_has_its_directories_in_the_usual_places(
    venv: Venv, supervisor: Supervisor
) -> None:
    environment = Environment.of(answering(root=str(venv.path), lock="x"), supervisor)
    assert environment is not None
    assert (environment.path, environment.lock) == (str(venv.path), "x")
    assert environment.on_disk == [str(venv.site_packages)]


def test_directories_that_are_one_count_once_and_such_that_are_two_twice(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    places = [
        tmp_path / "lib" / "python3.9" / "site-packages",
        tmp_path / "lib64" / "python3.9" / "site-packages",
        tmp_path / "local" / "lib" / "python3.9" / "dist-packages",
        tmp_path / "lib" / "pypy3.9" / "site-packages",
    ]
    for place in places:
        place.mkdir(parents=True)
    (tmp_path / "lib" / "python3").symlink_to("python3.9")
    (tmp_path / "lib" / "other" / "site-packages").mkdir(parents=True)
    environment = Environment.of(answering(root=str(tmp_path), is_prefix=True), supervisor)
    assert environment is not None
    real = {str(place.resolve()) for place in places}
    found = environment.on_disk
    assert len(found) == len(real)
    assert {str(place) for place in found} - real <= {
        str(tmp_path / "lib" / "python3" / "site-packages")
    }


def printing(path: Path, *words: str | Path) -> Path:
    """Write a program that prints directories like an interpreter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho warning\nprintf '\\0%s' {shlex.join(map(str, words))} ''\n")
    path.chmod(0o755)
    return path


def test_any_other_python_is_asked_for_its_directories(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    """Two Pythons may have one version: CPython and PyPy, or CPython with and without its lock."""
    root = tmp_path / "line\nbreak"
    for name in ("right", "wrong", "older", "lib/python3.9/site-packages"):
        (root / name).mkdir(parents=True)
    usual, nowhere = root / "bin", "/nowhere"
    printing(usual / "python3", root, "3.9.18", "python3.9t", root / "wrong", nowhere)
    printing(usual / "python3.8", root, "3.8.1", "python3.8", root / "older", nowhere)
    right = printing(usual / "pypy3.9", root, "3.9.18", "pypy3.9", root / "right", nowhere)
    program = tmp_path / "python3.9"
    elsewhere = printing(program, tmp_path, "3.9.18", "python3.9t", root / "wrong", nowhere)
    for named, expected in (
        (right, "right"),
        (None, "wrong"),
        (usual / "python3.8", "wrong"),  # not the version that uv said
        (elsewhere, "wrong"),  # not the root that uv said
    ):
        answer = answering(
            root=str(root), python="3.9.18", interpreter=None if named is None else str(named)
        )
        environment = Environment.of(answer, supervisor)
        assert environment is not None
        assert environment.on_disk == [str(root / expected)]


def test_the_usual_directories_of_a_python_that_is_asked_count_too(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    """uv remembers what it once said, whatever Debian's variable for the layout says now."""
    said = tmp_path / "lib" / "python3" / "dist-packages"
    remembered = tmp_path / "local" / "lib" / "python3.9" / "dist-packages"
    other = tmp_path / "local" / "lib" / "python3.10" / "dist-packages"
    for each in (said, remembered, other):
        each.mkdir(parents=True)
    printing(tmp_path / "bin" / "python3", tmp_path, "3.9.18", "python3.9", said, said)
    environment = Environment.of(answering(root=str(tmp_path), python="3.9.18"), supervisor)
    assert environment is not None
    assert environment.site_packages == (str(said), str(remembered))


def test_a_python_that_does_not_answer_is_taken_for_a_usual_one(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    interpreter = tmp_path / "bin" / "python3"
    interpreter.parent.mkdir()
    interpreter.write_text("#!/bin/sh\nexit 1\n")
    interpreter.chmod(0o755)
    usual = tmp_path / "lib" / "python3.9" / "site-packages"
    usual.mkdir(parents=True)
    environment = Environment.of(answering(root=str(tmp_path), python="3.9.18"), supervisor)
    assert environment is not None
    assert environment.on_disk == [str(usual)]


@pytest.mark.parametrize("name", ["~x-1.dist-info", "._x-1.dist-info", ".wh.x-1.dist-info", "x-1"])
def test_what_lies_beside_a_dist_info_directory_is_none(name: str) -> None:
    assert dist_infos([name, "x-1.dist-info"]) == ["x-1.dist-info"]
