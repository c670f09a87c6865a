"""Evidence of the atlas beside what the doctor found: you have X, the atlas says Y."""

from __future__ import annotations

from dataclasses import replace

from kvmlab.advice import advise
from kvmlab.advice.tuning_evidence import TUNINGS_OF, evidence_of, says
from kvmlab.doctor import Diagnosis, Finding, Verdict
from kvmlab.facts import Rule
from kvmlab.results.atlas import Atlas
from kvmlab.tunings import tuning_from_text
from tests.advice.builders import embedded
from tests.results.test_atlas import ATLAS

SLOW = Finding(Rule.VIRTIO_SETTINGS, Verdict.WARNING, "XML", "vm1: host tso4=off costs CPU time.")
GOOD = Finding(Rule.BRIDGE_NETFILTER_COST, Verdict.OK, "sysctl", "Bridged packets pass.")


def with_row(name: str) -> Atlas:
    """Return an atlas in which the slow row has another name."""
    return replace(ATLAS, rows=(replace(ATLAS.row("guest-tso=off"), tuning=name),))


def test_a_warning_is_told_with_what_the_atlas_has_of_it() -> None:
    (sentence,) = evidence_of(Diagnosis("kvm1", None, (SLOW, GOOD)), with_row("offloads=off"))
    assert sentence.startswith("vm1: host tso4=off costs CPU time. The atlas says of offloads=off")
    assert "throughput 0.250 times" in sentence
    assert "on an embedded host" in sentence


def test_what_is_well_or_not_in_the_atlas_is_not_told() -> None:
    assert evidence_of(Diagnosis("kvm1", None, (GOOD,)), with_row("br-netfilter=on")) == ()
    assert evidence_of(Diagnosis("kvm1", None, (SLOW,)), ATLAS) == ()


def test_no_difference_is_said_as_such() -> None:
    assert "shows no difference" in says(ATLAS.row("event-idx=off"), ATLAS)


def test_every_rule_leads_to_a_tuning_that_there_is() -> None:
    for name in (name for tunings in TUNINGS_OF.values() for name in tunings.values()):
        assert str(tuning_from_text(name)) == name


def test_the_adviser_notes_it() -> None:
    diagnosis = Diagnosis("kvm1", None, (SLOW,))
    advice = advise(embedded(), diagnosis=diagnosis)
    assert any("The atlas says of offloads=off" in note for note in advice.notes)
