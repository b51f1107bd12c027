"""A command line of `uv pip install`: what in it chooses the environment, and what concerns us.

uv itself is the judge of its arguments; they are passed on as they are. This module only reads
along, as uv's parser (clap) does: `--name value`, `--name=value`, `-n value`, `-nvalue`,
`-n=value`, clusters of one-letter flags of which the last may take a value, and nothing but
positionals after `--`. An option that is unknown here is taken for a flag: if it has a value, that
is skipped as a positional.
"""

from __future__ import annotations

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# `uv pip`'s own subcommands. Those that install are wrapped; the rest is uv's alone.
INSTALLING = frozenset({"install", "sync"})
SUBCOMMANDS = INSTALLING | set("check compile debug freeze list show tree uninstall".split())

# Everything that decides in which environment uv installs, or whether it can find it at all.
_CHOOSES = frozenset(
    """
    --allow-python-downloads --break-system-packages --cache-dir --config-file --directory
    --isolated --managed-python --no-break-system-packages --no-cache --no-cache-dir --no-config
    --no-managed-python --no-preview --no-python-downloads --no-system --prefix --preview
    --preview-feature --preview-features --project --python --python-fetch --python-preference
    --system --target -n -p -t
    """.split()
)

# Every option of `uv pip install` and `uv pip sync` that takes a value, in any uv since 0.4.
WITH_VALUE = frozenset(
    """
    --allow-insecure-host --build-constraint --build-constraints --cache-dir --cert --color
    --config-file --config-setting --config-settings --config-settings-package --constraint
    --constraints --default-index --directory --editable --exclude --exclude-newer
    --exclude-newer-package --excludes --extra --extra-index-url --find-links --fork-strategy
    --group --index --index-strategy --index-url --keyring-provider --link-mode --no-binary
    --no-build-isolation-package --no-editable-package --no-sources-package --only-binary
    --output-format --override --overrides --prefix --prerelease --prerelease-package
    --preview-feature --preview-features --project --python --python-fetch --python-platform
    --python-preference --python-version --refresh-package --reinstall-package --requirement
    --requirements --resolution --target --torch-backend --trusted-host --upgrade-group
    --upgrade-package -C -P -b -c -e -f -i -p -r -t
    """.split()
)


class Arguments:
    """What uvpip reads out of a command line.

    - `subcommand`: the subcommand of `uv pip`, `install` where none is named;
    - `rest`: the arguments after it, verbatim;
    - `choosing`: those of them that choose the environment, in order, in a form uv reads alike;
    - `directory`, `project`: the values of `--directory` and `--project`, or None;
    - `color`: `auto`, `always` or `never` where an option says so, or None;
    - `quiet`, `verbose`: how often `-q` and `-v` are given;
    - `dry`: nothing will be installed (`--dry-run`, `--check`);
    - `help`, `version`: that is all that is asked for.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        """Read `arguments`, the words after the program's name."""
        self._first = arguments[0] if arguments else ""
        named = self._first in SUBCOMMANDS
        self.subcommand = self._first if named else "install"
        self.rest = list(arguments[1:] if named else arguments)
        self.choosing: list[str] = []
        self.directory: str | None = None
        self.project: str | None = None
        self.color: str | None = None
        self.quiet = self.verbose = 0
        self.dry = self.help = self.version = False
        for option, value, words in _options(self.rest):
            if option in _CHOOSES:
                self.choosing += words
            self._note(option, value)

    @property
    def similar(self) -> tuple[str, str] | None:
        """The first argument and the subcommand that it was perhaps meant for, if there is one."""
        if not self._first or self._first in SUBCOMMANDS:
            return None
        for subcommand in sorted(SUBCOMMANDS):
            if _one_letter_apart(self._first, subcommand):
                return self._first, subcommand
        return None

    @property
    def installs(self) -> bool:
        """Whether something may be installed, so that there may be something to rename."""
        return self.subcommand in INSTALLING and not (self.dry or self.help or self.version)

    def _note(self, option: str, value: str | None) -> None:
        if option == "--directory":
            self.directory = value
        elif option == "--project":
            self.project = value
        elif option == "--color":
            self.color = value
        elif option == "--no-color":
            self.color = "never"
        elif option in {"-q", "--quiet"}:
            self.quiet += 1
        elif option in {"-v", "--verbose"}:
            self.verbose += 1
        elif option in {"--dry-run", "--check"}:
            self.dry = True
        elif option in {"-h", "--help"}:
            self.help = True
        elif option in {"-V", "--version"}:
            self.version = True


def split_subcommand(words: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Return the options before the subcommand in the `words` of a `uv`, it, and those after it."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in WITH_VALUE else 1
    subcommand = words[at] if at < len(words) else ""
    return list(words[:at]), subcommand, list(words[at + 1 :])


def _one_letter_apart(one: str, other: str) -> bool:
    """Say whether one letter more, another one, or two swapped make the difference."""
    if len(one) > len(other):
        one, other = other, one
    at = next((n for n, letter in enumerate(one) if letter != other[n]), len(one))
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    swapped = one[:at] + one[at + 1 : at + 2] + one[at : at + 1] + one[at + 2 :]
    return one != other and (one[at + 1 :] == other[at + 1 :] or swapped == other)


def _options(words: Sequence[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    """Yield each option in `words`: its name, its value if it has one, and words that say it."""
    following = iter(words)
    for word in following:
        if word == "--":
            return
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if equals:
                yield name, value, [word]
            elif name in WITH_VALUE:
                yield _with_next(name, following)
            else:
                yield name, None, [name]
        elif word.startswith("-"):
            yield from _cluster(word, following)


def _cluster(word: str, following: Iterator[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    """Yield the one-letter options in `word`, such as ``-qp``; a value may be the next word."""
    for at, letter in enumerate(word[1:], start=1):
        name = "-" + letter
        if name not in WITH_VALUE:
            yield name, None, [name]
            continue
        value = word[at + 1 :]
        if value:
            yield name, value.removeprefix("="), [name + value]
        else:
            yield _with_next(name, following)
        return


def _with_next(name: str, following: Iterator[str]) -> tuple[str, str | None, list[str]]:
    """Return the option `name` with the next word, where there is one, as its value."""
    value = next(following, None)
    return name, value, [name] if value is None else [name, value]
