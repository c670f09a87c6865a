"""Everything that commands print: lines, tables, JSON, progress and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich.markup import escape
from rich.table import Table

from kvmlab.errors import KvmlabError
from kvmlab.language import _
from kvmlab.terminal import SafeConsole, visible_json

#: Results go to stdout; progress, questions and errors go to stderr.
out: Final = SafeConsole(highlight=False)
err: Final = SafeConsole(stderr=True, highlight=False)
# A pipe has no width: what reads it wants a row on one line.
_PIPE_WIDTH: Final = 1000


def print_line(text: str) -> None:
    """Print one line of a result, in the reader's language; a terminal wraps it."""
    out.print(_(text), markup=False, soft_wrap=True)


def print_notice(text: str) -> None:
    """Print a line about the command itself to stderr."""
    err.print(_(text), markup=False, soft_wrap=True)


def print_progress(text: str) -> None:
    """Print what takes time just now to stderr."""
    err.print(f"[dim]{escape(_(text))}[/dim]")


def print_json(value: object) -> None:
    """Print one JSON document, and nothing else may follow on stdout.

    Raises:
        ValueError: a number is not finite, which JSON cannot hold.
    """
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    document = json.dumps(
        value, indent=1, ensure_ascii=not is_unicode, allow_nan=False, default=str
    )
    print(visible_json(document))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with a heading; columns fold on a terminal and keep their width in a pipe."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(_(column), overflow="fold")
    for row in rows:
        table.add_row(*(escape(_(cell)) for cell in row))
    console = out if out.is_terminal else SafeConsole(highlight=False, width=_PIPE_WIDTH)
    console.print(table)


def print_error(error: KvmlabError) -> None:
    """Print an error to stderr: what happened, what to do, the rule behind it, the evidence."""
    err.print(f"[bold red]{escape(_(error.message))}[/bold red]", soft_wrap=True)
    if error.todo:
        print_notice(error.todo)
    rule = getattr(error, "rule", "")
    if rule:
        print_notice(f"Rule {rule}: `kvmlab doctor` says more.")
    for line in error.evidence.rstrip().splitlines():
        err.print(f"  [dim]|[/dim] {escape(line)}", soft_wrap=True)
