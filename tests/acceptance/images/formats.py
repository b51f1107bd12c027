"""Images in every form that a tool writes them in, byte for byte where it matters.

What Debian has no tool for is written here in the form that the tool writes: the names and the
order of the entries, compressed layers, and the keys of `manifest.json`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

Descriptor = dict[str, Any]


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def hexadecimal(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def as_json(content: object) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 6, mtime=0)


def plain(content: bytes) -> bytes:
    return content


def zstandard(content: bytes) -> bytes:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from backports import zstd
    return bytes(zstd.compress(content))


SUFFIXES: dict[Callable[[bytes], bytes], str] = {gzipped: "gzip", plain: "", zstandard: "zstd"}


class Image(NamedTuple):
    """An image of one platform: its config, and its layers as tar files and as blobs."""

    config: dict[str, Any]
    tars: tuple[bytes, ...]
    blobs: tuple[bytes, ...]
    suffix: str = "gzip"

    @property
    def described(self) -> bytes:
        return as_json(self.config)

    @property
    def platform(self) -> dict[str, str]:
        return {"os": self.config["os"], "architecture": self.config["architecture"]}


def image(
    *tars: bytes,
    compress: Callable[[bytes], bytes] = gzipped,
    architecture: str = "amd64",
    history: bool = True,
    **config: Any,
) -> Image:
    """Return an image of the layers `tars`; a key of `config` that is None is left out."""
    described: dict[str, Any] = {
        "created": "2026-11-01T12:00:00Z",
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/opt/app/bin:/usr/bin:/bin"], "Labels": {"team": "cloud"}},
        "rootfs": {"type": "layers", "diff_ids": [digest(each) for each in tars]},
    }
    if history:
        described["history"] = [
            {"created": "2026-11-01T12:00:00Z", "created_by": f"RUN step {number}"}
            for number, _ in enumerate(tars)
        ]
    described = {k: v for k, v in {**described, **config}.items() if v is not None}
    blobs = tuple(compress(each) for each in tars)
    return Image(described, tars, blobs, SUFFIXES[compress])


class Layout:
    """An OCI layout in a directory, to which images are added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifests: list[Descriptor] = []
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.write_index()

    def blob(self, media_type: str, content: object, **more: Any) -> Descriptor:
        """Add a blob, JSON if it is not bytes, and return its descriptor."""
        data = as_json(content)
        (self.path / "blobs" / "sha256" / hexadecimal(data)).write_bytes(data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    def image(self, made: Image, *, docker: bool = False, **more: Any) -> Descriptor:
        """Add an image with the media types of OCI or of Docker; return its descriptor."""
        layer = DOCKER_LAYER if docker else OCI_LAYER
        if made.suffix:
            layer += f".{made.suffix}" if docker else f"+{made.suffix}"
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
            "config": self.blob(DOCKER_CONFIG if docker else OCI_CONFIG, made.described),
            "layers": [self.blob(layer, each) for each in made.blobs],
        }
        more = {"platform": made.platform, **more}
        return self.blob(str(manifest["mediaType"]), manifest, **more)

    def index(
        self, manifests: Sequence[Descriptor] | None, *, docker: bool = False, **more: Any
    ) -> Descriptor:
        """Add an index as a blob, and return its descriptor."""
        kind = DOCKER_INDEX if docker else OCI_INDEX
        content = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
        return self.blob(kind, content, **more)

    def add(self, descriptor: Descriptor, tag: str | None = None, **annotations: str) -> None:
        """Add `descriptor` to index.json under `tag`."""
        if tag is not None:
            annotations = {REF_NAME: tag, **annotations}
        if annotations:
            descriptor = {**descriptor, "annotations": annotations}
        self.manifests.append(descriptor)
        self.write_index()

    def write_index(self, content: object = None) -> None:
        """Write index.json: what was added, or `content` as it is."""
        whole = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.manifests}
        (self.path / "index.json").write_bytes(as_json(whole if content is None else content))

    def remove(self, descriptor: Descriptor) -> None:
        """Remove the blob of `descriptor`."""
        (self.path / "blobs" / "sha256" / descriptor["digest"].partition(":")[2]).unlink()


def layout(path: Path, made: Image, tag: str | None = "1.0", *, docker: bool = False) -> Layout:
    """Write a layout with one image, and return it."""
    found = Layout(path)
    descriptor = found.image(made, docker=docker)
    found.add({key: value for key, value in descriptor.items() if key != "platform"}, tag)
    return found


def members(path: Path) -> dict[str, bytes]:
    """Return the regular files of a tar by their names."""
    with tarfile.open(path) as archive:
        return {
            each.name: archive.extractfile(each).read()  # type: ignore[union-attr]
            for each in archive
            if each.isfile()
        }


def write_tar(
    path: Path,
    contents: Iterable[tuple[str, bytes]] | Mapping[str, bytes],
    *,
    form: int = tarfile.USTAR_FORMAT,
) -> Path:
    """Write a tar of regular files, without entries for directories."""
    pairs = contents.items() if hasattr(contents, "items") else contents
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in pairs:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


def pack(directory: Path, path: Path, prefix: str = "") -> Path:
    """Write all that is in `directory` as a tar, the names behind `prefix`."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for each in sorted(directory.iterdir()):
            archive.add(each, f"{prefix}{each.name}")
    return path


# --- the archives of tools that Debian does not have ----------------------------------------------

Tagged: TypeAlias = "Sequence[tuple[Image, list[str] | None]]"


def crane(path: Path, images: Tagged) -> Path:
    """Write what crane, ko, kaniko and apko write: `sha256:HEX`, then `HEX.tar.gz`."""
    entries: dict[str, bytes] = {}
    manifest = []
    for made, tags in images:
        config = digest(made.described)
        entries[config] = made.described
        layers = [f"{hexadecimal(blob)}.tar.gz" for blob in made.blobs]
        entries.update(zip(layers, made.blobs, strict=True))
        manifest.append({"Config": config, "RepoTags": tags, "Layers": layers})
    return write_tar(path, {**entries, "manifest.json": as_json(manifest)})


def jib(path: Path, images: Tagged) -> Path:
    """Write what jib writes: the layers, then `config.json` and `manifest.json`."""
    ((made, tags),) = images
    entries = {f"{hexadecimal(blob)}.tar.gz": blob for blob in made.blobs}
    manifest = [{"Config": "config.json", "RepoTags": tags, "Layers": list(entries)}]
    entries["config.json"] = made.described
    return write_tar(path, {**entries, "manifest.json": as_json(manifest)}, form=tarfile.PAX_FORMAT)


def jib_oci(path: Path, images: Tagged) -> Path:
    """Write what jib writes for an image with OCI's media types: a layout, `index.json` last."""
    ((made, tags),) = images
    entries = {f"blobs/sha256/{hexadecimal(blob)}": blob for blob in made.blobs}
    entries[f"blobs/sha256/{hexadecimal(made.described)}"] = made.described
    manifest = as_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": OCI_CONFIG,
                "digest": digest(made.described),
                "size": len(made.described),
            },
            "layers": [
                {"mediaType": f"{OCI_LAYER}+gzip", "digest": digest(blob), "size": len(blob)}
                for blob in made.blobs
            ],
        }
    )
    entries[f"blobs/sha256/{hexadecimal(manifest)}"] = manifest
    described: Descriptor = {
        "mediaType": OCI_MANIFEST,
        "digest": digest(manifest),
        "size": len(manifest),
    }
    if tags:
        described["annotations"] = {REF_NAME: tags[0]}
    entries["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    entries["index.json"] = as_json({"schemaVersion": 2, "manifests": [described]})
    return write_tar(path, entries)


def old_docker(path: Path, images: Tagged) -> Path:
    """Write what Docker before 25, Nix and Bazel write: `HEX/layer.tar` and `HEX.json`."""
    entries: dict[str, bytes] = {}
    manifest = []
    for made, tags in images:
        layers = []
        for each in made.tars:
            folder = hexadecimal(b"chain" + each)
            entries[f"{folder}/VERSION"] = b"1.0"
            entries[f"{folder}/json"] = as_json({"id": folder})
            entries[f"{folder}/layer.tar"] = each
            layers.append(f"{folder}/layer.tar")
        config = f"{hexadecimal(made.described)}.json"
        entries[config] = made.described
        manifest.append({"Config": config, "RepoTags": tags, "Layers": layers})
    entries["manifest.json"] = as_json(manifest)
    entries["repositories"] = as_json({})
    return write_tar(path, entries)


def rules_oci(path: Path, images: Tagged) -> Path:
    """Write what Bazel's rules_oci writes: `blobs/sha256/HEX.tar.gz`, and no index."""
    entries: dict[str, bytes] = {}
    manifest = []
    for made, tags in images:
        config = f"blobs/sha256/{hexadecimal(made.described)}"
        layers = [f"blobs/sha256/{hexadecimal(blob)}.tar.gz" for blob in made.blobs]
        manifest.append({"Config": config, "RepoTags": tags, "Layers": layers})
        entries[config] = made.described
        entries.update(zip(layers, made.blobs, strict=True))
    return write_tar(path, {"manifest.json": as_json(manifest), **entries})


def new_docker(
    path: Path, images: Tagged, *, absent: Sequence[str] = (), media: str = OCI_INDEX
) -> Path:
    """Write what Docker 25 and later write: a layout with a `manifest.json`.

    With the containerd image store the index of an image lists all its platforms; those that are
    `absent` have no blobs in the archive.
    """
    entries: dict[str, bytes] = {}
    manifest = []
    top = []

    def blob(media_type: str, content: object, *, kept: bool = True, **more: Any) -> Descriptor:
        data = as_json(content)
        if kept:
            entries[f"blobs/sha256/{hexadecimal(data)}"] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    def manifest_of(made: Image, *, kept: bool = True) -> Descriptor:
        content = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": blob(OCI_CONFIG, made.described, kept=kept),
            "layers": [blob(f"{OCI_LAYER}+gzip", each, kept=kept) for each in made.blobs],
        }
        return blob(OCI_MANIFEST, content, kept=kept, platform=made.platform)

    for made, tags in images:
        described = manifest_of(made)
        if absent:
            others = [made._replace(config={**made.config, "architecture": x}) for x in absent]
            missing = [manifest_of(other, kept=False) for other in others]
            described = blob(media, {"schemaVersion": 2, "manifests": [*missing, described]})
        for tag in tags or ():
            named = {CONTAINERD_NAME: f"docker.io/library/{tag}", REF_NAME: tag.rpartition(":")[2]}
            top.append({**described, "annotations": named})
        if not tags:
            top.append(described)
        manifest.append(
            {
                "Config": f"blobs/sha256/{hexadecimal(made.described)}",
                "RepoTags": tags,
                "Layers": [f"blobs/sha256/{hexadecimal(each)}" for each in made.blobs],
            }
        )
    entries["index.json"] = as_json({"schemaVersion": 2, "manifests": top})
    entries["manifest.json"] = as_json(manifest)
    entries["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    return write_tar(path, entries)


HAND_MADE = {
    "crane": crane,
    "jib": jib,
    "jib, OCI": jib_oci,
    "Docker before 25": old_docker,
    "rules_oci": rules_oci,
    "Docker 25": new_docker,
}
