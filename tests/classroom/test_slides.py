"""Slides of a run's figures, opened in a browser without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from kvmlab.classroom import slides_of
from kvmlab.classroom.slides import _shortened
from kvmlab.errors import UsageError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FIGURE = {
    "data": [{"type": "bar", "x": ["e1000", "virtio</script>"], "y": [1, 3]}],
    "layout": {"title": {"text": "VM exits per packet"}},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Write a run whose one notebook has two figures."""
    folder = tmp_path / "2026-11-28-100000"
    (folder / "notebooks").mkdir(parents=True)
    record = {
        "host": {"label": "embedded host"},
        "entries": [{"name": "01-full-emulation-and-virtio", "title": "Emulation <and> virtio"}],
        "language": "en",
    }
    (folder / "run.json").write_text(json.dumps(record))
    output = nbformat.v4.new_output(
        "display_data", data={"application/vnd.plotly.v1+json": FIGURE, "text/plain": "Figure"}
    )
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Title\n\nWhy are *imitated* registers slow?"),
            nbformat.v4.new_markdown_cell("## Exits\n\n- Each [access](x.md) leaves the guest."),
            nbformat.v4.new_code_cell("figure", outputs=[output]),
            nbformat.v4.new_markdown_cell("## Speed"),
            nbformat.v4.new_code_cell("figure", outputs=[output]),
        ]
    )
    nbformat.write(notebook, folder / "notebooks" / "01-full-emulation-and-virtio.ipynb")
    return folder


def test_the_deck_asks_before_it_shows(run: Path, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "slides.html"
    path.write_text(slides_of(run))
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 720})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(path.as_uri())
    shown = page.locator("section.shown")
    assert "embedded host" in shown.inner_text()
    page.keyboard.press("ArrowRight")
    assert "Emulation <and> virtio" in shown.inner_text()
    assert "Why are imitated registers slow?" in shown.inner_text()
    page.keyboard.press("Space")
    question = shown.inner_text()
    assert "Exits" in question
    assert "Each access leaves the guest." in question
    assert "Write down a number." in question
    assert shown.locator(".main-svg").count() == 0
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("section.shown .main-svg")
    assert "VM exits per packet" in shown.inner_text()
    page.keyboard.press("End")
    assert page.locator("#place").inner_text() == "6 of 6"
    page.keyboard.press("ArrowLeft")
    assert "Speed" in shown.inner_text()
    assert problems == []
    context.close()


def test_only_the_scripts_of_the_page_run(run: Path, browser: Browser, tmp_path: Path) -> None:
    text = slides_of(run)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert "unsafe" not in policy.partition("script-src ")[2].partition(";")[0]
    foreign = text.replace("</body>", "<script>window.hit = 1</script></body>", 1)
    path = tmp_path / "slides.html"
    path.write_text(foreign)
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(path.as_uri())
        page.keyboard.press("ArrowRight")
        assert page.locator("#place").inner_text() == "2 of 6"
        assert page.evaluate("window.hit") is None
        assert len(complaints) == 1
        assert "inline script" in complaints[0]


@pytest.mark.parametrize("name", ["../../outside", "..", "a/b", "/etc/hostname", 3, None, "link"])
def test_a_strangers_run_reads_nothing_outside(run: Path, tmp_path: Path, name: object) -> None:
    outside = tmp_path / "outside.ipynb"
    (run / "notebooks" / "01-full-emulation-and-virtio.ipynb").rename(outside)
    (run / "notebooks" / "link.ipynb").symlink_to(outside)
    (run / "run.json").write_text(json.dumps({"entries": [{"name": name}]}))
    with pytest.raises(UsageError, match=r"cannot be read|has a figure yet"):
        slides_of(run)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"cells": 3}',
        "{",
        "[" * 100_000,
        '{"cells": [3], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
    ],
)
def test_what_is_no_notebook_is_told(run: Path, content: str) -> None:
    (run / "notebooks" / "01-full-emulation-and-virtio.ipynb").write_text(content)
    with pytest.raises(UsageError, match="cannot be read"):
        slides_of(run)


@pytest.mark.parametrize(
    "record", ["[]", "3", "{", '{"entries": [3, {}, []]}', '{"host": 3, "entries": {"a": 1}}']
)
def test_an_odd_record_of_a_run_is_told(run: Path, record: str) -> None:
    (run / "run.json").write_text(record)
    with pytest.raises(UsageError):
        slides_of(run)


def test_a_folder_without_figures_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder of a run"):
        slides_of(tmp_path)
    (tmp_path / "run.json").write_text('{"entries": []}')
    with pytest.raises(UsageError, match="has a figure yet"):
        slides_of(tmp_path)


def test_long_text_is_cut_at_a_sentence() -> None:
    text = "One sentence of some length. " * 20
    assert _shortened(text).endswith("length.")
    assert 250 < len(_shortened(text)) <= 300
    assert _shortened("短。" * 200).endswith("。")
