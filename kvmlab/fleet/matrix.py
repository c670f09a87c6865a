"""One page for a fleet: hosts × checks or hosts × metrics, outliers named, a section per host."""

from __future__ import annotations

import base64
import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from kvmlab.directories import write_atomically
from kvmlab.errors import KvmlabError, UsageError, reason_of
from kvmlab.fleet.host_job import HostOutcome
from kvmlab.fleet.rollout import FleetRecord
from kvmlab.rendering import template
from kvmlab.report import names
from kvmlab.results import load

PAGE: Final = "fleet.html"
_LEAST_HOSTS: Final = 4
_OUTLIER_SCORE: Final = 3.5
"""Of the modified z-score (Iglewicz and Hoaglin 1993, who recommend 3.5)."""
_OUTLIER_SHARE: Final = 0.05
_MAD_TO_SIGMA: Final = 1.4826
_HEADLINES: Final = (
    "tcp_up_mbps",
    "tcp_down_mbps",
    "rtt_p50_us",
    "udp_delivered_pps",
    "vm_exits_per_packet",
    "cpu_us_per_packet",
)


@dataclass(frozen=True)
class MatrixCell:
    """One value of the matrix; ``kind`` is its CSS class: a verdict, "outlier" or ""."""

    text: str
    kind: str = ""
    title: str = ""


@dataclass(frozen=True)
class Matrix:
    """A table of the fleet: a row for each host, a column for each check or metric."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[MatrixCell, ...]], ...]
    outliers: tuple[str, ...] = field(default=())


def write_matrix(record: FleetRecord) -> Path:
    """Write the page of a rollout into its folder and return its path.

    Raises:
        UsageError: the page cannot be written.
    """
    matrices = [matrix for matrix in (checks(record), metrics(record)) if matrix.columns]
    style = files("kvmlab.fleet").joinpath("templates", "fleet.css").read_text(encoding="utf-8")
    text = template("kvmlab.fleet", "fleet.html.j2").render(
        style=Markup(style),
        style_hash=Markup(base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()),
        record=record,
        matrices=matrices,
        counts=_counts(record),
        reports={name: _report(record, name) for name in record.hosts},
    )
    path = record.folder / PAGE
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(
            f"The page cannot be written to {path}: {reason_of(error)}.",
            todo="Free some space, then write it anew with `kvmlab fleet report FOLDER`.",
        ) from error
    return path


def checks(record: FleetRecord) -> Matrix:
    """Return hosts × doctor's rules; rules that are ok or do not apply everywhere are left out."""
    verdicts: dict[str, dict[str, tuple[str, str]]] = {}
    for name, outcome in record.outcomes.items():
        findings = _document(outcome).get("findings")
        if isinstance(findings, list):
            verdicts[name] = {
                str(finding.get("rule")): (
                    str(finding.get("verdict")),
                    str(finding.get("found", "")),
                )
                for finding in findings
                if isinstance(finding, dict)
            }
    rules = [
        rule
        for rule in dict.fromkeys(rule for by_rule in verdicts.values() for rule in by_rule)
        if any(by_rule.get(rule, ("", ""))[0] not in _QUIET for by_rule in verdicts.values())
    ]
    rows = tuple(
        (name, tuple(_check(by_rule.get(rule)) for rule in rules))
        for name, by_rule in verdicts.items()
    )
    return Matrix("Checks", tuple(rules), rows)


def metrics(record: FleetRecord) -> Matrix:
    """Return hosts × the medians of headline metrics per scheme; outliers are marked and named."""
    medians: dict[str, dict[str, float]] = {}
    for name in record.hosts:
        values = _medians(record.folder_of(name))
        if values:
            medians[name] = values
    columns = tuple(dict.fromkeys(key for values in medians.values() for key in values))
    odd = {
        column: _outliers(
            {name: values[column] for name, values in medians.items() if column in values}
        )
        for column in columns
    }
    rows = tuple(
        (name, tuple(_metric(values.get(column), odd[column].get(name)) for column in columns))
        for name, values in medians.items()
    )
    sentences = tuple(
        f"{name}: {column} is {names.number(medians[name][column])}, {share:+.0%} from the "
        "fleet's median"
        for column in columns
        for name, share in odd[column].items()
    )
    return Matrix("Metrics", columns, rows, sentences)


_QUIET: Final = ("ok", "not applicable", "")


def _check(verdict: tuple[str, str] | None) -> MatrixCell:
    if verdict is None:
        return MatrixCell("–", title="not checked")
    word, message = verdict
    signs = {"ok": "✓", "problem": "✗", "warning": "!", "unknown": "?", "not applicable": "–"}
    return MatrixCell(signs.get(word, word), word.replace(" ", "-"), f"{word}: {message}")


def _metric(value: float | None, share: float | None) -> MatrixCell:
    if value is None:
        return MatrixCell("–", title="not measured")
    if share is None:
        return MatrixCell(names.number(value))
    return MatrixCell(names.number(value), "outlier", f"{share:+.0%} from the fleet's median")


def _outliers(values: Mapping[str, float]) -> dict[str, float]:
    """Return the hosts that stand out, with their distance from the median as a share of it.

    >>> _outliers({"a": 100, "b": 101, "c": 99, "d": 100, "e": 60})
    {'e': -0.4}
    """
    if len(values) < _LEAST_HOSTS:
        return {}
    middle = statistics.median(values.values())
    if not middle:
        return {}
    spread = _MAD_TO_SIGMA * statistics.median(abs(v - middle) for v in values.values())
    return {
        name: value / middle - 1
        for name, value in values.items()
        if abs(value / middle - 1) > _OUTLIER_SHARE
        and abs(value - middle) > _OUTLIER_SCORE * spread
    }


def _medians(folder: Path) -> dict[str, float]:
    """Return the median of each headline metric, by "scheme label, metric"."""
    values: dict[str, float] = {}
    for path in sorted(folder.glob("**/results.json")):
        try:
            results = load(path.parent)
        except KvmlabError:
            continue
        for result in results:
            for workload in result.workloads:
                for metric in _HEADLINES:
                    try:
                        median = result.summary(metric, workload).median
                    except UsageError:
                        continue
                    key = f"{result.label}: {names.metric(metric, workload)}"
                    values.setdefault(key, median)
    return values


def _report(record: FleetRecord, name: str) -> str:
    """Return the relative address of a host's own report, "" where it has none."""
    pages = sorted(record.folder_of(name).glob("**/report.html"))
    return pages[0].relative_to(record.folder).as_posix() if pages else ""


def _document(outcome: HostOutcome) -> Mapping[str, Any]:
    try:
        document = json.loads(outcome.stdout)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _counts(record: FleetRecord) -> Sequence[tuple[str, int]]:
    kinds = [str(record.outcomes[name].status) for name in record.hosts if name in record.outcomes]
    return [(kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)]
