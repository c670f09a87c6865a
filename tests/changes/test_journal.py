"""Journals that a crash, a clock, a full disk or another version has made strange."""

from __future__ import annotations

import json
import resource
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kvmlab.changes import AttachInterface, leftovers, restore
from kvmlab.changes.change import MadeSteps
from kvmlab.changes.journal import Journal, adopt, dead_journals, journal_dir
from kvmlab.changes.keeper import OnHost
from kvmlab.changes.record import parse_journal, read_journal
from kvmlab.domain import TestVM
from kvmlab.errors import ChangeError, OutputError
from tests.changes.dying import the_steps
from tests.changes.plain_host import write_step


def open_journal(vm: TestVM, folder: Path, scheme: str = "x") -> Journal:
    journal = Journal.begin(vm.host, scheme=scheme, domain="test")
    journal.making([write_step(folder / "one", "0", "1")], [0])
    return journal


def test_a_journal_of_a_newer_version_is_left_and_told(folder: Path, plain_vm: TestVM) -> None:
    older = open_journal(plain_vm, folder)
    older.abandon()
    newer = open_journal(plain_vm, folder)
    newer.abandon()
    head, rest = newer.path.read_text().split("\n", 1)
    newer.path.write_text(json.dumps({**json.loads(head), "format": 2}) + "\n" + rest)
    (folder / "one").write_text("1\n")
    told = [left.what for left in leftovers(plain_vm.host)]
    assert told[0] == "Write 1 into one."
    assert "not a journal that this version of kvmlab can read" in told[1]
    assert "Restore with the version that wrote it" in told[1]
    for ask in (lambda: restore(plain_vm.host), MadeSteps(plain_vm, (), scheme="next").make):
        with pytest.raises(OutputError, match="version of kvmlab"):
            ask()
    # What lies below it is not touched, and nothing is forgotten.
    assert (folder / "one").read_text() == "1\n"
    assert len(dead_journals(plain_vm.host)) == 2
    newer.path.unlink()
    assert restore(plain_vm.host) == ("Undone (x): Write 1 into one.",)


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[]",
        "3",
        '{"event": "moved"}',
        '{"event": "making", "number": 1}',
        "\x00\x00",
        "\udcff",
    ],
)
def test_a_line_of_another_shape_is_told(line: str, folder: Path, plain_vm: TestVM) -> None:
    journal = open_journal(plain_vm, folder)
    journal.abandon()
    with journal.path.open("a", encoding="utf-8", errors="surrogateescape") as more:
        more.write(f'{line}\n{{"event": "undone", "number": 7}}\n')
    with pytest.raises(OutputError, match=r"damaged|not what a journal says"):
        read_journal(journal.path)
    assert journal.path.name in leftovers(plain_vm.host)[0].what


def test_the_newest_is_the_last_one_begun_whatever_the_clock_says(
    folder: Path, plain_vm: TestVM
) -> None:
    ahead = journal_dir(plain_vm.host)
    ahead.mkdir(parents=True)
    (ahead / "29991231T235959.999999-1-outer.jsonl").write_text("")
    inner = open_journal(plain_vm, folder)
    inner.abandon()
    assert dead_journals(plain_vm.host)[-1] == inner.path
    assert datetime.fromisoformat(json.loads(inner.path.read_text().split("\n")[0])["at"]) < (
        datetime(2999, 1, 1, tzinfo=UTC)
    )


def test_a_disk_that_was_full_leaves_no_half_line(folder: Path, plain_vm: TestVM) -> None:
    journal = open_journal(plain_vm, folder)
    size = journal.path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with pytest.raises(ChangeError, match="cannot be written"):
            journal.making(the_steps(folder), [1, 2, 3, 4])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    journal.undone([0])
    journal.undone([0])
    journal.abandon()
    assert read_journal(journal.path).open_steps == ()


def test_a_copy_is_taken_over_whole_or_not_at_all(folder: Path, plain_vm: TestVM) -> None:
    journal = open_journal(plain_vm, folder)
    journal.abandon()
    text = journal.path.read_text()
    there = OnHost("", {journal.path.name: text})
    journal.path.unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        with pytest.raises(ChangeError, match="cannot be written"):
            adopt(plain_vm.host, there)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert dead_journals(plain_vm.host) == ()
    adopt(plain_vm.host, there)
    assert dead_journals(plain_vm.host) == (journal.path,)
    assert journal.path.read_text() == text


def test_what_the_host_had_is_gone_with_its_boot(folder: Path, plain_vm: TestVM) -> None:
    journal = open_journal(plain_vm, folder)
    plugged = AttachInterface("Plug.", "test", "52:54:00:00:00:01", "<interface/>")
    journal.making([plugged], [1])
    journal.abandon()
    text = journal.path.read_text().replace('"boot": ""', '"boot": "one"')
    record = parse_journal(journal.path, text)
    assert record.since("one") == record
    assert record.since("") == record
    # A VM that was saved over the boot comes back with what was plugged in.
    assert record.since("two").open_steps == ((1, plugged),)
