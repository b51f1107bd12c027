"""What `uvpip` and `uvshim run` do after an install: find what is new, rename it, report it.

Where each decision is made:

- what is new: `environments.snapshot.Snapshot.new_since`;
- what is renamed, and to which name: `rename.plan.make`;
- what happens on a kill: `rename.on_disk`;
- which setuptools needs it: `rename.setuptools`.

Importing this module imports what a rename usually needs. `uvpip` does that only if it has to.
"""

from __future__ import annotations

import os

from uvshim import config
from uvshim.environments.snapshot import Snapshot
from uvshim.rename import on_disk
from uvshim.rename.setuptools import (
    LAST_PYTHON,
    PkgResources,
    beside,
    installer_of,
    missed_names,
)
from uvshim.uv.lock import LockInterruptedError, uv_lock

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Callable

    from uvshim.environments.environment import Environment
    from uvshim.messages import Messages
    from uvshim.rename.on_disk import Outcome
    from uvshim.rename.spelling import Spellings
    from uvshim.uv.supervisor import Supervisor


def rename_new(  # noqa: PLR0913
    environment: Environment,
    before: Snapshot,
    exclude: list[str],
    supervisor: Supervisor,
    messages: Messages,
    *,
    finished: bool,
) -> bool:
    """Rename what is new in `environment` since `before`, as `rename_since` does, and report it.

    `exclude` are patterns of project names that keep their directory. Return False if a rename
    failed.
    """
    is_excluded = config.matcher(exclude)
    lock = uv_lock(environment.lock, supervisor.interrupted, messages.waiting)
    try:
        outcome = rename_since(
            environment, before, lambda name: not is_excluded(name), lock, finished=finished
        )
    except LockInterruptedError:
        messages.warning("Interrupted while another uv had the lock: nothing was renamed")
        messages.suggest_fix(environment.path)
        return False
    messages.outcome(outcome)
    if outcome.left_alone:
        messages.suggest_fix(environment.path)
    return not outcome.left_alone


def suggest_fix(
    environment: Environment,
    before: Snapshot,
    now: Snapshot,
    exclude: list[str],
    messages: Messages,
) -> None:
    """Suggest `uvshim fix` if pkg_resources misses a directory that was there `before`.

    `now` is a snapshot of `environment` after the install. A name that one of the patterns
    `exclude` matches does not count.
    """
    if environment.is_shared:  # what is older may be the system's
        return
    chosen: list[Spellings | None] = []  # it may need the requirements of all distributions

    def choose() -> Spellings | None:
        if not chosen:
            chosen.append(spellings(environment, now))
        return chosen[0]

    is_excluded = config.matcher(exclude)
    imported = beside(now) or (_inherited(environment) if before.states else {})
    for name in missed_names(before, imported, choose):
        if not is_excluded(name):
            messages.suggest_first_fix(environment.path, name)
            return


def _inherited(environment: Environment) -> dict[str, PkgResources]:
    """Return the pkg_resources from elsewhere for each directory of `environment`, if any."""
    if _has_no_other_setuptools(environment):
        return {}
    from uvshim.environments.search_path import search_path
    from uvshim.rename.setuptools import imported_from

    tree = environment.tree
    _, found = imported_from(tree, search_path(tree, environment.visible))
    return dict.fromkeys(map(os.path.realpath, environment.on_disk), found)


def rename_since(
    environment: Environment,
    before: Snapshot | None,
    may: Callable[[str], bool],
    lock: uv_lock,
    *,
    finished: bool = True,
) -> Outcome:
    """Hold `lock` and rename what is new since `before` (None: all), if `may(name)` is True.

    If the installer has not `finished`, what lacks files keeps its name.
    """
    with lock:
        # List under the lock: no other uv is writing a directory now.
        now = Snapshot.of(environment)
        new = None if before is None else now.new_since(before, environment.lock)
        chosen = spellings(environment, now)
        paths = set(environment.dist_infos if new is None else new)
        if environment.is_shared:
            # Some of the system's own tools do not write INSTALLER; `plan` knows the others.
            paths = set(filter(installer_of, paths))
        if chosen:  # a new distribution may require the original name of an older one
            seen = {
                os.path.join(os.path.realpath(at), name) for at, name in map(os.path.split, paths)
            }
            paths.update(chosen.due_back(environment.tree, now.states.keys() - seen))
        return on_disk.rename(sorted(paths), may, spellings=chosen, new=new, finished=finished)


def spellings(environment: Environment, now: Snapshot) -> Spellings | None:
    """Return the spellings that decide names in `environment`; None if spelling does not matter.

    `now` is a snapshot of it.
    """
    if _has_new_python(environment):
        known = [each for each in map(PkgResources.at, now.setuptools) if each.exists]
        if not known and _has_no_other_setuptools(environment):
            return None
        is_virtual = os.path.isfile(os.path.join(environment.path, "pyvenv.cfg"))
        # In a virtual environment its own setuptools comes first.
        if known and is_virtual and all(each.finds_every_spelling for each in known):
            return None
    from uvshim.check import required

    return required.spellings(environment.tree, environment.visible, environment.python)


def _has_new_python(environment: Environment) -> bool:
    """Return True if the paths of `environment` show a Python that is newer than setuptools 62."""
    named = "python" + (environment.python or "").rpartition(".")[0]
    libraries = [os.path.basename(os.path.dirname(path)) for path in environment.on_disk]
    shown = [each if each.startswith("python3.") else named for each in libraries]
    minors = [each.removeprefix("python3.").removesuffix("t") for each in shown]
    return all(each.isdigit() and (3, int(each)) > LAST_PYTHON for each in minors)


def _has_no_other_setuptools(environment: Environment) -> bool:
    """Return True if its Python can only import a setuptools in its own directories.

    This is the usual virtual environment: without system packages, and without a .pth file that
    names a directory. For all others `search_path` is imported, which takes 20 ms.
    """
    try:
        with open(os.path.join(environment.path, "pyvenv.cfg"), "rb") as file:
            settings = file.read().lower().replace(b" ", b"")
        if b"include-system-site-packages=true" in settings:
            return False
        return not any(
            name in {"pkg_resources", "setuptools"}
            or name.endswith((".egg", ".egg-link"))
            or (name.endswith(".pth") and _names_a_path(os.path.join(directory, name)))
            for directory in environment.site_packages
            for name in os.listdir(directory)
        )
    except OSError:
        return False


def _names_a_path(pth: str) -> bool:
    """Return True if a .pth file has a line that is neither a comment nor an import."""
    with open(pth, "rb") as file:
        return any(
            line.strip() and not line.startswith((b"#", b"import ", b"import\t"))
            for line in file.read().splitlines()
        )
