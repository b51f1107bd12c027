"""Unpack images as the layer specification says, to examine the result."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

TAG = "org.opencontainers.image.ref.name"


def blob(layout: Path, digest: str) -> bytes:
    """Return the blob `digest` of a layout."""
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def index(layout: Path) -> dict[str, dict[str, Any]]:
    """Return what index.json lists, by tag."""
    listed = json.loads((layout / "index.json").read_text())["manifests"]
    return {each.get("annotations", {}).get(TAG, ""): each for each in listed}


def pointed_to(layout: Path, descriptor: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON that `descriptor` points to, whose size must be right."""
    content = blob(layout, descriptor["digest"])
    assert len(content) == descriptor["size"]
    found: dict[str, Any] = json.loads(content)
    return found


def manifest(layout: Path, tag: str) -> dict[str, Any]:
    """Return the manifest, or the index, that is called `tag`."""
    return pointed_to(layout, index(layout)[tag])


def tars(layout: Path, tag: str) -> list[bytes]:
    """Return the layers of an image, decompressed."""
    found = []
    for layer in manifest(layout, tag)["layers"]:
        content = blob(layout, layer["digest"])
        if content.startswith(b"\x28\xb5\x2f\xfd"):
            from backports import zstd

            content = zstd.decompress(content)
        found.append(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)
    return found


def members(content: bytes) -> list[tarfile.TarInfo]:
    """Return the headers in a tar."""
    with tarfile.open(fileobj=io.BytesIO(content), errors="surrogateescape") as archive:
        return archive.getmembers()


def unpacked(layout: Path, tag: str, root: Path) -> Path:
    """Unpack the image `tag` to `root`, and return that."""
    root.mkdir(parents=True)
    for content in tars(layout, tag):
        with tarfile.open(fileobj=io.BytesIO(content), errors="surrogateescape") as archive:
            for member in archive:
                _apply(archive, member, root)
    return root


def _apply(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    path = root / member.name
    if path.name == ".wh..wh..opq":
        for child in path.parent.iterdir():
            _remove(child)
    elif path.name.startswith(".wh."):
        _remove(path.with_name(path.name.removeprefix(".wh.")))
    else:
        if not (member.isdir() and path.is_dir()):
            _remove(path)
        # With every bit of its mode, and links to wherever they lead: these are the test's own.
        member.uid, member.gid = os.getuid(), os.getgid()
        archive.extract(member, root, numeric_owner=True, filter="fully_trusted")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def states(root: Path) -> dict[str, tuple[Any, ...]]:
    """Return kind, mode, content and time of everything below `root`; of directories no time."""
    found: dict[str, tuple[Any, ...]] = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            about: tuple[Any, ...] = (oct(status.st_mode),)
            if os.path.islink(path):
                about += (os.readlink(path),)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    about += (file.read(), status.st_mtime_ns)
            found[os.path.relpath(path, root)] = about
    return found
