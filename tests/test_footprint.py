"""The cost of a run with nothing to rename, counted in modules and events, not in time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run
    from tests.places import Venv

# The modules of a run with nothing to install. Adding one is a decision: `re`
# takes half of uv's own time, `typing` and `subprocess` as much as uv.
MODULES = {
    "__future__",
    "_signal",
    "gc",
    "uvshim",
    "uvshim.environments",
    "uvshim.uv",
    "uvshim.uv.arguments",
    "uvshim.config",
    "uvshim.environments.environment",
    "uvshim.errors",
    "uvshim.imports",
    "uvshim.uv.process",
    "uvshim.environments.snapshot",
    "uvshim.uv.supervisor",
    "uvshim.uv.question",
    "uvshim.uvpip",
}

# What is loaded beyond that if something is to be renamed: 2 ms. A module that all the others need,
# such as `re` or `typing`, would take as long as a hundred renames.
RENAMING = {
    "errno",
    "fcntl",
    "uvshim.after_install",
    "uvshim.environments.tree",
    "uvshim.messages",
    "uvshim.rename",
    "uvshim.rename.record_file",
    "uvshim.rename.names",
    "uvshim.rename.on_disk",
    "uvshim.rename.plan",
    "uvshim.rename.record",
    "uvshim.rename.setuptools",
    "uvshim.uv.lock",
}

# Runs uvpip as its script does, and prints the events of an audit hook (PEP 578).
WATCHED = """
import json, os, sys
modules = set(sys.modules)
events = []
def hook(event, arguments):
    if event in ("open", "os.scandir", "os.listdir", "os.posix_spawn", "subprocess.Popen"):
        events.append((event, str(arguments[0])))
from uvshim import uvpip
# What is loaded while uv takes long is a matter of the machine: here only what is needed is.
uvpip.load = lambda: None
def leave(status):
    with open({told!r}, "w") as file:
        new = sorted(set(sys.modules) - modules)
        json.dump({{"status": status, "modules": new, "events": events}}, file)
    os.abort() if status else left(status)
left, os._exit = os._exit, leave
sys.argv[1:] = {arguments!r}
sys.addaudithook(hook)
sys.exit(uvpip.main())
"""


class Seen:
    """What one run did: its modules, and the paths of its events by their kind."""

    def __init__(self, told: Path) -> None:
        content = json.loads(told.read_text())
        self.status: int = content["status"]
        self.modules = set(content["modules"])
        self.events: list[tuple[str, str]] = [tuple(each) for each in content["events"]]

    def of(self, kind: str) -> list[str]:
        return [what for event, what in self.events if event == kind]


class Watched(Protocol):
    def __call__(self, *arguments: str | Path) -> Seen: ...


@pytest.fixture
def watched(run: Run, tmp_path: Path) -> Watched:
    """Run uvpip with an audit hook."""

    def watch(*arguments: str | Path) -> Seen:
        told = tmp_path / "told.json"
        code = WATCHED.format(told=str(told), arguments=[str(each) for each in arguments])
        done = run(sys.executable, "-c", code)
        assert done.returncode == 0, done.stderr
        return Seen(told)

    return watch


@pytest.fixture
def satisfied(run: Run, uv: Path, venv: Venv, wheels: Path) -> Venv:
    """An environment in which plain uv has installed `simple` and its requirements."""
    wanted = ("--no-index", "--find-links", wheels, "simple")
    assert run(uv, "pip", "install", *wanted).returncode == 0
    return venv


def test_a_run_with_nothing_to_do_loads_these_modules_and_no_other(
    watched: Watched, satisfied: Venv
) -> None:
    (satisfied.path.parent / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    seen = watched("simple")
    assert seen.status == 0
    assert seen.modules - MODULES == set()
    assert seen.modules >= MODULES - {"__future__", "_signal"}


def test_a_run_with_nothing_to_do_starts_uv_twice_and_nothing_else(
    watched: Watched, satisfied: Venv, uv: Path
) -> None:
    started = watched("simple").of("os.posix_spawn")
    assert [os.path.basename(each) for each in started] == [uv.name, uv.name]


def test_a_run_with_nothing_to_do_opens_configuration_files_and_its_modules_alone(
    watched: Watched, satisfied: Venv
) -> None:
    (satisfied.path.parent / "pyproject.toml").write_text("")
    opened = watched("simple").of("open")
    ours = [each for each in opened if f"{os.sep}uvshim{os.sep}" in each]
    # A number is what Python opens by a descriptor: uv's answer, in memory.
    others = [
        each
        for each in opened
        if each not in ours and not each.isdigit() and not each.endswith("told.json")
    ]
    directories = [satisfied.path.parent, *satisfied.path.parent.parents]
    looked_for = {
        str(each / name) for each in directories for name in ("pyproject.toml", "uvshim.toml")
    }
    assert sorted(others) == sorted(looked_for)
    assert len(ours) <= 2 * len(MODULES)


def test_the_snapshot_lists_each_directory_twice_however_many_distributions_there_are(
    run: Run, watched: Watched, satisfied: Venv
) -> None:
    for number in range(500):
        info = satisfied.site_packages / f"zope_part{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: zope.part{number}\nVersion: 1.0\n")
    seen = watched("simple")
    site_packages = str(satisfied.site_packages)
    assert seen.of("os.scandir").count(site_packages) == 2
    assert not [each for each in seen.of("open") if "dist-info" in each]


def test_looking_for_older_wrong_names_loads_one_module_and_reads_only_those_that_may_be_wrong(
    run: Run, uv: Path, watched: Watched, satisfied: Venv, wheels: Path, old_setuptools: Path
) -> None:
    wanted = ("--no-index", "-f", wheels, "setuptools", "plain_name")
    assert run(uv, "pip", "install", *wanted).returncode == 0
    for name in ("zope_deferred", "xstatic_jquery_tablesorter"):
        (info,) = satisfied.site_packages.glob(f"{name}-*")
        info.rename(info.with_name(info.name.replace("_", ".", 1)))
    seen = watched("simple")
    assert seen.modules - MODULES == {"uvshim.rename", "uvshim.rename.setuptools"}
    read = [each for each in seen.of("open") if each.endswith("METADATA")]
    assert [os.path.basename(os.path.dirname(each)) for each in read] == [
        "plain_name-3.0.dist-info"
    ]


def test_a_run_that_renames_loads_these_modules_and_no_other(
    watched: Watched, venv: Venv, wheels: Path, run: Run, uv: Path
) -> None:
    assert run(uv, "pip", "install", "--no-index", "-f", wheels, "plain_name").returncode == 0
    seen = watched("--no-index", "--find-links", wheels, "simple", "zope.deferred")
    assert seen.status == 0
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()
    assert seen.modules - MODULES == RENAMING


def test_a_rename_opens_metadata_and_record_and_nothing_else(
    watched: Watched, venv: Venv, wheels: Path
) -> None:
    seen = watched("--no-index", "--find-links", wheels, "zope.deferred")
    opened = [os.path.basename(each) for each in seen.of("open") if "zope_deferred" in each]
    assert opened == ["METADATA", "RECORD", "RECORD"]
    assert "zope.deferred-1.2.dist-info" in venv.dist_infos()


def test_of_what_is_new_only_what_may_be_dotted_is_read(
    watched: Watched, venv: Venv, wheels: Path
) -> None:
    seen = watched("--no-index", "--find-links", wheels, "plain_name", "simple", "zope.deferred")
    assert seen.status == 0
    read = [each for each in seen.of("open") if each.endswith("METADATA")]
    assert sorted(os.path.basename(os.path.dirname(each)) for each in read) == [
        "plain_name-3.0.dist-info",
        "xstatic_jquery_tablesorter-2.14.5.3.dist-info",
        "zope_deferred-1.2.dist-info",
    ]


@pytest.mark.parametrize("command", ["check", "fix"])
def test_for_an_environment_what_is_for_images_alone_is_not_loaded(
    run: Run, satisfied: Venv, command: str
) -> None:
    done = run(sys.executable, "-X", "importtime", "-m", "uvshim", command, satisfied.path)
    loaded = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert "uvshim.commands.targets" in loaded  # which both commands import
    assert not [name for name in loaded if name.startswith("uvshim.images")]
    assert not {"tarfile", "hashlib", "zipfile", "packaging"} & set(loaded)
    assert not {"uvshim.check.working_set", "uvshim.check.requirements"} & set(loaded)


def test_uvpip_takes_no_more_memory_than_forty_mebibytes(
    uvpip: Path, satisfied: Venv, variables: dict[str, str]
) -> None:
    code = (
        "import os, sys\n"
        "pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)\n"
        "print(os.wait4(pid, 0)[2].ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, uvpip, "--quiet", "simple"],
        cwd=satisfied.path.parent,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) / 1024 <= 40
