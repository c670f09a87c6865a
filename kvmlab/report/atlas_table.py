"""The tuning atlas as a table, as folds that show who paid, and as a page of Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmlab.errors import UsageError
from kvmlab.language import _, current_language
from kvmlab.rendering import template
from kvmlab.report import names
from kvmlab.report.atlas_figure import paid
from kvmlab.report.published_overlay import cited
from kvmlab.results.atlas import COLUMNS, Atlas, AtlasRow, TuningEffect
from kvmlab.results.published import published_of

if TYPE_CHECKING:
    import pandas as pd

_EMPTY = "–"
_HEADS = {
    "en": {
        "tuning": "tuning",
        "throughput": "throughput",
        "round trip": "round trip",
        "exits": "exits per MB",
        "instructions": "instructions per MB",
        "does": "what it does",
        "use": "when to use it",
        "elsewhere": "what real hosts add",
        "published": "published",
    },
    "zh-CN": {
        "tuning": "调优项",
        "throughput": "吞吐量",
        "round trip": "往返时间",
        "exits": "每 MB 的退出",
        "instructions": "每 MB 的指令",
        "does": "作用",
        "use": "何时使用",
        "elsewhere": "真实宿主机上还有什么",
        "published": "已发表的数值",
    },
}


def atlas(data: Atlas, *, language: str | None = None) -> pd.DataFrame:
    """Return one row a tuning: its ratios, what it does and when to use it, what others say.

    That is what real hosts add, and figures that were published, with their source.

    A ratio in brackets is one that shows no difference. Rows that were refused come last, with
    the reason. ``language`` is "en" or "zh-CN", by default the reader's.

    Raises:
        UsageError: the atlas is empty.
    """
    import pandas as pd

    from kvmlab.report.dataframe import WholeFrame

    if not data.rows:
        raise UsageError("The atlas has no rows.")
    language = language or current_language()
    heads = _HEADS["zh-CN" if language.startswith("zh") else "en"]
    rows = [_row(row, heads, language) for row in (*data.measured, *data.refused)]
    return WholeFrame(pd.DataFrame(rows).set_index(heads["tuning"]))


def _row(row: AtlasRow, heads: dict[str, str], language: str) -> dict[str, str]:
    words = row.text(language)
    cells = {heads["tuning"]: row.tuning}
    for column in COLUMNS:
        cells[heads[column]] = ratio(row.effect(column))
    cells[heads["does"]] = words.does
    if row.refused:
        refusal = _("{cost} ({part})").format(cost=words.does, part=_(row.refused))
        cells[heads["does"]] = refusal
    cells[heads["use"]] = words.use
    cells[heads["elsewhere"]] = words.elsewhere
    cells[heads["published"]] = "; ".join(published_figures(row)) or _EMPTY
    return cells


def published_figures(row: AtlasRow) -> list[str]:
    """Return what was published about a tuning, each figure with its source."""
    figures = published_of(row.tuning)
    return [names.valued(figure.value, cited(figure)) for figure in figures]


def atlases(*data: Atlas) -> pd.DataFrame:
    """Return atlases side by side: a row for each tuning that all measured, their ratios.

    Ratios compare across hosts where speeds do not: each is against its own host's scheme.

    Raises:
        UsageError: there is no atlas.
    """
    import pandas as pd

    from kvmlab.report.dataframe import WholeFrame

    if not data:
        raise UsageError("There is no atlas to show.")
    first, *others = data
    names_of = [{row.tuning for row in other.measured} for other in others]
    rows = [row for row in first.measured if all(row.tuning in known for known in names_of)]
    frame = pd.DataFrame(
        [
            {
                "tuning": row.tuning,
                **{
                    f"{column}, {each.host}": ratio(each.row(row.tuning).effect(column))
                    for column in COLUMNS
                    for each in data
                },
            }
            for row in rows
        ]
    )
    return WholeFrame(frame.set_index("tuning") if rows else frame)


def ratio(effect: TuningEffect | None) -> str:
    """Return a ratio for a table: a dash where none was measured, in brackets if not shown."""
    if effect is None or effect.ratio is None:
        return _EMPTY
    number = names.number(effect.ratio)
    return number if effect.shown else f"({number})"


@dataclass(frozen=True)
class AtlasFolds:
    """The rows of an atlas as folds: a line each, and behind it who paid."""

    data: Atlas
    language: str = "en"

    def _repr_html_(self) -> str:
        rows = [
            {
                "tuning": row.tuning,
                "title": row.text(self.language).title,
                "ratios": " · ".join(
                    f"{_HEADS[self._heads][column]} {ratio(row.effect(column))}"
                    for column in COLUMNS
                ),
                "does": row.text(self.language).does,
                "figures": figures_of(row),
                "bills": bills_of(row),
            }
            for row in self.data.measured
        ]
        return template("kvmlab.report", "atlas_folds.html.j2").render(rows=rows)

    @property
    def _heads(self) -> str:
        return "zh-CN" if self.language.startswith("zh") else "en"

    def __str__(self) -> str:
        return "\n".join(
            f"{row.tuning}: {'; '.join(paid(row, name))}"
            for row in self.data.measured
            for name in row.workloads[:1]
        )


def figures_of(row: AtlasRow) -> list[dict[str, str]]:
    """Return what each workload measures first, without the tuning and with it, as words."""
    effects = [effect for name in row.workloads if (effect := row.main(name)) is not None]
    return [
        {
            "workload": effect.workload,
            "metric": names.metric(effect.metric, effect.workload),
            "change": f"{names.number(effect.baseline)} → {names.number(effect.current)}",
            "unit": effect.unit,
            "ratio": ratio(effect),
        }
        for effect in effects
    ]


def bills_of(row: AtlasRow) -> list[dict[str, Any]]:
    """Return who paid in each workload, part by part: per packet and per megabyte, as words."""
    return [
        {
            "workload": name,
            "title": names.workload(name),
            "unit": bill[0].unit.partition("/")[0],
            "parts": [
                {
                    "part": payer.part,
                    "packet": f"{names.number(payer.baseline)} → {names.number(payer.current)}",
                    "megabyte": megabytes.get((name, payer.part), _EMPTY),
                }
                for payer in bill
            ],
        }
        for megabytes in [_per_megabyte(row)]
        for name in row.workloads
        if (bill := row.bill(name))
    ]


def _per_megabyte(row: AtlasRow) -> dict[tuple[str, str], str]:
    return {
        (payer.workload, payer.part): f"{names.number(payer.baseline)} → "
        f"{names.number(payer.current)}"
        for payer in row.payers
        if payer.per == "megabyte"
    }


def folds(data: Atlas, *, language: str | None = None) -> AtlasFolds:
    """Return the measured rows as folds: who paid, workload by workload."""
    return AtlasFolds(data, language or current_language())


def markdown(data: Atlas, *, command: str) -> str:
    """Return the atlas as a page: figures, sentences, who paid, pairs, what was refused.

    ``command`` is the one that measured it, which the page names.
    """
    rows = [
        {
            "tuning": row.tuning,
            "place": row.place,
            "ratios": [ratio(row.effect(column)) for column in COLUMNS],
            "words": row.text(),
            "by_workload": [ratio(row.main(name)) for name in data.workloads],
            "figures": figures_of(row),
            "bills": bills_of(row),
            "against": row.against,
            "published": published_of(row.tuning),
            "trials": row.trials,
        }
        for row in data.measured
    ]
    refused = [(row.tuning, row.refused) for row in data.refused]
    return template("kvmlab.report", "atlas.md.j2").render(
        atlas=data, rows=rows, refused=refused, command=command, number=names.number, ratio=ratio
    )
