"""INSPECT: read a host, in two or three round trips, and write nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from kvmlab.errors import HostRefused, OutputError, Unavailable
from kvmlab.facts.functions import network_functions
from kvmlab.facts.host_facts import HostFacts
from kvmlab.facts.kvm import judge_kvm, needs_boot, parse_boot, parse_parameters
from kvmlab.facts.management import find_management
from kvmlab.facts.parse_host import (
    MODULES,
    parse_cpu,
    parse_hugepages,
    parse_identity,
    parse_modules,
    parse_nodes,
    parse_release,
)
from kvmlab.facts.parse_net import parse_links, parse_routes, parse_speeds
from kvmlab.facts.parse_pci import (
    parse_classes,
    parse_descriptions,
    parse_groups,
    parse_names,
    parse_pci_tree,
    parse_virtio,
)
from kvmlab.facts.read_libvirt import read_libvirt
from kvmlab.facts.rules import Rule
from kvmlab.facts.sections import Sections, parse_sections
from kvmlab.facts.types import (
    CpuFacts,
    IommuFacts,
    KernelFacts,
    KvmFacts,
    LibvirtFacts,
    Link,
    ModuleState,
    NetFunction,
)
from kvmlab.hosts import Host, run_script
from kvmlab.hosts.reading import parse_links as parse_symlinks
from kvmlab.hosts.reading import parse_tree

_PACKAGE: Final = "kvmlab.facts"
_READ_SEC: Final = 60.0
#: A guest that boots at all says so within a second or two; on emulated hosts under load it may
#: take ten times as long.
_BOOT_SEC: Final = 15
_EMULATED_BOOT_SEC: Final = 60
_COMMAND_NOT_FOUND: Final = 127


def inspect(host: Host, *, prove_kvm: bool = True) -> HostFacts:
    """Read ``host``.

    Where no guest is running under KVM, a kernel is booted in a QEMU of its own for a second to
    see whether KVM works; ``prove_kvm=False`` leaves that out, and KVM then counts as unusable.

    Raises:
        HostUnreachable, CommandFailed, CommandTimeout: the host cannot be read.
        Unavailable: the host lacks iproute2, without which nothing can be said.
        OutputError: a tool printed something unknown.
    """
    answer = run_script(host.runner, _PACKAGE, "read_host.sh", *MODULES, timeout_sec=_READ_SEC)
    sections = parse_sections(answer.stdout)
    identity = parse_identity(sections.text("identity"))
    modules = parse_modules(
        loaded=sections.text("loaded_modules"),
        installed=sections.text("installed_modules"),
        present=sections.text("present_modules"),
    )
    cpu = parse_cpu(
        sections.text("cpu"),
        memory=sections.text("memory"),
        counts=parse_tree(sections.text("counts")),
        architecture=identity.get("architecture", ""),
    )
    libvirt = read_libvirt(host)
    net = _read_net(host, sections, ssh_connection=identity.get("ssh_connection", ""))
    return HostFacts(
        label=host.label,
        spec=host.spec,
        host_name=identity.get("host_name", ""),
        clock=host.clock,
        emulated=host.emulated,
        wire=host.wire,
        cpu=cpu,
        kvm=_read_kvm(host, sections, cpu, modules, libvirt, prove=prove_kvm),
        kernel=KernelFacts(
            release=identity.get("kernel", ""),
            distribution=parse_release(sections.text("release")),
            command_line=parse_tree(sections.text("counts")).get("/proc/cmdline", ""),
        ),
        modules=MappingProxyType(modules),
        libvirt=libvirt,
        iommu=net.iommu,
        ports=net.ports,
        links=net.links,
        hugepages=parse_hugepages(parse_tree(sections.text("hugepages"))),
        management=net.management,
        carriers=net.carriers,
        default_route_interfaces=net.default_routes,
        unread=net.unread,
    )


@dataclass(frozen=True)
class _Net:
    iommu: IommuFacts
    ports: tuple[NetFunction, ...]
    links: tuple[Link, ...]
    management: str | None
    carriers: tuple[str, ...]
    default_routes: tuple[str, ...]
    unread: tuple[str, ...]


def _read_net(host: Host, sections: Sections, *, ssh_connection: str) -> _Net:
    if sections.code("addresses") == _COMMAND_NOT_FOUND:
        raise Unavailable(
            f"{host.label} has no `ip` command.",
            rule=Rule.IPROUTE_MISSING,
            todo="Install iproute2 there.",
        )
    speeds: dict[tuple[str | None, str], int] = {
        (None, name): speed
        for name, speed in parse_speeds(parse_tree(sections.text("speeds"))).items()
    }
    elsewhere, their_speeds, unread = _read_namespaces(host, sections.text("namespaces").split())
    speeds.update(their_speeds)
    behind = parse_virtio(sections.text("virtio_devices"))
    links = tuple(
        replace(link, device=behind.get(link.device, link.device)) if link.device else link
        for link in (*parse_links(sections.text("addresses")), *elsewhere)
    )
    default_routes = tuple(
        dict.fromkeys(
            (
                *parse_routes(sections.text("default_routes")),
                *parse_routes(sections.text("default_routes6")),
            )
        )
    )
    management = find_management(
        links=links,
        ssh_connection=ssh_connection,
        route_to_peer=parse_routes(sections.text("route_to_peer")),
        default_routes=default_routes,
    )
    iommu = IommuFacts(
        units=tuple(line.rpartition("/")[2] for line in sections.text("iommu").split("\n") if line),
        groups=parse_groups(sections.text("groups")),
    )
    ports = network_functions(
        tree=parse_pci_tree(
            parse_tree(sections.text("functions")),
            parse_symlinks(sections.text("function_links")),
        ),
        names=parse_names(sections.text("function_names")),
        descriptions=parse_descriptions(sections.text("descriptions")),
        links=links,
        speeds=speeds,
        iommu=iommu,
        classes=parse_classes(parse_tree(sections.text("classes"))),
        carriers=frozenset(management.carriers),
    )
    return _Net(
        iommu, ports, links, management.interface, management.carriers, default_routes, unread
    )


def _read_namespaces(
    host: Host, names: list[str]
) -> tuple[tuple[Link, ...], dict[tuple[str | None, str], int], tuple[str, ...]]:
    """Interfaces in network namespaces; only root may look there."""
    if not names:
        return (), {}, ()
    try:
        answer = run_script(
            host.runner, _PACKAGE, "read_namespaces.sh", *names, timeout_sec=_READ_SEC, root=True
        )
    except HostRefused as error:
        return (), {}, (f"Network namespaces ({', '.join(names)}): {error.message}",)
    sections = parse_sections(answer.stdout)
    links: list[Link] = []
    speeds: dict[tuple[str | None, str], int] = {}
    unread = []
    for name in names:
        try:
            links += parse_links(sections.text(f"addresses {name}"), netns=name)
        except OutputError as error:
            unread.append(f"Network namespace {name}: {error.message}")
            continue
        found = parse_speeds(parse_tree(sections.text(f"speeds {name}")))
        speeds.update({(name, link): speed for link, speed in found.items()})
    return tuple(links), speeds, tuple(unread)


def _read_kvm(
    host: Host,
    sections: Sections,
    cpu: CpuFacts,
    modules: dict[str, ModuleState],
    libvirt: LibvirtFacts,
    *,
    prove: bool,
) -> KvmFacts:
    nodes = parse_nodes(sections.text("nodes"))
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
        parameters=MappingProxyType(parse_parameters(parse_tree(sections.text("kvm_parameters")))),
        guests=guests,
        boot=boot,
    )
