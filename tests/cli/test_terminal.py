"""Control characters of VMs and hosts do not reach the terminal."""

from __future__ import annotations

import io
import json

import pytest

from kvmlab.cli import output
from kvmlab.errors import StepFailed
from kvmlab.terminal import SafeConsole

HOSTILE = "title\x1b]0;owned\x07 clear\x1b[2J\rover\x9b31m \u202egnp.exe\x7f"
OBEYED = "\x1b\x07\r\x9b\u202e\x7f"
Out = pytest.CaptureFixture[str]


def test_lines_tables_and_errors(capsys: Out) -> None:
    output.print_line(HOSTILE)
    output.print_notice(HOSTILE)
    output.print_progress(HOSTILE)
    output.print_table(("name",), ((HOSTILE,),))
    output.print_error(StepFailed(HOSTILE, todo=HOSTILE, evidence=HOSTILE))
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert not set(text) & set(OBEYED)
        assert "\\x1b[2J" in text
        assert "over\\x9b31m \\u202egnp.exe\\x7f" in text


def test_json_is_json_still(capsys: Out) -> None:
    output.print_json({"name": HOSTILE})
    text = capsys.readouterr().out
    assert not set(text) & set(OBEYED)
    assert json.loads(text) == {"name": HOSTILE}


def test_colours_of_our_own_stay() -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, color_system="standard", highlight=False)
    console.print("[red]red[/red] \x1b[32mnot green")
    assert file.getvalue() == "\x1b[31mred\x1b[0m \\x1b[32mnot green\n"
