"""Predict what tunings do, each better, worse or the same, then see the guesses beside an atlas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import ipywidgets
import plotly.graph_objects as go
from IPython.display import HTML, display
from lxml.html.builder import LI, UL

from kvmlab.course import progress
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.elements import GREEN, ORANGE, frame, html, paragraph, words
from kvmlab.course.progress import ProgressEvent
from kvmlab.errors import UsageError
from kvmlab.language import translate
from kvmlab.rendering import is_headless
from kvmlab.report import names, style
from kvmlab.results.atlas import Atlas, TuningEffect
from kvmlab.tunings.texts import text_of
from kvmlab.widgets.elements import display_controls

#: What may be predicted of a tuning, and the verdict of an atlas that it stands for.
VERDICTS: Final[Mapping[str, str]] = {
    "better": "better",
    "same": "no difference shown",
    "worse": "worse",
}
_WORDS: Final = {
    "better": Bilingual("better", "更好"),
    "same": Bilingual("no difference", "没有差别"),
    "worse": Bilingual("worse", "更差"),
}
_NO_GUESS: Final = Bilingual("no guess yet", "还没有猜")
_QUESTION: Final = Bilingual(
    "Before you run on: what does each of these do to the throughput of TCP from the VM?",
    "运行下去之前：下面每一项会让从虚拟机发出的 TCP 吞吐量怎样？",
)
_IN_JUPYTERLAB: Final = Bilingual(
    "In JupyterLab a list takes your guess for each.",
    "在 JupyterLab 里，每一项都有一个列表供你猜。",
)
_NAMED: Final = Bilingual("{title} ({tuning})", "{title}（{tuning}）")
_TITLE: Final = Bilingual(
    "Throughput with each tuning, predicted and measured", "用上每一项时的吞吐量：预测与实测"
)
_PREDICTED: Final = Bilingual("predicted", "预测")
_AS_PREDICTED: Final = Bilingual("measured, as predicted", "实测，与预测相同")
_OTHERWISE: Final = Bilingual("measured, otherwise", "实测，与预测不同")
_WITHOUT_GUESS: Final = Bilingual("measured, without a guess", "实测，没有猜")
_AXIS: Final = Bilingual("ratio to the throughput without it", "与不用时吞吐量之比")
_NONE: Final = Bilingual("No guess was made.", "没有猜。")
_COUNT: Final = Bilingual(
    "{right} of {guesses} guesses are as measured.",
    "猜了 {guesses} 项，其中 {right} 项与实测相同。",
)
_WRONG: Final = Bilingual(
    "Of the others open the rows below: who pays, and is that part busy all the time?",
    "其余各项请打开下面的行：由谁付出代价，那一部分是否一直在忙？",
)
#: Half the height of a band, in rows; half the width of "no difference", as a factor.
_HALF, _SAME = 0.36, 1.03
_ROW_PX: Final = 30
_NEAREST: Final = 1.25
#: Below the plot: the axis with its title, and a legend of up to four lines.
_AXIS_PX: Final = 46
_LEGEND_PX: Final = 80
#: How faintly the band of a guess is drawn.
_FAINT: Final = 0.22


class TuningPredictions:
    """A list for each tuning, whose value is empty until somebody chooses."""

    def __init__(self, prediction_id: str, tunings: Sequence[str]) -> None:
        if not tunings:
            raise UsageError(
                "There is no tuning to predict.",
                todo="Name one or more: `kvmlab tunings` lists them.",
            )
        self.id = prediction_id
        self.tunings = tuple(tunings)
        options = [(_NO_GUESS.text(), ""), *((words.text(), g) for g, words in _WORDS.items())]
        self.lists = {
            tuning: ipywidgets.Dropdown(
                options=options,
                value="",
                layout={"width": "12em"},
            )
            for tuning in self.tunings
        }
        for tuning, chosen in self.lists.items():
            chosen.observe(partial(self._guessed, tuning), names="value")
        self.controls = ipywidgets.VBox(
            [ipywidgets.HTML(html(paragraph(_QUESTION))), *map(self._row, self.tunings)]
        )

    @property
    def guesses(self) -> dict[str, str]:
        """The guesses that were made, by tuning: "better", "same" or "worse"."""
        return {tuning: chosen.value for tuning, chosen in self.lists.items() if chosen.value}

    def beside(self, atlas: Atlas) -> TuningPredictionResult:
        """Return figure and card of the guesses beside what was measured."""
        return TuningPredictionResult(self.tunings, self.guesses, atlas)

    def _ipython_display_(self) -> None:
        rows = [LI(*words(_named(tuning, f"`{tuning}`"))) for tuning in self.tunings]
        where = () if is_headless() else (paragraph(_IN_JUPYTERLAB),)
        display_controls(self.controls, html(frame(paragraph(_QUESTION), UL(*rows), *where)))

    def _row(self, tuning: str) -> ipywidgets.HBox:
        """Return a tuning's name and its list, which goes below the name on a narrow page."""
        label = ipywidgets.HTML(html(paragraph(_named(tuning, tuning))), layout={"width": "26em"})
        return ipywidgets.HBox([label, self.lists[tuning]], layout={"flex_flow": "row wrap"})

    def _guessed(self, tuning: str, change: Any) -> None:
        if change["new"]:
            detail = f"{tuning} {change['new']}"
            progress.record(self.id, ProgressEvent.PREDICT, detail=detail)


@dataclass(frozen=True)
class TuningPredictionResult:
    """Guesses about tunings, as many as were made, beside the throughput of an atlas."""

    tunings: tuple[str, ...]
    guesses: Mapping[str, str]
    atlas: Atlas

    @property
    def right(self) -> tuple[str, ...]:
        """The tunings that were measured as they were guessed."""
        return tuple(
            tuning
            for tuning, guess in self.guesses.items()
            if (effect := self._effect(tuning)) is not None and effect.verdict == VERDICTS[guess]
        )

    @property
    def sentences(self) -> tuple[Bilingual, ...]:
        """Count of the guesses that are as measured, and what to ask of the others."""
        if not self.guesses:
            return (_NONE,)
        count = _COUNT.format(right=len(self.right), guesses=len(self.guesses))
        return (count,) if len(self.right) == len(self.guesses) else (count, _WRONG)

    @property
    def figure(self) -> go.Figure:
        """A row for each tuning: a band where the guess is, a mark where the result is."""
        effects = [(row, tuning, self._effect(tuning)) for row, tuning in enumerate(self.tunings)]
        sizes = [effect.size for _row, _tuning, effect in effects if effect is not None]
        reach = 1.1 * max([_NEAREST, *(size for size in sizes if math.isfinite(size))])
        plot_px = _ROW_PX * len(self.tunings)
        figure = go.Figure()
        self._draw_guesses(figure, reach)
        for title, colour, symbol, drawn in self._groups(effects):
            if drawn:
                _draw_results(figure, title.text(), colour, symbol, drawn)
        figure.add_vline(x=1, line={"color": style.INK, "width": 1.2})
        ticks = [1 / reach, 1.0, reach]
        inside = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if 1 / reach <= tick <= reach]
        ticks = [float(tick) for tick in inside] if len(inside) > 1 else ticks
        figure.update_layout(
            xaxis={
                "type": "log",
                "range": [-math.log10(reach), math.log10(reach)],
                "tickvals": ticks,
                "ticktext": [names.number(tick) for tick in ticks],
                "title": {"text": _AXIS.text()},
                "fixedrange": True,
            },
            yaxis={
                "range": [len(self.tunings) - 0.4, -0.6],
                "tickvals": list(range(len(self.tunings))),
                "ticktext": list(self.tunings),
                "fixedrange": True,
            },
            # Below the axis, where it has the room for a line of each on a narrow page.
            legend={"x": 0, "y": -_AXIS_PX / plot_px, "yanchor": "top"},
        )
        return style.finish(
            figure,
            title=_TITLE.text(),
            notice=style.notice_of((self.atlas.emulated,), self.atlas.clock),
            plot_px=plot_px,
            left_px=170,
            head_px=0,
            bottom_px=_AXIS_PX + _LEGEND_PX,
        )

    def _effect(self, tuning: str) -> TuningEffect | None:
        effect = self.atlas.row(tuning).effect("throughput")
        return effect if effect is not None and effect.ratio is not None else None

    def _draw_guesses(self, figure: go.Figure, reach: float) -> None:
        ends = {"better": (1.0, reach), "same": (1 / _SAME, _SAME), "worse": (1 / reach, 1.0)}
        for row, tuning in enumerate(self.tunings):
            if tuning not in self.guesses:
                continue
            low, high = ends[self.guesses[tuning]]
            figure.add_shape(
                type="rect",
                x0=low,
                x1=high,
                y0=row - _HALF,
                y1=row + _HALF,
                fillcolor=style.BLUE,
                opacity=_FAINT,
                line={"width": 0},
                layer="below",
            )
        if self.guesses:
            figure.add_trace(
                go.Scatter(
                    x=[None],
                    y=[None],
                    mode="markers",
                    name=_PREDICTED.text(),
                    marker={
                        "symbol": "square",
                        "size": 12,
                        "color": style.BLUE,
                        "opacity": 2 * _FAINT,
                    },
                )
            )

    def _groups(
        self, effects: Sequence[tuple[int, str, TuningEffect | None]]
    ) -> list[tuple[Bilingual, str, str, list[tuple[int, str, TuningEffect]]]]:
        """Return the results by what was guessed of them: words, colour, symbol, rows."""
        measured = [(row, name, effect) for row, name, effect in effects if effect is not None]
        right = set(self.right)
        return [
            (_AS_PREDICTED, style.GREEN, "circle", [m for m in measured if m[1] in right]),
            (
                _OTHERWISE,
                style.ORANGE,
                "diamond",
                [m for m in measured if m[1] in self.guesses and m[1] not in right],
            ),
            (
                _WITHOUT_GUESS,
                style.GREY,
                "circle-open",
                [m for m in measured if m[1] not in self.guesses],
            ),
        ]

    def _ipython_display_(self) -> None:
        display(self.figure)
        colour = ""
        if self.guesses:
            colour = GREEN if len(self.right) == len(self.guesses) else ORANGE
        first, *others = self.sentences
        texts = [paragraph(first, colour=colour), *map(paragraph, others)]
        display(HTML(html(frame(*texts))))


def _draw_results(
    figure: go.Figure,
    name: str,
    colour: str,
    symbol: str,
    drawn: Sequence[tuple[int, str, TuningEffect]],
) -> None:
    for row, _tuning, effect in drawn:
        low, high = (end or effect.ratio for end in (effect.low, effect.high))
        figure.add_trace(
            go.Scatter(
                x=[low, high],
                y=[row, row],
                mode="lines",
                line={"color": colour, "width": 2},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    figure.add_trace(
        go.Scatter(
            x=[effect.ratio for _row, _tuning, effect in drawn],
            y=[row for row, _tuning, _effect in drawn],
            mode="markers",
            marker={"symbol": symbol, "size": 10, "color": colour, "line": {"width": 2}},
            name=name,
            hovertext=[names.valued(tuning, _judged(effect)) for _row, tuning, effect in drawn],
            hoverinfo="text",
        )
    )


def _judged(effect: TuningEffect) -> str:
    return f"× {names.number(effect.ratio or 0.0)}{translate(', ')}{translate(effect.verdict)}"


def _named(tuning: str, shown: str) -> str:
    """Return what a tuning is called, with its value: "its ring (rx-ring=64)"."""
    title = text_of(tuning.partition("=")[0]).title
    return _NAMED.format(title=Bilingual(title.en, title.zh).text(), tuning=shown).text()


def predict_tunings(prediction_id: str, *tunings: str) -> TuningPredictions:
    """Return a list of guesses for each tuning, such as "mtu=9000"; none is made beforehand.

    Raises:
        UsageError: there is no tuning, or none of that name.
    """
    return TuningPredictions(prediction_id, tunings)
