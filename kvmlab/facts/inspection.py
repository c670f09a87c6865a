"""INSPECT: read a host, in two or three round trips, and write nothing."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from kvmlab.facts.host_facts import HostFacts
from kvmlab.facts.kvm import judge_kvm, needs_boot, parse_boot, parse_parameters
from kvmlab.facts.libvirt import read_libvirt
from kvmlab.facts.machine import (
    MODULES,
    MODULES_PATTERN,
    parse_cpu,
    parse_hugepages,
    parse_identity,
    parse_modules,
    parse_nodes,
    parse_release,
)
from kvmlab.facts.network import read_net
from kvmlab.facts.types import CpuFacts, KernelFacts, KvmFacts, LibvirtFacts, ModuleState
from kvmlab.facts.versions import tool_version
from kvmlab.facts.vfio import parse_vfio_holders
from kvmlab.hosts import Host, parse_files, parse_output, run_script

_PACKAGE: Final = "kvmlab.facts"
_READ_SEC: Final = 60.0
#: A guest that boots at all says so within a second or two; on emulated hosts under load it may
#: take ten times as long.
_BOOT_SEC: Final = 15
_EMULATED_BOOT_SEC: Final = 60


def inspect(host: Host, *, prove_kvm: bool = True) -> HostFacts:
    """Read ``host``.

    Where no guest is running under KVM, a kernel is booted in a QEMU of its own for a second to
    see whether KVM works; ``prove_kvm=False`` leaves that out, and KVM then counts as unusable.

    Raises:
        HostUnreachable, CommandFailed, CommandTimeout: the host cannot be read.
        Unavailable: the host lacks iproute2, without which nothing can be said.
        OutputError: a tool printed something unknown.
    """
    answer = run_script(
        host.runner, _PACKAGE, "read_host.sh", MODULES_PATTERN, *MODULES, timeout_sec=_READ_SEC
    )
    output = parse_output(answer.stdout)
    files = parse_files(output.text("files"))
    identity = parse_identity(output.text("identity"))
    modules = parse_modules(
        loaded=files.get("/proc/modules", ""),
        installed=output.text("installed_modules"),
        present=output.text("present_modules"),
    )
    cpu = parse_cpu(output.text("cpu"), files=files, architecture=identity.architecture)
    nodes = parse_nodes(output.text("nodes"))
    libvirt = read_libvirt(host)
    net = read_net(host, output, files, ssh_connection=identity.ssh_connection)
    versions = output.optional_text("versions")
    return HostFacts(
        label=host.label,
        spec=host.spec,
        host_name=identity.host_name,
        clock=host.clock,
        emulated=host.emulated,
        cable=host.cable,
        cables=host.cables,
        cpu=cpu,
        kvm=_read_kvm(host, nodes, files, cpu, modules, libvirt, prove=prove_kvm),
        kernel=KernelFacts(
            release=identity.kernel,
            distribution=parse_release(files.get("/etc/os-release", "")),
            command_line=files.get("/proc/cmdline", ""),
        ),
        modules=MappingProxyType(modules),
        libvirt=libvirt,
        iommu=net.iommu,
        ports=net.ports,
        links=net.links,
        hugepages=parse_hugepages(files),
        management=net.management,
        carriers=net.carriers,
        default_route_interfaces=net.default_routes,
        unread=net.unread,
        connections=net.connections,
        routes=net.routes,
        wireguard=MappingProxyType(net.wireguard),
        other_functions=MappingProxyType(net.other_functions),
        vfio_holders=parse_vfio_holders(output.optional_text("vfio_holders")),
        nodes=MappingProxyType(nodes),
        cuts=host.cuts,
        iproute2=tool_version(versions, "iproute2"),
        page_bytes=int(page) if (page := tool_version(versions, "page_bytes")).isdecimal() else 0,
    )


def _read_kvm(
    host: Host,
    nodes: dict[str, bool],
    files: dict[str, str],
    cpu: CpuFacts,
    modules: dict[str, ModuleState],
    libvirt: LibvirtFacts,
    *,
    prove: bool,
) -> KvmFacts:
    guests = libvirt.kvm_guests
    boot = None
    if prove and needs_boot(cpu, nodes, guests):
        qemu = libvirt.capabilities.emulator if libvirt.capabilities else ""
        seconds = _EMULATED_BOOT_SEC if host.emulated else _BOOT_SEC
        answer = run_script(
            host.runner,
            _PACKAGE,
            "boot_guest.sh",
            qemu,
            str(seconds),
            timeout_sec=seconds * 2,
            check=False,
            root=not nodes.get("/dev/kvm", False),
        )
        boot = parse_boot(answer.stdout)
    return judge_kvm(
        cpu=cpu,
        modules=modules,
        nodes=nodes,
        parameters=MappingProxyType(parse_parameters(files)),
        guests=guests,
        boot=boot,
    )
