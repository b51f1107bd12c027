"""`uvshim`: check and mend environments that exist already, and wrap any other command."""

from __future__ import annotations


def main() -> int:
    """Run the command line of `uvshim` and return its exit code."""
    raise NotImplementedError
