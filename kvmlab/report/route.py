"""From traced hops to what is drawn: the stations of one packet, each once, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kvmlab.results import Hop, Path, Side

Lane = Literal["user space", "kernel"]


@dataclass(frozen=True)
class Station:
    """A device or a thread that the packet passed, on its way there, back, or both.

    ``request_us``/``reply_us`` are times since the first hop of the request; None where the
    station was not seen on that leg. ``inferred``: no tracepoint saw it on either leg.
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


def stations(path: Path) -> tuple[Station, ...]:
    """The stations in the order in which the request passed them.

    A thread that moved the packet (QEMU's main loop, a vhost worker) is a station of its own
    between the devices: it is the layer that a scheme adds or takes away.
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
    """The thread that brought the packet to this hop, where it is a layer of its own."""
    if hop.side != "host" or hop.direction != "in":
        return None
    return hop.carrier if _is_thread(hop.carrier) else None


def _is_thread(carrier: str) -> bool:
    return any(word in carrier for word in ("QEMU", "vhost", "vCPU"))


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
    if side == "host" and _is_thread(name):
        carried = tuple(hop for hop in path.hops if hop.carrier == name)
        lane: Lane = "user space" if "vhost" not in name else "kernel"
        return Station(side, lane, name, "thread", column, None, None, False, carried)
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
