"""Protects uvshim's imports from PYTHONPATH, and from installers that remove its modules.

Before `put_foreign_directories_last`, nothing may be imported that PYTHONPATH could provide. So
this module and `uvshim` itself avoid `from __future__ import annotations`, which imports a module.
"""

import os
import sys

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import MetaPathFinder
    from importlib.machinery import ModuleSpec

    Files = dict[str, tuple[bytes, os.stat_result]]

# The packages that a rename may import; images are excluded below.
_PACKAGES = ("uvshim", "packaging", "installer")
_LEFT_OUT = frozenset({"images", "__pycache__"})


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
    from importlib.machinery import PathFinder

    modules: dict[str, str] = {}
    files: Files = {}
    if archive := _archive():
        _read_archive(archive, modules, files)
    else:
        for name in _PACKAGES:
            spec = PathFinder.find_spec(name)
            for directory in (spec and spec.submodule_search_locations) or ():
                _read_package(name, directory, modules, files)
    sys.meta_path.insert(0, _finder(modules, files))


def _finder(modules: "dict[str, str]", files: "Files") -> "MetaPathFinder":
    """Return a finder of `modules`, paths by their names, whose content is in `files`."""
    from importlib.machinery import ModuleSpec, SourceFileLoader

    class Loader(SourceFileLoader):
        def get_data(self, path: str) -> bytes:
            return files[path][0] if path in files else super().get_data(path)

        def path_stats(self, path: str) -> "dict[str, float]":
            status = files[path][1]
            return {"mtime": status.st_mtime, "size": status.st_size}

        def set_data(self, path: str, data: object, *, _mode: int = 0) -> None:
            """Write no bytecode: the directory may be gone."""

    class Finder:
        def find_spec(
            self, name: str, _path: object = None, _target: object = None
        ) -> "ModuleSpec | None":
            if name not in modules:
                return None
            file = modules[name]
            spec = ModuleSpec(name, Loader(name, file), origin=file)
            spec.has_location = True
            if os.path.basename(file) == "__init__.py":
                spec.submodule_search_locations = [os.path.dirname(file)]
            return spec

    return Finder()  # type: ignore[return-value]


def _read_package(name: str, directory: str, modules: "dict[str, str]", files: "Files") -> None:
    """Read the modules of the package `name`, and their bytecode, into `modules` and `files`."""
    compiled = f".{sys.implementation.cache_tag}.pyc"
    for entry in os.scandir(directory):
        stem, suffix = os.path.splitext(entry.name)
        if entry.name == "__pycache__":
            cached = [each.path for each in os.scandir(entry.path) if each.name.endswith(compiled)]
            files.update((path, _read(path)) for path in cached)
        elif suffix == ".py":
            modules.setdefault(name if stem == "__init__" else f"{name}.{stem}", entry.path)
            files[entry.path] = _read(entry.path)
        elif entry.name not in _LEFT_OUT and entry.is_dir():
            _read_package(f"{name}.{entry.name}", entry.path, modules, files)


def _read_archive(archive: str, modules: "dict[str, str]", files: "Files") -> None:
    """Read the modules in `archive` into `modules` and `files`."""
    import zipimport

    status, importer = os.stat(archive), zipimport.zipimporter(archive)
    # The standard library lists an archive's modules in the same way (`pkgutil`).
    for member in zipimport._zip_directory_cache[archive]:  # type: ignore[attr-defined]  # noqa: SLF001
        parts = member.removesuffix(".py").split("/")
        if member.endswith(".py") and parts[0] in _PACKAGES and parts[1] not in _LEFT_OUT:
            path = f"{archive}/{member}"
            modules[".".join(parts).removesuffix(".__init__")] = path
            files[path] = (importer.get_data(path), status)


def _read(path: str) -> "tuple[bytes, os.stat_result]":
    with open(path, "rb") as file:
        return file.read(), os.fstat(file.fileno())
