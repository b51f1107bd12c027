"""A command line of `uv pip`: its subcommand, and the options that matter to uvpip.

uv gets its arguments unchanged. This module also reads them, by the
rules of uv's parser (clap): `--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`,
clusters of one-letter flags of which the last may take a value, and only positionals after `--`. An
unknown option counts as a flag; its value, if it has one, counts as a positional.
"""

from __future__ import annotations

TYPE_CHECKING = False  # see uv/process.py
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

# The subcommands of `uv pip`. Those that install are wrapped; the others replace the process.
INSTALLING = frozenset({"install", "sync"})
SUBCOMMANDS = INSTALLING | set(
    "check compile debug freeze help list ls show tree uninstall".split()
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

# Every option that uv accepts between `uv pip` and a subcommand, in any uv since 0.4.
GLOBAL = frozenset(
    """
    --allow-insecure-host --allow-python-downloads --cache-dir --cert --color --config-file
    --directory --help --isolated --managed-python --native-tls --no-cache --no-cache-dir --no-color
    --no-config --no-installer-metadata --no-managed-python --no-native-tls --no-offline
    --no-preview --no-progress --no-python-downloads --no-system-certs --offline --preview
    --preview-feature --preview-features --project --python-fetch --python-preference --quiet
    --show-settings --system-certs --trusted-host --verbose -h -n -q -v
    """.split()
)

# The options that choose the environment of `uv pip`, or that uv needs to find it.
_CHOOSES = frozenset(
    """
    --allow-python-downloads --break-system-packages --cache-dir --config-file --directory
    --isolated --managed-python --no-break-system-packages --no-cache --no-cache-dir --no-config
    --no-managed-python --no-preview --no-python-downloads --no-system --prefix --preview
    --preview-feature --preview-features --project --python --python-fetch --python-preference
    --system --target -n -p -t
    """.split()
)

# The options of `uv sync` that choose the environment of a project or a script.
_CHOOSES_PROJECT = (_CHOOSES & GLOBAL) | {"--active", "--no-active", "--python", "--script", "-p"}


class Arguments:
    """What uvpip reads from a command line of `uv pip`.

    - `subcommand`: the subcommand of `uv pip`, `install` if none is named;
    - `command`: the words for uv, from `pip` on;
    - `misplaced`: a word that is misplaced before or instead of a subcommand, or None;
    - `choosing`: the options that choose the environment, in order, perhaps written differently;
    - `choosing_project`: likewise those that choose the environment of a project or a script;
    - `directory`, `project`: the values of `--directory` and `--project`, or None;
    - `color`: `auto`, `always` or `never` if an option says so, or None;
    - `python_version`: that of ``--python-version``, as in ``3.12.0``, or None;
    - `quiet`, `verbose`: whether `-q` and `-v` are given;
    - `dry`: nothing will be installed (`--dry-run`, `--check`);
    - `help`, `version`: uv only prints its help or its version.
    """

    def __init__(self, arguments: Sequence[str], with_value: Collection[str] = WITH_VALUE) -> None:
        """Read `arguments`, the words after the program's name; `with_value` take a value."""
        self._words = list(arguments)
        self._with_value = with_value
        before, self._first, rest = split_subcommand(arguments)
        named = self._first in SUBCOMMANDS
        self.subcommand = self._first if named else "install"
        self.command = ["pip", *([] if named else ["install"]), *arguments]
        self.choosing: list[str] = []
        self.choosing_project: list[str] = []
        values: dict[str, str | None] = {}
        for option, value, words in options_in(
            [*before, *rest] if named else arguments, with_value
        ):
            if option in _CHOOSES:
                self.choosing += words
            if option in _CHOOSES_PROJECT:
                self.choosing_project += words
            values[option] = value
            if option == "--no-color":
                values["--color"] = "never"
        self.directory = values.get("--directory")
        self.project = values.get("--project")
        self.color = values.get("--color")
        numbers = (values.get("--python-version") or "").split(".")
        self.python_version = ".".join([*numbers, "0"][:3]) if numbers[1:] else None
        given = values.keys()
        self.quiet = not given.isdisjoint({"-q", "--quiet"})
        self.verbose = not given.isdisjoint({"-v", "--verbose"})
        self.dry = not given.isdisjoint({"--dry-run", "--check"})
        self.help = not given.isdisjoint({"-h", "--help"})
        self.version = not given.isdisjoint({"-V", "--version"})

    @property
    def misplaced(self) -> str | None:
        """The first positional, if it is a subcommand's name after an option of `install`.

        It is not meant as a project: the option came before the subcommand. It is also
        `pip` if a subcommand's name comes after that, because uvpip already is `uv pip`.
        """
        if self._first in SUBCOMMANDS or self.help or self.version:
            return None
        options = options_in(self._words, self._with_value)
        first, second = [*(value for option, value, _ in options if not option), "", ""][:2]
        is_misplaced = first in SUBCOMMANDS or (first == "pip" and second in SUBCOMMANDS)
        return first if is_misplaced else None

    @property
    def installs(self) -> bool:
        """Whether something may be installed."""
        return self.subcommand in INSTALLING and not (self.dry or self.help or self.version)


def split_subcommand(words: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Return the global options that `words` begin with, the next word, and the rest.

    The word is "" if another option, `--` or nothing comes after them.
    """
    before, rest = _split(words, WITH_VALUE, GLOBAL)
    if not rest or rest[0].startswith("-"):
        return [], "", list(words)
    return before, rest[0], rest[1:]


def split_command(words: Sequence[str], with_value: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the options that `words` begin with, and the command after them (`uv run`)."""
    options, command = _split(words, with_value)
    return options, command[1:] if command[:1] == ["--"] else command


def _split(
    words: Sequence[str], with_value: Collection[str], known: frozenset[str] | None = None
) -> tuple[list[str], list[str]]:
    """Return the options at the beginning of `words`, up to one that is not `known`; the rest."""
    following = iter(words)
    at = 0
    for word in following:
        if word in {"-", "--"} or not word.startswith("-"):
            break
        options = list(_read(word, following, with_value))
        if known is not None and not known.issuperset(name for name, _, _ in options):
            break
        at += max(len(said) for _, _, said in options)
    return list(words[:at]), list(words[at:])


def options_in(
    words: Iterable[str], with_value: Collection[str]
) -> Iterator[tuple[str, str | None, list[str]]]:
    """Yield each option in `words`: its name, its value or None, and its words.

    Any other word before `--` is the value of an option called "".
    """
    following = iter(words)
    for word in following:
        if word == "--":
            return
        if word == "-" or not word.startswith("-"):
            yield "", word, [word]
        else:
            yield from _read(word, following, with_value)


def _read(
    word: str, following: Iterator[str], with_value: Collection[str]
) -> Iterator[tuple[str, str | None, list[str]]]:
    """Yield the option `word`, or each in a cluster such as ``-qp``, perhaps with the next word."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        if not equals and name in with_value:
            yield _with_next(name, following)
        else:
            yield name, value if equals else None, [word]
        return
    for end, letter in enumerate(word[1:], start=2):
        name = "-" + letter
        if name not in with_value:
            yield name, None, [name]
        elif value := word[end:]:
            yield name, value.removeprefix("="), [name + value]
            return
        else:
            yield _with_next(name, following)


def _with_next(name: str, following: Iterator[str]) -> tuple[str, str | None, list[str]]:
    value = next(following, None)
    return name, value, [name] if value is None else [name, value]
