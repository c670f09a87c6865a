"""Questions and predictions: each option has its answer, in both languages, without a kernel."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from lxml import html

import kvmlab
from kvmlab.course import read_progress
from kvmlab.course.prediction import Prediction, PredictionResult
from kvmlab.course.predictions import PREDICTIONS
from kvmlab.course.question import Question
from kvmlab.course.questions import QUESTIONS
from kvmlab.errors import UsageError
from kvmlab.language import reading
from kvmlab.results.atlas import Atlas
from kvmlab.results.migration import MigrationResult, Packet
from kvmlab.runbook.notebooks import notebook_folder
from tests.report.builders import MIGRATION, e1000, virtio

if TYPE_CHECKING:
    from kvmlab.results import Comparison

HAN = re.compile("[\u3400-\u9fff]")


@pytest.fixture(scope="module")
def cells() -> str:
    """Return the code of all notebooks."""
    paths: list[Path] = sorted(notebook_folder().glob("*.ipynb"))
    nodes = [nbformat.read(path, as_version=4) for path in paths]
    return "\n".join(cell.source for node in nodes for cell in node.cells)


def migration(arrivals: tuple[float, ...]) -> MigrationResult:
    """Return a migration whose peer heard the VM at these times, in seconds."""
    packets = tuple(Packet(number, at) for number, at in enumerate(arrivals))
    return replace(MIGRATION, downtime_ms=400, packets=packets)


def text_of(option: html.HtmlElement, tag: str) -> str:
    part = option.find(tag)
    assert part is not None
    return "".join(map(str, part.itertext()))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_each_option_says_whether_it_is_right_and_why(question: Question) -> None:
    page = html.fromstring(kvmlab.questions(question.id)._repr_html_())
    options = page.findall(".//details")
    assert len(options) == len(question.choices) >= 3
    marks = [text_of(option, "div")[0] for option in options]
    assert Counter(marks) == {"✓": 1, "✗": len(options) - 1}
    assert marks[question.right - 1] == "✓"
    for option, choice in zip(options, question.choices, strict=True):
        assert text_of(option, "summary") == choice.text.en.replace("`", "")
        assert len(choice.feedback.en) > 15


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_a_question_is_in_chinese_too(question: Question) -> None:
    with reading("zh-CN"):
        page = html.fromstring(kvmlab.questions(question.id)._repr_html_())
    assert HAN.search("".join(map(str, page.itertext())))
    for choice in question.choices:
        assert HAN.search(choice.feedback.zh)


def test_every_question_and_prediction_is_asked_once(cells: str) -> None:
    for name in (*(q.id for q in QUESTIONS), *(p.id for p in PREDICTIONS)):
        assert cells.count(f'"{name}"') == 1, name


#: Sections that only prepare, or that close a notebook.
NO_QUESTION = (
    "What you will do|What you will learn|What you need|Try it|Exercises|In practice"
    "|Further reading"
)


def sections(path: Path) -> dict[str, str]:
    """Return the code of each section by its heading; one without prose of its own goes on."""
    code: dict[str, str] = {}
    current: list[str] = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^## (.+)$", cell.source, re.MULTILINE)
            current = headings or current
            code |= dict.fromkeys(headings, "")
        else:
            for heading in current:
                code[heading] += cell.source + "\n"
    return code


@pytest.mark.parametrize("path", sorted(notebook_folder().glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_section_asks(path: Path) -> None:
    """A question, a prediction, or the answer to one."""
    silent = [
        heading
        for heading, code in sections(path).items()
        if not re.fullmatch(NO_QUESTION, heading)
        and not re.search(r"kvmlab\.(questions|predict)\(|\.beside", code)
    ]
    assert not silent


@pytest.mark.parametrize("path", sorted(notebook_folder().glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_prediction_comes_before_each_comparison_and_its_result_after(path: Path) -> None:
    """Each guess (``guess = kvmlab.predict(…)``) is shown beside what was measured."""
    guesses: dict[str, int] = {}
    measured: list[int] = []
    shown: dict[str, int] = {}
    for place, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type != "code":
            continue
        for name in re.findall(r"^(\w+) = kvmlab\.predict(?:_tunings)?\(", cell.source, re.M):
            guesses[name] = place
        if re.search(r"lab\.(?:compare|atlas)\(", cell.source):
            measured.append(place)
        for name in re.findall(r"^(\w+)\.beside\w*\(", cell.source, re.M):
            shown[name] = place
    assert guesses.keys() == shown.keys()
    assert all(any(guess < place for guess in guesses.values()) for place in measured)
    assert all(guesses[name] < shown[name] for name in guesses)


def test_an_unknown_question_names_those_there_are() -> None:
    with pytest.raises(
        UsageError, match=r"no question '02-prof'. Did you mean 02-proof"
    ) as unknown:
        kvmlab.questions("02-prof")
    assert "02-proof" in unknown.value.todo
    assert "03-" not in unknown.value.todo
    with pytest.raises(UsageError, match="no prediction '02-mood'"):
        kvmlab.predict("02-mood")


@pytest.fixture
def latency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """Return a comparison in which the second takes half as long; keep the progress apart."""
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(tmp_path))
    return replace(kvmlab.compare(e1000(), virtio(), "rtt_p50_us"), ratio=0.5, low=0.45, high=0.55)


def shown(result: PredictionResult) -> str:
    return " ".join(sentence.en for sentence in result.sentences)


def test_a_guess_stands_beside_two_migrations(latency: Comparison) -> None:
    """Of one migration each there is no interval."""
    one, other = (migration(answered) for answered in ((0.0, 0.02, 0.42), (0.0, 0.02, 1.62)))
    prediction = kvmlab.predict("07-team")
    prediction.slider.value = 5.0
    result = prediction.beside_holes(one, other)
    assert shown(result).startswith("Predicted 5, measured 4: close enough.")
    assert list(result.figure.data[0].x) == pytest.approx([4.0, 4.0])


def test_a_guess_stands_beside_a_row_of_the_atlas(latency: Comparison) -> None:
    atlas = Atlas.shipped()
    prediction = kvmlab.predict("08-rules")
    prediction.slider.value = 3.0
    result = prediction.beside_row(atlas, "iptables-rules=100", "round trip")
    effect = atlas.row("iptables-rules=100").effect("round trip")
    assert effect is not None
    assert list(result.figure.data[0].x) == [effect.low, effect.high]
    assert "You expected more." in shown(result)
    with pytest.raises(UsageError, match="no row 'rx-ring=63'"):
        prediction.beside_row(atlas, "rx-ring=63")


def test_nobody_has_guessed(latency: Comparison) -> None:
    result = kvmlab.predict("02-latency").beside(latency)
    assert result.guess is None
    assert shown(result).startswith("No guess was made. The result: 0.5 times.")
    assert [list(trace.x) for trace in result.figure.data] == [[0.45, 0.55], [0.5]]


@pytest.mark.parametrize(
    ("guess", "sentence"),
    [
        (0.5, "Predicted 0.5, measured 0.5: close enough. What goes are switches"),
        (1.0, "Predicted 1, measured 0.5. You expected less of a difference."),
        (0.1, "Predicted 0.1, measured 0.5. You expected even more."),
    ],
)
def test_a_guess_stands_beside_the_result(latency: Comparison, guess: float, sentence: str) -> None:
    prediction = kvmlab.predict("02-latency")
    prediction.slider.value = guess
    result = prediction.beside(latency)
    assert shown(result).startswith(sentence)
    assert [guess] in [list(trace.x) for trace in result.figure.data]
    assert read_progress()[-1].detail == f"{guess:g}"


@pytest.mark.parametrize("declared", PREDICTIONS, ids=lambda declared: declared.id)
def test_without_a_reader_a_prediction_is_its_question_alone(
    declared: object, displayed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(declared, type(PREDICTIONS[0]))
    monkeypatch.setenv("KVMLAB_HEADLESS", "yes")
    Prediction(declared)._ipython_display_()
    (static,) = displayed
    text = static["text/html"]
    assert declared.question.en[:40] in text
    assert "slider" not in text
