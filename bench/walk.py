"""A walk by kvmlab against the same schemes and trials by a plain shell script.

kvmlab inspects the host, plans, plugs the schemes into the running VM in turns, measures, reverts,
and writes the run and its page. `plain_walk.sh` boots the VM once for each scheme and runs iperf3;
it counts no costs, traces no packet, and does not alternate. Both send as long and as often.
Seconds are wall seconds; opening the host is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import kvmlab
from bench._harness import ROOT, Bench, repeats
from kvmlab.errors import MeasureError
from kvmlab.results import Result

SCHEMES = {
    "e1000e": kvmlab.FullEmulation("e1000e"),
    "virtio": kvmlab.Virtio(backend="qemu"),
    "vhost": kvmlab.Virtio(backend="vhost"),
}
WORKLOADS = ("tcp_up", "tcp_down")
WAIT_SEC = 600.0
SCRIPT = "/tmp/plain_walk.sh"


def main(argv: Sequence[str] | None = None) -> None:
    """Time one walk of each kind, with ``--count`` trials, each on a freshly restored host."""
    trials = kvmlab.Trials(count=repeats(2, argv), seconds=1, workloads=WORKLOADS)
    bench = Bench("walk", "seconds of a walk: three schemes, TCP both ways")
    bench.notes["trials of each workload"] = str(trials.count)
    with TemporaryDirectory() as out:
        with kvmlab.open_lab("embedded", out=out) as lab:
            bench.notes["host"] = lab.host.emulated or lab.host.label
            _by_kvmlab(bench, lab, trials, Path(out))
        with kvmlab.open_lab("embedded", out=out) as lab:
            _by_hand(bench, lab, trials)
    bench.ratio("plain shell over kvmlab", "plain shell: all", "kvmlab: all")
    bench.finish()


def _by_kvmlab(bench: Bench, lab: kvmlab.Lab, trials: kvmlab.Trials, out: Path) -> None:
    from kvmlab.report import run_comparison_page
    from kvmlab.results import compare_runs, find_run

    name = lab.vm.name  # The VM runs before either of them begins.
    with bench.timed("kvmlab: all"):
        with bench.timed("kvmlab: inspect and plan"):
            plans = [lab.plan(scheme) for scheme in SCHEMES.values()]
        with bench.timed("kvmlab: apply, measure, revert"):
            results = lab.compare(*plans, trials=trials, jobs=1)
        with bench.timed("kvmlab: keep and report"):
            run = find_run(str(lab.keep(*results).folder))
            run_comparison_page.write(compare_runs(run, run), out / "page.html")
    client_sec = _client_sec(results)
    bench.add("kvmlab: traffic", client_sec)
    outside = 100 * (1 - client_sec / bench.series["kvmlab: all"][-1])
    bench.add("kvmlab: outside traffic", outside, "%")
    bench.notes["test VM"] = name


def _client_sec(results: Sequence[Result]) -> float:
    return sum(
        condition.value
        for result in results
        for trial in result.trials
        for condition in trial.conditions
        if condition.name == "client_sec"
    )


def _by_hand(bench: Bench, lab: kvmlab.Lab, trials: kvmlab.Trials) -> None:
    script = (ROOT / "bench" / "plain_walk.sh").read_text(encoding="utf-8")
    lab.host.run(("tee", SCRIPT), timeout_sec=60, input_text=script)
    netns = lab.cable.peer_netns or ""
    settings = (lab.vm.name, lab.cable.port, netns, str(trials.count), str(int(trials.seconds)))
    spent: dict[str, float] = {}
    phase, since = "", time.monotonic()
    measured = 0
    with bench.timed("plain shell: all"):
        for line in _lines(lab, ("sh", SCRIPT, *settings, *SCHEMES)):
            measured += not line.startswith("=== ")
            if line.startswith("=== "):
                now = time.monotonic()
                spent[phase] = spent.get(phase, 0.0) + now - since
                phase, since = line.removeprefix("=== "), now
            else:
                bench.notes[f"plain shell, {line.rpartition(' ')[0]}"] = line.rpartition(" ")[2]
    if measured != len(SCHEMES) * trials.count * len(WORKLOADS):
        raise MeasureError(f"The plain walk measured {measured} trials and not all of them.")
    for name, seconds in spent.items():
        if name and name != "end":
            bench.add(f"plain shell: {name}", seconds)
    outside = 100 * (1 - spent["traffic"] / bench.series["plain shell: all"][-1])
    bench.add("plain shell: outside traffic", outside, "%")


def _lines(lab: kvmlab.Lab, argv: Sequence[str]) -> Iterator[str]:
    """Yield the lines that a program on the host prints."""
    with lab.host.runner.spawn(argv, root=True) as process:
        while (line := process.next_line(timeout_sec=WAIT_SEC)) is not None:
            yield line
        process.finish(timeout_sec=WAIT_SEC)


if __name__ == "__main__":
    main()
