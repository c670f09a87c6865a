"""`kvmlab measure`: schemes compared without a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from kvmlab.cli.changes import confirm_changes
from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import err, print_json, print_line, print_notice, print_table
from kvmlab.cli.parameters import (
    AsJson,
    CableText,
    Cut,
    DomainName,
    DryRun,
    HostSpec,
    Yes,
    open_lab,
    scheme_from,
)
from kvmlab.errors import UsageError

if TYPE_CHECKING:
    from kvmlab.changes import Plan
    from kvmlab.lab import Lab
    from kvmlab.measure import Progress
    from kvmlab.results import Comparison, Result
    from kvmlab.schemes import Scheme

commands = CommandGroup()

#: The scheme that is measured where none is named.
_USUAL_SCHEME = "virtio-vhost"
#: Costs that are compared; the tidy table in the folder has all of them.
_COSTS = ("vm_exits_per_packet", "userspace_exits_per_packet", "cpu_us_per_packet")


SchemeTexts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SCHEME]...",
        help="Ids, the baseline first, as for `plan`; options after a colon: sriov-vf:vfs=4; "
        "tunings after a plus: virtio-vhost+rx-ring=256. By default virtio-vhost.",
    ),
]
TuningTexts = Annotated[
    list[str] | None,
    typer.Option(
        "-k",
        "--tuning",
        metavar="NAME=VALUE",
        help="Measure the first scheme with this tuning as well; may be repeated. Several together "
        "are one: rx-ring=256+mtu=9000.",
    ),
]
ClockName = Annotated[str, typer.Option(help="Clock of the embedded host: virtual or wall.")]
Workloads = Annotated[
    list[str] | None,
    typer.Option(
        "--workload",
        "-w",
        help="A workload, may be repeated: tcp_up, tcp_down, latency, pps (these by default), "
        "pps_down, request_response, tcp_up_flows, pps_flows, latency_under_up, …; "
        "tcp_up@1024x4: 1024-byte messages in 4 flows.",
    ),
]
TrialCount = Annotated[int, typer.Option(help="Trials of each workload with each scheme.")]
Seconds = Annotated[float, typer.Option(help="Length of a trial in the host's clock.")]
Seed = Annotated[int, typer.Option(help="Decides the random order of the schemes.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Embedded hosts that measure at a time, under the virtual clock; by default as many "
        "as CPUs and memory allow.",
    ),
]
Out = Annotated[Path, typer.Option(help="The folder for runs, in which a new one is made.")]


@commands.command()
def measure(
    schemes: SchemeTexts = None,
    tuning: TuningTexts = None,
    host: HostSpec = "embedded",
    clock: ClockName = "virtual",
    workload: Workloads = None,
    trials: TrialCount = 3,
    seconds: Seconds = 1,
    seed: Seed = 1,
    jobs: Jobs = None,
    domain: DomainName = None,
    cable: CableText = "",
    cut: Cut = None,
    out: Out = Path("results"),
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure schemes in turns, compare them with the first one, keep everything as a run.

    The schemes are applied in random order, trial by trial, and reverted. On a host that is not the
    embedded one the plans are shown first and confirmed; without a terminal that needs --yes.
    """
    from kvmlab.lab import EMBEDDED
    from kvmlab.measure.trial_settings import USUAL_WORKLOADS, Trials

    texts = schemes or [_USUAL_SCHEME]
    texts += [f"{texts[0]}+{text}" for text in tuning or ()]
    chosen = _parse_schemes(texts, on_embedded=host == EMBEDDED)
    settings = Trials(
        count=trials, seconds=seconds, workloads=tuple(workload or USUAL_WORKLOADS), seed=seed
    )
    with open_lab(
        host,
        clock=clock,
        domain=domain,
        cable=cable,
        allow_changes=yes,
        cut=cut or (),
        out=out,
    ) as lab:
        plans = _agreed_plans(lab, chosen, dry_run=dry_run)
        if dry_run:
            print_notice("Dry run: nothing was changed.")
            return
        with ProgressLine() as progress:
            try:
                results = lab.compare(*plans, trials=settings, jobs=jobs, progress=progress.show)
            except (KeyboardInterrupt, SystemExit):
                print_notice("Interrupted. What had been changed on the host is put back.")
                raise
        saved = lab.keep(*results)
    comparisons = tuple(_comparisons(results))
    if as_json:
        print_json(_to_dict(saved.folder, results, comparisons))
        return
    _print_results(results, comparisons)
    if results[0].emulated:
        print_line(f"\n{results[0].emulated}\n{results[0].clock.meaning}")
    print_line(str(saved))


def _agreed_plans(lab: Lab, schemes: Sequence[Scheme], *, dry_run: bool) -> list[Plan]:
    """Return the plans of the schemes, shown and confirmed where the host is not an embedded one.

    Raises:
        Unavailable, Refused: the host cannot do a scheme, or it was refused or not confirmed.
    """
    from kvmlab.changes.guard import refuse

    plans = [lab.plan(scheme) for scheme in schemes]
    for plan in plans:
        if dry_run or lab.host.is_shared:
            print_notice(str(plan))
        refuse(plan.refusals)
    if not dry_run and not lab.host.allows_changes:
        confirm_changes(lab, "these plans")
    return plans


def _parse_schemes(texts: Sequence[str], *, on_embedded: bool) -> list[Scheme]:
    """Return the schemes of the command line, all different.

    On an embedded host, which nothing else uses, the lab's own default options apply.

    Raises:
        UsageError: there is no such scheme or option, or one is named twice.
    """
    from kvmlab.schemes.registry import REGISTRY
    from kvmlab.tunings import tuned

    schemes = []
    for text in texts:
        words, *tunings = text.split("+")
        scheme_id, _, options = words.partition(":")
        scheme = scheme_from(scheme_id, options.split(",") if options else None)
        if on_embedded and not options:
            scheme = REGISTRY[scheme_id].scheme
        if tunings:
            scheme = tuned(scheme, *tunings)
        schemes.append(scheme)
    repeated = {scheme.label for scheme in schemes if schemes.count(scheme) > 1}
    if repeated or len({scheme.label for scheme in schemes}) < len(schemes):
        raise UsageError(
            f"The schemes {', '.join(texts)} are not all different.", todo="Name each once."
        )
    return schemes


def _comparisons(results: Sequence[Result]) -> Iterator[Comparison]:
    """Yield each scheme against the first, in every metric that both have."""
    from kvmlab.results import compare

    baseline, *others = results
    for result in others:
        for workload in result.workloads:
            for metric in result.metric_names(workload, _COSTS):
                if baseline.has(metric, workload):
                    yield compare(baseline, result, metric, workload, among=results)


def _print_results(results: Sequence[Result], comparisons: Sequence[Comparison]) -> None:
    from kvmlab.report import names, tables

    frame = tables.summary(*results)
    print_table(
        ("workload", "metric", *map(str, frame.columns)),
        (tuple(map(str, row)) for row in frame.reset_index().itertuples(index=False)),
    )
    if not comparisons:
        return
    print_line("")
    print_table(
        ("metric", "scheme", f"ratio to {results[0].label}", "95 % interval", "verdict"),
        (
            (
                names.metric(each.metric, each.workload),
                each.current_label,
                names.number(each.ratio),
                f"{names.number(each.low)} … {names.number(each.high)}",
                each.verdict,
            )
            for each in comparisons
        ),
    )


def _to_dict(
    folder: Path, results: Sequence[Result], comparisons: Sequence[Comparison]
) -> dict[str, Any]:
    """Return the form that ``--json`` prints."""
    first = results[0]
    return {
        "folder": str(folder),
        "host": first.host,
        "clock": first.clock.value,
        "emulated": first.emulated,
        "schemes": [_scheme_to_dict(result) for result in results],
        "comparisons": [_comparison_to_dict(comparison) for comparison in comparisons],
    }


def _scheme_to_dict(result: Result) -> dict[str, Any]:
    metrics = []
    for workload in result.workloads:
        for name in result.metric_names(workload, _COSTS):
            summary = result.summary(name, workload)
            metrics.append(
                {
                    "metric": name,
                    "workload": workload,
                    "unit": result.metrics(name, workload)[0].unit,
                    "median": _finite(summary.median),
                    "low": _finite(summary.low),
                    "high": _finite(summary.high),
                    "trials": summary.count,
                }
            )
    return {"scheme": result.scheme, "label": result.label, "metrics": metrics}


def _comparison_to_dict(comparison: Comparison) -> dict[str, Any]:
    return {
        "metric": comparison.metric,
        "workload": comparison.workload,
        "baseline": comparison.baseline_label,
        "current": comparison.current_label,
        "ratio": _finite(comparison.ratio),
        "low": _finite(comparison.low),
        "high": _finite(comparison.high),
        "verdict": comparison.verdict,
    }


def _finite(value: float) -> float | None:
    """Return ``value``, and None for an infinite one, which JSON cannot hold."""
    return value if math.isfinite(value) else None


class ProgressLine:
    """The progress of a measurement on stderr: a bar on a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bar.add_task("measuring", total=None)

    def __enter__(self) -> ProgressLine:
        self._bar.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._bar.stop()

    def show(self, step: Progress) -> None:
        """Show the step that begins."""
        if self._bar.disable:
            print_notice(f"{step.done}/{step.total}  {step.what}")
        else:
            self._bar.update(
                self._task, completed=step.done, total=step.total, description=step.what
            )
