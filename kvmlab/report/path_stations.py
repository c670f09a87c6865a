"""Stations of one packet, from its traced hops: each once, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kvmlab.results import Hop, Path, Side

Lane = Literal["user space", "kernel"]

QEMU = "QEMU"


@dataclass(frozen=True)
class Station:
    """A device or a thread that the packet passed on its way there, back, or both.

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
    """Return the stations in the order in which the request passed them.

    The thread that moves the packet from the VM to the host's first device (of QEMU, or a vhost
    worker) is a station of its own: it is the layer that a scheme adds or removes.
    """
    entry = _entry(path)
    keys: list[tuple[Side, str]] = []
    for hop in path.leg("request"):
        if hop is entry:
            keys.append(("host", _mover(hop)))
        if (hop.side, hop.device) not in keys:
            keys.append((hop.side, hop.device))
    for hop in path.leg("reply"):
        if (hop.side, hop.device) not in keys:
            keys.insert(_end_of_side(keys, hop), (hop.side, hop.device))
    _add_ends(keys)
    start = path.leg("request")[0].at_us if path.leg("request") else 0.0
    return tuple(_station(path, key, column, start, entry) for column, key in enumerate(keys))


def _entry(path: Path) -> Hop | None:
    """Return the hop by which a thread of the VM hands the request to the host.

    Into a tap the packet goes "in" from the VM; a macvtap sends it "out" of the port at once.
    """
    for hop in path.leg("request"):
        if hop.side == "host":
            return hop if _mover(hop) else None
    return None


def _mover(hop: Hop) -> str:
    """Return the station that carried a hop: QEMU as a whole, or its vhost worker; "" for others.

    The thread of QEMU that sends need not be the one that receives.
    """
    if QEMU in hop.carrier:
        return QEMU
    return hop.carrier if "vhost" in hop.carrier else ""


def _end_of_side(keys: Sequence[tuple[Side, str]], hop: Hop) -> int:
    """Return the place after the last device of the hop's side."""
    order: dict[Side, int] = {"guest": 0, "host": 1, "peer": 2}
    return sum(1 for side, _ in keys if order[side] <= order[hop.side])


def _add_ends(keys: list[tuple[Side, str]]) -> None:
    """Add the ends where they were not traced: the echo begins in the VM, the peer answers it."""
    if not any(side == "guest" for side, _ in keys):
        keys.insert(0, ("guest", "network card"))
    if not any(side == "peer" for side, _ in keys):
        keys.append(("peer", "peer"))


def _station(
    path: Path, key: tuple[Side, str], column: int, start: float, entry: Hop | None
) -> Station:
    side, name = key
    if entry is not None and side == "host" and name == _mover(entry):
        lane: Lane = "user space" if name == QEMU else "kernel"
        thread = entry.carrier.replace(f"of {QEMU}", "").replace(QEMU, "").strip()
        kind = thread if name == QEMU else "kernel thread"
        return Station(side, lane, name, kind, column, None, None, False, (entry,), mover=True)
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
    """Return when a leg passed a station, in µs after ``start``; None where it was not seen."""
    times = [hop.at_us - start for hop in hops if hop.leg == leg and not hop.inferred]
    return min(times) if times else None
