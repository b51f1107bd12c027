"""Build `dist/uvshim.pyz`: one file, with all that uvshim needs inside; called uvpip, it is uvpip.

A zip archive of Python source, as the module `zipapp` of the standard library makes them, but the
same byte for byte wherever and whenever it is built. It is not compressed: it starts sooner so.
"""

from __future__ import annotations

import argparse
import io
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
SHEBANG = b"#!/usr/bin/env python3\n"

# Any Python gets as far as reading this, the oldest in use included.
MAIN = """\
import sys

called = sys.argv[0].replace("\\\\", "/").rpartition("/")[2]
if sys.version_info < (3, 10):
    is_uvpip = called.startswith("uvpip") or sys.argv[1:2] == ["pip"]
    sys.stderr.write(
        "error: uvshim needs Python 3.10 or later, and this is %d.%d: %s\\n"
        "hint: any other will do, whatever the Python of the environment: python3.12 %s %s\\n"
        % (
            sys.version_info[0],
            sys.version_info[1],
            sys.executable,
            sys.argv[0],
            "--python ENV ..." if is_uvpip else "check ENV",
        )
    )
    sys.exit(2)

if called.startswith("uvpip"):
    from uvshim.uvpip import main
else:
    from uvshim.cli import main

sys.exit(main())
"""


def main() -> int:
    """Build the file into the directory that the command line names."""
    parser = argparse.ArgumentParser(description=f"Build {NAME}.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="default: dist")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        carried = dict(_ours()) | dict(_dependencies(Path(directory)))
    path = output / NAME
    path.write_bytes(archive({**carried, "__main__.py": MAIN.encode()}))
    path.chmod(0o755)
    print(f"{path} ({path.stat().st_size // 1024} kB)")
    return 0


def archive(files: dict[str, bytes]) -> bytes:
    """Return `files`, contents by path, as an archive that Python and a shell can run."""
    buffer = io.BytesIO()
    buffer.write(SHEBANG)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as pyz:
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
    """Yield the modules of the dependencies and their licences, out of the wheels of the index.

    They are the very files that the requirements name by their hashes, for no platform.
    """
    wanted = ["--require-hashes", "--requirement", str(REQUIREMENTS), "--no-deps"]
    anywhere = ["--platform=any", "--implementation=py", "--abi=none", "--python-version=3.10"]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    subprocess.run(
        [*pip, *wanted, *anywhere, "--only-binary=:all:", "--dest", str(directory)], check=True
    )
    for path in sorted(directory.glob("*.whl")):
        name = path.name.partition("-")[0]
        with zipfile.ZipFile(path) as wheel:
            for member in wheel.namelist():
                before, found, licence = member.partition(".dist-info/licenses/")
                if found:
                    yield f"licenses/{before}/{licence}", wheel.read(member)
                elif member.endswith(".py") and member.startswith(f"{name}/"):
                    yield member, wheel.read(member)


if __name__ == "__main__":
    sys.exit(main())
