"""Frozen results: units, statistics, comparison and store. Sees no host."""

from kvmlab.results.comparison import (
    Comparison,
    Verdict,
    compare,
    distinct_labels,
    require_one_clock,
)
from kvmlab.results.gate import GateCheck, GateReport, judge_runs
from kvmlab.results.history import History, history_of
from kvmlab.results.journal import RunInfo, RunJournal, locked, new_folder
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
from kvmlab.results.reachability import Reach
from kvmlab.results.run_comparison import RunComparison, SchemeComparison, compare_runs
from kvmlab.results.runs import PLACES, Part, Run, find_run, find_runs, load_run
from kvmlab.results.statistics import Summary, summarise
from kvmlab.results.store import load, save
from kvmlab.results.tidy_table import tidy
from kvmlab.results.timeline import Timeline
from kvmlab.results.variant import Variant

__all__ = [
    "PLACES",
    "PUBLISHED",
    "Better",
    "Comparison",
    "Condition",
    "Cost",
    "CostSummary",
    "Direction",
    "GateCheck",
    "GateReport",
    "History",
    "Hop",
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
    "RunInfo",
    "RunJournal",
    "SchemeComparison",
    "Share",
    "Side",
    "Summary",
    "Timeline",
    "Trial",
    "Variant",
    "Verdict",
    "Window",
    "compare",
    "compare_runs",
    "distinct_labels",
    "find_run",
    "find_runs",
    "history_of",
    "judge_runs",
    "load",
    "load_run",
    "locked",
    "new_folder",
    "require_one_clock",
    "save",
    "summarise",
    "tidy",
]
