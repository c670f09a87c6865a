"""The tuning atlas: a row for each tuning, with its effect on a scheme and who paid for it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from statistics import median
from typing import Final

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.results.comparison import Comparison, compare, require_one_clock
from kvmlab.results.documents import load_document, save_document
from kvmlab.results.model import Better, Per, Result
from kvmlab.results.statistics import ratio_of, repeated_interval

FORMAT: Final = 1

#: The four columns of the figure, by their names: a metric and the workload that it is of.
COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "throughput": ("tcp_up_mbps", "tcp_up"),
    "round trip": ("rtt_p50_us", "latency"),
    "exits": ("vm_exits_per_mb", "tcp_up"),
    "instructions": ("instructions_per_mb", "tcp_up"),
}
#: Costs that a row has of every workload, where they were counted.
_COSTS: Final = (
    "instructions_per_packet",
    "instructions_per_mb",
    "vm_exits_per_packet",
    "vm_exits_per_mb",
    "userspace_exits_per_mb",
    "guest_interrupts_per_mb",
)
#: Metrics of which a ratio says nothing, by how their names begin or end; they are in the results.
_LEFT_OUT: Final = ("busiest_", "_count")
#: Who paid, in the order in which it is looked for: instructions of streams under the virtual
#: clock, elsewhere the CPU time of the VM's threads.
_PAID: Final = ("instructions", "cpu_us")
#: Per megabyte, since the number of packets of a megabyte is what some tunings change, and per
#: packet.
_PER: Final[tuple[Per, ...]] = ("megabyte", "packet")


@dataclass(frozen=True)
class TuningEffect:
    """One metric with the tuning against the same without: ``ratio`` with its interval.

    That is of 99 % where whole measurements were repeated, else of 95 %. Ends without a bound are
    None. ``shown`` says that the interval excludes 1.
    """

    metric: str
    workload: str
    unit: str
    better: Better
    baseline: float
    current: float
    ratio: float | None
    low: float | None
    high: float | None
    shown: bool

    @classmethod
    def of(cls, comparison: Comparison, workload: str) -> TuningEffect:
        """Return a comparison in a form that JSON can hold."""
        return cls(
            metric=comparison.metric,
            workload=workload,
            unit=comparison.unit,
            better=comparison.better,
            baseline=comparison.baseline.median,
            current=comparison.current.median,
            ratio=_finite(comparison.ratio),
            low=_finite(comparison.low),
            high=_finite(comparison.high),
            shown=comparison.shown,
        )

    @property
    def size(self) -> float:
        """The effect as a factor away from 1, at least 1; infinite where a ratio is 0 or None."""
        if not self.ratio:
            return math.inf
        return max(self.ratio, 1 / self.ratio)

    @property
    def verdict(self) -> str:
        """Verdict on the tuning in this metric, in the words of comparisons."""
        if not self.shown or self.ratio is None:
            return "no difference shown"
        return "better" if (self.ratio > 1) == (self.better == "higher") else "worse"


@dataclass(frozen=True)
class Payer:
    """Cost of one part of the host for a megabyte or a packet, without the tuning and with it.

    ``unit`` is that of both figures: "instructions/MB", "instructions/packet", or µs of CPU time.
    """

    workload: str
    part: str
    baseline: float
    current: float
    unit: str = "instructions/MB"

    @property
    def difference(self) -> float:
        """Its cost with the tuning less that without."""
        return self.current - self.baseline

    @property
    def per(self) -> Per:
        """Of what it is: "packet" or "megabyte"."""
        return "packet" if self.unit.endswith("/packet") else "megabyte"

    @property
    def metric(self) -> str:
        """The name of the metric of which this is one part: "instructions_per_packet"."""
        counted, _, per = self.unit.partition("/")
        return f"{'cpu_us' if counted == 'µs' else counted}_per_{per.lower()}"


@dataclass(frozen=True)
class Words:
    """Title and sentences of a tuning in one language."""

    title: str
    does: str
    use: str
    elsewhere: str


@dataclass(frozen=True)
class AtlasRow:
    """One tuning with one value: its effects and who paid, or why it was refused.

    ``place`` is where it sets something: "guest", "VM" or "host". ``words`` are by language.
    ``against`` is what it was compared with where that is not the scheme alone: the VM started
    anew with the default of a tuning.
    """

    tuning: str
    scheme: str
    place: str
    words: Mapping[str, Words] = field(default_factory=dict)
    effects: tuple[TuningEffect, ...] = ()
    payers: tuple[Payer, ...] = ()
    trials: int = 0
    refused: str = ""
    against: str = ""

    def effect(self, column: str) -> TuningEffect | None:
        """Return the effect of one of `COLUMNS`; None where it was not measured."""
        metric, workload = COLUMNS[column]
        return self.find(metric, workload)

    def find(self, metric: str, workload: str) -> TuningEffect | None:
        """Return the effect in a metric of a workload; None where it was not measured."""
        return next(
            (e for e in self.effects if e.metric == metric and e.workload == workload), None
        )

    @property
    def workloads(self) -> tuple[str, ...]:
        """The workloads that were measured with it, in their order."""
        return tuple(dict.fromkeys(effect.workload for effect in self.effects))

    def main(self, workload: str) -> TuningEffect | None:
        """Return the effect in what a workload measures first; None where it was not run."""
        return next((e for e in self.effects if e.workload == workload), None)

    def bill(self, workload: str) -> tuple[Payer, ...]:
        """Return who paid per packet in a workload, the largest change per megabyte first."""
        changes = {
            p.part: -abs(p.difference)
            for p in self.payers
            if p.workload == workload and p.per == "megabyte"
        }
        own = [p for p in self.payers if p.workload == workload and p.per == "packet"]
        return tuple(sorted(own, key=lambda p: changes.get(p.part, 0.0)))

    @property
    def size(self) -> float:
        """The largest effect shown among `COLUMNS` as a factor; 1 where none was."""
        columns = (self.effect(column) for column in COLUMNS)
        return max((e.size for e in columns if e is not None and e.shown), default=1.0)

    def text(self, language: str = "en") -> Words:
        """Return its sentences in a language, English where it has none in that."""
        words = self.words.get(language) or self.words.get("en")
        return words or Words(self.tuning, "", "", "")


@dataclass(frozen=True)
class Interaction:
    """Two tunings at once in one metric: the ratio of both, and the product of each alone.

    ``expected`` is what they give where neither changes the other's effect.
    """

    first: str
    second: str
    metric: str
    workload: str
    together: float
    expected: float
    low: float | None
    high: float | None

    @property
    def factor(self) -> float:
        """The ratio of both at once to what was expected."""
        return self.together / self.expected

    @property
    def shown(self) -> bool:
        """True where the interval of the ratio of both excludes what was expected."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return not low <= self.expected <= high


@dataclass(frozen=True)
class Atlas:
    """Rows of tunings on one host, with the versions that they hold for.

    ``baselines`` is how often the scheme without tunings was measured.
    """

    scheme: str
    host: str
    clock: Clock
    emulated: str | None
    measured_on: str
    versions: Mapping[str, str]
    rows: tuple[AtlasRow, ...]
    interactions: tuple[Interaction, ...] = ()
    baselines: int = 0

    @property
    def workloads(self) -> tuple[str, ...]:
        """The workloads of its rows, in their order."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.workloads))

    @property
    def measured(self) -> tuple[AtlasRow, ...]:
        """The rows that were measured, the largest effect first."""
        return tuple(sorted((r for r in self.rows if not r.refused), key=lambda r: -r.size))

    @property
    def refused(self) -> tuple[AtlasRow, ...]:
        """The rows that could not be measured, each with its reason."""
        return tuple(row for row in self.rows if row.refused)

    def row(self, tuning: str) -> AtlasRow:
        """Return the row of "rx-ring=256".

        Raises:
            UsageError: there is none.
        """
        for row in self.rows:
            if row.tuning == tuning:
                return row
        raise UsageError(
            f"The atlas has no row {tuning!r}.",
            todo=f"It has {', '.join(row.tuning for row in self.rows)}.",
        )

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        save_document(path, "atlas", self, version=FORMAT)

    @classmethod
    def load(cls, path: Path) -> Atlas:
        """Read what `save` wrote.

        Raises:
            UsageError: there is no such file.
            OutputError: it is no atlas of this format.
        """
        return load_document(path, "atlas", cls, version=FORMAT)

    @classmethod
    def shipped(cls) -> Atlas:
        """Return the atlas that ships with kvmlab: that of the embedded host (docs/atlas.md)."""
        with as_file(files("kvmlab.results").joinpath("atlas.json")) as path:
            return cls.load(path)

    def csv(self) -> str:
        """Return every effect of every row as CSV, with the versions in the first lines."""
        text = io.StringIO()
        for name, version in {"scheme": self.scheme, "host": self.host, **self.versions}.items():
            text.write(f"# {name}: {version}\n")
        table = csv.writer(text, lineterminator="\n")
        first = ("tuning", "place", "workload", "metric", "part", "unit", "without", "with")
        table.writerow([*first, "ratio", "low", "high", "verdict", "trials", "refused"])
        for row in self.rows:
            for e in row.effects:
                names = (row.tuning, row.place, e.workload, e.metric, "", e.unit)
                figures = (e.baseline, e.current, e.ratio, e.low, e.high)
                table.writerow([*names, *map(_cell, figures), e.verdict, row.trials, ""])
            for paid in row.payers:
                where = (row.tuning, row.place, paid.workload)
                names = (*where, paid.metric, paid.part, paid.unit)
                ratio = paid.current / paid.baseline if paid.baseline else None
                figures = (paid.baseline, paid.current, ratio, None, None)
                table.writerow([*names, *map(_cell, figures), "", row.trials, ""])
            if row.refused:
                table.writerow([row.tuning, row.place, *[""] * 10, 0, row.refused])
        return text.getvalue()


def effects_of(
    baselines: Sequence[Result],
    current: Result,
    among: Sequence[Result] = (),
    repeats: Sequence[Sequence[Result]] = (),
) -> tuple[TuningEffect, ...]:
    """Return every metric that both have, compared with all of ``baselines``, which are one scheme.

    From three baselines on the interval is that of whole measurements (`repeated_interval`), to
    which other ``repeats`` add their spread; ``among`` is as for `compare`.
    """
    baseline = merged(baselines)
    effects = []
    for workload in current.workloads:
        for metric in current.metric_names(workload, _COSTS):
            left_out = any(metric.startswith(w) or metric.endswith(w) for w in _LEFT_OUT)
            if left_out or not all(each.has(metric, workload) for each in baselines):
                continue
            ends = repeated_interval(
                [_values(each, metric, workload) for each in baselines],
                _values(current, metric, workload),
                [[_values(each, metric, workload) for each in group] for group in repeats],
            )
            if ends is None:
                comparison = compare(baseline, current, metric, workload, among=among)
                effects.append(TuningEffect.of(comparison, workload))
            else:
                effects.append(_repeated(baseline, current, metric, workload, ends))
    return tuple(effects)


def _repeated(
    baseline: Result, current: Result, metric: str, workload: str, ends: tuple[float, float]
) -> TuningEffect:
    """Return an effect whose interval is that of whole measurements."""
    require_one_clock((baseline, current))
    below, above = (median(_values(each, metric, workload)) for each in (baseline, current))
    first = current.metrics(metric, workload)[0]
    low, high = ends
    return TuningEffect(
        metric=metric,
        workload=workload,
        unit=first.unit,
        better=first.better,
        baseline=below,
        current=above,
        ratio=_finite(ratio_of(below, above)),
        low=_finite(low),
        high=_finite(high),
        shown=low > 1 or high < 1,
    )


def _values(result: Result, metric: str, workload: str) -> tuple[float, ...]:
    return tuple(each.value for each in result.metrics(metric, workload))


def merged(results: Sequence[Result]) -> Result:
    """Return several results of one scheme as one, their trials numbered anew.

    Raises:
        UsageError: there is none.
    """
    if not results:
        raise UsageError("The scheme without tunings was not measured yet.")
    trials = [
        replace(trial, number=number)
        for workload in results[0].workloads
        for number, trial in enumerate(
            (t for result in results for t in result.trials if t.workload == workload), start=1
        )
    ]
    return replace(results[0], trials=tuple(trials))


def payers_of(baseline: Result, current: Result) -> tuple[Payer, ...]:
    """Return what each part spent per megabyte and packet, in each workload that counted it."""
    payers = []
    for workload in current.workloads:
        both = (baseline, current)
        kinds = (k for k in _PAID if all(r.has(f"{k}_per_packet", workload) for r in both))
        kind = next(kinds, None)
        for per in _PER if kind is not None else ():
            costs = [each.costs(workload, per=per, name=kind) for each in both]
            before, after = ({cost.part: cost.summary.median for cost in each} for each in costs)
            parts = [p for p in dict.fromkeys((*before, *after)) if before.get(p) or after.get(p)]
            unit = next(cost.unit for each in costs for cost in each)
            payers += [
                Payer(workload, part, before.get(part, 0.0), after.get(part, 0.0), unit)
                for part in parts
            ]
    return tuple(payers)


def interaction_of(
    first: AtlasRow, second: AtlasRow, pair: AtlasRow, column: str
) -> Interaction | None:
    """Return how two tunings act together in a column; None where one was not measured."""
    effects = [row.effect(column) for row in (first, second, pair)]
    if any(effect is None or not effect.ratio for effect in effects):
        return None
    one, other, both = (effect for effect in effects if effect is not None)
    assert one.ratio is not None
    assert other.ratio is not None
    assert both.ratio is not None
    metric, workload = COLUMNS[column]
    return Interaction(
        first=first.tuning,
        second=second.tuning,
        metric=metric,
        workload=workload,
        together=both.ratio,
        expected=one.ratio * other.ratio,
        low=both.low,
        high=both.high,
    )


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
