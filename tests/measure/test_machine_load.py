"""The load of the machine beneath a trial, and trials that stand out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmlab.clock import Clock
from kvmlab.hosts import Host, HostKind, LocalRunner
from kvmlab.measure.machine_load import (
    BENEATH,
    HOST,
    MachineLoad,
    Reading,
    conditions_between,
    explaining,
    reading,
    waited_ns,
)
from kvmlab.measure.outliers import flagged
from kvmlab.results import Condition, Cost, Metric, Trial, Window

# As an Intel laptop prints them: rates in kHz, heat in thousandths of a degree.
FILES = {
    "/proc/stat": "cpu  100 0 50 1000 0 0 3 7 0 0\ncpu0 100 0 50 1000 0 0 3 7 0 0\nintr 1\n",
    "/proc/loadavg": "1.62 0.80 0.41 3/612 90210",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2800000",
    "/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "800052",
    "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "4",
    "/sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": "2",
    "/sys/class/thermal/thermal_zone0/temp": "27800",
    "/sys/class/thermal/thermal_zone1/temp": "71000",
}


def test_a_machine_that_reports_everything() -> None:
    assert reading(FILES, at_sec=5.0, waited_ns=11) == Reading(
        at_sec=5.0,
        steal_us=70_000.0,
        waited_ns=11,
        load=1.62,
        lowest_mhz=800.052,
        hottest_celsius=71.0,
        throttled=6,
    )


def test_a_machine_that_reports_nothing_has_no_conditions() -> None:
    nothing = reading({}, at_sec=5.0, waited_ns=None)
    assert list(conditions_between(nothing, replace(nothing, at_sec=6.0), HOST)) == []


def test_conditions_are_of_the_time_between() -> None:
    begin = reading(FILES, at_sec=5.0, waited_ns=1_000_000_000)
    end = replace(begin, at_sec=7.0, waited_ns=2_500_000_000, throttled=9, lowest_mhz=790.0)
    conditions = conditions_between(begin, end, BENEATH)
    assert {one.name: (one.value, one.unit) for one in conditions} == {
        "load_count": (1.62, ""),
        "emulator_wait_percent": (75.0, "%"),
        "cpu_frequency_mhz": (790.0, "MHz"),
        "temperature_celsius": (71.0, "°C"),
        "throttled_count": (3.0, ""),
    }
    flags = list(explaining(conditions_between(begin, end, BENEATH), (), 2.0))
    assert flags == [
        "the emulator waited for a CPU of the machine beneath 75 % of the time",
        "the machine beneath throttled its CPUs for heat, 3 times",
    ]


def test_steal_is_flagged_from_a_tenth_of_a_cpu_on() -> None:
    def flags(stolen_us: float) -> list[str]:
        return list(explaining((), (Cost("machine_steal_us", "all", stolen_us, "µs"),), 2.0))

    assert flags(190_000) == []
    assert flags(600_000) == ["steal on the machine beneath 30% of one CPU"]


def test_waiting_is_read_from_all_threads() -> None:
    assert waited_ns(["10 5 1", "20 6 1", "garbage"]) == 11
    assert waited_ns([]) is None


@pytest.mark.parametrize(
    ("emulated", "clock", "where", "matters"),
    [
        ("QEMU", Clock.WALL, BENEATH, True),
        ("QEMU", Clock.VIRTUAL, BENEATH, False),
        (None, Clock.WALL, HOST, True),
    ],
)
def test_this_machine_is_read(
    emulated: str | None, clock: Clock, where: str, matters: bool
) -> None:
    host = Host(
        spec="x",
        kind=HostKind.LOCAL,
        label="x",
        runner=LocalRunner(),
        libvirt_uri="test:///default",
        clock=clock,
        emulated=emulated,
    )
    load = MachineLoad(host)
    load.end()
    assert {one.where for one in load.conditions} == {where}
    assert bool(load.costs) == (matters and emulated is not None)
    if not matters:
        assert load.flags == ()


def trial(number: int, mbps: float, *, waited_us: float = 50_000, mhz: float = 2000) -> Trial:
    return Trial(
        workload="tcp_up",
        number=number,
        block=number,
        metrics=(Metric("tcp_up_mbps", mbps, "Mbit/s", "higher"),),
        costs=(Cost("cpu_wait_us", "vCPU", waited_us, "µs"),),
        window=Window(1.0, 100, 1000, "p2p2"),
        conditions=(Condition("cpu_frequency_mhz", "host", mhz, "MHz"),),
    )


def test_a_trial_far_from_the_others_is_flagged_and_kept() -> None:
    trials = [trial(n, mbps) for n, mbps in enumerate((100, 101, 99, 60, 100.5), start=1)]
    marked = flagged(trials)
    assert [one.metrics for one in marked] == [one.metrics for one in trials]
    assert [bool(one.flags) for one in marked] == [False, False, False, True, False]
    assert marked[3].flags == ("outlier: 60 Mbit/s, the others about 100.2",)


def test_noise_is_no_outlier() -> None:
    assert not any(one.flags for one in flagged([trial(n, 100 + 4 * (n % 3)) for n in range(9)]))


def test_a_trial_whose_vm_waited_for_a_cpu_is_flagged() -> None:
    trials = [trial(1, 100), trial(2, 100, waited_us=600_000), trial(3, 100)]
    _, hit, _ = flagged(trials)
    assert hit.flags == (
        "the VM's threads waited for a CPU 60 % of the time, 5 % in the other trials",
    )
    assert flagged(trials)[0].flags == ()


def test_a_trial_beside_a_busy_program_is_flagged() -> None:
    def beside(number: int, percent: float) -> Trial:
        busy = Condition("others_cpu_percent", "host", percent, "%")
        return replace(trial(number, 100), conditions=(busy,))

    *_, hit = flagged([beside(1, 20), beside(2, 25), beside(3, 70)])
    assert hit.flags == ("other programs of the host took 70 % of a CPU, 22 % in the other trials",)
    assert not any(one.flags for one in flagged([beside(n, 20 + 5 * (n % 2)) for n in range(6)]))


def test_a_slower_clock_rate_is_flagged() -> None:
    _, _, slow = flagged([trial(1, 100), trial(2, 100), trial(3, 100, mhz=1200)])
    assert slow.flags == ("CPUs at 1200 MHz, 2000 MHz in the other trials",)


def test_of_two_trials_none_is_the_odd_one() -> None:
    assert not any(one.flags for one in flagged([trial(1, 100), trial(2, 1, waited_us=900_000)]))
