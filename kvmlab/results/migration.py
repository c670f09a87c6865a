"""A measured live migration: what libvirt and QEMU say of it, and what the peer saw of the VM."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

from kvmlab.clock import Clock
from kvmlab.directories import write_atomically
from kvmlab.errors import UsageError, reason_of
from kvmlab.results.journal import new_folder
from kvmlab.serialization import from_json, to_json
from kvmlab.stored_files import parse_json, read_file

Traffic = Literal["answers", "sends", "receives", "tcp"]
Via = Literal["virtio on A", "virtio on B", "VF", ""]

MIGRATION_FILE: Final = "migration.json"
TRAFFICS: Final[tuple[Traffic, ...]] = ("answers", "sends", "receives", "tcp")
TRAFFIC_TEXTS: Final[Mapping[Traffic, str]] = {
    "answers": "answers the peer's echoes",
    "sends": "sends echoes to the peer",
    "receives": "only receives datagrams",
    "tcp": "sends a TCP stream",
}


@dataclass(frozen=True)
class Packet:
    """One packet that arrived; ``at_sec`` counts from the begin of the recording.

    It is an answer's arrival at the peer, that of the VM's own packet there, or for a VM that only
    receives the moment at which the peer sent what arrived in it. ``rtt_ms`` is the round trip of
    an answer; ``via`` is the card by which it left the VM, "" where that is not known.
    """

    number: int
    at_sec: float
    rtt_ms: float | None = None
    via: Via = ""


@dataclass(frozen=True)
class MigrationEvent:
    """An event of QEMU's: of host "A", "B", or an announcement of the VM's ("peer" saw it)."""

    at_sec: float
    host: Literal["A", "B", "peer"]
    name: str


@dataclass(frozen=True)
class Phase:
    """A part of the migration, in seconds from the begin of the recording."""

    name: str
    begin_sec: float
    end_sec: float


@dataclass(frozen=True)
class JobSample:
    """Figures of libvirt's while it migrates; ``at_sec`` counts from its begin.

    ``left_mib`` of the memory are to be copied, ``dirtied_mib_per_sec`` is what the VM wrote in the
    last round (None in the first), ``throttle_percent`` of its time its vCPUs are held back.
    """

    at_sec: float
    round: int
    left_mib: float
    dirtied_mib_per_sec: float | None = None
    throttle_percent: int = 0


@dataclass(frozen=True)
class MigrationResult:
    """One migration, with the traffic of the VM from before its begin until after its end.

    All times are of the hosts' clock, which both and the peer share. ``stream`` are pairs of
    seconds and bytes that the peer had received by then. ``cpu_sec`` is CPU time by part.
    ``options`` says which were not libvirt's defaults. A program in the VM was to write ``load``,
    and wrote ``written_mib_per_sec`` on average. ``note`` is a sentence where it arrived without
    its VF.
    """

    scheme: str
    label: str
    traffic: Traffic
    source: str
    destination: str
    clock: Clock
    emulated: str | None
    downtime_ms: int
    elapsed_ms: int
    setup_ms: int
    transferred_bytes: int
    rounds: int
    seconds: float
    sent: int = 0
    duplicates: int = 0
    reordered: int = 0
    packets: tuple[Packet, ...] = ()
    stream: tuple[tuple[float, int], ...] = ()
    events: tuple[MigrationEvent, ...] = ()
    cpu_sec: Mapping[str, float] = field(default_factory=dict)
    remedy: str = ""
    options: str = ""
    load: str = ""
    written_mib_per_sec: float = 0.0
    samples: tuple[JobSample, ...] = ()
    note: str = ""

    @property
    def throttle_percent(self) -> int:
        """The most by which auto-converge held the vCPUs back; 0 where it did not."""
        return max((sample.throttle_percent for sample in self.samples), default=0)

    @property
    def switched_to_post_copy(self) -> bool:
        """True if the VM went on at the destination before all of its memory was there."""
        return self.event("status postcopy-active") is not None

    @property
    def lost(self) -> int:
        """Number of packets that never arrived."""
        return max(0, self.sent - len(self.packets))

    @property
    def hole(self) -> tuple[float, float]:
        """The longest time without a packet (for a stream: without a byte), as (begin, end)."""
        times = [packet.at_sec for packet in self.packets]
        if self.stream:
            first, *later = self.stream
            times = [first[0]]
            size = first[1]
            for at_sec, total in later:
                if total > size:
                    times.append(at_sec)
                size = total
        return max(pairwise(times), key=lambda pair: pair[1] - pair[0], default=(0.0, 0.0))

    @property
    def hole_ms(self) -> float:
        """The length of the hole; without one it is about the distance of two packets."""
        begin, end = self.hole
        return (end - begin) * 1000

    def rate_mbit(self, begin_sec: float, end_sec: float) -> float | None:
        """Return the stream's throughput between two times in Mbit/s; None without a stream."""
        inside = [pair for pair in self.stream if begin_sec <= pair[0] <= end_sec]
        if len(inside) < 2 or inside[-1][0] <= inside[0][0]:
            return None
        return (inside[-1][1] - inside[0][1]) * 8 / (inside[-1][0] - inside[0][0]) / 1e6

    def rtt_ms(self, begin_sec: float, end_sec: float) -> float | None:
        """Return the median round trip of the echoes between two times; None without any."""
        inside = [
            packet.rtt_ms
            for packet in self.packets
            if packet.rtt_ms is not None and begin_sec <= packet.at_sec < end_sec
        ]
        return statistics.median(inside) if inside else None

    def event(self, name: str, host: str | None = None) -> float | None:
        """Return when the first event of that name was seen; None where it was not."""
        times = [
            event.at_sec
            for event in self.events
            if event.name == name and host in (None, event.host)
        ]
        return min(times, default=None)

    @property
    def span(self) -> tuple[float, float]:
        """Begin and end of the migration, from QEMU's first event to the VM's run on B."""
        begin = min((e.at_sec for e in self.events if e.name.startswith("status")), default=0.0)
        end = self.event("RESUME", "B")
        return begin, self.seconds if end is None else end

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The parts of the migration, in order; only those that were seen."""
        unplug, active = self.event("status wait-unplug", "A"), self.event("status active", "A")
        stop, resume = self.event("STOP", "A"), self.event("RESUME", "B")
        passes = [e.at_sec for e in self.events if e.name.startswith("pass") and e.host == "A"]
        announced = [event.at_sec for event in self.events if event.host == "peer"]
        spans: list[tuple[str, float | None, float | None]] = [("unplug", unplug, active)]
        # The pass after the stop is that of what was left.
        edges = sorted(at for at in passes if stop is None or at < stop)
        edges += [stop] if stop is not None else []
        spans += [
            (f"pre-copy, round {number}", begin, end)
            for number, (begin, end) in enumerate(pairwise(edges), start=1)
        ]
        spans.append(("stop", stop, resume))
        if resume is not None:
            if self.switched_to_post_copy:
                # The last pages may have come before the VM went on: nothing was left to fetch.
                completed = self.event("status completed", "A")
                spans.append(("post-copy", resume, completed and max(resume, completed)))
            after = [at for at in announced if at >= resume]
            spans.append(("announce", resume, max(after, default=None)))
            back = [p.at_sec for p in self.packets if p.via == "VF" and p.at_sec > resume]
            spans.append(("VF back", resume, min(back, default=None)))
        return tuple(
            Phase(name, begin, end)
            for name, begin, end in spans
            if begin is not None and end is not None and end >= begin
        )

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Return the figures as names and values for people."""
        begin, end = self.span
        rows = [
            ("the VM", TRAFFIC_TEXTS[self.traffic] + (f"; {self.remedy}" if self.remedy else "")),
            ("downtime by libvirt", f"{self.downtime_ms} ms"),
            ("hole as the peer sees it", f"{self.hole_ms:.0f} ms"),
            ("elapsed", f"{self.elapsed_ms / 1000:.1f} s"),
            ("moved", f"{self.transferred_bytes / 2**20:.0f} MiB in {self.rounds} rounds"),
        ]
        if self.options:
            rows.insert(1, ("options", self.options))
        if self.load:
            rows.append(("the VM writes", f"{self.written_mib_per_sec:.0f} MiB/s ({self.load})"))
        if self.throttle_percent:
            rows.append(("vCPUs held back, at most", f"{self.throttle_percent} %"))
        if self.note:
            rows.append(("note", self.note))
        if self.packets:
            rows.append(("packets lost", f"{self.lost} of {self.sent}"))
            rows.append(("doubled, out of order", f"{self.duplicates}, {self.reordered}"))
        times = ((0.0, begin), (begin, end), (end, self.seconds))
        trips = [self.rtt_ms(*pair) for pair in times]
        if any(trip is not None for trip in trips):
            text = ", ".join("–" if trip is None else f"{trip:.2f}" for trip in trips)
            rows.append(("round trip before, during, after", f"{text} ms"))
        rates = [self.rate_mbit(*pair) for pair in times]
        if any(rate is not None for rate in rates):
            text = ", ".join("–" if rate is None else f"{rate:.0f}" for rate in rates)
            rows.append(("stream before, during, after", f"{text} Mbit/s"))
        if self.cpu_sec:
            text = ", ".join(f"{part} {sec:.2f}" for part, sec in self.cpu_sec.items())
            rows.append(("CPU time, s", text))
        return tuple(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            **to_json(self),
            "hole_ms": self.hole_ms,
            "hole": self.hole,
            "lost": self.lost,
            "phases": [asdict(phase) for phase in self.phases],
        }


def save_migration(result: MigrationResult, out: Path) -> Path:
    """Write a migration into a new folder under ``out``; return the folder.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        folder = new_folder(out)
        write_atomically(folder / MIGRATION_FILE, json.dumps(result.to_dict(), indent=1))
    except OSError as error:
        raise UsageError(f"The migration cannot be stored in {out}: {reason_of(error)}.") from error
    return folder


def load_migration(folder: Path) -> MigrationResult:
    """Read the migration of a folder.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    try:
        document = parse_json(read_file(folder, MIGRATION_FILE))
        return from_json(document, MigrationResult)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{folder} holds no migration that can be read: {reason_of(error)}."
        ) from error
