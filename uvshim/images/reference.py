"""The names of images: as skopeo writes them (containers-transports(5)), or bare paths.

uvshim reads `oci:`, `oci-archive:`, `docker-archive:` and `dir:` directly, and also the path of a
layout or a tar, and ``-`` for standard input. skopeo copies all others.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from uvshim.images import archive

OCI = "oci"
OCI_ARCHIVE = "oci-archive"
DOCKER_ARCHIVE = "docker-archive"
DIR = "dir"
DIRECT = (OCI, OCI_ARCHIVE, DOCKER_ARCHIVE, DIR)

# The transports that skopeo reads.
THROUGH_SKOPEO = tuple("atomic containers-storage docker docker-daemon ostree sif tarball".split())

_TAG_AND_DIGEST = re.compile(r"(//.*/[^/:@]+|//[^/:@]+):[\w.-]+(@sha\d+:[0-9a-f]+)")


class Reference(NamedTuple):
    """The name of an image, or of several."""

    text: str
    """The name as the person wrote it."""
    transport: str
    """``oci``, ``docker`` and so on; empty for a bare path."""
    path: str
    """The path; for skopeo, everything after the transport."""
    tag: str | None
    """A tag, the name of a repository, a digest, or ``@N``."""

    def absolute(self) -> Reference:
        """Return the reference with an absolute path, for processes in other directories."""
        direct = self.transport in {"", *DIRECT} and self.path != archive.STANDARD_INPUT
        return self._replace(path=os.path.abspath(self.path)) if direct else self


def parse(text: str) -> Reference | None:
    """Return the reference to an image in `text`, or None if it is something else.

    If a file with exactly this name exists, `text` is a path.
    """
    transport, colon, rest = text.partition(":")
    if colon and not os.path.lexists(text):
        if transport == DIR:
            return Reference(text, DIR, rest, None)
        if transport in DIRECT:
            path, _, tag = rest.partition(":")
            if path.endswith(("@sha256", "@sha512")):  # DIR@sha256:… is DIR:sha256:…
                path, _, algorithm = path.rpartition("@")
                tag = f"{algorithm}:{tag}"
            return Reference(text, transport, path, tag or None)
        if transport in THROUGH_SKOPEO:  # skopeo refuses a tag beside a digest
            return Reference(text, transport, _TAG_AND_DIGEST.sub(r"\1\2", rest), None)
    if _is_layout(text) or archive.is_stream(text) or archive.looks_like_one(text):
        return Reference(text, "", text, None)
    return None


def _is_layout(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "index.json")) and os.path.isdir(
        os.path.join(path, "blobs")
    )
