"""What a packet costs, stacked by who paid: the article's layers, in numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from kvmlab.errors import UsageError
from kvmlab.report import names, style, text
from kvmlab.results import CostSummary, Per, Result, named_by_host

ROW_PX = 46
PANEL_HEAD_PX = 58
LONG_LEGEND_PX = 38
# The costs that one figure shows, one panel each, where they were counted.
SHOWN = ("instructions", "cpu_us", "vm_exits", "userspace_exits", "context_switches")
# Parts beyond these are drawn as one: a stack of twenty slivers says nothing.
LARGEST = 5
OTHERS = "others"
# Who pays CPU time or instructions keeps one colour in every figure.
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

    The median of the sums need not be the sum of the medians: ``median`` is the figure that
    tables and other figures give as well, ``total`` is where the bar ends.
    """

    parts: tuple[CostSummary, ...]
    median: float

    def of(self, part: str) -> float:
        """How long the piece of ``part`` is."""
        return sum(each.summary.median for each in self.parts if each.part == part)

    def beside(self, kept: Collection[str]) -> float:
        """How long all pieces but those of ``kept`` are together."""
        return sum(each.summary.median for each in self.parts if each.part not in kept)

    @property
    def total(self) -> float:
        """Where the bar ends."""
        return sum(each.summary.median for each in self.parts)


def costs(
    *results: Result,
    workload: str = "tcp_up",
    per: Per = "packet",
    shown: Sequence[str] = SHOWN,
) -> go.Figure:
    """Stacked bars of what each packet (or megabyte) cost, a panel for each kind of cost.

    Every part is the median of its trials; the figure at the end of a bar is the median of all
    parts together. Costs that no result counted are left out.

    Raises:
        UsageError: no result, unlike clocks, a workload that was not run, or no cost counted.
    """
    lines = style.notice(results)
    stacks = {name: [_stack(result, workload, per, name) for result in results] for name in shown}
    stacks = {name: found for name, found in stacks.items() if any(s.parts for s in found)}
    if not stacks:
        raise UsageError(
            f"None of the costs {', '.join(shown)} was counted in the workload `{workload}`."
        )
    figure = go.Figure()
    heads = [_head_px(found) for found in stacks.values()]
    rows_px = ROW_PX * len(results)
    plot_px = sum(heads) + rows_px * len(stacks)
    top_px = plot_px
    for number, (name, found) in enumerate(stacks.items()):
        first_px = top_px - heads[number]
        top_px = first_px - rows_px
        domain = (max(0.0, top_px / plot_px), first_px / plot_px)
        _panel(figure, name, found, results, number + 1, domain, per)
    traffic = names.workload(workload)
    return style.finish(
        figure,
        title=f"What {names.PER[per]} costs ({traffic})",
        lines=lines,
        plot_px=plot_px,
        head_px=0,
        bottom_px=16,
    )


def _head_px(stacks: Sequence[_Stack]) -> int:
    """Room for a panel's heading and its legend, of which a long one takes several lines."""
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
    per: Per,
) -> None:
    """One cost: its heading, its legend, a stacked bar for each result."""
    suffix = "" if number == 1 else str(number)
    parts = _parts(stacks)
    kept = set(parts) - {OTHERS}
    unit = next(each.unit for stack in stacks for each in stack.parts)
    for index, part in enumerate(parts):
        values = [stack.beside(kept) if part == OTHERS else stack.of(part) for stack in stacks]
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
    """The figure at the end of each bar."""
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
                "ticktext": [style.wrapped(label) for label in named_by_host(results)],
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
            text.lines(label, f"{part}: {names.number(value)} {unit}")
            for label, value in zip(named_by_host(results), values, strict=True)
        ],
        hoverinfo="text",
        legend=f"legend{suffix}",
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
        showlegend=True,
    )


def _spare(index: int) -> str:
    """A colour for a part that is no role; roles keep theirs for themselves in their panels."""
    return style.PALETTE[index % (len(style.PALETTE) - 1)]


def _parts(stacks: Sequence[_Stack]) -> list[str]:
    """The parts worth a colour over all results, the largest first, and one for the rest."""
    weight: dict[str, float] = {}
    for stack in stacks:
        for each in stack.parts:
            share = each.summary.median / (stack.total or 1.0)
            weight[each.part] = max(weight.get(each.part, 0.0), share)
    ordered = sorted((p for p in weight if weight[p] > 0), key=lambda p: -weight[p])
    if len(ordered) <= LARGEST + 1 or ROLES.keys() >= set(ordered):
        return ordered
    return [*ordered[:LARGEST], OTHERS]
