"""Headless runs of the notebooks by papermill: executed copies, one table, one report."""

from kvmlab.runbook.jupyterlab import jupyterlab_command
from kvmlab.runbook.notebooks import Notebook, all_notebooks, find_notebooks
from kvmlab.runbook.parameters import parse
from kvmlab.runbook.runner import Outcome, describe_run, run
from kvmlab.runbook.workspace import file_to_open

__all__ = [
    "Notebook",
    "Outcome",
    "all_notebooks",
    "describe_run",
    "file_to_open",
    "find_notebooks",
    "jupyterlab_command",
    "parse",
    "run",
]
