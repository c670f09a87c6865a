"""Predict, then measure: a guess before a comparison, and beside its result afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import ipywidgets
import plotly.graph_objects as go
from IPython.display import HTML, display
from lxml.html.builder import DIV

from kvmlab.course import progress
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.elements import GREEN, ORANGE, frame, html, paragraph
from kvmlab.course.predictions import PREDICTIONS, PredictedRatio
from kvmlab.course.progress import ProgressEvent
from kvmlab.errors import UsageError, did_you_mean
from kvmlab.language import translate
from kvmlab.rendering import is_headless
from kvmlab.report import style
from kvmlab.results import Comparison
from kvmlab.widgets.elements import display_controls

if TYPE_CHECKING:
    from kvmlab.clock import Clock
    from kvmlab.results.atlas import Atlas
    from kvmlab.results.migration import MigrationResult

#: Ratios to choose from.
RATIOS: Final = (0.03, 0.05, 0.1, 0.2, 0.33, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
#: A guess within this factor of the result is right.
CLOSE: Final = 1.6
_NO_GUESS: Final = Bilingual("no guess yet", "还没有猜")
_BEFORE: Final = Bilingual("Before you run on:", "运行下去之前：")
_IN_JUPYTERLAB: Final = Bilingual(
    "In JupyterLab a slider takes your guess here.", "在 JupyterLab 里，这里有一个滑块供你猜。"
)
_PREDICTED: Final = Bilingual("predicted", "预测")
_MEASURED: Final = Bilingual("measured", "测得")
_TITLE: Final = Bilingual("Predicted and measured: {what}", "预测与实测：{what}")
_AXIS: Final = Bilingual("ratio (1: no difference)", "比值（1：没有差别）")
_NONE: Final = Bilingual(
    "No guess was made. The result: {ratio} times.", "没有猜。结果是 {ratio} 倍。"
)
_CLOSE: Final = Bilingual(
    "Predicted {guess}, measured {ratio}: close enough.",
    "预测 {guess}，测得 {ratio}：够接近了。",
)
_OFF: Final = Bilingual("Predicted {guess}, measured {ratio}.", "预测 {guess}，测得 {ratio}。")


@dataclass(frozen=True)
class MeasuredRatio:
    """A ratio that is no comparison of two results, with its interval where it has one."""

    baseline_label: str
    current_label: str
    ratio: float
    low: float
    high: float
    clock: Clock

    @classmethod
    def of_holes(cls, baseline: MigrationResult, current: MigrationResult) -> MeasuredRatio:
        """Return how many times as long the peer heard nothing; of one migration each."""
        ratio = current.hole_ms / baseline.hole_ms
        labels = (_migration_label(baseline), _migration_label(current))
        return cls(*labels, ratio, ratio, ratio, current.clock)

    @classmethod
    def of_row(cls, atlas: Atlas, tuning: str, column: str) -> MeasuredRatio:
        """Return the effect of a tuning in a column of an atlas, such as "throughput".

        Raises:
            UsageError: the atlas has no such row, or it was not measured.
        """
        effect = atlas.row(tuning).effect(column)
        if effect is None or effect.ratio is None:
            raise UsageError(
                f"The atlas has no {column} of {tuning!r}.",
                todo="Predict one of its rows, in a column that was measured there.",
            )
        low, high = (effect.ratio if end is None else end for end in (effect.low, effect.high))
        return cls(atlas.scheme, tuning, effect.ratio, low, high, atlas.clock)


def _migration_label(result: MigrationResult) -> str:
    return f"{result.label}, {result.remedy}" if result.remedy else result.label


class Prediction:
    """A guess at the ratio of a comparison, by a slider whose value is None until it is moved."""

    def __init__(self, declared: PredictedRatio) -> None:
        self.declared = declared
        options = [(_NO_GUESS.text(), 0.0), *((f"× {_digits(r)}", r) for r in RATIOS)]
        self.slider = ipywidgets.SelectionSlider(
            options=options, value=0.0, layout={"width": "36em"}, continuous_update=False
        )
        self.slider.observe(self._guessed, names="value")
        self.controls = ipywidgets.VBox([ipywidgets.HTML(self._question()), self.slider])

    @property
    def guess(self) -> float | None:
        """The guessed ratio; None without one."""
        return float(self.slider.value) or None

    def beside(self, comparison: Comparison | MeasuredRatio) -> PredictionResult:
        """Return figure and card of the guess beside the result."""
        return PredictionResult(self.declared, comparison, self.guess)

    def beside_holes(self, baseline: MigrationResult, current: MigrationResult) -> PredictionResult:
        """Return the guess beside the ratio of the holes of two migrations."""
        return self.beside(MeasuredRatio.of_holes(baseline, current))

    def beside_row(self, atlas: Atlas, tuning: str, column: str = "throughput") -> PredictionResult:
        """Return the guess beside the effect of a tuning in an atlas.

        Raises:
            UsageError: the atlas has no such row, or it was not measured.
        """
        return self.beside(MeasuredRatio.of_row(atlas, tuning, column))

    def _ipython_display_(self) -> None:
        static = html(
            frame(
                paragraph(_BEFORE),
                paragraph(self.declared.question),
                *([] if is_headless() else [paragraph(_IN_JUPYTERLAB)]),
            )
        )
        display_controls(self.controls, static)

    def _question(self) -> str:
        return html(DIV(paragraph(_BEFORE), paragraph(self.declared.question)))

    def _guessed(self, change: Any) -> None:
        if change["new"]:
            progress.record(
                self.declared.id, ProgressEvent.PREDICT, detail=f"{float(change['new']):g}"
            )


@dataclass(frozen=True)
class PredictionResult:
    """A guess, None where none was made, beside the comparison that it was about."""

    declared: PredictedRatio
    comparison: Comparison | MeasuredRatio
    guess: float | None

    @property
    def sentences(self) -> tuple[Bilingual, ...]:
        """The result in a sentence, and what a wrong guess suggests."""
        ratio = _digits(self.comparison.ratio)
        if self.guess is None:
            return (_NONE.format(ratio=ratio), self.declared.close)
        numbers = {"guess": _digits(self.guess), "ratio": ratio}
        if self.is_close:
            return (_CLOSE.format(**numbers), self.declared.close)
        above = self.guess > self.comparison.ratio
        return (_OFF.format(**numbers), self.declared.above if above else self.declared.below)

    @property
    def is_close(self) -> bool:
        """Tell whether the guess is within a factor of :data:`CLOSE` of the result."""
        ratio = self.comparison.ratio
        return self.guess is not None and ratio / CLOSE <= self.guess <= ratio * CLOSE

    @property
    def figure(self) -> go.Figure:
        """The guess and the result with its interval, on one axis."""
        result = self.comparison
        figure = go.Figure()
        low, high = (
            value if 0 < value < math.inf else result.ratio for value in (result.low, result.high)
        )
        rows = [(_MEASURED.text(), result.ratio, "circle", style.GREEN)]
        if self.guess is not None:
            rows.append((_PREDICTED.text(), self.guess, "diamond", style.ORANGE))
        figure.add_trace(
            go.Scatter(
                x=[low, high],
                y=[0, 0],
                mode="lines",
                line={"color": style.GREEN, "width": 2},
                hoverinfo="skip",
                showlegend=False,
            )
        )
        for row, (label, value, symbol, colour) in enumerate(rows):
            figure.add_trace(
                go.Scatter(
                    x=[value],
                    y=[row],
                    mode="markers+text",
                    name=label,
                    text=[f"× {_digits(value)}"],
                    # Beside the line of no difference, which else runs through it.
                    textposition="top right" if value >= 1 else "top left",
                    marker={"symbol": symbol, "size": 12, "color": colour},
                    showlegend=False,
                )
            )
        ticks = [0.03, 0.1, 0.3, 1, 3, 10]
        figure.add_vline(x=1, line={"color": style.INK, "width": 1.2})
        figure.update_layout(
            xaxis={
                "type": "log",
                "range": [math.log10(0.02), math.log10(12)],
                "tickvals": ticks,
                "ticktext": [_digits(tick) for tick in ticks],
                "title": {"text": _AXIS.text()},
                "fixedrange": True,
            },
            yaxis={
                "range": [-0.6, len(rows) - 0.2],
                "tickvals": list(range(len(rows))),
                "ticktext": [label for label, *_ in rows],
                "fixedrange": True,
            },
        )
        what = f"{translate(result.current_label)} / {translate(result.baseline_label)}"
        notice = style.notice_of((), result.clock)
        return style.finish(
            figure,
            title=_TITLE.format(what=what).text(),
            notice=notice,
            plot_px=52 * len(rows),
            left_px=110,
            head_px=16,
        )

    def _ipython_display_(self) -> None:
        display(self.figure)
        first, suggests = self.sentences
        colour = "" if self.guess is None else GREEN if self.is_close else ORANGE
        display(HTML(html(frame(paragraph(first, colour=colour), paragraph(suggests)))))


def _digits(ratio: float) -> str:
    """Return a ratio with two digits that count.

    >>> _digits(0.3333), _digits(1.0)
    ('0.33', '1')
    """
    return f"{ratio:.2g}"


def predict(prediction_id: str) -> Prediction:
    """Return the slider of a declared prediction, such as "02-latency".

    Raises:
        UsageError: there is none of that id.
    """
    by_id = {declared.id: declared for declared in PREDICTIONS}
    if prediction_id not in by_id:
        hint = did_you_mean(prediction_id, by_id)
        raise UsageError(
            f"There is no prediction {prediction_id!r}.{hint}",
            todo=f"Use one of {', '.join(by_id)}.",
        )
    return Prediction(by_id[prediction_id])
