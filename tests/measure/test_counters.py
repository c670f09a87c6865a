"""Counters: snapshots as an embedded host really printed them, and the costs between two."""

from __future__ import annotations

import re
from collections import Counter as Tally
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmlab.clock import Clock
from kvmlab.domain import VmThreads
from kvmlab.errors import MeasureError, OutputError
from kvmlab.measure import procfs
from kvmlab.measure.counters import (
    COUNTERS,
    MAPS,
    SOURCES,
    SnapshotPair,
    conditions,
    costs,
    missing_costs,
    parse_snapshots,
)
from kvmlab.measure.counters.packets import NET, arrived_pps, window
from kvmlab.measure.ebpf.layout import BEGAN_BYTES, NO_ROOM, SOFTIRQS
from kvmlab.measure.exit_names import userspace_exit_name, vm_exit_name
from kvmlab.results import Cost
from kvmlab.results.cost_kinds import COST_KINDS

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"
# The VM's threads when `tests.measure.record` ran.
VM = VmThreads(259, (263,), (341,), ())
E1000E, QEMU, VHOST = "e1000e-pps", "virtio-qemu-tcp_up", "vhost-tcp_up"


def recorded(name: str) -> str:
    return (DATA / f"window-{name}.txt").read_text()


def pair_of(text: str) -> SnapshotPair:
    begin, end = parse_snapshots(text, VM)
    return SnapshotPair(begin, end, Clock.VIRTUAL, ("p2p1",))


def pair(name: str) -> SnapshotPair:
    return pair_of(recorded(name))


def without_maps(text: str, *numbers: int) -> str:
    """Take out what is missing where the kernel refuses these programs."""
    for number in numbers:
        text = re.sub(rf"^==> map:{number} <==\n.*\n", "", text, flags=re.MULTILINE)
    return text


def parts(spent: tuple[Cost, ...], name: str) -> dict[str, float]:
    return {cost.part: cost.value for cost in spent if cost.name == name}


def totals(name: str) -> Tally[str]:
    sums = Tally[str]()
    for cost in costs(pair(name)):
        sums[cost.name] += round(cost.value)
    return sums


def test_every_counter_gives_costs_that_people_can_read() -> None:
    given_kinds = [kind for counter in COUNTERS for kind in counter.gives]
    assert all(COST_KINDS[kind.name] is kind for kind in given_kinds)
    assert len({kind.name for kind in given_kinds}) == len(given_kinds)
    assert [source.number for source in MAPS] == [0, 1, 2]


@pytest.mark.parametrize("name", [E1000E, QEMU, VHOST])
def test_every_counter_counts_what_it_declares(name: str) -> None:
    counted = {cost.name for cost in costs(pair(name))}
    assert counted == {kind.name for counter in COUNTERS for kind in counter.gives}
    units = {(cost.name, cost.unit) for cost in costs(pair(name))}
    assert units <= {(kind.name, kind.unit) for kind in COST_KINDS.values()}


def test_exits_have_the_names_of_their_architecture() -> None:
    assert vm_exit_name(2, 0x400) == "npf"
    assert vm_exit_name(1, 49) == "ept_misconfig"
    assert vm_exit_name(1, 0x80000021) == "invalid_state"
    assert userspace_exit_name(2, 0) == "IO"
    assert userspace_exit_name(2, -4) == "interrupted by a signal"
    assert userspace_exit_name(2, -14) == "error 14"


def test_full_emulation_leaves_the_kernel_for_each_packet() -> None:
    counted = window(pair(E1000E), "p2p2", "p2p2 in namespace peer")
    spent = totals(E1000E)
    assert counted.packets > 100
    assert 0.5 < counted.seconds < 5
    assert spent["userspace_exits"] / counted.packets > 1
    assert spent["vm_exits"] > spent["userspace_exits"]
    mmio = parts(costs(pair(E1000E)), "userspace_exits")["MMIO"]
    assert parts(costs(pair(E1000E)), "vm_exits")["npf"] == pytest.approx(mmio, rel=0.01)
    # Each exit to QEMU is the end of one ioctl(KVM_RUN).
    assert parts(costs(pair(E1000E)), "syscalls")["ioctl"] >= 0.99 * spent["userspace_exits"]


def test_virtio_does_not() -> None:
    counted = window(pair(QEMU), "p2p2", "")
    spent = totals(QEMU)
    assert spent["userspace_exits"] == 0
    assert 0 < spent["vm_exits"] / counted.packets < 1
    assert parts(costs(pair(QEMU)), "userspace_exits") == {"none": 0.0}


def test_arrivals_are_counted_at_the_ports_of_the_cable() -> None:
    arrived = arrived_pps(pair(E1000E), "p2p2", at_peer=True)
    counted = window(pair(E1000E), "p2p2", "")
    assert 0 < arrived.value <= counted.packets / counted.seconds


@pytest.mark.parametrize(
    ("name", "part"),
    [(VHOST, "vhost worker"), (QEMU, "QEMU main loop"), (E1000E, "QEMU main loop")],
)
def test_who_spends_the_cpu_time(name: str, part: str) -> None:
    spent = parts(costs(pair(name)), "cpu_us")
    spent.pop("guest")
    assert max(spent, key=lambda role: spent[role]) == part


def test_interrupts_are_those_of_the_schemes_own_devices() -> None:
    names = parts(costs(pair(VHOST)), "interrupts")
    assert names
    assert all(name.startswith("p2p1") for name in names)


def test_interrupts_are_named_by_their_action() -> None:
    table = """           CPU0       CPU1
 25:          1          2  IR-PCI-MSIX-0000:00:10.0   0-edge      PCIe PME, aerdrv
 44:      13201          1  IR-PCI-MSIX-0000:0b:00.0   2-edge      p2p1-rx-1
NMI:          3          4   Non-maskable interrupts
ERR:          0
"""
    assert procfs.per_cpu_table(table) == {
        "PCIe PME, aerdrv": 3,
        "p2p1-rx-1": 13202,
        "NMI": 7,
        "ERR": 0,
    }


def test_a_counted_device_that_is_not_there_is_named() -> None:
    with pytest.raises(MeasureError, match="no device p9p9"):
        window(pair(VHOST), "p9p9", "p9p9")


@settings(max_examples=60)
@given(share=st.floats(min_value=0, max_value=0.99), name=st.sampled_from([VHOST, E1000E]))
def test_snapshots_that_break_off_are_an_output_error(share: float, name: str) -> None:
    whole = recorded(name)
    with pytest.raises(OutputError):
        parse_snapshots(whole[: int(len(whole) * share)], VM)


@pytest.mark.parametrize(
    "missing", ["==> net <==", "==> map:0 <==", "==> /proc/stat <==", "==> moment <=="]
)
def test_a_snapshot_without_one_of_its_parts_is_an_output_error(missing: str) -> None:
    whole = recorded(VHOST)
    assert len(parse_snapshots(whole, VM, (*SOURCES, NET))) == 2
    with pytest.raises(OutputError):
        parse_snapshots(whole.replace(missing, "==> something else <=="), VM, (*SOURCES, NET))


def test_the_cpu_time_of_other_programs() -> None:
    ((name, percent),) = (
        (one.name, one.value)
        for one in conditions(pair(E1000E))
        if one.unit == "%" and one.name.startswith("others")
    )
    assert name == "others_cpu_percent"
    assert 0 <= percent < 200
    text = recorded(E1000E)
    first = int(re.findall(r"^cpu  (\d+)", text, re.MULTILINE)[-1])
    busier = f"cpu  {first + 100}".join(text.rsplit(f"cpu  {first}", 1))
    seconds = pair(E1000E).seconds
    more = next(one.value for one in conditions(pair_of(busier)) if one.name == name)
    # A hundred ticks are a second of CPU time.
    assert more == pytest.approx(percent + 100 / seconds, rel=0.25)


@pytest.mark.parametrize("name", [VHOST, QEMU, E1000E])
def test_the_parts_of_the_instructions_and_idling_add_up_to_the_window(name: str) -> None:
    spent = parts(costs(pair(name)), "instructions")
    assert {"guest", "vCPU in KVM", "softirq", "peer's server"} <= spent.keys()
    assert all(value > 0 for value in spent.values())
    (idle,) = (one.value for one in conditions(pair(name)) if one.name == "idle_percent")
    # The CPU had enough to do, and no instant of it is in two parts.
    assert idle == pytest.approx(0, abs=2)


def test_idling_under_wall_time_is_of_all_cpus() -> None:
    """Another second of idling in the window raises the share of idling by what it is of it all."""
    text = recorded(VHOST)
    *_, (before, idle) = re.findall(r"^(cpu  \d+ \d+ \d+) (\d+)", text, re.MULTILINE)
    more = f"{before} {int(idle) + 100}".join(text.rsplit(f"{before} {idle}", 1))

    def idle_percent(listing: str) -> float:
        window = replace(pair_of(listing), clock=Clock.WALL)
        (one,) = (each for each in conditions(window) if each.name == "idle_percent")
        return one.value

    busy, idling = idle_percent(text), idle_percent(more)
    assert 0 <= busy < 5
    assert idling == pytest.approx(100 / (1 + pair(VHOST).seconds), rel=0.25)


def test_kvm_is_told_from_qemu() -> None:
    for name in ("instructions", "cpu_us"):
        spent = parts(costs(pair(E1000E)), name)
        # Emulation is work of QEMU's, which the exits only lead to.
        assert spent["vCPU in QEMU"] > spent["vCPU in KVM"] > spent["guest"] > 0
        assert "vCPU outside the guest" not in spent


def test_softirqs_of_unknown_threads_give_no_instructions() -> None:
    text = recorded(E1000E)
    table = re.findall(rf"^==> map:{SOFTIRQS} <==\n(.*)$", text, re.MULTILINE)[-1]
    at = 2 * (BEGAN_BYTES + NO_ROOM + 8)
    crowded = f"{table[:at]}01{table[at + 2 :]}"
    spent = costs(pair_of(text.replace(table, crowded)))
    assert parts(costs(pair(E1000E)), "instructions")
    assert not parts(spent, "instructions")


def test_instructions_are_counted_under_the_virtual_clock_alone() -> None:
    spent = costs(replace(pair(VHOST), clock=Clock.WALL))
    assert not parts(spent, "instructions")
    assert parts(spent, "cpu_us") == parts(costs(pair(VHOST)), "cpu_us")


def test_kvm_and_qemu_are_one_part_where_detailed_programs_are_refused() -> None:
    spent = costs(pair_of(without_maps(recorded(E1000E), SOFTIRQS)))
    assert {"guest", "vCPU outside the guest"} < parts(spent, "cpu_us").keys()
    assert not parts(spent, "instructions")
    assert parts(spent, "vm_exits") == parts(costs(pair(E1000E)), "vm_exits")


def test_without_ebpf_the_guest_is_sampled_and_exits_are_missing() -> None:
    exact = costs(pair(VHOST))
    spent = costs(pair_of(without_maps(recorded(VHOST), 0, 1, 2)))
    refused = {source.name: "Operation not permitted" for source in MAPS}
    missing = missing_costs(refused)
    assert set(missing) == {
        "instructions",
        "vm_exits",
        "userspace_exits",
        "guest_interrupts",
        "syscalls",
    }
    assert set(missing.values()) == {"Operation not permitted"}
    assert {cost.name for cost in spent} == {cost.name for cost in exact} - set(missing)
    sampled = parts(spent, "cpu_us")
    assert sampled.keys() - parts(exact, "cpu_us").keys() == {
        "guest (sampled)",
        "vCPU outside the guest",
    }
    assert sum(sampled.values()) == pytest.approx(sum(parts(exact, "cpu_us").values()))
