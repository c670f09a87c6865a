"""Packets and bytes at the end of the cable: what all costs are divided by."""

from __future__ import annotations

from kvmlab.errors import MeasureError
from kvmlab.measure import procfs
from kvmlab.measure.counters.counter import FileSource, SnapshotPair
from kvmlab.measure.procfs import DeviceCounters
from kvmlab.results import Metric, Window

NET = FileSource("net", procfs.net_dev)
"""``/proc/net/dev`` of the namespace at the end of the cable where packets are counted."""


def window(pair: SnapshotPair, device: str, counted_at: str) -> Window:
    """Return time, packets and bytes (both directions) between two snapshots.

    Raises:
        MeasureError: the device is not there, or the clock stood still.
    """
    first, last = _counters(pair, device, counted_at)
    if pair.seconds <= 0:
        raise MeasureError(f"The host's clock moved by {pair.seconds:g} s during a trial.")
    moved = last.since(first)
    return Window(
        seconds=pair.seconds,
        packets=moved.rx_packets + moved.tx_packets,
        bytes=moved.rx_bytes + moved.tx_bytes,
        counted_at=counted_at,
    )


def arrived_pps(pair: SnapshotPair, device: str, *, at_peer: bool) -> Metric:
    """Return the packets a second that came from the VM, as the interface ``device`` counted them.

    ``at_peer`` says that it is the peer's, which receives them; ours sends them.
    """
    first, last = _counters(pair, device, device)
    moved = last.since(first)
    packets = moved.rx_packets if at_peer else moved.tx_packets
    return Metric("udp_received_pps", packets / pair.seconds, "packets/s", "higher")


def _counters(
    pair: SnapshotPair, device: str, counted_at: str
) -> tuple[DeviceCounters, DeviceCounters]:
    begin, end = pair.read(NET)
    if device not in begin or device not in end:
        raise MeasureError(
            f"There is no device {device} to count packets at ({counted_at}).",
            todo=f"Devices there: {', '.join(begin)}.",
        )
    return begin[device], end[device]
