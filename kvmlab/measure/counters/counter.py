"""Sources, snapshots and counters: what is read on a host, and the costs that it becomes.

A `Source` names something that a snapshot reads on the host and parses its text. A `Snapshot` holds
the texts of one moment. A `Counter` declares the sources that it needs and turns two snapshots into
costs. The program on the host (``scripts/meters.pl``) reads what the counters declare and knows
none of them.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar, cast

from kvmlab.clock import Clock
from kvmlab.domain import VmThreads
from kvmlab.errors import OutputError
from kvmlab.hosts import parse_files, parse_output
from kvmlab.measure import procfs
from kvmlab.measure.ebpf.programs import Attached, RecordFields
from kvmlab.measure.procfs import Thread
from kvmlab.results import Condition, Cost
from kvmlab.results.cost_kinds import CostKind

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MOMENT: Final = "moment"
VCPU, SERVER = "vCPU", "peer's server"


class Detail(Enum):
    """The amount of counting around a workload: each step has a price of its own."""

    STREAM = "stream"
    ROUND_TRIP = "round trip"
    FULL = "full costs"


ALWAYS: Final = frozenset(Detail)


class Source(Protocol[T_co]):
    """Something that a snapshot reads on the host, where the detail is one of ``details``."""

    @property
    def name(self) -> str:
        """The name in messages, unlike that of every other source."""

    @property
    def details(self) -> frozenset[Detail]:
        """The details in which it is read."""

    def words(self, vm: VmThreads) -> tuple[str, ...]:
        """Return what ``meters.pl`` has to read, in its words."""

    def parse(self, texts: Mapping[str, str], vm: VmThreads) -> T_co | None:
        """Return the value in a snapshot's texts (by the words), None where it was not read."""


@dataclass(frozen=True)
class FileSource(Generic[T]):
    """A file of the host, or something else that has one text (``net``)."""

    name: str
    parser: Callable[[str], T]
    details: frozenset[Detail] = ALWAYS

    def words(self, vm: VmThreads) -> tuple[str, ...]:
        """Return the path."""
        return (self.name,)

    def parse(self, texts: Mapping[str, str], vm: VmThreads) -> T | None:
        """Return the parsed file."""
        return self.parser(texts[self.name]) if self.name in texts else None


@dataclass(frozen=True)
class ThreadSource:
    """Threads with their CPU time: the VM's with its vhost workers, or the server's."""

    name: str
    details: frozenset[Detail] = ALWAYS

    def words(self, vm: VmThreads) -> tuple[str, ...]:
        """Return folders of threads in ``/proc``, or ``server`` for the server that runs."""
        if self.name == "server":
            return ("server",)
        # Since Linux 6.4 vhost workers may be threads of QEMU, and are among the others then.
        return (f"/proc/{vm.pid}/task", *(f"worker:{vm.pid}:{tid}" for tid in vm.vhost))

    def parse(self, texts: Mapping[str, str], vm: VmThreads) -> Mapping[int, Thread] | None:
        """Return the threads by their ids."""
        ours = {pid for path in texts if (pid := _pid(path)) is not None}
        ours = ours & {vm.pid, *vm.vhost} if self.name != "server" else ours - {vm.pid, *vm.vhost}
        threads = procfs.threads({path: text for path, text in texts.items() if _pid(path) in ours})
        return threads if threads or self.name == "server" else None


@dataclass(frozen=True)
class MapSource(Generic[T]):
    """A map that eBPF programs fill: ``number`` is its place among the maps.

    ``size`` gives the bytes of its one value. ``programs`` are those that fill it; they take the
    VM's threads and where the records of tracepoints have their fields. With ``is_emptied`` it
    starts anew for each trial.
    """

    name: str
    number: int
    size: Callable[[VmThreads], int]
    programs: Callable[[VmThreads, RecordFields], tuple[Attached, ...]]
    parser: Callable[[bytes, Mapping[str, str], VmThreads], T]
    details: frozenset[Detail] = ALWAYS
    is_emptied: bool = False

    def words(self, vm: VmThreads) -> tuple[str, ...]:
        """Return the map's name."""
        return (f"map:{self.number}",)

    def parse(self, texts: Mapping[str, str], vm: VmThreads) -> T | None:
        """Return the parsed value."""
        text = texts.get(f"map:{self.number}")
        return None if text is None else self.parser(bytes.fromhex(text), texts, vm)


_PID = re.compile(r"/proc/(\d+)/task/\d+/(?:sched)?stat")


def _pid(path: str) -> int | None:
    match = _PID.fullmatch(path)
    return int(match[1]) if match else None


@dataclass(frozen=True)
class Snapshot:
    """The texts of all sources at one moment; ``at_ns`` is of the host's monotonic clock."""

    label: str
    at_ns: int
    texts: Mapping[str, str]
    vm: VmThreads
    _values: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def has(self, source: Source[T]) -> bool:
        """Return True if the source was read."""
        return self._value(source) is not None

    def read(self, source: Source[T]) -> T:
        """Return the value of a source.

        Raises:
            OutputError: it was not read, or its text is not what it should be.
        """
        value = self._value(source)
        if value is None:
            raise OutputError(f"The snapshot `{self.label}` of the meters lacks {source.name}.")
        return value

    def _value(self, source: Source[T]) -> T | None:
        if source.name not in self._values:
            try:
                self._values[source.name] = source.parse(self.texts, self.vm)
            except (KeyError, ValueError, IndexError) as error:
                raise OutputError(
                    f"{source.name} in the snapshot `{self.label}` could not be read: {error}.",
                    evidence="\n".join(self.texts)[:400],
                ) from error
        return cast("T | None", self._values[source.name])


def parse_snapshots(
    text: str, vm: VmThreads, sources: Sequence[Source[Any]] = ()
) -> list[Snapshot]:
    """Return the snapshots that ``meters.pl`` printed, in order; each has all ``sources``.

    ::

        === snapshot begin
        ==> moment <==
        36045153000 amd                     (ns of the monotonic clock; whose virtualisation)
        ==> map:0 <==
        9e17000000000000...                 (the value of a map in hex digits)
        ==> net <==
        Inter-|   Receive ...
        ==> /proc/stat <==
        cpu  2255 34 2290 ...
        === end

    Raises:
        OutputError: it broke off, or a source is missing.
    """
    snapshots = [
        _snapshot(label, parse_files(body), vm)
        for label, body in parse_output(text).named("snapshot").items()
    ]
    for snapshot in snapshots:
        for source in sources:
            snapshot.read(source)
    return snapshots


def _snapshot(label: str, texts: Mapping[str, str], vm: VmThreads) -> Snapshot:
    try:
        return Snapshot(label, int(texts[MOMENT].split()[0]), texts, vm)
    except (KeyError, ValueError, IndexError) as error:
        raise OutputError(
            f"The snapshot `{label}` of the meters does not say when it was taken.",
            evidence="\n".join(texts)[:400],
        ) from error


@dataclass(frozen=True)
class SnapshotPair:
    """Two snapshots, and what is known of what was measured between them.

    ``devices`` are the host's devices whose interrupts belong to the scheme.
    """

    begin: Snapshot
    end: Snapshot
    clock: Clock
    devices: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """The time between them."""
        return (self.end.at_ns - self.begin.at_ns) / 1e9

    def has(self, source: Source[Any]) -> bool:
        """Return True if both have the source."""
        return self.begin.has(source) and self.end.has(source)

    def read(self, source: Source[T]) -> tuple[T, T]:
        """Return the source's value in both.

        Raises:
            OutputError: one of them lacks it.
        """
        return self.begin.read(source), self.end.read(source)

    def role(self, thread: Thread) -> str:
        """Return what a thread of the VM, or of the server at the peer, is there for."""
        vm = self.end.vm
        if thread.tid in vm.vcpus:
            return VCPU
        if thread.comm.startswith("vhost-"):
            return "vhost worker"
        if thread.process != vm.pid:
            return SERVER
        if thread.tid == vm.pid:
            return "QEMU main loop"
        return "QEMU I/O thread" if thread.comm.startswith("IO ") else "QEMU other threads"


class Counter(ABC):
    """One thing that is counted around a trial. The base class of all of them.

    A subclass declares the costs that it ``gives``, the sources that it ``needs`` and those that
    make it more exact where they are there (``uses``). It gives nothing where a source that it
    needs was not read.
    """

    gives: ClassVar[tuple[CostKind, ...]] = ()
    needs: ClassVar[tuple[Source[Any], ...]] = ()
    uses: ClassVar[tuple[Source[Any], ...]] = ()

    @abstractmethod
    def costs(self, pair: SnapshotPair) -> Iterator[Cost]:
        """Yield what was spent between two snapshots, which have all that the counter needs."""

    def conditions(self, pair: SnapshotPair) -> Iterator[Condition]:
        """Yield what may explain the figures and is no cost of the scheme."""
        yield from ()


def differences(kind: CostKind, begin: Mapping[str, int], end: Mapping[str, int]) -> Iterator[Cost]:
    """Yield one cost for each part that grew, the largest first; a zero if none did."""
    grown = {part: count - begin.get(part, 0) for part, count in end.items()}
    grown = {part: count for part, count in grown.items() if count} or {"none": 0}
    for part, count in sorted(grown.items(), key=lambda item: -item[1]):
        yield kind.cost(part, count)
