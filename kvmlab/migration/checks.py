"""Checks before a live migration: what an operator looks at first, on both hosts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from kvmlab.domain.description import Domain
from kvmlab.errors import DomainNotFound, HostError, LibvirtFailed
from kvmlab.facts.vfio import is_vfio_driver
from kvmlab.hosts import libvirt_client

if TYPE_CHECKING:
    from kvmlab.changes.migration_step import MigrationOptions
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Host

_READ_SEC: Final = 60.0
_RESOLVE_SEC: Final = 2
#: The version of QEMU that can have both, as libvirt writes it.
_MULTIFD_IN_POST_COPY: Final = 10_001_000
#: VFIO's own driver, which cannot save the state of a device.
_VFIO: Final = "vfio-pci"
#: Modes of libvirt networks that give each interface a device of its own.
_OF_VFS: Final = ("hostdev", "passthrough")


@dataclass(frozen=True)
class Check:
    """One check: ``passed``, what was found, and what to do where it failed.

    One that ``warns`` does not stop the migration.
    """

    name: str
    passed: bool
    message: str
    todo: str = ""
    warns: bool = False


def check_migration(
    vm: TestVM, there: Host, there_facts: HostFacts, options: MigrationOptions
) -> tuple[Check, ...]:
    """Compare both hosts for the running ``vm``, and look at the options; change nothing.

    Raises:
        HostUnreachable, HostRefused: a host does not answer.
    """
    # What it is to be on any host: networks by name, not what they have given it here.
    migratable = libvirt_client.library().VIR_DOMAIN_XML_MIGRATABLE
    domain = Domain.parse(libvirt_client.call(vm.handle.XMLDesc, migratable, host=vm.host.label))
    return (
        _other_host(vm, there),
        check_cpu(vm, there, domain),
        _machine(there, domain),
        *_networks(there, there_facts, domain),
        *_disks(there, domain),
        *check_devices(vm),
        _name_is_free(vm, there),
        *_options(vm.host, options),
        *_resolve(vm.host, there),
    )


def _other_host(vm: TestVM, there: Host) -> Check:
    def identity(host: Host) -> tuple[str, str]:
        capabilities = _xml(host, host.libvirt.getCapabilities)
        name = libvirt_client.call(host.libvirt.getHostname, host=host.label)
        return str(capabilities.findtext("host/uuid")), str(name)

    (here_uuid, here_name), (uuid, name) = identity(vm.host), identity(there)
    passed = here_uuid != uuid and here_name != name
    return Check(
        "two hosts",
        passed,
        f"{here_name} and {name}"
        + ("" if passed else ": libvirt takes hosts of one name or UUID for one host"),
        "" if passed else "Set host_uuid in libvirtd.conf, and another host name, on one of them.",
    )


def check_cpu(vm: TestVM, there: Host, domain: Domain) -> Check:
    """Compare the CPU that ``domain`` sees on the VM's host with the one of ``there``."""
    library = libvirt_client.library()
    cpu = domain.node.find("cpu")
    mode = "custom" if cpu is None else cpu.get("mode", "custom")
    if cpu is None or mode in ("host-passthrough", "host-model", "maximum"):
        # The guest sees the source's CPU: that has to be possible over there.
        cpu = _xml(vm.host, vm.host.libvirt.getCapabilities).find("host/cpu")
    if cpu is None:
        return Check("CPU", True, "the VM asks for no CPU of its own")
    for child in cpu.findall("topology"):
        cpu.remove(child)
    text = etree.tostring(cpu, encoding="unicode")
    try:
        result = libvirt_client.call(there.libvirt.compareCPU, text, 0, host=there.label)
    except LibvirtFailed as error:
        return Check("CPU", True, f"{there.label} cannot compare CPUs: {error.message}")
    passed = result in (library.VIR_CPU_COMPARE_IDENTICAL, library.VIR_CPU_COMPARE_SUPERSET)
    if passed:
        return Check("CPU", True, f"{there.label} has every feature of the VM's CPU ({mode})")
    reason = _incompatibility(there, text)
    return Check(
        "CPU",
        False,
        f"{there.label} is no match for the CPU that {vm.name} sees ({mode}): {reason}",
        "Give the VM a named CPU model that both hosts have: `virsh cpu-baseline`.",
    )


def _incompatibility(there: Host, cpu: str) -> str:
    """Return libvirt's reason, which names the features that are missing."""
    raising = libvirt_client.library().VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
    try:
        libvirt_client.call(there.libvirt.compareCPU, cpu, raising, host=there.label)
    except LibvirtFailed as error:
        return error.message
    return "libvirt gives no reason"


def _machine(there: Host, domain: Domain) -> Check:
    machine = domain.os_machine or ""
    arguments = (None, domain.os_arch, machine, domain.type, 0)
    try:
        libvirt_client.call(there.libvirt.getDomainCapabilities, *arguments, host=there.label)
    except LibvirtFailed as error:
        return Check(
            "machine type",
            False,
            f"{there.label} does not know {machine}: {error.message}",
            "Install a QEMU there that is as new as here.",
        )
    return Check("machine type", True, f"{machine} is known there")


def _networks(there: Host, facts: HostFacts, domain: Domain) -> Iterator[Check]:
    for interface in domain.interfaces:
        bridge, network = interface.source_bridge, interface.source_network
        if network:
            yield from _network(there, network)
        elif interface.type == "bridge" and bridge:
            passed = facts.link(bridge) is not None
            yield Check(
                f"bridge {bridge}",
                passed,
                "is there" if passed else f"is missing on {there.label}",
                "" if passed else "Make a bridge of that name there, on the same network.",
            )
        elif interface.type == "direct" and interface.source_dev:
            passed = facts.link(interface.source_dev) is not None
            yield Check(
                f"port {interface.source_dev}",
                passed,
                "is there" if passed else f"is missing on {there.label}",
                "" if passed else "Use a libvirt network of one name on both hosts instead.",
            )


def _network(there: Host, name: str) -> Iterator[Check]:
    """Look for the network, and for a free device in it where it hands out VFs."""
    try:
        network = libvirt_client.call(there.libvirt.networkLookupByName, name, host=there.label)
        active = bool(libvirt_client.call(network.isActive, host=there.label))
    except HostError:
        active = False
    if not active:
        yield Check(
            f"network {name}",
            False,
            f"is no active network on {there.label}",
            f"Define it there under that name, then `virsh net-start {name}`.",
        )
        return
    yield Check(f"network {name}", True, "is active there")
    text = libvirt_client.call(network.XMLDesc, 0, host=there.label)
    node = etree.fromstring(text.encode())
    forward = node.find("forward")
    if forward is None or forward.get("mode") not in _OF_VFS:
        return
    devices = len(forward.findall("address")) + len(forward.findall("interface"))
    used = int(node.get("connections") or 0)
    passed = used < devices
    yield Check(
        f"free VF in {name}",
        passed,
        f"{devices - used} of {devices}",
        "" if passed else "Make more VFs there, or free one.",
    )


def _disks(there: Host, domain: Domain) -> Iterator[Check]:
    for source in domain.node.iterfind("devices/disk/source"):
        path = source.get("file") or source.get("dev")
        if path is None:
            continue
        done = there.run(("test", "-r", path), timeout_sec=_READ_SEC, check=False, root=True)
        passed = done.returncode == 0
        yield Check(
            f"disk {path}",
            passed,
            "is reachable there" if passed else f"cannot be read on {there.label}",
            "" if passed else "Put it on storage that both hosts share.",
        )


def check_devices(vm: TestVM) -> Iterator[Check]:
    """Look for devices of this host's hardware, but for the VF of a team: libvirt unplugs that."""
    # What a network has given to the VM stands in its running XML only.
    for node in Domain.parse(vm.xml()).node.iterfind("devices/*"):
        teaming = node.find("teaming")
        fixed = node.tag == "hostdev" or (node.tag == "interface" and node.get("type") == "hostdev")
        if not fixed or (teaming is not None and teaming.get("type") == "transient"):
            continue
        alias = node.find("alias")
        name = f"device {alias.get('name') if alias is not None else node.tag}"
        driver = _driver(vm.host, node)
        if is_vfio_driver(driver) and driver != _VFIO:
            yield Check(
                name,
                False,
                f"is at its vendor's driver {driver}, which may save its state: QEMU decides",
                "Have a free device of the same kind and firmware there, at the same driver.",
                warns=True,
            )
            continue
        yield Check(
            name,
            False,
            "belongs to this host's hardware; libvirt refuses to migrate it",
            "Unplug it first, or give the VM a virtio card in one team with the VF (<teaming>).",
        )


def _driver(host: Host, node: etree._Element) -> str:
    """Return the driver of a PCI device that the VM has; "" for others, or without one."""
    address = node.find("source/address")
    if address is None or address.get("domain") is None:
        return ""
    domain, bus, slot, function = (
        int(address.get(part, "0"), 16) for part in ("domain", "bus", "slot", "function")
    )
    path = f"/sys/bus/pci/devices/{domain:04x}:{bus:02x}:{slot:02x}.{function:x}/driver"
    done = host.run(("readlink", path), timeout_sec=_READ_SEC, check=False)
    return done.stdout.strip().rpartition("/")[2]


def _name_is_free(vm: TestVM, there: Host) -> Check:
    active = other = False
    with suppress(DomainNotFound):
        domain = libvirt_client.call(there.libvirt.lookupByName, vm.name, host=there.label)
        active = bool(libvirt_client.call(domain.isActive, host=there.label))
        other = domain.UUIDString() != vm.handle.UUIDString()
    if active:
        finding = "runs there already"
    elif other:
        finding = "is the name of another VM there"
    else:
        finding = "does not run there yet"
    taken = active or other
    return Check(
        "name", not taken, f"{vm.name} {finding}", "Rename one of the two." if taken else ""
    )


def _options(host: Host, options: MigrationOptions) -> Iterator[Check]:
    """Look for options that QEMU cannot have at once."""
    if not (options.post_copy and options.parallel):
        return
    version = libvirt_client.call(host.libvirt.getVersion, host=host.label)
    passed = version >= _MULTIFD_IN_POST_COPY
    shown = f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
    yield Check(
        "post-copy over multifd",
        passed,
        f"QEMU is {shown}" if passed else f"is more than QEMU {shown} can do",
        "" if passed else "Leave one of them out: parallel or post_copy.",
    )


def _resolve(*hosts: Host) -> Iterator[Check]:
    """Look each host's own name up on it, as libvirt does in each phase of a migration."""
    script = f'timeout {_RESOLVE_SEC} getent ahosts "$(hostname)" || exit 1'
    for host in hosts:
        done = host.run(("sh", "-c", script), timeout_sec=_READ_SEC, check=False)
        name = libvirt_client.call(host.libvirt.getHostname, host=host.label)
        passed = done.returncode == 0
        yield Check(
            f"name of {host.label}",
            passed,
            f"{name} is resolved there"
            if passed
            else f"{name} is not resolved on itself: libvirt waits for the name server several "
            "times, once while the VM stands still",
            "" if passed else f"Add `127.0.1.1 {name}` to /etc/hosts there.",
            warns=not passed,
        )


def _xml(host: Host, function: Any) -> etree._Element:
    return etree.fromstring(libvirt_client.call(function, host=host.label).encode())
