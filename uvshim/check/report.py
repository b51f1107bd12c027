"""The result for one environment, and whether a build should stop there."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, NamedTuple

from uvshim import config
from uvshim.check.diagnosis import Model
from uvshim.environments import interpreter
from uvshim.environments.search_path import CONFIGURATION, added_directories, has_interpreter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uvshim.check.diagnosis import Diagnosis
    from uvshim.check.required import Spelled
    from uvshim.check.verify import Difference
    from uvshim.environments.environment import Environment

# The owner of Debian's own directories.
DPKG = "dpkg"


class Gate(NamedTuple):
    """What should stop a build."""

    exclusions: Sequence[tuple[str, list[str]]] = ()
    """Patterns of names that do not count, each list with its source (`config.exclusions`)."""
    strict: bool = False
    """Also count what require() refuses for other reasons than names, names that only
    require() finds, directories without a valid METADATA, and an environment that is empty."""
    verify: bool = False
    """Also count files that differ from RECORD."""

    def excludes(self, name: str) -> bool:
        """Return True if the distribution `name` does not count."""
        return self.source_of(name) is not None

    def source_of(self, name: str) -> str | None:
        """Return the variable or file that excludes the distribution `name`, or None."""
        for where, patterns in self.exclusions:
            if config.matcher(patterns)(name):
                return where
        return None


class Report(NamedTuple):
    """The result for one installation."""

    installation: Environment
    diagnosis: Diagnosis
    gate: Gate
    image: str | None = None
    """The image that it is in, as a person would write it; None on a disk."""
    digest: str | None = None
    platform: str | None = None
    """Those of the image; the platform is as in ``linux/amd64``."""
    differences: tuple[Difference, ...] | None = None
    """The distributions whose files differ from RECORD; None if they were not compared."""
    installs: tuple[str, ...] | None = None
    """What `remedies.reinstalls` returned before the tree was given up; else None."""
    is_alone: bool = False
    """Whether no Python is known that imports from it: whichever does may have a setuptools."""

    @property
    def broken(self) -> bool:
        """Whether a build should stop here."""
        found = self.diagnosis
        is_in_image = self.image is not None or self.installation.tree.root is not None
        is_empty = self.empty and not is_in_image  # which may have empty directories
        strictly = found.refused or found.by_require_only or found.invalid or is_empty
        return found.broken or bool(self.differences) or (self.gate.strict and bool(strictly))

    @property
    def empty(self) -> bool:
        """Whether there is nothing to examine."""
        return self.diagnosis.distributions == 0 and not self.diagnosis.unreadable

    @property
    def called(self) -> str:
        """Its name in messages."""
        path = self.outside(self.installation.path)
        return path if self.image is None else f"{self.image} {path}"

    def outside(self, path: str) -> str:
        """Return the `path` in the installation's tree as one on this machine."""
        root = self.installation.tree.root
        return path if root is None else os.path.join(root, path.lstrip("/"))


def examine(
    installation: Environment,
    gate: Gate,
    platform: str | None = None,
    *,
    spelled: Spelled | None = None,
    names_only: bool = False,
) -> Report:
    """Return the report on `installation`, with the directories that it inherits or .pth files add.

    A problem there does not count if an earlier directory hides it. `platform` is that of its
    image, None on a disk. `spelled` is what decides names if other environments import from its
    directories. With `names_only`, lookups are not tried if none can fail because of a name: what
    they fail for otherwise is then unknown.

    Raise OSError if its files are to be verified and one of them cannot be read.
    """
    tree = installation.tree
    model = Model(tree, installation.visible, gate.excludes, platform=platform)
    model.added = added_directories(installation)
    model.inherited = (*installation.inherited, *model.added)
    if spelled is not None:
        model.spelled = functools.partial(spelled.in_tree, tree)
    diagnosis = model.diagnosis(names_only=names_only)
    findings = (
        one._replace(owner=DPKG) if installation.is_of_dpkg(os.path.dirname(one.path)) else one
        for one in diagnosis.findings
    )
    differences = None
    if gate.verify:
        from uvshim.check.verify import verify

        # What belongs to the system's packages has no RECORD: `dpkg --verify` knows it.
        compared = verify(tree, installation.own)
        differences = tuple(one for one in compared if not gate.excludes(one.name))
    diagnosis = diagnosis._replace(findings=tuple(findings))
    is_alone = _is_alone(installation)
    return Report(installation, diagnosis, gate, differences=differences, is_alone=is_alone)


def _is_alone(installation: Environment) -> bool:
    """Return True for a directory of `--target`, and for a prefix without a Python."""
    path, own, tree = installation.path, installation.site_packages, installation.tree
    if path in own:
        return interpreter.library(path) is None
    has_python = tree.is_file(f"{path}/{CONFIGURATION}") or has_interpreter(tree, path)
    return not (has_python or installation.inherited)
