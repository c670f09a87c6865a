"""RESULT: frozen results, their units, statistics, comparison and store. Sees no host."""

from kvmlab.results.comparison import Comparison, Verdict, compare, require_one_clock
from kvmlab.results.model import (
    Better,
    Cost,
    CostSummary,
    Metric,
    Per,
    Raw,
    Result,
    Trial,
    Window,
)
from kvmlab.results.path import Direction, Hop, Leg, Path, Side
from kvmlab.results.published import PUBLISHED, Published
from kvmlab.results.statistics import Summary, summarise
from kvmlab.results.store import load, save
from kvmlab.results.table import tidy

__all__ = [
    "PUBLISHED",
    "Better",
    "Comparison",
    "Cost",
    "CostSummary",
    "Direction",
    "Hop",
    "Leg",
    "Metric",
    "Path",
    "Per",
    "Published",
    "Raw",
    "Result",
    "Side",
    "Summary",
    "Trial",
    "Verdict",
    "Window",
    "compare",
    "load",
    "require_one_clock",
    "save",
    "summarise",
    "tidy",
]
