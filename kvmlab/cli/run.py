"""`kvmlab run`, `notebooks` and `lab`: the notebooks without a browser and with one."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import out as console
from kvmlab.cli.output import print_json, print_line, print_notice, print_progress
from kvmlab.cli.parameters import AsJson, Language, RunFolders
from kvmlab.language import current_language

commands = CommandGroup()


@commands.command()
def run(
    notebooks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NOTEBOOK",
            help="Names (00, packet-path, 00-packet-path) or paths; without any, all.",
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="The host to work on, as the parameter HOST.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Set a parameter."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A new folder for the run; by default runs/DATE-TIME.")
    ] = None,
    language: Language = "",
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Embedded hosts at a time (virtual clock): one for each notebook, or, where one "
            "notebook runs, for blocks of its trials. By default what CPUs and memory allow.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, say what would run, and stop.")
    ] = False,
) -> None:
    """Execute notebooks, write their data and one report that needs no network."""
    from kvmlab import runbook

    values = runbook.parse([*(parameter or []), *([f"HOST={host}"] if host is not None else [])])
    if dry_run:
        for line in runbook.describe_run(
            notebooks or [], parameters=values, language=language or current_language()
        ):
            print_line(line)
        return
    try:
        outcome = runbook.run(
            notebooks or [],
            parameters=values,
            out=out,
            console=console,
            language=language or current_language(),
            jobs=jobs,
        )
    except (KeyboardInterrupt, SystemExit):
        print_notice("Interrupted. What had been changed on the host is put back.")
        raise
    print_line(f"Report: {outcome.report}")
    print_line(f"Data, executed notebooks and raw output: {outcome.folder}")


@commands.command("book")
def write_book(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="A run's name or folder; of several, one a language."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="A folder for the site; by default book in the run.")
    ] = None,
    folders: RunFolders = None,
) -> None:
    """Write a run as a static site: notebooks, figures, search, both languages, no network.

    An English run is translated for its Chinese pages; give a run of each language where you have
    both.
    """
    from kvmlab import book
    from kvmlab.results import PLACES, find_run

    places = tuple(folders or PLACES)
    chosen = [find_run(name, places).folder for name in runs]
    page = book.write_book(chosen, out or chosen[0] / "book")
    print_line(f"Book: {page}")


@commands.command("notebooks")
def list_notebooks(language: Language = "", as_json: AsJson = False) -> None:
    """List the notebooks with their minutes and their parameters."""
    from kvmlab.course.minutes import notebook_minutes
    from kvmlab.runbook import all_notebooks

    notebooks = all_notebooks(language or current_language())
    # The prose of all languages says the same; the words of the English one are counted.
    minutes = [notebook_minutes(book.name[:2], book.node.cells) for book in all_notebooks()]
    if as_json:
        rows = zip(notebooks, minutes, strict=True)
        print_json([book.to_dict() | {"minutes": asdict(each)} for book, each in rows])
        return
    for notebook, each in zip(notebooks, minutes, strict=True):
        console.print(f"[bold]{escape(notebook.name)}[/bold]  {escape(notebook.title)}")
        print_line(f"    {each}")
        for parameter in notebook.parameters:
            print_line(f"    {parameter.line}")
        for gap in notebook.gaps:
            console.print(f"    [yellow]shown in English:[/yellow] {escape(str(gap))}")


@commands.command("lab")
def open_jupyterlab(
    notebook: Annotated[
        str, typer.Argument(metavar="NOTEBOOK", help="The notebook to open.")
    ] = "00",
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1; a free one near it is taken.")
    ] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    language: Language = "",
) -> NoReturn:
    """Open JupyterLab on a working copy of the notebooks: on this machine only, with a token."""
    from kvmlab.runbook import file_to_open, jupyterlab_command

    path = file_to_open(notebook, language or current_language(), say=print_progress)
    command = jupyterlab_command(path, port=port, browser=browser)
    # Terminals of JupyterLab find `kvmlab` as this environment has it.
    places = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    os.environ["PATH"] = os.pathsep.join(places)
    sys.stdout.flush()
    os.execv(sys.executable, command)
