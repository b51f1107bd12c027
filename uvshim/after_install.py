"""What `uvpip` and `uvshim run` do after an install: find what is new, rename it, report it.

Where each decision is made:

- what is new: `environments.snapshot.Snapshot.new_in`;
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
from uvshim.rename.setuptools import PkgResources, imported_from, missed_names
from uvshim.uv.lock import LockInterruptedError, uv_lock

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Collection

    from uvshim.environments.environment import Environment
    from uvshim.messages import Messages
    from uvshim.uv.supervisor import Supervisor

# What only some renames import, when they need it.
_UNUSUAL = (
    "csv",
    "email.parser",
    "fnmatch",
    "installer.records",
    "packaging.markers",
    "packaging.requirements",
    "shlex",
    "uvshim.check.spelling",
    "uvshim.check.working_set",
    "uvshim.environments.search_path",
    "uvshim.messages",
    "uvshim.rename.replacement",
)


def rename_new(
    environment: Environment,
    before: Snapshot,
    exclude: list[str],
    supervisor: Supervisor,
    messages: Messages,
) -> bool:
    """Rename the distributions with dotted names that are new in `environment` since `before`.

    `exclude` are the patterns of project names that keep their directory. Reports the outcome with
    `messages`. Returns True if every due rename was made.
    """
    is_excluded = config.matcher(exclude)
    try:
        with uv_lock(environment.lock, supervisor.interrupted, messages.waiting):
            # Look again: under the lock no other uv has written half of a directory.
            now = Snapshot.of(environment)
            outcome = on_disk.rename(
                before.new_in(environment, now),
                lambda name: not is_excluded(name),
                in_use=in_use(environment, before, now),
                only_new=True,
            )
    except LockInterruptedError:
        messages.warning("Interrupted while another uv had the lock: nothing was renamed")
        messages.suggest_fix(environment.path)
        return False
    messages.outcome(outcome)
    if outcome.left_alone:
        messages.suggest_fix(environment.path)
    return not outcome.left_alone


def suggest_first_fix(
    environment: Environment,
    before: Snapshot,
    now: Snapshot,
    exclude: list[str],
    messages: Messages,
) -> None:
    """Name `uvshim fix` if an older directory has a name that pkg_resources does not find."""
    for name in missed_names(before, now):
        key = name.lower().replace(".", "-").replace("_", "-")
        is_excluded = exclude and config.matcher(exclude)(name)
        if not is_excluded and key not in in_use(environment, before, before):
            messages.suggest_first_fix(environment.path, name)
            return


def in_use(environment: Environment, before: Snapshot, now: Snapshot) -> Collection[str]:
    """Return the keys that must remain findable, where pkg_resources finds one spelling only.

    That is the case before setuptools 62: see `check.spelling`.
    """
    known = [PkgResources.at(path) for path in now.setuptools]
    existing = [each for each in known if each.exists]
    if existing and all(each.finds_every_spelling for each in existing):
        return ()
    if not existing and _has_no_other_setuptools(environment):
        return ()
    from uvshim.environments.search_path import search_path

    path = search_path(environment.tree, environment.visible)
    if imported_from(environment.tree, path)[1].finds_every_spelling:
        return ()
    from uvshim.check import spelling

    return spelling.in_use_after(environment, before, now)


def _has_no_other_setuptools(environment: Environment) -> bool:
    """Return True if its Python can import no setuptools but one in its own directories.

    This is the usual virtual environment: without system packages, and without a .pth file that
    names a directory. `search_path` finds out about all others, which takes 20 ms to import.
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


def load_everything() -> None:
    """Import all that any rename may need, before an install removes or replaces these modules."""
    from importlib import import_module

    for name in _UNUSUAL:
        import_module(name)
