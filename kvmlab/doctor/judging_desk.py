"""Rules about the machine at which kvmlab and Jupyter run."""

from __future__ import annotations

from typing import Final

from kvmlab.doctor.case import Case, Judge
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, warning
from kvmlab.facts import Rule

_NOT_READ: Final = "This machine was not looked at."


def kernelspec(case: Case) -> Finding:
    """The notebooks name python3, and papermill starts it."""
    rule, desk = Rule.KERNELSPEC_MISSING, case.desk
    if desk is None:
        return not_applicable(rule, "Jupyter's kernelspecs", _NOT_READ)
    read = f"Jupyter's kernelspecs: python3 in {desk.kernelspec or '–'}"
    if desk.kernelspec is None:
        return problem(rule, read, "There is no kernelspec python3.")
    if not desk.kernel_runs:
        return problem(rule, read, f"It starts {desk.kernel_program}, which is not there.")
    return ok(rule, read, f"It starts {desk.kernel_program}.")


def plotly(case: Case) -> Finding:
    """The report embeds the script of the package."""
    rule, desk = Rule.PLOTLY_NOT_OFFLINE, case.desk
    if desk is None:
        return not_applicable(rule, "plotly.min.js", _NOT_READ)
    read = f"plotly.min.js: {desk.plotly_script or '–'}"
    if desk.plotly_script is None:
        return problem(rule, read, "plotly's script is not in its package.")
    return ok(rule, read, "It is there to be embedded.")


def widgets(case: Case) -> Finding:
    """Without them panels show their headless result, and nothing is lost."""
    rule, desk = Rule.WIDGETS_MISSING, case.desk
    if desk is None:
        return not_applicable(rule, "ipywidgets, jupyterlab_widgets", _NOT_READ)
    read = (
        f"ipywidgets {desk.ipywidgets or '–'}, jupyterlab_widgets {desk.jupyterlab_widgets or '–'}"
    )
    if desk.ipywidgets is None or desk.jupyterlab_widgets is None:
        return warning(rule, read, "Panels will show their result without controls.")
    return ok(rule, read, "Both are there; results are kept outside of widgets anyway.")


JUDGES: Final[tuple[Judge, ...]] = (kernelspec, plotly, widgets)
