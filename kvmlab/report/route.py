"""From traced hops to what is drawn: the stations of one packet, each once, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kvmlab.results import Hop, Path, Side

Lane = Literal["user space", "kernel"]

QEMU = "QEMU"


@dataclass(frozen=True)
class Station:
    """A device or a thread that the packet passed, on its way there, back, or both.

    ``request_us``/``reply_us`` are times since the first hop of the request; None where the
    station was not seen on that leg. ``inferred``: no tracepoint saw it on either leg.
    ``mover``: a process or thread, not a device.
    """

    side: Side
    lane: Lane
    name: str
    kind: str
    column: int
    request_us: float | None
    reply_us: float | None
    inferred: bool
    hops: tuple[Hop, ...]
    mover: bool = False


def stations(path: Path) -> tuple[Station, ...]:
    """The stations in the order in which the request passed them.

    Who moves the packet between the VM and the host's devices (QEMU, a vhost worker) is a station
    of its own: it is the layer that a scheme adds or takes away.
    """
    keys: list[tuple[Side, str]] = []
    for hop in path.leg("request"):
        mover = _mover(hop)
        if mover is not None and ("host", mover) not in keys:
            keys.append(("host", mover))
        if (hop.side, hop.device) not in keys:
            keys.append((hop.side, hop.device))
    for hop in path.leg("reply"):
        if (hop.side, hop.device) not in keys:
            keys.insert(_before(keys, hop), (hop.side, hop.device))
    _ends(keys)
    start = path.leg("request")[0].at_us if path.leg("request") else 0.0
    return tuple(_station(path, key, column, start) for column, key in enumerate(keys))


def _mover(hop: Hop) -> str | None:
    """Who brought the packet from the VM to this hop, where that is a layer of its own.

    Of QEMU the process counts: the thread that sends need not be the one that receives.
    """
    if hop.side != "host" or hop.direction != "in":
        return None
    if "QEMU" in hop.carrier:
        return QEMU
    return hop.carrier if "vhost" in hop.carrier else None


def _before(keys: Sequence[tuple[Side, str]], hop: Hop) -> int:
    """A device seen on the way back only stands at the end of its side."""
    order: dict[Side, int] = {"guest": 0, "host": 1, "peer": 2}
    return sum(1 for side, _ in keys if order[side] <= order[hop.side])


def _ends(keys: list[tuple[Side, str]]) -> None:
    """The echo began in the VM and was answered by the peer, whatever was traced there."""
    if not any(side == "guest" for side, _ in keys):
        keys.insert(0, ("guest", "network card"))
    if not any(side == "peer" for side, _ in keys):
        keys.append(("peer", "peer"))


def _station(path: Path, key: tuple[Side, str], column: int, start: float) -> Station:
    side, name = key
    carried = tuple(hop for hop in path.hops if _mover(hop) == name) if side == "host" else ()
    if carried:
        lane: Lane = "user space" if name == QEMU else "kernel"
        thread = carried[0].carrier.replace(f"of {QEMU}", "").replace(QEMU, "").strip()
        kind = thread if name == QEMU else "kernel thread"
        return Station(side, lane, name, kind, column, None, None, False, carried, mover=True)
    hops = tuple(hop for hop in path.hops if (hop.side, hop.device) == key)
    return Station(
        side,
        "kernel",
        name,
        hops[0].kind if hops else "",
        column,
        _first(hops, "request", start),
        _first(hops, "reply", start),
        all(hop.inferred for hop in hops),
        hops,
    )


def _first(hops: Sequence[Hop], leg: str, start: float) -> float | None:
    times = [hop.at_us - start for hop in hops if hop.leg == leg and not hop.inferred]
    return min(times) if times else None
