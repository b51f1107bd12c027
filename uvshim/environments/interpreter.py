"""Find the Python of an environment from names and files."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from uvshim.environments.tree import Tree

# The directory of a Python's library, or its interpreter: python3.12, python3.13t, pypy3.9. What
# follows the version may be more (python3.11-dbg), and site-packages after that.
_LIBRARY = re.compile(r"((python|pypy|graalpy)(\d+\.\d+)t?)[^/]*(?:/(?:site|dist)-packages/*)?$")

# The version of a Python in its pyvenv.cfg, or in its header file.
_VERSION = re.compile(
    rb'(?m)^(?:version(?:_info)?\s*=\s*|#define\s+PY_VERSION\s+")([0-9]+\.[0-9]+\.[0-9]+)'
)

# What is read at most of a file, in bytes.
_FILE_LIMIT = 64 * 1024

# What `platform.machine()` says on the architectures of images (Go's GOARCH and variant), and for
# the machines of ELF files, whose number is read as two bytes.
_MACHINES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "arm": "armv7l",
    "arm/v6": "armv6l",
    "arm/v5": "armv5tel",
    "386": "i686",
    "loong64": "loongarch64",
}
_ELF_MACHINES = {
    b"\x3e\0": "x86_64",
    b"\xb7\0": "aarch64",
    b"\x28\0": "armv7l",
    b"\x03\0": "i686",
    b"\x15\0": "ppc64le",
    b"\xf3\0": "riscv64",
    b"\0\x16": "s390x",
}
_FAMILIES = {
    "i686": {"i386", "i486", "i586", "i686", "x86_64"},
    "armv7l": {"armv6l", "armv7l", "armv8l", "aarch64"},
}
_SYSTEMS = {
    "linux": {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"},
    "windows": {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows"},
}


def is_python(program: str) -> bool:
    """Return True if `program`, a name or a path, is called like a Python."""
    return os.path.basename(program).rstrip("0123456789.td") in {"python", "pypy", "graalpy"}


def library(*texts: str) -> str | None:
    """Return the library, such as ``python3.13t``, at the end of the first path that has one.

    Each Python in a prefix has its own: CPython, its free-threaded build, and PyPy.
    """
    return next((found[1] for text in texts if (found := _LIBRARY.search(text))), None)


def series(*texts: str) -> str | None:
    """Return the version, such as ``3.12``, at the end of the first path that has one."""
    return next((found[3] for text in texts if (found := _LIBRARY.search(text))), None)


def chosen(libraries: Iterable[str | None], name: str) -> str | None:
    """Return which of `libraries` the interpreter `name`, such as ``python3``, uses.

    Without a version in the name, this is the newest of its kind, or else the newest.
    """
    wanted, version = library(name), series(name)
    kind = name.rstrip("0123456789.t")
    present = oldest_first(libraries)
    if wanted in present:
        return wanted
    same = [each for each in present if version in {None, series(each)}]
    alike = [each for each in same if kind == each.rstrip("0123456789.t")]
    return [wanted, *same, *alike][-1]


def oldest_first(libraries: Iterable[str | None]) -> list[str]:
    """Return the different `libraries` by their version."""
    return sorted(set(filter(None, libraries)), key=_age)


def _age(name: str) -> tuple[list[int], bool, str]:
    """Return the sort key of libraries: the usual build of CPython is last in its version."""
    version = series(name) or "0"
    return [*map(int, version.split("."))], name == f"python{version}", name


def version_of(tree: Tree, site_packages: Collection[str], unknown: str | None = None) -> str:
    """Return the version of the Python that `site_packages` belong to, as in ``3.12.1``.

    The first two numbers are in their paths (``lib/python3.12/``), or beside ``lib/python3``;
    all three in a pyvenv.cfg, or in Python's header files. If the third is unknown, it
    is high. If nothing is known, it is `unknown`, or the running Python's version.
    """
    found = None
    for path in site_packages:
        name = library(path) or _library_beside(tree, path)
        found = found or series(name or "")
        for file in ("pyvenv.cfg", f"include/{name}/patchlevel.h"):
            content = tree.read(os.path.join(root_of(path), file), _FILE_LIMIT) or b""
            match = _VERSION.search(content)
            if match is not None and match[1].decode().startswith(f"{found}." if found else ""):
                return match[1].decode()
    if found:
        return f"{found}.99"
    return unknown or ".".join(map(str, sys.version_info[:3]))


def _library_beside(tree: Tree, site_packages: str) -> str | None:
    """Return the newest Python beside ``lib/python3``, which all Pythons of Debian share."""
    lib, python = os.path.split(os.path.dirname(site_packages))
    return chosen(map(library, tree.names(lib)), "python") if python == "python3" else None


def root_of(site_packages: str) -> str:
    """Return the root of the installation that a site-packages directory belongs to.

    Debian's local directory belongs to the Python in /usr.
    """
    above = os.path.dirname(site_packages)
    prefix = os.path.dirname(above if os.path.basename(above) == "Lib" else os.path.dirname(above))
    if site_packages.endswith("dist-packages") and os.path.basename(prefix) == "local":
        return os.path.dirname(prefix)
    return prefix


def markers(
    tree: Tree, python: str, site_packages: Iterable[str], platform: str | None = None
) -> dict[str, str]:
    """Return the variables of environment markers that are known of a Python in `tree`.

    `python` is its version. It imports from `site_packages`, whose paths show PyPy. `platform` is
    that of an image, as in ``linux/arm64``; without one, the interpreter's file names its machine.
    Whatever is not returned is this machine's, such as the release of the kernel.
    """
    places = list(site_packages)
    is_pypy = any("/pypy" in place for place in places)
    return {
        "implementation_name": "pypy" if is_pypy else "cpython",
        "platform_python_implementation": "PyPy" if is_pypy else "CPython",
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "implementation_version": python,
        **(_named(platform) if platform else _measured(tree, places)),
    }


def is_platform(text: str) -> bool:
    """Return True if `text` has the form OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT."""
    parts = text.split("/")
    return 2 <= len(parts) <= 3 and all(parts)  # noqa: PLR2004


def _named(platform: str) -> dict[str, str]:
    """Return the variables that follow from the `platform` of an image (OCI image index)."""
    system, architecture, *variant = platform.split("/")
    machine = _MACHINES.get("/".join([architecture, *variant])) or _MACHINES.get(architecture)
    known = {"platform_machine": machine or architecture}
    return {**known, **_SYSTEMS[system]} if system in _SYSTEMS else known


def _measured(tree: Tree, site_packages: list[str]) -> dict[str, str]:
    """Return the machine that the interpreter is built for, if that is not this one.

    A kernel also runs programs for its 32-bit variant, which see the kernel's machine.
    """
    here = os.uname().machine
    for path in site_packages:
        for name in ("python3", "python", library(path)):
            head = tree.read(os.path.join(root_of(path), "bin", str(name)), 20) or b""
            machine = _ELF_MACHINES.get(head[18:20]) if head[:4] == b"\x7fELF" else None
            if machine is not None:
                runs_here = here in _FAMILIES.get(machine, {machine})
                return {} if runs_here else {"platform_machine": machine, **_SYSTEMS["linux"]}
    return {}
