"""The drawing of a virtqueue: an SVG that a notebook and the report show as it is."""

from __future__ import annotations

from xml.etree import ElementTree

from kvmlab import figures

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> str:
    return " ".join(
        "".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(SVG + "text")
    )


def test_the_virtqueue_names_what_the_notebooks_explain() -> None:
    text = words(figures.virtqueue()._repr_svg_())
    for term in (
        "virtqueue",
        "ioeventfd",
        "irqfd",
        "vhost worker",
        "notification",
        "non-root mode",
    ):
        assert term in text, term
    for term in ("环形队列", "通知", "工作线程", "非根模式", "中断"):
        assert term in text, term


def test_it_has_a_text_for_those_who_cannot_see_it() -> None:
    drawing = figures.virtqueue()
    assert "ioeventfd" in repr(drawing)
    title = ElementTree.fromstring(drawing.svg).find(SVG + "title")
    assert title is not None
    assert title.text == drawing.title


def test_it_needs_nothing_from_outside() -> None:
    assert "http" not in figures.virtqueue().svg.replace("http://www.w3.org/2000/svg", "")
