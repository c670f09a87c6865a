"""kvmlab: a guided lab about the network of KVM virtual machines.

Importing this package does nothing but name things: a name's module is loaded when the name is
first used, so a program that only reads facts never loads plotly, and nothing is probed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmlab import errors as errors
    from kvmlab.advice import Advice as Advice
    from kvmlab.advice import advise as advise
    from kvmlab.changes import Plan as Plan
    from kvmlab.changes import install as install
    from kvmlab.changes import read_channels as read_channels
    from kvmlab.changes import set_channels as set_channels
    from kvmlab.changes import uninstall as uninstall
    from kvmlab.clock import Clock as Clock
    from kvmlab.course.prediction import predict as predict
    from kvmlab.course.question import questions as questions
    from kvmlab.course.tuning_prediction import predict_tunings as predict_tunings
    from kvmlab.domain import TestVM as TestVM
    from kvmlab.domain import node_device as node_device
    from kvmlab.domain import node_tree as node_tree
    from kvmlab.errors import KvmlabError as KvmlabError
    from kvmlab.facts import HostFacts as HostFacts
    from kvmlab.facts import differences as differences
    from kvmlab.hosts import Cable as Cable
    from kvmlab.lab import Lab as Lab
    from kvmlab.lab import open_lab as open_lab
    from kvmlab.measure import Trials as Trials
    from kvmlab.migration import MemoryLoad as MemoryLoad
    from kvmlab.migration import MigrationOptions as MigrationOptions
    from kvmlab.report import figures as figures
    from kvmlab.report import sentences as sentences
    from kvmlab.report import tables as tables
    from kvmlab.results import Comparison as Comparison
    from kvmlab.results import Result as Result
    from kvmlab.results import compare as compare
    from kvmlab.results import compare_runs as compare_runs
    from kvmlab.results import find_run as find_run
    from kvmlab.results import find_runs as find_runs
    from kvmlab.results import load_run as load_run
    from kvmlab.results import tidy as tidy
    from kvmlab.results.migration_figures import measured_migrations as measured_migrations
    from kvmlab.schemes import FullEmulation as FullEmulation
    from kvmlab.schemes import Macvtap as Macvtap
    from kvmlab.schemes import PciPassthrough as PciPassthrough
    from kvmlab.schemes import SriovVf as SriovVf
    from kvmlab.schemes import VfOptions as VfOptions
    from kvmlab.schemes import Virtio as Virtio
    from kvmlab.schemes import persistence as persistence
    from kvmlab.tunings import TunedScheme as TunedScheme
    from kvmlab.tunings import tuned as tuned
    from kvmlab.widgets import AdvicePanel as AdvicePanel

__version__ = "0.1.0"

# Public name -> the module that it lives in. `tests/house/test_exports.py` keeps this table, the
# imports above and __all__ in agreement.
_HOMES = {
    "Advice": "kvmlab.advice",
    "AdvicePanel": "kvmlab.widgets",
    "Clock": "kvmlab.clock",
    "Comparison": "kvmlab.results",
    "FullEmulation": "kvmlab.schemes",
    "HostFacts": "kvmlab.facts",
    "KvmlabError": "kvmlab.errors",
    "Lab": "kvmlab.lab",
    "Macvtap": "kvmlab.schemes",
    "MemoryLoad": "kvmlab.migration",
    "MigrationOptions": "kvmlab.migration",
    "PciPassthrough": "kvmlab.schemes",
    "Plan": "kvmlab.changes",
    "Result": "kvmlab.results",
    "SriovVf": "kvmlab.schemes",
    "TestVM": "kvmlab.domain",
    "Trials": "kvmlab.measure",
    "VfOptions": "kvmlab.schemes",
    "TunedScheme": "kvmlab.tunings",
    "Virtio": "kvmlab.schemes",
    "Cable": "kvmlab.hosts",
    "advise": "kvmlab.advice",
    "compare": "kvmlab.results",
    "compare_runs": "kvmlab.results",
    "differences": "kvmlab.facts",
    "find_run": "kvmlab.results",
    "find_runs": "kvmlab.results",
    "install": "kvmlab.changes",
    "load_run": "kvmlab.results",
    "measured_migrations": "kvmlab.results.migration_figures",
    "node_device": "kvmlab.domain",
    "node_tree": "kvmlab.domain",
    "open_lab": "kvmlab.lab",
    "predict": "kvmlab.course.prediction",
    "predict_tunings": "kvmlab.course.tuning_prediction",
    "questions": "kvmlab.course.question",
    "read_channels": "kvmlab.changes",
    "set_channels": "kvmlab.changes",
    "tidy": "kvmlab.results",
    "tuned": "kvmlab.tunings",
    "uninstall": "kvmlab.changes",
}

# Public modules, used as `kvmlab.figures.compare(…)`: the name -> where the module lives.
_MODULES = {
    "errors": "kvmlab.errors",
    "figures": "kvmlab.report.figures",
    "persistence": "kvmlab.schemes.persistence",
    "sentences": "kvmlab.report.sentences",
    "tables": "kvmlab.report.tables",
}

__all__ = [
    "Advice",
    "AdvicePanel",
    "Cable",
    "Clock",
    "Comparison",
    "FullEmulation",
    "HostFacts",
    "KvmlabError",
    "Lab",
    "Macvtap",
    "MemoryLoad",
    "MigrationOptions",
    "PciPassthrough",
    "Plan",
    "Result",
    "SriovVf",
    "TestVM",
    "Trials",
    "TunedScheme",
    "VfOptions",
    "Virtio",
    "__version__",
    "advise",
    "compare",
    "compare_runs",
    "differences",
    "errors",
    "figures",
    "find_run",
    "find_runs",
    "install",
    "load_run",
    "measured_migrations",
    "node_device",
    "node_tree",
    "open_lab",
    "persistence",
    "predict",
    "predict_tunings",
    "questions",
    "read_channels",
    "sentences",
    "set_channels",
    "tables",
    "tidy",
    "tuned",
    "uninstall",
]


if not TYPE_CHECKING:  # a type checker knows the names above and no others

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            value: object = import_module(_MODULES[name])
        elif name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
        else:
            raise AttributeError(f"module 'kvmlab' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
