"""The state of a host, as far as a change could alter it, compared before and after."""

from __future__ import annotations

import json
from typing import Any, Final

from kvmlab.domain import Domain, TestVM
from kvmlab.facts import inspect
from kvmlab.hosts import Host

#: Facts that differ between two inspections although kvmlab changed nothing:
#: - connections: those of ssh come and go;
#: - leftovers: `inspect` alone knows none, and the caller asks for them by themselves;
#: - index: a port that comes back to its driver is a new interface;
#: - modules that libvirt and the kernel load when they first need them, and never unload.
VOLATILE: Final = ("connections", "leftovers")
LOADED_BY_OTHERS: Final = ("macvlan", "macvtap", "tap", "tun", "vfio_pci", "vfio")

#: State that an inspection does not read, in one round trip.
_MORE: Final = """
ip -j -d link
echo @@
ip route show table all
echo @@
ls /run/libvirt/network 2>/dev/null
exit 0
"""


def read_state(host: Host, vm: TestVM | None = None) -> dict[str, Any]:
    """Read the host's state: facts without volatile ones, promiscuity, routes, the VM's devices."""
    facts = inspect(host, prove_kvm=False).to_dict()
    for name in VOLATILE:
        facts.pop(name)
    facts["modules"] = {
        name: state for name, state in facts["modules"].items() if name not in LOADED_BY_OTHERS
    }
    for link in facts["links"]:
        link.pop("index")
    facts["links"] = {f"{link['netns']}/{link['name']}": link for link in facts["links"]}
    more = host.run(("sh", "-s"), input_text=_MORE, timeout_sec=60).stdout
    links, routes, networks = more.split("@@\n")
    facts["promiscuity"] = {link["ifname"]: link["promiscuity"] for link in json.loads(links)}
    facts["routes"] = sorted(routes.splitlines())
    # libvirt leaves an empty folder where it kept the ports of a network.
    facts["networks"] = sorted(name for name in networks.split() if name.endswith(".xml"))
    machine = vm if vm is not None else TestVM.find(host)
    devices = Domain.parse(machine.xml()).node.find("devices")
    assert devices is not None
    facts["devices"] = sorted(
        f"{node.tag} {alias.get('name')}"
        for node in devices
        # A libvirt that was started anew forgets the alias of a controller that is none.
        if node.tag != "controller" and (alias := node.find("alias")) is not None
    )
    inside = machine.agent.run(("ls", "/sys/class/net"), timeout_sec=60)
    facts["inside"] = inside.stdout.split()
    return facts


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Return the differences, one line each."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted({*before, *after})
        return [
            line
            for name in names
            for line in differences(before.get(name), after.get(name), f"{where}.{name}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = zip(before, after, strict=True)
        return [
            line
            for number, (old, new) in enumerate(pairs)
            for line in differences(old, new, f"{where}[{number}]")
        ]
    return [] if before == after else [f"{where.lstrip('.')}: {before!r} became {after!r}"]
