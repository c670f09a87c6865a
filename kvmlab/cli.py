"""The command line: the same names as in the notebooks, for the terminal and for scripts."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from kvmlab import __version__
from kvmlab.cli_change import app as change_app
from kvmlab.cli_host import app as host_app
from kvmlab.cli_runs import compare_two, list_runs
from kvmlab.errors import EXIT_OK, KvmlabError

app = typer.Typer(
    name="kvmlab",
    help="A guided lab about the network of KVM virtual machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(host_app, name="host")
app.registered_commands += change_app.registered_commands
app.command("runs")(list_runs)
app.command("compare")(compare_two)

_out = Console()
_err = Console(stderr=True)

Host = Annotated[
    str,
    typer.Option("--host", help='"embedded", "qemu:///system" or "qemu+ssh://user@host/system".'),
]
Language = Annotated[str, typer.Option("--language", help="Language of the prose: en or zh-CN.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def _version(wanted: bool) -> None:
    if wanted:
        _out.print(f"kvmlab {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """A guided lab about the network of KVM virtual machines."""


@app.command()
def run(
    notebooks: Annotated[
        list[str] | None,
        typer.Argument(help="Names (00, packet-path, 00-packet-path) or paths; all without any."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", help="The host to work on, as the parameter HOST."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Set a parameter."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A new folder for the run; by default runs/DATE-TIME.")
    ] = None,
    language: Language = "en",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, say what would run, and stop.")
    ] = False,
) -> None:
    """Execute notebooks, write their data and one report that needs no network."""
    from kvmlab import runbook
    from kvmlab.runbook import parse

    pairs = [*(parameter or []), *([f"HOST={host}"] if host is not None else [])]
    if dry_run:
        for line in runbook.intended(notebooks or [], given=parse(pairs), language=language):
            _out.print(line, markup=False, highlight=False, soft_wrap=True)
        return
    try:
        outcome = runbook.run(
            notebooks or [], given=parse(pairs), out=out, console=_out, language=language
        )
    except (KeyboardInterrupt, SystemExit):
        _err.print("Interrupted. What had been changed on the host is put back.")
        raise
    _out.print(f"Report: {escape(str(outcome.report))}", highlight=False, soft_wrap=True)
    _out.print(
        f"Data, executed notebooks and raw output: {escape(str(outcome.folder))}",
        highlight=False,
        soft_wrap=True,
    )


@app.command("notebooks")
def list_notebooks(language: Language = "en", as_json: AsJson = False) -> None:
    """List the notebooks with their parameters."""
    from kvmlab.runbook import everything

    found = everything(language)
    if as_json:
        _print_json([book.to_dict() for book in found])
        return
    for book in found:
        _out.print(f"[bold]{escape(book.name)}[/bold]  {escape(book.title)}", highlight=False)
        for parameter in book.parameters:
            _out.print(f"    {escape(parameter.line)}", highlight=False)
        for gap in book.gaps:
            _out.print(f"    [yellow]shown in English:[/yellow] {escape(str(gap))}")


@app.command()
def inspect(host: Host = "embedded", as_json: AsJson = False) -> None:
    """Read a host: CPU, modules, libvirt, IOMMU, network cards. Changes nothing."""
    from kvmlab.lab import open_lab

    with open_lab(host, progress=_tell) as lab:
        facts = lab.inspect()
    if as_json:
        _print_json(facts.to_dict())
    else:
        _out.print(str(facts), markup=False, highlight=False, soft_wrap=True)


@app.command()
def doctor(host: Host = "embedded", as_json: AsJson = False) -> None:
    """Look at a host with every rule: what was read, the verdict, the fix. Changes nothing.

    Ends with 3 where there is a problem, with 0 where there are at most warnings.
    """
    from kvmlab.doctor.display import show
    from kvmlab.lab import open_lab

    with open_lab(host, progress=_tell) as lab:
        diagnosis = lab.doctor()
    if as_json:
        _print_json(diagnosis.to_dict())
    else:
        show(diagnosis, _out)
    raise typer.Exit(diagnosis.exit_code)


@app.command("lab")
def open_jupyter(
    notebook: Annotated[str, typer.Argument(help="The notebook to open.")] = "00",
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1; a free one near it is taken.")
    ] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    language: Language = "en",
) -> NoReturn:
    """Open JupyterLab on a notebook: on this machine only, with a token.

    In another language than English it opens a folder of yours, with the notebooks put together.
    """
    from kvmlab.runbook import file_to_open, jupyterlab_command

    path = file_to_open(notebook, language, say=_tell)
    words = jupyterlab_command(path, port=port, browser=browser)
    sys.stdout.flush()
    os.execv(sys.executable, words)


def _tell(text: str) -> None:
    """Progress goes to stderr: stdout is for what was asked for."""
    _err.print(f"[dim]{escape(text)}[/dim]", highlight=False)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def _terminate(number: int, _frame: object) -> NoReturn:
    """End as on Ctrl-C: what was changed is put back first."""
    raise SystemExit(128 + number)


def _show(error: KvmlabError) -> None:
    """An error as sentences: what was found, what to do, and the evidence."""
    _err.print(f"[bold red]{escape(error.message)}[/bold red]", highlight=False, soft_wrap=True)
    if error.todo:
        _err.print(error.todo, markup=False, highlight=False, soft_wrap=True)
    rule = getattr(error, "rule", "")
    if rule:
        _err.print(f"Rule {rule}: `kvmlab doctor` says more.", markup=False, highlight=False)
    for text in error.evidence.rstrip().splitlines():
        _err.print(f"  [dim]|[/dim] {escape(text)}", highlight=False, soft_wrap=True)


def answer(words: Sequence[str]) -> int:
    """Do what ``words`` say and return the exit code; errors are told on stderr."""
    try:
        app(list(words))
    except KvmlabError as error:
        if "--debug" in words:
            raise
        _show(error)
        return error.exit_code
    except SystemExit as end:
        if isinstance(end.code, int | None):
            return end.code or EXIT_OK
        raise
    return EXIT_OK


def main() -> NoReturn:
    """Run the command line of this process; SIGTERM and SIGHUP clean up as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    sys.exit(answer(sys.argv[1:]))
