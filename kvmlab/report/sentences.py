"""What was seen, in words: built from comparisons, honest also where a claim is not borne out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kvmlab.errors import UsageError
from kvmlab.report import names
from kvmlab.report.route import stations
from kvmlab.results import Comparison, Result

Outcome = Literal["borne out", "not shown", "contradicted"]


@dataclass(frozen=True, repr=False)
class Paragraph:
    """Text that a notebook shows as prose."""

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return self.text


@dataclass(frozen=True, repr=False)
class Claim:
    """A claim with what was measured for it; ``outcome`` follows from the interval alone."""

    text: str
    comparison: Comparison
    outcome: Outcome
    bound: str

    def __str__(self) -> str:
        sign = {"borne out": "✓", "not shown": "?", "contradicted": "✗"}[self.outcome]
        return f"{sign} {self.text} **{self.outcome.capitalize()}**: {self._why()}"

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return str(self)

    def _why(self) -> str:
        found = self.comparison
        return (
            f"{names.metric(found.metric, found.workload)}: the ratio of {found.current_label} to "
            f"{found.baseline_label} is {names.number(found.ratio)}, between "
            f"{names.number(found.low)} and {names.number(found.high)}; the claim needs "
            f"{self.bound}."
        )


def claim(
    text: str,
    comparison: Comparison,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Claim:
    """Judge a claim about a ratio (current / baseline) by the comparison's interval.

    Borne out where the whole interval is on this side of the bound, contradicted where all of it
    is beyond, not shown otherwise: an interval that ends at 1 shows no difference. Give one bound.

    Raises:
        UsageError: no bound, or two.
    """
    if (at_least is None) == (at_most is None):
        raise UsageError("A claim needs one bound, `at_least` or `at_most`.")
    low, high = comparison.low, comparison.high
    if at_least is not None:
        fits, beyond = low > at_least, high < at_least
        bound = f"a ratio of at least {names.number(at_least)}"
    else:
        assert at_most is not None
        fits, beyond = high < at_most, low > at_most
        bound = f"a ratio of at most {names.number(at_most)}"
    outcome: Outcome = "borne out" if fits else "contradicted" if beyond else "not shown"
    return Claim(text, comparison, outcome, bound)


def seen(*comparisons: Comparison) -> Paragraph:
    """One paragraph that says what was seen: a sentence for each comparison, then the clock.

    Raises:
        UsageError: there is nothing to tell.
    """
    if not comparisons:
        raise UsageError("There is no comparison to tell about.")
    first = comparisons[0]
    opening = f"**{first.current_label}** against **{first.baseline_label}**: "
    body = "; ".join(_sentence(each) for each in comparisons)
    return Paragraph(f"{opening}{body}. {_trials(comparisons)}{first.clock.meaning}")


def points(*items: object) -> Paragraph:
    """A list, one point for each item, in the words by which it shows itself.

    Raises:
        UsageError: there is nothing to tell.
    """
    if not items:
        raise UsageError("There is nothing to make a list of.")
    return Paragraph("\n".join(f"- {item}" for item in items))


def layers(result: Result) -> Paragraph:
    """What lies between the VM and the cable, counted on the traced path.

    Raises:
        UsageError: the result has no traced path.
    """
    if result.path is None:
        raise UsageError(f"The result of {result.label} has no traced path.")
    found = [station for station in stations(result.path) if station.side == "host"]
    if not found:
        return Paragraph(
            f"**{result.label}**: nothing of the host lies between the VM and the cable."
        )
    told = ", ".join(f"{station.name} ({station.kind})" for station in found)
    in_user_space = sum(station.lane == "user space" for station in found)
    borders = (
        f"{in_user_space} of them in user space, outside the kernel"
        if in_user_space
        else "all of them in the kernel"
    )
    return Paragraph(
        f"**{result.label}**: between the VM and the cable the request passed {len(found)} "
        f"stations of the host, {borders}: {told}."
    )


def _sentence(each: Comparison) -> str:
    unit, divisor = names.scaled(each.unit, max(each.baseline.median, each.current.median))
    about = _lower(names.metric(each.metric, each.workload))
    figures = (
        f"{about} {names.number(each.current.median / divisor)} against "
        f"{names.number(each.baseline.median / divisor)} {unit}"
    )
    if not each.shown:
        return f"{figures}, no difference shown{_interval(each)}"
    return f"{figures}, {each.verdict}: {_times(each.ratio)}{_interval(each)}"


def _times(ratio: float) -> str:
    """A ratio as people say it: "31 times", "1/95 of it"."""
    if math.isinf(ratio):
        return "infinitely many times"
    if ratio == 0:
        return "nothing left of it"
    if ratio < 0.67:
        return f"1/{names.number(1 / ratio)} of it"
    return f"{names.number(ratio)} times"


def _interval(each: Comparison) -> str:
    if min(each.baseline.count, each.current.count) < 2:
        return " (a single trial: no interval)"
    return f" (ratio {names.number(each.low)} … {names.number(each.high)})"


def _trials(comparisons: Sequence[Comparison]) -> str:
    counts = sorted({count for c in comparisons for count in (c.baseline.count, c.current.count)})
    if counts[-1] < 2:
        return "Each figure is a single trial, from which no difference is claimed. "
    told = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Medians of {told} trials each; a difference is claimed where the interval excludes 1. "


def _lower(text: str) -> str:
    """A name inside a sentence: "VM exits" and "TCP" keep their capitals."""
    head = text.split(" ", 1)[0]
    return text if head.isupper() or head == "VM" else text[0].lower() + text[1:]
