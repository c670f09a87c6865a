"""Making and undoing: in order, in any case, and precisely."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from kvmlab.changes import Command, HostStep, Setting, in_place, leftovers, restore
from kvmlab.changes.change import MadeSteps
from kvmlab.changes.journal import Journal, dead_journals, journal_dir
from kvmlab.changes.record import read_journal
from kvmlab.changes.undoing import uninterrupted
from kvmlab.domain import TestVM
from kvmlab.errors import OutputError, RevertFailed, StepFailed
from tests.changes.dying import the_steps
from tests.changes.plain_host import PlainRunner, make_step, write_step
from tests.changes.test_killed import tree


def test_made_and_reverted(folder: Path, plain_vm: TestVM) -> None:
    before = tree(folder)
    change = MadeSteps(plain_vm, the_steps(folder), scheme="x")
    change.make()
    assert tree(folder) == {"made": "directory", "one": "1\n", "two": "2\n", "three": "3\n"}
    assert leftovers(plain_vm.host) == (), "a run that is alive has no leftovers"
    change.revert()
    change.revert()
    assert tree(folder) == before
    assert not list(journal_dir(plain_vm.host).iterdir())


def test_what_was_read_holds_again_once_all_is_put_back(folder: Path, plain_vm: TestVM) -> None:
    host = plain_vm.host
    at_first = in_place(host)
    outer = MadeSteps(plain_vm, the_steps(folder), scheme="x")
    outer.make()
    with_outer = in_place(host)
    inner = MadeSteps(plain_vm, (make_step(folder / "more"),), scheme="y")
    inner.make()
    assert len({at_first, with_outer, in_place(host)}) == 3
    inner.revert()
    assert in_place(host) == with_outer
    (folder / "two").write_text("9\n")
    with pytest.raises(RevertFailed):
        outer.revert()
    assert in_place(host) == with_outer, "what could not be put back is there still"
    (folder / "two").write_text("0\n")


def test_undone_last_first(folder: Path, plain_vm: TestVM) -> None:
    inner = make_step(folder / "made" / "inner")
    change = MadeSteps(plain_vm, (make_step(folder / "made"), inner), scheme="x")
    change.make()
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
    change = MadeSteps(plain_vm, (*the_steps(folder), failing), scheme="x")
    with pytest.raises(
        StepFailed, match=r"`false` on this machine ended with exit code 1.*put back"
    ):
        change.make()
    assert tree(folder) == before
    assert dead_journals(plain_vm.host) == ()


def test_a_command_that_does_nothing_is_found_out(folder: Path, plain_vm: TestVM) -> None:
    idle = HostStep(
        what="Do nothing.",
        setting=Setting(str(folder / "one"), "0", "1"),
        do=(Command(("true",)),),
        undo=(),
    )
    with pytest.raises(StepFailed, match="reads 0 where 1 was expected"):
        MadeSteps(plain_vm, (idle,), scheme="x").make()


def test_a_plan_of_yesterday_is_not_made(folder: Path, plain_vm: TestVM) -> None:
    (folder / "two").write_text("7\n")
    before = tree(folder)
    with pytest.raises(StepFailed, match=r"two read 0 then and reads 7 now\. Nothing was changed"):
        MadeSteps(plain_vm, the_steps(folder), scheme="x").make()
    assert tree(folder) == before


def test_what_others_changed_meanwhile_is_left_alone_and_told(
    folder: Path, plain_vm: TestVM
) -> None:
    change = MadeSteps(plain_vm, the_steps(folder), scheme="x")
    change.make()
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
    one = str(folder / "one")
    step = HostStep(
        what="Write.",
        setting=Setting(one, "0", "1"),
        do=(
            Command.write(str(folder / "two"), "5", only_when=(str(folder / "none"), "0")),
            Command.write(str(folder / "three"), "5", only_when=(str(folder / "three"), "0")),
            Command.write(one, "1"),
        ),
        undo=(Command.write(one, "0"), Command.write(str(folder / "three"), "0")),
    )
    change = MadeSteps(plain_vm, (step,), scheme="x")
    change.make()
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
        with uninterrupted():
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
        MadeSteps(plain_vm, the_steps(folder), scheme="x").make()
    assert tree(folder) == before
    assert leftovers(plain_vm.host) == ()


def test_a_journal_cut_short_is_read(folder: Path, plain_vm: TestVM) -> None:
    journal = Journal.begin(plain_vm.host, scheme="x", domain="test")
    steps = the_steps(folder)
    journal.making(steps, range(len(steps)))
    journal.undone([3])
    journal.abandon()
    text = journal.path.read_text()
    whole = read_journal(journal.path)
    assert [step for _, step in whole.open_steps] == list(steps[:3])
    for length in range(len(text)):
        journal.path.write_text(text[:length])
        if "\n" in text[:length] or not length:
            assert len(read_journal(journal.path).open_steps) <= 4


def test_a_journal_damaged_inside_is_said(folder: Path, plain_vm: TestVM) -> None:
    journal = Journal.begin(plain_vm.host, scheme="x", domain="test")
    journal.making(the_steps(folder), range(4))
    journal.abandon()
    lines = journal.path.read_text().splitlines()
    lines[2] = lines[2][:20]
    journal.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(OutputError, match="Line 3"):
        read_journal(journal.path)


def test_an_empty_journal_stands_for_nothing(plain_vm: TestVM) -> None:
    path = journal_dir(plain_vm.host)
    path.mkdir(parents=True)
    (path / "a.jsonl").write_text("")
    assert leftovers(plain_vm.host) == ()
    assert restore(plain_vm.host) == ()
    assert not list(path.iterdir())


def test_restore_undoes_only_what_reads_as_made(folder: Path, plain_vm: TestVM) -> None:
    journal = Journal.begin(plain_vm.host, scheme="x", domain="test")
    journal.making([write_step(folder / "one", "0", "1")], [0])
    journal.abandon()
    assert restore(plain_vm.host) == ()
    assert (folder / "one").read_text() == "0\n"
