"""One line of what a tool printed is something else: a figure, or a sentence; never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmlab.errors import KvmlabError
from kvmlab.measure.baseline import parse_run
from kvmlab.measure.metadata import parse_metadata
from kvmlab.measure.queues import parse_queues
from kvmlab.measure.snapshot import Roles, costs, parse_snapshots
from kvmlab.measure.tools import iperf3_tcp, iperf3_udp, ping_times, sockperf_ping_pong
from kvmlab.measure.trace_events import Ends, build_path, parse_trace

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"
ENDS = Ends("eth0", "p2p1", "p2p2", "vnet0", pid=1, vcpus=frozenset({2}), vhost=frozenset())
RUN = "=== before\n  p2p2: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n=== client\nx\n=== after\n  p2p2: 9 9\n"
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
    found = parse_snapshots(text)
    return [
        costs(one, other, Roles(1, frozenset({2})), ("p2p1",)) for one, other in pairwise(found)
    ]


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


@given(text=st.text(max_size=200))
def test_a_run_without_a_vm(text: str) -> None:
    for whole in (text, RUN + text):
        with suppress(KvmlabError):
            parse_run(whole, "tcp_up", at_peer=True)
