"""Build `dist/uvshim.pyz`: uvshim and its dependencies in one file.

The file is a shell script that finds a Python, and then a zip archive of Python source. The archive
is not compressed because that starts faster. The same source gives the same bytes everywhere.
You need Python 3.10 or later, and pip or uv.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "tools" / "zipapp-requirements.txt"
NAME = "uvshim.pyz"
START = ROOT / "tools" / "pyz" / "start.sh"
MAIN = ROOT / "tools" / "pyz" / "__main__.py"


def main() -> int:
    """Build the file in the directory that `--output` names."""
    parser = argparse.ArgumentParser(description=f"Build {NAME}.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="default: dist")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    path = output / NAME
    path.write_bytes(START.read_bytes() + archive(contents()))
    path.chmod(0o755)
    print(f"{path} ({path.stat().st_size // 1024} kB)")
    return 0


def contents() -> dict[str, bytes]:
    """Return the files in the archive: their contents by path."""
    with tempfile.TemporaryDirectory() as directory:
        dependencies = dict(_dependencies(Path(directory)))
    return {**dependencies, **dict(_ours()), "__main__.py": MAIN.read_bytes()}


def archive(files: dict[str, bytes]) -> bytes:
    """Return `files`, contents by path, as a zip archive. Python also finds one after a script."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as pyz:
        for path, content in sorted(files.items()):
            member = zipfile.ZipInfo(path)  # dated 1980-01-01
            member.create_system = 3
            member.external_attr = 0o644 << 16
            pyz.writestr(member, content)
    return buffer.getvalue()


def _ours() -> Iterator[tuple[str, bytes]]:
    """Yield the modules of uvshim and its licences."""
    for path in sorted((ROOT / "uvshim").rglob("*")):
        if path.suffix in {".py", ".j2"}:
            yield path.relative_to(ROOT).as_posix(), path.read_bytes()
    for path in sorted(ROOT.glob("LICENSE*")):
        yield f"licenses/uvshim/{path.name}", path.read_bytes()


def _dependencies(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the modules of the dependencies and their licences, installed into `directory`.

    The hashes in the requirements are those of wheels for any platform.
    """
    pip = [sys.executable, "-m", "pip", "--quiet"]
    pip += ["--disable-pip-version-check", "install", "--no-compile"]
    if importlib.util.find_spec("pip") is None:
        uv = shutil.which("uv")
        if uv is None:
            sys.exit(f"error: {sys.executable} has no pip, and PATH has no uv: install either")
        pip = [uv, "--quiet", "pip", "install", "--python", sys.executable]
    wanted = ["--require-hashes", "--only-binary=:all:", "--no-deps"]
    where = ["--target", str(directory), "--requirement", str(REQUIREMENTS)]
    subprocess.run([*pip, *wanted, *where], check=True)
    names = [line.partition("==")[0] for line in REQUIREMENTS.read_text().splitlines()]
    for path in sorted(directory.rglob("*")):
        member = path.relative_to(directory).as_posix()
        package, found, licence = member.partition(".dist-info/licenses/")
        if found:
            yield f"licenses/{package}/{licence}", path.read_bytes()
        elif path.suffix == ".py" and member.partition("/")[0] in names:
            yield member, path.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
