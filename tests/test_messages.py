"""Messages for people, in uv's style."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from uvshim.messages import Messages, printable, quoted
from uvshim.rename.on_disk import LeftAlone, Outcome, Renamed

ONE = Renamed(
    "oslo.cache", "3.10.2", "/s/oslo_cache-3.10.2.dist-info", "/s/oslo.cache-3.10.2.dist-info"
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "CLICOLOR"):
        monkeypatch.delenv(name, raising=False)


def test_renames_are_reported_as_uv_reports_installations(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Messages().outcome(Outcome([ONE], [], 0.0042))
    Messages().outcome(Outcome([ONE, ONE], [], 1.5))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "Renormalized 1 distribution in 4ms\n"
        " ~ oslo.cache==3.10.2\n"
        "Renormalized 2 distributions in 1.50s\n"
        " ~ oslo.cache==3.10.2\n"
        " ~ oslo.cache==3.10.2\n"
    )


def test_where_nothing_was_renamed_nothing_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    Messages(verbose=True).outcome(Outcome([], [], 1))
    assert capsys.readouterr().err == ""


def test_details_are_printed_only_with_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    Messages(verbose=True).outcome(Outcome([ONE], [], 0))
    said = capsys.readouterr().err
    assert f"DEBUG uvshim: `{ONE.before}` is now `{ONE.path}`\n" in said


def test_quiet_leaves_out_all_but_errors_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    messages = Messages(quiet=True)
    messages.outcome(Outcome([ONE], [], 1))
    messages.waiting("/lock")
    assert capsys.readouterr().err == ""
    messages.error("e")
    messages.warning("w")
    assert capsys.readouterr().err == "error: e\nwarning: w\n"


def test_skipped_directories_are_reported_with_the_reason_and_a_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    messages = Messages()
    messages.outcome(Outcome([], [LeftAlone("/s/a_b-1.dist-info", "it has no RECORD")]))
    messages.suggest_fix("/my env")
    assert capsys.readouterr().err == (
        "warning: `/s/a_b-1.dist-info` was left alone: it has no RECORD\n"
        "hint: `uvshim fix '/my env'` tries again, or names what helps\n"
    )


def test_foreign_text_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Messages().outcome(Outcome([], [LeftAlone("/s/a\x1b[2J", "b\nc\x07 d\u202e")]))
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "`/s/a\\x1b[2J` was left alone: b\\nc\\x07 d\\u202e\n" in said
    assert printable("ünï 中") == "ünï 中"
    assert printable("\udcff") == "\\udcff"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to read it")
@settings(max_examples=20)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@example("two words")
@example("it's \x1b[31mred\\x41\x07f")
@example("\udcff é\x85\u2028")
def test_a_quoted_text_is_printable_and_has_the_same_meaning_in_a_shell(text: str) -> None:
    word = quoted(text)
    assert word.isprintable()
    shell = ["bash", "-c", f"printf %s {word}"]
    assert subprocess.run(shell, check=True, capture_output=True).stdout == os.fsencode(text)


@pytest.mark.parametrize(
    ("color", "variables", "terminal", "expected"),
    [
        (None, {}, False, False),
        (None, {}, True, True),
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
        (None, {"NO_COLOR": "1"}, True, False),
        (None, {"NO_COLOR": ""}, True, True),
        (None, {"FORCE_COLOR": "1"}, False, True),
        (None, {"CLICOLOR_FORCE": "1"}, False, True),
        (None, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        (None, {"TERM": "dumb"}, True, False),
    ],
)
def test_colours_are_used_where_uv_uses_them(
    color: str | None,
    variables: dict[str, str],
    terminal: bool,  # noqa: FBT001
    expected: bool,  # noqa: FBT001
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    Messages(color=color).warning("x")
    assert ("\x1b[" in capsys.readouterr().err) is expected
