"""The meters' output as an emulated host really printed it, and what it costs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmlab.errors import MeasureError, OutputError
from kvmlab.measure import parsing
from kvmlab.measure.exit_names import userspace_exit_name, vm_exit_name
from kvmlab.measure.parsing import Moments
from kvmlab.measure.snapshot import (
    Roles,
    Snapshot,
    arrived_pps,
    costs,
    others_percent,
    parse_snapshots,
    window,
)
from kvmlab.measure.split import Between, idle_percent, lasted_ns
from kvmlab.measure.vcpu_map import NO_ROOM_TID
from kvmlab.results import Cost

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"
ROLES = Roles(259, frozenset({263}))
HISTOGRAM = """# event histogram
#
# trigger info: hist:keys=common_pid,isa,exit_reason:vals=hitcount:sort=hitcount:size=4096 [active]
#

{ common_pid:        263, isa:          2, exit_reason:        123 } hitcount:         17
{ common_pid:        263, isa:          2, exit_reason:       1024 } hitcount:        204

Totals:
    Hits: 221
    Entries: 2
    Dropped: 0
"""


def pair(name: str) -> tuple[Snapshot, Snapshot]:
    begin, end = parse_snapshots((DATA / name).read_text())
    return begin, end


def totals(name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for cost in costs(*pair(name), ROLES, ("p2p1", "vnet3")):
        found[cost.name] = found.get(cost.name, 0.0) + cost.value
    return found


def test_a_histogram() -> None:
    assert parsing.vm_exits(HISTOGRAM) == {"io": 17, "npf": 204}


def test_a_histogram_may_be_overtaken_by_its_total_but_never_exceeds_it() -> None:
    assert parsing.vm_exits(HISTOGRAM.replace("Hits: 221", "Hits: 230"))["npf"] == 204
    with pytest.raises(OutputError, match="incomplete"):
        parsing.vm_exits(HISTOGRAM.replace("Hits: 221", "Hits: 220"))


def test_dropped_events_are_not_hidden() -> None:
    with pytest.raises(OutputError, match="dropped 3 events"):
        parsing.vm_exits(HISTOGRAM.replace("Dropped: 0", "Dropped: 3"))


def test_exits_have_the_names_of_their_architecture() -> None:
    assert vm_exit_name(2, 0x400) == "npf"
    assert vm_exit_name(1, 49) == "ept_misconfig"
    assert vm_exit_name(1, 0x80000021) == "invalid_state"
    assert userspace_exit_name(2, 0) == "IO"
    assert userspace_exit_name(2, -4) == "interrupted by a signal"
    assert userspace_exit_name(2, -14) == "error 14"


def test_a_signed_key_is_read_as_the_kernel_prints_it() -> None:
    # errno -4, as the hist file shows it
    text = HISTOGRAM.replace(
        "common_pid:        263, isa:          2, exit_reason:        123",
        "reason: 10, errno: 4294967292",
    )
    text = text.replace(
        "common_pid:        263, isa:          2, exit_reason:       1024", "reason: 6, errno: 0"
    )
    assert parsing.userspace_exits(text) == {"interrupted by a signal": 17, "MMIO": 204}


def test_full_emulation_leaves_the_kernel_for_each_packet() -> None:
    begin, end = pair("window-e1000e-pps.txt")
    counted = window(begin, end, "p2p2", "p2p2 in namespace peer")
    spent = totals("window-e1000e-pps.txt")
    assert counted.packets > 100
    assert 0.5 < counted.seconds < 5
    assert spent["userspace_exits"] / counted.packets > 1
    assert spent["vm_exits"] > spent["userspace_exits"]


def test_arrivals_are_counted_at_the_ports_of_the_wire() -> None:
    begin, end = pair("window-e1000e-pps.txt")
    arrived = arrived_pps(begin, end, "p2p2", at_peer=True)
    counted = window(begin, end, "p2p2", "")
    assert 0 < arrived.value <= counted.packets / counted.seconds


def test_virtio_does_not() -> None:
    counted = window(*pair("window-virtio-qemu-tcp_up.txt"), "p2p2", "")
    spent = totals("window-virtio-qemu-tcp_up.txt")
    assert spent["userspace_exits"] == 0
    assert 0 < spent["vm_exits"] / counted.packets < 1


def test_who_spends_the_time() -> None:
    for name, part in (
        ("window-vhost-tcp_up.txt", "vhost worker"),
        ("window-virtio-qemu-tcp_up.txt", "QEMU main loop"),
        ("window-e1000e-pps.txt", "vCPU outside the guest"),
        ("window-e1000e-pps-programs.txt", "QEMU main loop"),
    ):
        spent = {c.part: c.value for c in costs(*pair(name), ROLES, ()) if c.name == "cpu_us"}
        spent.pop("guest")
        assert max(spent, key=lambda role: spent[role]) == part, name


def test_interrupts_are_those_of_the_schemes_own_devices() -> None:
    parts = {
        cost.part
        for cost in costs(*pair("window-vhost-tcp_up.txt"), ROLES, ("p2p1",))
        if cost.name == "interrupts"
    }
    assert parts
    assert all(part.startswith("p2p1") for part in parts)


def test_interrupts_are_named_by_their_action() -> None:
    table = """           CPU0       CPU1
 25:          1          2  IR-PCI-MSIX-0000:00:10.0   0-edge      PCIe PME, aerdrv
 44:      13201          1  IR-PCI-MSIX-0000:0b:00.0   2-edge      p2p1-rx-1
NMI:          3          4   Non-maskable interrupts
ERR:          0
"""
    assert parsing.per_cpu_table(table) == {
        "PCIe PME, aerdrv": 3,
        "p2p1-rx-1": 13202,
        "NMI": 7,
        "ERR": 0,
    }


def test_a_counter_device_that_is_not_there_is_named() -> None:
    with pytest.raises(MeasureError, match="no device p9p9"):
        window(*pair("window-vhost-tcp_up.txt"), "p9p9", "p9p9")


@settings(max_examples=60)
@given(
    share=st.floats(min_value=0, max_value=0.99),
    name=st.sampled_from(["vhost-tcp_up", "e1000e-pps-programs"]),
)
def test_snapshots_that_break_off_are_an_output_error(share: float, name: str) -> None:
    whole = (DATA / f"window-{name}.txt").read_text()
    with pytest.raises(OutputError):
        parse_snapshots(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    "missing",
    ["==> standard input <==", "kvm_exit/hist <==", "==> /proc/stat <==", "cpu0/stats <=="],
)
def test_a_snapshot_without_one_of_its_parts_is_an_output_error(missing: str) -> None:
    whole = (DATA / "window-vhost-tcp_up.txt").read_text()
    with pytest.raises(OutputError):
        parse_snapshots(whole.replace(missing, "# gone"))


def test_what_other_programs_took_of_the_host() -> None:
    begin, end = pair("window-e1000e-pps.txt")
    ticks = dict(begin.cpu_ticks)
    later = replace(
        begin,
        at_sec=begin.at_sec + 2,
        cpu_ticks={**ticks, "user": ticks["user"] + 100, "idle": ticks["idle"] + 900},
    )
    assert others_percent(begin, later, (Cost("cpu_us", "guest", 600_000, "µs"),)) == 20
    assert others_percent(begin, later, (Cost("cpu_us", "guest", 2_000_000, "µs"),)) == 0
    assert 0 <= others_percent(begin, end, costs(begin, end, ROLES, ())) < 200


@pytest.mark.parametrize("name", ["vhost-tcp_up", "virtio-qemu-tcp_up", "e1000e-pps"])
def test_the_parts_of_the_instructions_and_idling_add_up_to_the_window(name: str) -> None:
    begin, end = pair(f"window-{name}.txt")
    spent = [c for c in costs(begin, end, ROLES, ()) if c.name == "instructions"]
    parts = {cost.part: cost.value for cost in spent}
    assert {"guest", "vCPU outside the guest", "softirq", "peer's server"} <= parts.keys()
    assert all(value > 0 for value in parts.values())
    # The CPU had enough to do, and no instant of it is in two parts.
    assert idle_percent(begin, end, tuple(spent)) == pytest.approx(0, abs=1)


def test_programs_tell_kvm_from_qemu() -> None:
    begin, end = pair("window-e1000e-pps-programs.txt")
    every = costs(begin, end, ROLES, ())
    idle = idle_percent(begin, end, every)
    assert idle == pytest.approx(0, abs=1)
    for name in ("instructions", "cpu_us"):
        parts = {cost.part: cost.value for cost in every if cost.name == name}
        # Emulation is work of QEMU's, which the exits only lead to.
        assert parts["vCPU in QEMU"] > parts["vCPU in KVM"] > parts["guest"] > 0
        assert "vCPU outside the guest" not in parts
    exits = {cost.part: cost.value for cost in every if cost.name == "vm_exits"}
    calls = {cost.part: cost.value for cost in every if cost.name == "userspace_exits"}
    assert exits["npf"] == pytest.approx(calls["MMIO"], rel=0.01)


def test_a_softirq_of_nobody_known_tells_no_instructions() -> None:
    begin, end = pair("window-e1000e-pps-programs.txt")
    assert end.softirqs_ns is not None
    end = replace(end, softirqs_ns={**end.softirqs_ns, NO_ROOM_TID: 1})
    spent = costs(begin, end, ROLES, ())
    assert not [cost for cost in spent if cost.name == "instructions"]


def test_the_same_in_words_where_nobody_asked_for_qemu() -> None:
    text = (DATA / "window-e1000e-pps-programs.txt").read_text()
    text = re.sub(r"^softirqs .*\n", "", text, flags=re.MULTILINE)
    begin, end = parse_snapshots(text.replace("split all", "split guest"))
    spent = costs(begin, end, ROLES, ())
    assert {"guest", "vCPU outside the guest"} < {c.part for c in spent if c.name == "cpu_us"}
    assert not [cost for cost in spent if cost.name == "instructions"]


def test_cpu_time_of_the_guest_is_said_to_be_sampled_where_it_is() -> None:
    begin, end = pair("window-vhost-tcp_up.txt")
    exact = {c.part: c.value for c in costs(begin, end, ROLES, ()) if c.name == "cpu_us"}
    spent = costs(begin, replace(end, guest=None), ROLES, ())
    sampled = {c.part: c.value for c in spent if c.name == "cpu_us"}
    assert exact.keys() - sampled.keys() == {"guest"}
    assert sampled.keys() - exact.keys() == {"guest (sampled)"}
    assert sum(sampled.values()) == pytest.approx(sum(exact.values()))
    assert not [cost for cost in spent if cost.name == "instructions"]


@settings(max_examples=200)
@given(
    stretches=st.lists(st.integers(1, 400), max_size=30),
    inside=st.booleans(),
    wrapped=st.booleans(),
    missed=st.integers(0, 5),
)
def test_summed_moments_are_the_time_between_them(
    stretches: list[int], inside: bool, wrapped: bool, missed: int
) -> None:
    """Whether a vCPU is in the guest at an edge or not, and whatever was not seen before."""
    zero, unit = 10**9, 10**6
    moments = [zero + unit * 50, zero + unit * 50]
    for length in stretches:
        moments.append(moments[-1] + length * unit)
    last = moments[-1] + unit * 50
    began = [m for place, m in enumerate(moments[1:]) if place % 2 == inside]
    ended = [m for place, m in enumerate(moments[1:]) if place % 2 != inside]
    spent = sum(ended) - sum(began)
    if inside:
        spent -= zero  # it went on at the first edge
    if len(began) + inside > len(ended):
        spent += last  # and it goes on at the last
    base = 2**64 - 5 if wrapped else 7
    first = Between({1: Moments(0, base)}, {1: Moments(missed, base)})
    second = Between(
        {1: Moments(len(began), (base + sum(began)) % 2**64)},
        {1: Moments(missed + len(ended), (base + sum(ended)) % 2**64)},
    )
    assert lasted_ns(first, second, 1, (zero, last), spent, long=True) == spent


def test_sums_that_fit_no_time_are_not_believed() -> None:
    first = Between({1: Moments(0, 0)}, {1: Moments(0, 0)})
    second = Between({1: Moments(1, 10**9)}, {1: Moments(1, 2 * 10**9)})
    assert lasted_ns(first, second, 1, (0, 3 * 10**9), 10**8, long=True) is None
