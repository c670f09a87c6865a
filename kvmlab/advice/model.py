"""Advice: recommendations, exclusions and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kvmlab.advice.needs import Need
from kvmlab.language import N_, _
from kvmlab.serialization import to_json


@dataclass(frozen=True)
class Reason:
    """A stated rule that speaks for a scheme (points above 0) or against it."""

    rule: str
    text: str
    points: int
    source: str = ""


@dataclass(frozen=True)
class Recommendation:
    """One scheme that this host can do, with all that speaks for and against it.

    ``evidence`` is what was measured of it; empty where it was not. ``interface_xml`` is what
    goes into the domain, ``steps`` what is done on the host before.
    """

    rank: int
    scheme: str
    label: str
    points: int
    reasons: tuple[Reason, ...]
    evidence: tuple[str, ...]
    interface_xml: str
    steps: tuple[str, ...] = ()

    @property
    def pros(self) -> tuple[Reason, ...]:
        """Reasons for it, the weightiest first."""
        return tuple(sorted((r for r in self.reasons if r.points > 0), key=lambda r: -r.points))

    @property
    def cons(self) -> tuple[Reason, ...]:
        """Reasons against it, the weightiest first."""
        return tuple(sorted((r for r in self.reasons if r.points < 0), key=lambda r: r.points))


@dataclass(frozen=True)
class Exclusion:
    """A scheme that is out of the question: for this host (``rule`` of the doctor) or this need."""

    scheme: str
    label: str
    rule: str
    reason: str
    fix: str = ""


@dataclass(frozen=True)
class MigrationAnswer:
    """One answer to "how does a VM with a fast card migrate?".

    ``possible`` is None where it cannot be seen from here.
    """

    id: str
    title: str
    how: str
    needs: str
    possible: bool | None
    why: str
    interface_xml: str = ""
    #: Sentences about migrations that were measured with it.
    measured: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return one line in the reader's language, with the title stressed as in Markdown."""
        if self.possible:
            return " ".join((f"**{self.title}**: this host can.", *self.measured))
        sure = N_("not known") if self.possible is None else N_("not here")
        return _("**{title}**: {sure}. {why}").format(
            title=_(self.title), sure=_(sure), why=_(self.why)
        )


@dataclass(frozen=True)
class Advice:
    """Ranked recommendations for one need on one host; pure data.

    ``contradictions`` say where what was measured here turns a stated rule around.
    """

    host: str
    emulated: str | None
    need: Need
    recommendations: tuple[Recommendation, ...]
    excluded: tuple[Exclusion, ...]
    contradictions: tuple[str, ...]
    migration: tuple[MigrationAnswer, ...]
    guidance: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def best(self) -> Recommendation:
        """The first recommendation; there is always one."""
        return self.recommendations[0]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        plain: dict[str, Any] = to_json(self)
        return plain

    def __str__(self) -> str:
        """Return plain text for a terminal, without colours."""
        from kvmlab.advice.display import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        """Return HTML for a notebook."""
        from kvmlab.advice.display import as_html

        return as_html(self)
