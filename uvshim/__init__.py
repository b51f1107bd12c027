"""Keep every distribution findable by pkg_resources under the name it has, dots included."""

from __future__ import annotations

__version__ = "0.1.0"
