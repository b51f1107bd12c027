"""Keep every distribution findable by pkg_resources under the name it has, dots included.

The commands `uvpip` and `uvshim` are what most people need. For programs there are

- `renormalize(site_packages, since=None)`, which renames what has a wrong name;
- `Snapshot`, which tells what is new since a moment before;
- `diagnose(tree)`, which tells what is wrong and what breaks because of it, in a `DiskTree` or
  whatever else lists directories and reads files.
"""

from __future__ import annotations

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from uvshim.api import renormalize
    from uvshim.check.diagnosis import diagnose
    from uvshim.environments.snapshot import Snapshot
    from uvshim.environments.tree import DiskTree

__all__ = ["DiskTree", "Snapshot", "__version__", "diagnose", "renormalize"]

__version__ = "0.1.0"

_MODULES = {
    "DiskTree": "uvshim.environments.tree",
    "Snapshot": "uvshim.environments.snapshot",
    "diagnose": "uvshim.check.diagnosis",
    "renormalize": "uvshim.api",
}


def __getattr__(name: str) -> object:
    """Import what is asked for, when it is: `uvpip` needs none of it to begin (PEP 562)."""
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
