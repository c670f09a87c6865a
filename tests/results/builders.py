"""Small results for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence

from kvmlab.clock import Clock
from kvmlab.results import Cost, Hop, Metric, Path, Raw, Result, Trial, Window

PATH = Path(
    (
        Hop("request", "guest", "eth0", "guest NIC", "out", 0.0, "guest kernel", inferred=True),
        Hop("request", "host", "vnet0", "tap", "in", 0.0, "vhost worker", "vhost-9", 12, "net:x"),
        Hop("request", "host", "br0", "bridge", "through", 1.5, "vhost worker"),
        Hop("request", "peer", "p2p2", "port", "in", 4.0, "softirq"),
        Hop("reply", "host", "vnet0", "tap", "out", 9.0, "softirq"),
    ),
    1003,
    9.0,
    ("a note",),
)


def trial(
    number: int, mbps: float, exits: float = 50.0, packets: int = 100, workload: str = "tcp_up"
) -> Trial:
    return Trial(
        workload=workload,
        number=number,
        block=number,
        metrics=(Metric("tcp_up_mbps", mbps, "Mbit/s", "higher"),),
        costs=(
            Cost("vm_exits", "npf", exits, "exits"),
            Cost("vm_exits", "hlt", 10.0, "exits"),
            Cost("cpu_us", "vhost worker", 700.0, "µs"),
        ),
        window=Window(2.0, packets, 150_000, "p2p2 in namespace peer"),
        started="2026-11-22T12:00:00+00:00",
        flags=("steal on the host 31% of one CPU",) if number == 2 else (),
    )


def result(
    scheme: str = "virtio-qemu",
    values: Sequence[float] = (100.0, 110.0, 90.0),
    exits: Sequence[float] | None = None,
    clock: Clock = Clock.WALL,
) -> Result:
    counts = exits if exits is not None else [50.0] * len(values)
    return Result(
        scheme=scheme,
        label=f"the {scheme}",
        host="embedded host",
        clock=clock,
        emulated="Emulated: QEMU, no hardware support",
        trials=tuple(
            trial(number, mbps, count)
            for number, (mbps, count) in enumerate(zip(values, counts, strict=True), start=1)
        ),
        path=PATH,
        meta={"settings": {"count": len(values)}, "nic": {"mac": "52:54:00:00:00:01"}},
        raw=(Raw("tcp_up-01-client.json", '{"end": "é"}\n'), Raw("path-trace.txt", "a\r\nb\n")),
    )
