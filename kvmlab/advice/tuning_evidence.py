"""Evidence from the tuning atlas: what settings at hand cost, by what the doctor found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from kvmlab.doctor import Verdict
from kvmlab.facts import Rule
from kvmlab.report import names
from kvmlab.results.atlas import COLUMNS, Atlas, AtlasRow, TuningEffect

if TYPE_CHECKING:
    from kvmlab.doctor import Diagnosis

#: The tuning of the atlas that a rule's warning is about.
TUNING_OF: Final[Mapping[Rule, str]] = {
    Rule.BRIDGE_NETFILTER_COST: "br-netfilter=on",
    Rule.VHOST_IOMMU: "viommu=strict",
    Rule.MAIN_LOOP_DESCRIPTORS: "serial-ports=31",
    Rule.VIRTIO_SETTINGS: "offloads=off",
    Rule.RING_DROPS: "rx-ring=64",
}


def evidence_of(diagnosis: Diagnosis, atlas: Atlas) -> tuple[str, ...]:
    """Return a sentence for each warning whose tuning the atlas has: you have X, it says Y."""
    return tuple(_sentences(diagnosis, atlas))


def _sentences(diagnosis: Diagnosis, atlas: Atlas) -> Iterator[str]:
    rows = {row.tuning: row for row in atlas.measured}
    for finding in diagnosis.findings:
        row = rows.get(TUNING_OF.get(finding.rule, ""))
        if row is not None and finding.verdict in (Verdict.WARNING, Verdict.PROBLEM):
            yield f"{finding.observed} {says(row, atlas)}"


def says(row: AtlasRow, atlas: Atlas) -> str:
    """Return what the atlas says of a tuning, in one sentence."""
    effects = {column: row.effect(column) for column in COLUMNS}
    words = [
        f"{column} {names.number(effect.ratio)} times"
        for column, effect in effects.items()
        if _is_told(effect) and effect is not None and effect.ratio is not None
    ]
    where = "an embedded host" if atlas.emulated else atlas.host
    if not words:
        return f"The atlas shows no difference for {row.tuning} on {where}."
    return (
        f"The atlas says of {row.tuning} on {where}: {', '.join(words)} that without it "
        f"({atlas.scheme}, {row.trials} trials)."
    )


def _is_told(effect: TuningEffect | None) -> bool:
    return effect is not None and effect.shown
