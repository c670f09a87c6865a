"""Sentences about results: comparisons, verdicts on claims, layers of a path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kvmlab.errors import UsageError
from kvmlab.language import ENGLISH, _, ngettext, reading, typeset
from kvmlab.report import names
from kvmlab.report.path_stations import stations
from kvmlab.results import Comparison, Result

Outcome = Literal["confirmed", "rejected", "inconclusive"]

CLAIM_MIME = "application/vnd.kvmlab.claim+json"
"""Type of the data by which the report finds the claims of an executed notebook."""
_SIGNS = {"confirmed": "✓", "rejected": "✗", "inconclusive": "?"}


@dataclass(frozen=True, repr=False)
class Paragraph:
    """Text that a notebook shows as prose."""

    text: str

    def __str__(self) -> str:
        return typeset(self.text)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return typeset(self.text)


@dataclass(frozen=True, repr=False)
class Claim:
    """Claim about a ratio, judged by the interval of a comparison.

    ``bound`` is the condition in words: "at most 0.100".
    """

    text: str
    comparison: Comparison
    outcome: Outcome
    bound: str

    @property
    def interval(self) -> str:
        """The interval in words, or why there is none."""
        if _least_trials(self.comparison) < 2:
            return _("missing (a single trial)")
        return names.interval(self.comparison.ratio, self.comparison.low, self.comparison.high)

    @property
    def metric(self) -> str:
        """Name of the compared metric, with workload and part."""
        c = self.comparison
        return names.metric(c.metric, c.workload, c.part)

    def __str__(self) -> str:
        return _(
            "{sign} {claim} **{outcome}**: {metric}, {current} : {baseline} = {ratio}, "
            "95 % interval {interval}; the claim needs {bound}."
        ).format(
            sign=_SIGNS[self.outcome],
            claim=_(self.text),
            outcome=_(self.outcome.capitalize()),
            metric=_lower(self.metric),
            current=_(self.comparison.current_label),
            baseline=_(self.comparison.baseline_label),
            ratio=names.number(self.comparison.ratio),
            interval=self.interval,
            bound=_(self.bound),
        )

    __repr__ = __str__

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Return text for people, and data for the report's table of claims."""
        with reading(ENGLISH):  # Data have no language; the report translates them.
            data = {
                "claim": self.text,
                "outcome": self.outcome,
                "ratio": names.number(self.comparison.ratio),
                "interval": self.interval,
                "needed": self.bound,
                "metric": self.metric,
                "schemes": [self.comparison.current_label, self.comparison.baseline_label],
            }
        return {"text/plain": str(self), "text/markdown": str(self), CLAIM_MIME: data}


def claim(
    text: str,
    comparison: Comparison,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Claim:
    """Judge a claim about a ratio (current / baseline) by the comparison's interval.

    Confirmed where the whole interval is on this side of the bound, rejected where all of it is
    beyond, inconclusive otherwise. Give one bound.

    Raises:
        UsageError: no bound, or two.
    """
    if (at_least is None) == (at_most is None):
        raise UsageError("A claim needs one bound, `at_least` or `at_most`.")
    low, high = comparison.low, comparison.high
    if at_least is not None:
        fits, beyond = low > at_least, high < at_least
        bound = f"at least {names.number(at_least)}"
    else:
        assert at_most is not None
        fits, beyond = high < at_most, low > at_most
        bound = f"at most {names.number(at_most)}"
    outcome: Outcome = "confirmed" if fits else "rejected" if beyond else "inconclusive"
    return Claim(text, comparison, outcome, bound)


def comparisons(*items: Comparison) -> Paragraph:
    """Describe comparisons of the same two results, one clause each, then the trials and the clock.

    Raises:
        UsageError: there is no comparison.
    """
    if not items:
        raise UsageError("There is no comparison to describe.")
    first = items[0]
    text = _("**{current}** against **{baseline}**: {clauses}. {trials} {clock}").format(
        current=_(first.current_label),
        baseline=_(first.baseline_label),
        clauses=_("; ").join(_clause(each) for each in items),
        trials=_trials(items),
        clock=_(first.clock.meaning),
    )
    return Paragraph(text)


def bullet_list(*items: object) -> Paragraph:
    """Return a list with one point for each item, as it prints itself, in the reader's language.

    Raises:
        UsageError: there is no item.
    """
    if not items:
        raise UsageError("There is nothing to make a list of.")
    return Paragraph("\n".join(f"- {_(str(item))}" for item in items))


def layers(result: Result) -> Paragraph:
    """Name the stations between the VM and the cable, counted on the traced path.

    Raises:
        UsageError: the result has no traced path.
    """
    if result.path is None:
        raise UsageError(f"The result of {result.label} has no traced path.")
    on_host = [station for station in stations(result.path) if station.side == "host"]
    if not on_host:
        text = _("**{scheme}**: no station of the host lies between VM and cable.")
        return Paragraph(text.format(scheme=_(result.label)))
    listing = ", ".join(
        f"{_(each.name)} ({_(each.kind)})" if each.kind else _(each.name) for each in on_host
    )
    in_user_space = sum(station.lane == "user space" for station in on_host)
    where = (
        _("{count} of them in user space").format(count=in_user_space)
        if in_user_space
        else _("all in the kernel")
    )
    text = _(
        "**{scheme}**: between the VM and the cable the request passed {stations}, {where}: "
        "{listing}."
    )
    return Paragraph(
        text.format(
            scheme=_(result.label),
            stations=ngettext(
                "{count} station of the host", "{count} stations of the host", len(on_host)
            ),
            where=where,
            listing=listing,
        )
    )


def _clause(each: Comparison) -> str:
    unit, divisor = names.scaled(each.unit, max(each.baseline.median, each.current.median))
    about = _lower(names.metric(each.metric, each.workload, each.part))
    values = _("{metric} {current} against {baseline} {unit}").format(
        metric=about,
        current=names.number(each.current.median / divisor),
        baseline=names.number(each.baseline.median / divisor),
        unit=unit,
    )
    if not each.shown:
        return _("{values}, no difference shown{interval}").format(
            values=values, interval=_interval(each)
        )
    return _("{values}, {verdict}: {times}{interval}").format(
        values=values,
        verdict=_(each.verdict),
        times=_times(each.ratio),
        interval=_interval(each),
    )


def _times(ratio: float) -> str:
    """Return a ratio in words: "31 times", "1/95 of it"."""
    if math.isinf(ratio):
        return _("infinitely many times")
    if ratio == 0:
        return _("none left")
    if ratio < 0.67:
        return _("1/{number} of it").format(number=names.number(1 / ratio))
    return _("{number} times").format(number=names.number(ratio))


def _interval(each: Comparison) -> str:
    if _least_trials(each) < 2:
        return _(" (a single trial: no interval)")
    interval = names.interval(each.ratio, each.low, each.high)
    return _(" (ratio {interval})").format(interval=interval)


def _least_trials(comparison: Comparison) -> int:
    return min(comparison.baseline.count, comparison.current.count)


def _trials(items: Sequence[Comparison]) -> str:
    counts = sorted({count for c in items for count in (c.baseline.count, c.current.count)})
    if counts[-1] < 2:
        return _("Each figure is a single trial, from which no difference is claimed.")
    number = str(counts[0])
    if len(counts) > 1:
        number = _("{low} to {high}").format(low=counts[0], high=counts[-1])
    text = _(
        "Medians of {number} trials each; a difference is claimed where the interval excludes 1."
    )
    return text.format(number=number)


def _lower(text: str) -> str:
    """Return a name for use inside a sentence: "VM exits" and "TCP" keep their capitals."""
    head = text.split(" ", 1)[0]
    return text if head.isupper() or head == "VM" else text[0].lower() + text[1:]
