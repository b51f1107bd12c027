"""What the Makefile runs, and what is no part of the package."""
