"""Evidence from the tuning atlas: what settings at hand cost, by what the doctor found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from kvmlab.doctor import Verdict
from kvmlab.facts import Rule
from kvmlab.report import names
from kvmlab.results.atlas import COLUMNS, Atlas, AtlasRow

if TYPE_CHECKING:
    from kvmlab.doctor import Diagnosis

#: The tunings of the atlas that a rule's warning may be about, each with words of that warning; ""
#: stands for any.
TUNINGS_OF: Final[Mapping[Rule, Mapping[str, str]]] = {
    Rule.BRIDGE_NETFILTER_COST: {"": "br-netfilter=on"},
    Rule.VHOST_IOMMU: {"": "viommu=strict"},
    Rule.MAIN_LOOP_DESCRIPTORS: {"": "serial-ports=31"},
    Rule.VIRTIO_SETTINGS: {"": "offloads=off"},
    Rule.RING_DROPS: {"": "rx-ring=64"},
    Rule.SHORT_RING: {"": "rx-ring=64"},
    Rule.INTERRUPT_THROTTLING: {"": "port-rx-usecs=500"},
    Rule.PORT_OFFLOADS: {
        "tx-checksum": "port-tx-checksum=off",
        "tx-tcp-segmentation": "port-tso=off",
        "generic-receive": "port-gro=off",
    },
    Rule.GUEST_OFFLOADS: {
        "tx-checksum": "guest-tx-checksum=off",
        "tx-tcp-segmentation": "guest-tso=off",
        "rx-gro-hw": "large-receive=off",
        "generic-receive": "guest-gro=off",
    },
    Rule.PACKET_CAPTURE: {"": "tcpdump=whole"},
    Rule.BOUNCE_BUFFERS: {"": "swiotlb=force"},
    Rule.GENERIC_XDP: {"": "port-xdp=generic"},
    Rule.VHOST_ZEROCOPY: {"": "zerocopy=on"},
    Rule.X2APIC_MISSING: {"": "x2apic=off"},
}
_COLUMN_WORKLOADS: Final = frozenset(workload for _, workload in COLUMNS.values())


def evidence_of(diagnosis: Diagnosis, atlas: Atlas) -> tuple[str, ...]:
    """Return a sentence for each warning whose tuning the atlas has: you have X, it says Y."""
    return tuple(_sentences(diagnosis, atlas))


def _sentences(diagnosis: Diagnosis, atlas: Atlas) -> Iterator[str]:
    rows = {row.tuning: row for row in atlas.measured}
    for finding in diagnosis.findings:
        if finding.verdict not in (Verdict.WARNING, Verdict.PROBLEM):
            continue
        tunings = TUNINGS_OF.get(finding.rule, {})
        named = (tuning for words, tuning in tunings.items() if words in finding.observed)
        known = [rows[tuning] for tuning in named if tuning in rows]
        if known:
            yield " ".join((finding.observed, *(says(row, atlas) for row in known)))


def says(row: AtlasRow, atlas: Atlas) -> str:
    """Return what the atlas says of a tuning, in one sentence.

    It names the four columns, and what other workloads measure first, where an effect is shown.
    """
    effects = {column: row.effect(column) for column in COLUMNS}
    for name in row.workloads:
        main = row.main(name)
        if main is not None and name not in _COLUMN_WORKLOADS:
            effects[names.metric(main.metric, main.workload)] = main
    words = [
        f"{what} {names.number(effect.ratio)} times"
        for what, effect in effects.items()
        if effect is not None and effect.shown and effect.ratio is not None
    ]
    where = "an embedded host" if atlas.emulated else atlas.host
    if not words:
        return f"The atlas shows no difference for {row.tuning} on {where}."
    return (
        f"The atlas says of {row.tuning} on {where}: {', '.join(words)} that without it "
        f"({atlas.scheme}, measured on {atlas.measured_on})."
    )
