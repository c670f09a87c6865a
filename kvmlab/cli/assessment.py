"""`kvmlab assess …`: the assessment at the end of the course, and its certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import print_json, print_line, print_table
from kvmlab.cli.parameters import AsJson
from kvmlab.serialization import to_json

commands = CommandGroup(
    "assess", help="The assessment at the end: twenty tasks and questions, and a certificate."
)


@commands.command()
def begin(
    name: Annotated[str, typer.Option("--name", help="Name for the certificate.")],
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same items.")] = 1,
) -> None:
    """Draw the items and begin; one that was not finished is given up."""
    from kvmlab.course import assessment

    assessment.begin(name, seed)
    show()


@commands.command()
def show(as_json: AsJson = False) -> None:
    """List the items with what has been reached so far."""
    from kvmlab.course import assessment

    present = assessment.current()
    points = present.points or assessment.score_items(present)
    if as_json:
        print_json({**to_json(present), "points": points, "passed": present.passed})
        return
    rows = []
    for item in present.items:
        if assessment.is_question(item):
            # Whether an answer is right is said at the end.
            chosen = present.answers.get(item)
            state = f"option {chosen}" if chosen else ""
            reached = f"{points[item]:g}" if present.finished else state
        else:
            reached = f"{points[item]:g}" if points[item] or present.finished else ""
        rows.append((item, assessment.title_of(item).text(), reached))
    print_table(("item", "title", "reached"), rows)
    if present.finished:
        print_line(f"{present.score:g} of {len(present.items)} points.")


@commands.command()
def answer(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="Its id, such as 02-proof.")],
    option: Annotated[
        int | None, typer.Argument(metavar="OPTION", help="Number of an option; without: show it.")
    ] = None,
) -> None:
    """Answer a question by the number of an option. Tasks are done with `kvmlab task`."""
    from kvmlab.course import assessment
    from kvmlab.course.question import find_question, questions

    if option is None:
        find_question(question)
        print_line(repr(questions(question)))
    else:
        assessment.answer(question, option)


@commands.command()
def finish() -> None:
    """Score it and close it."""
    from kvmlab.course import assessment

    assessment.finish()
    show()


@commands.command()
def certificate(
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path(
        "certificate.html"
    ),
) -> None:
    """Write the certificate of an assessment that was passed, a page of HTML."""
    from kvmlab.course import assessment
    from kvmlab.course.certificate import write_certificate

    print_line(str(write_certificate(assessment.current(), out)))
