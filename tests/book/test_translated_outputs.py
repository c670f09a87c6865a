"""Outputs of an English run on Chinese pages: whatever kvmlab wrote in them reads Chinese."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest
from lxml import html as lxml_html

from kvmlab.book.translated_outputs import translate_outputs
from kvmlab.course.prediction import PredictionResult
from kvmlab.course.predictions import PREDICTIONS
from kvmlab.language import reading
from kvmlab.report.html import PLOTLY
from kvmlab.results import compare
from tests.report.builders import e1000, virtio


def translated(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data of one output of an English run as a Chinese page shows it."""
    output = nbformat.v4.new_output("display_data", data=data)
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    with reading("zh-CN"):
        translate_outputs(node)
    shown: dict[str, Any] = node.cells[0].outputs[0].data
    return shown


def words(markup: str) -> str:
    return str(lxml_html.document_fromstring(markup).xpath("string()"))


@pytest.mark.parametrize("declared", PREDICTIONS, ids=lambda declared: declared.id)
def test_a_prediction_and_its_result(declared: Any) -> None:
    comparison = compare(e1000(), virtio(), "rtt_p50_us")
    result = PredictionResult(declared, comparison, 2.0)
    figure = translated({PLOTLY: json.loads(result.figure.to_json())})[PLOTLY]
    assert "预测与实测：virtio，QEMU 后端 / e1000，全虚拟化" in str(figure)
    for sentence in (*result.sentences, declared.question):
        shown = words(translated({"text/html": f"<div>{sentence.en}</div>"})["text/html"])
        assert shown == sentence.zh


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("guest: 24 µs from 128 µs, beside the path", "，不在路径上"),
        ("80 µs: system call read", "系统调用 read"),
        ("└─ 192.0.2.1/24: peer's end of the cable", "└─ 192.0.2.1/24：网线的对端一侧"),
        ("+1 A macvtap leaves the bridge out.", "+1 macvtap 省去了网桥。"),
        (": this host can.", "：这台宿主机可以。"),
        ("MTU, end to end: round trip (0.995)", "：往返时间（0.995）"),
        ("Each packet is copied for the capture, its headers or all of it.", "。"),
        ("eth0, vnet0: p2p1", "eth0, vnet0: p2p1"),
    ],
)
def test_what_is_left_of_a_sentence_between_tags_and_marks(english: str, chinese: str) -> None:
    shown = words(translated({"text/html": f"<p>{english}</p>"})["text/html"])
    assert chinese in shown
    figure = {"data": [{"type": "scatter", "x": [1], "y": [1], "hovertext": [english]}]}
    assert chinese in str(translated({PLOTLY: figure})[PLOTLY])


def test_lists_keep_their_marks_and_code_stays() -> None:
    text = "- **A teaming pair**: this host can.\n- **vDPA**: this host can."
    shown = translated({"text/markdown": text})["text/markdown"]
    assert shown.splitlines()[0].startswith("- **")
    assert shown.count("这台宿主机可以。") == 2
    page = translated({"text/html": "<p>bridge <code>no difference</code></p>"})["text/html"]
    assert "no difference" in page
