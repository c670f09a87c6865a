"""The adviser: one pure function over facts, a need, and results where there are some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvmlab.advice.candidates import Candidate, candidates
from kvmlab.advice.evidence import Evidence, weigh
from kvmlab.advice.guidance import WINDOWS, migration_answers
from kvmlab.advice.model import Advice, Recommendation
from kvmlab.advice.needs import GuestOs, Load, Need
from kvmlab.advice.rules import reasons, ruled_out
from kvmlab.advice.tuning_evidence import evidence_of
from kvmlab.results import Result
from kvmlab.results.atlas import Atlas
from kvmlab.results.migration_figures import MigrationEvidence

if TYPE_CHECKING:
    from kvmlab.doctor import Diagnosis
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable
    from kvmlab.results.migration_figures import MigrationFigures


def advise(
    facts: HostFacts,
    *,
    guest_os: str = GuestOs.LINUX,
    load: str = Load.BULK,
    density: int = 1,
    migration: bool = False,
    results: Sequence[Result] | None = None,
    migrations: Sequence[MigrationFigures] | None = None,
    cable: Cable | None = None,
    diagnosis: Diagnosis | None = None,
) -> Advice:
    """Rank the schemes for this host, this guest and this load, with reasons and XML.

    A recommendation is always something that the host can do now: each scheme's own plan is asked.
    There is always one, if only QEMU's user network.

    Args:
        facts: an inspection of the host.
        guest_os: "linux", "linux-cloud" (a kernel without igbvf), "windows" or "legacy" (no
            virtio driver).
        load: "light", "bulk", "latency" or "packets".
        density: how many VMs share the port.
        migration: the VMs must be able to migrate.
        results: what was measured on such a host; it counts beside the stated rules.
        diagnosis: what the doctor found; the notes then say what the tuning atlas knows of it.
        migrations: figures of measured ones (`measured_migrations`), as evidence for a VM that
            must migrate; left out, those that ship with kvmlab.
        cable: the port to use; left out, the host's cable under test, or a port that is free.

    Raises:
        UsageError: a word or number that the adviser does not know, or results of unlike clocks.
    """
    need = Need.of(guest_os, load, density, migration)
    offered, excluded = candidates(facts, need, cable)
    verdicts = [(candidate, ruled_out(candidate, need, facts)) for candidate in offered]
    possible = [candidate for candidate, why in verdicts if why is None]
    evidence = weigh(results or (), need.load, [candidate.scheme for candidate in possible])
    ranked, rule_points = _ranked(possible, need, facts, evidence)
    if migrations is None:
        migrations = MigrationEvidence.shipped().figures if need.migration else ()
    return Advice(
        host=facts.label,
        emulated=facts.emulated,
        need=need,
        recommendations=ranked,
        excluded=(*(why for _, why in verdicts if why is not None), *excluded),
        contradictions=evidence.contradictions(rule_points),
        migration=migration_answers(facts, offered, excluded, migrations),
        guidance=WINDOWS if need.guest_os is GuestOs.WINDOWS else (),
        notes=(
            *_notes(facts, need, results),
            *(evidence_of(diagnosis, Atlas.shipped()) if diagnosis is not None else ()),
        ),
    )


def _ranked(
    possible: Sequence[Candidate], need: Need, facts: HostFacts, evidence: Evidence
) -> tuple[tuple[Recommendation, ...], list[tuple[str, str, int]]]:
    """Rank candidates by points; return the points of the stated rules beside."""
    ranking = []
    rule_points = []
    for candidate in possible:
        applicable = reasons(candidate, need, facts)
        rule_points.append(
            (candidate.scheme, candidate.label, sum(reason.points for reason in applicable))
        )
        measured = evidence.reason(candidate.scheme)
        applicable = (*applicable, measured) if measured is not None else applicable
        ranking.append((sum(reason.points for reason in applicable), candidate, applicable))
    # Simple schemes come first among equals: the order of `possible` is kept.
    ranking.sort(key=lambda entry: -entry[0])
    return tuple(
        Recommendation(
            rank=rank,
            scheme=candidate.scheme,
            label=candidate.label,
            points=points,
            reasons=applicable,
            evidence=evidence.sentences.get(candidate.scheme, ()),
            interface_xml=candidate.interface_xml,
            steps=candidate.steps,
        )
        for rank, (points, candidate, applicable) in enumerate(ranking, start=1)
    ), rule_points


def _notes(facts: HostFacts, need: Need, results: Sequence[Result] | None) -> tuple[str, ...]:
    notes = []
    if not facts.kvm.usable:
        notes.append(f"KVM does not run guests here, so that VMs are emulated: {facts.kvm.reason}")
    if facts.libvirt.problem:
        notes.append(f"libvirt does not answer, and is needed: {facts.libvirt.problem}")
    if results is None or not any(result.trials for result in results):
        notes.append("Nothing was measured: the ranking rests on the stated rules alone.")
    elif any(result.emulated for result in results):
        notes.append(
            "What was measured comes from an emulated host: it shows what a packet costs, not how "
            "fast hardware is."
        )
    if any(port.sriov_numvfs for port in facts.ports):
        notes.append(
            "A port of this host has VFs now: no bridge on it, for its VMs would lose packets."
        )
    if need.density > facts.cpu.logical_cpus:
        notes.append(
            f"{need.density} VMs share {facts.cpu.logical_cpus} CPUs, and each vhost worker is a "
            "thread among theirs."
        )
    return tuple(notes)
