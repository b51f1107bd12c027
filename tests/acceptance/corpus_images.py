"""Images of real sets of packages: a Debian, an empty environment, and what plain uv installs there.

Needs root, and debootstrap and umoci of Debian. What is made is kept, for the next run as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.corpus import CORPORA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Where the environment is in the image, and what is bound to that place while it is made.
PLACE = "/opt/app"

TAG = "broken"


def output(*command: str | Path, **more: str) -> str:
    """Run `command`, with the variables `more`, and return what it printed."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("UV")}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**variables, **more}
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def at_its_place(app: Path, *command: str | Path, **more: str) -> str:
    """Run `command` with the directory `app` mounted at `/opt/app` for it alone."""
    made = not Path(PLACE).exists()
    Path(PLACE).mkdir(parents=True, exist_ok=True)
    script = f'mount --bind "$0" {PLACE} && exec "$@"'
    try:
        return output("unshare", "--mount", "sh", "-c", script, app, *command, **more)
    finally:
        if made:
            Path(PLACE).rmdir()


def layout(corpus: str, size: int, base: Path, uv: Path, caches: tuple[Path, Path]) -> Path:
    """Return a layout with an image of `corpus`, whose requirements come in layers of `size` each.

    `base` is the tar of a Debian; `caches` are a directory for what is made here, and uv's own.
    """
    kept, uv_cache = caches
    path = kept / f"{corpus}-{size}"
    if path.exists():
        return path
    work = kept / f"{corpus}-{size}.new"
    shutil.rmtree(work, ignore_errors=True)
    app, scratch = work / "root" / "opt" / "app", work / "layout"
    app.mkdir(parents=True)
    lines = (CORPORA / f"{corpus}.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    where = {"UV_CACHE_DIR": str(uv_cache), "UV_LINK_MODE": "copy", "UV_NO_CONFIG": "1"}

    def install(requirements: Sequence[str]) -> None:
        listed = work / "requirements.txt"
        listed.write_text("\n".join(requirements))
        constraints = CORPORA / "build-constraints.txt"
        options = ("--no-deps", "--build-constraints", constraints, "--requirement", listed)
        at_its_place(app, uv, "pip", "install", "--python", PLACE, *options, **where)

    def venv() -> None:
        at_its_place(app, uv, "venv", "--python", "/usr/bin/python3", "--clear", PLACE, **where)

    tars = [base, _layer(work, "venv", venv)]
    for start in range(0, len(wanted), size):
        part = wanted[start : start + size]
        tars.append(_layer(work, f"part-{start}", lambda part=part: install(part)))  # type: ignore[misc]
    output("umoci", "init", "--layout", scratch)
    output("umoci", "new", "--image", f"{scratch}:{TAG}")
    for each in tars:
        history = ("--history.created", "2026-11-01T12:00:00Z", "--history.created_by", each.name)
        output("umoci", "raw", "add-layer", "--image", f"{scratch}:{TAG}", *history, each)
    settings = ("--config.env", f"PATH={PLACE}/bin:/usr/bin:/bin", "--config.label", "team=cloud")
    output("umoci", "config", "--image", f"{scratch}:{TAG}", *settings)
    output("umoci", "gc", "--layout", scratch)
    scratch.rename(path)
    shutil.rmtree(work)
    return path


def _layer(work: Path, name: str, change: Callable[[], None]) -> Path:
    """Return a tar of what `change` writes below `work`/root, with the directories above it."""
    root = work / "root"
    before = _states(root)
    change()
    after = _states(root)
    changed = {path for path, state in after.items() if before.get(path) != state}
    changed |= {above for path in changed for above in path.parents if above != root.parent}
    tar = work / f"{name}.tar"
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(changed - set(root.parents) - {root}):
            archive.add(path, path.relative_to(root), recursive=False)
    return tar


def _states(root: Path) -> dict[Path, tuple[int, int]]:
    """Return the inode and the change time of everything below `root`; of directories no time."""
    return {
        path: (path.lstat().st_ino, 0 if path.is_dir() else path.lstat().st_ctime_ns)
        for path in root.rglob("*")
        if path.name not in {".lock", "__pycache__"}
    }
