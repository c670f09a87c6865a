"""One line of a tool's output is something else: a figure, or a sentence; never a traceback."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmlab.changes.channels import parse_channels
from kvmlab.clock import Clock
from kvmlab.domain import VmThreads
from kvmlab.domain.threads import parse_threads
from kvmlab.errors import KvmlabError
from kvmlab.hosts import parse_output
from kvmlab.incidents.health import parse_health
from kvmlab.measure.counters import SnapshotPair, conditions, costs, parse_snapshots
from kvmlab.measure.counters.packets import window as packets
from kvmlab.measure.guest_counters import parse_queues
from kvmlab.measure.metadata import parse_metadata
from kvmlab.measure.timeline import parse_events
from kvmlab.measure.tool_output import iperf3_tcp, iperf3_udp, ping_times, sockperf_ping_pong
from kvmlab.measure.trace_events import Ends, build_path, parse_trace
from kvmlab.migration.probe import parse_recording
from kvmlab.results.migration import TRAFFICS
from tests.facts.mutations import mutated
from tests.migration.recordings import recording

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"
ENDS = Ends("eth0", "p2p1", "p2p2", "vnet0", pid=1, vcpus=frozenset({2}), vhost=frozenset())
VM = VmThreads(1, (2,), (), ())
#: What may stand in a line's place: nothing, a message in some language, a table, numbers.
ODD = st.one_of(
    st.just(""),
    st.just("ping : échec de la résolution"),
    st.just("=== end"),
    st.just("=== snapshot"),
    st.just("==> /proc/1/stat <=="),
    st.just("{ }"),
    st.just("   0   0   "),
    st.just('"end": null,'),
    st.just("-1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1"),
    st.just("9" * 40),
    st.text(max_size=40),
)


def window(text: str) -> object:
    pairs = [
        SnapshotPair(begin, end, Clock.VIRTUAL, ("p2p1",))
        for begin, end in pairwise(parse_snapshots(text, VM))
    ]
    return [(costs(one), conditions(one), packets(one, "p2p2", "")) for one in pairs]


READERS: dict[str, Callable[[str], object]] = {
    "iperf3-tcp-up.json": partial(iperf3_tcp, direction="up"),
    "iperf3-tcp-down.json": partial(iperf3_tcp, direction="down"),
    "iperf3-udp.json": iperf3_udp,
    "sockperf-ping-pong.txt": sockperf_ping_pong,
    "ping-busybox.txt": ping_times,
    "host-meta.txt": parse_metadata,
    "guest-meta.txt": parse_metadata,
    "guest-queues.txt": parse_queues,
    "path-virtio-vhost.txt": lambda text: build_path(parse_trace(text), ENDS),
    "path-virtio-qemu.txt": lambda text: build_path(parse_trace(text), ENDS),
    "window-vhost-tcp_up.txt": window,
    "window-virtio-qemu-tcp_up.txt": window,
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=150)
@given(odd=ODD, place=st.floats(0, 1), data=st.data())
def test_a_line_that_is_something_else(
    name: str, odd: str, place: float, data: st.DataObject
) -> None:
    lines = (DATA / name).read_text().split("\n")
    at = int(place * (len(lines) - 1))
    if data.draw(st.booleans(), label="only a word of it"):
        words = lines[at].split(" ")
        words[data.draw(st.integers(0, len(words) - 1), label="which")] = odd
        lines[at] = " ".join(words)
    else:
        lines[at] = odd
    with suppress(KvmlabError):
        READERS[name]("\n".join(lines))


#: More that a host, a VM or a peer prints, each with a text that one has printed.
TEXTS: dict[str, tuple[str, Callable[[str], object]]] = {
    **{name: ((DATA / name).read_text(), read) for name, read in READERS.items()},
    "timeline-virtio-vhost.txt": (
        (DATA / "timeline-virtio-vhost.txt").read_text(),
        lambda text: parse_events(parse_output(text).text("trace")),
    ),
    "threads": (
        "process 812\ntask 812 qemu\ntask 816 CPU 0/KVM\nkernel 9 vhost-812\n",
        parse_threads,
    ),
    "channels": ("maximums:\nCombined:\t4\nsettings:\nCombined:\t1\n", parse_channels),
    "health": (
        "ping 20 packets transmitted, 0% packet loss\nping min/avg/max = 0.1/0.2/0.3 ms\n"
        "download 141.32 141.44\nupload 126000000\n",
        parse_health,
    ),
    **{
        f"migration, {traffic}": (
            recording(traffic),
            partial(parse_recording, traffic=traffic),
        )
        for traffic in TRAFFICS
    },
}


@pytest.mark.parametrize("count", [20, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TEXTS)
def test_hostile_outputs(name: str, count: int) -> None:
    """Cut, bits flipped, lines moved, other values, sizes and depths: an error of kvmlab's own."""
    text, read = TEXTS[name]
    for seed in range(count):
        hostile = mutated(text, random.Random(seed))
        try:
            read(hostile)
        except KvmlabError:
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
