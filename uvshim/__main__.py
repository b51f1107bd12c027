"""Where the commands `uvpip` and `uvshim` start; `python -m uvshim` is the latter.

Until `put_foreign_directories_last` was called, this module may import only built-in modules and
its own package: see `uvshim.imports`.
"""

import sys

from uvshim import imports


def uvpip() -> int:
    """Run `uvpip` and return its exit code."""
    return _run("uvpip")


def uvshim(*, run_as_module: bool = False) -> int:
    """Run `uvshim` and return its exit code."""
    if sys.argv[1:2] == ["pip"]:
        del sys.argv[1]
        return uvpip()
    return _run("uvshim", run_as_module=run_as_module)


def _run(command: str, *, run_as_module: bool = False) -> int:
    """Import and run a `command`. An unexpected failure is exit code 2, never 1."""
    imports.put_foreign_directories_last(run_as_module=run_as_module)
    try:
        if command == "uvpip":  # neither needs what the other imports
            from uvshim.uvpip import main
        else:
            from uvshim.cli import main
        return main()
    except Exception as error:  # noqa: BLE001
        from uvshim.errors import report_bug

        return report_bug(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(uvshim(run_as_module=True))
