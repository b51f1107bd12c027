"""Start uvshim from the single file. Every Python can read this, even the oldest in use."""

import os
import sys

called = os.path.basename(sys.argv[0])
if sys.version_info < (3, 10):
    old = "%s is Python %d.%d" % ((sys.executable,) + tuple(sys.version_info[:2]))
    if sys.flags.no_site:  # start.sh took this Python without asking: it shall find another one
        os.environ["_UVSHIM_OLD_PYTHON"] = old
        os.execv("/bin/sh", ["sh"] + sys.argv)
    if called.startswith("uvpip"):
        example = "--python ENV ..."
    elif sys.argv[1:2] == ["pip"]:
        example = "pip --python ENV ..."
    else:
        example = "check ENV"
    sys.stderr.write("error: uvshim needs Python 3.10 or later, and %s\n" % old)
    sys.stderr.write("hint: the file finds a newer one: sh %s %s\n" % (sys.argv[0], example))
    sys.exit(2)


class InstalledPackages:
    """Finds what is optional, such as zstd, among the packages of a Python started with -S.

    Until something is missing, no `.pth` file of that Python runs.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]
        """Return the specification of the module `name`, or None."""
        from importlib.machinery import PathFinder

        sys.meta_path.remove(InstalledPackages)
        import site

        site.main()
        return PathFinder.find_spec(name, path, target)


if sys.flags.no_site:
    sys.meta_path.append(InstalledPackages)
if (
    not sys.flags.isolated
):  # started as `python3 uvshim.pyz`: nothing on PYTHONPATH may replace a module of Python
    words = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    foreign = [os.path.abspath(directory) for directory in words]
    sys.path[1:] = [directory for directory in sys.path[1:] if directory not in foreign]

if called.startswith("uvpip"):
    from uvshim.uvpip import main
else:
    from uvshim.cli import main

sys.exit(main())
