"""Throughput by kvmlab, with all its meters, against iperf3 started by hand in the same VM.

Both send for a second over the same interface (after a warm-up under wall time), alternating. By
hand means: no counters, no traces, a server on the peer, a client in the VM, and the figure that
iperf3 prints. The cost of the meters shows as a ratio below one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import kvmlab
from bench._harness import Bench, alternate, repeats
from kvmlab.deadline import until
from kvmlab.hosts import Cable
from kvmlab.measure import Subject
from kvmlab.measure.meters import Meters
from kvmlab.measure.trial import run_trial
from kvmlab.measure.workloads import workload
from kvmlab.results.statistics import ratio_interval

LIGHT = kvmlab.Trials(count=1, seconds=1, workloads=("tcp_up", "tcp_down"))
FULL = replace(LIGHT, full_costs=True)
PORT = 5301  # other than kvmlab's
WAIT_SEC = 300.0  # wall seconds: a second of an emulated host can be long


@dataclass(frozen=True)
class IperfByHand:
    """Throughput by iperf3 as a person starts it."""

    bench: Bench
    subject: Subject
    cable: Cable
    trials: kvmlab.Trials

    def once(self, block: int) -> None:
        """Run once up, once down."""
        for direction, extra in (("up", ()), ("down", ("-R",))):
            self._serve()
            client = ("iperf3", "-c", self.subject.nic.peer_ip, "-p", str(PORT), *extra)
            times = ("-t", str(int(self.trials.seconds)), "-O", str(self.trials.omitted_sec), "-J")
            agent, words = self.subject.vm.agent, (*client, *times)
            # Polling the agent or the host would slow the traffic down: the wait for the server's
            # end starts before the client.
            gone = ("tail", "--pid", self._server_id(), "-s", "0.05", "-f", "/dev/null")
            waiting = self.subject.host.runner.spawn(("timeout", str(WAIT_SEC), *gone))
            handle = agent.start(words)
            waiting.finish(timeout_sec=WAIT_SEC, check=False)
            done = agent.wait(handle, words, timeout_sec=WAIT_SEC)
            bits = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
            self.bench.add(f"by hand: TCP {direction}", bits / 1e6, "Mbit/s")

    def _server_id(self) -> str:
        argv = ("pgrep", "-nx", "iperf3")
        return self.subject.host.run(argv, timeout_sec=WAIT_SEC).stdout.strip()

    def _serve(self) -> None:
        host = self.subject.host
        argv = self.cable.on_peer(("iperf3", "-s", "-1", "-D", "-p", str(PORT)))
        host.run(argv, timeout_sec=WAIT_SEC)
        listening = self.cable.on_peer(("ss", "-Hltn", f"sport = :{PORT}"))
        until(
            lambda: host.run(listening, timeout_sec=WAIT_SEC).stdout.strip(),
            timeout_sec=WAIT_SEC,
            what="iperf3's listening on the peer",
        )


@dataclass(frozen=True)
class KvmlabThroughput:
    """Throughput by trials of kvmlab."""

    bench: Bench
    subject: Subject
    trials: kvmlab.Trials
    name: str

    def once(self, block: int) -> None:
        """Run one trial up, one down."""
        for direction in ("up", "down"):
            peer_ip = self.subject.nic.peer_ip
            work = workload(f"tcp_{direction}", self.trials, peer_ip)
            with Meters(self.subject.host) as meters:
                trial, _ = run_trial(
                    self.subject, work, self.trials, meters, number=block + 1, block=block
                )
            (mbps,) = (m.value for m in trial.metrics if m.unit == "Mbit/s")
            self.bench.add(f"{self.name}: TCP {direction}", mbps, "Mbit/s")


def main(argv: Sequence[str] | None = None) -> None:
    """Alternate both ``--count`` times, over virtio with QEMU's back end."""
    count = repeats(6, argv)
    bench = Bench("throughput_vs_iperf3", "TCP over one interface: kvmlab against iperf3 by hand")
    with kvmlab.open_lab("embedded") as lab:
        bench.notes["host"] = lab.host.emulated or lab.host.label
        bench.notes["clock"] = lab.host.clock.meaning
        with lab.plan(kvmlab.Virtio(backend="qemu")).applied(lab.vm) as nic:
            subject, clock = Subject.of(lab.host, lab.vm, nic), lab.host.clock
            hand = IperfByHand(bench, subject, lab.cable, LIGHT.on(clock))
            ours = (("kvmlab", LIGHT), ("kvmlab, full costs", FULL))
            through = [KvmlabThroughput(bench, subject, t.on(clock), name) for name, t in ours]
            alternate(count, *(each.once for each in through), hand.once)
    for name in ("kvmlab", "kvmlab, full costs"):
        for direction in ("up", "down"):
            _compare(bench, name, direction)
    bench.finish()


def _compare(bench: Bench, name: str, direction: str) -> None:
    over, under = f"{name}: TCP {direction}", f"by hand: TCP {direction}"
    goal = "1 within its interval" if name == "kvmlab" else ""
    bench.ratio(f"{name} over by hand, {direction}", over, under, goal=goal)
    low, high = ratio_interval(bench.series[under], bench.series[over])
    holds = "contains 1" if low <= 1 <= high else "does not contain 1"
    bench.notes[f"95 % interval, {name}, {direction}"] = f"{low:.2f} to {high:.2f}: {holds}"


if __name__ == "__main__":
    main()
