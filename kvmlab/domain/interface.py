"""The interface of a VM as declared XML: <interface> in all the forms that schemes use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from kvmlab.domain.declared import Element, Hex, Number, Text, YesNo
from kvmlab.errors import UsageError


@dataclass(frozen=True)
class PciAddress:
    """Where a PCI function sits: 0000:0b:00.1."""

    domain: int
    bus: int
    slot: int
    function: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0000:0b:00.1``.

        Raises:
            UsageError: not a PCI address.
        """
        try:
            domain, bus, rest = text.split(":")
            slot, function = rest.split(".")
            return cls(int(domain, 16), int(bus, 16), int(slot, 16), int(function, 16))
        except ValueError as error:
            raise UsageError(f"{text!r} is not a PCI address such as 0000:0b:00.1.") from error

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.{self.function:x}"


class Interface(Element):
    """An <interface>. Everything that is not declared here is kept."""

    tag = "interface"
    type = Text("@type")
    managed = YesNo("@managed")
    trust_guest_filters = YesNo("@trustGuestRxFilters")
    mac = Text("mac/@address")
    source_bridge = Text("source/@bridge")
    source_network = Text("source/@network")
    source_dev = Text("source/@dev")
    source_mode = Text("source/@mode")
    source_pci_type = Text("source/address[@type='pci']/@type")
    source_pci_domain = Hex("source/address[@type='pci']/@domain", 4)
    source_pci_bus = Hex("source/address[@type='pci']/@bus", 2)
    source_pci_slot = Hex("source/address[@type='pci']/@slot", 2)
    source_pci_function = Hex("source/address[@type='pci']/@function", 1)
    vlan = Number("vlan/tag/@id")
    target_dev = Text("target/@dev")
    model = Text("model/@type")
    driver = Text("driver/@name")
    queues = Number("driver/@queues")
    teaming_type = Text("teaming/@type")
    teaming_persistent = Text("teaming/@persistent")
    alias = Text("alias/@name")
    pci_bus = Number("address[@type='pci']/@bus")
    pci_slot = Number("address[@type='pci']/@slot")

    @classmethod
    def on_bridge(
        cls, bridge: str, *, mac: str, model: str, driver: str | None = None, queues: int = 1
    ) -> Self:
        """A tap on a host bridge. ``driver`` is the back end: "qemu", "vhost" or libvirt's own."""
        made = cls()
        made.type = "bridge"
        made.mac = mac
        made.source_bridge = bridge
        made.model = model
        made.driver = driver
        made.queues = queues if queues > 1 else None
        return made

    @classmethod
    def on_port(
        cls,
        port: str,
        *,
        mac: str,
        mode: str,
        model: str,
        driver: str | None = None,
        queues: int = 1,
        trust_guest_filters: bool | None = None,
    ) -> Self:
        """A macvtap on a host port. libvirt's own default for ``mode`` is "vepa": name one."""
        made = cls()
        made.type = "direct"
        made.trust_guest_filters = trust_guest_filters
        made.mac = mac
        made.source_dev = port
        made.source_mode = mode
        made.model = model
        made.driver = driver
        made.queues = queues if queues > 1 else None
        return made

    @classmethod
    def on_vf(
        cls, address: PciAddress, *, mac: str, vlan: int | None = None, managed: bool = True
    ) -> Self:
        """A VF; libvirt sets its MAC and VLAN through the PF before it is handed over."""
        made = cls()
        made.type = "hostdev"
        made.managed = managed
        made.mac = mac
        made.source_pci = address
        made.vlan = vlan
        return made

    @classmethod
    def from_pool(cls, network: str, *, mac: str, vlan: int | None = None) -> Self:
        """Whatever a libvirt network gives: of a hostdev network, a free VF."""
        made = cls()
        made.type = "network"
        made.mac = mac
        made.source_network = network
        made.vlan = vlan
        return made

    @property
    def source_pci(self) -> PciAddress | None:
        """The host's PCI function that is handed over; None where none is."""
        parts = (
            self.source_pci_domain or 0,
            self.source_pci_bus,
            self.source_pci_slot,
            self.source_pci_function,
        )
        domain, bus, slot, function = parts
        if bus is None or slot is None or function is None:
            return None
        return PciAddress(domain, bus, slot, function)

    @source_pci.setter
    def source_pci(self, address: PciAddress) -> None:
        _set_source(self, address)


class HostDevice(Element):
    """A <hostdev>: a whole PCI function of the host, as it is."""

    tag = "hostdev"
    mode = Text("@mode")
    type = Text("@type")
    managed = YesNo("@managed")
    source_pci_domain = Hex("source/address/@domain", 4)
    source_pci_bus = Hex("source/address/@bus", 2)
    source_pci_slot = Hex("source/address/@slot", 2)
    source_pci_function = Hex("source/address/@function", 1)
    alias = Text("alias/@name")

    @classmethod
    def of(cls, address: PciAddress, *, alias: str | None = None, managed: bool = True) -> Self:
        """The function at ``address``; ``managed`` lets libvirt change its driver and back."""
        made = cls()
        made.mode = "subsystem"
        made.type = "pci"
        made.managed = managed
        _set_source(made, address)
        made.alias = alias
        return made


def _set_source(device: Interface | HostDevice, address: PciAddress) -> None:
    if isinstance(device, Interface):
        device.source_pci_type = "pci"
    device.source_pci_domain = address.domain
    device.source_pci_bus = address.bus
    device.source_pci_slot = address.slot
    device.source_pci_function = address.function


def alias_for(mac: str) -> str:
    """The alias that kvmlab gives the interface with this MAC; libvirt wants the prefix "ua-"."""
    return "ua-kvmlab-" + mac.replace(":", "").lower()
