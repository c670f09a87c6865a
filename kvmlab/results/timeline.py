"""A timeline of one echo: what ran on the host at each moment of a round trip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from kvmlab.clock import Clock

Lane = Literal[
    "guest",
    "vCPU in KVM",
    "vCPU in QEMU",
    "main loop",
    "QEMU's other threads",
    "vhost worker",
    "interrupt",
    "softirq",
    "peer",
    "peer after sending",
    "other programs",
    "idle",
]
MarkKind = Literal["exit", "system call", "wake-up", "interrupt", "packet"]

LANES: Final[tuple[Lane, ...]] = get_args(Lane)
"""All lanes, from the guest outwards to the peer."""

#: What delays an echo only because the peer shares the host's CPUs: its ping goes to sleep before
#: the thread that the echo woke can run. A peer on a machine of its own does that beside the path.
LANES_OF_THE_LAB: Final[tuple[Lane, ...]] = ("peer after sending",)


@dataclass(frozen=True)
class Span:
    """A stretch of time in one lane, in µs from the begin of the echo."""

    lane: Lane
    begin_us: float
    end_us: float

    @property
    def us(self) -> float:
        """Its length."""
        return self.end_us - self.begin_us


@dataclass(frozen=True)
class Mark:
    """One event in a lane: an exit, a system call, a wake-up of another lane, a packet at a device.

    ``name`` is the exit's reason, the system call, the interrupt or the device.
    """

    kind: MarkKind
    at_us: float
    lane: Lane
    name: str
    to_lane: Lane | None = None


@dataclass(frozen=True)
class Timeline:
    """One echo from the peer to the VM and back.

    ``spans`` are all that ran; on several CPUs they overlap. ``path`` follows the echo: at each
    moment the lane that began to run last, and "idle" where nothing ran. It has no gaps, so that it
    adds up to ``total_us``. Events cost time, so that a traced echo takes longer than others:
    ``untraced_us`` is the median of echoes just before. ``missing`` lists tracepoints that the
    host's kernel lacks, with what cannot be told apart without them.
    """

    scheme: str
    label: str
    host: str
    clock: Clock
    emulated: str | None
    spans: tuple[Span, ...]
    path: tuple[Span, ...]
    marks: tuple[Mark, ...]
    total_us: float
    untraced_us: float | None = None
    missing: tuple[str, ...] = ()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes in which anything ran, from the guest outwards."""
        seen = {span.lane for span in (*self.spans, *self.path)}
        return tuple(lane for lane in LANES if lane in seen)

    def us(self, lane: Lane) -> float:
        """Return how much of the round trip the path spent in a lane."""
        return sum(span.us for span in self.path if span.lane == lane)

    @property
    def lab_us(self) -> float:
        """The part of the round trip that belongs to the lab and not to the scheme."""
        return sum(map(self.us, LANES_OF_THE_LAB))

    def count(self, kind: MarkKind, lane: Lane | None = None) -> int:
        """Return the number of marks of a kind, in one lane or in all."""
        return sum(mark.kind == kind and lane in (None, mark.lane) for mark in self.marks)
