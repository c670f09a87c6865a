"""Sensitivity: a slowdown of 20 % by `tc` at the peer, and a trial beside a CPU hog.

The slowdown: one scheme as it is alternates with the same scheme while a token bucket at the peer's
port passes 80 % of the throughput measured before (TCP to the VM), and while a delay there makes a
round trip 20 % longer. The hog: an endless loop takes the host's CPU during one trial of five; that
trial has to be flagged, and no other.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import kvmlab
from bench._harness import Bench, repeats
from kvmlab.changes import Nic, Plan
from kvmlab.measure import Subject, Trials, interleaved
from kvmlab.measure.meters import Meters
from kvmlab.measure.outliers import flagged
from kvmlab.measure.trial import run_trial
from kvmlab.measure.workloads import workload
from kvmlab.results import Trial

SLOWER = 0.20
STEP_SEC = 120.0
# iperf3 counts what TCP carries, a token bucket whole frames.
FRAME_SHARE = 1514 / 1448
HIT, OF = 3, 5


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``--count`` rounds of each slowdown, then the hog."""
    count = repeats(5, argv)
    bench = Bench("sensitivity", "deliberate disturbances, and whether they were detected")
    with kvmlab.open_lab("embedded") as lab:
        bench.notes["host"] = lab.host.emulated or lab.host.label
        bench.notes["clock"] = lab.host.clock.meaning
        plan = lab.plan(kvmlab.Virtio(backend="vhost"))
        with plan.applied(lab.vm) as nic:
            usual = {name: _one(lab, nic, name, 1) for name in ("tcp_down", "latency")}
            _hog(bench, lab, nic)
        mbps, rtt_us = (usual[name].metrics[0].value for name in ("tcp_down", "latency"))
        rate_mbit = (1 - SLOWER) * mbps * FRAME_SHARE
        bucket = ("tbf", "rate", f"{rate_mbit:.1f}mbit", "burst", "128kb", "latency", "50ms")
        delay = ("netem", "delay", f"{SLOWER * rtt_us:.0f}us", "limit", "10000")
        for name, metric, rule in (
            ("tcp_down", "tcp_down_mbps", bucket),
            ("latency", "rtt_p50_us", delay),
        ):
            _slowdown(bench, lab, plan, Trials(count=count, workloads=(name,)), metric, rule)
    bench.finish()


def _one(lab: kvmlab.Lab, nic: Nic, name: str, number: int) -> Trial:
    trials = Trials(seconds=1).on(lab.host.clock)
    work = workload(name, trials, nic.peer_ip)
    with Meters(lab.host) as meters:
        subject = Subject.of(lab.host, lab.vm, nic)
        trial, _ = run_trial(subject, work, trials, meters, number=number, block=number)
    return trial


def _slowdown(
    bench: Bench,
    lab: kvmlab.Lab,
    plan: Plan,
    trials: Trials,
    metric: str,
    rule: Sequence[str],
) -> None:
    variants = {
        "as it is": functools.partial(plan.applied, lab.vm),
        "slowed": functools.partial(_slowed, lab, plan, tuple(rule)),
    }
    usual, slowed = interleaved(variants, lab.host, lab.vm, trials)
    for name, result in zip(variants, (usual, slowed), strict=True):
        for each in result.metrics(metric):
            bench.add(f"{metric}, {name}", each.value, each.unit)
    comparison = kvmlab.compare(usual, slowed, metric)
    bench.notes[f"{metric} with {' '.join(rule)}"] = (
        f"ratio {comparison.ratio:.3f} ({comparison.low:.3f} to {comparison.high:.3f}): "
        f"{comparison.verdict}"
    )


@contextmanager
def _slowed(lab: kvmlab.Lab, plan: Plan, rule: tuple[str, ...]) -> Iterator[Nic]:
    port = lab.cable.peer_port or ""
    with plan.applied(lab.vm) as nic:
        _tc(lab, "add", "dev", port, "root", *rule)
        try:
            yield nic
        finally:
            _tc(lab, "del", "dev", port, "root")


def _tc(lab: kvmlab.Lab, *words: str) -> None:
    lab.host.run(lab.cable.on_peer(("tc", "qdisc", *words)), timeout_sec=STEP_SEC, root=True)


def _hog(bench: Bench, lab: kvmlab.Lab, nic: Nic) -> None:
    trials = []
    for number in range(1, OF + 1):
        if number == HIT:
            with _loop(lab):
                trials.append(_one(lab, nic, "tcp_up", number))
        else:
            trials.append(_one(lab, nic, "tcp_up", number))
    for trial in flagged(trials):
        what = "beside a CPU hog" if trial.number == HIT else "alone"
        for metric in trial.metrics[:1]:
            bench.add(f"{metric.name}, {what}", metric.value, metric.unit)
        flags = "; ".join(trial.flags) or "no flag"
        bench.notes[f"trial {trial.number} of {OF}, {what}"] = flags


@contextmanager
def _loop(lab: kvmlab.Lab) -> Iterator[None]:
    """Keep one CPU of the host busy for the length of the block."""
    hog = lab.host.runner.spawn(("timeout", "600", "sh", "-c", "while :; do :; done"))
    try:
        yield
    finally:
        # The brackets keep the pattern from matching the shell that carries it.
        lab.host.run(("pkill", "-f", "while :; do :[;] done"), timeout_sec=STEP_SEC, check=False)
        hog.finish(timeout_sec=STEP_SEC, check=False)


if __name__ == "__main__":
    main()
