"""Persistent changes: written into the definition only, and removed without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvmlab.changes import AttachInterface, Plan, leftovers, restore
from kvmlab.changes.journal import ChangeJournal, journal_dir
from kvmlab.changes.lab_lock import locked
from kvmlab.changes.persistent_definition import Definition, definition_of, undefinition_of
from kvmlab.directories import state_dir
from kvmlab.domain import LAB_VM_NAME, Domain, HostDevice, Interface, PciAddress, TestVM, alias_for
from kvmlab.domain.persistent_xml import defined_with, defined_without, macs_of_ours
from kvmlab.errors import KvmlabError, Refused
from kvmlab.hosts import HostKind

MAC = "52:54:00:72:57:24"
CARD = Interface.on_bridge("kvmlab0", mac=MAC, model="virtio")


@pytest.fixture(autouse=True)
def as_before(plain_vm: TestVM) -> Iterator[None]:
    """Libvirt's test driver is one for the whole process."""
    before = plain_vm.xml(inactive=True)
    yield
    plain_vm.redefine(before)


def plan_for(vm: TestVM, card: Interface | HostDevice = CARD) -> Plan:
    step = AttachInterface("Plug it in.", vm.name, MAC, card.xml())
    return Plan(
        scheme="virtio-qemu",
        label="virtio",
        backend="qemu",
        steps=(step,),
        interface_xml=card.xml(),
        domain_diff="",
        mac=MAC,
        vm_address="192.0.2.10/24",
        peer_address="192.0.2.1/24",
    )


def definition(vm: TestVM) -> Definition:
    return definition_of(plan_for(vm), vm)


def macs(xml: str) -> list[str | None]:
    return [interface.mac for interface in Domain.parse(xml).interfaces]


def test_written_and_taken_out(plain_vm: TestVM) -> None:
    before, running = plain_vm.xml(inactive=True), plain_vm.xml()
    plan = definition(plain_vm)
    assert f'+      <mac address="{MAC}"/>' in str(plan)
    assert "until it is shut down and started anew" in str(plan)
    assert plain_vm.xml(inactive=True) == before, "planning writes nothing"
    plan.write(plain_vm)
    assert MAC in macs(plain_vm.xml(inactive=True))
    assert plain_vm.xml() == running
    records = list((state_dir() / "defined").rglob("*.json"))
    assert len(records) == 1
    assert "<name>test</name>" in records[0].read_text()
    with pytest.raises(Refused, match="already"):
        definition(plain_vm)
    undoing = undefinition_of(plain_vm)
    assert f'-      <mac address="{MAC}"/>' in str(undoing)
    assert undoing.write(plain_vm) == (f"Taken out of the definition of test: {MAC}.",)
    assert plain_vm.xml(inactive=True) == before
    assert plain_vm.xml() == running
    assert str(undefinition_of(plain_vm)) == ""
    assert undefinition_of(plain_vm).write(plain_vm) == ()
    assert not list((state_dir() / "defined").rglob("*.json"))
    assert leftovers(plain_vm.host) == ()


@pytest.mark.parametrize("written", [False, True])
def test_a_lab_dies_while_defining(plain_vm: TestVM, written: bool) -> None:
    before = plain_vm.xml(inactive=True)
    plan = definition(plain_vm)
    with locked(plain_vm.host, purpose="dying"):
        journal = ChangeJournal.begin(plain_vm.host, scheme="virtio-qemu", domain="test")
        journal.begin_steps([plan.step], [0])
        if written:
            whole = plain_vm.xml(inactive=True, secrets=True)
            plain_vm.redefine(defined_with(whole, plan.step.interface_xml, MAC))
        journal.abandon()
    assert [left.undo for left in leftovers(plain_vm.host)] == [
        (f"virsh detach-device-alias test {alias_for(MAC)} --config",)
    ]
    with pytest.raises(Refused, match="left changes behind"):
        plan.write(plain_vm)
    assert bool(restore(plain_vm.host)) is written
    assert plain_vm.xml(inactive=True) == before
    assert not list(journal_dir(plain_vm.host).glob("*"))


class Torn(TestVM):
    """A domain at whose definition somebody presses Ctrl-C, once it is written."""

    def redefine(self, xml: str) -> None:
        super().redefine(xml)
        if MAC in xml:
            raise KeyboardInterrupt


def test_interrupted_while_defining(plain_vm: TestVM) -> None:
    before = plain_vm.xml(inactive=True)
    plan = definition(plain_vm)
    with pytest.raises(KeyboardInterrupt):
        plan.write(Torn(plain_vm.host, plain_vm.handle, plain_vm.name))
    assert plain_vm.xml(inactive=True) == before
    assert leftovers(plain_vm.host) == ()


def test_what_others_changed_stays(plain_vm: TestVM) -> None:
    definition(plain_vm).write(plain_vm)
    xml = plain_vm.xml(inactive=True)
    plain_vm.redefine(xml.replace("</name>", "</name><description>ours</description>", 1))
    undefinition_of(plain_vm).write(plain_vm)
    after = plain_vm.xml(inactive=True)
    assert MAC not in macs(after)
    assert "<description>ours</description>" in after


def test_a_definition_that_changed_meanwhile(plain_vm: TestVM) -> None:
    plan = definition(plain_vm)
    xml = plain_vm.xml(inactive=True)
    plain_vm.redefine(xml.replace("</name>", "</name><description>ours</description>", 1))
    with pytest.raises(Refused, match="has changed since the plan was made"):
        plan.write(plain_vm)
    assert MAC not in macs(plain_vm.xml(inactive=True))


def test_what_is_refused(plain_vm: TestVM) -> None:
    plan = definition(plain_vm)
    host = plain_vm.host
    host.kind, host.allows_changes = HostKind.LOCAL, False
    with pytest.raises(Refused, match="Nobody said yes to the definition of test"):
        plan.write(plain_vm)
    host.kind, host.allows_changes = HostKind.RECORDED, True
    own = TestVM(host, plain_vm.handle, LAB_VM_NAME)
    refusals: tuple[Callable[[], object], ...] = (
        lambda: definition_of(plan_for(own), own),
        lambda: undefinition_of(own),
    )
    for refused in refusals:
        with pytest.raises(Refused, match="the lab's own VM"):
            refused()
    text = plain_vm.xml().replace("<name>test<", "<name>passing<").splitlines(True)
    xml = "".join(line for line in text if "<uuid>" not in line and "mac address" not in line)
    passing = TestVM(host, host.libvirt.createXML(xml, 0), "passing")
    with pytest.raises(Refused, match="passing is transient"):
        definition_of(plan_for(passing), passing)


def test_a_whole_nic_is_identified_by_its_alias() -> None:
    card = HostDevice.of(PciAddress.parse("0000:0b:10.0"))
    xml = (
        "<domain type='kvm'><name>web</name><devices>"
        "<controller type='pci' index='0' model='pcie-root'/></devices></domain>"
    )
    xml_with = defined_with(xml, card.xml(), MAC)
    assert macs_of_ours(xml_with) == (MAC,)
    added = xml_with.replace("</devices>", "<controller type='pci' index='1'/></devices>")
    controllers = frozenset({"pci 0"})
    assert defined_without(added, MAC, controllers=controllers) == Domain.parse(xml).xml()
    assert 'index="1"' in defined_without(added, MAC, controllers=None)


def test_a_damaged_record_is_reported(plain_vm: TestVM, tmp_path: Path) -> None:
    definition(plain_vm).write(plain_vm)
    (record,) = (state_dir() / "defined").rglob("*.json")
    record.write_text("{")
    with pytest.raises(KvmlabError, match=r"cannot be read"):
        undefinition_of(plain_vm)
    record.unlink()
    undefinition_of(plain_vm).write(plain_vm)
    assert MAC not in macs(plain_vm.xml(inactive=True)), "the alias identifies it"
