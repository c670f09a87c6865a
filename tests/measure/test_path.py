"""The path of one packet, from traces that an emulated host really printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmlab.errors import MeasureError, OutputError
from kvmlab.measure.trace_events import Ends, Trace, build_path, parse_trace
from kvmlab.results import Path as PacketPath

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"
TAPS = {"e1000e": "vnet5", "virtio-qemu": "vnet7", "virtio-vhost": "vnet6"}


def ends(scheme: str) -> Ends:
    return Ends("eth0", "p2p1", "p2p2", TAPS[scheme], 290, frozenset({294, 295}), frozenset())


def text(scheme: str) -> str:
    return (DATA / f"path-{scheme}.txt").read_text()


def path(scheme: str) -> PacketPath:
    return path_of(scheme, ends(scheme))


def path_of(recording: str, known: Ends) -> PacketPath:
    return build_path(parse_trace(text(recording)), known)


@pytest.mark.parametrize("scheme", list(TAPS))
def test_there_and_back_over_tap_bridge_and_port(scheme: str) -> None:
    traced = path(scheme)
    assert traced.devices() == ("eth0", TAPS[scheme], "kvmlab-br", "p2p1", "p2p2")
    assert traced.devices(leg="reply") == ("p2p2", "p2p1", "kvmlab-br", TAPS[scheme], "eth0")
    assert [hop.side for hop in traced.leg("request")] == ["guest", "host", "host", "host", "peer"]
    assert [hop.kind for hop in traced.leg("request")][1:4] == ["tap", "bridge", "port"]
    times = [hop.at_us for hop in traced.hops]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("scheme", "carrier"),
    [
        ("e1000e", "vCPU thread of QEMU"),
        ("virtio-qemu", "QEMU main loop"),
        ("virtio-vhost", "vhost worker"),
    ],
)
def test_who_puts_the_packet_on_the_tap(scheme: str, carrier: str) -> None:
    first = path(scheme).host_hops[0]
    assert (first.device, first.carrier, first.direction) == (TAPS[scheme], carrier, "in")
    assert first.event == "net:netif_receive_skb"


def test_what_runs_in_a_softirq_is_not_put_down_to_the_thread_it_interrupted() -> None:
    peer = [hop for hop in path("virtio-vhost").hops if hop.side == "peer"]
    assert {hop.carrier for hop in peer} == {"softirq"}


def test_the_bridge_is_seen_by_its_probe() -> None:
    bridge = [hop for hop in path("virtio-qemu").hops if hop.kind == "bridge"]
    assert [(hop.event, hop.inferred) for hop in bridge] == [("kprobe:br_forward", False)] * 2


def test_without_the_probe_the_bridge_is_inferred_and_says_from_what() -> None:
    blind = re.sub(r"^.*bridge_forward:.*\n", "", text("virtio-qemu"), flags=re.MULTILINE)
    traced = build_path(parse_trace(blind), ends("virtio-qemu"))
    assert traced.devices() == path("virtio-qemu").devices()
    bridge = [hop for hop in traced.hops if hop.kind == "bridge"]
    assert all(hop.inferred and "port of kvmlab-br" in hop.note for hop in bridge)


def test_the_guests_own_interface_is_inferred() -> None:
    traced = path("e1000e")
    assert [hop.inferred for hop in traced.hops if hop.side == "guest"] == [True, True]


def test_only_the_last_echo_counts() -> None:
    trace = parse_trace(text("e1000e"))
    assert len(trace.events) == 24
    assert len(path("e1000e").hops) == 8 + 2


def test_a_function_handed_over_leaves_no_hop_on_the_host() -> None:
    trace = parse_trace(text("virtio-vhost"))
    peer_only = Trace(tuple(e for e in trace.events if e.device == "p2p2"), trace.links)
    traced = build_path(peer_only, ends("virtio-vhost"))
    assert traced.host_hops == ()
    assert traced.devices() == ("eth0", "p2p2")
    assert traced.notes == ("No device of the host saw the packet.",)


def test_a_peer_elsewhere_turns_the_packet_behind_the_port() -> None:
    away = Ends("eth0", "p2p1", None, "vnet7", 290, frozenset(), frozenset())
    trace = parse_trace(text("virtio-qemu"))
    here = Trace(tuple(e for e in trace.events if e.device != "p2p2"), trace.links)
    traced = build_path(here, away)
    assert traced.devices() == ("eth0", "vnet7", "kvmlab-br", "p2p1")
    assert traced.devices(leg="reply") == ("p2p1", "kvmlab-br", "vnet7", "eth0")


def test_no_event_no_path() -> None:
    with pytest.raises(MeasureError, match="no tracepoint"):
        build_path(Trace((), {}), ends("e1000e"))


def test_a_kernel_that_names_no_devices() -> None:
    """Recorded on Debian 12, Linux 6.1.192, which prints no names beside plain addresses."""
    traced = path_of(
        "debian12", Ends("eth0", "p2p1", "p2p2", "vnet0", 290, frozenset(), frozenset())
    )
    assert traced.devices() == ("eth0",)
    assert traced.round_trip_us is None
    assert "recorded no names of devices" in traced.notes[0]


def test_a_kernel_that_names_devices_only_beside_hashed_addresses() -> None:
    """The same host, asked for its trace once more."""
    known = Ends("eth0", "p2p1", "p2p2", "vnet0", 218, frozenset({223}), frozenset())
    traced = path_of("debian12-names", known)
    assert traced.devices() == ("eth0", "vnet0", "kvmlab0", "p2p1", "p2p2")
    assert traced.devices(leg="reply") == ("p2p2", "p2p1", "kvmlab0", "vnet0", "eth0")
    assert traced.host_hops[0].carrier == "vhost worker"
    assert traced.notes == ()


def test_a_packet_that_passes_the_host_by_to_another_machine() -> None:
    away = Ends("eth0", "p2p1", None, None, 290, frozenset(), frozenset())
    traced = build_path(Trace((), {}), away)
    assert traced.devices() == ("eth0",)
    assert "the peer is another machine" in traced.notes[0]


@settings(max_examples=60)
@given(share=st.floats(min_value=0, max_value=0.99))
def test_a_trace_that_breaks_off_is_an_output_error(share: float) -> None:
    whole = text("virtio-vhost")
    with pytest.raises(OutputError):
        parse_trace(whole[: int(len(whole) * share)])
