"""Measure the faults that are not offered: ``python -m tests.incidents.not_offered``.

Prints the rows of the table in docs/incidents.md, from an embedded host of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence

from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.host_state import HostState
from kvmlab.incidents import Fault, FaultSite, Health, Prober
from kvmlab.incidents.fault import Alteration, GuestState
from kvmlab.lab import Lab, open_lab
from kvmlab.schemes import Scheme, SriovVf, Virtio

HALT_POLL = "/sys/module/kvm/parameters/halt_poll_ns"
Make = Callable[[FaultSite], Alteration]
ON_VIRTIO: tuple[tuple[str, Make], ...] = (
    ("receiving ring of 64 in the VM", lambda site: GuestState("ring", "rx", "64")),
    ("receiving ring of 80 at the port", lambda site: HostState("ring", site.port, "rx", "80")),
    ("vhost worker with nice 19", lambda site: HostState("nice", site.domain, "vhost", "19")),
    ("interrupts every 100 µs", lambda site: HostState("coalesce", site.port, "rx-usecs", "100")),
    ("ageing time 0", lambda site: HostState("file", site.bridge, "bridge/ageing_time", "0")),
)


class Unnamed(Fault):
    """A fault of one alteration, without a name and texts."""

    name = "unnamed"

    def __init__(self, make: Make) -> None:
        self._make = make

    def alterations(self, scene: FaultSite) -> Sequence[Alteration]:
        return (self._make(scene),)


def row(name: str, health: Health, healthy: Health) -> None:
    effects = ", ".join(health.effects(healthy)) or "none"
    figures = f"{health.round_trip_ms:.2f} | {health.download:.0f} | {health.upload:.0f}"
    print(f"| {name} | {figures} | {effects} |", flush=True)


def on_scheme(lab: Lab, scheme: Scheme, faults: Sequence[tuple[str, Make]], line: str) -> None:
    """Measure a sound NIC, then with each fault, then after a shell line on the host."""
    lab.inspect()
    plan = lab.plan(scheme)
    with plan.applied(lab.vm):
        site = FaultSite.of(lab, plan)
        prober = Prober(site)
        prober.start()
        healthy = prober.measure()
        row(f"none ({scheme.label})", healthy, healthy)
        for name, make in faults:
            altered = AppliedSteps(lab.vm, Unnamed(make).steps(site), scheme="incident")
            altered.apply()
            row(name, prober.measure(), healthy)
            altered.revert()
        lab.host.run(("sh", "-c", line), timeout_sec=60, root=True)
        row(f"`{line}`", prober.measure(), healthy)
        prober.stop()


def main() -> None:
    with tempfile.TemporaryDirectory() as out, open_lab("embedded", out=out) as lab:
        on_scheme(lab, Virtio(backend="vhost"), ON_VIRTIO, f"echo 200000 >{HALT_POLL}")
        lab.host.run(("sh", "-c", f"echo 0 >{HALT_POLL}"), timeout_sec=60, root=True)
        on_scheme(lab, SriovVf(), (), "ip link set p2p1 vf 0 max_tx_rate 20")


if __name__ == "__main__":
    main()
