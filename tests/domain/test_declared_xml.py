"""Declared XML: declared properties are read and written, everything else is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from kvmlab.domain import Domain, Interface, PciAddress
from kvmlab.errors import OutputError, UsageError


def same(one: str, other: str) -> bool:
    def canonical(text: str) -> bytes:
        parser = etree.XMLParser(remove_blank_text=True)
        return etree.tostring(etree.fromstring(text.encode(), parser), method="c14n2")

    return canonical(one) == canonical(other)


def test_undeclared_xml_is_kept(data: Path) -> None:
    text = (data / "domain" / "users-own.xml").read_text()
    assert same(Domain.parse(text).xml(), text)


def test_properties_of_a_users_domain(data: Path) -> None:
    domain = Domain.parse((data / "domain" / "users-own.xml").read_text())
    assert domain.name == "web1"
    assert domain.vcpus == 4
    assert domain.memory == 4194304
    assert domain.hpet is True
    assert domain.acpi
    assert not domain.is_lab
    assert domain.free_root_port() is None
    nic = domain.interface("52:54:00:aa:bb:cc")
    assert nic is not None
    assert (nic.type, nic.source_network, nic.model, nic.pci_bus) == (
        "network",
        "default",
        "virtio",
        1,
    )


def test_setting_changes_one_thing_only(data: Path) -> None:
    text = (data / "domain" / "users-own.xml").read_text()
    domain = Domain.parse(text)
    domain.hpet = False
    assert same(domain.xml(), text.replace("name='hpet' present='yes'", "name='hpet' present='no'"))


def test_setting_makes_elements_and_removing_prunes_them() -> None:
    nic = Interface.parse("<interface type='bridge'><mac address='52:54:00:00:00:01'/></interface>")
    assert nic.driver is None
    nic.driver = "vhost"
    nic.queues = 4
    assert nic.node.find("driver") is not None
    nic.driver = None
    assert nic.queues == 4
    nic.queues = None
    assert nic.node.find("driver") is None
    assert nic.mac == "52:54:00:00:00:01"


def test_removing_keeps_the_text_around() -> None:
    nic = Interface.parse("<interface>one<driver name='qemu'/>two</interface>")
    nic.driver = None
    assert "onetwo" in nic.xml()


def test_a_condition_is_written_and_read() -> None:
    domain = Domain()
    domain.hpet = False
    timer = domain.node.find("clock/timer")
    assert timer is not None
    assert (timer.get("name"), timer.get("present")) == ("hpet", "no")
    assert domain.hpet is False


def test_present() -> None:
    domain = Domain.parse("<domain><features><acpi/></features></domain>")
    assert domain.acpi
    domain.acpi = False
    assert not domain.acpi
    domain.apic = True
    assert domain.node.find("features/apic") is not None


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40))
def test_any_text_is_escaped_and_comes_back(name: str) -> None:
    nic = Interface()
    nic.source_dev = name
    assert Interface.parse(nic.xml()).source_dev == name


@pytest.mark.parametrize(
    "text", ["", "no xml", "<interface>", "<disk/>", "<interface type=bridge/>"]
)
def test_other_elements_are_refused(text: str) -> None:
    with pytest.raises(OutputError):
        Interface.parse(text)


def test_entities_are_not_resolved(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    evil = (
        f'<!DOCTYPE interface [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
        "<interface><alias>&e;</alias></interface>"
    )
    with pytest.raises(OutputError, match="entities of its own"):
        Interface.parse(evil)


def test_a_malformed_number_is_refused() -> None:
    nic = Interface.parse("<interface><driver queues='many'/></interface>")
    with pytest.raises(OutputError, match="many"):
        _ = nic.queues


def test_pci_address_of_a_source() -> None:
    nic = Interface.parse(
        "<interface type='hostdev'><source><address type='pci' domain='0x0000' bus='0x0b' "
        "slot='0x10' function='0x1'/></source></interface>"
    )
    assert str(nic.source_pci) == "0000:0b:10.1"
    assert PciAddress.parse("0000:0b:10.1") == nic.source_pci
    assert Interface().source_pci is None


@pytest.mark.parametrize("text", ["", "0b:10.1", "0000:0b:10", "0000:zz:10.1"])
def test_malformed_pci_addresses_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        PciAddress.parse(text)
