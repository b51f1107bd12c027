"""What the images of these tests contain: layers as tar files, made of real installed packages."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tests.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

APP = "opt/app"
SITE = f"{APP}/lib/python3.11/site-packages"

# The distributions whose directory has a normalized name.
WRONG = ["acme.plug", "oslo.cache", "oslo.i18n", "zope.interface"]

TIME = 1_700_000_000

Content: TypeAlias = "bytes | str | Path | Link | Hard | Directory | None"


class Link(NamedTuple):
    """A symbolic link."""

    target: str


class Hard(NamedTuple):
    """A hard link to another path in the same tar."""

    target: str


class Directory(NamedTuple):
    """A directory entry with extended attributes or another mode, owner or time."""

    pax: Mapping[str, str] = {}
    mode: int = 0o755
    uid: int = 0
    mtime: int = TIME


def site_packages(uv: Path, wheels: Path, target: Path, *extra: str) -> Path:
    """Install real wheels into `target` with uv, and return it.

    Four of them have a dot in the name; `wheels` has setuptools 75.8.0 and is where they are built.
    """
    build_wheel(wheels, "oslo.cache", "3.10.2", requires=["oslo.i18n>=1"])
    build_wheel(wheels, "oslo.i18n", "6.7.2")
    build_wheel(wheels, "zope.interface", "7.2")
    build_wheel(wheels, "acme.plug", "1.0", entry_points="[acme.drivers]\nfast = acme_plug:fast\n")
    build_wheel(wheels, "simple", "4.0", requires=["oslo.cache>=3"])
    names = ["setuptools", "oslo.cache", "zope.interface", "acme.plug", "simple", *extra]
    command: list[str | Path] = [uv, "pip", "install", "--quiet", "--no-config", "--offline"]
    command += ["--python", sys.executable, "--no-index", "--find-links", wheels]
    # Without a cache: the installed files share no inode with others.
    command += ["--no-cache", "--link-mode", "copy", "--target", target, *names]
    subprocess.run(command, check=True, capture_output=True)
    (target / ".lock").unlink(missing_ok=True)
    return target


def tar(
    contents: Mapping[str, Content],
    *,
    form: int = tarfile.PAX_FORMAT,
    parents: bool = True,
) -> bytes:
    """Return a tar of `contents`: a path below the root, and what it is.

    Bytes or text are a file, a `Path` is a file or directory of this machine with all that it has,
    None is a directory. Unless told otherwise, `parents` get an entry each.
    """
    file = io.BytesIO()
    seen: set[str] = set()
    with tarfile.open(
        fileobj=file, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for name, content in contents.items():
            above = name.strip("/").split("/")[:-1]
            for depth in range(1, len(above) + 1):
                parent = "/".join(above[:depth])
                if parents and parent not in seen and parent not in contents:
                    seen.add(parent)
                    _add(archive, parent, None)
            for path, each in _below(name, content):
                _add(archive, path, each)
    return file.getvalue()


def _below(name: str, content: Content) -> Iterator[tuple[str, Content]]:
    """Yield `content`, and if it is a directory of this machine, all that it has."""
    if not isinstance(content, Path) or not content.is_dir():
        yield name, content
        return
    yield name, None
    for above, directories, files in os.walk(content):
        directories.sort()
        relative = Path(above).relative_to(content)
        for each in directories:
            yield f"{name}/{relative / each}", None
        for each in sorted(files):
            yield f"{name}/{relative / each}", Path(above, each).read_bytes()


def _add(archive: tarfile.TarFile, name: str, content: Content) -> None:
    header = tarfile.TarInfo(name)
    header.mtime = TIME
    data = b""
    if content is None or isinstance(content, Directory):
        header.type, header.mode = tarfile.DIRTYPE, 0o755
        if isinstance(content, Directory):
            header.pax_headers = dict(content.pax)
            header.mode, header.uid, header.mtime = content.mode, content.uid, content.mtime
    elif isinstance(content, Link):
        header.type, header.linkname = tarfile.SYMTYPE, content.target
    elif isinstance(content, Hard):
        header.type, header.linkname = tarfile.LNKTYPE, content.target
    elif isinstance(content, Path):
        data = content.read_bytes()
    else:
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    header.size = len(data)
    archive.addfile(header, io.BytesIO(data))


def metadata(name: str, version: str = "1.0") -> str:
    """Return a METADATA file."""
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def dist_info(directory: str, name: str, version: str = "1.0", **more: str) -> dict[str, str]:
    """Return the files of a distribution in the site-packages `directory`, by their paths."""
    stem = name.replace(".", "_")
    info = f"{stem}-{version}.dist-info"
    files = {f"{stem}/__init__.py": "", f"{info}/METADATA": metadata(name, version)}
    files |= {f"{info}/{file}": text for file, text in more.items()}
    rows = [*files, f"{info}/RECORD"]
    files[f"{info}/RECORD"] = "".join(f"{row},,\n" for row in rows)
    return {f"{directory}/{path}": text for path, text in files.items()}


def broken_site(directory: str, *names: str) -> dict[str, str]:
    """Return a site-packages with a setuptools that misses `names`, in the least possible files."""
    found = dist_info(directory, "setuptools", "75.8.0")
    found[f"{directory}/pkg_resources/__init__.py"] = ""
    for name in names or ("oslo.cache",):
        found |= dist_info(directory, name)
    return found
