"""MEASURE: meters around one trial; throughput, latency, cost, path. Never changes a host.

What it puts there is its own and goes with it: eBPF programs, a tracefs instance, traffic tools.
"""

from kvmlab.measure.baseline import measure_baseline
from kvmlab.measure.packet_trace import trace_path
from kvmlab.measure.reachability import reach
from kvmlab.measure.session import Apply, Interleaving, OnProgress, Progress, interleaved, measure
from kvmlab.measure.subject import Subject
from kvmlab.measure.timeline import trace_timeline
from kvmlab.measure.trial_settings import WORKLOADS, Trials

__all__ = [
    "WORKLOADS",
    "Apply",
    "Interleaving",
    "OnProgress",
    "Progress",
    "Subject",
    "Trials",
    "interleaved",
    "measure",
    "measure_baseline",
    "reach",
    "trace_path",
    "trace_timeline",
]
