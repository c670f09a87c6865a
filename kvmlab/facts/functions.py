"""From parsed texts to network functions, and whether each can be given to a VM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvmlab.facts.parse_pci import PciTree
from kvmlab.facts.rules import Rule
from kvmlab.facts.types import Handover, IommuFacts, IommuGroup, Link, LinkState, NetFunction

#: Drivers under which a member of a group is no hindrance: vfio's own, and those that never touch
#: the device.
_HARMLESS_DRIVERS: Final = frozenset({"vfio-pci", "pci-stub", "pcieport"})
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
    """Every network function of ``tree``, in the order of addresses.

    ``links`` are those of all namespaces, ``names`` the interfaces that /sys knows in the host's
    own, ``speeds`` by namespace and interface, ``carriers`` the interfaces of the management
    connection.
    """
    group_of = {member: group for group in iommu.groups for member in group.members}
    managing = frozenset(
        address for address, found in names.items() if carriers.intersection(found)
    )
    functions = []
    for address in sorted(address for address, found in classes.items() if found >> 16 == _NETWORK):
        own = _links_of(address, names=names.get(address, ()), links=links)
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
                    address, group=group, tree=tree, classes=classes, managing=managing
                ),
                driver_override=_override(tree.attributes.get(address, {})),
                sriov_offset=tree.number(address, "sriov_offset"),
                sriov_stride=tree.number(address, "sriov_stride"),
                sriov_drivers_autoprobe=_yes(tree.number(address, "sriov_drivers_autoprobe")),
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
) -> Handover:
    """Whether function ``address`` can be given to a VM as things are now.

    A group is viable when each of its other members is a bridge, has no driver, or has vfio's.
    """
    if group is None:
        return Handover(False, "The IOMMU is off, so no device can be isolated.", Rule.IOMMU_OFF)
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
        and tree.drivers.get(member, "vfio-pci") not in _HARMLESS_DRIVERS
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


def _links_of(address: str, *, names: tuple[str, ...], links: tuple[Link, ...]) -> tuple[Link, ...]:
    """The interfaces of a function: by name in the host's own namespace, by device elsewhere."""
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
    written = attributes.get("driver_override", "(null)")
    return written if written not in ("(null)", "") else None


def _reset_methods(attributes: Mapping[str, str]) -> tuple[str, ...] | None:
    """Kernels before 5.15 say only whether there is a way (`reset`), not which."""
    if "reset_method" in attributes:
        return tuple(attributes["reset_method"].split())
    return None if "reset" in attributes else ()
