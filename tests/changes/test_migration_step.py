"""The step of a live migration: its record in a journal, and its undo where nothing has moved."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kvmlab.changes import restore
from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.journal_format import step_of, step_record
from kvmlab.changes.migration_step import (
    MigrateVm,
    MigrationOptions,
    preallocated,
    progress_text,
)
from kvmlab.changes.migration_undo import Homecoming, bring_home
from kvmlab.changes.rollback import undo_script
from kvmlab.changes.second_host import SecondHostPorts, second_host_step
from kvmlab.changes.settings import Values
from kvmlab.domain import TestVM
from kvmlab.errors import StepFailed
from tests.changes.plain_host import PlainRunner, plain_host


def step(second: bool = False) -> MigrateVm:
    return MigrateVm(
        what="Migrate the running VM test to B.",
        domain="test",
        destination="qemu+ssh://b/system" if not second else "B",
        second_host=second,
        options=MigrationOptions(bandwidth_mib=8, auto_converge=True),
    )


@pytest.mark.parametrize("second", [False, True])
def test_a_journal_holds_all_of_it(second: bool) -> None:
    original = step(second)
    assert step_of(json.loads(json.dumps(step_record(original)))) == original
    assert undo_script("a", [(0, original)], libvirt_uri="qemu:///system") == ""


def test_the_second_host_is_undone_by_an_operation() -> None:
    original = second_host_step(SecondHostPorts("p1p2", "p2p2", "0000:0b:00.1"))
    record = step_record(original)
    assert record["undo"] == [("remove-second-host", "p1p2", "p2p2", "0000:0b:00.1")]
    assert step_of(json.loads(json.dumps(record))).undo_text == original.undo_text
    for values in (("a/b",), ("p1p2", "p2p2"), ("p1p2", "p2p2", "0b:00.1; reboot")):
        record["undo"] = [("remove-second-host", *values)]
        with pytest.raises(ValueError, match="is no "):
            step_of(json.loads(json.dumps(record)))


def test_its_commands() -> None:
    (text,) = step(True).do_text
    assert text == (
        "virsh migrate --live test B --migrateuri unix:///run/kvmlab-second/migration.sock "
        "--bandwidth 8 --auto-converge"
    )
    options = MigrationOptions(downtime_ms=500, preallocate=True)
    limit, text = replace(step(True), options=options).do_text
    assert limit == "virsh migrate-setmaxdowntime test 500"
    assert text.endswith(" --xml test-preallocated.xml")
    (text,) = step().undo_text
    assert text.startswith("virsh -c qemu+ssh://b/system migrate --live test")


def test_a_vm_that_has_not_moved_is_home() -> None:
    with plain_host(PlainRunner()) as host:
        # There is no second host on this machine.
        assert bring_home(step(True), host) == Homecoming(undone=False)
        vm = TestVM.find(host, "test")
        vm.stop()
        # It was lost with its destination.
        home = bring_home(step(True), host)
        assert home.undone
        assert home.loss.startswith(f"test was started anew on {host.label}, without what it had")
        assert vm.state == "running"


def test_its_user_is_told_of_a_vm_that_was_started_anew(plain_vm: TestVM) -> None:
    change = AppliedSteps(plain_vm, (step(True),), scheme="migration")
    change.apply()
    plain_vm.stop()
    with pytest.raises(StepFailed, match="test was started anew on a plain host, without what"):
        change.revert()
    assert plain_vm.state == "running"
    change.revert()
    # A run that has died tells nobody; `restore` does.
    change.apply()
    change.leave()
    plain_vm.stop()
    undone, loss = restore(plain_vm.host)
    assert undone == "Undone (migration): Migrate the running VM test to B."
    assert loss.startswith("test was started anew")


def test_its_loss_is_told_beside_the_failure(plain_vm: TestVM) -> None:
    class Failing(AppliedSteps):
        def _apply_steps(self, settings: Values) -> None:
            self._note([(0, step(True))])
            plain_vm.stop()
            raise StepFailed("It broke off.", todo="It has come home with all of its memory.")

    with pytest.raises(StepFailed) as caught:
        Failing(plain_vm, (step(True),), scheme="migration").apply()
    first, second = str(caught.value).splitlines()
    assert first == "It broke off."
    assert second.startswith("test was started anew on a plain host, without what it had in")


def test_how_far_a_migration_came() -> None:
    job = {"memory_iteration": 1, "memory_remaining": 8 << 20, "memory_bps": 33 << 20}
    assert progress_text(job) == ""
    rate = {"memory_dirty_rate": 31 * 256, "memory_page_size": 4096}
    assert progress_text({**job, **rate, "memory_iteration": 4}) == (
        "In round 4 8 MiB were left: the VM wrote 31 MiB/s, and 33 MiB/s moved."
    )


def test_the_destination_takes_the_memory_first() -> None:
    xml = preallocated("<domain><memory>1</memory><currentMemory>1</currentMemory><os/></domain>")
    assert (
        '<currentMemory>1</currentMemory><memoryBacking><allocation mode="immediate"/>'
        "</memoryBacking><os/>" in xml
    )
    assert preallocated(xml) == xml
    locked = "<domain><memory>1</memory><memoryBacking><locked/></memoryBacking></domain>"
    assert "<locked/><allocation" in preallocated(locked)
