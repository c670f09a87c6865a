"""`kvmlab incident …`: faults to find and mend, on an embedded host that runs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kvmlab.cli.group import CommandGroup
from kvmlab.cli.host import RunDir, find_host
from kvmlab.cli.output import print_json, print_line, print_progress, print_table
from kvmlab.cli.parameters import AsJson
from kvmlab.errors import EXIT_FAILED

if TYPE_CHECKING:
    from kvmlab.incidents import Fault, IncidentSession, IncidentState
    from kvmlab.incidents.session import Debriefing

commands = CommandGroup(
    "incident",
    help="Break and mend: find a fault on the host of a notebook or of `kvmlab host up`.",
)

_COMMAND_SEC: Final = 600


@commands.command()
def faults(
    level: Annotated[int, typer.Option(help="Only those of this level.", min=0, max=3)] = 0,
    as_json: AsJson = False,
) -> None:
    """List the faults by their names, for a trainer: their symptoms, and what shows them."""
    from kvmlab.incidents import FAULTS

    chosen = [fault for fault in FAULTS.values() if not level or fault.level == level]
    if as_json:
        rows = [
            {
                "name": fault.name,
                "level": fault.level,
                "layer": fault.layer,
                "effects": fault.effects,
                "symptom": fault.symptom.en,
                "rule": fault.rule,
            }
            for fault in chosen
        ]
        print_json(rows)
        return
    print_table(
        ("name", "level", "layer", "symptom"),
        [(one.name, str(one.level), str(one.layer), one.symptom.text()) for one in chosen],
    )


@commands.command()
def start(
    seed: Annotated[
        int | None, typer.Option(help="The same number draws the same fault; without, any.")
    ] = None,
    level: Annotated[
        int, typer.Option(help="1 easy, 2, 3 hard; 4 puts in two faults at a time.", min=1, max=4)
    ] = 1,
    name: Annotated[str, typer.Option("--name", help="A fault by its name; not blind.")] = "",
    run_dir: RunDir = None,
) -> None:
    """Give the VM its NIC, measure it, put a fault in, and print what its user reports."""
    from kvmlab.incidents import draw, find_fault

    chosen: tuple[Fault, ...]
    if name:
        chosen, label = (find_fault(name),), name
    else:
        number = seed if seed is not None else random.SystemRandom().randrange(10_000)
        chosen, label = draw(number, level), f"seed {number}, level {level}"
    with _session(run_dir) as session:
        print_progress("measuring the sound VM, then putting the fault in")
        state = session.start(chosen, label)
        _print_report(state)


@commands.command()
def status(run_dir: RunDir = None, as_json: AsJson = False) -> None:
    """Print the incident's report again, its time and what hints have cost."""
    from kvmlab.incidents import phrases

    with _session(run_dir) as session:
        state = session.state
        if as_json:
            print_json(
                {
                    "incident": state.label if state is not None else None,
                    "seconds": state.seconds if state is not None else None,
                    "hints": state.hints if state is not None else None,
                    "passed": state.passed if state is not None else None,
                    "over": bool(state.ended_at) if state is not None else None,
                }
            )
        elif state is None:
            print_line(phrases.NO_INCIDENT.text())
        else:
            _print_report(state)


@commands.command()
def hint(run_dir: RunDir = None) -> None:
    """Print the next hint; it costs minutes: 2, then 3, then 5."""
    from kvmlab.incidents import phrases

    with _session(run_dir) as session:
        print_line((session.hint() or phrases.NO_MORE_HINTS).text())


@commands.command()
def check(run_dir: RunDir = None, as_json: AsJson = False) -> None:
    """Measure the VM and look for what was put in; exit code 1 where something is still wrong."""
    from kvmlab.incidents import phrases

    with _session(run_dir) as session:
        checked = session.check()
        state = session.state
    if as_json:
        print_json({"passed": checked.passed, "reasons": [one.en for one in checked.reasons]})
    else:
        print_line((phrases.PASSED if checked.passed else phrases.NOT_YET).text())
        for reason in checked.reasons:
            print_line(f"- {reason.text()}")
        if checked.passed and state is not None:
            print_line(_time(state))
    if not checked.passed:
        raise typer.Exit(EXIT_FAILED)


@commands.command()
def solve(run_dir: RunDir = None) -> None:
    """Give up: mend it, and print what it was."""
    with _session(run_dir) as session:
        _print_debriefings(session.solve())


@commands.command()
def debrief(run_dir: RunDir = None) -> None:
    """Print what it was, what showed it, and what the doctor read; once it is over."""
    with _session(run_dir) as session:
        _print_debriefings(session.debrief())


@commands.command()
def end(run_dir: RunDir = None) -> None:
    """Put the host back as it was before the incident."""
    from kvmlab.course.phrases import WAS_RESET

    with _session(run_dir) as session:
        session.end()
    print_line(WAS_RESET.text())


@commands.command(context_settings={"ignore_unknown_options": True})
def vm(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="What to run there.")],
    run_dir: RunDir = None,
) -> None:
    """Run a command inside the VM, as root; its exit code is this one's."""
    with _session(run_dir) as session:
        line = " ".join(command)
        done = session.lab.vm.agent.run(("sh", "-c", line), timeout_sec=_COMMAND_SEC, check=False)
    for text in (done.stdout, done.stderr):
        if text.strip():
            print_line(text.rstrip())
    if done.returncode:
        raise typer.Exit(done.returncode)


@contextmanager
def _session(run_dir: Path | None) -> Iterator[IncidentSession]:
    """Yield the session of the host that runs; its connections are closed afterwards.

    Raises:
        HostUnreachable: no host runs, or several do.
    """
    from kvmlab.incidents import IncidentSession
    from kvmlab.lab import visit_lab

    with visit_lab(Path(find_host(run_dir)["run_dir"])) as lab:
        yield IncidentSession(lab)


def _print_report(state: IncidentState) -> None:
    from kvmlab.incidents import find_fault, phrases

    print_line(f"{state.label}")
    for name in state.faults:
        print_line(f"  “{find_fault(name).symptom.text()}”")
    print_line(phrases.healthy_before(state.healthy).text())
    print_line(phrases.WORK.format(**state.site).text())
    print_line(_time(state))


def _time(state: IncidentState) -> str:
    from kvmlab.incidents import phrases

    return phrases.TIME.format(minutes=state.cost_minutes, hints=state.hints).text()


def _print_debriefings(debriefings: Sequence[Debriefing]) -> None:
    from kvmlab.incidents import phrases

    for one in debriefings:
        print_line(f"{one.name}: {one.cause.text()}")
        print_line(phrases.SHOWN_BY.text())
        for line, output in one.evidence:
            print_line(f"  $ {line}")
            for text in output.splitlines():
                print_line(f"    {text}")
        print_line(phrases.MENDED_BY.text())
        for line in one.mend:
            print_line(f"  {line}")
        print_line(phrases.DOCTOR.format(reads=one.doctor).text())
