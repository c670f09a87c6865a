"""Outputs of an English run in the reader's language: figures, tables, sentences, questions.

Most texts are in the catalogue. What stands beside its Chinese in the code (the course, sentences
about tunings) is looked up there. What is left of a sentence between two tags, or behind a mark of
a list, is translated without its marks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from html import escape, unescape
from typing import Any, Final

import plotly.graph_objects as go
from lxml import etree
from lxml import html as lxml_html
from nbformat import NotebookNode

from kvmlab.course import phrases, prediction, tuning_prediction
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.card import tasks_html
from kvmlab.course.elements import words
from kvmlab.course.predictions import PREDICTIONS
from kvmlab.course.question import questions
from kvmlab.course.registry import tasks_of
from kvmlab.language import translate, typeset
from kvmlab.report import style
from kvmlab.report.html import PLOTLY
from kvmlab.tunings.texts import all_sentences

#: What is no text of kvmlab's: commands, XML, styles.
_CODE: Final = ("code", "pre", "style", "script")
_PLACE: Final = re.compile(r"\{[^}]*\}")
#: Marks around a text: of lists, trees and points before it, of the sentence after it.
_MARKS: Final = re.compile(
    r"(?P<before>[\s│├└─●◆■·:,;()+\-*\d.×]*)(?P<text>.*?)(?P<after>[\s:,;.()]*)", re.DOTALL
)
_LEAST_LETTERS: Final = 6
_LATIN: Final = re.compile(r"\b[a-z]{2,}\b")
#: Properties of a figure that are shown, and what stands between their texts.
_SHOWN: Final = frozenset(("name", "text", "hovertext", "ticktext", "title", "notice"))
_TAG: Final = re.compile(r"(<[^<>]+>| {3,})")
#: What stands between lines, between the cells of a row, after the mark of a list; colours.
_GAP: Final = re.compile(r"(\n[-*] |\A[-*] |\n| {3,}|\x1b\[[\d;]*m)")
_STOPS: Final = {":": "：", ",": "，", ";": "；", ".": "。", "(": "（", ")": "）"}


def translate_outputs(node: NotebookNode) -> None:
    """Translate the outputs of executed cells in place."""
    for cell in node.cells:
        if cell.cell_type != "code":
            continue
        asked = _of_the_course(cell.source)
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if asked and "text/html" in data:
                data["text/html"] = asked
                continue
            if PLOTLY in data:
                data[PLOTLY] = _figure(data[PLOTLY])
            if "text/html" in data:
                data["text/html"] = _html(_text(data["text/html"]))
            for kind in ("text/markdown", "text/plain"):
                if kind in data:
                    data[kind] = _markdown(_text(data[kind]))
            if output.output_type == "stream":
                output.text = _lines(_text(output.text))


def _of_the_course(source: str) -> str:
    """Return what a cell of questions or tasks shows, which has its own Chinese; else nothing."""
    names = re.findall(r"[\"']([\w-]+)[\"']", source)
    if source.startswith("kvmlab.questions("):
        return questions(*names)._repr_html_()
    return tasks_html(tasks_of(*names)) if source.startswith("lab.tasks(") else ""


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def _figure(spec: NotebookNode) -> object:
    figure = go.Figure(_in_chinese(json.loads(json.dumps(spec))), skip_invalid=True)
    style.translate_figure(figure)
    return json.loads(figure.to_json())


def _in_chinese(value: Any) -> Any:
    """Return the JSON of a figure with what it shows in Chinese."""
    match value:
        case dict():
            return {
                name: _shown(part) if name in _SHOWN else _in_chinese(part)
                for name, part in value.items()
            }
        case list():
            return [_in_chinese(part) for part in value]
    return value


def _shown(value: Any) -> Any:
    """Translate a text of a figure, or a list of them, between its tags."""
    match value:
        case str():
            parts = _TAG.split(value)
            return "".join(
                part if number % 2 else str(escape(_translated(unescape(part))))
                for number, part in enumerate(parts)
            )
        case list():
            return [_shown(part) for part in value]
    return _in_chinese(value)


def _html(markup: str) -> str:
    """Translate the texts between the tags, but not those of code."""
    root = lxml_html.fragment_fromstring(markup, create_parent="div")
    for element in root.iter():
        if not isinstance(element.tag, str) or element.tag in _CODE:
            continue
        if _take_bilingual(element):
            continue
        if element.text:
            element.text = _lines(element.text)
        for child in element:
            if child.tail:
                child.tail = _lines(child.tail)
    return str(lxml_html.tostring(root, encoding="unicode"))


def _take_bilingual(element: etree._Element) -> bool:
    """Replace a paragraph with words of code that has its own Chinese; tell whether it had."""
    if not len(element) or any(child.tag != "code" for child in element):
        return False
    parts = [element.text or ""]
    for child in element:
        parts += [f"`{child.text or ''}`", child.tail or ""]
    chinese = _known("".join(parts))
    if not chinese:
        return False
    for child in tuple(element):
        element.remove(child)
    element.text = ""
    last: etree._Element | None = None
    for part in words(chinese):
        if not isinstance(part, str):
            element.append(part)
            last = part
        elif last is None:
            element.text = part
        else:
            last.tail = part
    return True


def _markdown(text: str) -> str:
    whole = typeset(translate(text))
    return whole if whole != text and "\n" not in text else _lines(text)


def _lines(text: str) -> str:
    """Translate line by line, and cell by cell where a line is a row of a table in plain text."""
    return "".join(
        part if number % 2 else _translated(part) for number, part in enumerate(_GAP.split(text))
    )


def _translated(text: str) -> str:
    bare = text.strip()
    if not bare:
        return text
    if bare.startswith(": "):
        return text.replace(bare, f"：{_translated(bare[2:])}")
    shown = _known(bare) or translate(bare)
    if shown == bare:
        shown = _between_marks(bare)
    if shown == bare and " " in bare:
        shown = _piece_by_piece(bare)
    return text.replace(bare, typeset(shown))


def _piece_by_piece(text: str) -> str:
    """Translate the parts between commas, semicolons or colons, whichever leaves least English."""
    candidates = [text]
    for mark, here in ((": ", "："), ("; ", "；"), (", ", "，")):
        parts = text.split(mark)
        if len(parts) > 1:
            shown = [_translated(parts[0]), *(_continued(mark, part) for part in parts[1:])]
            if shown != parts:
                candidates.append(here.join(shown))
    return min(candidates, key=lambda candidate: len(_LATIN.findall(candidate)))


def _continued(mark: str, part: str) -> str:
    """Translate what follows a mark, with which some entries begin."""
    whole = "".join((mark, part))
    shown = translate(whole)
    return _translated(part) if shown == whole else shown.lstrip("，；：")


def _between_marks(text: str) -> str:
    """Translate what stands between the marks of a list, a tree or a sentence."""
    match = _MARKS.fullmatch(text)
    if match is None or not match["text"]:
        return text
    core = match["text"]
    for part in (core, f"{core}."):
        shown = _known(part) or translate(part)
        if shown != part:
            after = "".join(_STOPS.get(mark, mark) for mark in match["after"].strip())
            return f"{match['before']}{shown.rstrip('。') if after else shown}{after}"
    return text


def _known(text: str) -> str:
    """Return the Chinese of a bilingual text, its places translated; empty if it is none."""
    exact, patterns = _bilingual()
    if text in exact:
        return exact[text]
    for pattern, chinese in patterns:
        match = pattern.fullmatch(text)
        if match is not None:
            places = {name: _around_slashes(value) for name, value in match.groupdict().items()}
            return chinese.format(**places)
    return ""


def _around_slashes(text: str) -> str:
    """Translate a value: one scheme or number, or two with a slash between."""
    return " / ".join(translate(part) for part in text.split(" / "))


@cache
def _bilingual() -> tuple[dict[str, str], tuple[tuple[re.Pattern[str], str], ...]]:
    """Return the texts that stand beside their Chinese, and patterns of those with places."""
    exact = {sentence.en: sentence.zh for sentence in all_sentences()}
    patterns = []
    for each in _texts():
        if not _PLACE.search(each.en):
            exact[each.en] = each.zh
        elif len(_PLACE.sub("", each.en)) > _LEAST_LETTERS:
            patterns.append((_pattern(each.en), each.zh))
    return exact, tuple(patterns)


def _texts() -> Iterator[Bilingual]:
    for module in (prediction, tuning_prediction, phrases):
        yield from (each for each in vars(module).values() if isinstance(each, Bilingual))
    for declared in PREDICTIONS:
        yield from (declared.question, declared.above, declared.below, declared.close)


def _pattern(english: str) -> re.Pattern[str]:
    """Return the pattern of a text with places, each of which is a group of its name."""
    parts = _PLACE.split(english)
    names = [place.strip("{}").partition(":")[0] for place in _PLACE.findall(english)]
    pattern = re.escape(parts[0])
    for name, part in zip(names, parts[1:], strict=True):
        pattern += f"(?P<{name}>.+?){re.escape(part)}"
    return re.compile(pattern, re.DOTALL)
