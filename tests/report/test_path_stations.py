"""Stations of traced packets: golden lists for every way in which a VM hands a packet over."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.measure.trace_events import Ends, build_path, parse_trace
from kvmlab.report import sentences
from kvmlab.report.path_stations import stations
from tests.report import builders

#: Recorded trace -> the stations of the host, as "name (kind), where it runs".
GOLDEN = {
    "path-virtio-qemu": [
        "QEMU (main loop), user space",
        "vnet7 (tap), kernel",
        "kvmlab-br (bridge), kernel",
        "p2p1 (port), kernel",
    ],
    "path-virtio-vhost": [
        "vhost worker (kernel thread), kernel",
        "vnet6 (tap), kernel",
        "kvmlab-br (bridge), kernel",
        "p2p1 (port), kernel",
    ],
}

#: Recorded on the embedded host in each mode of a macvtap, by who moves the packet.
MODES = ("bridge", "vepa", "private", "passthrough")
MOVERS = {
    "vhost": "vhost worker (kernel thread), kernel",
    "qemu": "QEMU (main loop), user space",
    "e1000": "QEMU (vCPU thread), user space",
}


@pytest.mark.parametrize("name", list(GOLDEN))
def test_the_thread_that_hands_the_packet_over_is_the_first_station(
    name: str, repository: Path
) -> None:
    check(repository, name, GOLDEN[name])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mover", list(MOVERS))
def test_every_macvtap_has_three_stations(mode: str, mover: str, repository: Path) -> None:
    text = (repository / "tests/data/measure" / f"path-macvtap-{mode}-{mover}.txt").read_text()
    (device,) = set(re.findall(r"dev=(macvtap\d+)", text))
    listing = [MOVERS[mover], f"{device} (macvtap), kernel", "p2p1 (port), kernel"]
    check(repository, f"path-macvtap-{mode}-{mover}", listing)


def check(repository: Path, name: str, listing: list[str]) -> None:
    """Compare the stations of a recorded trace with a listing, and the sentence about them."""
    text = (repository / "tests" / "data" / "measure" / f"{name}.txt").read_text()
    trace = parse_trace(text)
    vcpus = frozenset(event.tid for event in trace.events if event.comm.startswith("CPU "))
    loops = {event.tid for event in trace.events if event.comm.startswith("qemu-system")}
    pid = next(iter(loops), 0)
    path = build_path(trace, Ends("eth0", "p2p1", "p2p2", None, pid, vcpus, frozenset()))
    on_host = [station for station in stations(path) if station.side == "host"]
    assert [f"{s.name} ({s.kind}), {s.lane}" for s in on_host] == listing
    assert [station.mover for station in on_host] == [True, *[False] * (len(on_host) - 1)]
    sentence = str(sentences.layers(replace(builders.virtio(), path=path)))
    assert f"passed {len(on_host)} stations of the host" in sentence
    in_user_space = listing[0].endswith("user space")
    assert ("1 of them in user space" in sentence) == in_user_space
    assert ("all in the kernel" in sentence) != in_user_space


def test_a_station_that_only_the_reply_passed_comes_last_on_its_side() -> None:
    path = builders.path()
    extra = builders.hop("reply", "host", "ifb0", "other", "in", 1520, "softirq")
    names = [
        s.name for s in stations(replace(path, hops=(*path.hops[:-2], extra, *path.hops[-2:])))
    ]
    assert names == ["eth1", "QEMU", "vnet3", "kvmlab0", "p2p1", "ifb0", "p2p2"]


def test_who_receives_is_no_station_of_its_own() -> None:
    path = builders.path()
    back = replace(path.hops[-2], carrier="vhost worker")
    names = [s.name for s in stations(replace(path, hops=(*path.hops[:-2], back, path.hops[-1])))]
    assert "vhost worker" not in names
