"""Any input is answered with a sentence and an exit code, before a host is touched."""

from __future__ import annotations

import contextlib
import io

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
