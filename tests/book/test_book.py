"""The book of a run, opened from its folder in a browser without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmlab.book import write_book
from kvmlab.cli import answer
from kvmlab.errors import UsageError
from tests.book.builders import executed_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

HAN = re.compile("[\u3400-\u9fff]")
NOTEBOOK = "01-full-emulation-and-virtio.html"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("book")
    return write_book([executed_run(folder / "run")], folder / "site").parent


class Reader:
    """A browser without a network, and everything that it complains of."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path) -> None:
        self.page.goto(path.as_uri())
        self.page.wait_for_function(
            "document.querySelectorAll('figure.plot').length === "
            "document.querySelectorAll('figure.plot[data-drawn]').length"
        )


@pytest.fixture(params=["light", "dark"])
def reader(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Reader]:
    with browser.new_context(
        offline=True, color_scheme=request.param, viewport={"width": 1400, "height": 900}
    ) as context:
        yield Reader(context)


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_every_page_opens_without_a_network_and_without_a_complaint(
    site: Path, reader: Reader, language: str
) -> None:
    paths = sorted((site / language).glob("*.html"))
    assert len(paths) == 5
    for path in [site / "index.html", *paths]:
        reader.open(path)
        for link in reader.page.locator("a[href]").all():
            target = str(link.get_attribute("href")).partition("#")[0]
            assert "://" in target or not target or (path.parent / target).is_file(), target
    assert reader.complaints == []
    assert [url for url in reader.requests if not url.startswith("file:")] == []


def test_figures_answer_the_pointer(site: Path, reader: Reader) -> None:
    reader.open(site / "en" / NOTEBOOK)
    figure = reader.page.locator("figure.plot").first
    figure.scroll_into_view_if_needed()
    box = figure.locator(".cartesianlayer .bars path").first.bounding_box()
    assert box is not None
    reader.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    reader.page.wait_for_selector(".hoverlayer .hovertext")
    assert reader.complaints == []


def test_the_chinese_pages_of_an_english_run_are_chinese(site: Path, reader: Reader) -> None:
    reader.open(site / "zh-CN" / NOTEBOOK)
    page = reader.page
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    assert "吞吐量、延迟与开销" in page.locator("figure.plot").first.inner_text()
    assert "判定" in page.locator("table.kvmlab-table").first.inner_text()
    assert "吞吐量上升。" in page.locator(".markdown-output").first.inner_text()
    for text in page.locator("figure.plot .annotation-text, figure.plot .ytick text").all():
        shown = text.text_content() or ""
        assert not re.search(r"(?:\b[A-Za-z]{2,}\b[ ,]+){3,}", shown), shown
    page.get_by_role("link", name="English", exact=True).click()
    assert page.locator("html").get_attribute("lang") == "en"
    assert not HAN.search(page.locator("main").inner_text())


@pytest.mark.parametrize(("language", "word"), [("en", "virtqueue"), ("zh-CN", "环形队列")])
def test_the_search_finds_a_word_and_leads_to_its_place(
    site: Path, reader: Reader, language: str, word: str
) -> None:
    reader.open(site / language / "index.html")
    page = reader.page
    page.locator("#search").fill(word)
    results = page.locator("#search-results a")
    assert results.count() >= 3
    assert word in page.locator("#search-results mark").first.inner_text()
    page.locator("#search").press("Enter")
    page.wait_for_url(re.compile("#"))
    target = page.url.partition("#")[2]
    assert word in page.locator(f"[id='{target}']").inner_text()
    page.locator("#search").fill("nobody wrote this")
    assert page.locator("#search-results li").count() == 0
    assert reader.complaints == []


def test_a_term_leads_to_the_glossary(site: Path, reader: Reader) -> None:
    reader.open(site / "en" / NOTEBOOK)
    page = reader.page
    page.locator("a[href='glossary.html#vCPU']").first.click()
    page.wait_for_url(re.compile("glossary.html#vCPU"))
    assert "a CPU of the VM" in page.locator("[id='vCPU']").inner_text()
    assert reader.complaints == []


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_questions_answer_in_the_language_of_the_page(
    site: Path, reader: Reader, language: str
) -> None:
    reader.open(site / language / NOTEBOOK)
    options = reader.page.locator(".outputs details")
    assert options.count() >= 8
    for option in options.all()[:4]:
        option.locator("summary").click()
        shown = option.inner_text()
        assert "✓" in shown or "✗" in shown
        assert bool(HAN.search(shown)) == (language == "zh-CN"), shown
    assert any("✓" in option.inner_text() for option in options.all()[:4])
    assert reader.complaints == []


def test_of_two_runs_each_language_takes_its_own(tmp_path: Path) -> None:
    english = executed_run(tmp_path / "en")
    chinese = executed_run(tmp_path / "zh", "zh-CN")
    site = write_book([chinese, english], tmp_path / "site").parent
    assert "Throughput, latency and cost" in (site / "en" / "00-packet-path.html").read_text()
    alone = write_book([chinese], tmp_path / "alone").parent
    assert "of this run are in Chinese" in (alone / "en" / NOTEBOOK).read_text()


def test_a_folder_without_executed_notebooks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no executed notebooks"):
        write_book([tmp_path], tmp_path / "book")


def test_the_command_writes_it_into_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = executed_run(tmp_path / "run")
    assert answer(["book", str(run)]) == 0
    assert capsys.readouterr().out == f"Book: {run / 'book' / 'index.html'}\n"
    assert (run / "book" / "zh-CN" / "index.html").is_file()


def test_a_notebook_that_leads_elsewhere_is_not_read(tmp_path: Path) -> None:
    run = executed_run(tmp_path / "run")
    (notebook, *_) = sorted((run / "notebooks").glob("*.ipynb"))
    notebook.rename(tmp_path / "outside.ipynb")
    notebook.symlink_to(tmp_path / "outside.ipynb")
    with pytest.raises(UsageError, match="cannot be read"):
        write_book([run], tmp_path / "site")
    notebook.unlink()
    notebook.write_text('{"cells": [1]}')
    with pytest.raises(UsageError, match="it is no notebook"):
        write_book([run], tmp_path / "site")
