"""Run the scripts that the documentation shows, and save their output next to them.

The scripts in `docs/evidence/` show the cause, those in `docs/examples/` show uvshim.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
RECIPES = ROOT / "recipes"
CORPORA = ROOT / "tests" / "corpora"


def scripts() -> list[Path]:
    """Return all scripts of the documentation."""
    return [*sorted(DOCS.glob("evidence/*.sh")), *sorted(DOCS.glob("examples/*.sh"))]


def run(script: Path, pythons: list[Path]) -> str:
    """Run `script` in a temporary directory, and return its output.

    The output calls that directory `/srv`. `pythons` are interpreters that the script finds on
    PATH by names such as `python3.8`.
    """
    with tempfile.TemporaryDirectory(prefix="uvshim-evidence-") as directory:
        places = [Path(sys.executable).parent, Path(directory, "pythons")]
        places[1].mkdir()
        for name in ("requirements.txt", "constraints.txt"):
            (Path(directory) / name).write_bytes((RECIPES / name).read_bytes())
        for python in pythons:
            (places[1] / python.name).symlink_to(python)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("UVSHIM_", "VIRTUAL_ENV", "PYTHON"))
        }
        path = os.pathsep.join([*map(str, places), kept["PATH"]])
        done = subprocess.run(
            ["/bin/sh", str(script.resolve())],
            cwd=directory,
            env={**kept, "PATH": path, "CORPORA": str(CORPORA), "UV_PYTHON": sys.executable},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return done.stdout.replace(directory, "/srv")


def main() -> int:
    """Run the scripts named on the command line, or all, and save their output."""
    sys.path.insert(0, str(ROOT))
    from tests.conftest import interpreters

    for script in map(Path, sys.argv[1:]) if sys.argv[1:] else scripts():
        said = run(script, interpreters())
        script.with_suffix(".txt").write_text(said, encoding="utf-8")
        print(f"$ sh {script.name}\n{said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
