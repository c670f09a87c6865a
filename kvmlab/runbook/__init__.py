"""papermill over the lab's notebooks, in order: executed copies, one table, one report."""

from kvmlab.runbook.jupyter import jupyterlab_command
from kvmlab.runbook.notebooks import Notebook, everything, find
from kvmlab.runbook.parameters import parse
from kvmlab.runbook.running import Outcome, intended, run
from kvmlab.runbook.workspace import file_to_open

__all__ = [
    "Notebook",
    "Outcome",
    "everything",
    "file_to_open",
    "find",
    "intended",
    "jupyterlab_command",
    "parse",
    "run",
]
