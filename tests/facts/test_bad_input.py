"""Output that is cut short, in another language or plain nonsense: never a traceback."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvmlab.errors import KvmlabError, OutputError
from kvmlab.facts import HostFacts, inspect
from kvmlab.facts.connections import parse_connections
from kvmlab.hosts import Cable, RecordedRunner, Reply, parse_output
from kvmlab.schemes.feasibility import attempt
from kvmlab.schemes.registry import CATALOGUE
from tests.facts.recorded_host import load, recorded_host

FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
#: What a tool may print in the place of what is expected.
ODD = st.one_of(
    st.just(""),
    st.just("Kommando nicht gefunden\n"),
    st.just("[]"),
    st.just("null"),
    st.just("{}"),
    st.just('[{"ifname": 7}]'),
    st.just("\x00\x00"),
    st.text(max_size=40),
)


@pytest.fixture(scope="module")
def replies(data: Path) -> tuple[Reply, ...]:
    return RecordedRunner.load(data / "facts" / "embedded.json")._replies


def looked_at(replies: tuple[Reply, ...]) -> HostFacts | None:
    """Return the inspection of a host that answers so, or none where kvmlab says why not."""
    try:
        return inspect(recorded_host(RecordedRunner(replies)), prove_kvm=False)
    except KvmlabError as error:
        texts = error.message
    assert texts.endswith("."), texts
    return None


def planned(facts: HostFacts) -> None:
    """Every scheme is planned, or refused with a rule."""
    for scheme in CATALOGUE:
        attempted = attempt(scheme, facts)
        assert attempted.possible or (attempted.rule and attempted.message.endswith("."))


@FEW
@given(share=st.floats(0, 1))
def test_an_answer_that_was_cut_short(replies: tuple[Reply, ...], share: float) -> None:
    first = max(replies, key=lambda reply: len(reply.stdout))
    cut = replace(first, stdout=first.stdout[: int(len(first.stdout) * share)])
    facts = looked_at(tuple(cut if item is first else item for item in replies))
    if facts is not None:
        planned(facts)


@FEW
@given(body=ODD, number=st.integers(0, 200))
def test_a_section_with_something_else_in_it(
    replies: tuple[Reply, ...], body: str, number: int
) -> None:
    first = max(replies, key=lambda reply: len(reply.stdout))
    names = [section.name for section in parse_output(first.stdout).sections]
    name = names[number % len(names)]
    head, mark, rest = first.stdout.partition(f"=== {name}\n")
    _, end, tail = rest.partition("\n=== exit ")
    text = f"{head}{mark}{body}{end}{tail}"
    facts = looked_at(
        tuple(replace(item, stdout=text) if item is first else item for item in replies)
    )
    if facts is not None:
        str(facts)
        json.dumps(facts.to_dict())
        planned(facts)


@FEW
@given(text=st.text(max_size=200))
def test_connections_of_any_text(text: str) -> None:
    with suppress(OutputError):
        parse_connections(text)


def without(facts: HostFacts, *what: str) -> HostFacts:
    """Return the same host without an IOMMU, SR-IOV, vhost or macvtap."""
    changes: dict[str, object] = {}
    if "iommu" in what:
        changes["iommu"] = replace(facts.iommu, units=(), groups=())
    if "sriov" in what:
        changes["ports"] = tuple(
            replace(port, sriov_totalvfs=None, sriov_numvfs=None) for port in facts.ports
        )
    names = {"vhost": "vhost_net", "macvtap": "macvtap", "vfio": "vfio_pci"}
    missing = {names[item] for item in what if item in names}
    if missing:
        state = type(next(iter(facts.modules.values())))("missing")
        changes["modules"] = {**facts.modules, **dict.fromkeys(missing, state)}
    return replace(facts, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "scheme", "rule"),
    [
        ("iommu", "sriov-vf", "iommu-off"),
        ("sriov", "sriov-vf", "sriov-missing"),
        ("vhost", "virtio-vhost", "vhost-net-missing"),
        ("macvtap", "macvtap", "module-missing"),
        ("vfio", "sriov-vf", "module-missing"),
    ],
)
def test_a_host_without(data: Path, what: str, scheme: str, rule: str) -> None:
    facts = inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)
    lacking = without(facts, what)
    cable = Cable("p2p1", "192.0.2.10/24", "192.0.2.1/24")
    attempted = next(attempt(item, lacking, cable) for item in CATALOGUE if item.id == scheme)
    assert (attempted.possible, attempted.rule) == (False, rule)
    assert attempted.todo
    planned(lacking)
