"""What `uvpip` and `uvshim run` do after an install: find what is new, rename it, report it.

Where each decision is made:

- what is new: `environments.snapshot.Snapshot.new_in`;
- what is renamed, and to which name: `rename.plan.make`;
- what happens on a kill: `rename.on_disk`;
- which setuptools needs it: `rename.setuptools`.

Importing this module imports all that a rename needs. `uvpip` does that only if it has to.
"""

from __future__ import annotations

from uvshim import config
from uvshim.environments.search_path import search_path
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
    path = search_path(environment.tree, environment.visible)
    if imported_from(environment.tree, path)[1].finds_every_spelling:
        return ()
    from uvshim.check import spelling

    return spelling.in_use_after(environment, before, now)
