"""A domain as declared XML, and the lab's own VM as one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from kvmlab.domain.declared_xml import Element, Number, Present, Text, YesNo
from kvmlab.domain.interface import Interface

#: The namespace of the mark that makes a domain the lab's.
LAB_NAMESPACE = "urn:kvmlab:domain:1"
LAB_VM_NAME = "kvmlab-vm"
_MARK = f"metadata/{{{LAB_NAMESPACE}}}vm"


class Controller(Element):
    """A <controller>; for PCI its index is the number of the bus behind it."""

    tag = "controller"
    type = Text("@type")
    index = Number("@index")
    model = Text("@model")
    ports = Number("@ports")
    pci_bus = Number("address[@type='pci']/@bus")


class Serial(Element):
    """A <serial> port."""

    tag = "serial"
    type = Text("@type")
    source_path = Text("source/@path")
    target_port = Number("target/@port")


class Channel(Element):
    """A <channel>, such as the guest agent's."""

    tag = "channel"
    type = Text("@type")
    target_type = Text("target/@type")
    target_name = Text("target/@name")
    target_state = Text("target/@state")


class Domain(Element):
    """A <domain>. The user's own comes through with everything that is not declared here."""

    tag = "domain"
    type = Text("@type")
    id = Number("@id")
    name = Text("name")
    uuid = Text("uuid")
    memory = Number("memory")
    memory_unit = Text("memory/@unit")
    vcpus = Number("vcpu")
    os_type = Text("os/type")
    os_arch = Text("os/type/@arch")
    os_machine = Text("os/type/@machine")
    kernel = Text("os/kernel")
    initrd = Text("os/initrd")
    kernel_arguments = Text("os/cmdline")
    acpi = Present("features/acpi")
    apic = Present("features/apic")
    cpu_mode = Text("cpu/@mode")
    cpu_migratable = Text("cpu/@migratable")
    clock_offset = Text("clock/@offset")
    hpet = YesNo("clock/timer[@name='hpet']/@present")
    on_poweroff = Text("on_poweroff")
    on_reboot = Text("on_reboot")
    on_crash = Text("on_crash")
    memballoon = Text("devices/memballoon/@model")
    lab_mark = Text(_MARK + "/@made-by")

    @property
    def is_lab(self) -> bool:
        """True if the domain carries the lab's mark."""
        return self.lab_mark is not None

    @property
    def interfaces(self) -> Iterator[Interface]:
        """The <interface> elements."""
        return self.children("devices/interface", Interface)

    @property
    def controllers(self) -> Iterator[Controller]:
        """The <controller> elements."""
        return self.children("devices/controller", Controller)

    def interface(self, mac: str) -> Interface | None:
        """Return the interface with this MAC, in any spelling."""
        lowered = mac.lower()
        return next((i for i in self.interfaces if (i.mac or "").lower() == lowered), None)

    def free_root_port(self) -> int | None:
        """Return the bus number of an empty PCI Express root port; None without one."""
        used = {
            int(bus, 0)
            for node in self.node.iterfind("devices/*/address[@type='pci']")
            if (bus := node.get("bus"))
        }
        ports = (c.index for c in self.controllers if c.model == "pcie-root-port")
        return next((index for index in ports if index is not None and index not in used), None)


@dataclass(frozen=True)
class LabVm:
    """Hardware and boot files of the lab's own VM. Paths are paths on the host."""

    name: str = LAB_VM_NAME
    vcpus: int = 2
    memory_mib: int = 512
    kernel: str = "/var/lib/kvmlab/vm/vmlinuz"
    initrd: str = "/var/lib/kvmlab/vm/initrd"
    console: str = "/var/log/libvirt/qemu/kvmlab-vm.console"
    accelerator: str = "kvm"
    """libvirt's domain type: "kvm", or "qemu" for a host without KVM."""
    root_ports: int = 8
    """PCI Express root ports; two are taken by the agent's channel and the PCI bridge, the others
    are kept free for hot-plug."""

    def domain(self) -> Domain:
        """Return the VM as a domain: no disk, no interface, an agent, free root ports."""
        domain = Domain()
        domain.type = self.accelerator
        domain.name = self.name
        _mark(domain)
        domain.memory = self.memory_mib
        domain.memory_unit = "MiB"
        domain.vcpus = self.vcpus
        domain.os_type = "hvm"
        domain.os_arch = "x86_64"
        domain.os_machine = "q35"
        domain.kernel = self.kernel
        domain.initrd = self.initrd
        domain.kernel_arguments = _KERNEL_ARGUMENTS
        domain.acpi = True
        domain.apic = True
        domain.cpu_mode = "host-passthrough" if self.accelerator == "kvm" else "maximum"
        domain.clock_offset = "utc"
        # With the HPET, QEMU wakes every 1 to 4 ms: on an emulated host that eats the machine.
        domain.hpet = False
        domain.on_poweroff = "destroy"
        domain.on_reboot = "restart"
        domain.on_crash = "destroy"
        self._add_devices(domain)
        return domain

    def _add_devices(self, domain: Domain) -> None:
        buses = ("pcie-root", *["pcie-root-port"] * self.root_ports, "pcie-to-pci-bridge")
        for index, model in enumerate(buses):
            domain.add("devices", _controller("pci", model, index))
        # Written out, since libvirt adds what is missing: an idle VM must cost nothing.
        domain.add("devices", _controller("usb", "none"))
        # QEMU's main loop polls two queues a port, and libvirt makes 31 ports for the agent's one
        # channel: these 64 descriptors cost an echo of a virtio NIC that QEMU serves 160 µs.
        domain.add("devices", _controller("virtio-serial", None, 0, ports=_AGENT_PORTS))
        domain.memballoon = "none"
        serial = Serial()
        serial.type = "file"
        serial.source_path = self.console
        serial.target_port = 0
        domain.add("devices", serial)
        agent = Channel()
        agent.type = "unix"
        agent.target_type = "virtio"
        agent.target_name = "org.qemu.guest_agent.0"
        domain.add("devices", agent)


#: Port 0 is kept for a console, port 1 is the agent's.
_AGENT_PORTS = 2
_KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet mitigations=off no_timer_check nowatchdog audit=0 "
    "cryptomgr.notests random.trust_cpu=on 8250.nr_uarts=1 panic=-1 net.ifnames=0"
)


def _mark(domain: Domain) -> None:
    metadata = etree.SubElement(domain.node, "metadata")
    mark = etree.SubElement(metadata, f"{{{LAB_NAMESPACE}}}vm", nsmap={"kvmlab": LAB_NAMESPACE})
    mark.set("made-by", "kvmlab")


def _controller(
    kind: str, model: str | None, index: int | None = None, *, ports: int | None = None
) -> Controller:
    controller = Controller()
    controller.type = kind
    controller.index = index
    controller.model = model
    controller.ports = ports
    return controller
