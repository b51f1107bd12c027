"""Where the commands `uvpip` and `uvshim` start; `python -m uvshim` is the latter.

Until `put_foreign_directories_last` was called, this module may import only built-in modules and
its own package: see `uvshim.imports`.
"""

import sys

from uvshim import imports

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable


def uvpip() -> int:
    """Run `uvpip` and return its exit code."""
    return _run(_uvpip)


def uvshim(*, run_as_module: bool = False) -> int:
    """Run `uvshim` and return its exit code."""
    return _run(_uvshim, run_as_module=run_as_module)


def _run(command: "Callable[[], int]", *, run_as_module: bool = False) -> int:
    """Run a `command` and its imports. An unexpected failure is exit code 2, never 1."""
    imports.put_foreign_directories_last(run_as_module=run_as_module)
    try:
        return command()
    except Exception as error:  # noqa: BLE001
        from uvshim.errors import report_bug

        return report_bug(error)
    except KeyboardInterrupt:
        return 130


# Each command loads only the modules that it needs.


def _uvpip() -> int:
    from uvshim.uvpip import main

    return main()


def _uvshim() -> int:
    if sys.argv[1:2] == ["pip"]:
        del sys.argv[1]
        return _uvpip()
    from uvshim.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(uvshim(run_as_module=True))
