"""Guidance beyond a ranking: Windows guests, and migration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kvmlab.advice.candidates import Candidate, Kind
from kvmlab.advice.model import Exclusion, MigrationAnswer
from kvmlab.results.migration import TRAFFIC_TEXTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmlab.facts import HostFacts
    from kvmlab.results.migration_figures import MigrationFigures

WINDOWS: Final = (
    "The article: e1000 for a Windows guest at low load, no macvtap. Today: virtio with a current "
    "NetKVM driver (virtio-win) at any load.",
    "Where NetKVM drops packets or hangs, update it first; then switch LSO, then RSC off in the "
    "adapter's properties, and measure after each.",
    "If trouble stays, the fallback is e1000e and not e1000: a PCI Express card that Windows knows "
    "since Windows 8.",
    "macvtap on Windows was slow because of the host's GRO (2012); trouble with LSO remains. Do "
    "not rule it out: measure, then switch LSO off.",
    "Several queues have made Windows guests slower (kvm-guest-drivers-windows issue 237: 4.3 to "
    "2.3 Gb/s with 16 queues): begin with one.",
)
_VFIO_VENDORS: Final = {
    "0x15b3": "mlx5-vfio-pci",
    "0x1dd8": "pds-vfio-pci",
}
_VDPA_VENDORS: Final = {"0x15b3": "mlx5_vdpa"}


def migration_answers(
    facts: HostFacts,
    candidates: Sequence[Candidate],
    excluded: Sequence[Exclusion],
    migrations: Sequence[MigrationFigures] = (),
) -> tuple[MigrationAnswer, ...]:
    """Return the four answers to the migration question, each judged for this host.

    ``migrations`` that were measured stand beside the answer that they belong to.
    """
    schemes = {"teaming": "vf-teaming"}
    return tuple(
        replace(
            answer,
            measured=tuple(
                _measured(one)
                for one in migrations
                if one.scheme == schemes.get(answer.id, answer.id)
            ),
        )
        for answer in _answers(facts, candidates, excluded)
    )


def _measured(migration: MigrationFigures) -> str:
    does, remedy = TRAFFIC_TEXTS[migration.traffic], migration.remedy
    hole, downtime = round(migration.hole_ms), migration.downtime_ms
    figures = (
        f"Measured with the remedy {remedy}: a VM that {does} was out of reach for {hole} ms, with "
        f"{downtime} ms of downtime."
        if remedy
        else f"Measured: a VM that {does} was out of reach for {hole} ms, with {downtime} ms of "
        "downtime."
    )
    source = f"The source of these figures: {migration.source}."
    return f"{figures} {source}" if migration.source else figures


def _answers(
    facts: HostFacts, candidates: Sequence[Candidate], excluded: Sequence[Exclusion]
) -> tuple[MigrationAnswer, ...]:
    return (
        _pair(
            "teaming",
            "A teaming pair",
            "A virtio card with <teaming type='persistent'/> stands by beside the VF with <teaming "
            "type='transient'/>. libvirt unplugs the VF before the migration and plugs one in at "
            "its end; the guest's virtio_net moves the traffic over. Where the card is on a "
            "bridge, switch learning off at its port (`bridge link set dev PORT learning off`), "
            "or packets for the VM are lost from the unplug on.",
            "libvirt 6.1, QEMU 4.2, a Linux guest 4.18. Both cards share one MAC; where VF and "
            "standby share a port, the standby must not be on a bridge (that port has VFs).",
            Kind.TEAMING,
            "vf-teaming",
            candidates,
            excluded,
        ),
        _pair(
            "macvtap-on-vf",
            "macvtap in passthrough mode on a VF",
            "The VF stays with the host's own driver, and the VM gets a virtio card over a macvtap "
            "that has this VF for itself: for libvirt an ordinary card, which migrates.",
            "A VF on the other host under the same name (or a network with <forward "
            "mode='passthrough'>); packets pass vhost again, so some of the VF's gain is given up.",
            Kind.MACVTAP_ON_VF,
            "macvtap-on-vf",
            candidates,
            excluded,
        ),
        _vendor(
            facts,
            "vfio-migration",
            "VFIO device migration",
            "The vendor's VFIO driver saves and loads the state of the VF itself.",
            "QEMU 8.1, a card and firmware whose vendor has such a driver, equal cards on both "
            "hosts.",
            _VFIO_VENDORS,
        ),
        _vendor(
            facts,
            "vdpa",
            "vDPA",
            "The card speaks virtio's own data path; the guest sees virtio, and only control goes "
            "through the host (<interface type='vdpa'>).",
            "A card with vDPA (ConnectX-6 Dx and later, for example), libvirt 6.9.",
            _VDPA_VENDORS,
        ),
    )


def _pair(
    answer: str,
    title: str,
    how: str,
    needs: str,
    kind: Kind,
    scheme: str,
    candidates: Sequence[Candidate],
    excluded: Sequence[Exclusion],
) -> MigrationAnswer:
    candidate = next((item for item in candidates if item.kind is kind), None)
    if candidate is not None:
        return MigrationAnswer(
            answer, title, how, needs, True, "This host can.", candidate.interface_xml
        )
    why = next((item.reason for item in excluded if item.scheme == scheme), "")
    return MigrationAnswer(answer, title, how, needs, False, why)


def _vendor(
    facts: HostFacts,
    answer: str,
    title: str,
    how: str,
    needs: str,
    vendors: dict[str, str],
) -> MigrationAnswer:
    """Judge an answer that depends on the card: the vendor alone does not prove the model."""
    drivers = {vendors[port.vendor_id] for port in facts.ports if port.vendor_id in vendors}
    if not drivers:
        return MigrationAnswer(
            answer, title, how, needs, False, "No card of this host is of a vendor with a driver."
        )
    names = ", ".join(sorted(drivers))
    return MigrationAnswer(
        answer, title, how, needs, None, f"The vendor has {names}; whether this model can is not "
        "seen from here."
    )  # fmt: skip
