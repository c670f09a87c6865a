"""From parsed texts to network functions, and whether each can be given to a VM."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kvmlab.facts.pci import PciTree
from kvmlab.facts.rules import Rule
from kvmlab.facts.types import Handover, IommuFacts, IommuGroup, Link, LinkState, NetFunction
from kvmlab.facts.vfio import is_vfio_driver

#: Drivers that never touch their device, under which a member of a group is no hindrance.
_HARMLESS_DRIVERS: Final = frozenset({"pci-stub", "pcieport"})
#: Port names of the representors of VFs, PFs and subfunctions: "pf0vf1", "c1pf0", "pf0sf88".
_REPRESENTOR: Final = re.compile(r"(?:c\d+)?pf\d+(?:vf\d+|sf\d+)?|vf\d+")
#: Network controllers.
_NETWORK: Final = 0x02
#: PCI and CardBus bridges; what else calls itself a bridge (ISA) is a device like others here.
_BRIDGE_CLASSES: Final = frozenset({0x0604, 0x0607})


def network_functions(
    *,
    tree: PciTree,
    names: Mapping[str, tuple[str, ...]],
    descriptions: Mapping[str, str],
    links: tuple[Link, ...],
    speeds: Mapping[tuple[str | None, str], int],
    iommu: IommuFacts,
    classes: Mapping[str, int],
    carriers: frozenset[str],
) -> tuple[NetFunction, ...]:
    """Return every network function of ``tree``, in the order of addresses.

    ``links`` are those of all namespaces, ``names`` the interfaces that /sys knows in the host's
    own, ``speeds`` by namespace and interface, ``carriers`` the interfaces of the management
    connection.
    """
    group_of = {member: group for group in iommu.groups for member in group.members}
    managing = frozenset(
        address for address, value in names.items() if carriers.intersection(value)
    )
    functions = []
    for address in sorted(address for address, value in classes.items() if value >> 16 == _NETWORK):
        behind = _links_of(address, names=names.get(address, ()), links=links)
        own = tuple(link for link in behind if not is_representor(link))
        first = own[0] if own else None
        group = group_of.get(address)
        settings = first.vfs if first else ()
        functions.append(
            NetFunction(
                address=address,
                vendor_id=tree.attributes[address].get("vendor", ""),
                device_id=tree.attributes[address].get("device", ""),
                description=descriptions.get(address, ""),
                driver=tree.drivers.get(address),
                names=tuple(link.name for link in own),
                netns=first.netns if first else None,
                mac=first.mac if first else None,
                link=_state(first),
                speed_mbps=speeds.get((first.netns, first.name)) if first else None,
                numa_node=_numa_node(tree, address),
                vf_of=tree.physical.get(address),
                vfs=tree.virtual.get(address, ()),
                vf_settings=settings,
                sriov_totalvfs=tree.number(address, "sriov_totalvfs"),
                sriov_numvfs=tree.number(address, "sriov_numvfs"),
                iommu_group=group.number if group else None,
                reset_methods=_reset_methods(tree.attributes[address]),
                handover=judge_handover(
                    address,
                    group=group,
                    tree=tree,
                    classes=classes,
                    managing=managing,
                    iommu_on=iommu.on,
                ),
                driver_override=_override(tree.attributes.get(address, {})),
                sriov_offset=tree.number(address, "sriov_offset"),
                sriov_stride=tree.number(address, "sriov_stride"),
                sriov_drivers_autoprobe=_yes(tree.number(address, "sriov_drivers_autoprobe")),
                representors=tuple(link.name for link in behind if is_representor(link)),
                pci_class=f"0x{classes[address]:06x}",
            )
        )
    return tuple(functions)


def judge_handover(
    address: str,
    *,
    group: IommuGroup | None,
    tree: PciTree,
    classes: Mapping[str, int],
    managing: frozenset[str],
    iommu_on: bool = False,
) -> Handover:
    """Judge whether function ``address`` can be given to a VM as things are now.

    A group is viable when each of its other members is a bridge, has no driver, or has vfio's.
    """
    if group is None or not group.isolates:
        rule = Rule.GROUP_NOT_VIABLE if iommu_on else Rule.IOMMU_OFF
        return Handover(False, _no_group(group, iommu_on), rule)
    cut = sorted(managing.intersection(group.members))
    if cut:
        return Handover(
            False,
            f"It carries the management connection ({', '.join(cut)} in group {group.number}).",
            Rule.MANAGEMENT,
            tuple(member for member in cut if member != address),
        )
    in_the_way = tuple(
        member
        for member in group.members
        if member != address
        and classes.get(member, 0) >> 8 not in _BRIDGE_CLASSES
        and not _is_harmless(tree.drivers.get(member))
    )
    if in_the_way:
        holders = ", ".join(f"{member} ({tree.drivers[member]})" for member in in_the_way)
        return Handover(
            False,
            f"IOMMU group {group.number} is shared with {holders}: hand all of them over together.",
            Rule.GROUP_NOT_VIABLE,
            in_the_way,
        )
    methods = _reset_methods(tree.attributes.get(address, {}))
    if methods == ():
        return Handover(
            False, "The kernel has no way to reset it between two users.", Rule.NO_RESET
        )
    return Handover(True, f"IOMMU group {group.number} is its own.")


def is_representor(link: Link) -> bool:
    """Return whether ``link`` is a port of the switch inside a card and no NIC of its own."""
    return bool(link.switch_id) and _REPRESENTOR.fullmatch(link.phys_port_name) is not None


def _is_harmless(driver: str | None) -> bool:
    return driver is None or driver in _HARMLESS_DRIVERS or is_vfio_driver(driver)


def _no_group(group: IommuGroup | None, iommu_on: bool) -> str:
    if group is not None:
        return "Its group was made without an IOMMU (vfio-noiommu), and isolates nothing."
    if iommu_on:
        return (
            "It is in no IOMMU group, although other devices are: the firmware does not list it "
            "under any IOMMU."
        )
    return "The IOMMU is off, so no device can be isolated."


def _links_of(address: str, *, names: tuple[str, ...], links: tuple[Link, ...]) -> tuple[Link, ...]:
    """Return a function's interfaces: by name in the host's own namespace, by device elsewhere."""
    return tuple(
        link
        for link in links
        if (link.netns is None and link.name in names)
        or (link.netns is not None and link.device == address)
    )


def _state(link: Link | None) -> LinkState:
    if link is None:
        return LinkState.UNKNOWN
    if not link.up:
        return LinkState.DOWN
    return LinkState.UP if link.carrier else LinkState.NO_CARRIER


def _numa_node(tree: PciTree, address: str) -> int | None:
    node = tree.number(address, "numa_node")
    return node if node is not None and node >= 0 else None


def _yes(number: int | None) -> bool | None:
    return None if number is None else number != 0


def _override(attributes: Mapping[str, str]) -> str | None:
    override = attributes.get("driver_override", "(null)")
    return override if override not in ("(null)", "") else None


def _reset_methods(attributes: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the reset methods; None where a kernel before 5.15 says only that there is one."""
    if "reset_method" in attributes:
        return tuple(attributes["reset_method"].split())
    return None if "reset" in attributes else ()
