"""`kvmlab runs`, `compare`, `gate` and `history`: the runs on this machine, and their changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import print_json, print_line, print_table
from kvmlab.cli.parameters import AsJson, RunFolders
from kvmlab.errors import EXIT_FAILED

if TYPE_CHECKING:
    from kvmlab.results import Run

commands = CommandGroup()


@commands.command("runs")
def list_runs(folders: RunFolders = None, as_json: AsJson = False) -> None:
    """List the runs: what they measured, when, on which host, and whether they came to their end.

    Anything that `kvmlab run` or `lab.keep` wrote is a run; so is a measurement that was killed.
    """
    from kvmlab.results import PLACES, find_runs
    from kvmlab.serialization import to_json

    places = tuple(folders or PLACES)
    runs = find_runs(places)
    if as_json:
        print_json(to_json(runs))
    elif not runs:
        print_line(f"There is no run in {' and '.join(map(str, places))}.")
    else:
        print_table(
            ("run", "folder", "status", "trials", "host", "clock", "started", "schemes"),
            (
                (
                    run.name,
                    str(run.folder.parent),
                    _status(run),
                    str(run.trials),
                    ", ".join(run.hosts),
                    ", ".join(run.clocks),
                    run.started,
                    "; ".join(run.schemes),
                )
                for run in runs
            ),
        )


def _status(run: Run) -> str:
    foreign = f"{run.status} (read only: {run.origin})" if run.origin else run.status
    return f"{foreign}: {run.detail}" if run.detail else foreign


@commands.command("compare")
def compare(
    baseline: Annotated[str, typer.Argument(metavar="BASELINE", help="A run's name or folder.")],
    current: Annotated[str, typer.Argument(metavar="CURRENT", help="The run to judge.")],
    folders: RunFolders = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with figures to this file as well.")
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Take what unfinished runs had as it is.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two runs: a verdict for each metric of each scheme that both measured.

    Ratios are current / baseline, with 95 % intervals; a difference is claimed only where the
    interval excludes 1. Runs of different clocks do not compare.
    """
    from kvmlab.results import PLACES, compare_runs, find_run

    places = tuple(folders or PLACES)
    comparison = compare_runs(
        find_run(baseline, places), find_run(current, places), unfinished=unfinished
    )
    if html is not None:
        from kvmlab.report import run_comparison_page

        run_comparison_page.write(comparison, html)
    if as_json:
        print_json(comparison.to_dict())
        return
    from kvmlab.report.run_comparison_table import columns, heading, rows

    print_line(f"{comparison.current.name} (current) against {comparison.baseline.name} (baseline)")
    for scheme in comparison.schemes:
        print_line(f"\n{heading(scheme)}")
        print_table(columns(scheme), rows(scheme))
    print_line("")
    for note in comparison.notes:
        print_line(note)
    if html is not None:
        print_line(f"Page: {html}")


@commands.command("gate")
def gate(
    baseline: Annotated[str, typer.Argument(metavar="BASELINE", help="A run's name or folder.")],
    current: Annotated[str, typer.Argument(metavar="CURRENT", help="The run to judge.")],
    folders: RunFolders = None,
    tolerance_percent: Annotated[
        float, typer.Option("--tolerance", help="Percent worse that are tolerated.", min=0)
    ] = 5.0,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="Only metrics of this pattern: tcp_*; may be repeated."),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Schemes may be missing from the current run.")
    ] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Take what unfinished runs had as it is.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    openmetrics: Annotated[
        Path | None, typer.Option(help="Write OpenMetrics text to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fail where a run is worse than a baseline by more than a tolerance.

    A metric fails where its whole 95 % interval is beyond the tolerance. Ends with 1 where one
    fails, or where a scheme of the baseline is missing.
    """
    from kvmlab.results import PLACES, find_run, judge_runs

    places = tuple(folders or PLACES)
    report = judge_runs(
        find_run(baseline, places),
        find_run(current, places),
        tolerance_percent=tolerance_percent,
        metrics=metric or ("*",),
        allow_missing=allow_missing,
        unfinished=unfinished,
    )
    if junit is not None or openmetrics is not None:
        from kvmlab.directories import write_named
        from kvmlab.report import gate_formats

        if junit is not None:
            write_named(junit, gate_formats.junit_xml(report))
        if openmetrics is not None:
            write_named(openmetrics, gate_formats.openmetrics_text(report))
    if as_json:
        print_json(report.to_dict())
    else:
        for check in report.failed:
            print_line(str(check))
        for scheme in report.missing:
            print_line(f"{scheme}: the current run did not measure this scheme")
        counts = {
            verdict: sum(check.verdict == verdict for check in report.checks)
            for verdict in ("passed", "failed", "not decided")
        }
        print_line(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    if not report.passed:
        raise typer.Exit(EXIT_FAILED)


@commands.command("history")
def history(
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="tcp_up_mbps, rtt_p50_us, …")],
    scheme: Annotated[str, typer.Option(help="Only this scheme.")] = "",
    workload: Annotated[
        str | None, typer.Option(help="The workload of a cost: tcp_up, latency, …")
    ] = None,
    folders: RunFolders = None,
    html: Annotated[Path | None, typer.Option(help="Draw it into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a metric over all finished runs, and where its level changed."""
    from kvmlab.results import PLACES, find_runs, history_of

    runs = [run for run in find_runs(tuple(folders or PLACES)) if run.status == "finished"]
    histories = history_of(runs, metric, scheme=scheme, workload=workload)
    if html is not None:
        from kvmlab.report import history_page

        history_page.write(histories, html)
    if as_json:
        print_json([one.to_dict() for one in histories])
        return
    print_table(
        ("scheme", "run", "started", "median", "95 % interval", "trials", ""),
        (
            (
                one.scheme,
                point.run,
                point.started,
                f"{point.summary.median:.5g} {one.unit}",
                f"{point.summary.low:.5g} … {point.summary.high:.5g}",
                str(point.summary.count),
                "level changes here" if index in one.changes else "",
            )
            for one in histories
            for index, point in enumerate(one.points)
        ),
    )
