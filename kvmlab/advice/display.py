"""Advice for people, in a terminal or in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.advice.model import Advice
from kvmlab.showing import plain_text, template

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH: Final = 110


def as_text(advice: Advice) -> str:
    """For a terminal, without colours, so that it can be kept and compared."""
    return plain_text(lambda console: show(advice, console), width=_WIDTH)


def show(advice: Advice, console: Console) -> None:
    """Print it: the ranking with reasons, the XML of the best, then everything else."""
    from rich.text import Text

    def say(text: str, style: str = "", indent: int = 0) -> None:
        console.print(Text(" " * indent + text, style=style), soft_wrap=False)

    say(f"{advice.host}: for {advice.need}", "bold")
    for one in advice.recommendations:
        say(f"{one.rank}. {one.label} ({one.points:+d})", "bold green" if one.rank == 1 else "")
        for reason in (*one.pros, *one.cons):
            say(f"{reason.points:+d} {reason.text} [{reason.rule}]", indent=3)
        for told in one.evidence:
            say(f"measured: {told}", indent=3)
    say(f"What to write for {advice.best.label}:", "bold")
    for step in advice.best.steps:
        say(step, indent=3)
    console.print(Text(advice.best.interface_xml.rstrip()), soft_wrap=True)
    for title, lines in (
        ("Measured against the rules:", advice.contradictions),
        ("Windows guests:", advice.guidance),
        ("Notes:", advice.notes),
        (
            "Out of the question:",
            tuple(f"{one.label}: {one.reason} [{one.rule}]" for one in advice.excluded),
        ),
        (
            "Answers to the migration question:",
            tuple(f"{one.title}: {one.how} {_possible(one.possible)} {one.why}"
                  for one in advice.migration),
        ),
    ):  # fmt: skip
        if lines:
            say(title, "bold")
            for line in lines:
                say(line, indent=3)


def as_html(advice: Advice) -> str:
    """For a notebook; every text is escaped by the template engine."""
    return template("kvmlab.advice", "advice.html.j2").render(advice=advice, possible=_possible)


def _possible(value: bool | None) -> str:
    return {True: "Here:", False: "Not here:", None: "Not known:"}[value]
