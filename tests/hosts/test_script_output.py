"""The frames in which scripts print, as the shipped prelude makes them."""

from __future__ import annotations

import subprocess
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmlab.errors import OutputError
from kvmlab.hosts import ScriptSection, parse_files, parse_output, script_text


def shell(lines: str) -> str:
    """Run ``lines`` behind the shipped prelude."""
    prelude = script_text("kvmlab.facts", "read_namespaces.sh").partition("\nfor ")[0]
    done = subprocess.run(
        ("sh", "-s"), input=f"{prelude}{lines}", capture_output=True, text=True, check=True
    )
    return done.stdout


def test_sections_keep_texts_and_codes() -> None:
    output = parse_output(
        shell(
            "two() { printf 'one\\n\\ntwo\\n'; return 3; }\n"
            "section lines two\nsection empty true\nsection open printf x\n"
            "section missing no-such-tool\necho '=== plain'\necho text\necho '=== end'\n"
        )
    )
    assert output.sections == (
        ScriptSection("lines", "one\n\ntwo\n", 3),
        ScriptSection("empty", "", 0),
        ScriptSection("open", "x", 0),
        ScriptSection("missing", "", 127),
        ScriptSection("plain", "text\n", None),
    )
    assert output.text("open") == "x"
    assert output.code("missing") == 127
    assert "lines" in output
    assert "other" not in output
    with pytest.raises(OutputError, match='no section "other"'):
        output.text("other")
    with pytest.raises(OutputError, match="has no exit code"):
        output.code("plain")


def test_sections_of_one_kind() -> None:
    output = parse_output("=== journal a\n1\n=== journal b c\n=== other\n=== end\n")
    assert output.named("journal") == {"a": "1\n", "b c": ""}


def test_the_last_of_several_sections_counts() -> None:
    assert parse_output("=== a\n1\n=== a\n2\n=== end\n").text("a") == "2\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello\n",
        "=== a\nx\n",
        "=== a\nx\n=== end\nmore\n",
        "=== exit 0\n=== end\n",
        "=== a\n\n=== exit 0\n=== exit 0\n=== end\n",
        "=== a\n\n=== exit 0\nmore\n=== end\n",
        "hello\n=== a\n=== end\n",
    ],
)
def test_other_output_is_refused(text: str) -> None:
    with pytest.raises(OutputError):
        parse_output(text)


def test_an_output_may_be_read_before_its_end() -> None:
    assert parse_output("=== a\nx\n", complete=False).text("a") == "x\n"


def test_files() -> None:
    text = "==> /a <==\none\n\ntwo\n\n==> /b c <==\n\n==> /d <==\nx"
    assert parse_files(text) == {"/a": "one\n\ntwo", "/b c": "", "/d": "x"}
    assert parse_files("") == {}
    with pytest.raises(OutputError, match="list of files"):
        parse_files("no path\n")


@given(st.text())
def test_parsers_refuse_and_do_not_fail(text: str) -> None:
    for parse in (parse_output, parse_files):
        with suppress(OutputError):
            parse(text)
