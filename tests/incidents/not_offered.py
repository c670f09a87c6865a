"""Measure the faults that are not offered: ``python -m tests.incidents.not_offered [spread]``.

Prints the rows of the tables in docs/incidents.md, from an embedded host of its own; with the word
``spread`` those of faults that need several CPUs, under the virtual clock, which has one, and under
wall time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence

from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.host_state import HostState
from kvmlab.incidents import Fault, FaultSite, Health, Prober
from kvmlab.incidents.fault import Alteration, GuestState
from kvmlab.lab import Lab, open_lab
from kvmlab.measure import Trials
from kvmlab.schemes import Scheme, SriovVf, Virtio
from kvmlab.tunings import tuned

HALT_POLL = "/sys/module/kvm/parameters/halt_poll_ns"
ROUNDS = 5
#: Under wall time a transfer takes longer than the incident's probe waits for one.
SLOW_SEC = 30
#: Puts all interrupts of devices onto one CPU, or spreads them again.
INTERRUPTS = """\
for list in /proc/irq/[0-9]*/smp_affinity_list; do
    echo "$1" >"$list" 2>/dev/null || true
done
"""
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

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        return (self._make(site),)


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


def small_pages(lab: Lab) -> None:
    """Measure the VM with its memory in pages of 2 MiB and of 4 KiB, each started anew."""
    healths = []
    for pages in ("transparent", "none"):
        lab.inspect()
        plan = lab.plan(tuned(Virtio(backend="vhost"), f"huge-pages={pages}"))
        with plan.applied(lab.vm):
            prober = Prober(FaultSite.of(lab, plan))
            prober.start()
            healths.append(prober.measure())
            prober.stop()
        row(f"pages behind the guest: {pages}", healths[-1], healths[0])


def spread(lab: Lab, queues: int, cpus: int) -> None:
    """Measure queue pairs of which one is used, and all interrupts on one CPU, in turns."""
    lab.inspect()
    plan = lab.plan(Virtio(backend="vhost", queues=queues))
    with plan.applied(lab.vm) as nic:
        prober = Prober(FaultSite.of(lab, plan), transfer_sec=SLOW_SEC)
        prober.start()

        def set_up(channels: int, cpus: str) -> None:
            words = ("ethtool", "-L", nic.guest_interface, "combined", str(channels))
            lab.vm.agent.run(words, timeout_sec=60, check=False)  # 80 where they are used already
            script = ("sh", "-c", INTERRUPTS, "sh", cpus)
            lab.vm.agent.run(script, timeout_sec=60)
            lab.host.run(script, timeout_sec=60, root=True)

        every = f"0-{cpus - 1}" if cpus > 1 else "0"
        states = {
            f"none (virtio, vhost, {queues} queue pairs, {cpus} CPUs)": (queues, every),
            f"one queue pair of {queues} used": (1, every),
            "all interrupts on one CPU, in host and VM": (queues, "0"),
        }
        healths: dict[str, list[Health]] = {name: [] for name in states}
        for _round in range(ROUNDS):
            for name, state in states.items():
                set_up(*state)
                healths[name].append(prober.measure())
        prober.stop()
    for name, measured in healths.items():
        columns = (
            spread_of([getattr(health, part) or 0.0 for health in measured])
            for part in ("round_trip_ms", "download", "upload")
        )
        print(f"| {name} | {' | '.join(columns)} |", flush=True)


def many_flows(lab: Lab, queues: int) -> None:
    """Measure eight flows at once through one queue pair, and through all."""
    lab.inspect()
    trials = Trials(ROUNDS, workloads=("tcp_up_flows",), flows=8, trace_path=False)
    one, every = lab.compare_channels(
        lab.plan(Virtio(backend="vhost", queues=queues)), 1, queues, trials=trials
    )
    for result in (one, every):
        speeds = [each.value for each in result.metrics("tcp_up_mbps", "tcp_up_flows")]
        print(f"| {result.label}, eight flows | {spread_of(speeds)} Mbit/s |", flush=True)


def spread_of(values: Sequence[float]) -> str:
    """Return the median of values, and their range."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} – {max(values):.3g})"


def main() -> None:
    if "spread" in sys.argv[1:]:
        for clock, queues, cpus in (("virtual", 4, 1), ("wall", 2, 2)):
            with (
                tempfile.TemporaryDirectory() as out,
                open_lab("embedded", clock=clock, out=out) as lab,
            ):
                spread(lab, queues, cpus)
                many_flows(lab, queues)
        return
    with tempfile.TemporaryDirectory() as out, open_lab("embedded", out=out) as lab:
        on_scheme(lab, Virtio(backend="vhost"), ON_VIRTIO, f"echo 200000 >{HALT_POLL}")
        lab.host.run(("sh", "-c", f"echo 0 >{HALT_POLL}"), timeout_sec=60, root=True)
        small_pages(lab)
        on_scheme(lab, SriovVf(), (), "ip link set p2p1 vf 0 max_tx_rate 20")


if __name__ == "__main__":
    main()
