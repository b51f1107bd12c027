"""The action, the hook, completion, the manual and the workflows."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tools import share
from tools.zipapp import ROOT
from uvshim import __version__

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Run
    from tests.places import Venv

pytestmark = pytest.mark.index

COMMANDS = Path(sys.executable).parent
SHARE = ROOT / "share"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())


def needs(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"NOT TRIED: {program} is not installed")


# The action


@pytest.fixture
def action(run: Run, tmp_path: Path) -> Any:
    """Return what the action does: its exit code, what it prints, and its summary."""
    (step,) = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]

    def use(what: str, arguments: str = "") -> tuple[subprocess.CompletedProcess[str], str]:
        summary = tmp_path / "summary.md"
        summary.write_text("")
        variables: dict[str, Any] = {
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_STEP_SUMMARY": str(summary),
            "WHAT": what,
            "ARGUMENTS": arguments,
            "UVSHIM_PYTHON": "",
        }
        assert set(step["env"]) <= set(variables)
        path = f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"
        return run(step["shell"], "-c", step["run"], PATH=path, **variables), summary.read_text()

    return use


def test_the_action_fails_with_an_annotation_and_a_summary(
    action: Any, run: Run, uv: Path, uvshim: Path, broken: Venv, make_venv: Any
) -> None:
    other = make_venv("other environment")
    done, summary = action(f"{broken.path}\n{other.path}\n")
    assert done.returncode == 1
    names = "zope.deferred, XStatic-JQuery.TableSorter"
    message = f"{broken.path} is broken: pkg_resources does not find {names}"
    assert f"::error title=uvshim check::{message}\n" in done.stdout
    assert f"| `{other.path}` | ok |  |\n" in summary
    assert f"| `{broken.path}` | broken | `zope.deferred`," in summary
    assert run(uvshim, "fix", broken.path).returncode == 0
    done, summary = action(str(broken.path), "--verify")
    assert (done.returncode, done.stdout.count("::error")) == (0, 0), done.stdout
    assert "| ok |" in summary
    done, _ = action(str(broken.path), "--format\ntext")  # the action needs JSON
    assert (done.returncode, done.stderr) == (0, "")
    # What is missing is named, and not the distribution that needs it.
    assert run(uv, "pip", "uninstall", "-q", "-p", broken.path, "zope.deferred").returncode == 0
    done, summary = action(str(broken.path), "--strict")
    assert f"{broken.path} is broken: pkg_resources does not find zope.deferred\n" in done.stdout
    assert f"| `{broken.path}` | broken | `zope.deferred` |\n" in summary


def test_the_action_says_where_nothing_could_be_checked(action: Any) -> None:
    done, _ = action("nosuch")
    assert done.returncode == 2
    assert "::error title=uvshim check::Nothing was checked" in done.stdout
    assert "nosuch" in done.stderr


def test_the_action_names_an_image_that_cannot_be_examined(action: Any, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(b"\0" * 10240)
    done, _ = action(f"docker-archive:{tmp_path / 'image.tar'}")
    assert done.returncode == 2
    assert "::error title=uvshim check::" in done.stdout


# pre-commit


def test_pre_commit_installs_the_hook_from_a_repository(
    run: Run, uvshim: Path, broken: Venv, tmp_path: Path
) -> None:
    assert broken.path.name == ".venv"
    source = tmp_path / "source"
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    commit = "git init -q && git add . && git -c user.name=a -c user.email=a@b commit -qm a"
    assert run("sh", "-c", commit, cwd=source).returncode == 0
    hook = {"repo": str(source), "rev": "HEAD", "hooks": [{"id": "uvshim-check"}]}
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [hook]}))
    assert run("git", "init", "-q").returncode == 0
    assert run("git", "add", ".pre-commit-config.yaml").returncode == 0
    pre_commit = (COMMANDS / "pre-commit", "run")
    refused = run(*pre_commit)
    assert refused.returncode == 1, refused.stderr
    assert "pkg_resources finds everything" in refused.stdout
    assert ".venv: broken (" in refused.stdout
    assert run(uvshim, "fix", broken.path).returncode == 0
    assert run(*pre_commit).returncode == 0


# Completion and manual


def test_the_generated_files_are_those_of_this_command_line_and_reference() -> None:
    for path, text in {**share.completions(), **share.manuals()}.items():
        assert (SHARE / path).read_text() == text, "run `make share`"


def test_bash_completes_both_commands(run: Run, uv: Path, tmp_path: Path) -> None:
    directory = SHARE / "bash-completion" / "completions"
    (tmp_path / "uv").write_text(run(uv, "generate-shell-completion", "bash").stdout)

    def completed(*words: str, uv: bool = True) -> list[str]:
        function = "_uvpip" if words[0] == "uvpip" else "_shtab_uvshim"
        sources = "; ".join(
            f"source '{path}'" for path in [*[tmp_path / "uv"] * uv, *sorted(directory.iterdir())]
        )
        script = (
            f'{sources}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); {function} "$1" "${{@: -1}}"'
        )
        script += ' "${@: -2:1}"; echo "${COMPREPLY[@]}"'
        done = run("bash", "-c", script, "bash", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert completed("uvshim", "ch") == ["check"]
    assert completed("uvshim", "check", "--ver") == ["--verbose", "--verify"]
    assert completed("uvshim", "check", "--format", "") == ["text", "json", "html"]
    assert "--constraints" in completed("uvpip", "--constr")
    assert completed("uvpip", "uninst") == ["uninstall"]
    assert completed("uvpip", "--link-mode", "") == ["clone", "copy", "hardlink", "symlink"]
    assert "--require-hashes" in completed("uvpip", "sync", "--req")
    assert completed("uvpip", "--constr", uv=False) == []


def test_fish_completes_both_commands(run: Run, uv: Path, tmp_path: Path) -> None:
    needs("fish")
    (tmp_path / "uv").write_text(run(uv, "generate-shell-completion", "fish").stdout)
    files = [tmp_path / "uv", *sorted((SHARE / "fish" / "vendor_completions.d").iterdir())]
    sources = "; ".join(f"source '{path}'" for path in files)

    def completed(line: str) -> list[str]:
        done = run("fish", "-c", f"{sources}; complete -C '{line}'")
        assert done.returncode == 0, done.stderr
        return [each.partition("\t")[0] for each in done.stdout.splitlines()]

    assert completed("uvshim ch") == ["check"]
    assert completed("uvshim check --form") == ["--format"]
    assert completed("uvpip --link-mode ") == ["clone", "copy", "hardlink", "symlink"]


def test_zsh_reads_the_files(run: Run) -> None:
    needs("zsh")
    for path in sorted((SHARE / "zsh" / "site-functions").iterdir()):
        assert path.read_text().startswith(f"#compdef {path.name[1:]}\n")
        assert run("zsh", "-n", path).stderr == ""


@pytest.mark.parametrize("command", ["uvpip", "uvshim"])
def test_man_shows_the_reference(run: Run, command: str) -> None:
    needs("man")
    page = SHARE / "man" / "man1" / f"{command}.1"
    done = run("man", "--warnings=w", "-l", page, MANWIDTH="80", MAN_KEEP_FORMATTING=None)
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.sub(r".\x08", "", done.stdout)
    assert re.match(rf"{command.upper()}\(1\) +User Commands +{command.upper()}\(1\)\n", shown)
    assert f"uvshim {__version__}" in shown.splitlines()[-1]
    assert "Exit code\n" in shown
    for wanted in ("--strict", "--output") if command == "uvshim" else ("--dry-run",):
        assert wanted in shown


# Workflows


def test_every_action_is_pinned_by_a_full_hash_that_says_its_version() -> None:
    used = re.findall(r"uses: (.*)", "".join(path.read_text() for path in WORKFLOWS))
    assert len(used) > 10
    for each in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each


def test_zizmor_finds_nothing(run: Run) -> None:
    """In the workflows, the action, dependabot's and pre-commit's configuration."""
    zizmor = COMMANDS / "zizmor"
    done = run(zizmor, "--offline", "--no-progress", "--persona", "pedantic", ROOT)
    assert done.returncode == 0, done.stdout
    assert "No findings to report" in done.stdout


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("dependabot", [ROOT / ".github" / "dependabot.yml"]),
        ("github-actions", [ROOT / "action.yml"]),
    ],
)
def test_the_files_are_what_github_reads(run: Run, schema: str, files: list[Path]) -> None:
    check = (COMMANDS / "check-jsonschema", "--builtin-schema", f"vendor.{schema}")
    done = run(*check, *files)
    assert done.returncode == 0, done.stdout


def test_every_make_target_of_a_workflow_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path in WORKFLOWS:
        for target in re.findall(r"run: make ([\w-]+)", path.read_text()):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
