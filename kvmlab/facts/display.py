"""Facts for people: one neutral sheet of sections, shown in a terminal or in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.facts.rules import Rule
from kvmlab.facts.types import Handover, KvmProof, LinkState, ModuleState, NetFunction
from kvmlab.showing import plain_text, template

if TYPE_CHECKING:
    from rich.console import Console

    from kvmlab.facts.host_facts import HostFacts

_WIDTH: Final = 118
_NOTHING: Final = "–"
#: Columns whose words are no use when they are broken.
_WHOLE: Final = ("address", "interface", "driver", "MAC", "VFs")
_WHY_NOT: Final = {
    Rule.IOMMU_OFF: "no: the IOMMU is off",
    Rule.MANAGEMENT: "no: management connection",
    Rule.NO_RESET: "no: cannot be reset",
}


@dataclass(frozen=True)
class Cell:
    """A text and how it is meant: "good", "bad", "weak" or nothing."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Section:
    """A table under a title; without ``head`` its first column names the rows."""

    title: str
    rows: tuple[tuple[Cell, ...], ...]
    head: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """All that is shown of a host."""

    title: str
    note: str
    sections: tuple[Section, ...]


def sheet(facts: HostFacts) -> Sheet:
    """What of ``facts`` a reader wants to see, in the order of the article's path."""
    sections = (
        _machine(facts),
        _modules(facts),
        _functions(facts),
        _links(facts),
        _groups(facts),
        _hugepages(facts),
    )
    return Sheet(
        title=facts.label,
        note=facts.emulated or "",
        sections=tuple(section for section in sections if section.rows),
    )


def as_text(shown: Sheet) -> str:
    """For a terminal, without colours, so that it can be kept and compared."""
    return plain_text(lambda console: _show(shown, console), width=_WIDTH)


def _show(shown: Sheet, console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(shown.title, style="bold", markup=False)
    if shown.note:
        console.print(shown.note, markup=False)
    for section in shown.sections:
        table = Table(
            title=Text(section.title),
            title_justify="left",
            box=box.SIMPLE_HEAD if section.head else box.SIMPLE,
            show_header=bool(section.head),
            pad_edge=False,
        )
        for number in range(len(section.rows[0])):
            head = section.head[number] if section.head else ""
            table.add_column(Text(head), overflow="fold", no_wrap=head in _WHOLE)
        for row in section.rows:
            table.add_row(*(Text(cell.text) for cell in row))
        console.print(table)
        if section.note:
            console.print(section.note, markup=False)


def as_html(shown: Sheet) -> str:
    """For a notebook; every text is escaped by the template engine."""
    return template("kvmlab.facts", "facts.html.j2").render(sheet=shown)


def _row(name: str, text: str, tone: str = "") -> tuple[Cell, ...]:
    return (Cell(name), Cell(text, tone))


def _machine(facts: HostFacts) -> Section:
    cpu, kvm, libvirt = facts.cpu, facts.kvm, facts.libvirt
    nodes = f", {cpu.numa_nodes} NUMA nodes" if cpu.numa_nodes > 1 else ""
    versions = f"libvirt {libvirt.version}, QEMU {libvirt.qemu_version}"
    nested = {None: "unknown", True: "yes", False: "no"}[kvm.nested]
    rows = [
        _row(
            "CPU",
            f"{cpu.model}, {cpu.logical_cpus} logical CPUs{nodes}, {cpu.memory_mib} MiB of memory",
        ),
        _row(
            "KVM",
            kvm.reason,
            "weak" if kvm.proof is KvmProof.FIRMWARE else "good" if kvm.usable else "bad",
        ),
        _row("Virtualisation", f"{cpu.virtualisation or 'none'}; nested: {nested}"),
        _row("Kernel", f"{facts.kernel.release}, {facts.kernel.distribution}"),
        _row(
            "libvirt",
            libvirt.problem or versions,
            "bad" if libvirt.problem else "",
        ),
        _row(
            "IOMMU",
            f"on ({', '.join(facts.iommu.units) or 'unnamed'}), {len(facts.iommu.groups)} groups"
            if facts.iommu.on
            else "off: no device can be handed over",
            "good" if facts.iommu.on else "bad",
        ),
        _row(
            "Management",
            f"{facts.management or 'not found'}; never touched: "
            f"{', '.join(facts.carriers) or _NOTHING}",
        ),
        _row("Clock", facts.clock.meaning),
    ]
    rows += [_row("Not read", text, "bad") for text in facts.unread]
    rows += [_row("Left behind", text, "bad") for text in facts.leftovers]
    return Section("Machine", tuple(rows))


def _modules(facts: HostFacts) -> Section:
    tones = {ModuleState.MISSING: "weak", ModuleState.LOADED: "good", ModuleState.BUILTIN: "good"}
    by_state = {
        state: [name for name, found in facts.modules.items() if found is state]
        for state in ModuleState
    }
    return Section(
        "Kernel modules",
        tuple(
            _row(state.value, ", ".join(names), tones.get(state, ""))
            for state, names in by_state.items()
            if names
        ),
    )


def _functions(facts: HostFacts) -> Section:
    return Section(
        "Network functions on the PCI bus",
        tuple(_function_row(port) for port in facts.ports),
        head=("address", "interface", "driver", "what", "link", "MAC", "VFs", "group", "handover"),
    )


def _function_row(port: NetFunction) -> tuple[Cell, ...]:
    where = f"@{port.netns}" if port.netns else ""
    vfs = _NOTHING
    if port.sriov_totalvfs is not None:
        vfs = f"{port.sriov_numvfs or 0} of {port.sriov_totalvfs}"
    elif port.vf_of is not None:
        vfs = f"of {port.vf_of.removeprefix('0000:')}"
    speed = f", {port.speed_mbps / 1000:g} Gbit/s" if port.speed_mbps else ""
    return (
        Cell(port.address.removeprefix("0000:")),
        Cell(", ".join(f"{name}{where}" for name in port.names) or _NOTHING),
        Cell(port.driver or _NOTHING),
        Cell(port.model),
        Cell(f"{port.link.value}{speed}", "good" if port.link is LinkState.UP else "weak"),
        Cell(port.mac or _NOTHING),
        Cell(vfs),
        Cell(str(port.iommu_group) if port.iommu_group is not None else _NOTHING),
        Cell(
            _handover(port.handover),
            "good" if port.handover.possible else "bad",
        ),
    )


def _handover(handover: Handover) -> str:
    if handover.possible:
        return "yes"
    if handover.rule is Rule.GROUP_NOT_VIABLE:
        others = (address.removeprefix("0000:") for address in handover.in_the_way)
        return f"only with {', '.join(others)}"
    return _WHY_NOT.get(handover.rule, "no") if handover.rule else "no"


def _links(facts: HostFacts) -> Section:
    rows = tuple(
        (
            Cell(link.name + (f"@{link.netns}" if link.netns else "")),
            Cell(" ".join(word for word in (link.kind, link.detail) if word) or _NOTHING),
            Cell(
                "up" if link.up and link.carrier else "no carrier" if link.up else "down",
                "good" if link.up and link.carrier else "weak",
            ),
            Cell(link.master or link.parent or _NOTHING),
            Cell(", ".join(link.addresses) or _NOTHING),
        )
        for link in facts.links
        if not link.loopback
    )
    return Section("Interfaces", rows, head=("name", "kind", "state", "belongs to", "addresses"))


def _groups(facts: HostFacts) -> Section:
    ports = {port.address: port for port in facts.ports}
    rows = tuple(
        (Cell(str(group.number)), Cell(", ".join(group.members)))
        for group in facts.iommu.groups
        if len(group.members) > 1 and ports.keys() & set(group.members)
    )
    return Section(
        "IOMMU groups with more than one device",
        rows,
        head=("group", "members, which can only be handed over together"),
    )


def _hugepages(facts: HostFacts) -> Section:
    rows = tuple(
        (Cell(f"{pool.size_kib // 1024} MiB"), Cell(str(pool.total)), Cell(str(pool.free)))
        for pool in facts.hugepages
        if pool.numa_node is None
    )
    return Section("Huge pages", rows, head=("size", "reserved", "free"))
