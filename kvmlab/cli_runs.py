"""`kvmlab runs` and `kvmlab compare`: the runs on this machine, and one against another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Places = Annotated[
    list[Path] | None,
    typer.Option("--in", help="A folder to look for runs in; by default runs and results."),
]


def list_runs(places: Places = None, as_json: AsJson = False) -> None:
    """List the runs: what they measured, when, on which host, and whether they came to their end.

    Anything that `kvmlab run` or `lab.keep` wrote is a run; so is a measurement that was killed.
    """
    from kvmlab.results import PLACES, find_runs

    found = find_runs(tuple(places) if places else PLACES)
    if as_json:
        _print_json([run.to_dict() for run in found])
        return
    for run in found:
        about = f"{', '.join(run.hosts) or 'no host'}, {', '.join(run.clocks) or 'no'} clock"
        print(f"{run.name}  {run.status}  {run.trials} trials  {about}  {run.started}".rstrip())
        if run.schemes:
            print(f"    {'; '.join(run.schemes)}")
        if run.said:
            print(f"    {run.said}")
        print(f"    {run.folder}")
    if not found:
        looked = " and ".join(str(place) for place in places or PLACES)
        print(f"There is no run in {looked}.")


def compare_two(
    baseline: Annotated[str, typer.Argument(metavar="BASELINE", help="A run's name or folder.")],
    current: Annotated[str, typer.Argument(metavar="CURRENT", help="The run to judge.")],
    places: Places = None,
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

    looked = tuple(places) if places else PLACES
    first, second = (find_run(name, looked) for name in (baseline, current))
    found = compare_runs(first, second, unfinished=unfinished)
    if html is not None:
        from kvmlab.report import run_page

        run_page.write(found, html)
    if as_json:
        _print_json(found.to_dict())
        return
    from kvmlab.report import run_lines

    for line in run_lines.lines(found):
        print(line)
    if html is not None:
        print(f"Page: {html}")


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
