"""Parsers of what /sys and lspci say about PCI functions and IOMMU groups."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kvmlab.errors import OutputError
from kvmlab.facts.types import IommuGroup

ADDRESS: Final = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"
_ATTRIBUTE: Final = re.compile(rf"/sys/bus/pci/devices/({ADDRESS})/([^/]+)")
_MEMBER: Final = re.compile(rf"/sys/kernel/iommu_groups/(\d+)/devices/({ADDRESS})")
_GROUP_NAME: Final = re.compile(r"/sys/kernel/iommu_groups/(\d+)/name")
_NAME: Final = re.compile(rf"/sys/bus/pci/devices/({ADDRESS})/(?:virtio\d+/)?net/([^/]+)")
_VIRTIO: Final = re.compile(rf"/sys/bus/pci/devices/({ADDRESS})/(virtio\d+)")


@dataclass(frozen=True)
class PciTree:
    """The files and links of PCI functions, by address and name."""

    attributes: Mapping[str, Mapping[str, str]]
    drivers: Mapping[str, str]
    physical: Mapping[str, str]
    virtual: Mapping[str, tuple[str, ...]]

    def number(self, address: str, name: str) -> int | None:
        """Return an attribute that is a number; None where the function has none.

        Raises:
            OutputError: it is there and no number.
        """
        value = self.attributes.get(address, {}).get(name)
        if value is None:
            return None
        if not re.fullmatch(r"-?\d+", value, re.ASCII):
            raise OutputError(f"{name} of {address} is no number.", evidence=value[:400])
        return int(value)


def parse_pci_tree(files: Mapping[str, str], links: Mapping[str, str]) -> PciTree:
    r"""Parse functions from their files and links.

    ::

    /sys/bus/pci/devices/0000:0b:00.0/sriov_totalvfs\07
    /sys/bus/pci/devices/0000:0b:00.0/driver\0../../../../bus/pci/drivers/igb
    /sys/bus/pci/devices/0000:0b:10.0/physfn\0../0000:0b:00.0
    /sys/bus/pci/devices/0000:0b:00.0/virtfn0\0../0000:0b:10.0
    """
    attributes: dict[str, dict[str, str]] = {}
    for path, value in files.items():
        if (match := _ATTRIBUTE.fullmatch(path)) is not None:
            attributes.setdefault(match[1], {})[match[2]] = value
    drivers: dict[str, str] = {}
    physical: dict[str, str] = {}
    virtual: dict[str, list[tuple[int, str]]] = {}
    for path, goal in links.items():
        match = _ATTRIBUTE.fullmatch(path)
        if match is None:
            continue
        address, name = match[1], match[2]
        last = goal.rpartition("/")[2]
        if name == "driver":
            drivers[address] = last
        elif name == "physfn":
            physical[address] = last
        elif (number := re.fullmatch(r"virtfn(\d+)", name, re.ASCII)) is not None:
            virtual.setdefault(address, []).append((int(number[1]), last))
    return PciTree(
        attributes=attributes,
        drivers=drivers,
        physical=physical,
        virtual={pf: tuple(vf for _, vf in sorted(vfs)) for pf, vfs in virtual.items()},
    )


def parse_classes(tree: PciTree) -> dict[str, int]:
    """Return the class of every PCI function, ``{"0000:00:10.0": 0x060400}``.

    Raises:
        OutputError: a class is no number.
    """
    classes = {}
    for address, attributes in tree.attributes.items():
        value = attributes.get("class", "")
        if not re.fullmatch(r"0x[0-9a-f]{1,6}", value):
            raise OutputError(f"The class of {address} could not be read.", evidence=value[:400])
        classes[address] = int(value, 16)
    return classes


def parse_group_names(files: Mapping[str, str]) -> dict[int, str]:
    """Return the names of groups, ``{0: "vfio-noiommu"}``, from /sys/kernel/iommu_groups/N/name."""
    matches = ((_GROUP_NAME.fullmatch(path), name) for path, name in files.items())
    return {int(match[1]): name for match, name in matches if match is not None}


def count_other_groups(text: str) -> int:
    """Count the groups that hold no PCI device."""
    paths = [line.split("/") for line in _lines(text)]
    members: dict[str, list[str]] = {}
    for path in paths:
        if len(path) == 7:
            members.setdefault(path[4], []).append(path[6])
    return sum(
        not any(re.fullmatch(ADDRESS, member) for member in group) for group in members.values()
    )


def parse_groups(text: str, *, names: Mapping[int, str] | None = None) -> tuple[IommuGroup, ...]:
    """Parse IOMMU groups from the paths of their members.

    ::

        /sys/kernel/iommu_groups/15/devices/0000:04:00.0
        /sys/kernel/iommu_groups/15/devices/0000:04:00.1

    Raises:
        OutputError: a line is no such path.
    """
    groups: dict[int, list[str]] = {}
    for line in _lines(text):
        match = _MEMBER.fullmatch(line)
        if match is None:
            # Groups of devices that are not on a PCI bus exist, too.
            if line.startswith("/sys/kernel/iommu_groups/") and line.count("/") == 6:
                continue
            raise OutputError("An IOMMU group could not be understood.", evidence=line[:400])
        groups.setdefault(int(match[1]), []).append(match[2])
    return tuple(
        IommuGroup(number, tuple(sorted(members)), (names or {}).get(number, ""))
        for number, members in sorted(groups.items())
    )


def parse_names(text: str) -> dict[str, tuple[str, ...]]:
    """Parse interfaces by function, in the namespace of the reader.

    ::

    /sys/bus/pci/devices/0000:0b:00.0/net/p2p1
    /sys/bus/pci/devices/0000:00:01.0/virtio0/net/mgmt0
    """
    names: dict[str, list[str]] = {}
    for line in _lines(text):
        if (match := _NAME.fullmatch(line)) is not None:
            names.setdefault(match[1], []).append(match[2])
    return {address: tuple(match) for address, match in names.items()}


def parse_virtio(text: str) -> dict[str, str]:
    """Return the PCI function behind each virtio device: ``{"virtio0": "0000:00:01.0"}``.

    ::

        /sys/bus/pci/devices/0000:00:01.0/virtio0
    """
    matches: Iterable[re.Match[str] | None] = (_VIRTIO.fullmatch(line) for line in _lines(text))
    return {match[2]: match[1] for match in matches if match is not None}


def parse_descriptions(text: str) -> dict[str, str]:
    """Parse lspci's name of each function.

    ::

        0000:0b:00.0 "Ethernet controller [0200]" "Intel Corporation [8086]" "82576 Gigabit
            Network Connection [10c9]" -r01 -p00 "Red Hat, Inc. [1af4]" "Device [1100]"

    (one line a function).

    Raises:
        OutputError: a line is no such record.
    """
    descriptions = {}
    for line in _lines(text):
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise OutputError("lspci could not be understood.", evidence=line) from error
        if len(words) < 4 or not re.fullmatch(ADDRESS, words[0]):
            raise OutputError("lspci could not be understood.", evidence=line)
        vendor, device = (re.sub(r" \[[0-9a-f]{4}\]$", "", word) for word in words[2:4])
        descriptions[words[0]] = f"{vendor} {device}"
    return descriptions


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]
