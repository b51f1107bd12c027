"""uv says where it installs and which file it locks, for every kind of target.

`make newest-uv` runs this with the newest uv every day. If it fails, uvpip no longer understands uv.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.places import Venv, copy_installation

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

ASK = """
import json, sys
from uvshim.uv.arguments import Arguments
from uvshim.uv.question import Question
from uvshim.uv.supervisor import Supervisor

answer = Question([sys.argv[1]], Arguments(sys.argv[2:]), Supervisor()).answer()
print(json.dumps([answer.directory or answer.root, answer.python, answer.lock]))
"""


@pytest.mark.parametrize("target", ["venv", "target", "prefix", "installation"])
def test_the_answer_has_a_place_a_python_and_a_lock(
    run: Run, uv: Path, venv: Venv, tmp_path: Path, target: str
) -> None:
    place = tmp_path / target
    words: dict[str, tuple[str | Path, ...]] = {
        "venv": (),
        "target": ("--target", place),
        "prefix": ("--prefix", place),
        "installation": ("--python", place / "bin" / "python3"),
    }
    if target == "venv":
        place = venv.path
    elif target == "installation":
        copy_installation(place)
    else:
        place.mkdir()
    done = run(sys.executable, "-c", ASK, uv, *words[target], "simple")
    assert done.returncode == 0, done.stderr
    found, python, lock = json.loads(done.stdout)
    assert found == str(place)
    if target in {"venv", "installation"}:  # uv does not say it of the others
        assert python == ".".join(map(str, sys.version_info[:3]))
    assert lock, "uv did not name its lock: a rename would run beside another uv"
