"""Settings of a measurement: workloads, numbers and lengths of trials, checked when built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.results import Variant

USUAL_WORKLOADS = ("tcp_up", "tcp_down", "latency", "pps")
"""TCP from the VM to the peer, TCP back, echoes, small UDP datagrams from the VM."""
LOADED_WORKLOADS = ("latency_under_up", "latency_under_down", "latency_under_both")
"""Echoes while TCP runs from the VM, to it, or both ways at once."""
WORKLOADS = (
    *USUAL_WORKLOADS,
    "pps_down",
    "request_response",
    "tcp_up_flows",
    "pps_flows",
    *LOADED_WORKLOADS,
)
"""All of those, small UDP datagrams to the VM, UDP messages that a program at the peer answers, and
TCP and small datagrams from the VM in several flows at once. Each may carry a size of message and a
number of flows of its own: `tcp_up@1024x4`."""
MESSAGE_SIZES = (64, 256, 1024, 4096, 16_384, 65_536)
FLOWS = (1, 2, 4, 8)

_MOST_SECONDS = 600
MOST_TRIALS = 100
_SMALLEST_MESSAGE, _LARGEST_MESSAGE, _LARGEST_DATAGRAM = 64, 65_536, 65_507
_UDP = ("pps", "pps_down", "pps_flows", "request_response")
_ECHOES = ("latency",)  # no message of ours, and one at a time
_ONE_FLOW = (*_ECHOES, "request_response")
_MOST_FLOWS = 128  # of one iperf3


@dataclass(frozen=True)
class Trials:
    """The settings of a measurement.

    ``count`` trials of each of ``workloads``, each ``seconds`` long after ``warmup_sec`` that are
    left out (whole seconds of the host's clock: iperf3 and sockperf know no others). The default
    warm-up is one second of wall time and none of virtual time, where neither caches nor clock
    rates warm up and a second costs many of ours. ``flows`` is the number of flows at once in the
    workloads of several flows. ``message_bytes`` is the size of one write, from 64 to 65,536 (one
    UDP datagram holds 65,507); by default iperf3's own 128 KiB for TCP, 64 for small datagrams, 14
    for requests. Echoes have a size of their own. ``seed`` decides the order in which compared
    schemes alternate. ``trace_path`` follows one packet through the host as well.

    ``full_costs`` counts more in streams (the workloads of iperf3): QEMU's system calls, whether a
    vCPU's thread was in KVM or in QEMU, and under the virtual clock the instructions of a packet by
    who ran them. A stream is then a few percent slower (docs/benchmarks.md has the figures).

    With ``until_percent`` there are at least ``count`` trials and as many more as it takes until
    the interval of the compared ratio is within so many percent of its middle, or until
    ``budget_sec`` seconds of our own time have passed; without it there are ``count``.
    With ``extend_percent`` three trials or more whose interval is wider than so many percent of its
    middle are followed by up to as many again: now and then one trial in a hundred stands out, and
    with it among three nothing can be said.

    Raises:
        UsageError: a setting cannot be used; the message says which and why.
    """

    count: int = 3
    seconds: float = 1
    warmup_sec: float | None = None
    workloads: Sequence[str] = USUAL_WORKLOADS
    seed: int = 1
    trace_path: bool = True
    until_percent: float | None = None
    extend_percent: float | None = None
    budget_sec: float = 600
    flows: int = 8
    message_bytes: int | None = None
    full_costs: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.workloads, str):
            raise UsageError(
                f"The workloads are the text `{self.workloads}`; a list of names is needed.",
                todo=f"Write for example workloads=({self.workloads!r},).",
            )
        object.__setattr__(self, "workloads", tuple(self.workloads))
        _whole("count", self.count, 1, MOST_TRIALS)
        _whole("seconds", self.seconds, 1, _MOST_SECONDS)
        if self.warmup_sec is not None:
            _whole("warmup_sec", self.warmup_sec, 0, 60)
        _whole("flows", self.flows, 1, _MOST_FLOWS)
        if self.message_bytes is not None:
            most = min(_most_bytes(name) for name in self.workloads or ("tcp_up",))
            _whole("message_bytes", self.message_bytes, _SMALLEST_MESSAGE, most)
        for name in ("trace_path", "full_costs"):
            _yes_or_no(name, getattr(self, name))
        _whole("seed", self.seed, 0, 2**32 - 1)
        _whole("budget_sec", self.budget_sec, 1, 86_400)
        for name in ("until_percent", "extend_percent"):
            if (percent := getattr(self, name)) is not None:
                _number(name, percent, 0.1, 100)
        bases = {name: Variant.parse(str(name)).base for name in self.workloads}
        unknown = [name for name, base in bases.items() if base not in WORKLOADS]
        if unknown or not self.workloads or len(set(self.workloads)) < len(self.workloads):
            raise UsageError(
                f"The workloads {list(self.workloads)!r} cannot be run"
                f"{f': {unknown[0]!r} is unknown' if unknown else ''}.",
                todo=f"Name each of those you want once; there are {', '.join(WORKLOADS)}.",
            )
        for name in self.workloads:
            _check_variant(Variant.parse(name))

    def sweep(
        self,
        workload: str,
        *,
        message_bytes: Sequence[int] | None = None,
        flows: Sequence[int] | None = None,
    ) -> Trials:
        """Return the settings for one workload over sizes of messages, numbers of flows, or both.

        Without either the sizes are :data:`MESSAGE_SIZES`; a datagram holds 65,507 bytes, which
        then replace the largest. `kvmlab.figures.sweep` draws the result.

        Raises:
            UsageError: the workload is unknown, or has no such size or number of flows.
        """
        sizes: Sequence[int | None] = message_bytes or (None,)
        if message_bytes is None and flows is None:
            sizes = [min(size, _most_bytes(workload)) for size in MESSAGE_SIZES]
        varied = [Variant(workload, size, many) for many in flows or (None,) for size in sizes]
        return replace(self, workloads=tuple(map(str, varied)))

    def on(self, clock: Clock) -> Trials:
        """Return the settings with the default warm-up of the clock, unless one was set."""
        if self.warmup_sec is not None:
            return self
        return replace(self, warmup_sec=0 if clock is Clock.VIRTUAL else 1)

    @property
    def omitted_sec(self) -> int:
        """The warm-up in whole seconds."""
        return 1 if self.warmup_sec is None else int(self.warmup_sec)

    @property
    def total_sec(self) -> int:
        """The seconds that one client runs: warm-up and measurement."""
        return self.omitted_sec + int(self.seconds)

    def to_dict(self) -> dict[str, Any]:
        """Return all settings, ready for JSON."""
        return {**asdict(self), "workloads": list(self.workloads)}


def _most_bytes(name: str) -> int:
    return _LARGEST_DATAGRAM if Variant.parse(str(name)).base in _UDP else _LARGEST_MESSAGE


def _check_variant(varied: Variant) -> None:
    """Refuse a size or a number of flows that the workload cannot have."""
    for value, without, what in (
        (varied.message_bytes, _ECHOES, "messages whose size can be set"),
        (varied.flows, _ONE_FLOW, "several flows"),
    ):
        if value is not None and varied.base in without:
            raise UsageError(
                f"The workload `{varied.base}` has no {what}, so that `{varied}` cannot be run.",
                todo="Give it none, or take another workload.",
            )
    if varied.message_bytes is not None:
        most = _most_bytes(varied.base)
        _whole("message_bytes", varied.message_bytes, _SMALLEST_MESSAGE, most)
    if varied.flows is not None:
        _whole("flows", varied.flows, 1, _MOST_FLOWS)


def _whole(name: str, value: object, least: int, most: int) -> None:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or value != value // 1
        or not least <= value <= most
    ):
        raise UsageError(
            f"The trial setting `{name}` is {value!r}; a whole number from {least} to {most} is "
            "needed."
        )


def _number(name: str, value: object, least: float, most: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise UsageError(
            f"The trial setting `{name}` is {value!r}; a number from {least:g} to {most:g} is "
            "needed."
        )


def _yes_or_no(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise UsageError(f"The trial setting `{name}` is {value!r}; True or False is needed.")
