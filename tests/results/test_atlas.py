"""The atlas: ratios with their intervals, who paid, pairs, and its forms on disk."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.clock import Clock
from kvmlab.errors import OutputError, UsageError
from kvmlab.results import Cost, Metric, Result, Trial, Window
from kvmlab.results.atlas import (
    Atlas,
    AtlasRow,
    Words,
    effects_of,
    interaction_of,
    merged,
    payers_of,
)


def measured(scheme: str, up_mbps: float, rtt_us: float, guest: float) -> Result:
    """Return three trials each of TCP and echoes, with little spread and known instructions."""
    trials = []
    for number, factor in enumerate((0.99, 1.0, 1.01), start=1):
        window = Window(1.0, 1000, 2_000_000, "p2p2 in namespace peer")
        costs = (
            Cost("instructions", "guest", guest * 2 * factor, "instructions"),
            Cost("instructions", "softirq", 1000.0 * 2, "instructions"),
            Cost("vm_exits", "npf", 50.0, "exits"),
        )
        up = Metric("tcp_up_mbps", up_mbps * factor, "Mbit/s", "higher")
        rtt = Metric("rtt_p50_us", rtt_us * factor, "µs", "lower")
        trials.append(Trial("tcp_up", number, number, (up,), costs, window))
        trials.append(Trial("latency", number, number, (rtt,), (), window))
    return Result(scheme, scheme, "embedded host", Clock.VIRTUAL, "Emulated.", tuple(trials))


BASE = measured("virtio-vhost", 1000, 100, 5000)


def row(name: str, up_mbps: float, rtt_us: float = 100, guest: float = 5000) -> AtlasRow:
    result = measured(f"virtio-vhost+{name}", up_mbps, rtt_us, guest)
    words = {
        "en": Words(name, "It does.", "Use it.", "More."),
        "zh-CN": Words("名", "。", "。", "。"),
    }
    return AtlasRow(
        name, "virtio-vhost", "guest", words, effects_of([BASE], result), payers_of(BASE, result), 3
    )


ATLAS = Atlas(
    scheme="virtio-vhost",
    host="embedded host",
    clock=Clock.VIRTUAL,
    emulated="Emulated.",
    measured_on="2026-11-28",
    versions={"QEMU": "10.0.13"},
    rows=(
        row("event-idx=off", 1003),
        row("guest-tso=off", 250, guest=20_000),
        row("rx-ring=64", 900, rtt_us=90),
        AtlasRow("in-order=on", "virtio-vhost", "VM", refused="libvirt has no word for it."),
    ),
)


def test_a_row_has_ratios_and_claims_only_what_its_interval_shows() -> None:
    slow = ATLAS.row("guest-tso=off").effect("throughput")
    assert slow is not None
    assert slow.ratio == pytest.approx(0.25)
    assert (slow.shown, slow.verdict) == (True, "worse")
    same = ATLAS.row("event-idx=off").effect("throughput")
    assert same is not None
    assert same.verdict == "no difference shown"
    faster = ATLAS.row("rx-ring=64").effect("round trip")
    assert faster is not None
    assert faster.verdict == "better"


def test_rows_are_sorted_by_effect_and_refused_ones_stand_apart() -> None:
    assert [each.tuning for each in ATLAS.measured] == [
        "guest-tso=off",
        "rx-ring=64",
        "event-idx=off",
    ]
    assert [each.tuning for each in ATLAS.refused] == ["in-order=on"]
    assert ATLAS.row("event-idx=off").size == 1
    with pytest.raises(UsageError, match="has no row 'mtu=9000'"):
        ATLAS.row("mtu=9000")


def test_who_paid_is_told_by_part_per_megabyte_and_packet() -> None:
    payers = ATLAS.row("guest-tso=off").payers
    paid = {payer.part: payer for payer in payers if payer.per == "megabyte"}
    assert paid["guest"].baseline == pytest.approx(5000)
    assert paid["guest"].difference == pytest.approx(15_000)
    assert paid["softirq"].difference == 0
    # Two megabytes in a thousand packets.
    bill = {payer.part: payer for payer in ATLAS.row("guest-tso=off").bill("tcp_up")}
    assert list(bill) == ["guest", "softirq"]
    assert (bill["guest"].baseline, bill["guest"].current) == pytest.approx((10, 40))
    assert bill["guest"].metric == "instructions_per_packet"


def test_whole_measurements_that_differ_claim_less_than_their_trials() -> None:
    """Three baselines whose trials agree within 1 %, and which are 5 % apart from each other."""
    apart = [measured("virtio-vhost", speed, 100, 5000) for speed in (950, 1000, 1050)]
    between = measured("virtio-vhost+x", 1080, 100, 5000)
    alone = {e.metric: e for e in effects_of([apart[1]], between)}
    assert alone["tcp_up_mbps"].shown
    against_all = {e.metric: e for e in effects_of(apart, between)}
    assert not against_all["tcp_up_mbps"].shown
    far = {e.metric: e for e in effects_of(apart, measured("x", 2000, 100, 5000))}
    assert far["tcp_up_mbps"].shown
    assert far["tcp_up_mbps"].ratio == pytest.approx(2.0)
    # Others that were repeated as often, and agree, make it surer.
    steady = [measured("y", speed, 100, 5000) for speed in (500, 501, 502)]
    surer = {e.metric: e for e in effects_of(apart, between, (), [steady, steady])}
    low, high = surer["tcp_up_mbps"].low, surer["tcp_up_mbps"].high
    widest = against_all["tcp_up_mbps"]
    assert low is not None
    assert high is not None
    assert widest.low is not None
    assert widest.high is not None
    assert high / low < widest.high / widest.low


def test_one_trial_each_is_compared_by_repeated_baselines() -> None:
    def one(speed: float) -> Result:
        whole = measured("virtio-vhost", speed, 100, 5000)
        return replace(whole, trials=tuple(t for t in whole.trials if t.number == 2))

    effects = {e.metric: e for e in effects_of([one(s) for s in (998, 1000, 1002)], one(500))}
    assert effects["tcp_up_mbps"].shown
    assert effects["tcp_up_mbps"].ratio == pytest.approx(0.5)


def test_baselines_are_one_result_with_all_their_trials() -> None:
    both = merged([BASE, BASE])
    assert [trial.number for trial in both.of("tcp_up")] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(UsageError, match="was not measured yet"):
        merged([])


def test_two_tunings_that_do_not_meet_multiply() -> None:
    first, second = ATLAS.row("guest-tso=off"), ATLAS.row("rx-ring=64")
    pair = interaction_of(first, second, row("both", 225), "throughput")
    assert pair is not None
    assert pair.expected == pytest.approx(0.225)
    assert pair.factor == pytest.approx(1.0)
    assert not pair.shown
    other = interaction_of(first, second, row("both", 450), "throughput")
    assert other is not None
    assert other.factor == pytest.approx(2.0)
    assert other.shown
    assert interaction_of(first, ATLAS.row("in-order=on"), first, "throughput") is None


def test_it_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    ATLAS.save(tmp_path / "atlas.json")
    assert Atlas.load(tmp_path / "atlas.json") == ATLAS
    with pytest.raises(UsageError, match=r"none\.json cannot be read"):
        Atlas.load(tmp_path / "none.json")
    for text in ("{}", "[", '{"format": 9, "atlas": {}}', '{"format": 1, "atlas": {}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(OutputError, match=r"bad\.json holds no `atlas`"):
            Atlas.load(tmp_path / "bad.json")


def test_the_csv_names_versions_and_holds_every_effect() -> None:
    lines = ATLAS.csv().splitlines()
    assert "# QEMU: 10.0.13" in lines
    data = [line for line in lines if not line.startswith("#")]
    assert data[0].startswith("tuning,place,workload,metric,part,unit,without,with,ratio,low,high")
    lines_of = sum(len(each.effects) + len(each.payers) for each in ATLAS.rows)
    assert len(data) == 1 + lines_of + 1
    assert any(
        line.startswith("guest-tso=off,guest,tcp_up,tcp_up_mbps,,Mbit/s,1000") for line in data
    )
    part = "guest-tso=off,guest,tcp_up,instructions_per_packet,guest,instructions/packet,10,40,4,"
    assert any(line.startswith(part) for line in data)
    assert "no word" in data[-1]


def test_an_effect_without_a_bound_is_told_as_such() -> None:
    one = replace(BASE, trials=BASE.trials[:2])
    (effect, *_) = effects_of([one], one)
    assert (effect.low, effect.high, effect.shown) == (0.0, None, False)
    assert effect.verdict == "no difference shown"
    assert replace(effect, ratio=None).size == math.inf
