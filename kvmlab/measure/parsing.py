"""Small readers of kernel text, pure: text in, numbers out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kvmlab.errors import OutputError
from kvmlab.measure.exit_names import userspace_exit_name, vector_name, vm_exit_name
from kvmlab.measure.syscall_names import syscall_name

TICKS_PER_SEC = 100  # USER_HZ, which is 100 on every x86 Linux
_BUCKET = re.compile(
    r"^\{ (?P<keys>.+) \} hitcount:\s*(?P<count>\d+)(?:\s+common_timestamp:\s*(?P<ns>\d+))?", re.M
)
_TOTALS = re.compile(r"^Totals:\n\s+Hits: (?P<hits>\d+)\n.*?Dropped: (?P<dropped>\d+)", re.M | re.S)


@dataclass(frozen=True)
class Counters:
    """The counters of one network device, since it exists."""

    rx_bytes: int
    rx_packets: int
    tx_bytes: int
    tx_packets: int


@dataclass(frozen=True)
class Moments:
    """Events and the sum of their moments, modulo 2^64 as the kernel sums; ``ns`` None: no sum."""

    count: int
    ns: int | None


@dataclass(frozen=True)
class Thread:
    """What one thread has spent since it exists."""

    tid: int
    process: int
    comm: str
    run_ns: int
    wait_ns: int
    guest_ticks: int
    switches: int


def histogram(text: str) -> dict[tuple[int, ...], int]:
    """Counts by key from a tracefs ``hist`` file: :func:`moments` without the sums."""
    return {key: found.count for key, found in moments(text).items()}


def moments(text: str) -> dict[tuple[int, ...], Moments]:
    """Counts and summed moments by key from a tracefs ``hist`` file.

    ::

        # event histogram
        #
        # trigger info: hist:keys=common_pid:vals=hitcount,common_timestamp:sort=hitcount:...
        #

        { common_pid:        263 } hitcount:        221  common_timestamp: 4504740506212

        Totals:
            Hits: 221
            Entries: 1
            Dropped: 0

    Raises:
        OutputError: it broke off, its parts exceed its total, or the kernel dropped events.
    """
    found: dict[tuple[int, ...], Moments] = {}
    for bucket in _BUCKET.finditer(text):
        try:
            key = tuple(_signed(part.split(":")[1]) for part in bucket["keys"].split(","))
        except (ValueError, IndexError) as error:
            raise OutputError("A histogram's key is no number.", evidence=text[:400]) from error
        before = found.get(key, Moments(0, 0))
        ns = None if bucket["ns"] is None else (before.ns or 0) + int(bucket["ns"])
        found[key] = Moments(before.count + int(bucket["count"]), ns)
    totals = _TOTALS.search(text)
    # The VM runs on while the file is read, and the totals come last: they may be ahead.
    if totals is None or sum(m.count for m in found.values()) > int(totals["hits"]):
        raise OutputError("A histogram of the kernel is incomplete.", evidence=text[-400:])
    if int(totals["dropped"]):
        raise OutputError(
            f"The kernel dropped {totals['dropped']} events of a histogram.", evidence=text[-400:]
        )
    return found


def _signed(text: str) -> int:
    value = int(text, 0) & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def vm_exits(text: str) -> dict[str, int]:
    """VM exits by name from the hist of ``kvm:kvm_exit``, keys common_pid, isa, exit_reason."""
    found: dict[str, int] = {}
    for (_, *key), count in histogram(text).items():
        name = vm_exit_name(*_pair(tuple(key), text))
        found[name] = found.get(name, 0) + count
    return found


def by_thread(text: str) -> dict[int, Moments]:
    """Counts and summed moments by thread id, of a histogram whose first key is common_pid."""
    found: dict[int, Moments] = {}
    for (tid, *_), more in moments(text).items():
        before = found.get(tid, Moments(0, 0))
        ns = None if more.ns is None or before.ns is None else (before.ns + more.ns) % 2**64
        found[tid] = Moments(before.count + more.count, ns)
    return found


def userspace_exits(text: str) -> dict[str, int]:
    """Exits to QEMU by name from the hist of ``kvm:kvm_userspace_exit``, keys reason, errno."""
    found: dict[str, int] = {}
    for key, count in histogram(text).items():
        name = userspace_exit_name(*_pair(key, text))
        found[name] = found.get(name, 0) + count
    return found


def injected(text: str) -> dict[str, int]:
    """Interrupts injected into the VM by vector from the hist of ``kvm:kvm_inj_virq``."""
    return {vector_name(key[0]): count for key, count in histogram(text).items()}


def syscalls(text: str) -> dict[str, int]:
    """System calls by name from the hist of ``raw_syscalls:sys_enter`` with the key id."""
    return {syscall_name(key[0]): count for key, count in histogram(text).items()}


def _pair(key: tuple[int, ...], text: str) -> tuple[int, int]:
    if len(key) != 2:
        raise OutputError("A histogram has other keys than it should.", evidence=text[:400])
    return key


def net_dev(text: str) -> dict[str, Counters]:
    """Counters by device from ``/proc/net/dev``.

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
    found = {}
    for line in lines[2:]:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) < 16:
            raise OutputError("/proc/net/dev broke off.", evidence=line)
        rx_bytes, rx_packets, tx_bytes, tx_packets = (int(words[i]) for i in (0, 1, 8, 9))
        found[name.strip()] = Counters(rx_bytes, rx_packets, tx_bytes, tx_packets)
    return found


def cpu_ticks(text: str) -> dict[str, int]:
    """Ticks of all CPUs by kind from ``/proc/stat``.

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
    """Sums over the CPUs by name from ``/proc/interrupts`` or ``/proc/softirqs``.

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
    found: dict[str, int] = {}
    for line in lines[1:]:
        label, _, rest = line.partition(":")
        words = rest.split()
        counts = words[: len(cpus)]
        if not all(word.isdigit() for word in counts):
            continue
        # Numbered lines end in "CHIP NUMBER-edge NAME"; LOC, NET_RX and the like name themselves.
        numbered = label.strip().isdigit()
        name = " ".join(_action(words[len(cpus) :])) if numbered else label.strip()
        found[name] = found.get(name, 0) + sum(map(int, counts))
    return found


def _action(words: list[str]) -> list[str]:
    for index, word in enumerate(words):
        if word.endswith(("-edge", "-level", "-fasteoi")) or word in ("edge", "level", "fasteoi"):
            return words[index + 1 :] or words[-1:]
    return words[-1:]


def threads(files: Mapping[str, str]) -> dict[int, Thread]:
    """Threads by id from ``/proc/PID/task/TID/{stat,schedstat}``.

    ::

        712 (CPU 0/KVM) S 1 698 698 0 -1 138428480 1002 0 0 0 311 402 0 0 20 0 5 0 1301 ...
        7131882301 90122313 40122          (on a CPU, waiting for one: ns; times it was put on one)

    A thread that is put on a CPU once was taken off once: these are its context switches.

    Raises:
        OutputError: one of them broke off.
    """
    found = {}
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
        found[tid] = Thread(
            tid=tid,
            process=int(folder.split("/")[2]),
            comm=head.partition("(")[2],
            run_ns=int(spent[0]),
            wait_ns=int(spent[1]),
            guest_ticks=int(fields[40]),  # field 43 of proc_pid_stat(5); the state is field 3
            switches=int(spent[2]),
        )
    return found


def trace_clock_sec(text: str) -> float:
    """The time of a tracefs instance, from its ``per_cpu/cpu0/stats``, to the microsecond.

    ::

        entries: 0
        oldest event ts:     0.000000
        now ts:    36.045153
        dropped events: 0

    Raises:
        OutputError: there is no such line; the trace clock counts no time.
    """
    found = re.search(r"^now ts:\s+(\d+\.\d+)$", text, re.MULTILINE)
    if found is None:
        raise OutputError("A tracefs instance does not tell its time.", evidence=text[:400])
    return float(found[1])


def busy_ns(text: str) -> int:
    """How long all CPUs ran programs since the host's start, from ``/proc/schedstat``.

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
