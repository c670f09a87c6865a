"""The load of the machine beneath a trial: steal, load, waiting, clock rate, heat.

For a host with its own hardware that is the host; for an emulated one it is the machine that runs
kvmlab, since the host's kernel cannot see what is taken from it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from kvmlab.clock import Clock
from kvmlab.hosts import LocalRunner, read_tree
from kvmlab.measure.procfs import US_PER_TICK, cpu_ticks
from kvmlab.results import Condition, Cost
from kvmlab.results.cost_kinds import MACHINE_STEAL

if TYPE_CHECKING:
    from kvmlab.hosts import Host, Runner

_STAT, _LOAD = "/proc/stat", "/proc/loadavg"
_FREQUENCY = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"  # kHz
_HEAT = "/sys/class/thermal/thermal_zone*/temp"  # thousandths of a degree
_THROTTLED = "/sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"
_FILES = (_STAT, _LOAD, _FREQUENCY, _HEAT, _THROTTLED)
_FLAG_SHARE = 0.10  # of one CPU
BENEATH, HOST, OURS = "machine beneath", "host", "machine that runs kvmlab"


@dataclass(frozen=True)
class Reading:
    """The state of a machine at one moment; None where the machine does not report it.

    ``waited_ns`` is how long the threads of the emulator were ready to run and did not, since
    they exist.
    """

    at_sec: float
    steal_us: float
    waited_ns: int | None
    load: float | None
    lowest_mhz: float | None
    hottest_celsius: float | None
    throttled: int | None


class MachineLoad:
    """The machine beneath a trial, from the creation of this object to :meth:`end`."""

    def __init__(self, host: Host) -> None:
        self._emulated = host.emulated is not None
        # Under the virtual clock the host loses nothing to other programs of this machine.
        self._matters = not (self._emulated and host.clock is Clock.VIRTUAL)
        self._runner: Runner = LocalRunner() if self._emulated else host.runner
        self._emulator = host.emulator_pid
        self._begin = self._read()
        self._end = self._begin

    def end(self) -> None:
        """Read the machine again: the traffic is over."""
        self._end = self._read()

    @property
    def costs(self) -> tuple[Cost, ...]:
        """The time that others took from the machine beneath an emulated host, in wall time."""
        if not self._emulated or not self._matters:
            return ()
        stolen = self._end.steal_us - self._begin.steal_us
        return (MACHINE_STEAL.cost(f"all CPUs of the {BENEATH}", stolen),)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The machine's own figures about the time of the trial."""
        return tuple(
            conditions_between(self._begin, self._end, BENEATH if self._emulated else HOST)
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """Conditions that explain a bad trial by themselves, in words."""
        if not self._matters:
            return ()
        return tuple(explaining(self.conditions, self.costs, self._end.at_sec - self._begin.at_sec))

    def _read(self) -> Reading:
        texts = read_tree(self._runner, *_FILES)
        return reading(texts, at_sec=monotonic(), waited_ns=self._waited_ns())

    def _waited_ns(self) -> int | None:
        if self._emulator is None:
            return None
        texts = read_tree(self._runner, f"/proc/{self._emulator}/task/*/schedstat")
        return waited_ns(texts.values())


def waited_ns(schedstats: Iterable[str]) -> int | None:
    """Return how long threads were ready to run and did not, together: the second word of each.

    >>> waited_ns(["73481022 1822903 312", "1000 10 1"])
    1822913
    """
    waited = [int(words[1]) for text in schedstats if len(words := text.split()) == 3]
    return sum(waited) if waited else None


def reading(texts: Mapping[str, str], *, at_sec: float, waited_ns: int | None) -> Reading:
    """Return the files of a machine, read together, as numbers."""

    def numbers(prefix: str, ending: str) -> list[int]:
        fitting = (t for path, t in texts.items() if path.startswith(prefix) and ending in path)
        return [int(text) for text in fitting if text.lstrip("-").isdecimal()]

    rates = numbers("/sys/devices/system/cpu/", "scaling_cur_freq")
    heat = numbers("/sys/class/thermal/", "/temp")
    throttled = numbers("/sys/devices/system/cpu/", "_throttle_count")
    load = texts.get(_LOAD, "").split()
    return Reading(
        at_sec=at_sec,
        steal_us=cpu_ticks(texts[_STAT])["steal"] * US_PER_TICK if _STAT in texts else 0.0,
        waited_ns=waited_ns,
        load=float(load[0]) if load else None,
        lowest_mhz=min(rates) / 1000 if rates else None,
        hottest_celsius=max(heat) / 1000 if heat else None,
        throttled=sum(throttled) if throttled else None,
    )


def conditions_between(begin: Reading, end: Reading, where: str) -> Iterator[Condition]:
    """Yield what two readings say about the time between them, where both have it."""
    if end.load is not None:
        yield Condition("load_count", where, end.load, "")
    if begin.waited_ns is not None and end.waited_ns is not None:
        passed_ns = (end.at_sec - begin.at_sec) * 1e9
        waited = 100 * (end.waited_ns - begin.waited_ns) / passed_ns if passed_ns else 0.0
        yield Condition("emulator_wait_percent", where, waited, "%")
    if begin.lowest_mhz is not None and end.lowest_mhz is not None:
        lowest = min(begin.lowest_mhz, end.lowest_mhz)
        yield Condition("cpu_frequency_mhz", where, lowest, "MHz")
    if end.hottest_celsius is not None:
        yield Condition("temperature_celsius", where, end.hottest_celsius, "°C")
    if begin.throttled is not None and end.throttled is not None:
        yield Condition("throttled_count", where, float(end.throttled - begin.throttled), "")


def explaining(
    conditions: Iterable[Condition], costs: Iterable[Cost], passed_sec: float
) -> Iterator[str]:
    """Yield the flags that follow from one trial alone; ``passed_sec`` is wall time."""
    for cost in costs:
        if cost.value > _FLAG_SHARE * passed_sec * 1e6:
            share = cost.value / (passed_sec * 1e6)
            yield f"steal on the {BENEATH} {share:.0%} of one CPU"
    for condition in conditions:
        if condition.name == "emulator_wait_percent" and condition.value > 100 * _FLAG_SHARE:
            yield (
                f"the emulator waited for a CPU of the {condition.where} "
                f"{condition.value:.0f} % of the time"
            )
        if condition.name == "throttled_count" and condition.value:
            yield (
                f"the {condition.where} throttled its CPUs for heat, {condition.value:.0f} times"
            )
