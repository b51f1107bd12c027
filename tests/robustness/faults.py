"""Faults at the level of system calls: a process killed before one, or a call that fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.robustness.invariants import Tools

# Every system call that changes a file or a directory; those that an architecture does not have
# are no error with `?`. `test_no_call_that_changes_a_file_is_forgotten` holds the list to account.
CHANGING = [
    "open",
    "openat",
    "openat2",
    "creat",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "truncate",
    "ftruncate",
    "fallocate",
    "copy_file_range",
    "sendfile",
    "splice",
    "mknod",
    "mknodat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utime",
    "utimes",
    "futimesat",
    "utimensat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
]

# Those that only look at files, or at a descriptor.
LOOKING = [
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getdents",
    "getdents64",
    "read",
    "pread64",
    "readv",
    "lseek",
    "ioctl",
    "close",
    "fcntl",
    "flock",
    "statfs",
    "fstatfs",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "llistxattr",
    "listxattr",
    "flistxattr",
    "mmap",
    "fadvise64",
    "execve",
    "chdir",
    "fchdir",
    "getcwd",
]

_CALL = re.compile(r"(\w+)\((.*)")


class Call(NamedTuple):
    """One system call of a process: which one of its name, counted from 1, and its arguments."""

    name: str
    number: int
    text: str

    @property
    def changes(self) -> bool:
        if self.name in {"open", "openat", "openat2"}:
            return re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", self.text) is not None
        return self.name in CHANGING


class Traced(NamedTuple):
    """The exit code of a traced command, and its own system calls, in order."""

    status: int
    output: str
    calls: list[Call]
    log: str


def trace(
    command: Sequence[str | Path],
    variables: Mapping[str, str],
    directory: Path,
    *,
    inject: str | None = None,
    calls: Sequence[str] = CHANGING,
) -> Traced:
    """Run `command` in `directory`, with what strace calls an injection; not so its children."""
    done = subprocess.run(
        [*_strace(directory, inject, calls), "-q", "--", *command],
        cwd=directory,
        env={**variables, "PYTHONDONTWRITEBYTECODE": "1"},  # which would change files as well
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return _traced(done.returncode, done.stdout + done.stderr, directory)


def trace_uvshim(
    tools: Tools,
    words: Sequence[str | Path],
    directory: Path,
    *,
    inject: str | None = None,
    calls: Sequence[str] = CHANGING,
) -> Traced:
    """Trace `uvshim` with `words` in the same way, in a Python that has started already."""
    number = tools.stopped_uvshim(*words, directory=directory)
    with subprocess.Popen(
        [*_strace(directory, inject, calls), "-p", str(number)], stderr=subprocess.PIPE, text=True
    ) as strace:
        assert strace.stderr is not None
        assert "attached" in strace.stderr.readline()
        os.kill(number, signal.SIGCONT)
        done = tools.uvshim_ready.ended()
        strace.communicate(timeout=120)
    return _traced(done.returncode, done.stdout + done.stderr, directory)


def _strace(directory: Path, inject: str | None, calls: Sequence[str]) -> list[str | Path]:
    """Return the beginning of a command of strace, which writes a log to `directory`."""
    traced = "all" if calls == ("all",) else ",".join("?" + name for name in calls)
    options = ["-e", f"trace={traced}"] + (["-e", f"inject={inject}"] if inject else [])
    return ["strace", "-y", "-s", "1000", "-o", directory / "strace.log", *options]


def _traced(status: int, output: str, directory: Path) -> Traced:
    """Return how a traced command ended, with what is in the log in `directory`."""
    text = (directory / "strace.log").read_text(errors="replace")
    counted: dict[str, int] = {}
    made = []
    for line in text.splitlines():
        if (match := _CALL.match(line)) is not None:
            name, arguments = match.groups()
            counted[name] = counted.get(name, 0) + 1
            made.append(Call(name, counted[name], arguments))
    return Traced(status, output, made, text)


def points(traced: Traced, place: Path) -> list[Call]:
    """Return the calls that changed something in the directory `place`, in their order."""
    return [call for call in traced.calls if call.changes and str(place) in call.text]
