"""Users of interfaces and functions, on layouts that people have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kvmlab.changes import Command, HostStep, Setting, check, protected_interfaces
from kvmlab.facts import Rule
from kvmlab.facts.interface_users import InterfaceUsers, function_users, interface_users
from kvmlab.facts.management import find_management
from tests.advice import builders
from tests.facts.host_builder import Layout

FUNCTIONS: dict[str, Any] = {
    "01:00.0": {"names": ["eno1"], "driver": "igb", "group": 1},
    "02:00.0": {"names": ["ens1f0"], "driver": "i40e", "group": 20},
}
EMPTY: dict[str, Any] = {"eno1": {"management": True}, "ens1f0": {}}


def layout(links: dict[str, Any], **more: Any) -> Layout:
    return Layout({"functions": FUNCTIONS, "links": {**EMPTY, **links}, **more})


def names(users: InterfaceUsers) -> set[str]:
    return {part.name for user in users.users for part in user.walk()}


VM = (
    "<domain type='kvm'><name>web1</name><devices><interface type='{}'>{}</interface></devices>"
    "</domain>"
)
TUNNEL = {"kind": "vxlan", "id": 7, "remote": "203.0.113.9"}
ROUTES = {"default": "eno1", "203.0.113.0/24": "ens1f0"}


@pytest.mark.parametrize(
    ("links", "more", "users"),
    [
        ({}, {}, set()),
        ({"ens1f0.7": {"kind": "vlan", "over": "ens1f0", "id": 7}}, {}, {"ens1f0.7"}),
        ({"mv0": {"kind": "macvlan", "over": "ens1f0", "mode": "bridge"}}, {}, {"mv0"}),
        ({"ipvl0": {"kind": "ipvlan", "over": "ens1f0"}}, {}, {"ipvl0"}),
        ({"macsec0": {"kind": "macsec", "over": "ens1f0"}}, {}, {"macsec0"}),
        ({"vxlan7": {**TUNNEL, "over": "ens1f0"}}, {}, {"vxlan7"}),
        ({"vxlan7": TUNNEL}, {"routes": ROUTES}, {"vxlan7", "203.0.113.0/24"}),
        (
            {"gre1": {"kind": "gre", "remote": "203.0.113.9"}},
            {"routes": ROUTES},
            {"gre1", "203.0.113.0/24"},
        ),
        (
            {"wg0": {"kind": "wireguard", "addresses": ["10.9.0.1/24"]}},
            {"routes": ROUTES, "host": {"wireguard": "wg0\tKEY=\t203.0.113.9:51820"}},
            {"wg0", "10.9.0.1/24", "203.0.113.0/24"},
        ),
        ({"ens1f0": {"xdp": True}}, {}, {"XDP program"}),
        ({"ens1f0": {"addresses": ["198.51.100.7/24"]}}, {}, {"198.51.100.7/24"}),
        ({"ens1f0": {"addresses": ["fe80::7/64"]}}, {}, set()),
        (
            {"ens1f0": {"master": "team0"}, "team0": {"kind": "team"}},
            {},
            {"team0"},
        ),
        (
            {
                "mv0": {"kind": "macvlan", "netns": "box", "over": "ens1f0"},
            },
            {},
            {"mv0"},
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_is_built_on_an_interface_uses_it(
    links: dict[str, Any], more: dict[str, Any], users: set[str]
) -> None:
    users_of_port = interface_users(layout(links, **more).facts, "ens1f0")
    assert names(users_of_port) == users
    assert users_of_port.in_use == bool(users)
    assert all(name in str(users_of_port) for name in users)


def test_a_macvtap_is_named_with_its_vm() -> None:
    inside = "<source dev='ens1f0' mode='bridge'/><target dev='macvtap0'/>"
    one = layout(
        {"macvtap0": {"kind": "macvtap", "over": "ens1f0", "mode": "bridge"}},
        vms=[VM.format("direct", inside)],
    )
    users = interface_users(one.facts, "ens1f0")
    assert users.vms == ("web1",)
    assert "macvtap0 (macvtap on it of VM web1)" in users.reason


def test_the_labs_own_bridge_is_no_foreign_user() -> None:
    bridge = {"kind": "bridge", "mac": "02:6b:76:6d:6c:00"}
    links = {"ens1f0": {"master": "kvmlab0"}, "vnet0": {"kind": "tap", "master": "kvmlab0"}}
    assert not interface_users(layout({**links, "kvmlab0": bridge}).facts, "ens1f0").in_use
    other = {"kind": "bridge", "mac": "02:00:00:6d:6c:00"}
    assert interface_users(layout({**links, "kvmlab0": other}).facts, "ens1f0").in_use


@pytest.mark.parametrize(
    ("driver", "holders", "words"),
    [
        ("vfio-pci", "complete\n/dev/vfio/20 4711 dpdk-testpmd", "dpdk-testpmd (process 4711)"),
        ("mlx5_vfio_pci", "/dev/vfio/20 4711 qemu-system-x86", "qemu-system-x86"),
        ("vfio-pci", "complete", "was not found"),
        ("uio_pci_generic", "complete", "was not found"),
        ("i40e", "complete", "another namespace or container"),
    ],
)
def test_a_function_without_an_interface_has_a_holder(
    driver: str, holders: str, words: str
) -> None:
    functions = {**FUNCTIONS, "02:00.0": {"driver": driver, "group": 20}}
    one = Layout(
        {
            "functions": functions,
            "links": {"eno1": {"management": True}},
            "host": {"vfio_holders": holders},
        }
    )
    assert words in function_users(one.facts, "0000:02:00.0").reason


STEP = HostStep("Touch.", Setting("/sys/x", None, "1"), (Command(("true",)),), ())


def refused(one: Layout, name: str) -> set[str]:
    from dataclasses import replace

    return {refusal.rule for refusal in check([replace(STEP, touches=(name,))], one.facts)}


@pytest.mark.parametrize(
    ("links", "more"),
    [
        # The ssh address on a dummy interface: packets come and go by the route to the peer.
        (
            {
                "eno1": {"addresses": ["203.0.113.5/24"]},
                "dummy0": {"kind": "dummy", "management": True},
            },
            {"route_to_peer": "ens1f0", "routes": {"default": "eno1"}},
        ),
        # Answers leave by another interface than that by which questions come.
        ({}, {"route_to_peer": "ens1f0"}),
        # Two next hops to the client.
        ({}, {"routes": {"default": "eno1", "192.0.2.200/32": ["eno1", "ens1f0"]}}),
        # Management inside a VXLAN without `dev`, whose outer packets take ens1f0.
        (
            {
                "eno1": {},
                "vxlan7": {**TUNNEL, "management": True},
            },
            {"routes": {"203.0.113.0/24": "ens1f0"}},
        ),
        # A WireGuard whose endpoints nobody could read: any addressed interface may carry it.
        (
            {
                "eno1": {},
                "ens1f0": {"addresses": ["203.0.113.5/24"]},
                "wg0": {"kind": "wireguard", "management": True},
            },
            {"routes": {}},
        ),
        # A bridge over a VLAN over a bond, and a macvlan of the host on that.
        (
            {
                "eno1": {},
                "ens1f0": {"master": "bond0"},
                "bond0": {"kind": "bond", "mode": "802.3ad"},
                "bond0.5": {"kind": "vlan", "over": "bond0", "id": 5, "master": "br0"},
                "br0": {"kind": "bridge"},
                "mv0": {"kind": "macvlan", "over": "br0", "management": True},
            },
            {},
        ),
        # Open vSwitch: the address is on its internal port.
        (
            {
                "eno1": {},
                "ens1f0": {"master": "ovs-system"},
                "ovs-system": {"kind": "openvswitch"},
                "br-ex": {"kind": "openvswitch", "management": True},
            },
            {},
        ),
    ],
    ids=["dummy", "asymmetric", "two-hops", "vxlan", "wireguard", "stack", "ovs"],
)
def test_the_way_to_the_host_is_never_touched(links: dict[str, Any], more: dict[str, Any]) -> None:
    one = layout(links, **more)
    assert "ens1f0" in one.facts.carriers
    assert refused(one, "ens1f0") == refused(one, "0000:02:00.0") == {Rule.MANAGEMENT}


def test_a_vrf_does_not_tie_its_members_together() -> None:
    links = {
        "eno1": {"management": True, "master": "mgmt"},
        "ens1f0": {"master": "mgmt"},
        "mgmt": {"kind": "vrf"},
    }
    one = layout(links)
    assert "ens1f0" not in one.facts.carriers
    assert refused(one, "ens1f0") == {Rule.PORT_IN_USE}


def test_the_other_interface_of_the_management_function_is_protected() -> None:
    functions = {"01:00.0": {"names": ["ens2", "ens2d1"], "driver": "mlx4_core"}}
    one = Layout({"functions": functions, "links": {"ens2": {"management": True}, "ens2d1": {}}})
    assert "same PCI function as ens2" in protected_interfaces(one.facts)["ens2d1"]


def test_a_guard_refuses_what_somebody_uses() -> None:
    one = layout({"ens1f0.7": {"kind": "vlan", "over": "ens1f0", "id": 7}})
    assert refused(one, "ens1f0") == {Rule.PORT_IN_USE}
    assert refused(layout({}), "ens1f0") == set()


def test_loops_in_what_was_read_end() -> None:
    links = {
        "a": {"kind": "vlan", "over": "b", "id": 1},
        "b": {"kind": "vlan", "over": "a", "id": 2, "master": "a"},
    }
    facts = layout(links).facts
    assert names(interface_users(facts, "a")) == {"b"}
    management = find_management(
        links=facts.links, ssh_connection="", route_to_peer=(), default_routes=("a",)
    )
    assert set(management.carriers) == {"a", "b"}


def test_the_tree_is_shown_and_is_in_json() -> None:
    facts = layout({"ens1f0.7": {"kind": "vlan", "over": "ens1f0", "id": 7}}).facts
    assert "└─ ens1f0.7: VLAN 7 on it" in str(facts)
    assert "ens1f0.7: VLAN 7 on it" in facts._repr_html_()
    (_, users) = facts.to_dict()["users"]
    assert users["users"][0]["name"] == "ens1f0.7"


def test_the_peers_address_is_the_labs_own() -> None:
    """The peer of a cable in a namespace is part of the lab; another address there is not."""
    facts = builders.embedded()
    assert facts.cable is not None
    assert function_users(facts, "0000:0b:00.1").users
    assert not function_users(facts, "0000:0b:00.1").in_use
    elsewhere = replace(facts.cable, peer_address="192.0.2.9/24")
    assert function_users(replace(facts, cable=elsewhere), "0000:0b:00.1").in_use
