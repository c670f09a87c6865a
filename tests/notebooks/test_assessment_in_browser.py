"""In JupyterLab, without a host: the final assessment with its certificate, clicks in the atlas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvmlab.course import ProgressEvent, assessment, record
from kvmlab.course.question import find_question
from kvmlab.deadline import until
from tests.notebooks.jupyterlab import (
    NOTEBOOK,
    cell,
    executed,
    jupyterlab,
    notebook_of,
    offline_page,
    open_jupyterlab,
    run_all_cells,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CELLS = {
    "imports": "from kvmlab.course import TaskSession, find_task\n"
    "from kvmlab.course.assessment_panel import AssessmentPanel",
    "figure": "from kvmlab import figures, tables\nfrom kvmlab.results.atlas import Atlas\n"
    "figures.atlas(Atlas.shipped())",
    "folds": "tables.folds(Atlas.shipped())",
    "assessment": "AssessmentPanel(lambda task: TaskSession(None, find_task(task), find_task))",
}


@pytest.mark.timeout(400)
def test_somebody_takes_the_assessment(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, home = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("home")
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(home / "state"))
    with (
        jupyterlab(work, home, notebook_of(CELLS)) as (address, _log),
        offline_page(browser) as page,
    ):
        open_jupyterlab(page, address)
        run_all_cells(page)
        executed(page, work / NOTEBOOK)
        a_click_in_the_atlas_opens_who_paid(page)
        the_assessment_is_finished_in_its_panel(page)
    assert "Anna &lt;b&gt;" in (work / "certificate.html").read_text()


def a_click_in_the_atlas_opens_who_paid(page: Page) -> None:
    """Click on a mark of the figure: the row of its tuning opens below, and comes into view."""
    figure = cell(page, "figures.atlas(")
    mark = figure.locator(".scatterlayer .trace .points path").first
    mark.wait_for(timeout=60_000)
    mark.hover(force=True)
    hover = figure.locator(".hoverlayer .hovertext").first
    tuning = (hover.text_content() or "").partition(":")[0].strip()
    table = page.locator(f"details[data-tuning='{tuning}'] table").first
    assert not table.is_visible()
    mark.click(force=True)
    table.wait_for(state="visible")
    assert "vhost worker" in table.inner_text()
    until(lambda: in_view(table), timeout_sec=10, what="The row in view")


def in_view(place: Locator) -> bool:
    box, view = place.bounding_box(), place.page.viewport_size
    return box is not None and view is not None and 0 <= box["y"] < view["height"]


def the_assessment_is_finished_in_its_panel(page: Page) -> None:
    """Begin it by a click, do it as if in a terminal, answer one question, finish, look at it."""
    panel = cell(page, "AssessmentPanel(lambda")
    panel.get_by_label("name", exact=True).fill("Anna <b>")
    panel.get_by_label("seed", exact=True).fill("7")
    panel.get_by_label("seed", exact=True).press("Tab")
    press(panel, "Begin")
    headers = panel.locator(".jupyter-widget-Collapse-header")
    until(lambda: headers.count() == 20, timeout_sec=120, every_sec=0.5, what="Twenty items")
    items = assessment.draw(7)
    question, *questions = [item for item in items if assessment.is_question(item)]
    for item in questions:
        assessment.answer(item, find_question(item).right)
    for item in items:
        if not assessment.is_question(item):
            record(item, ProgressEvent.START)
            record(item, ProgressEvent.CHECK, result="passed")
    title = headers.filter(has_text=question)
    title.click()
    right = find_question(question).choices[find_question(question).right - 1]
    panel.get_by_label(right.text.en.replace("`", "")).check()
    until(lambda: "answered" in title.inner_text(), timeout_sec=60, what="The answer's mark")
    press(panel, "Finish")
    words = panel.locator(".widget-html-content").last
    until(
        lambda: "Passed, with 20 of 20 points." in words.inner_text(),
        timeout_sec=60,
        what="The verdict",
        evidence=words.inner_text,
    )
    press(panel, "Certificate")
    page_of_it = panel.frame_locator("iframe")
    page_of_it.locator(".name").wait_for(timeout=60_000)
    assert page_of_it.locator(".name").inner_text() == "Anna <b>"
    assert "certificate.html" in words.inner_text()


def press(panel: Locator, name: str) -> None:
    panel.get_by_role("button", name=name, exact=True).click()
