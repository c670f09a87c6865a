"""Parsers of kernel text, pure: text in, numbers out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from kvmlab.errors import OutputError

TICKS_PER_SEC = 100  # USER_HZ, which is 100 on every x86 Linux
US_PER_TICK = 1_000_000 / TICKS_PER_SEC


@dataclass(frozen=True)
class DeviceCounters:
    """The counters of one network device, since it exists."""

    rx_bytes: int
    rx_packets: int
    tx_bytes: int
    tx_packets: int

    def since(self, before: Self) -> Self:
        """Return what the counters moved by."""
        return type(self)(
            *(getattr(self, field.name) - getattr(before, field.name) for field in fields(self))
        )


@dataclass(frozen=True)
class Thread:
    """CPU time, waiting and context switches of one thread, since it exists."""

    tid: int
    process: int
    comm: str
    run_ns: int
    wait_ns: int
    guest_ticks: int
    switches: int

    def since(self, before: Thread | None) -> Thread:
        """Return what it spent since then; all of it where it did not exist."""
        if before is None:
            return self
        return Thread(
            self.tid,
            self.process,
            self.comm,
            self.run_ns - before.run_ns,
            self.wait_ns - before.wait_ns,
            self.guest_ticks - before.guest_ticks,
            self.switches - before.switches,
        )


def net_dev(text: str) -> dict[str, DeviceCounters]:
    """Return counters by device from ``/proc/net/dev``.

    ::

        Inter-|   Receive                                                |  Transmit
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs ...
          p2p2: 1293848   15021    0    0    0     0          0         0  1289012   14980    0 ...

    Raises:
        OutputError: that is something else, or it broke off.
    """
    lines = text.splitlines()
    if len(lines) < 3 or "|bytes" not in lines[1]:
        raise OutputError("/proc/net/dev is not what it should be.", evidence=text[:400])
    devices = {}
    for line in lines[2:]:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) < 16:
            raise OutputError("/proc/net/dev broke off.", evidence=line)
        rx_bytes, rx_packets, tx_bytes, tx_packets = (int(words[i]) for i in (0, 1, 8, 9))
        devices[name.strip()] = DeviceCounters(rx_bytes, rx_packets, tx_bytes, tx_packets)
    return devices


def cpu_ticks(text: str) -> dict[str, int]:
    """Return ticks of all CPUs by kind from ``/proc/stat``.

    ::

        cpu  2255 34 2290 22625563 6290 127 456 31 120 0

    Raises:
        OutputError: that line is not there.
    """
    kinds = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest")
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["cpu"] and len(words) > len(kinds):
            return dict(zip(kinds, map(int, words[1:]), strict=False))
    raise OutputError("/proc/stat has no line for all CPUs.", evidence=text[:400])


def per_cpu_table(text: str) -> dict[str, int]:
    """Return sums over the CPUs by name from ``/proc/interrupts`` or ``/proc/softirqs``.

    An interrupt is named by its action, the last words of its line, not by its number::

                   CPU0       CPU1
         34:       1201          0  PCI-MSIX-0000:0b:00.0   1-edge      p2p1-TxRx-0
        LOC:      40211      38122  Local timer interrupts
             NET_RX:       4712       3311

    Raises:
        OutputError: there is no head line that names the CPUs.
    """
    lines = text.splitlines()
    cpus = lines[0].split() if lines else []
    if not cpus or not cpus[0].startswith("CPU"):
        raise OutputError("A table of /proc names no CPUs.", evidence=text[:400])
    sums: dict[str, int] = {}
    for line in lines[1:]:
        label, _, rest = line.partition(":")
        words = rest.split()
        counts = words[: len(cpus)]
        if not all(word.isdecimal() for word in counts):
            continue
        # Numbered lines end in "CHIP NUMBER-edge NAME"; LOC, NET_RX and the like name themselves.
        numbered = label.strip().isdecimal()
        name = " ".join(_action(words[len(cpus) :])) if numbered else label.strip()
        sums[name] = sums.get(name, 0) + sum(map(int, counts))
    return sums


def _action(words: list[str]) -> list[str]:
    for index, word in enumerate(words):
        if word.endswith(("-edge", "-level", "-fasteoi")) or word in ("edge", "level", "fasteoi"):
            return words[index + 1 :] or words[-1:]
    return words[-1:]


def threads(files: Mapping[str, str]) -> dict[int, Thread]:
    """Return threads by id from ``/proc/PID/task/TID/{stat,schedstat}``.

    ::

        712 (CPU 0/KVM) S 1 698 698 0 -1 138428480 1002 0 0 0 311 402 0 0 20 0 5 0 1301 ...
        7131882301 90122313 40122          (on a CPU, waiting for one: ns; times it was put on one)

    A thread that is put on a CPU once was taken off once: these are its context switches.

    Raises:
        OutputError: one of them broke off.
    """
    by_id = {}
    for path, text in files.items():
        if not re.fullmatch(r"/proc/\d+/task/\d+/stat", path):
            continue
        folder = path.removesuffix("/stat")
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        spent = files.get(f"{folder}/schedstat", "").split()
        if len(fields) < 42 or len(spent) != 3:
            raise OutputError(f"What {folder} says of a thread broke off.", evidence=text[:400])
        tid = int(folder.rpartition("/")[2])
        by_id[tid] = Thread(
            tid=tid,
            process=int(folder.split("/")[2]),
            comm=head.partition("(")[2],
            run_ns=int(spent[0]),
            wait_ns=int(spent[1]),
            guest_ticks=int(fields[40]),  # field 43 of proc_pid_stat(5); the state is field 3
            switches=int(spent[2]),
        )
    return by_id


def busy_ns(text: str) -> int:
    """Return how long all CPUs ran programs since the host's start, from ``/proc/schedstat``.

    ::

        version 16
        timestamp 4294901535
        cpu0 0 0 0 0 0 0 22811463074 7809063629 21529     (the seventh: ns that programs ran)

    Raises:
        OutputError: there is no line of a CPU.
    """
    lines = [line.split() for line in text.splitlines() if re.match(r"cpu\d", line)]
    if not lines or any(len(words) < 8 for words in lines):
        raise OutputError("/proc/schedstat tells of no CPU.", evidence=text[:400])
    return sum(int(words[7]) for words in lines)
