"""What was found out about one environment, and whether a build should end there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from uvshim import config
from uvshim.check.diagnosis import diagnose
from uvshim.errors import ImageError

if TYPE_CHECKING:
    from uvshim.check.diagnosis import Diagnosis
    from uvshim.check.verify import Difference
    from uvshim.environments.environment import Environment

# Where patterns of names that are to be left alone stand, and these: see `config.exclusions`.
Exclusions = Sequence[tuple[str, list[str]]]


class Gate(NamedTuple):
    """What a person wants a build to end for."""

    exclusions: Exclusions = ()
    """The names that do not count."""
    strict: bool = False
    """What require() refuses, whatever the names, counts too."""
    verify: bool = False
    """Files that are not what RECORD says count too."""

    def excludes(self, name: str) -> bool:
        """Say whether the distribution `name` does not count."""
        return self.source_of(name) is not None

    def source_of(self, name: str) -> str | None:
        """Return the variable or file that says that the distribution `name` does not count."""
        for where, patterns in self.exclusions:
            if config.matcher(patterns)(name):
                return where
        return None


class Report(NamedTuple):
    """What was found out about one installation."""

    installation: Environment
    diagnosis: Diagnosis
    gate: Gate
    image: str | None = None
    """The reference to the image that it is in, as a person would write it; None: in none."""
    digest: str | None = None
    """That of the image."""
    platform: str | None = None
    """That of the image, as in ``linux/amd64``."""
    differences: tuple[Difference, ...] | None = None
    """The distributions whose files are not what RECORD says; None: nobody has looked."""

    @property
    def broken(self) -> bool:
        """Whether a build should end here."""
        refused = self.gate.strict and bool(self.diagnosis.refused)
        return self.diagnosis.broken or refused or bool(self.differences)

    @property
    def called(self) -> str:
        """What a person calls it."""
        path = self.outside(self.installation.path)
        return path if self.image is None else f"{self.image} {path}"

    def outside(self, path: str) -> str:
        """Return the `path` in the installation's tree as one on this machine."""
        root = self.installation.tree.root
        return path if root is None else os.path.join(root, path.lstrip("/"))


def examine(installation: Environment, gate: Gate) -> Report:
    """Find out what is wrong with the installation `installation`.

    Raises `ImageError` if its files are to be verified and its tree cannot read all of
    them, and OSError if one of them cannot be read.
    """
    diagnosis = diagnose(installation.tree, installation.visible, excluded=gate.excludes)
    differences = _verified(installation) if gate.verify else None
    return Report(installation, diagnosis, gate, differences=differences)


def _verified(installation: Environment) -> tuple[Difference, ...]:
    """Return what differs from RECORD in the directories of `installation` itself.

    What belongs to the system's packages has no RECORD: `dpkg --verify` knows it.
    """
    from uvshim.check import verify

    if not isinstance(installation.tree, verify.HashedTree):
        message = "--verify needs the files on a disk: mount or unpack the image"
        raise ImageError(message)
    return verify.verify(installation.tree, installation.own)
