"""The figures of the lab: plotly figures of results, one of an inspection, and one drawing."""

from __future__ import annotations

from kvmlab.report.atlas_figure import atlas, interactions
from kvmlab.report.bar_figures import compare, overview
from kvmlab.report.cost_figure import costs
from kvmlab.report.drawing import virtqueue
from kvmlab.report.forest import ratios
from kvmlab.report.migration_figure import migration
from kvmlab.report.path_figure import path
from kvmlab.report.published_overlay import published
from kvmlab.report.queue_figure import spread
from kvmlab.report.stack_figure import stack
from kvmlab.report.sweep import sweep, under_load
from kvmlab.report.timeline_figure import timeline

__all__ = [
    "atlas",
    "compare",
    "costs",
    "interactions",
    "migration",
    "overview",
    "path",
    "published",
    "ratios",
    "spread",
    "stack",
    "sweep",
    "timeline",
    "under_load",
    "virtqueue",
]
