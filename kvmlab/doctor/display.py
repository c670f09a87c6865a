"""A diagnosis for people: problems first, each with its fix, in a terminal or in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.doctor.model import Diagnosis, Finding, Verdict
from kvmlab.language import _
from kvmlab.rendering import plain_text, template

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
    """Return problems first and what does not apply last, else in the order of the rules."""
    return tuple(finding for verdict in _ORDER for finding in diagnosis.of(verdict))


def as_text(diagnosis: Diagnosis) -> str:
    """Return plain text for a terminal, without colours, so that it can be kept and compared."""
    return plain_text(lambda console: show(diagnosis, console), width=_WIDTH)


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print it: a table of verdicts, then each fix."""
    from rich.table import Table
    from rich.text import Text

    console.print(Text(f"{diagnosis.label}: {diagnosis.summary}", style="bold"))
    if diagnosis.emulated:
        console.print(Text(_(diagnosis.emulated)))
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for finding in by_weight(diagnosis):
        sign, style = _SIGNS[finding.verdict]
        quiet = "dim" if finding.verdict is Verdict.NOT_APPLICABLE else ""
        details = Text(_(finding.observed), style=quiet)
        if finding.verdict in (Verdict.PROBLEM, Verdict.WARNING, Verdict.UNKNOWN):
            details.append("\n" + _("read: {source}").format(source=_(finding.read)), style="dim")
            if finding.fix:
                details.append("\n" + _("fix: "), style="bold")
                details.append(_(finding.fix))
        table.add_row(Text(sign, style=style), Text(str(finding.rule), style=quiet), details)
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
    console.print(Text("\n" + _("Schemes on this host"), style="bold"))
    for finding in diagnosis.schemes:
        sign, style = _SIGNS[Verdict.OK if finding.possible else Verdict.PROBLEM]
        details = (
            _(finding.label)
            if finding.possible
            else f"{_(finding.observed)} {_(finding.fix)} [{finding.rule}]"
        )
        table.add_row(Text(sign, style=style), Text(finding.scheme), Text(details))
    console.print(table)


def as_html(diagnosis: Diagnosis) -> str:
    """Return HTML for a notebook; the template engine escapes every text."""
    return template("kvmlab.doctor", "doctor.html.j2").render(
        diagnosis=diagnosis,
        findings=by_weight(diagnosis),
        signs={verdict: sign for verdict, (sign, _) in _SIGNS.items()},
    )
