"""The interface of a VM as declared XML: <interface> in all the forms that schemes use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from kvmlab.domain.declared_xml import Element, Hex, Number, OnOff, Text, YesNo
from kvmlab.errors import UsageError


@dataclass(frozen=True)
class PciAddress:
    """Address of a PCI function: 0000:0b:00.1."""

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
    _vlan_tag = Number("vlan/tag/@id")
    target_dev = Text("target/@dev")
    model = Text("model/@type")
    driver = Text("driver/@name")
    queues = Number("driver/@queues")
    rx_queue_size = Number("driver/@rx_queue_size")
    tx_queue_size = Number("driver/@tx_queue_size")
    packed = OnOff("driver/@packed")
    event_idx = OnOff("driver/@event_idx")
    iommu = OnOff("driver/@iommu")
    ats = OnOff("driver/@ats")
    host_mrg_rxbuf = OnOff("driver/host/@mrg_rxbuf")
    host_csum = OnOff("driver/host/@csum")
    host_gso = OnOff("driver/host/@gso")
    host_tso4 = OnOff("driver/host/@tso4")
    host_tso6 = OnOff("driver/host/@tso6")
    host_ecn = OnOff("driver/host/@ecn")
    host_ufo = OnOff("driver/host/@ufo")
    guest_csum = OnOff("driver/guest/@csum")
    guest_tso4 = OnOff("driver/guest/@tso4")
    guest_tso6 = OnOff("driver/guest/@tso6")
    guest_ecn = OnOff("driver/guest/@ecn")
    guest_ufo = OnOff("driver/guest/@ufo")
    mtu = Number("mtu/@size")
    sndbuf = Number("tune/sndbuf")
    coalesced_frames = Number("coalesce/rx/frames/@max")
    filter = Text("filterref/@filter")
    filter_ip = Text("filterref/parameter[@name='IP']/@value")
    teaming_type = Text("teaming/@type")
    teaming_persistent = Text("teaming/@persistent")
    alias = Text("alias/@name")
    pci_bus = Number("address[@type='pci']/@bus")
    pci_slot = Number("address[@type='pci']/@slot")

    @property
    def vlan(self) -> int | None:
        """The VLAN of an access port; None for an untagged port, and for a trunk (`vlan_trunk`)."""
        return None if self.vlan_trunk else self._vlan_tag

    @vlan.setter
    def vlan(self, value: int | None) -> None:
        """Set or remove the tag.

        Raises:
            UsageError: the interface is a trunk, which has several tags.
        """
        if self.vlan_trunk:
            raise UsageError(
                f"The interface {self.mac or ''} is a trunk of VLANs "
                f"{', '.join(map(str, self.vlan_trunk))}: one tag cannot stand for them.",
                todo="Edit its <vlan> by hand, or remove that element first.",
            )
        self._vlan_tag = value

    @property
    def vlan_trunk(self) -> tuple[int, ...]:
        """The VLANs of a trunk (``trunk='yes'``, or several tags); empty for an access port."""
        tags = self.node.findall("vlan/tag")
        is_trunk = self.node.find("vlan[@trunk='yes']") is not None or len(tags) > 1
        return tuple(int(tag.get("id", "0"), 0) for tag in tags) if is_trunk else ()

    @classmethod
    def on_bridge(
        cls, bridge: str, *, mac: str, model: str, driver: str | None = None, queues: int = 1
    ) -> Self:
        """Return a tap on a host bridge; ``driver`` is "qemu", "vhost", or None for the default."""
        interface = cls()
        interface.type = "bridge"
        interface.mac = mac
        interface.source_bridge = bridge
        interface.model = model
        interface.driver = driver
        interface.queues = queues if queues > 1 else None
        return interface

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
        """Return a macvtap on a host port; ``mode`` is required, libvirt's default is "vepa"."""
        interface = cls()
        interface.type = "direct"
        interface.trust_guest_filters = trust_guest_filters
        interface.mac = mac
        interface.source_dev = port
        interface.source_mode = mode
        interface.model = model
        interface.driver = driver
        interface.queues = queues if queues > 1 else None
        return interface

    @classmethod
    def on_vf(
        cls, address: PciAddress, *, mac: str, vlan: int | None = None, managed: bool = True
    ) -> Self:
        """Return a VF; libvirt sets its MAC and VLAN through the PF before it is assigned."""
        interface = cls()
        interface.type = "hostdev"
        interface.managed = managed
        interface.mac = mac
        interface.source_pci = address
        interface.vlan = vlan
        return interface

    @classmethod
    def from_pool(cls, network: str, *, mac: str, vlan: int | None = None) -> Self:
        """Return an interface of a libvirt network; of a hostdev network, a free VF."""
        interface = cls()
        interface.type = "network"
        interface.mac = mac
        interface.source_network = network
        interface.vlan = vlan
        return interface

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
        """Return the function at ``address``; with ``managed`` libvirt changes its driver."""
        device = cls()
        device.mode = "subsystem"
        device.type = "pci"
        device.managed = managed
        _set_source(device, address)
        device.alias = alias
        return device


def _set_source(device: Interface | HostDevice, address: PciAddress) -> None:
    if isinstance(device, Interface):
        device.source_pci_type = "pci"
    device.source_pci_domain = address.domain
    device.source_pci_bus = address.bus
    device.source_pci_slot = address.slot
    device.source_pci_function = address.function


def alias_for(mac: str) -> str:
    """Return kvmlab's alias of the interface with this MAC; libvirt requires "ua-"."""
    return "ua-kvmlab-" + mac.replace(":", "").lower()
