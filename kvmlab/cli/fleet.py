"""`kvmlab fleet …`: notebooks, checks and restores on many hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import print_json, print_line, print_progress, print_table
from kvmlab.cli.parameters import AsJson, Yes, scheme_from
from kvmlab.errors import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_REVERT_FAILED,
    EXIT_SKIPPED,
    UsageError,
    reason_of,
)

if TYPE_CHECKING:
    from kvmlab.fleet import FleetHost, FleetRecord, HostOutcome

commands = CommandGroup()
fleet = CommandGroup("fleet", help="Run notebooks and checks on many hosts.")
commands.add_typer(fleet)

#: Commands that change hosts, for as long as they run.
_CHANGING: Final = ("run", "measure")

Inventory = Annotated[
    Path,
    typer.Option(
        "--inventory",
        "-i",
        help="The hosts: kvmlab's YAML, or an Ansible inventory (docs/fleet.md).",
    ),
]
Limit = Annotated[
    list[str] | None, typer.Option("--limit", help="Only this host or group; may be repeated.")
]
Scheduler = Annotated[
    str,
    typer.Option("--scheduler", help="Address of a dask scheduler, tcp://HOST:PORT; else here."),
]
Jobs = Annotated[int, typer.Option("--jobs", help="Hosts at a time, without --scheduler.", min=1)]
Canary = Annotated[int, typer.Option("--canary", help="Hosts that go first, one at a time.", min=0)]
MaxFailures = Annotated[
    int, typer.Option("--max-failures", help="Stop after so many failed hosts; 0: never.", min=0)
]
Out = Annotated[Path | None, typer.Option(help="A new folder; by default fleet/DATE-TIME.")]
Resume = Annotated[
    Path | None,
    typer.Option(help="Go on with the rollout in this folder: hosts that succeeded are left out."),
]
CutOnHost = Annotated[
    list[str] | None,
    typer.Option(
        "--cut",
        metavar="HOST:NAME",
        help="What the change may cut on that host although it would be refused, as the refusal "
        "names it; may be repeated.",
    ),
]
TimeoutSec = Annotated[float, typer.Option("--timeout", help="Seconds for one host.", min=1)]


@fleet.command("run")
def run(
    inventory: Inventory,
    notebooks: Annotated[
        list[str] | None, typer.Argument(help="Notebooks, as for `kvmlab run`; all without any.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="For every host."),
    ] = None,
    limit: Limit = None,
    scheduler: Scheduler = "",
    jobs: Jobs = 4,
    canary: Canary = 1,
    max_failures: MaxFailures = 3,
    out: Out = None,
    resume: Resume = None,
    timeout_sec: TimeoutSec = 7200.0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Run notebooks on every host: canaries first, one report for all, one for each host.

    Nothing is changed on real hosts without --yes. Ends with 4 where a host could not be restored,
    with 1 where another job failed.
    """
    from kvmlab import runbook

    hosts = _hosts(inventory, limit)
    pairs = dict(runbook.parse(parameter or []))
    for host in hosts:
        # Everything that can be known to be wrong is known before the first host is touched.
        runbook.describe_run(notebooks or [], parameters={**_parameters(host, yes), **pairs})
    words = {
        host.name: (
            "run",
            *(notebooks or ()),
            # A worker has its own number of jobs, and one host for each.
            "--jobs",
            "1",
            "--out",
            "{out}",
            *(
                word
                for name, value in {**_parameters(host, yes), **pairs}.items()
                for word in ("-p", f"{name}={value}")
            ),
        )
        for host in hosts
    }
    title = ("kvmlab", "fleet", "run", *(notebooks or ()))
    record = _rollout(
        title, hosts, words, scheduler, jobs, canary, max_failures, out, resume, timeout_sec
    )
    _finish(record, as_json=as_json)


@fleet.command("measure")
def measure(
    schemes: Annotated[
        list[str], typer.Argument(metavar="SCHEME", help="As for `kvmlab measure`.")
    ],
    inventory: Inventory,
    workload: Annotated[
        list[str] | None, typer.Option("--workload", "-w", help="As for `kvmlab measure`.")
    ] = None,
    trials: Annotated[int, typer.Option(help="Trials of each workload.", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="Length of a trial.")] = 1,
    cut: CutOnHost = None,
    limit: Limit = None,
    scheduler: Scheduler = "",
    jobs: Jobs = 4,
    canary: Canary = 1,
    max_failures: MaxFailures = 3,
    out: Out = None,
    resume: Resume = None,
    timeout_sec: TimeoutSec = 7200.0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Measure schemes on every host, in the order and with the limits of `fleet run`.

    Nothing is changed on real hosts without --yes. Ends as `fleet run`.
    """
    from kvmlab.fleet import cuts_by_host
    from kvmlab.measure.trial_settings import USUAL_WORKLOADS, Trials

    # Everything that can be known to be wrong is known before the first host is touched.
    workloads = tuple(workload or USUAL_WORKLOADS)
    Trials(count=trials, seconds=seconds, workloads=workloads)
    for scheme in schemes:
        scheme_id, _, options = scheme.partition(":")
        scheme_from(scheme_id, options.split(",") if options else None)
    hosts = _hosts(inventory, limit)
    cuts = cuts_by_host(cut or (), hosts)
    common = ("--trials", str(trials), "--seconds", f"{seconds:g}", "--jobs", "1")
    words = {
        host.name: (
            "measure",
            *schemes,
            *(word for name in workloads for word in ("--workload", name)),
            *common,
            *("--host", host.uri, "--out", "{out}"),
            *(("--domain", host.vm) if host.vm else ()),
            *(("--cable", host.cable) if host.cable else ()),
            *(word for name in cuts[host.name] for word in ("--cut", name)),
            *(("--yes",) if yes else ()),
        )
        for host in hosts
    }
    title = ("kvmlab", "fleet", "measure", *schemes)
    record = _rollout(
        title, hosts, words, scheduler, jobs, canary, max_failures, out, resume, timeout_sec
    )
    _finish(record, as_json=as_json)


@fleet.command("doctor")
def doctor(
    inventory: Inventory,
    limit: Limit = None,
    scheduler: Scheduler = "",
    jobs: Jobs = 8,
    out: Out = None,
    timeout_sec: TimeoutSec = 600.0,
    as_json: AsJson = False,
) -> None:
    """Check every host with every rule; changes nothing. Ends with 3 where there is a problem."""
    _on_each(("doctor",), inventory, limit, scheduler, jobs, out, timeout_sec, as_json=as_json)


@fleet.command("restore")
def restore(
    inventory: Inventory,
    limit: Limit = None,
    scheduler: Scheduler = "",
    jobs: Jobs = 8,
    out: Out = None,
    timeout_sec: TimeoutSec = 600.0,
    as_json: AsJson = False,
) -> None:
    """Undo on every host what killed runs left; a second time does nothing."""
    _on_each(("restore",), inventory, limit, scheduler, jobs, out, timeout_sec, as_json=as_json)


@fleet.command("report")
def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a rollout.")],
) -> None:
    """Write the page of a rollout anew."""
    from kvmlab.fleet import load_record, write_matrix

    print_line(f"Report: {write_matrix(load_record(folder))}")


def _on_each(
    words: tuple[str, ...],
    inventory: Path,
    limit: Sequence[str] | None,
    scheduler: str,
    jobs: int,
    out: Path | None,
    timeout_sec: float,
    *,
    as_json: bool,
) -> None:
    """Run a `kvmlab` command that prints JSON on every host, and print the outcomes."""
    hosts = _hosts(inventory, limit)
    by_host = {host.name: (*words, "--json", "--host", host.uri) for host in hosts}
    title = ("kvmlab", "fleet", *words)
    record = _rollout(title, hosts, by_host, scheduler, jobs, 0, 0, out, None, timeout_sec)
    _finish(record, as_json=as_json)


def _hosts(inventory: Path, limit: Sequence[str] | None) -> tuple[FleetHost, ...]:
    from kvmlab.fleet import read_inventory, select

    return select(read_inventory(inventory), limit or ())


def _parameters(host: FleetHost, yes: bool) -> dict[str, str]:
    values = {"HOST": host.uri, **host.parameters}
    if host.vm:
        values["VM"] = host.vm
    if host.cable:
        values["CABLE"] = host.cable
    if yes:
        values["APPLY"] = "yes"
    return values


def _rollout(
    title: tuple[str, ...],
    hosts: Sequence[FleetHost],
    words: Mapping[str, tuple[str, ...]],
    scheduler: str,
    jobs: int,
    canary: int,
    max_failures: int,
    out: Path | None,
    resume: Path | None,
    timeout_sec: float,
) -> FleetRecord:
    from kvmlab.fleet import FleetRecord, HostJob, Rollout, load_record, write_matrix

    rollout = Rollout(jobs=jobs, scheduler=scheduler, canary=canary, max_failures=max_failures)
    names = tuple(host.name for host in hosts)
    if resume is not None:
        record = load_record(resume)
        if record.command != title or set(record.hosts) != set(names):
            raise UsageError(
                f"{resume} is the rollout of `{' '.join(record.command)}` on "
                f"{len(record.hosts)} hosts, not of this command and inventory.",
                todo="Give the same command and inventory, or leave --resume out.",
            )
    else:
        record = FleetRecord(_new_folder(out), title, names)
    by_name = {
        host.name: HostJob(host, words[host.name], timeout_sec=timeout_sec) for host in hosts
    }
    print_progress(f"{len(record.waiting)} of {len(names)} hosts to do; folder {record.folder}")
    record = rollout.run(record, by_name, on_outcome=_print_outcome)
    if title[2] in _CHANGING:
        record = rollout.ask_lost_hosts(record, {host.name: host for host in hosts})
    write_matrix(record)
    return record


def _print_outcome(outcome: HostOutcome) -> None:
    line = outcome.message.splitlines()[0] if outcome.message else ""
    print_progress(
        f"{outcome.host}: {outcome.status} ({outcome.elapsed_sec:.0f} s) {line}".rstrip()
    )


def _new_folder(out: Path | None) -> Path:
    folder = out or Path("fleet") / datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise UsageError(
                f"The folder {folder} is not empty; a rollout needs one of its own.",
                todo="Give another one by --out, or go on with it by --resume.",
            )
    except OSError as error:
        raise UsageError(
            f"The folder {folder} cannot be used: {reason_of(error)}.",
            todo="Give a folder that you may write to by --out.",
        ) from error
    return folder


def _finish(record: FleetRecord, *, as_json: bool) -> None:
    """Print the outcome of each host and end with the exit code of the worst."""
    from kvmlab.fleet import Status

    statuses = {outcome.status for outcome in record.outcomes.values()}
    if as_json:
        print_json(
            {
                "folder": str(record.folder),
                "stopped": record.stopped,
                "hosts": {
                    name: {"status": str(outcome.status), "message": outcome.message}
                    for name, outcome in record.outcomes.items()
                },
            }
        )
    else:
        print_table(
            ("host", "outcome", "seconds", ""),
            (
                (name, str(outcome.status), f"{outcome.elapsed_sec:.0f}", _first_line(outcome))
                for name, outcome in record.outcomes.items()
            ),
        )
        if record.stopped:
            print_line(record.stopped)
        for name, outcome in record.outcomes.items():
            if outcome.may_be_changed:
                print_line(f"{name}: {outcome.message}")
        print_line(f"Report: {record.folder / 'fleet.html'}")
    if statuses & {Status.NOT_RESTORED, Status.WORKER_DIED}:
        raise typer.Exit(EXIT_REVERT_FAILED)
    if statuses & {Status.FAILED, Status.SKIPPED}:
        raise typer.Exit(EXIT_FAILED)
    raise typer.Exit(EXIT_SKIPPED if Status.PROBLEM in statuses else EXIT_OK)


def _first_line(outcome: HostOutcome) -> str:
    return outcome.message.splitlines()[0] if outcome.message else ""
