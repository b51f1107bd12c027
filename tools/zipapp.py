"""Build `dist/uvpip.pyz` and `dist/uvshim.pyz`: one file each, with all that it needs inside.

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
MODULES = {"uvpip": "uvshim.uvpip", "uvshim": "uvshim.cli"}
SHEBANG = b"#!/usr/bin/env python3\n"

# Any Python gets as far as reading this, the oldest in use included.
MAIN = """\
import sys

if sys.version_info < (3, 10):
    sys.stderr.write(
        "error: {name} needs Python 3.10 or later, and this is %d.%d: %s\\n"
        "hint: any other will do, whatever the Python that it installs for: "
        "python3.12 %s --python ENV\\n"
        % (sys.version_info[0], sys.version_info[1], sys.executable, sys.argv[0])
    )
    sys.exit(2)

from {module} import main

sys.exit(main())
"""


def main() -> int:
    """Build both files into the directory that the command line names."""
    parser = argparse.ArgumentParser(description="Build uvpip.pyz and uvshim.pyz.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="default: dist")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        carried = dict(_ours()) | dict(_dependencies(Path(directory)))
    for name, module in MODULES.items():
        text = MAIN.format(name=name, module=module)
        path = output / f"{name}.pyz"
        path.write_bytes(archive({**carried, "__main__.py": text.encode()}))
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
    for path in sorted((ROOT / "uvshim").glob("*.py")):
        yield f"uvshim/{path.name}", path.read_bytes()
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
