"""The lifecycle of a VM, on libvirt's own test driver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kvmlab.domain import TestVM
from kvmlab.errors import DomainError, DomainNotFound, HotplugFailed, Refused
from kvmlab.hosts import Host, HostKind, LocalRunner


@pytest.fixture
def imaginary() -> Iterator[Host]:
    """Open a host whose libvirt is the test driver; its one domain is called "test"."""
    host = Host(
        spec="recorded",
        kind=HostKind.RECORDED,
        label="an imaginary host",
        runner=LocalRunner(),
        libvirt_uri="test:///default",
    )
    with host:
        yield host


def test_missing_domain_lists_existing_ones(imaginary: Host) -> None:
    with pytest.raises(DomainNotFound, match=r"no domain web1 on an imaginary host.*: .*te"):
        TestVM.find(imaginary, "web1")


def test_lifecycle(imaginary: Host) -> None:
    vm = TestVM.find(imaginary, "test")
    assert vm.state == "running"
    vm.suspend()
    vm.suspend()
    assert vm.state == "paused"
    vm.start()
    vm.resume()
    assert vm.state == "running"
    vm.stop()
    vm.stop()
    assert vm.state == "shut off"
    assert vm.detach("52:54:00:00:00:01") is False
    vm.start()
    assert vm.state == "running"


def test_a_domain_of_somebody_else_is_refused(imaginary: Host) -> None:
    assert TestVM.find(imaginary, "test").is_lab is False
    with pytest.raises(Refused, match="not made by kvmlab") as caught:
        TestVM.ensure(imaginary, "test")
    assert caught.value.rule == "not-the-labs-domain"


def test_a_device_needs_a_name(imaginary: Host) -> None:
    with pytest.raises(DomainError, match="needs an <alias> or a <mac>"):
        TestVM.find(imaginary, "test").attach("<interface type='bridge'/>")


def test_a_refused_hotplug_shows_its_xml(imaginary: Host) -> None:
    xml = "<interface type='bridge'><mac address='52:54:00:00:00:01'/></interface>"
    with pytest.raises(HotplugFailed) as caught:
        TestVM.find(imaginary, "test").attach(xml)
    assert "52:54:00:00:00:01" in caught.value.evidence


def test_vm_without_a_process(imaginary: Host) -> None:
    with pytest.raises(DomainError, match="No QEMU process"):
        TestVM.find(imaginary, "test").threads()


def test_detach_of_a_missing_device(imaginary: Host) -> None:
    vm = TestVM.find(imaginary, "test")
    vm.start()
    assert vm.detach("52:54:00:00:00:01") is False
    assert vm.detach("ua-kvmlab-1") is False
    assert vm.host_device("52:54:00:00:00:01") is None
    assert vm.console_tail() == ""
