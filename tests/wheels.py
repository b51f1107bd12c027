"""Small wheels with all variations that build backends write."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def normalized(name: str) -> str:
    """Return the name part that today's backends write for `name`."""
    return re.sub(r"[-_.]+", "_", name).lower()


def build_wheel(
    directory: Path,
    name: str,
    version: str = "1.0",
    *,
    stem: str | None = None,
    record_stem: str | None = None,
    metadata: str | None = None,
    requires: Sequence[str] = (),
    entry_points: str | None = None,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel of the distribution `name` to `directory` and return its path.

    `stem` is the name of its dist-info directory without the suffix (today's backends: the
    normalized name and the version), `record_stem` the one that RECORD speaks of, `metadata` all
    of METADATA, `files` further files by their path in site-packages.
    """
    stem = stem or f"{normalized(name)}-{version}"
    info = f"{stem}.dist-info"
    if metadata is None:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += "".join(f"Requires-Dist: {each}\n" for each in requires)
    module = normalized(name)
    contents = {f"{module}/__init__.py": f"version = {version!r}\n", **(files or {})}
    contents[f"{info}/METADATA"] = metadata
    contents[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if entry_points is not None:
        contents[f"{info}/entry_points.txt"] = entry_points
    path = directory / f"{normalized(name)}-{version}-py3-none-any.whl"
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        rows = []
        for file, content in contents.items():
            data = content.encode()
            wheel.writestr(file, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            rows.append(
                [
                    file.replace(info, f"{record_stem or stem}.dist-info", 1),
                    f"sha256={digest}",
                    len(data),
                ]
            )
        rows.append([f"{record_stem or stem}.dist-info/RECORD", "", ""])
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        wheel.writestr(f"{info}/RECORD", text.getvalue())
    return path
