"""MEASURE: meters around one trial; throughput, latency, cost, path. Never changes a host.

What it does touch is its own: a tracefs instance, and the traffic tools it starts and ends.
"""

from kvmlab.measure.baseline import measure_baseline
from kvmlab.measure.reaching import reach
from kvmlab.measure.session import Apply, OnProgress, Progress, interleaved, measure
from kvmlab.measure.settings import WORKLOADS, Trials
from kvmlab.measure.tracing import trace_path

__all__ = [
    "WORKLOADS",
    "Apply",
    "OnProgress",
    "Progress",
    "Trials",
    "interleaved",
    "measure",
    "measure_baseline",
    "reach",
    "trace_path",
]
