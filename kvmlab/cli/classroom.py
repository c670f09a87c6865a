"""`kvmlab class …`: a class of several seats, for the trainer."""

from __future__ import annotations

import shlex
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import print_json, print_line, print_notice, print_table
from kvmlab.cli.parameters import AsJson
from kvmlab.errors import EXIT_FAILED
from kvmlab.language import _

if TYPE_CHECKING:
    from kvmlab.classroom import Readiness

commands = CommandGroup("class", help="A class: check seats, collect progress, the board, slides.")

ClassFolder = Annotated[
    Path, typer.Option("--class", metavar="FOLDER", help="The class's folder; ./class by default.")
]
_FOLDER = Path("class")


@commands.command()
def check(
    seats: Annotated[int, typer.Option(help="Seats at once on this machine.", min=1)] = 1,
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A bundle for use offline: compare it with its hashes."),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="USER@MACHINE", help="Another machine, over ssh; may be given several times."
        ),
    ] = None,
    command: Annotated[
        str, typer.Option(metavar="WORDS", help="What runs kvmlab there, from the login's home.")
    ] = "kvmlab/lab",
    as_json: AsJson = False,
) -> None:
    """Check machines before a course: disk, memory, cores, image, saved state, bundle.

    Changes nothing and asks no network but for the machines that --on names; these are checked in
    place of this one. Ends with 1 where something is missing.
    """
    from kvmlab.classroom import check_remote_seat, check_seat
    from kvmlab.hosts import parse_login
    from kvmlab.serialization import to_json

    targets = [parse_login(f"ssh://{login}") for login in on or ()]
    lines = [
        line
        for target in targets
        for line in check_remote_seat(target, shlex.split(command), seats=seats)
    ]
    if not targets or bundle is not None:
        lines += check_seat(seats, bundle=bundle)
    if as_json:
        print_json({"seats": seats, "checks": to_json(lines)})
    else:
        _print_checks(lines)
    if not all(line.ready for line in lines):
        raise typer.Exit(EXIT_FAILED)


def _print_checks(lines: Sequence[Readiness]) -> None:
    machine = ("machine",) if any(line.machine for line in lines) else ()
    print_table(
        ("", *machine, "what", "there", "needed"),
        [
            (
                "ok" if line.ready else "--",
                *((line.machine or "-",) if machine else ()),
                line.name,
                line.there,
                line.needed,
            )
            for line in lines
        ],
    )
    for line in lines:
        if not line.ready and line.todo:
            name = f"{_(line.name)} ({line.machine})" if line.machine else _(line.name)
            print_line(_("{name}: {todo}").format(name=name, todo=_(line.todo)))


@commands.command()
def collect(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=SOURCE…",
            help="A seat's name, and its exported file, its state directory, or "
            "ssh://USER@MACHINE.",
        ),
    ],
    folder: ClassFolder = _FOLDER,
) -> None:
    """Merge the progress of seats into the class's folder, on purpose and never by itself."""
    from kvmlab.classroom import collect as collect_seats
    from kvmlab.classroom.collection import parse_sources

    named = parse_sources(sources)
    collected = collect_seats(folder, named)
    print_line(f"{len(collected)} of {len(named)} seats have progress; it is in {folder}.")


@commands.command()
def export(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    whole_class: Annotated[
        bool, typer.Option("--whole-class", help="The collected class in place of this seat.")
    ] = False,
    folder: ClassFolder = _FOLDER,
) -> None:
    """Write this seat's progress to a file, to hand it in; or the whole class as JSON."""
    import json

    from kvmlab.classroom import export_class, export_seat
    from kvmlab.directories import write_named

    if not whole_class:
        print_line(f"{export_seat(target)} entries of this seat are in {target}.")
        return
    rows = export_class(folder)
    write_named(target, json.dumps(rows, ensure_ascii=False, indent=1) + "\n", mode=0o600)
    print_line(f"{len(rows)} seats are in {target}.")


@commands.command()
def board(
    folder: ClassFolder = _FOLDER,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: a free one.")] = 0,
    following: Annotated[
        bool, typer.Option("--follow", help="Collect the same seats anew at each load.")
    ] = False,
    base_url: Annotated[
        str,
        typer.Option(
            metavar="PREFIX",
            envvar="JUPYTERHUB_SERVICE_PREFIX",
            help="Its prefix behind JupyterHub.",
        ),
    ] = "/",
    token: Annotated[
        str,
        typer.Option(
            envvar="KVMLAB_BOARD_TOKEN", help="What opens it; drawn anew at each start without."
        ),
    ] = "",
    browser: Annotated[bool, typer.Option("--browser", help="Open it in the browser.")] = False,
) -> None:
    """Show the class on a page of this machine only, until Ctrl-C."""
    from kvmlab.classroom import Board

    page = Board(folder, port=port, base_url=base_url, token=token, following=following)
    print_line(page.url)
    print_notice("Ctrl-C ends it.")
    if browser:
        webbrowser.open(page.url)
    try:
        page.serve()
    except KeyboardInterrupt:
        print_notice("The board has ended.")


@commands.command()
def reset(
    seat: Annotated[
        str, typer.Argument(metavar="SEAT", help="A seat of the class; this machine's without.")
    ] = "",
    folder: ClassFolder = _FOLDER,
) -> None:
    """Set a seat's progress aside for the next person; nothing is deleted."""
    from kvmlab.classroom import reset_own_seat, set_seat_aside

    if seat:
        print_line(f"{seat} is set aside: {set_seat_aside(folder, seat)}")
        return
    kept = reset_own_seat()
    for path in kept:
        print_line(f"Set aside: {path}")
    if not kept:
        print_line("This seat had no progress.")


@commands.command("hand")
def raise_hand(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What it is about: 02-3.")] = "",
    over: Annotated[bool, typer.Option("--over", help="Help has come.")] = False,
) -> None:
    """Ask for help: the board shows it at this seat, once the trainer collects."""
    from kvmlab.course import progress

    event = progress.ProgressEvent.HELP_OVER if over else progress.ProgressEvent.HELP
    progress.record(task, event)
    print_line("The hand is down again." if over else "The hand is up.")


@commands.command()
def slides(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run: runs/DATE-TIME.")],
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="By default slides.html in RUN.")
    ] = None,
) -> None:
    """Make slides of a run's figures: one HTML file that needs no network."""
    from kvmlab.classroom import slides_of
    from kvmlab.directories import check_writable, write_named

    path = target or run / "slides.html"
    check_writable(path)
    write_named(path, slides_of(run))
    print_line(str(path))
