"""Advice for people, in a terminal or in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.advice.model import Advice
from kvmlab.language import _
from kvmlab.rendering import plain_text, template

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH: Final = 110


def as_text(advice: Advice) -> str:
    """Return plain text for a terminal, without colours, so that it can be kept and compared."""
    return plain_text(lambda console: show(advice, console), width=_WIDTH)


def show(advice: Advice, console: Console) -> None:
    """Print it: the ranking with reasons, the XML of the best, then everything else."""
    from rich.text import Text

    def say(text: str, style: str = "", indent: int = 0) -> None:
        console.print(Text(" " * indent + text, style=style), soft_wrap=False)

    say(_("{host}: for {need}").format(host=advice.host, need=_(str(advice.need))), "bold")
    for item in advice.recommendations:
        say(
            f"{item.rank}. {_(item.label)} ({item.points:+d})",
            "bold green" if item.rank == 1 else "",
        )
        for reason in (*item.pros, *item.cons):
            say(f"{reason.points:+d} {_(reason.text)} [{reason.rule}]", indent=3)
        for sentence in item.evidence:
            say(_("measured: {sentence}").format(sentence=_(sentence)), indent=3)
    say(_("What to write for {scheme}:").format(scheme=_(advice.best.label)), "bold")
    for step in advice.best.steps:
        say(_(step), indent=3)
    console.print(Text(advice.best.interface_xml.rstrip()), soft_wrap=True)
    for title, lines in (
        ("Measured against the rules:", advice.contradictions),
        ("Windows guests:", advice.guidance),
        ("Notes:", advice.notes),
        (
            "Out of the question:",
            tuple(f"{_(item.label)}: {_(item.reason)} [{item.rule}]" for item in advice.excluded),
        ),
        (
            "Answers to the migration question:",
            tuple(" ".join((f"{_(item.title)}: {_(item.how)}",
                            f"{_(_possible(item.possible))} {_(item.why)}",
                            *item.measured))
                  for item in advice.migration),
        ),
    ):  # fmt: skip
        if lines:
            say(_(title), "bold")
            for line in lines:
                say(_(line), indent=3)


def as_html(advice: Advice) -> str:
    """Return HTML for a notebook; the template engine escapes every text."""
    return template("kvmlab.advice", "advice.html.j2").render(advice=advice, possible=_possible)


def _possible(value: bool | None) -> str:
    return {True: "Here:", False: "Not here:", None: "Not known:"}[value]
