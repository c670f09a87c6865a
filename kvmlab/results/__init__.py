"""RESULT: frozen results, their units, statistics, comparison and store. Sees no host."""

from kvmlab.results.comparison import Comparison, Verdict, compare, named_by_host, require_one_clock
from kvmlab.results.journal import About, Journal, held, new_folder
from kvmlab.results.model import (
    Better,
    Condition,
    Cost,
    CostSummary,
    Metric,
    Per,
    Raw,
    Result,
    Share,
    Trial,
    Window,
)
from kvmlab.results.path import Direction, Hop, Leg, Path, Side
from kvmlab.results.published import PUBLISHED, Published
from kvmlab.results.reach import Reach
from kvmlab.results.run_comparison import RunComparison, SchemeComparison, compare_runs
from kvmlab.results.runs import PLACES, Part, Run, find_run, find_runs, load_run
from kvmlab.results.statistics import Summary, summarise
from kvmlab.results.store import load, save
from kvmlab.results.table import tidy
from kvmlab.results.variant import Variant

__all__ = [
    "PLACES",
    "PUBLISHED",
    "About",
    "Better",
    "Comparison",
    "Condition",
    "Cost",
    "CostSummary",
    "Direction",
    "Hop",
    "Journal",
    "Leg",
    "Metric",
    "Part",
    "Path",
    "Per",
    "Published",
    "Raw",
    "Reach",
    "Result",
    "Run",
    "RunComparison",
    "SchemeComparison",
    "Share",
    "Side",
    "Summary",
    "Trial",
    "Variant",
    "Verdict",
    "Window",
    "compare",
    "compare_runs",
    "find_run",
    "find_runs",
    "held",
    "load",
    "load_run",
    "named_by_host",
    "new_folder",
    "require_one_clock",
    "save",
    "summarise",
    "tidy",
]
