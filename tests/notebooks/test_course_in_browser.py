"""Notebook 02 as somebody takes it: predict, run, fail a check, take a hint, mend, pass.

JupyterLab in Chromium with the notebook of the course; what is done by hand is done in a shell on
the very host of the notebook, as `kvmlab host ssh` opens it.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import psutil
import pytest

from kvmlab import embedded
from kvmlab.classroom import board_page
from kvmlab.classroom.seats import seat_of
from kvmlab.course import TaskState, find_task, progress_path, read_progress, task_states
from kvmlab.deadline import until
from kvmlab.runbook.notebooks import find_notebooks
from tests.notebooks.test_browser import (
    at_rest,
    cell,
    executed,
    jupyterlab,
    offline_page,
    open_jupyterlab,
    outputs,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

STEPS_TO_A_THIRD = 5


def notebook(language: str = "en") -> nbformat.NotebookNode:
    """Return notebook 02 with one trial of each scheme."""
    (book,) = find_notebooks(["02"], language)
    node = nbformat.from_dict(book.node)
    (parameters,) = (part for part in node.cells if part.id == "parameters")
    parameters.source = parameters.source.replace("TRIALS: int = 3", "TRIALS: int = 1")
    assert "TRIALS: int = 1" in parameters.source
    return node


def menu(page: Page, entry: str) -> None:
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=240_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=entry).click()


BESIDE = "Predicted 0.33, measured 0."


def shell_on_the_host(lines: tuple[str, ...]) -> None:
    """Type lines in a shell on the host that this process's JupyterLab has started."""
    ours = {child.pid for child in psutil.Process().children(recursive=True)}
    (host,) = (host for host in embedded.status() if host["owner_pid"] in ours)
    argv = embedded.ssh_argv(Path(host["run_dir"]), int(host["port"]), "sh")
    subprocess.run(argv, input="\n".join(lines), text=True, check=True, timeout=120)


def predict(page: Page) -> None:
    """Run all above the comparison, then move the slider by its keys."""
    cell(page, "trials = kvmlab.Trials(").locator(".cm-content").click()
    menu(page, "Run All Above Selected Cell")
    slider = cell(page, "guess = kvmlab.predict").locator(".noUi-handle")
    slider.wait_for(timeout=240_000)
    slider.focus()
    for _step in range(STEPS_TO_A_THIRD):
        slider.press("ArrowRight")
    until(lambda: guesses()[-1:] == ["0.33"], timeout_sec=60, what="The guess in the progress")


def guesses() -> list[str]:
    return [entry.detail for entry in read_progress() if entry.task == "02-latency"]


def shows(page: Page, code: str, words: str) -> None:
    """Wait until the cell with that code, once in view, shows those words beneath it."""
    place = cell(page, code)
    until(
        lambda: at_rest(place) and words in place.inner_text(),
        timeout_sec=60,
        what=f"{words!r} beneath {code!r}",
        evidence=lambda: f"There is: {place.inner_text()!r}",
    )


def press(card: Locator, name: str, shown: str) -> None:
    """Press a button and wait for what the card then says."""
    card.get_by_role("button", name=name, exact=True).click()
    words = card.locator(".widget-html-content").last
    until(lambda: shown in words.inner_text(), timeout_sec=120, what=f"The card's {shown!r}")


def test_somebody_takes_notebook_02(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, home = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("home")
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(home / "state"))
    with (
        jupyterlab(work, home, whole=notebook()) as (address, _log),
        offline_page(browser) as page,
    ):
        open_jupyterlab(page, address)
        predict(page)
        cell(page, "trials = kvmlab.Trials(").locator(".cm-content").click()
        menu(page, "Run Selected Cell and All Below")
        node = executed(page, work / "whole.ipynb")
        assert [out.get("evalue") for out in outputs(node) if out.output_type == "error"] == []
        beside = [out for part in node.cells if part.id == "predicted" for out in part.outputs]
        assert any(BESIDE in str(out) for out in beside), beside
        shows(page, "guess.beside(vhost_latency)", BESIDE)
        an_option_answers(cell(page, 'kvmlab.questions("02-proof")'))
        a_task_is_done(page)
    assert progress_path().stat().st_mode & 0o777 == 0o600
    assert task_states(read_progress())["02-2"] is TaskState.PASSED
    steps = [(e.event, e.hints, e.result) for e in read_progress() if e.task == "02-2"]
    assert steps == [
        ("start", 0, ""),
        ("check", 0, "failed"),
        ("hint", 1, ""),
        ("check", 1, "failed"),
        ("check", 1, "passed"),
        ("reset", 1, ""),
    ]
    seat = seat_of("anna", read_progress(), datetime.now(UTC))
    assert "02-2 ✓" in board_page((seat,))


def an_option_answers(question: Locator) -> None:
    """Open a wrong option, then the right one: each says why."""
    question.get_by_text("that the module vhost_net is loaded").click()
    assert "✗ Another VM may use it" in question.inner_text()
    question.get_by_text("while packets flow").click()
    assert "✓ Right: the proof is a thread at work." in question.inner_text()


def a_task_is_done(page: Page) -> None:
    """Start, fail, take a hint, make a common mistake, mend it in a shell, pass, put back."""
    tasks = cell(page, 'lab.tasks("02")')
    assert tasks.get_by_role("button", name="Start", exact=True).count() == 0
    title = tasks.locator(".jupyter-widget-Collapse-header").filter(has_text="02-2")
    title.click()
    card = tasks.locator(".jupyter-widget-Collapse").filter(has_text="02-2")
    press(card, "Start", "Started.")
    press(card, "Check", "The running VM has no interface")
    press(card, "Hint", "direct attachment")
    task = find_task("02-2")
    shell_on_the_host(task.mistakes[0].lines)
    press(card, "Check", "Its mode is vepa")
    shell_on_the_host(("virsh detach-interface kvmlab-vm direct --live", "sleep 2"))
    shell_on_the_host(task.solution)
    press(card, "Check", "✓ Passed.")
    until(lambda: "passed" in title.inner_text(), timeout_sec=20, what="The task's new title")
    press(card, "Reset", "The host is as it was before.")
