"""Random stacks of devices: what is in use is never offered, what manages the host never touched.

What is in use and what carries the host is worked out here from the description alone, by simpler
means than the product's: every link of a stack downwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from kvmlab.advice import advise
from kvmlab.changes import AttachInterface, HostStep, Plan
from kvmlab.domain import Interface
from kvmlab.schemes.feasibility import attempt, cables_for
from kvmlab.schemes.registry import CATALOGUE
from tests.facts.host_builder import Layout, full_address

DRIVERS = ("i40e", "ixgbe", "mlx5_core", "vfio-pci", "mlx5_vfio_pci", "igb_uio", None)
STACKED = ("vlan", "macvlan", "macvtap", "ipvlan", "macsec", "vxlan", "wireguard", "dummy")
MASTERS = ("bridge", "bond", "team", "openvswitch", "vrf")
ADDRESSES = st.lists(
    st.sampled_from(["198.51.100.7/24", "203.0.113.5/24", "fe80::7/64", "2001:db8::7/64"]),
    max_size=1,
)


@st.composite
def functions(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """One to four functions and their VFs, in groups of their own, shared, or in none."""
    drawn: dict[str, dict[str, Any]] = {}
    for number in range(draw(st.integers(1, 4))):
        bus, driver = f"{number + 2:02x}", draw(st.sampled_from(DRIVERS))
        of_kernel = driver is not None and "vfio" not in driver and "uio" not in driver
        names = [f"p{number}n{index}" for index in range(draw(st.integers(1, 2)))]
        names = names if of_kernel and draw(st.integers(0, 9)) else []
        group = draw(st.sampled_from([10 + number, 10 + number, 50, None]))
        values: dict[str, Any] = {"names": names, "driver": driver, "group": group}
        count = draw(st.integers(0, 3)) if of_kernel else 0
        if of_kernel and draw(st.booleans()):
            values |= {"totalvfs": 8, "vfs": [f"{bus}:02.{vf}" for vf in range(count)]}
            for vf in range(count):
                vf_driver = draw(st.sampled_from(["iavf", "iavf", "vfio-pci", None]))
                has_name = vf_driver == "iavf" and draw(st.integers(0, 4)) > 0
                drawn[f"{bus}:02.{vf}"] = {
                    "names": [f"p{number}v{vf}"] if has_name else [],
                    "driver": vf_driver,
                    "vf_of": f"{bus}:00.0",
                    "group": draw(st.sampled_from([100 + number * 8 + vf, group])),
                }
        drawn[f"{bus}:00.0"] = values
    return drawn


@st.composite
def hosts(draw: st.DrawFn) -> dict[str, Any]:
    """Return a whole host: functions, a stack on them, routes, VMs, and who manages it."""
    by_address = draw(functions())
    by_address["01:00.0"] = {
        "names": ["eno1"],
        "driver": "igb",
        "group": draw(st.sampled_from([1, 50])),
    }
    links: dict[str, dict[str, Any]] = {
        name: {"addresses": draw(ADDRESSES), "up": draw(st.booleans())}
        for values in by_address.values()
        for name in values["names"]
    }
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from((*STACKED, *MASTERS)))
        values = {"kind": kind, "addresses": draw(ADDRESSES)}
        if kind in STACKED and kind != "dummy":
            values["over"] = draw(st.sampled_from(sorted(links)))
        if kind in ("vxlan", "wireguard") and draw(st.booleans()):
            del values["over"]
            values["remote"] = "203.0.113.9"
        links[f"s{number}"] = values
    masters = [name for name, values in links.items() if values.get("kind") in MASTERS]
    for name, values in links.items():
        if masters and draw(st.integers(0, 3)) == 0:
            master = draw(st.sampled_from(masters))
            if master != name and values.get("kind") not in MASTERS:
                values["master"] = master
    names = sorted(links)
    links[draw(st.sampled_from(["eno1", *names]))]["management"] = True
    return {
        "functions": by_address,
        "links": links,
        "routes": draw(
            st.dictionaries(
                st.sampled_from(["default", "203.0.113.0/24", "10.0.0.0/8"]),
                st.sampled_from(names),
                max_size=2,
            )
        ),
        "route_to_peer": draw(st.sampled_from(["", *names])),
        "vms": draw(st.lists(domains(sorted(by_address), names), max_size=1)),
        "cable": draw(st.sampled_from([None, None, *names])),
    }


def domains(addresses: list[str], names: list[str]) -> st.SearchStrategy[str]:
    """Return a VM that holds a function or is plugged to an interface."""
    held = st.sampled_from(addresses).map(
        lambda address: (
            f"<hostdev type='pci'><source><address bus='0x{address[:2]}' slot='0x{address[3:5]}' "
            f"function='0x{address[6]}'/></source></hostdev>"
        )
    )
    plugged = st.sampled_from(names).map(
        lambda name: f"<interface type='direct'><source dev='{name}' mode='bridge'/></interface>"
    )
    return st.one_of(held, plugged).map(
        lambda device: f"<domain type='kvm'><name>web1</name><devices>{device}</devices></domain>"
    )


def used(description: Mapping[str, Any]) -> set[str]:
    """Return the interfaces and functions that somebody uses, as the description says."""
    links, taken = description["links"], set[str]()
    for name, values in links.items():
        if any(not address.startswith("fe80") for address in values["addresses"]):
            taken.add(name)
        if values.get("management") or values.get("master"):
            taken.add(name)
        if values.get("over"):
            taken.add(values["over"])
    taken |= {name for target, name in description["routes"].items()}
    text = "".join(description["vms"])
    taken |= set(re.findall(r"dev='(\w+)'", text))
    for address, values in description["functions"].items():
        parts = f"bus='0x{address[:2]}' slot='0x{address[3:5]}' function='0x{address[6]}'"
        driver = values["driver"] or ""
        away = "vfio" in driver or "uio" in driver
        hidden = bool(driver) and not away and not values["names"]
        if parts in text or away or hidden or taken & set(values["names"]):
            taken |= {full_address(address)}
    return taken


def carrying(description: Mapping[str, Any]) -> set[str]:
    """Return what the management address, the default route and the way back need."""
    links = description["links"]
    waiting = [name for name, values in links.items() if values.get("management")]
    waiting += [name for target, name in description["routes"].items() if target == "default"]
    waiting += [description["route_to_peer"]]
    carriers = set[str]()
    while waiting:
        name = waiting.pop()
        if name not in links or name in carriers:
            continue
        carriers.add(name)
        waiting += [links[name].get("over", ""), links[name].get("master", "")]
        if links[name].get("kind") != "vrf":
            waiting += [x for x, values in links.items() if values.get("master") == name]
    return carriers


def check(description: dict[str, Any]) -> None:
    """See that every invariant holds on this host."""
    one = Layout(description)
    facts, taken, carriers = one.facts, used(description), carrying(description)
    for cable in cables_for(facts):
        if cable.port != description["cable"]:
            assert cable.port not in taken | carriers, f"{cable.port} is offered"
    for scheme in CATALOGUE:
        for place in (None, *cables_for(facts)):
            tried = attempt(scheme, facts, place)
            if tried.plan is not None:
                check_plan(tried.plan, description, taken, carriers)
    for migration in (False, True):
        for offer in advise(facts, migration=migration, load="latency").recommendations:
            named = set(re.findall(r'<source dev="([^"]+)"', offer.interface_xml))
            assert not named & (taken | carriers), offer.interface_xml
            known = set(description["links"])
            vfs = {name for name in named - known if not name.startswith("NAME-OF-VF-")}
            assert not vfs, "no name of another port"
    assert one.diagnosis().findings
    assert str(facts)
    assert facts.to_dict()["users"] is not None


def check_plan(
    plan: Plan, description: Mapping[str, Any], taken: set[str], carriers: set[str]
) -> None:
    touched = {
        name
        for step in plan.steps
        if isinstance(step, HostStep | AttachInterface)
        for name in step.touches
    }
    assert not touched & carriers, f"{plan.scheme} touches the way to the host"
    own = {full_address(a): v["names"] for a, v in description["functions"].items()}
    assert not touched & taken, f"{plan.scheme} touches what is used"
    text = plan.interface_xml
    if "<hostdev" in text or 'type="hostdev"' in text:
        if "<hostdev" in text:
            parts = re.search(r'address [^>]*bus="0x(\w+)" slot="0x(\w+)" function="0x(\w+)"', text)
            assert parts is not None
            address = f"0000:{parts[1]}:{parts[2]}.{parts[3]}"
        else:
            address = str(Interface.parse(text).source_pci)
        assert address not in taken, f"{address} is handed over"
        assert not set(own.get(address, [])) & (taken | carriers)


QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(hosts())
def test_random_stacks(description: dict[str, Any]) -> None:
    check(description)


@pytest.mark.slow
@pytest.mark.timeout(1400)
@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_random_stacks(part: int) -> None:
    """A thousand in each part, so that none meets the run's last deadline on a busy machine."""

    @seed(part)
    @settings(max_examples=1000, deadline=None, suppress_health_check=QUIET, database=None)
    @given(hosts())
    def check_all(description: dict[str, Any]) -> None:
        check(description)

    check_all()
