"""Facts for people: one neutral sheet of sections, shown in a terminal or in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.facts.rules import Rule
from kvmlab.facts.types import Handover, KvmProof, LinkState, ModuleState, NetFunction
from kvmlab.language import _
from kvmlab.rendering import plain_text, template

if TYPE_CHECKING:
    from rich.console import Console

    from kvmlab.facts.host_facts import HostFacts

_WIDTH: Final = 118
_NOTHING: Final = "–"
_USUAL_PAGE: Final = 4096
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
    """Return the tables that describe ``facts``, in the order of the article's path."""
    sections = (
        _machine(facts),
        _modules(facts),
        _functions(facts),
        _links(facts),
        _users(facts),
        _groups(facts),
        _hugepages(facts),
    )
    return Sheet(
        title=facts.label,
        note=facts.emulated or "",
        sections=tuple(section for section in sections if section.rows),
    )


def as_text(shown: Sheet) -> str:
    """Return plain text for a terminal, without colours, so that it can be kept and compared."""
    return plain_text(lambda console: _show(shown, console), width=_WIDTH)


def _show(shown: Sheet, console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(_(shown.title), style="bold", markup=False)
    if shown.note:
        console.print(_(shown.note), markup=False)
    for section in shown.sections:
        table = Table(
            title=Text(_(section.title)),
            title_justify="left",
            box=box.SIMPLE_HEAD if section.head else box.SIMPLE,
            show_header=bool(section.head),
            pad_edge=False,
        )
        for number in range(len(section.rows[0])):
            head = section.head[number] if section.head else ""
            table.add_column(Text(_(head)), overflow="fold", no_wrap=head in _WHOLE)
        for row in section.rows:
            table.add_row(*(Text(_(cell.text)) for cell in row))
        console.print(table)
        if section.note:
            console.print(_(section.note), markup=False)


def as_html(shown: Sheet) -> str:
    """Return HTML for a notebook; the template engine escapes every text."""
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
            f"{cpu.model}, {cpu.logical_cpus} logical CPUs{nodes}, {cpu.memory_mib} MiB of memory"
            + (
                f" in pages of {facts.page_bytes >> 10} KiB"
                if facts.page_bytes > _USUAL_PAGE
                else ""
            ),
        ),
        _row(
            "KVM",
            kvm.reason,
            "weak" if kvm.proof is KvmProof.FIRMWARE else "good" if kvm.usable else "bad",
        ),
        _row(
            "Virtualisation",
            _("{extension}; nested: {nested}").format(
                extension=cpu.virtualisation or _("none"), nested=_(nested)
            ),
        ),
        _row("Kernel", f"{facts.kernel.release}, {facts.kernel.distribution}"),
        _row(
            "libvirt",
            libvirt.problem or versions,
            "bad" if libvirt.problem else "",
        ),
        _row(
            "IOMMU",
            _("on ({units}), {count} groups").format(
                units=", ".join(facts.iommu.units) or _("unnamed"), count=len(facts.iommu.groups)
            )
            if facts.iommu.on
            else "off: no device can be handed over",
            "good" if facts.iommu.on else "bad",
        ),
        _row(
            "Management",
            _("{interface}; never touched: {carriers}").format(
                interface=facts.management or _("not found"),
                carriers=", ".join(facts.carriers) or _NOTHING,
            ),
        ),
        _row("Clock", facts.clock.meaning),
    ]
    rows += [_row("Not read", text, "bad") for text in facts.unread]
    rows += [_row("Left behind", text, "bad") for text in facts.leftovers]
    return Section("Machine", tuple(rows))


def _modules(facts: HostFacts) -> Section:
    tones = {ModuleState.MISSING: "weak", ModuleState.LOADED: "good", ModuleState.BUILTIN: "good"}
    by_state = {
        state: [name for name, module_state in facts.modules.items() if module_state is state]
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
        tuple(_function_row(facts, port) for port in facts.ports),
        head=("address", "interface", "driver", "what", "link", "MAC", "VFs", "group", "handover"),
    )


def _function_row(facts: HostFacts, port: NetFunction) -> tuple[Cell, ...]:
    where = f"@{port.netns}" if port.netns else ""
    vfs = _NOTHING
    if port.sriov_totalvfs is not None:
        vfs = _("{count} of {total}").format(
            count=port.sriov_numvfs or 0, total=port.sriov_totalvfs
        )
    elif port.vf_of is not None:
        vfs = _("of {port}").format(port=port.vf_of.removeprefix("0000:"))
    speed = f", {port.speed_mbps / 1000:g} Gbit/s" if port.speed_mbps else ""
    return (
        Cell(port.address.removeprefix("0000:")),
        Cell(", ".join(f"{name}{where}" for name in port.names) or _NOTHING),
        Cell(port.driver or _NOTHING),
        Cell(port.model),
        Cell(f"{_(port.link.value)}{speed}", "good" if port.link is LinkState.UP else "weak"),
        Cell(port.mac or _NOTHING),
        Cell(vfs),
        Cell(str(port.iommu_group) if port.iommu_group is not None else _NOTHING),
        _handover(facts, port),
    )


def _handover(facts: HostFacts, port: NetFunction) -> Cell:
    from kvmlab.facts.interface_users import function_users

    if not port.handover.possible:
        return Cell(_why_not(port.handover), "bad")
    users = function_users(facts, port.address)
    return Cell("no: in use", "bad") if users.in_use else Cell("yes", "good")


def _why_not(handover: Handover) -> str:
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


def _users(facts: HostFacts) -> Section:
    """Return the tree of users of each function and each other hardware interface in use."""
    return Section(
        "Users of ports",
        tuple((Cell(users.name), Cell(users.tree, "tree")) for users in facts.users if users.users),
        head=("port", "used by"),
    )


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


def _size(kib: int) -> str:
    """Return a size in the largest unit that divides it: "64 KiB", "2 MiB", "1 GiB"."""
    for unit, size in (("GiB", 1 << 20), ("MiB", 1 << 10)):
        if kib % size == 0:
            return f"{kib // size} {unit}"
    return f"{kib} KiB"


def _hugepages(facts: HostFacts) -> Section:
    rows = tuple(
        (Cell(_size(pool.size_kib)), Cell(str(pool.total)), Cell(str(pool.free)))
        for pool in facts.hugepages
        if pool.numa_node is None
    )
    return Section("Huge pages", rows, head=("size", "reserved", "free"))
