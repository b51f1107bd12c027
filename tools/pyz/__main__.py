"""Start uvshim from the single file. This module works with every Python, even 2.7."""

import os
import sys

called = os.path.basename(sys.argv[0])
library = os.path.dirname(os.__file__)  # that of Debian's python3-minimal lacks half
if sys.version_info < (3, 10) or not os.path.exists(os.path.join(library, "shutil.py")):
    old = "%s is Python %d.%d" % (sys.executable, sys.version_info[0], sys.version_info[1])
    if sys.version_info >= (3, 10):
        old += " without its standard library"
    if sys.flags.no_site:  # start.sh did not ask for the version: let it find another Python
        os.environ["_UVSHIM_OLD_PYTHON"] = old
        os.execv("/bin/sh", ["sh"] + sys.argv)
    if called.startswith("uvpip"):
        example = "--python ENV ..."
    elif sys.argv[1:2] == ["pip"]:
        example = "pip --python ENV ..."
    else:
        example = "check ENV"
    sys.stderr.write("error: uvshim needs Python 3.10 or later, and %s\n" % old)
    file = "'%s'" % sys.argv[0] if " " in sys.argv[0] else sys.argv[0]
    sys.stderr.write("hint: the file finds a newer one: sh %s %s\n" % (file, example))
    sys.exit(2)


class InstalledPackages:
    """Finds optional modules, such as zstd, among the packages of a Python started with -S.

    `.pth` files of that Python run only if a module is missing.
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

# These functions prevent that a directory on PYTHONPATH replaces a module.
if called.startswith("uvpip"):
    from uvshim.__main__ import uvpip as main
else:
    from uvshim.__main__ import uvshim as main

sys.exit(main())
