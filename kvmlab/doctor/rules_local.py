"""Rules about the machine at which kvmlab and Jupyter run."""

from __future__ import annotations

from typing import Final

from kvmlab.doctor.findings_input import FindingsInput, Judge
from kvmlab.doctor.model import Finding, not_applicable, ok, problem, warning
from kvmlab.facts import Rule

_NOT_READ: Final = "This machine was not looked at."


def kernelspec(readings: FindingsInput) -> Finding:
    """Expect the kernelspec python3, which notebooks name and papermill starts."""
    rule, environment = Rule.KERNELSPEC_MISSING, readings.environment
    if environment is None:
        return not_applicable(rule, "Jupyter's kernelspecs", _NOT_READ)
    read = f"Jupyter's kernelspecs: python3 in {environment.kernelspec or '–'}"
    if environment.kernelspec is None:
        return problem(rule, read, "There is no kernelspec python3.")
    if not environment.kernel_runs:
        return problem(rule, read, f"It starts {environment.kernel_program}, which is not there.")
    return ok(rule, read, f"It starts {environment.kernel_program}.")


def plotly(readings: FindingsInput) -> Finding:
    """Expect plotly's own script, which the report embeds."""
    rule, environment = Rule.PLOTLY_NOT_OFFLINE, readings.environment
    if environment is None:
        return not_applicable(rule, "plotly.min.js", _NOT_READ)
    read = f"plotly.min.js: {environment.plotly_script or '–'}"
    if environment.plotly_script is None:
        return problem(rule, read, "plotly's script is not in its package.")
    return ok(rule, read, "It is there to be embedded.")


def widgets(readings: FindingsInput) -> Finding:
    """Expect both packages; without them panels show their headless result."""
    rule, environment = Rule.WIDGETS_MISSING, readings.environment
    if environment is None:
        return not_applicable(rule, "ipywidgets, jupyterlab_widgets", _NOT_READ)
    read = (
        f"ipywidgets {environment.ipywidgets or '–'}, "
        f"jupyterlab_widgets {environment.jupyterlab_widgets or '–'}"
    )
    if environment.ipywidgets is None or environment.jupyterlab_widgets is None:
        return warning(rule, read, "Panels will show their result without controls.")
    return ok(rule, read, "Both are there; results are kept outside of widgets anyway.")


JUDGES: Final[tuple[Judge, ...]] = (kernelspec, plotly, widgets)
