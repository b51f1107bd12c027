"""Keep every distribution findable by pkg_resources under the name it has, dots included.

The commands `uvpip` and `uvshim` are what most people need. For programs there are

- `renormalize(site_packages, since=None)`, which renames what has a wrong name;
- `Snapshot`, which tells what is new since a moment before;
- `diagnose(tree)`, which tells what is wrong and what breaks because of it, in a `DiskTree` or
  anything else that lists directories and reads files (a `Tree`);
- `survey(images, executor=None)`, which tells that of container images, one or many;

and the types of what these return.
"""

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from uvshim.api import renormalize
    from uvshim.check.diagnosis import (
        Diagnosis,
        EntryPoint,
        Failure,
        Finding,
        Unreadable,
        Unresolvable,
        diagnose,
    )
    from uvshim.check.report import Report
    from uvshim.environments.snapshot import Snapshot
    from uvshim.environments.tree import DiskTree, Tree
    from uvshim.images.survey import DiagnosedImage, Surveyed, survey
    from uvshim.rename.on_disk import LeftAlone, Outcome, Renamed

__all__ = [
    "DiagnosedImage",
    "Diagnosis",
    "DiskTree",
    "EntryPoint",
    "Failure",
    "Finding",
    "LeftAlone",
    "Outcome",
    "Renamed",
    "Report",
    "Snapshot",
    "Surveyed",
    "Tree",
    "Unreadable",
    "Unresolvable",
    "__version__",
    "diagnose",
    "renormalize",
    "survey",
]

__version__ = "0.2.0.dev0"

# Where each name is to be found. `uvpip` needs none of it to begin.
_MODULES = {
    "DiagnosedImage": "uvshim.images.survey",
    "Diagnosis": "uvshim.check.diagnosis",
    "DiskTree": "uvshim.environments.tree",
    "EntryPoint": "uvshim.check.diagnosis",
    "Failure": "uvshim.check.diagnosis",
    "Finding": "uvshim.check.diagnosis",
    "LeftAlone": "uvshim.rename.on_disk",
    "Outcome": "uvshim.rename.on_disk",
    "Renamed": "uvshim.rename.on_disk",
    "Report": "uvshim.check.report",
    "Snapshot": "uvshim.environments.snapshot",
    "Surveyed": "uvshim.images.survey",
    "Tree": "uvshim.environments.tree",
    "Unreadable": "uvshim.check.diagnosis",
    "Unresolvable": "uvshim.check.diagnosis",
    "diagnose": "uvshim.check.diagnosis",
    "renormalize": "uvshim.api",
    "survey": "uvshim.images.survey",
}


def __getattr__(name: str) -> object:
    """Import what is asked for, when it is (PEP 562)."""
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
