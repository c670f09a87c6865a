"""Costs of a packet, stacked by who paid."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.language import _
from kvmlab.report import names, style, text
from kvmlab.results import CostSummary, Per, Result

ROW_PX = 46
PANEL_HEAD_PX = 58
LONG_LEGEND_PX = 38
# Costs of a figure, one panel each, where they were counted.
SHOWN = ("instructions", "cpu_us", "vm_exits", "userspace_exits", "context_switches")
# Further parts are drawn as one: nobody can read a stack of twenty slivers.
LARGEST = 5
OTHERS = "others"
# Each role that pays CPU time or instructions has one colour in all figures.
ROLES = {
    "guest": "#c3c9cf",
    "guest (sampled)": "#c3c9cf",
    "vCPU": style.SKY,
    "vCPU outside the guest": style.SKY,
    "vCPU in KVM": style.SKY,
    "vCPU in QEMU": style.YELLOW,
    "QEMU main loop": style.ORANGE,
    "QEMU other threads": style.AMBER,
    "vhost worker": style.GREEN,
    "softirq": style.PINK,
    "peer's server": style.BLUE,
    "other programs": style.GREY,
}


@dataclass(frozen=True)
class _Stack:
    """One cost of one result: its parts, largest first, and all of them together.

    The median of the sums need not be the sum of the medians: ``median`` is the figure of tables
    and other figures, ``total`` is where the bar ends.
    """

    parts: tuple[CostSummary, ...]
    median: float

    def of(self, part: str) -> float:
        """Return the length of one part."""
        return sum(each.summary.median for each in self.parts if each.part == part)

    def without(self, parts: Collection[str]) -> float:
        """Return the length of all other parts together."""
        return sum(each.summary.median for each in self.parts if each.part not in parts)

    @property
    def total(self) -> float:
        """Length of the bar."""
        return sum(each.summary.median for each in self.parts)


def costs(
    *results: Result,
    workload: str = "tcp_up",
    per: Per = "packet",
    shown: Sequence[str] = SHOWN,
) -> go.Figure:
    """Draw stacked bars of what each packet (or megabyte) cost, a panel for each kind of cost.

    Every part is the median of its trials; the figure at the end of a bar is the median of all
    parts together. Costs that no result counted are left out.

    Raises:
        UsageError: no result, unlike clocks, a workload that was not run, or no cost counted.
    """
    notice = style.notice(results)
    stacks = {name: [_stack(result, workload, per, name) for result in results] for name in shown}
    stacks = {name: each for name, each in stacks.items() if any(s.parts for s in each)}
    if not stacks:
        raise UsageError(
            f"None of the costs {', '.join(shown)} was counted in the workload `{workload}`."
        )
    figure = go.Figure()
    heads = [_head_px(each) for each in stacks.values()]
    rows_px = ROW_PX * len(results)
    plot_px = sum(heads) + rows_px * len(stacks)
    top_px = plot_px
    for number, (name, row_stacks) in enumerate(stacks.items()):
        first_px = top_px - heads[number]
        top_px = first_px - rows_px
        domain = (max(0.0, top_px / plot_px), first_px / plot_px)
        _panel(figure, name, row_stacks, results, number + 1, domain)
    traffic = names.workload(workload)
    return style.finish(
        figure,
        title=_("What {unit} costs ({traffic})").format(unit=_(names.PER[per]), traffic=traffic),
        notice=notice,
        plot_px=plot_px,
        head_px=0,
        bottom_px=16,
    )


def _head_px(stacks: Sequence[_Stack]) -> int:
    """Return the room for a panel's heading and legend; a long legend takes several lines."""
    return PANEL_HEAD_PX + (LONG_LEGEND_PX if len(_parts(stacks)) > LARGEST + 1 else 0)


def _stack(result: Result, workload: str, per: Per, name: str) -> _Stack:
    together = result.costs(workload, per=per, name=name, parts=False)
    return _Stack(
        result.costs(workload, per=per, name=name),
        sum(each.summary.median for each in together),
    )


def _panel(
    figure: go.Figure,
    name: str,
    stacks: Sequence[_Stack],
    results: Sequence[Result],
    number: int,
    domain: tuple[float, float],
) -> None:
    """Draw one cost: heading, legend, and a stacked bar for each result."""
    suffix = "" if number == 1 else str(number)
    parts = _parts(stacks)
    shown = set(parts) - {OTHERS}
    unit = next(each.unit for stack in stacks for each in stack.parts)
    for index, part in enumerate(parts):
        values = [stack.without(shown) if part == OTHERS else stack.of(part) for stack in stacks]
        figure.add_trace(_bar(part, values, results, index, suffix, unit))
    figure.add_trace(_totals(stacks, suffix))
    _axes(figure, suffix, domain, max(stack.total for stack in stacks) or 1.0, results)
    figure.add_annotation(
        text=text.spaced(text.bold(names.cost(name)), text.tinted(unit, style.QUIET)),
        xref="paper",
        yref="paper",
        x=0,
        y=domain[1],
        xanchor="left",
        yanchor="bottom",
        yshift=_head_px(stacks) - 32,
        showarrow=False,
        font={"size": 13},
    )


def _totals(stacks: Sequence[_Stack], suffix: str) -> go.Scatter:
    """Return the figures at the ends of the bars."""
    return go.Scatter(
        x=[stack.total for stack in stacks],
        y=list(range(len(stacks))),
        mode="text",
        text=[
            text.bold(f" {names.number(stack.median)}") if stack.parts else " not counted"
            for stack in stacks
        ],
        textposition="middle right",
        textfont={"size": 13},
        hoverinfo="skip",
        showlegend=False,
        cliponaxis=False,
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
    )


def _axes(
    figure: go.Figure,
    suffix: str,
    domain: tuple[float, float],
    reach: float,
    results: Sequence[Result],
) -> None:
    figure.update_layout(
        {
            f"xaxis{suffix}": {
                "anchor": f"y{suffix}",
                "range": [0, reach * 1.12],
                "showticklabels": False,
                "showgrid": False,
                "fixedrange": True,
            },
            f"yaxis{suffix}": {
                "anchor": f"x{suffix}",
                "domain": list(domain),
                "range": [len(results) - 0.5, -0.5],
                "tickvals": list(range(len(results))),
                "ticktext": [style.wrapped(label) for label in names.labels(results)],
                "tickfont": {"size": 13, "color": style.INK},
                "showgrid": False,
                "fixedrange": True,
            },
            f"legend{suffix}": {
                "orientation": "h",
                "x": 0,
                "y": domain[1],
                "xanchor": "left",
                "yanchor": "bottom",
                "traceorder": "normal",
                "font": {"size": 12},
                "itemclick": False,
                "itemdoubleclick": False,
            },
            "barmode": "stack",
        }
    )


def _bar(
    part: str,
    values: Sequence[float],
    results: Sequence[Result],
    index: int,
    suffix: str,
    unit: str,
) -> go.Bar:
    tint = ROLES.get(part) or (style.GREY if part == OTHERS else _spare(index))
    return go.Bar(
        x=list(values),
        y=list(range(len(results))),
        orientation="h",
        width=0.62,
        name=part or "all",
        marker={"color": tint, "line": {"color": "white", "width": 1}},
        hovertext=[
            text.lines(label, names.valued(part, f"{names.number(value)} {_(unit)}"))
            for label, value in zip(names.labels(results), values, strict=True)
        ],
        hoverinfo="text",
        legend=f"legend{suffix}",
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
        showlegend=True,
    )


def _spare(index: int) -> str:
    """Return a colour for a part that is not a role."""
    return style.PALETTE[index % (len(style.PALETTE) - 1)]


def _parts(stacks: Sequence[_Stack]) -> list[str]:
    """Return the parts with a colour of their own, the largest first, and one for the rest."""
    weight: dict[str, float] = {}
    for stack in stacks:
        for each in stack.parts:
            share = each.summary.median / (stack.total or 1.0)
            weight[each.part] = max(weight.get(each.part, 0.0), share)
    ordered = sorted((p for p in weight if weight[p] > 0), key=lambda p: -weight[p])
    if len(ordered) <= LARGEST + 1 or ROLES.keys() >= set(ordered):
        return ordered
    return [*ordered[:LARGEST], OTHERS]
