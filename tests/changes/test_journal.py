"""Journals damaged by a crash, a clock, a full disk, a hostile host, or of another version."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kvmlab.changes import AttachInterface, HostStep, Leftover, leftovers, restore
from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.host_lock import FOLDER, HostIdentity
from kvmlab.changes.journal import ChangeJournal, dead_journals, journal_dir
from kvmlab.changes.journal_format import (
    Begun,
    Opened,
    Record,
    merge_journals,
    parse_journal,
    record_line,
    step_record,
)
from kvmlab.directories import state_dir
from kvmlab.domain import TestVM
from kvmlab.errors import ChangeError, OutputError, Refused
from kvmlab.hosts import HostKind
from kvmlab.hosts.uri import legacy_host_key
from tests.changes.killed_lab import the_steps
from tests.changes.plain_host import SPEC, write_step
from tests.faults.damaged_journals import damages

NAME = "20261128T190000.000000-12-x.jsonl"
MACHINE = HostIdentity.of("boot-1", "machine-1")


def open_journal(vm: TestVM, folder: Path, scheme: str = "x") -> Path:
    """Write the journal of a run that died after its first step was begun."""
    journal = ChangeJournal.begin(vm.host, scheme=scheme, domain="test")
    journal.begin_steps([write_step(folder / "one", "0", "1")], [0])
    journal.abandon()
    assert journal.path is not None
    return journal.path


def opened(identity: HostIdentity = MACHINE, host: str = SPEC) -> Opened:
    return Opened(
        format=2,
        scheme="x",
        host=host,
        machine=identity.machine,
        boot=identity.boot,
        domain="test",
        pid=12,
        at="2026-11-28T19:00:00.000+00:00",
    )


def journal_text(*steps: HostStep, opening: Opened | None = None) -> str:
    records: list[Record] = [opening or opened()]
    records += [
        Begun(sequence=number, number=number, step=step_record(step))
        for number, step in enumerate(steps)
    ]
    return "".join(record_line(NAME, record) for record in records)


def test_a_journal_of_a_newer_version_is_left_and_reported(folder: Path, plain_vm: TestVM) -> None:
    open_journal(plain_vm, folder)
    newer = open_journal(plain_vm, folder)
    lines = newer.read_text().splitlines(True)
    head = json.loads(lines[0].partition(" ")[2])
    newer.write_text("".join([f"0000 {json.dumps({**head, 'format': 3})}\n", *lines[1:]]))
    (folder / "one").write_text("1\n")
    reported = [left.what for left in leftovers(plain_vm.host)]
    assert reported[0] == "Write 1 into one."
    assert "not a journal that this version of kvmlab can read" in reported[1]
    assert "Restore with the version that wrote it" in reported[1]
    for ask in (lambda: restore(plain_vm.host), AppliedSteps(plain_vm, (), scheme="next").apply):
        with pytest.raises(OutputError, match="version of kvmlab"):
            ask()
    # Older changes are not touched, and nothing is forgotten.
    assert (folder / "one").read_text() == "1\n"
    assert len(dead_journals(plain_vm.host)) == 2
    newer.unlink()
    assert restore(plain_vm.host) == ("Undone (x): Write 1 into one.",)


def test_a_journal_without_checksums_is_reported(folder: Path, plain_vm: TestVM) -> None:
    """Of a kvmlab before them, in the folder that it used."""
    old = state_dir() / "journal" / legacy_host_key(SPEC)
    old.mkdir(parents=True)
    (old / NAME).write_text(json.dumps({"event": "open", "format": 1, "host": SPEC}) + "\n")
    (old / f"1{NAME}").write_text(json.dumps({"event": "open", "format": 1, "host": "x"}) + "\n")
    (left,) = leftovers(plain_vm.host)
    assert "Restore with the version that wrote it" in left.what
    with pytest.raises(OutputError):
        AppliedSteps(plain_vm, the_steps(folder), scheme="next").apply()


@pytest.mark.parametrize("line", ["{}", "[]", "3", '{"event": "moved"}', "\x00\x00", "\udcff"])
def test_a_malformed_line_is_reported(line: str, folder: Path, plain_vm: TestVM) -> None:
    path = open_journal(plain_vm, folder)
    with path.open("a", encoding="utf-8", errors="surrogateescape") as more:
        more.write(f"{line}\nanother\n")
    with pytest.raises(OutputError, match="damaged"):
        restore(plain_vm.host)
    assert path.name in leftovers(plain_vm.host)[0].what


def test_a_missing_line_is_reported(folder: Path) -> None:
    lines = journal_text(*the_steps(folder)[:1], write_step(folder / "two", "0", "2")).splitlines()
    with pytest.raises(OutputError, match="step 0 is missing"):
        parse_journal(NAME, f"{lines[0]}\n{lines[2]}\n")
    with pytest.raises(OutputError, match="not a journal"):
        parse_journal(NAME, f"{lines[1]}\n{lines[2]}\n")
    with pytest.raises(OutputError, match="contradicts itself"):
        parse_journal(NAME, f"{lines[0]}\n{lines[1]}\n{lines[1]}\n")


def test_the_newest_is_the_last_one_begun_whatever_the_clock_says(
    folder: Path, plain_vm: TestVM
) -> None:
    ahead = journal_dir(plain_vm.host)
    ahead.mkdir(parents=True)
    (ahead / "29991231T235959.999999-1-outer.jsonl").write_text("")
    inner = open_journal(plain_vm, folder)
    assert dead_journals(plain_vm.host)[-1].path == inner
    opening = parse_journal(inner.name, inner.read_text()).opening
    assert opening is not None
    assert datetime.fromisoformat(opening.at) < datetime(2999, 1, 1, tzinfo=UTC)


def test_a_disk_that_was_full_leaves_no_half_line(folder: Path, plain_vm: TestVM) -> None:
    journal = ChangeJournal.begin(plain_vm.host, scheme="x", domain="test")
    journal.begin_steps([write_step(folder / "one", "0", "1")], [0])
    assert journal.path is not None
    size = journal.path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with pytest.raises(ChangeError, match="cannot be written"):
            journal.begin_steps(the_steps(folder), [1, 2, 3, 4])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    journal.note_undone([0])
    journal.note_undone([0])
    journal.abandon()
    assert parse_journal(journal.name, journal.path.read_text()).open_steps == ()


def test_only_this_user_can_read_it(folder: Path, plain_vm: TestVM) -> None:
    assert open_journal(plain_vm, folder).stat().st_mode & 0o777 == 0o600


def test_host_steps_end_with_the_boot(folder: Path) -> None:
    plugged = AttachInterface("Plug.", "test", "52:54:00:00:00:01", "")
    step = write_step(folder / "one", "0", "1")
    text = journal_text(step) + record_line(
        NAME, Begun(sequence=1, number=1, step=step_record(plugged))
    )
    content = parse_journal(NAME, text)
    assert content.since("boot-1") == content
    assert content.since("") == content
    # A VM that was saved over the boot keeps its devices.
    assert content.since("boot-2").open_steps == ((1, plugged),)


def test_a_damaged_copy_does_not_hide_the_good_one(folder: Path) -> None:
    """Every cut and every flipped bit of one copy, while the other one is whole."""
    steps = (write_step(folder / "one", "0", "1"), write_step(folder / "two", "0", "2"))
    text = journal_text(*steps)
    expected = [step.what for step in steps]
    raw = text.encode()
    damaged = [raw[:length] for length in range(len(raw))]
    damaged += [
        raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]
        for place in range(0, len(raw), 7)
        for bit in range(8)
    ]
    for one in damaged:
        copies = {"here": one.decode(errors="replace"), "there": text}
        for order in (copies, dict(reversed(copies.items()))):
            content = merge_journals(NAME, order)
            assert [step.what for _, step in content.open_steps] == expected


def test_copies_that_contradict_each_other_are_not_used(folder: Path) -> None:
    one = journal_text(write_step(folder / "one", "0", "1"))
    other = journal_text(write_step(folder / "two", "0", "2"))
    with pytest.raises(OutputError, match="contradicts itself"):
        merge_journals(NAME, {"here": one, "there": other})


@dataclass
class SharedHost:
    """A host that others may use: its state is recorded, its commands run here."""

    vm: TestVM
    folder: Path

    def set_journal(self, text: str | None, name: str = NAME) -> None:
        path = Path(FOLDER, "journal", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)


@pytest.fixture
def shared(
    plain_vm: TestVM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SharedHost]:
    """Yield a host as one that ssh reaches, with its lock and journals in a folder of this test."""
    folder = tmp_path / "on the host"
    monkeypatch.setattr(f"{__name__}.FOLDER", str(folder))
    for module in ("host_lock", "journal", "recovery"):
        monkeypatch.setattr(f"kvmlab.changes.{module}.FOLDER", str(folder), raising=False)
    for function in ("HostLock.take", "read_lab_state"):
        monkeypatch.setitem(_defaults(function), "folder", str(folder))
    host = plain_vm.host
    host.kind, host.allows_changes = HostKind.SSH, True
    yield SharedHost(plain_vm, folder)
    host.kind = HostKind.RECORDED


def _defaults(path: str) -> dict[str, object]:
    from kvmlab.changes import host_lock

    function: object = host_lock
    for name in path.split("."):
        function = getattr(function, name)
    function = getattr(function, "__func__", function)
    defaults = function.__kwdefaults__  # type: ignore[attr-defined]
    assert isinstance(defaults, dict)
    return defaults


def here() -> HostIdentity:
    """Return this machine as the host of the tests."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    path = Path("/etc/machine-id")
    return HostIdentity.of(boot, path.read_text().strip() if path.exists() else "")


def only(left: tuple[Leftover, ...]) -> Leftover:
    (leftover,) = left
    return leftover


def test_a_journal_of_the_host_alone_is_undone(shared: SharedHost, folder: Path) -> None:
    step = write_step(folder / "one", "0", "1")
    (folder / "one").write_text("1\n")
    shared.set_journal(journal_text(step, opening=opened(here(), host="qemu+ssh://other/system")))
    left = only(leftovers(shared.vm.host))
    assert left.commands == (f"tee {folder / 'one'} < 2 bytes: 0",)
    assert restore(shared.vm.host) == ("Undone (x): Write 1 into one.",)
    assert (folder / "one").read_text() == "0\n"
    assert not list(journal_dir(shared.vm.host).glob("*")), "it is never copied here"
    assert leftovers(shared.vm.host) == ()


def test_what_a_host_lists_never_runs_on_another(shared: SharedHost, folder: Path) -> None:
    """A journal of another machine: planted, or of the one that had this name before."""
    step = write_step(folder / "one", "0", "1")
    (folder / "one").write_text("1\n")
    text = journal_text(step, opening=opened(HostIdentity(machine="m", boot=here().boot)))
    shared.set_journal(text)
    assert "another machine" in only(leftovers(shared.vm.host)).what
    with pytest.raises(Refused, match="another machine") as caught:
        restore(shared.vm.host)
    assert caught.value.rule == "leftovers"
    shared.set_journal(None)
    own = journal_dir(shared.vm.host)
    own.mkdir(parents=True, exist_ok=True)
    (own / NAME).write_text(text)
    with pytest.raises(Refused, match="another machine"):
        restore(shared.vm.host)
    (own / NAME).write_text(journal_text(step, opening=opened(here(), host="qemu:///system")))
    with pytest.raises(Refused, match="another machine"):
        restore(shared.vm.host)
    (own / NAME).write_text(journal_text(step, opening=opened(HostIdentity(here().machine, ""))))
    with pytest.raises(OutputError, match="in which boot"):
        restore(shared.vm.host)
    assert (folder / "one").read_text() == "1\n", "nothing was run"


def test_a_damaged_copy_here_does_not_remove_the_hosts(shared: SharedHost, folder: Path) -> None:
    step = write_step(folder / "one", "0", "1")
    text = journal_text(step, opening=opened(here()))
    own = journal_dir(shared.vm.host) / NAME
    own.parent.mkdir(parents=True)
    for damaged in (text.splitlines(True)[0], text[:-30] + "\n", text.replace("one", "two")):
        (folder / "one").write_text("1\n")
        own.write_text(damaged)
        shared.set_journal(text)
        assert only(leftovers(shared.vm.host)).what == step.what
        assert restore(shared.vm.host) == (f"Undone (x): {step.what}",)
        assert (folder / "one").read_text() == "0\n"
        (shared.folder / "undone").unlink()
    own.write_text(text.replace("one", "two"))
    shared.set_journal(text.replace("one", "six"))
    with pytest.raises(OutputError, match="damaged"):
        restore(shared.vm.host)
    assert own.exists()
    assert (shared.folder / "journal" / NAME).exists(), "neither is lost"


@pytest.mark.parametrize("side", ["here", "host"])
def test_any_damage_on_one_side_is_survived(shared: SharedHost, folder: Path, side: str) -> None:
    """Cut, emptied, zeroed, replaced, a bit flipped or a line gone: the other copy is used."""
    steps = [write_step(folder / name, "0", "1") for name in ("one", "two", "three")]
    text = journal_text(*steps, opening=opened(here()))
    own, there = journal_dir(shared.vm.host) / NAME, shared.folder / "journal" / NAME
    own.parent.mkdir(parents=True)
    there.parent.mkdir(parents=True)
    for damage in damages(text):
        for name in ("one", "two", "three"):
            (folder / name).write_text("1\n")
        for place, damaged in ((own, side == "here"), (there, side == "host")):
            place.unlink(missing_ok=True)
            content = damage.content if damaged else text.encode()
            if content is not None:
                place.write_bytes(content)
        assert len(leftovers(shared.vm.host)) == 3, damage.name
        assert len(restore(shared.vm.host)) == 3, damage.name
        assert {path.read_text() for path in folder.iterdir()} == {"0\n"}, damage.name
        assert leftovers(shared.vm.host) == ()
        (shared.folder / "undone").unlink()


def test_damage_on_both_sides_is_told_or_what_is_left_of_them_is_undone(
    shared: SharedHost, folder: Path
) -> None:
    """Neither copy is removed where it is not understood; a shorter one is no other one."""
    steps = [write_step(folder / name, "0", "1") for name in ("one", "two", "three")]
    text = journal_text(*steps, opening=opened(here()))
    own, there = journal_dir(shared.vm.host) / NAME, shared.folder / "journal" / NAME
    own.parent.mkdir(parents=True)
    there.parent.mkdir(parents=True)
    refused = 0
    for damage in damages(text):
        if damage.content is None:
            continue
        for name in ("one", "two", "three"):
            (folder / name).write_text("1\n")
        own.write_bytes(damage.content)
        there.write_bytes(damage.content)
        try:
            undone = restore(shared.vm.host)
        except OutputError:
            refused += 1
            assert own.read_bytes() == there.read_bytes() == damage.content, damage.name
            assert {path.read_text() for path in folder.iterdir()} == {"1\n"}, damage.name
        else:
            # Cut in its last record or before: it says less, and nothing else.
            last = f"line {len(text.splitlines())} gone"
            assert damage.name in ("empty", last) or damage.name.startswith("cut"), damage.name
            values = [(folder / name).read_text() for name in ("one", "two", "three")]
            assert values == ["0\n"] * len(undone) + ["1\n"] * (3 - len(undone)), damage.name
            (shared.folder / "undone").unlink()
    assert refused >= 10


def test_what_only_root_may_read_is_not_for_others(shared: SharedHost, folder: Path) -> None:
    change = AppliedSteps(shared.vm, (), scheme="x")
    change._guard_again = lambda: None  # type: ignore[method-assign]
    change.apply()
    modes = {p.name: p.stat().st_mode & 0o777 for p in shared.folder.rglob("*") if p.is_file()}
    modes = {name: mode for name, mode in modes.items() if not name.startswith("session.")}
    journal = next(name for name in modes if name.endswith(".jsonl"))
    assert modes == {"lock": 0o600, "holder": 0o644, "beat": 0o644, journal: 0o600}
    change.revert()
