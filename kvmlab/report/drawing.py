"""Drawings that explain a mechanism: SVG files of this package, shown as a notebook's output."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, repr=False)
class Drawing:
    """An SVG picture; ``title`` is its text for those who cannot see it."""

    title: str
    svg: str

    def __repr__(self) -> str:
        return self.title

    def _repr_svg_(self) -> str:
        return self.svg


def virtqueue() -> Drawing:
    """Return the drawing of one virtqueue: ring, notification, ioeventfd and irqfd."""
    svg = files("kvmlab.report").joinpath("drawings/virtqueue.svg").read_text(encoding="utf-8")
    title = svg.partition('<title id="virtqueue-title">')[2].partition("</title>")[0]
    return Drawing(title, svg)
