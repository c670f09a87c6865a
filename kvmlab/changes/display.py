"""Display of a plan: plain text, and HTML through an autoescaping template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.language import _
from kvmlab.rendering import template

if TYPE_CHECKING:
    from kvmlab.changes.plan import Plan

_KINDS = {"+++": "head", "---": "head", "@@": "place", "+": "added", "-": "removed"}


def as_text(plan: Plan) -> str:
    """Return the plan as text for a terminal."""
    lines = [_(plan.title), ""]
    for number, step in enumerate(plan.steps, 1):
        lines.append(f"{number}. {_(step.what)}")
        lines.append(f"   {_(step.before)} -> {_(step.after)}")
        lines += ["   " + _("do:   {command}").format(command=text) for text in step.do_text]
        lines += ["   " + _("undo: {command}").format(command=text) for text in step.undo_text]
    lines += ["", *(_("Note: {note}").format(note=_(note)) for note in plan.notes)]
    lines += [_("Refused: {why}").format(why=_(refusal.message)) for refusal in plan.refusals]
    return "\n".join([*lines, "", plan.domain_diff])


def as_html(plan: Plan) -> str:
    """Return the plan as HTML for a notebook: a table of steps and a coloured diff."""
    diff = [(_line_kind(line), line) for line in plan.domain_diff.splitlines()]
    return template("kvmlab.changes", "plan.html.j2").render(plan=plan, diff=diff)


def _line_kind(line: str) -> str:
    return next((kind for start, kind in _KINDS.items() if line.startswith(start)), "same")
