"""Results with chosen numbers, so that a test knows what a figure has to show."""

from __future__ import annotations

from collections.abc import Sequence

from kvmlab.clock import Clock
from kvmlab.results import Cost, Direction, Hop, Leg, Metric, Path, Result, Side, Trial, Window
from kvmlab.results.migration import MigrationResult

EMULATED = (
    "Embedded host: a whole KVM host inside one QEMU process, not hardware "
    "(QEMU 10.0.13, TCG, 2 CPUs)."
)


#: A migration from A to B of which a test changes what it looks at.
MIGRATION = MigrationResult(
    scheme="virtio-vhost",
    label="virtio, vhost",
    traffic="answers",
    source="A",
    destination="B",
    clock=Clock.VIRTUAL,
    emulated=None,
    downtime_ms=300,
    elapsed_ms=4000,
    setup_ms=10,
    transferred_bytes=1 << 20,
    rounds=3,
    seconds=5.0,
)


def result(
    scheme: str,
    label: str,
    up_mbps: Sequence[float],
    rtt_us: Sequence[float],
    exits: float,
    *,
    clock: Clock = Clock.WALL,
    emulated: str | None = EMULATED,
    path: Path | None = None,
) -> Result:
    """Return a result with TCP upwards and latency; ``exits`` are VM exits a packet."""
    trials = [
        Trial(
            workload="tcp_up",
            number=number + 1,
            block=number + 1,
            metrics=(Metric("tcp_up_mbps", value, "Mbit/s", "higher"),),
            costs=costs(exits, number),
            window=Window(2.0, 1000, 1_500_000, "p2p2 in namespace peer"),
        )
        for number, value in enumerate(up_mbps)
    ]
    trials += [
        Trial(
            workload="latency",
            number=number + 1,
            block=number + 1,
            metrics=(
                Metric("rtt_p50_us", value, "µs", "lower"),
                Metric("rtt_p99_us", 3 * value, "µs", "lower"),
            ),
            costs=(),
            window=Window(2.0, 100, 10_000, "p2p2 in namespace peer"),
        )
        for number, value in enumerate(rtt_us)
    ]
    return Result(scheme, label, "embedded host", clock, emulated, tuple(trials), path)


def costs(exits: float, number: int) -> tuple[Cost, ...]:
    """Return the costs of a window of 1,000 packets."""
    return (
        Cost("vm_exits", "npf", exits * 700, "exits"),
        Cost("vm_exits", "io", exits * 200, "exits"),
        Cost("vm_exits", "hlt", exits * 100, "exits"),
        Cost("cpu_us", "vCPU", 40_000 + 100 * number, "µs"),
        Cost("cpu_us", "QEMU main loop", 25_000.0, "µs"),
        Cost("cpu_us", "softirq", 9_000.0, "µs"),
        Cost("context_switches", "QEMU main loop", 1_500.0, "switches"),
        Cost("context_switches", "vCPU", 700.0, "switches"),
    )


def e1000() -> Result:
    """Return the result of a slow scheme."""
    return result("e1000", "e1000, fully emulated", (0.8, 0.9, 0.7), (35_000, 33_000, 39_000), 38)


def virtio() -> Result:
    """Return the result of a fast scheme."""
    return result(
        "virtio-qemu",
        "virtio, QEMU back end",
        (25.0, 27.5, 22.0),
        (25_000, 19_000, 22_000),
        0.4,
        path=path(),
    )


def path() -> Path:
    """Return the path of an echo through a tap, a bridge and a port, and back."""
    hops = (
        hop("request", "guest", "eth1", "guest NIC", "out", 0, "ping", inferred=True),
        hop("request", "host", "vnet3", "tap", "in", 310, "QEMU main loop"),
        hop("request", "host", "kvmlab0", "bridge", "in", 320, "QEMU main loop", inferred=True),
        hop("request", "host", "p2p1", "port", "out", 350, "QEMU main loop"),
        hop("request", "peer", "p2p2", "peer port", "in", 900, "softirq"),
        hop("reply", "peer", "p2p2", "peer port", "out", 940, "softirq"),
        hop("reply", "host", "p2p1", "port", "in", 1500, "softirq"),
        hop("reply", "host", "kvmlab0", "bridge", "out", 1510, "softirq", inferred=True),
        hop("reply", "host", "vnet3", "tap", "out", 1540, "softirq"),
        hop("reply", "guest", "eth1", "guest NIC", "in", 2600, "", inferred=True),
    )
    return Path(hops, 64, 2600.0)


def hop(
    leg: Leg,
    side: Side,
    device: str,
    kind: str,
    direction: Direction,
    at_us: float,
    carrier: str,
    *,
    inferred: bool = False,
) -> Hop:
    """Return one hop, with an event's name where it was traced."""
    return Hop(
        leg,
        side,
        device,
        kind,
        direction,
        at_us,
        carrier,
        event="" if inferred else "net:net_dev_queue",
        inferred=inferred,
        note="between its neighbours" if inferred else "",
    )
