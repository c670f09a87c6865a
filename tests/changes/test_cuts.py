"""Refusals on layouts that people have: only the name of the thing that would be cut overrides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kvmlab.changes import Command, HostStep, Setting, check
from kvmlab.changes.guard import refuse
from kvmlab.errors import Refused, Unavailable
from kvmlab.facts.management import find_management
from kvmlab.hosts import Cable
from kvmlab.schemes import Macvtap, PciPassthrough, Virtio
from tests.facts.host_builder import Layout

FUNCTIONS: dict[str, Any] = {
    "01:00.0": {"names": ["eno1"], "driver": "igb", "group": 1},
    "02:00.0": {"names": ["ens1f0"], "driver": "i40e", "group": 20},
}
VM = (
    "<domain type='kvm'><name>web1</name><devices><interface type='{}'>{}</interface></devices>"
    "</domain>"
)
TAP = "<source bridge='br100'/><target dev='vnet0'/>"
MACVTAP = "<source dev='ens1f0' mode='bridge'/><target dev='macvtap0'/>"
#: 198.51.100.9 in the order of /proc/net/tcp; ports 50000 (C350), 3260, 2049 and 10809 there.
FAR, NEAR = "096433C6", "086433C6"
HOME = {"ens1f0": {"addresses": ["198.51.100.8/24"]}}
WG = {"kind": "wireguard", "addresses": ["10.9.0.1/24"]}
ROUTES = {"default": "eno1", "203.0.113.0/24": "ens1f0"}


def session(port: str, near: str = NEAR, far: str = FAR) -> dict[str, Any]:
    return {"connections": f"{near} 1 C350 {far}:{port} C350/{far}:{port}\n"}


#: Layout, what its refusal names, and the names that override it, all of them.
LAYOUTS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "a VLAN in a bridge with a VM": (
        {
            "links": {
                "ens1f0": {},
                "ens1f0.100": {"kind": "vlan", "over": "ens1f0", "id": 100, "master": "br100"},
                "br100": {"kind": "bridge"},
                "vnet0": {"kind": "tap", "master": "br100"},
            },
            "vms": [VM.format("bridge", TAP)],
        },
        "web1",
        ("web1",),
    ),
    "another VM's macvtap": (
        {
            "links": {"ens1f0": {}, "macvtap0": {"kind": "macvtap", "over": "ens1f0"}},
            "vms": [VM.format("direct", MACVTAP)],
        },
        "web1",
        ("web1",),
    ),
    "VXLAN by its route": (
        {
            "links": {"ens1f0": {}, "vxlan7": {"kind": "vxlan", "id": 7, "remote": "203.0.113.9"}},
            "routes": ROUTES,
        },
        "vxlan7",
        ("203.0.113.0/24", "vxlan7"),
    ),
    "WireGuard with connections inside": (
        {
            "links": {"ens1f0": {}, "wg0": WG},
            "routes": ROUTES,
            # 10.9.0.1 to 10.9.0.2
            "host": {
                "wireguard": "wg0\tK=\t203.0.113.9:51820",
                **session("0016", "0100090A", "0200090A"),
            },
        },
        "10.9.0.1",
        ("10.9.0.1", "10.9.0.1/24", "203.0.113.0/24"),
    ),
    "iSCSI": (
        {"links": HOME, "host": session("0CBC")},
        "iSCSI with 198.51.100.9",
        ("198.51.100.8", "198.51.100.8/24"),
    ),
    "NFS": (
        {"links": HOME, "host": session("0801")},
        "NFS with 198.51.100.9",
        ("198.51.100.8", "198.51.100.8/24"),
    ),
    "NBD": (
        {"links": HOME, "host": session("2A39")},
        "NBD with 198.51.100.9",
        ("198.51.100.8", "198.51.100.8/24"),
    ),
    "storage that leaves by another interface than that of its address": (
        {
            "links": {"ens1f0": {}, "dummy0": {"kind": "dummy", "addresses": ["198.51.100.8/32"]}},
            "routes": {"default": "eno1", "198.51.100.9/32": "ens1f0"},
            "host": session("0CBC"),
        },
        "iSCSI with 198.51.100.9",
        ("198.51.100.8", "198.51.100.9/32"),
    ),
}  # fmt: skip


def layout(description: dict[str, Any]) -> Layout:
    links = {"eno1": {"management": True}, **description["links"]}
    return Layout({"functions": FUNCTIONS, **description, "links": links})


def touching(*names: str) -> HostStep:
    setting = Setting("/sys/x", None, "1")
    return HostStep("Touch it.", setting, (Command(("true",)),), (), touches=names)


@pytest.mark.parametrize("name", LAYOUTS)
def test_only_naming_what_would_be_cut_overrides(name: str) -> None:
    description, named, cuts = LAYOUTS[name]
    facts = layout(description).facts
    for touched in ("ens1f0", "0000:02:00.0"):
        refusals = check([touching(touched)], facts)
        assert refusals
        with pytest.raises(Refused) as caught:
            refuse(refusals)
        assert named in str(caught.value)
        assert "--cut" in caught.value.todo
        # Neither the port's own name nor a part of what would be cut will do.
        for few in (("ens1f0", touched, "yes", "*"), *((one,) for one in cuts if len(cuts) > 1)):
            assert check([touching(touched)], replace(facts, cuts=few))
        assert check([touching(touched)], replace(facts, cuts=cuts)) == ()
    # What is named for one thing opens nothing else.
    assert check([touching("eno1")], replace(facts, cuts=cuts))


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("scheme", [Virtio(), Macvtap(), PciPassthrough(group="take")], ids=str)
def test_no_scheme_plans_over_it(name: str, scheme: Any) -> None:
    description, _, cuts = LAYOUTS[name]
    facts = layout(description).facts
    cable = Cable("ens1f0", "192.0.2.10/24", "192.0.2.1/24")
    try:
        plan = scheme.plan(facts, cable=cable)
    except Unavailable as error:
        assert str(error.rule) in ("port-in-use", "port-carries-connections")  # noqa: PT017
    else:
        assert plan.refusals
    plan = scheme.plan(replace(facts, cuts=cuts), cable=cable)
    assert plan.refusals == ()
    assert any(cuts[0] in note for note in plan.notes)


def test_the_way_back_to_the_controller_is_refused() -> None:
    """The ssh address is on a dummy interface; answers leave by another port than questions."""
    one = layout({"links": {"ens1f0": {}, "dummy0": {"kind": "dummy"}}}).facts
    links = tuple(
        replace(link, addresses=("192.0.2.77/32",)) if link.name == "dummy0" else link
        for link in one.links
    )
    management = find_management(
        links=links,
        ssh_connection="203.0.113.50 50000 192.0.2.77 22",
        route_to_peer=("ens1f0",),
        default_routes=("eno1",),
    )
    assert management.interface == "dummy0"
    assert "ens1f0" in management.carriers
    facts = replace(one, links=links, management="dummy0", carriers=management.carriers)
    (refusal,) = check([touching("ens1f0")], facts)
    assert refusal.rule == "management-interface"
    assert refusal.cuts == ("dummy0",)
    assert check([touching("ens1f0")], replace(facts, cuts=("ens1f0",)))


def test_a_vf_that_is_a_bridges_uplink_is_in_use() -> None:
    functions = {
        **FUNCTIONS,
        "02:00.0": {**FUNCTIONS["02:00.0"], "totalvfs": 8, "vfs": ["02:02.0"]},
        "02:02.0": {"names": ["ens1f0v0"], "driver": "iavf", "group": 21, "vf_of": "02:00.0"},
    }
    links = {
        "eno1": {"management": True}, "ens1f0": {}, "ens1f0v0": {"master": "br0"},
        "br0": {"kind": "bridge"}, "vnet0": {"kind": "tap", "master": "br0"},
    }  # fmt: skip
    facts = Layout(
        {
            "functions": functions,
            "links": links,
            "vms": [VM.format("bridge", "<target dev='vnet0'/>")],
        }
    ).facts
    (refusal,) = check([touching("0000:02:02.0")], facts)
    assert "web1" in refusal.message
    assert refusal.cuts == ("web1",)
