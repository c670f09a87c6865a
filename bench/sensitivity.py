"""Is what is there found? A slowdown of 20 %, put in by `tc` at the peer; a trial beside a CPU hog.

The slowdown: one scheme as it is, in turns with the same scheme while a token bucket at the peer's
port lets through 80 % of what was measured before (TCP to the VM), and while a delay there makes a
round trip take 20 % longer. The hog: a loop that does nothing takes the host's CPU during one trial
of five. The trial has to be flagged, and none of the others.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import kvmlab
from bench._harness import Bench, repeats
from kvmlab.changes import Nic, Plan
from kvmlab.measure import Trials, interleaved
from kvmlab.measure.flagging import flagged
from kvmlab.measure.subject import Subject
from kvmlab.measure.trial import run_trial
from kvmlab.measure.workloads import workload
from kvmlab.results import Trial

SLOWER = 0.20
STEP_SEC = 120.0
# iperf3 counts what TCP carries, a token bucket whole frames.
FRAME_SHARE = 1514 / 1448
HIT, OF = 3, 5


def main(argv: Sequence[str] | None = None) -> None:
    """``--count`` rounds of each slowdown, then the hog."""
    count = repeats(5, argv)
    bench = Bench("sensitivity", "what was put in on purpose, and whether it was found")
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
    subject = Subject(lab.host, lab.vm, nic, lab.vm.threads())
    trial, _ = run_trial(subject, work, trials, number=number, block=number)
    return trial


def _slowdown(
    bench: Bench,
    lab: kvmlab.Lab,
    plan: Plan,
    trials: Trials,
    metric: str,
    rule: Sequence[str],
) -> None:
    ways = {
        "as it is": functools.partial(plan.applied, lab.vm),
        "slowed": functools.partial(_slowed, lab, plan, tuple(rule)),
    }
    usual, slowed = interleaved(ways, lab.host, lab.vm, trials)
    for name, result in zip(ways, (usual, slowed), strict=True):
        for found in result.metrics(metric):
            bench.add(f"{metric}, {name}", found.value, found.unit)
    found_out = kvmlab.compare(usual, slowed, metric)
    bench.notes[f"{metric} with {' '.join(rule)}"] = (
        f"ratio {found_out.ratio:.3f} ({found_out.low:.3f} to {found_out.high:.3f}): "
        f"{found_out.verdict}"
    )


@contextmanager
def _slowed(lab: kvmlab.Lab, plan: Plan, rule: tuple[str, ...]) -> Iterator[Nic]:
    port = lab.wire.peer_port or ""
    with plan.applied(lab.vm) as nic:
        _tc(lab, "add", "dev", port, "root", *rule)
        try:
            yield nic
        finally:
            _tc(lab, "del", "dev", port, "root")


def _tc(lab: kvmlab.Lab, *words: str) -> None:
    lab.host.run(lab.wire.on_peer(("tc", "qdisc", *words)), timeout_sec=STEP_SEC, root=True)


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
        told = "; ".join(trial.flags) or "no flag"
        bench.notes[f"trial {trial.number} of {OF}, {what}"] = told


@contextmanager
def _loop(lab: kvmlab.Lab) -> Iterator[None]:
    """Something that takes all of a CPU of the host."""
    hog = lab.host.runner.start(("timeout", "600", "sh", "-c", "while :; do :; done"))
    try:
        yield
    finally:
        # In brackets, so that the pattern does not find the shell that carries it.
        lab.host.run(("pkill", "-f", "while :; do :[;] done"), timeout_sec=STEP_SEC, check=False)
        hog.communicate(timeout=STEP_SEC)


if __name__ == "__main__":
    main()
