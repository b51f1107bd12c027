"""Protects uvshim's imports from PYTHONPATH, and from installers that remove its modules.

Before `put_foreign_directories_last`, nothing may be imported that PYTHONPATH could provide. So
this module and `uvshim` itself avoid `from __future__ import annotations`, which imports a module.
"""

import os
import sys

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The packages that a rename may import, and the part that it never needs.
_PACKAGES = ("uvshim", "packaging", "installer")
_LEFT_OUT = "images"


def put_foreign_directories_last(*, run_as_module: bool = False) -> None:
    """Move the directories of PYTHONPATH to the end of `sys.path`.

    An application's modules may be other versions of our dependencies, or have the
    names of standard modules. With `run_as_module` (``python -m``) the first entry, the
    working directory, is moved as well. Programs that we start get PYTHONPATH unchanged.
    """
    variable = os.environ.get("PYTHONPATH")
    foreign = set(map(os.path.abspath, variable.split(os.pathsep))) if variable else set()
    if run_as_module and not getattr(sys.flags, "safe_path", False):  # Python 3.11
        foreign.add(os.path.abspath(sys.path[0]))
    if not foreign:
        return
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    moved = [each for each in sys.path if os.path.abspath(each) in foreign]
    moved.sort(key=lambda each: os.path.abspath(each) != own)  # our dependencies are beside us
    sys.path[:] = [each for each in sys.path if each not in moved] + moved


def may_vanish(directories: "Sequence[str]") -> bool:
    """Return True if an install into `directories` may remove something that uvshim imports.

    The single file may be replaced while it runs, whatever is installed.
    """
    real = set(map(os.path.realpath, directories))
    return _archive() is not None or any(os.path.realpath(each) in real for each in sys.path)


def _archive() -> str | None:
    """Return the path of the archive that uvshim is imported from, or None."""
    return getattr(__spec__.loader, "archive", None)


def keep() -> None:
    """Read every module that may still be needed, so that it can be imported after its removal.

    Reading takes a tenth of the time of importing.
    """
    from importlib.machinery import ModuleSpec, SourceFileLoader

    modules: dict[str, str] = {}
    files: dict[str, tuple[bytes, os.stat_result]] = {}
    archive = _archive()
    for member, path, content, status in _in_archive(archive) if archive else _in_directories():
        files[path] = content, status
        if member.endswith(".py"):
            name = member.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            modules.setdefault(name, path)

    class Kept(SourceFileLoader):
        """Finds `modules`, and loads them and their bytecode from `files`."""

        @classmethod
        def find_spec(
            cls, name: str, _path: object = None, _target: object = None
        ) -> "ModuleSpec | None":
            if name not in modules:
                return None
            loader = cls(name, modules[name])
            package = loader.is_package(name)
            spec = ModuleSpec(name, loader, origin=loader.path, is_package=package)
            spec.has_location = True
            return spec

        def get_data(self, path: str) -> bytes:
            return files[path][0] if path in files else super().get_data(path)

        def path_stats(self, path: str) -> "dict[str, float]":
            status = files[path][1]
            return {"mtime": status.st_mtime, "size": status.st_size}

        def set_data(self, path: str, data: object, *, _mode: int = 0) -> None:
            """Write no bytecode: the directory may be gone."""

    sys.meta_path.insert(0, Kept)


def _in_directories() -> "Iterator[tuple[str, str, bytes, os.stat_result]]":
    """Yield our modules and their bytecode: each with its name, its path, and its content."""
    from importlib.machinery import PathFinder

    suffixes = (".py", f".{sys.implementation.cache_tag}.pyc")
    for package in _PACKAGES:
        spec = PathFinder.find_spec(package)
        for directory in (spec and spec.submodule_search_locations) or ():
            for place, folders, names in os.walk(directory):
                folders[:] = [each for each in folders if each != _LEFT_OUT]
                for path in (f"{place}/{each}" for each in names if each.endswith(suffixes)):
                    with open(path, "rb") as file:
                        member = package + path.removeprefix(directory)
                        yield member, path, file.read(), os.fstat(file.fileno())


def _in_archive(archive: str) -> "Iterator[tuple[str, str, bytes, os.stat_result]]":
    """Yield the modules in `archive` as `_in_directories` does."""
    import zipimport

    status, importer = os.stat(archive), zipimport.zipimporter(archive)
    # The standard library lists an archive's modules in the same way (`pkgutil`).
    for member in zipimport._zip_directory_cache[archive]:  # type: ignore[attr-defined]  # noqa: SLF001
        package, _, inner = member.partition("/")
        if package in _PACKAGES and member.endswith(".py") and not inner.startswith(_LEFT_OUT):
            path = f"{archive}/{member}"
            yield member, path, importer.get_data(path), status
