"""The book of a real run, read page by page in a browser without a network.

    python -m bench book_pages --run RUN [RUN…]      # one run, or one for each language
    python -m bench book_pages --report RUN/report.html

Makes the book and opens every page of it from its folder: each figure has to draw, each link to
lead somewhere, each question to answer, the search to find, nothing to be fetched, the console to
stay silent. Prints what is English on Chinese pages, but for code and names.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from bench._harness import Bench
from kvmlab.book import write_book
from tests.chromium import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

_HAN: Final = re.compile("[\u3400-\u9fff]")
#: Three words in a row make a phrase; names, commands and values come alone or in code.
_PHRASE: Final = re.compile(r"(?:\b[a-zA-Z][a-z']+\b[ ,.:]+){2,}\b[a-z][a-z']+\b")
_VISIBLE_TEXTS: Final = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!parent.closest('code, pre, style, script, .highlight, [lang=en]')) {
      texts.push(walker.currentNode.textContent.trim());
    }
  }
  return [...new Set(texts)].filter((text) => text);
}"""
_DRAWN: Final = (
    "document.querySelectorAll('figure.plot').length === "
    "document.querySelectorAll('figure.plot[data-drawn]').length"
)
_SHOW_ALL: Final = """() => {
  for (const details of document.querySelectorAll('details')) { details.open = true; }
}"""


def main(argv: Sequence[str] | None = None) -> None:
    """Read the book of the runs, or reports."""
    parser = argparse.ArgumentParser(prog="python -m bench book_pages", description=__doc__)
    parser.add_argument("--run", type=Path, nargs="+", default=[], metavar="FOLDER")
    parser.add_argument("--report", type=Path, nargs="+", default=[], metavar="FILE")
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    bench = Bench("book_pages", "pages of a run's book or report, read without a network")
    with TemporaryDirectory(dir="/var/tmp") as scratch, _reader() as (page, complaints):
        paths = [path.resolve() for path in chosen.report]
        if chosen.run:
            with bench.timed("to write the book"):
                first = write_book(chosen.run, Path(scratch) / "book")
            paths += [first, *sorted(first.parent.glob("*/*.html"))]
        for path in paths:
            _read(bench, page, path)
        bench.add("complaints of the browser", len(complaints), "messages")
        for words in complaints:
            print("  complaint:", words)
    bench.finish()


@contextmanager
def _reader() -> Iterator[tuple[Page, list[str]]]:
    """Yield a page of a browser without a network, and what it complains of."""
    complaints: list[str] = []
    with (
        chromium() as browser,
        browser.new_context(offline=True, viewport={"width": 1300, "height": 900}) as context,
    ):
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{page.url}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("request", lambda r: complaints.append(r.url) if r.url.startswith("http") else None)
        yield page, complaints


def _read(bench: Bench, page: Page, path: Path) -> None:
    begin = time.monotonic()
    page.goto(path.as_uri())
    page.evaluate(_SHOW_ALL)
    page.wait_for_function(_DRAWN, timeout=120_000)
    bench.add("seconds of a page", time.monotonic() - begin)
    bench.add("figures", page.locator("figure.plot").count(), "figures")
    answers = page.locator(".outputs details > div").all_inner_texts()
    bench.add("answers to questions", sum(text.strip()[:1] in "✓✗" for text in answers if text), "")
    for link in page.locator("a[href]").all():
        target, _, anchor = str(link.get_attribute("href")).partition("#")
        if "://" in target or target.startswith("data:"):
            continue
        there = path.parent / target if target else path
        if not there.is_file() or (anchor and f'id="{anchor}"' not in there.read_text()):
            print(f"  {path.name}: the link {target}#{anchor} leads nowhere")
            bench.add("links that lead nowhere", 1, "links")
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if wide > 0:
        print(f"  {path.name}: {wide} px wider than the window")
        bench.add("pages wider than the window", wide, "px")
    if page.locator("html").get_attribute("lang") == "zh-CN":
        for text in page.evaluate(_VISIBLE_TEXTS):
            if not _HAN.search(text) and _PHRASE.search(text):
                print(f"  {path.name}: English: {text[:200]}")
                bench.add("English phrases on Chinese pages", 1, "phrases")


if __name__ == "__main__":
    main()
