"""The host's devices as libvirt describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmlab.domain import HostDevice, NodeDevice, NodeTree, node_tree
from kvmlab.domain.interface import alias_for
from kvmlab.errors import OutputError, UsageError
from kvmlab.hosts import Host, HostKind, LocalRunner


def test_a_card(data: Path) -> None:
    """Parse what `virsh nodedev-dumpxml pci_0000_04_00_0` printed on the embedded host."""
    card = NodeDevice.parse((data / "domain" / "nodedev-82574L.xml").read_text())
    assert str(card.address) == "0000:04:00.0"
    assert (card.driver, card.iommu_group, card.vfs_at_most) == ("e1000e", 16, None)
    assert [str(member) for member in card.group_members] == ["0000:04:00.0", "0000:04:00.1"]


def test_from_the_nodedev_to_the_hostdev(data: Path) -> None:
    card = NodeDevice.parse((data / "domain" / "nodedev-82574L.xml").read_text())
    address = '<address domain="0x0000" bus="0x04" slot="0x00" function="0x0"/>'
    assert address in card.hostdev().xml()
    assert 'managed="yes"' in card.hostdev().xml()
    assert 'managed="no"' in card.hostdev(managed=False).xml()
    assert card.address is not None
    named = HostDevice.of(card.address, alias=alias_for("00:1b:21:88:69:dc"))
    assert '<alias name="ua-kvmlab-001b218869dc"/>' in named.xml()


def test_other_devices_have_no_address() -> None:
    loopback = NodeDevice.parse("<device><name>net_lo</name></device>")
    assert loopback.address is None
    with pytest.raises(UsageError, match="net_lo is no PCI function"):
        loopback.hostdev()
    with pytest.raises(OutputError):
        NodeDevice.parse("<domain/>")


def test_a_tree_is_drawn() -> None:
    tree = NodeTree(
        "computer",
        (
            NodeTree("pci_a", (NodeTree("pci_b", (NodeTree("net_b"),)), NodeTree("pci_c"))),
            NodeTree("pci_d"),
        ),
    )
    assert repr(tree) == str(tree), "a notebook shows it drawn"
    assert str(tree).splitlines() == [
        "computer",
        "├─ pci_a",
        "│  ├─ pci_b",
        "│  │  └─ net_b",
        "│  └─ pci_c",
        "└─ pci_d",
    ]
    assert str(tree.with_kinds("net_")).splitlines() == [
        "computer",
        "└─ pci_a",
        "   └─ pci_b",
        "      └─ net_b",
    ]


def test_the_tree_of_libvirts_test_driver() -> None:
    with Host(
        spec="test",
        kind=HostKind.RECORDED,
        label="libvirt's test driver",
        runner=LocalRunner(),
        libvirt_uri="test:///default",
    ) as host:
        assert node_tree(host).name == "computer"
