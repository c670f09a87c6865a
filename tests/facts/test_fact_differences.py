"""Two inspections, compared: what a change took, and that it came back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.errors import UsageError
from kvmlab.facts import HostFacts, ModuleState, differences, inspect
from tests.facts.recorded_host import load


@pytest.fixture(scope="module")
def before(data: Path) -> HostFacts:
    with load(data / "facts" / "embedded.json") as host:
        return inspect(host)


def without(facts: HostFacts, name: str) -> HostFacts:
    """Return the host while a VM has that port."""
    function = replace(facts.port(name), driver="vfio-pci", driver_override="vfio-pci", names=())
    ports = tuple(function if port.address == function.address else port for port in facts.ports)
    return replace(
        facts, ports=ports, links=tuple(link for link in facts.links if link.name != name)
    )


def test_a_port_given_away_is_seen(before: HostFacts) -> None:
    changed = differences(before, without(before, "p1p1"))
    assert changed
    assert [(item.what, item.before, item.after) for item in changed.items] == [
        ("04:00.0 driver", "e1000e", "vfio-pci"),
        ("04:00.0 only driver allowed", "–", "vfio-pci"),
        ("interface p1p1", "up, MTU 1500, 00:1b:21:88:69:dc", "–"),
    ]
    assert "vfio-pci" in str(changed)
    assert "<table" in changed._repr_html_()


def test_a_port_that_came_back_otherwise_is_seen(before: HostFacts) -> None:
    links = tuple(
        replace(link, up=False, mtu=1400, addresses=("198.51.100.9/24",))
        if link.name == "p1p1"
        else link
        for link in before.links
    )
    (item,) = differences(before, replace(before, links=links)).items
    assert item.after == "down, MTU 1400, 00:1b:21:88:69:dc, 198.51.100.9/24"


def test_vfs_drivers_and_modules_are_compared(before: HostFacts) -> None:
    port = before.port("p2p1")
    ports = tuple(
        replace(item, sriov_numvfs=7, driver_override="igb") if item is port else item
        for item in before.ports
    )
    modules = {**before.modules, "vfio_pci": ModuleState.AVAILABLE}
    after = replace(before, ports=ports, modules=modules)
    assert {(item.what, item.after) for item in differences(before, after).items} == {
        ("0b:00.0 only driver allowed", "igb"),
        ("0b:00.0 VFs", "7"),
        ("module vfio_pci", "available"),
    }


def test_nothing_differs_between_a_host_and_itself(before: HostFacts) -> None:
    same = differences(before, before)
    assert not same
    assert repr(same).startswith("Nothing differs.")
    assert "Nothing differs." in same._repr_html_()


def test_two_hosts_are_not_compared(before: HostFacts) -> None:
    with pytest.raises(UsageError, match="two hosts"):
        differences(before, replace(before, spec="qemu:///system"))
