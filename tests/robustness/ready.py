"""A Python that has started already, and forks for each run: what it runs is as new as ever.

Most of what a short command takes is the start of the interpreter and its imports; to look at an
environment after each of hundreds of kills, that need not be done each time.
"""

from __future__ import annotations

import json
import select
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Asked for a run, it forks; the child stops itself, so that it can be traced from the beginning.
_SERVER = """
import json, os, signal, sys, traceback
{load}
for line in iter(sys.stdin.readline, ""):
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, path in enumerate(("/dev/null", *asked["output"])):
            os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY), number)
        os.chdir(asked["directory"])
        os.environ.clear()
        os.environ.update(asked["variables"])
        sys.argv[1:] = asked["words"]
        code = asked["code"]
        sys.dont_write_bytecode = True
        if asked["stops"]:
            os.kill(os.getpid(), signal.SIGSTOP)
        break
    if asked["stops"]:
        os.waitpid(child, os.WUNTRACED)
        print(child, flush=True)
    status = os.waitpid(child, 0)[1]
    print(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), flush=True)
else:
    sys.exit()
status = 0
try:
    exec(code)
except SystemExit as end:
    status = int(end.code or 0)
except BaseException:
    traceback.print_exc()
    status = 1
sys.stdout.flush()
os._exit(status)  # what is loaded is not taken down in order: that takes four times as long
"""


class Ready:
    """The `python` that has executed `load`."""

    def __init__(
        self, python: str | Path, *options: str, load: str, variables: Mapping[str, str]
    ) -> None:
        self._process = subprocess.Popen(
            [python, *options, "-c", _SERVER.format(load=load)],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._directory = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._directory.name, name) for name in ("stdout", "stderr")]

    def run(
        self, code: str, words: Sequence[str | Path], variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Execute `code` in a new child, as a script with the arguments `words`.

        It has those environment variables and no others.
        """
        self._ask(code, words, variables, Path.cwd(), stops=False)
        return self.ended()

    def stopped(
        self, code: str, words: Sequence[str | Path], variables: Mapping[str, str], directory: Path
    ) -> int:
        """Begin such a run in `directory`, stopped before it does anything; return its number.

        Who lets it continue waits for its end with `ended`.
        """
        self._ask(code, words, variables, directory, stops=True)
        return self._answer()

    def ended(self) -> subprocess.CompletedProcess[str]:
        """Wait for the end of what runs."""
        status = self._answer()
        said = [path.read_text(errors="replace") for path in self._outputs]
        return subprocess.CompletedProcess([], status, *said)

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=30)
        self._directory.cleanup()

    def _ask(
        self,
        code: str,
        words: Sequence[str | Path],
        variables: Mapping[str, str],
        directory: Path,
        *,
        stops: bool,
    ) -> None:
        for path in self._outputs:
            path.write_text("")
        asked = {
            "code": code,
            "words": [str(word) for word in words],
            "variables": dict(variables),
            "directory": str(directory),
            "output": [str(path) for path in self._outputs],
            "stops": stops,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], 120)[0], "it does not end"
        return int(self._process.stdout.readline())
