"""Any input is answered with a sentence and an exit code, before a host is touched."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvmlab.cli import answer

#: No host: it is refused by its name, or nobody listens there.
NOWHERE = "qemu+ssh://nobody@127.0.0.1:1/system"
TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "",
            "-",
            "--",
            "--help-me",
            "\udcff",
            "\x00",
            "a" * 300,
            "[red]x[/red]",
            "[/]",
            "$(reboot)",
        ]
    ),
)
COMMANDS = st.sampled_from(
    [
        ("plan", "{}", "--host", NOWHERE),
        ("plan", "e1000", "--host", "{}"),
        ("plan", "e1000", "--host", NOWHERE, "--cable", "{}"),
        ("plan", "e1000", "--host", NOWHERE, "-k", "{}"),
        ("apply", "macvtap", "--host", NOWHERE, "--cable", "eth1,192.0.2.10/24,192.0.2.1/24,{}"),
        ("apply", "macvtap", "--host", NOWHERE, "--domain", "{}"),
        ("apply", "macvtap", "--host", NOWHERE, "--for", "{}"),
        ("define", "{}", "--domain", "web", "--host", NOWHERE),
        ("define", "--undo", "--domain", "{}", "--host", NOWHERE),
        ("restore", "--host", "{}"),
        ("inspect", "--host", "{}"),
        ("doctor", "--host", "{}"),
        ("run", "{}", "--dry-run", "--host", NOWHERE),
        ("run", "00", "--dry-run", "-p", "{}"),
        ("run", "00", "--dry-run", "-p", "CABLE={}"),
        ("run", "00", "--dry-run", "-p", "VM={}"),
        ("compare", "{}", "{}"),
        ("gate", "{}", "{}"),
        ("history", "{}", "--in", "{}"),
        ("book", "{}"),
        ("measure", "{}", "--host", NOWHERE),
        ("atlas", "{}", "--host", NOWHERE),
        ("migrate", "--dry-run", "--host", "{}"),
        ("fleet", "doctor", "-i", "{}"),
        ("fleet", "report", "{}"),
        ("class", "slides", "{}"),
        ("task", "show", "{}"),
        ("inspect", "--host", NOWHERE, "--record", "{}/x"),
        ("{}",),
    ]
)


@settings(max_examples=150)
@given(command=COMMANDS, text=TEXT)
@example(("define",), "")
@example(("define", "--domain", "web"), "")
@example(("define", "e1000", "--undo", "--domain", "web"), "")
def test_anything_that_is_typed(command: tuple[str, ...], text: str) -> None:
    words = [word.replace("{}", text) for word in command]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = answer(words)
    assert code in (0, 1, 2, 3)
    assert "Traceback" not in out.getvalue() + err.getvalue()
    if code:
        assert (out.getvalue() + err.getvalue()).strip()


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "--host", NOWHERE, "--record"),
        ("atlas", "--host", NOWHERE, "--write"),
        ("bundle",),
        ("class", "slides", "no-run", "--out"),
    ],
    ids=" ".join,
)
def test_a_file_that_cannot_be_written_is_refused_first(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "below"
    assert answer([*words, str(target)]) == 2
    printed = "".join(capsys.readouterr())
    assert f"{target} cannot be written: Not a directory." in printed.replace("\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
