"""Run the commands of the documentation that show the cause, and print or keep what they print.

`docs/evidence/` holds them, and beside each the output that the page about the cause shows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVIDENCE = ROOT / "docs" / "evidence"
CORPORA = ROOT / "tests" / "corpora"


def scripts() -> list[Path]:
    """Return the scripts in the order of the page."""
    return sorted(EVIDENCE.glob("*.sh"))


def run(script: Path, pythons: list[Path]) -> str:
    """Run `script` in a directory of its own, and return all that it prints.

    `pythons` are further interpreters, which it finds by names such as `python3.8`.
    """
    with tempfile.TemporaryDirectory(prefix="uvshim-evidence-") as directory:
        places = [Path(sys.executable).parent, Path(directory, "pythons")]
        places[1].mkdir()
        for python in pythons:
            (places[1] / python.name).symlink_to(python)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("UVSHIM_", "VIRTUAL_ENV", "PYTHON"))
        }
        path = os.pathsep.join([*map(str, places), kept["PATH"]])
        done = subprocess.run(
            ["/bin/sh", str(script)],
            cwd=directory,
            env={**kept, "PATH": path, "CORPORA": str(CORPORA), "UV_PYTHON": sys.executable},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return done.stdout


def main() -> int:
    """Run every script, and keep what it prints."""
    sys.path.insert(0, str(ROOT))
    from tests.conftest import interpreters  # noqa: PLC0415

    for script in scripts():
        said = run(script, interpreters())
        script.with_suffix(".txt").write_text(said, encoding="utf-8")
        print(f"$ sh {script.name}\n{said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
