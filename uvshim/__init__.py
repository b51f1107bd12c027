"""Rename distributions so that pkg_resources finds them under their own names, dots included.

Most people need the commands `uvpip` and `uvshim` only. Programs can use

- `renormalize(site_packages, since=None)`: rename directories with wrong names;
- `Snapshot`: find what is new since an earlier moment;
- `diagnose(tree)`: find what is wrong, and what breaks because of it, in a `DiskTree` or anything
  else that lists directories and reads files (a `Tree`);
- `survey(images, executor=None)`: the same for container images;

and the types of what these return.
"""

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from uvshim.api import renormalize as renormalize
    from uvshim.check.diagnosis import Diagnosis as Diagnosis
    from uvshim.check.diagnosis import diagnose as diagnose
    from uvshim.check.directories import Finding as Finding
    from uvshim.check.directories import Unreadable as Unreadable
    from uvshim.check.lookups import EntryPoint as EntryPoint
    from uvshim.check.lookups import Failure as Failure
    from uvshim.check.lookups import Unresolvable as Unresolvable
    from uvshim.check.report import Report as Report
    from uvshim.environments.snapshot import Snapshot as Snapshot
    from uvshim.environments.tree import DiskTree as DiskTree
    from uvshim.environments.tree import Tree as Tree
    from uvshim.images.survey import DiagnosedImage as DiagnosedImage
    from uvshim.images.survey import Surveyed as Surveyed
    from uvshim.images.survey import survey as survey
    from uvshim.rename.on_disk import LeftAlone as LeftAlone
    from uvshim.rename.on_disk import Outcome as Outcome
    from uvshim.rename.on_disk import Renamed as Renamed

__version__ = "0.2.0.dev0"

# The modules that define these names. `uvpip` imports none of them to start.
_DEFINED = {
    "uvshim.api": "renormalize",
    "uvshim.check.diagnosis": "Diagnosis diagnose",
    "uvshim.check.directories": "Finding Unreadable",
    "uvshim.check.lookups": "EntryPoint Failure Unresolvable",
    "uvshim.check.report": "Report",
    "uvshim.environments.snapshot": "Snapshot",
    "uvshim.environments.tree": "DiskTree Tree",
    "uvshim.images.survey": "DiagnosedImage Surveyed survey",
    "uvshim.rename.on_disk": "LeftAlone Outcome Renamed",
}
_MODULES = {name: module for module, names in _DEFINED.items() for name in names.split()}

__all__ = [*_MODULES]  # noqa: PLE0604


def __dir__() -> list[str]:
    """Return the public names."""
    return ["__version__", *__all__]


def __getattr__(name: str) -> object:
    """Import the module that defines `name`, and return that object (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
