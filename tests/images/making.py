"""Small images in every format, made with tarfile."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path


OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"

INDEX = f"{OCI}.index.v1+json"
MANIFEST = f"{OCI}.manifest.v1+json"
CONFIG = f"{OCI}.config.v1+json"


class Link(NamedTuple):
    """A symbolic link."""

    target: str


class Hard(NamedTuple):
    """A hard link."""

    target: str


def tar(
    entries: Mapping[str, Any] | Iterable[tuple[str, Any]],
    *,
    form: int = tarfile.USTAR_FORMAT,
) -> bytes:
    """Return a tar with `entries`, names with a content, a `Link`, a `Hard` one, or None: a pipe.

    A name that ends with a slash is a directory's.
    """
    file = io.BytesIO()
    pairs = entries.items() if hasattr(entries, "items") else entries
    with tarfile.open(
        fileobj=file, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for name, content in pairs:
            header = tarfile.TarInfo(name)
            header.mtime = 1_000_000_000
            data = b""
            if isinstance(content, Link):
                header.type, header.linkname = tarfile.SYMTYPE, content.target
            elif isinstance(content, Hard):
                header.type, header.linkname = tarfile.LNKTYPE, content.target
            elif name.endswith("/"):
                header.type, header.mode = tarfile.DIRTYPE, 0o755
            elif content is None:
                header.type = tarfile.FIFOTYPE
            else:
                data = content.encode() if isinstance(content, str) else content
                header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return file.getvalue()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def plain(content: bytes) -> bytes:
    return content


class Making:
    """An OCI layout in a directory, to which blobs and images are added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifests: list[dict[str, Any]] = []
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, content: bytes) -> Path:
        """Add a blob, and return its path."""
        path = self.path / "blobs" / "sha256" / digest(content).partition(":")[2]
        path.write_bytes(content)
        return path

    def described(self, media_type: str, content: bytes | object, **more: Any) -> dict[str, Any]:
        """Add a blob, JSON if it is not bytes, and return its descriptor."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.blob(data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    def manifest(
        self,
        tars: Sequence[bytes],
        compress: Callable[[bytes], bytes] = gzipped,
        *,
        architecture: str = "amd64",
        media_type: str | None = None,
    ) -> dict[str, Any]:
        """Add an image of layers that are `tars`, and return the descriptor of its manifest."""
        kind = media_type or f"{OCI}.layer.v1.tar{'+gzip' if compress is gzipped else ''}"
        layers = [(digest(each), compress(each)) for each in tars]
        return self.image(layers, kind, architecture=architecture)

    def image(
        self, layers: Sequence[tuple[str, bytes]], media_type: str, *, architecture: str = "amd64"
    ) -> dict[str, Any]:
        """Add an image of `layers`, the digest of the tar and the blob of each, as `manifest`."""
        config = {
            "architecture": architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [of_tar for of_tar, _ in layers]},
        }
        content = {
            "schemaVersion": 2,
            "config": self.described(CONFIG, config),
            "layers": [self.described(media_type, blob) for _, blob in layers],
        }
        return self.described(MANIFEST, content)

    def add(self, descriptor: dict[str, Any], tag: str | None = None) -> None:
        """Add `descriptor` to the index, as `tag`."""
        if tag is not None:
            descriptor = {
                **descriptor,
                "annotations": {"org.opencontainers.image.ref.name": tag},
            }
        self.manifests.append(descriptor)
        self.index({"schemaVersion": 2, "manifests": self.manifests})

    def index(self, content: object) -> None:
        """Write `content` to index.json."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (self.path / "index.json").write_bytes(data)


def layout(path: Path, tars: Sequence[bytes], compress: Callable[[bytes], bytes] = gzipped) -> Path:
    """Write a layout with one image, `latest`, to `path`, and return that."""
    making = Making(path)
    making.add(making.manifest(tars, compress), "latest")
    return path


def oci_archive(directory: Path, path: Path) -> Path:
    """Write the layout in `directory` as an archive to `path`, and return that."""
    with tarfile.open(path, "w") as archive:
        for name in sorted(each.name for each in directory.iterdir()):
            archive.add(directory / name, name)
    return path


def docker_archive(
    path: Path, tars: Sequence[bytes], tags: Sequence[str] = ("app:latest",), **config: object
) -> Path:
    """Write what `docker save` wrote before its version 25 to `path`, and return that."""
    rootfs = {"type": "layers", "diff_ids": [digest(each) for each in tars]}
    described = json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": rootfs, **config}
    ).encode()
    name = digest(described).partition(":")[2] + ".json"
    layers = [f"{digest(each).partition(':')[2]}/layer.tar" for each in tars]
    manifest = json.dumps([{"Config": name, "RepoTags": list(tags), "Layers": layers}])
    members: list[tuple[str, bytes]] = [*zip(layers, tars, strict=True), (name, described)]
    path.write_bytes(tar([*members, ("manifest.json", manifest)]))
    return path
