"""Applying and undoing: in order, in any case, and precisely."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from kvmlab.changes import Command, HostStep, Setting, in_place, leftovers, restore
from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.journal import ChangeJournal, dead_journals, journal_dir
from kvmlab.changes.journal_format import parse_journal
from kvmlab.changes.revert import signals_deferred
from kvmlab.domain import TestVM
from kvmlab.errors import RevertFailed, StepFailed, UsageError
from kvmlab.hosts import HostKind
from tests.changes.killed_lab import the_steps
from tests.changes.plain_host import PlainRunner, make_step, write_anywhere, write_step
from tests.changes.test_killed import tree


def test_applied_and_reverted(folder: Path, plain_vm: TestVM) -> None:
    before = tree(folder)
    change = AppliedSteps(plain_vm, the_steps(folder), scheme="x")
    change.apply()
    assert tree(folder) == {"made": "directory", "one": "1\n", "two": "2\n", "three": "3\n"}
    assert leftovers(plain_vm.host) == (), "a live run has no leftovers"
    change.revert()
    change.revert()
    assert tree(folder) == before
    assert not list(journal_dir(plain_vm.host).iterdir())


def test_what_ends_with_its_host_is_not_undone(folder: Path, plain_vm: TestVM) -> None:
    change = AppliedSteps(plain_vm, the_steps(folder), scheme="x")
    change.apply()
    applied = tree(folder)
    change.discard()
    change.revert()
    assert tree(folder) == applied
    assert restore(plain_vm.host) == (), "its journal is closed"
    assert in_place(plain_vm.host) == ()
    # The lock is free.
    again = AppliedSteps(plain_vm, (), scheme="y")
    again.apply()
    again.revert()


def test_a_host_of_others_is_never_left_changed(
    folder: Path, plain_vm: TestVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = AppliedSteps(plain_vm, the_steps(folder), scheme="x")
    change.apply()
    with monkeypatch.context() as patch:
        patch.setattr(plain_vm.host, "kind", HostKind.SSH)
        with pytest.raises(UsageError, match="others use"):
            change.discard()
    change.revert()
    assert tree(folder) == {"one": "0\n", "two": "0\n", "three": "0\n"}


def test_facts_are_current_again_after_the_revert(folder: Path, plain_vm: TestVM) -> None:
    host = plain_vm.host
    at_first = in_place(host)
    outer = AppliedSteps(plain_vm, the_steps(folder), scheme="x")
    outer.apply()
    with_outer = in_place(host)
    inner = AppliedSteps(plain_vm, (make_step(folder / "more"),), scheme="y")
    inner.apply()
    assert len({at_first, with_outer, in_place(host)}) == 3
    inner.revert()
    assert in_place(host) == with_outer
    (folder / "two").write_text("9\n")
    with pytest.raises(RevertFailed):
        outer.revert()
    assert in_place(host) == with_outer, "a change that could not be reverted stays in place"
    (folder / "two").write_text("0\n")


def test_undone_last_first(folder: Path, plain_vm: TestVM) -> None:
    inner = make_step(folder / "made" / "inner")
    change = AppliedSteps(plain_vm, (make_step(folder / "made"), inner), scheme="x")
    change.apply()
    change.revert()
    assert not (folder / "made").exists()


def test_a_failing_step_undoes_those_before_it(folder: Path, plain_vm: TestVM) -> None:
    before = tree(folder)
    failing = HostStep(
        what="Fail.",
        setting=Setting(str(folder / "nothing"), None, "something"),
        do=(Command(("false",)),),
        undo=(),
    )
    change = AppliedSteps(plain_vm, (*the_steps(folder), failing), scheme="x")
    with pytest.raises(
        StepFailed, match=r"`false` on this machine ended with exit code 1.*put back"
    ):
        change.apply()
    assert tree(folder) == before
    assert dead_journals(plain_vm.host) == ()


def test_a_command_without_effect_is_detected(folder: Path, plain_vm: TestVM) -> None:
    idle = HostStep(
        what="Do nothing.",
        setting=Setting(str(folder / "one"), "0", "1"),
        do=(Command(("true",)),),
        undo=(),
    )
    with pytest.raises(StepFailed, match="reads 0 where 1 was expected"):
        AppliedSteps(plain_vm, (idle,), scheme="x").apply()


def test_a_stale_plan_is_not_applied(folder: Path, plain_vm: TestVM) -> None:
    (folder / "two").write_text("7\n")
    before = tree(folder)
    with pytest.raises(StepFailed, match=r"two read 0 then and reads 7 now\. Nothing was changed"):
        AppliedSteps(plain_vm, the_steps(folder), scheme="x").apply()
    assert tree(folder) == before


def test_a_setting_that_others_changed_is_left_alone_and_reported(
    folder: Path, plain_vm: TestVM
) -> None:
    change = AppliedSteps(plain_vm, the_steps(folder), scheme="x")
    change.apply()
    (folder / "two").write_text("9\n")
    with pytest.raises(RevertFailed) as caught:
        change.revert()
    text = str(caught.value)
    assert "1 of the changes" in text
    assert "reads 9" in text
    assert f"echo 0 > {folder / 'two'}" in text
    assert caught.value.exit_code == 4
    assert tree(folder) == {"one": "0\n", "two": "9\n", "three": "0\n"}
    assert [left.what for left in leftovers(plain_vm.host)] == ["Write 2 into two."]
    (folder / "two").write_text("2\n")
    assert restore(plain_vm.host) == ("Undone (x): Write 2 into two.",)
    assert (folder / "two").read_text() == "0\n"


def test_a_command_that_is_not_needed_is_not_run(folder: Path, plain_vm: TestVM) -> None:
    path = str(folder / "one")
    step = HostStep(
        what="Write.",
        setting=Setting(path, "0", "1"),
        do=(
            Command.write(str(folder / "two"), "5", only_when=(str(folder / "none"), "0")),
            Command.write(str(folder / "three"), "5", only_when=(str(folder / "three"), "0")),
            Command.write(path, "1"),
        ),
        undo=(write_anywhere(path, "0"), write_anywhere(str(folder / "three"), "0")),
    )
    change = AppliedSteps(plain_vm, (step,), scheme="x")
    change.apply()
    assert tree(folder) == {"one": "1\n", "two": "0\n", "three": "5\n"}
    change.revert()


def test_neighbouring_ip_commands_share_one_process(plain_vm: TestVM) -> None:
    from kvmlab.changes.host_steps import run_commands

    runner = PlainRunner()
    show = Command(("ip", "link", "show", "dev", "lo"))
    odd = Command(("ip", "link", "show", "dev", "lo", "up"), only_when=("x", "y"))
    run_commands((show, show, odd, Command(("true",)), show), runner, {"x": "n"})
    assert runner.ran == [("ip", "-batch", "-"), ("true",), ("ip", "-batch", "-")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_signal_stops_an_undo_halfway(number: signal.Signals) -> None:
    reached: list[bool] = []

    def end(*_: object) -> None:
        raise SystemExit(128 + number)

    def undo_slowly() -> None:
        with signals_deferred():
            os.kill(os.getpid(), number)
            reached.append(True)

    before = signal.signal(number, end)
    try:
        with pytest.raises(SystemExit):
            undo_slowly()
    finally:
        signal.signal(number, before)
    assert reached


def test_ctrl_c_in_a_change_puts_everything_back(folder: Path, plain_vm: TestVM) -> None:
    class Interrupted(PlainRunner):
        def run(self, argv, **options):  # type: ignore[no-untyped-def]
            if argv == ("mkdir", str(folder / "made")):
                raise KeyboardInterrupt
            return super().run(argv, **options)

    before = tree(folder)
    plain_vm.host.runner = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        AppliedSteps(plain_vm, the_steps(folder), scheme="x").apply()
    assert tree(folder) == before
    assert leftovers(plain_vm.host) == ()


def test_a_journal_cut_short_is_read(folder: Path, plain_vm: TestVM) -> None:
    journal = ChangeJournal.begin(plain_vm.host, scheme="x", domain="test")
    steps = the_steps(folder)
    journal.begin_steps(steps, range(len(steps)))
    journal.note_undone([3])
    journal.abandon()
    assert journal.path is not None
    text = journal.path.read_text()
    records = [number for number, sign in enumerate(text) if sign == "\n"]
    assert len(records) == 6, "an opening, four steps, one undone"
    names = [step.what for step in steps]
    expected = [[], [], *(names[:count] for count in (1, 2, 3, 4)), names[:3]]
    for length in range(len(text) + 1):
        content = parse_journal(journal.name, text[:length])
        complete = sum(end <= length for end in records)
        open_steps = [step.what for _, step in content.open_steps]
        assert open_steps == expected[complete], f"cut after {length} bytes"


def test_an_empty_journal_means_nothing_was_begun(plain_vm: TestVM) -> None:
    path = journal_dir(plain_vm.host)
    path.mkdir(parents=True)
    (path / "a.jsonl").write_text("")
    assert leftovers(plain_vm.host) == ()
    assert restore(plain_vm.host) == ()
    assert not list(path.iterdir())


def test_restore_undoes_only_applied_steps(folder: Path, plain_vm: TestVM) -> None:
    journal = ChangeJournal.begin(plain_vm.host, scheme="x", domain="test")
    journal.begin_steps([write_step(folder / "one", "0", "1")], [0])
    journal.abandon()
    assert restore(plain_vm.host) == ()
    assert (folder / "one").read_text() == "0\n"
