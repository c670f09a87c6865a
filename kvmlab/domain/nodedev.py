"""The host's devices as libvirt sees them: their tree, and the XML of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmlab.domain.declared_xml import Element, Number, Text
from kvmlab.domain.interface import HostDevice, PciAddress
from kvmlab.errors import UsageError
from kvmlab.hosts import libvirt_client

if TYPE_CHECKING:
    from kvmlab.hosts import Host


class NodeDevice(Element):
    """A <device> of `virsh nodedev-dumpxml`, a PCI function."""

    tag = "device"
    name = Text("name")
    path = Text("path")
    parent = Text("parent")
    driver = Text("driver/name")
    domain = Number("capability[@type='pci']/domain")
    bus = Number("capability[@type='pci']/bus")
    slot = Number("capability[@type='pci']/slot")
    function = Number("capability[@type='pci']/function")
    product = Text("capability[@type='pci']/product")
    vendor = Text("capability[@type='pci']/vendor")
    iommu_group = Number("capability[@type='pci']/iommuGroup/@number")
    vfs_at_most = Number("capability[@type='pci']/capability[@type='virt_functions']/@maxCount")

    @property
    def address(self) -> PciAddress | None:
        """Its address on the PCI bus; None for what is no PCI function."""
        if self.bus is None or self.slot is None or self.function is None:
            return None
        return PciAddress(self.domain or 0, self.bus, self.slot, self.function)

    def hostdev(self, *, managed: bool = True) -> HostDevice:
        """Return the <hostdev> that assigns this function to a VM.

        Raises:
            UsageError: it is no PCI function.
        """
        if self.address is None:
            raise UsageError(
                f"{self.name} is no PCI function, so it cannot be assigned to a VM.",
                todo="Take its parent: `kvmlab.node_tree` shows what stands on what.",
            )
        return HostDevice.of(self.address, managed=managed)

    @property
    def group_members(self) -> tuple[PciAddress, ...]:
        """The functions of its IOMMU group, itself among them."""
        nodes = self.node.iterfind("capability[@type='pci']/iommuGroup/address")
        parts = ("domain", "bus", "slot", "function")
        addresses = (tuple(int(str(node.get(part)), 0) for part in parts) for node in nodes)
        return tuple(sorted((PciAddress(*numbers) for numbers in addresses), key=str))


@dataclass(frozen=True, repr=False)
class NodeTree:
    """Devices below each other, as `virsh nodedev-list --tree` shows them."""

    name: str
    children: tuple[NodeTree, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    # A notebook that shows the tree shows it drawn.
    __repr__ = __str__

    def _lines(self) -> list[str]:
        lines = [self.name]
        for number, child in enumerate(self.children, 1):
            last = number == len(self.children)
            first, *rest = child._lines()
            lines.append(("└─ " if last else "├─ ") + first)
            lines += [("   " if last else "│  ") + line for line in rest]
        return lines

    def with_kinds(self, *kinds: str) -> NodeTree:
        """Return only branches with a device whose name begins so, such as "net_"."""
        branches = [child.with_kinds(*kinds) for child in self.children]
        return NodeTree(
            self.name,
            tuple(c for c in branches if c.children or c.name.startswith(kinds)),
        )


def node_name(address: PciAddress) -> str:
    """Return libvirt's node device name of a PCI function.

    >>> node_name(PciAddress.parse("0000:04:00.0"))
    'pci_0000_04_00_0'
    """
    return "pci_" + str(address).replace(":", "_").replace(".", "_")


def node_device(host: Host, address: str) -> NodeDevice:
    """Return the device at a PCI address, from its nodedev XML.

    Raises:
        UsageError: not a PCI address.
        LibvirtFailed: there is no such device.
    """
    name = node_name(PciAddress.parse(address))
    device = libvirt_client.call(
        host.libvirt.nodeDeviceLookupByName, name, what=f"find {name}", host=host.label
    )
    text = libvirt_client.call(device.XMLDesc, 0, what=f"describe {name}", host=host.label)
    return NodeDevice.parse(text)


def node_tree(host: Host) -> NodeTree:
    """Return all devices of a host as a tree."""
    devices = libvirt_client.call(host.libvirt.listAllDevices, 0, host=host.label)
    below: dict[str | None, list[str]] = {}
    for device in devices:
        parent = libvirt_client.call(device.parent, host=host.label)
        below.setdefault(parent, []).append(device.name())

    def branch(name: str) -> NodeTree:
        return NodeTree(name, tuple(branch(child) for child in sorted(below.get(name, ()))))

    roots = sorted(below.get(None, ()))
    return branch(roots[0]) if roots else NodeTree("computer")
