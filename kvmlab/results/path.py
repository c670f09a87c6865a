"""Path of one packet, hop by hop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["guest", "host", "peer"]
Direction = Literal["out", "in", "through"]
Leg = Literal["request", "reply"]


@dataclass(frozen=True)
class Hop:
    """One device that one packet went through.

    ``direction`` is the device's own: "in" where the kernel receives the packet from the device,
    "out" where the kernel hands the packet to the device, "through" for a bridge. (What the VM
    sends comes *in* from its tap.) ``carrier`` says who moved the packet there: the role of a
    thread ("vhost worker", "QEMU main loop"), "softirq", or the name of another program. An
    ``inferred`` hop was not seen in a tracepoint; ``note`` says from which it follows.
    """

    leg: Leg
    side: Side
    device: str
    kind: str  # "tap", "bridge", "port", "macvtap", "guest NIC", ...
    direction: Direction
    at_us: float
    carrier: str
    comm: str = ""
    tid: int = 0
    event: str = ""
    inferred: bool = False
    note: str = ""


@dataclass(frozen=True)
class Path:
    """Hops of one echo from the VM to the peer and back, in order of time."""

    hops: tuple[Hop, ...]
    echo_bytes: int
    round_trip_us: float | None = None
    notes: tuple[str, ...] = ()

    def leg(self, leg: Leg) -> tuple[Hop, ...]:
        """Return the hops of the request (VM to peer) or of the reply."""
        return tuple(hop for hop in self.hops if hop.leg == leg)

    def devices(self, side: Side | None = None, leg: Leg = "request") -> tuple[str, ...]:
        """Return the names of the devices of one leg, each once, in order."""
        names = [hop.device for hop in self.leg(leg) if side is None or hop.side == side]
        return tuple(dict.fromkeys(names))

    @property
    def host_hops(self) -> tuple[Hop, ...]:
        """Hops on the host: the layers that a scheme adds."""
        return tuple(hop for hop in self.hops if hop.side == "host")

    def __str__(self) -> str:
        """Return one line a hop."""
        return "\n".join(
            f"{hop.at_us:>10.1f} µs  {hop.leg:<7}  {hop.side:<5}  {hop.direction:<3}  "
            f"{hop.device:<10}  {hop.kind:<10}  {hop.carrier}"
            f"{'  (inferred)' if hop.inferred else ''}"
            for hop in self.hops
        )
