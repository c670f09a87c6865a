"""Settings at the door, workloads made of them, and turns."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from kvmlab.clock import Clock
from kvmlab.errors import OutputError, UsageError
from kvmlab.measure import WORKLOADS, Trials
from kvmlab.measure.metadata import parse_metadata, version_text
from kvmlab.measure.session import turns
from kvmlab.measure.workloads import workload

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": 2.5},
        {"count": True},
        {"count": "3"},
        {"seconds": 0},
        {"seconds": 1.5},
        {"seconds": float("nan")},
        {"seconds": 10_000},
        {"warmup_sec": -1},
        {"seed": -1},
        {"message_bytes": 63},
        {"message_bytes": 65_508},
        {"message_bytes": 65_537, "workloads": ("tcp_up",)},
        {"workloads": ("tcp_up@x0",)},
        {"workloads": ("tcp_up@",)},
        {"workloads": ("tcp_up@64x", "tcp_up")},
        {"workloads": ()},
        {"workloads": "tcp_up"},
        {"workloads": ("tcp_up", "nothing")},
        {"workloads": ("tcp_up", "tcp_up")},
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Trials(**wrong)


def test_settings_of_a_notebook_are_taken() -> None:
    trials = Trials(count=2, seconds=2.0, workloads=["latency"])
    assert trials.workloads == ("latency",)
    assert trials.to_dict()["workloads"] == ["latency"]
    assert trials.total_sec == 3


def test_the_warm_up_fits_the_clock_unless_one_was_wished_for() -> None:
    assert Trials().on(Clock.WALL).total_sec == 2
    assert Trials().on(Clock.VIRTUAL).total_sec == 1
    assert Trials(warmup_sec=3).on(Clock.VIRTUAL).total_sec == 4


def test_clients_leave_out_the_warm_up_and_end_by_themselves() -> None:
    work = workload("tcp_down", Trials(seconds=4, warmup_sec=2), "192.0.2.1")
    expected = "timeout 36 iperf3 -c 192.0.2.1 -p 5201 -t 4 -O 2 -R -J"
    assert work.client == tuple(expected.split())
    assert work.server[:3] == ("timeout", "36", "iperf3")
    assert "-1" in work.server


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tcp_up", "-O 1 -l 4096 -J"),
        ("tcp_down", "-O 1 -R -l 4096 -J"),
        ("tcp_up_flows", "-P 8 -l 4096 -J"),
        ("pps", "-u -b 0 -l 4096 -J"),
        ("pps_flows", "-u -b 0 -l 4096 -P 8 -J"),
        ("request_response", "--full-rtt -m 4096"),
    ],
)
def test_the_size_of_messages_is_a_parameter(name: str, words: str) -> None:
    trials = Trials(message_bytes=4096, workloads=(name,))
    assert " ".join(workload(name, trials, "192.0.2.1").client).endswith(words)
    assert trials.to_dict()["message_bytes"] == 4096


def test_a_stream_may_have_larger_messages_than_a_datagram_holds() -> None:
    assert Trials(message_bytes=65_536, workloads=("tcp_up", "latency")).message_bytes == 65_536


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tcp_up@64", "-O 1 -l 64 -J"),
        ("tcp_down@x2", "-O 1 -R -P 2 -J"),
        ("tcp_up@65536x4", "-O 1 -P 4 -l 65536 -J"),
        ("pps@1400x8", "-O 1 -u -b 0 -l 1400 -P 8 -J"),
        ("pps_down@65507", "-O 1 -R -u -b 0 -l 65507 -J"),
        ("request_response@1024", "--full-rtt -m 1024"),
        ("latency_under_both@x4", "-O 1 --bidir -P 4 -J"),
    ],
)
def test_a_workload_may_carry_a_size_and_flows_of_its_own(name: str, words: str) -> None:
    work = workload(name, Trials(workloads=(name,)), "192.0.2.1")
    assert work.name == name
    assert " ".join(work.client).endswith(words)


def test_a_sweep_is_one_workload_with_many_sizes_or_flows() -> None:
    sizes = Trials(count=2).sweep("tcp_up")
    assert sizes.workloads[0] == "tcp_up@64"
    assert sizes.workloads[-1] == "tcp_up@65536"
    assert sizes.count == 2
    assert Trials().sweep("pps").workloads[-1] == "pps@65507"
    assert Trials().sweep("tcp_down", flows=(1, 8)).workloads == ("tcp_down@x1", "tcp_down@x8")
    both = Trials().sweep("tcp_up", flows=(1, 2), message_bytes=(64, 4096))
    assert both.workloads == ("tcp_up@64x1", "tcp_up@4096x1", "tcp_up@64x2", "tcp_up@4096x2")


@pytest.mark.parametrize(
    ("name", "varied"),
    [
        ("latency", {}),
        ("request_response", {"flows": (2,)}),
        ("pps", {"message_bytes": (64, 65_508)}),
        ("tcp_up", {"message_bytes": (63,)}),
    ],
)
def test_what_a_workload_cannot_have_is_not_swept(name: str, varied: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"no messages|no several|message_bytes"):
        Trials().sweep(name, **varied)


def test_echoes_under_load_end_before_the_load_does() -> None:
    work = workload("latency_under_down", Trials(seconds=2, warmup_sec=1), "192.0.2.1")
    assert work.client[:2] == ("sh", "-c")
    assert work.client[4:8] == ("1", "1.75", "0.01", "192.0.2.1")
    assert "-R" in work.client
    assert (work.listens, work.tool) == ("tcp", "iperf3")


def test_datagrams_are_counted_by_their_size() -> None:
    text = (DATA / "iperf3-udp.json").read_text()
    small, large = (
        workload("pps", Trials(message_bytes=size, workloads=("pps",)), "192.0.2.1").read(text)
        for size in (64, 128)
    )
    assert small[0].value == pytest.approx(2 * large[0].value)


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_can_be_made(name: str) -> None:
    assert workload(name, Trials(), "192.0.2.1").name == name


def test_latency_is_told_by_echoes_that_meet_nothing_but_their_own_way() -> None:
    work = workload("latency", Trials(seconds=2, warmup_sec=0), "192.0.2.1")
    assert (work.tool, work.listens) == ("ping", "none")
    assert " ".join(work.client) == "ping -i 0.002 -c 1000 -w 6 192.0.2.1"
    assert work.accepted == {0, 1}


def test_turns_are_random_seeded_and_fair() -> None:
    names = ("a", "b", "c")
    first, again, other = (list(islice(turns(names, seed), 20)) for seed in (5, 5, 6))
    assert first == again
    assert first != other
    assert all(sorted(order) == sorted(names) for order in first)
    assert len({tuple(order) for order in first}) > 1


def test_metadata_of_the_host() -> None:
    metadata = parse_metadata((DATA / "host-meta.txt").read_text())
    assert metadata["kernel"].startswith("Linux 6.12")
    assert metadata["tools"]["iperf3"].startswith("iperf 3.18")
    assert metadata["files"]["/sys/module/kvm_amd/parameters/npt"] == "Y"
    assert metadata["offloads"]["tcp-segmentation-offload"] == "on"


def test_metadata_of_the_guest() -> None:
    metadata = parse_metadata((DATA / "guest-meta.txt").read_text())
    assert metadata["driver"]["driver"] == "virtio_net"
    assert set(metadata["tools"]) == {"iperf3", "sockperf"}


def test_metadata_that_breaks_off_is_an_output_error() -> None:
    with pytest.raises(OutputError):
        parse_metadata("=== kernel\nLinux")


def test_versions_in_the_usual_writing() -> None:
    assert version_text(11_003_000) == "11.3.0"
