"""Draw the terminal pictures of the documentation: run commands in tmux, and save the screen."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
SOME = "oslo.cache==3.10.2 oslo.log==8.2.0 setuptools==75.8.0"
# By picture: the width of the terminal, a hidden command that runs first, and the visible command.
SCENES = {
    "uvpip": (72, "uv venv -q .venv", "uvpip --no-deps oslo.cache==3.10.2 requests==2.34.2"),
    "check": (100, f"uv venv -q .venv; uv pip install -q --no-deps {SOME}", "uvshim check .venv"),
}

# Foreground colours by their number in an SGR sequence, for a dark background.
COLOURS = {
    "31": "#ff7b72",
    "32": "#56d364",
    "33": "#e3b341",
    "34": "#79c0ff",
    "36": "#56d4dd",
}
FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace"
CELL, LINE, SIZE, MARGIN = 8.4, 20, 14, 16


def main() -> int:
    """Draw every picture."""
    PICTURES.mkdir(exist_ok=True)
    for name, (width, before, command) in SCENES.items():
        drawn = svg(run(width, before, command), width, f"$ {command}")
        (PICTURES / f"{name}.svg").write_text(drawn, encoding="utf-8")
        print(PICTURES / f"{name}.svg")
    return 0


def run(width: int, before: str, command: str) -> list[str]:
    """Run `command` in a terminal and return its screen, line by line with its colours."""
    with tempfile.TemporaryDirectory(prefix="uvshim-picture-") as directory:
        for name in ("requirements.txt", "constraints.txt"):
            (Path(directory) / name).write_bytes((ROOT / "recipes" / name).read_bytes())
        server = str(Path(directory, "tmux"))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PS1": "$ ", "TERM": "xterm-256color"}
        environment.pop("VIRTUAL_ENV", None)

        def tmux(*words: str) -> str:
            return subprocess.run(
                ["tmux", "-S", server, "-f", "/dev/null", *words],  # noqa: S607
                cwd=directory,
                env=environment,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout

        subprocess.run(["/bin/sh", "-c", before], cwd=directory, env=environment, check=True)
        done = Path(directory, "done")
        script = f"printf '$ %s\\n' '{command}'; {command}; touch {done}; sleep 60"
        tmux("new-session", "-d", "-x", str(width), "-y", "60", "sh", "-c", script)
        while not done.exists():
            time.sleep(0.1)
        time.sleep(0.3)
        screen = tmux("capture-pane", "-p", "-e")
        tmux("kill-server")
    return screen.replace(directory, "/srv").rstrip().split("\n")


def svg(lines: list[str], columns: int, title: str) -> str:
    """Return `lines` of a terminal as a picture."""
    width = round(columns * CELL + 2 * MARGIN)
    height = len(lines) * LINE + 2 * MARGIN
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#161b22"/>',
        f'<g font-family="{FONT}" font-size="{SIZE}" fill="#e6edf3">',
    ]
    style: dict[str, str] = {}
    for number, line in enumerate(lines):
        y = MARGIN + (number + 0.75) * LINE
        column = 0
        for codes, text in re.findall(r"(?:\x1b\[([0-9;]*)m)|([^\x1b]+)", line):
            if text:
                look = "".join(f' {key}="{value}"' for key, value in style.items())
                x = MARGIN + column * CELL
                shown = html.escape(text).replace(" ", "\N{NO-BREAK SPACE}")
                long = f'textLength="{len(text) * CELL:.1f}" lengthAdjust="spacingAndGlyphs"'
                drawn.append(f'<text x="{x:.1f}" y="{y:.1f}" {long}{look}>{shown}</text>')
                column += len(text)
            else:
                for code in codes.split(";"):
                    style = changed(style, code)
    return "\n".join([*drawn, "</g>", "</svg>", ""])


def changed(style: dict[str, str], code: str) -> dict[str, str]:
    """Return `style` after one number of an SGR sequence."""
    if code in {"", "0"}:
        return {}
    if code == "1":
        return {**style, "font-weight": "bold"}
    if code == "2":
        return {**style, "opacity": "0.65"}
    if code == "39":
        return {key: value for key, value in style.items() if key != "fill"}
    return {**style, "fill": COLOURS[code]} if code in COLOURS else style


if __name__ == "__main__":
    sys.exit(main())
