"""The figures of the lab, each a plotly figure that needs nothing but results."""

from __future__ import annotations

from kvmlab.report.bars import compare, overview
from kvmlab.report.drawing import path
from kvmlab.report.forest import ratios
from kvmlab.report.overlay import published
from kvmlab.report.spread import spread
from kvmlab.report.stacked import costs
from kvmlab.report.sweep import sweep, under_load

__all__ = [
    "compare",
    "costs",
    "overview",
    "path",
    "published",
    "ratios",
    "spread",
    "sweep",
    "under_load",
]
