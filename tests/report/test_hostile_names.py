"""Pages with hostile names in every place: shown as text, the console quiet, figures drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from kvmlab.fleet.host_job import HostOutcome, Status
from kvmlab.fleet.matrix import write_matrix
from kvmlab.fleet.rollout import FleetRecord
from kvmlab.report import figures, history_page, html, page, run_comparison_page, sentences, tables
from kvmlab.results import (
    Result,
    RunInfo,
    RunJournal,
    compare,
    compare_runs,
    find_run,
    find_runs,
    history_of,
    save,
)
from tests.report import builders
from tests.report.test_html import output, plot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Each would leave another kind of place, or run something there.
NAMES = (
    "<script>window.hit=1</script>",
    "\"'><img src=x onerror=window.hit=1>",
    "</script></title></style><script>window.hit=1</script>",
    "<!-- kvmlab:plotly.js --><svg onload=window.hit=1>",
    "[x](javascript:window.hit=1) ![x](https://evil.example/x.png)",
    "<a href='https://evil.example/'>x</a><b>b</b>",
    "line\n\n<iframe src=https://evil.example></iframe>\n# heading",
    "&lt;script&gt; {{ 7*7 }} {% raw %} $x$ `x` *x* \x1b[2J \u202e",
)
LOCAL = ("file:", "data:")
#: As a folder's name may hold them.
FOLDERS = tuple(name.replace("/", "∕") for name in NAMES)


def hostile(name: str, *, emulated: str | None = None) -> Result:
    """Return a result that has the name wherever a text of it can stand."""
    plain = builders.result(name.replace("/", ""), name, (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), 0.4)
    hops = tuple(
        replace(hop, device=name, kind=name, carrier=name, note=name)
        for hop in builders.path().hops
    )
    trials = tuple(replace(trial, flags=(name,)) for trial in plain.trials)
    return replace(
        plain, host=name, emulated=emulated, trials=trials, path=replace(builders.path(), hops=hops)
    )


@contextmanager
def opened(browser: Browser, path: Path, *, drawn: int) -> Iterator[Page]:
    """Open a page as a reader does; nothing may be complained of, fetched, or run."""
    with browser.new_context(viewport={"width": 1200, "height": 900}) as context:
        tab = context.new_page()
        complaints: list[str] = []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.on(
            "request",
            lambda r: (
                complaints.append(r.url) if not r.url.startswith(("file:", "data:")) else None
            ),
        )
        tab.goto(path.as_uri())
        tab.wait_for_function(f"document.querySelectorAll('figure[data-drawn]').length === {drawn}")
        assert tab.evaluate("window.hit") is None
        foreign = "img:not([src^='data:']), iframe, svg[onload], [href*='evil'], [href*='script:']"
        assert tab.locator(foreign).count() == 0
        yield tab
        assert complaints == []


def assert_strict(path: Path) -> None:
    """Only scripts with these hashes run, and only two are there."""
    text = path.read_text(encoding="utf-8")
    (policy,) = re.findall(r'<meta [^>]*content="(default-src[^"]+)"', text)
    scripts = policy.partition("script-src ")[2].partition(";")[0]
    assert "unsafe" not in scripts
    assert "default-src 'none'" in policy
    assert "base-uri 'none'" in policy


@pytest.mark.parametrize("number", [1, 6])
def test_the_page_of_two_runs(browser: Browser, tmp_path: Path, number: int) -> None:
    name, folder = NAMES[number], FOLDERS[number]
    results = [
        replace(hostile(one, emulated=one), scheme=f"scheme-{place}", host=name)
        for place, one in enumerate(NAMES)
    ]
    save(results, tmp_path / folder)
    # Single trials, and a run that failed.
    journal = RunJournal(tmp_path, RunInfo(name, "wall", name, NAMES))
    for place, result in enumerate(results):
        journal.begin(place, result)
        journal.add(place, result.scheme, result.trials[0], ())
    journal.fail(f"{name}\n{name}")
    runs = find_run(folder, [tmp_path]), find_run(journal.folder.name, [tmp_path])
    comparison = compare_runs(*runs, unfinished=True)
    path = run_comparison_page.write(comparison, tmp_path / "page.html")
    assert_strict(path)
    with opened(browser, path, drawn=2 * len(NAMES)) as tab:
        assert tab.locator("h1").count() == 1
        headings = tab.locator("h2").all_inner_texts()
        assert headings[0].startswith(NAMES[0])
        assert headings[1].startswith(NAMES[1])


def test_the_page_of_a_history(browser: Browser, tmp_path: Path) -> None:
    for folder, name in zip(FOLDERS, NAMES, strict=True):
        save([replace(hostile(name), scheme="virtio-qemu")], tmp_path / folder)
    histories = history_of(find_runs([tmp_path]), "tcp_up_mbps")
    path = history_page.write(histories, tmp_path / "history.html")
    assert_strict(path)
    with opened(browser, path, drawn=1) as tab:
        assert "<script>window.hit=1" in tab.locator("figure.plot").inner_text()


def outputs_with(name: str) -> list[nbformat.NotebookNode]:
    """Return every kind of output that a lab makes, with the name in it."""
    one, other = hostile(name, emulated=name), replace(builders.virtio(), emulated=name)
    speed = compare(one, other, "tcp_up_mbps")
    bundles: list[dict[str, Any]] = [
        sentences.claim(name, speed, at_least=1.0)._repr_mimebundle_(),
        {"text/markdown": sentences.comparisons(speed)._repr_markdown_()},
        {"text/markdown": sentences.layers(one)._repr_markdown_()},
        {"text/html": tables.summary(one, other).to_html()},
        {"text/html": tables.comparisons(speed).to_html()},
        {"text/html": tables.flagged(one).to_html()},
        {"text/plain": name},
    ]
    drawings = (
        figures.path(one),
        figures.costs(one, other),
        figures.compare(one, other, metric="tcp_up_mbps"),
        figures.compare(one, metric="tcp_up_mbps"),
    )
    return [
        *map(output, bundles),
        *map(plot, drawings),
        nbformat.v4.new_output("stream", text=name),
        nbformat.v4.new_output("error", ename=name, evalue=name, traceback=[name]),
    ]


def test_the_report_of_a_run(browser: Browser, tmp_path: Path) -> None:
    new_code, new_text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    parameters = new_code(
        "\n".join(f"P{n}: str = {name!r}  # {name!r}" for n, name in enumerate(NAMES))
    )
    parameters.metadata.tags = ["parameters"]
    cells = [new_code("cell", outputs=outputs_with(name)) for name in NAMES]
    notebook = tmp_path / "nb.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[new_text("# T"), parameters, *cells]), notebook)
    every = "".join(NAMES)
    head = page.Head(
        title=every,
        created=every,
        warning=every,
        failure=every,
        facts=tuple(page.Fact(name, name) for name in NAMES),
        notebooks=(page.NotebookRow("nb", every, every, 12.0),),
        overview=figures.overview(*(replace(hostile(n), host="h") for n in NAMES)).to_json(),
        csv=every,
        medians=(page.Medians(every, tables.summary(hostile(every)).to_html()),),
    )
    path = html.write({"nb": notebook}, tmp_path / "report.html", head)
    assert_strict(path)
    with opened(browser, path, drawn=1 + 4 * len(NAMES)) as tab:
        # Links lead into the page or hold its own data.
        links = tab.eval_on_selector_all("a", "all => all.map(a => a.getAttribute('href'))")
        assert all(link and link.startswith(("#", "data:text/csv")) for link in links), links
        assert NAMES[0] in tab.locator("pre.stream").first.inner_text()


@pytest.mark.parametrize("write", [write_matrix])
def test_the_page_of_a_fleet(
    browser: Browser, tmp_path: Path, write: Callable[[FleetRecord], Path]
) -> None:
    outcomes = {
        folder: HostOutcome(folder, Status.FAILED, message=name, stdout=name)
        for folder, name in zip(FOLDERS, NAMES, strict=True)
    }
    record = FleetRecord(tmp_path, NAMES, FOLDERS, outcomes, NAMES[0], NAMES[1], NAMES[2])
    path = write(record)
    assert "unsafe" not in path.read_text(encoding="utf-8").partition("</head>")[0]
    with opened(browser, path, drawn=0) as tab:
        assert NAMES[0] in tab.locator("h1").inner_text()
        # The style of the page is applied.
        colour = tab.eval_on_selector("p.problem", "e => getComputedStyle(e).fontWeight")
        assert colour == "600"
