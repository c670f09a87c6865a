"""A diagnosis for people: problems first, each with its fix, in a terminal or in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.doctor.model import Diagnosis, Finding, Verdict
from kvmlab.showing import plain_text, template

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH: Final = 118
_ORDER: Final = (
    Verdict.PROBLEM,
    Verdict.WARNING,
    Verdict.UNKNOWN,
    Verdict.OK,
    Verdict.NOT_APPLICABLE,
)
_SIGNS: Final = {
    Verdict.PROBLEM: ("✗", "bold red"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.UNKNOWN: ("?", "magenta"),
    Verdict.OK: ("✓", "green"),
    Verdict.NOT_APPLICABLE: ("–", "dim"),
}


def by_weight(diagnosis: Diagnosis) -> tuple[Finding, ...]:
    """Problems first, what does not apply last; else in the order of the rules."""
    return tuple(found for verdict in _ORDER for found in diagnosis.of(verdict))


def as_text(diagnosis: Diagnosis) -> str:
    """For a terminal, without colours, so that it can be kept and compared."""
    return plain_text(lambda console: show(diagnosis, console), width=_WIDTH)


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print it: a table of verdicts, then each fix."""
    from rich.table import Table
    from rich.text import Text

    console.print(Text(f"{diagnosis.label}: {diagnosis.summary}", style="bold"))
    if diagnosis.emulated:
        console.print(Text(diagnosis.emulated))
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for found in by_weight(diagnosis):
        sign, style = _SIGNS[found.verdict]
        quiet = "dim" if found.verdict is Verdict.NOT_APPLICABLE else ""
        told = Text(found.found, style=quiet)
        if found.verdict in (Verdict.PROBLEM, Verdict.WARNING, Verdict.UNKNOWN):
            told.append(f"\nread: {found.read}", style="dim")
            if found.fix:
                told.append("\nfix: ", style="bold")
                told.append(found.fix)
        table.add_row(Text(sign, style=style), Text(str(found.rule), style=quiet), told)
    console.print(table)
    _show_schemes(diagnosis, console)


def _show_schemes(diagnosis: Diagnosis, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    if not diagnosis.schemes:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    console.print(Text("\nSchemes on this host", style="bold"))
    for found in diagnosis.schemes:
        sign, style = _SIGNS[Verdict.OK if found.possible else Verdict.PROBLEM]
        told = found.label if found.possible else f"{found.found} {found.fix} [{found.rule}]"
        table.add_row(Text(sign, style=style), Text(found.scheme), Text(told))
    console.print(table)


def as_html(diagnosis: Diagnosis) -> str:
    """For a notebook; every text is escaped by the template engine."""
    return template("kvmlab.doctor", "doctor.html.j2").render(
        diagnosis=diagnosis,
        findings=by_weight(diagnosis),
        signs={verdict: sign for verdict, (sign, _) in _SIGNS.items()},
    )
