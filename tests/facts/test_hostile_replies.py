"""Hosts that answer nonsense: inspection, doctor, plans and adviser end with errors of their own.

The replies of recorded hosts, of `tests/data/hosts` and of real machines, are mutated with a fixed
seed (`tests.facts.mutations`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from kvmlab.advice import advise
from kvmlab.changes import Command, HostStep, Setting, check, protected_interfaces
from kvmlab.doctor import judge
from kvmlab.doctor.findings_input import FindingsInput
from kvmlab.doctor.guest import parse_guest
from kvmlab.doctor.local_environment import LocalEnvironment
from kvmlab.doctor.running_vms import RunningVm, parse_vm
from kvmlab.doctor.symptoms import Symptoms, parse_symptoms
from kvmlab.errors import KvmlabError
from kvmlab.facts import HostFacts, inspect
from kvmlab.facts.libvirt import parse_domain_use
from kvmlab.hosts import Host, HostKind, RecordedRunner, Reply, parse_output
from kvmlab.schemes.feasibility import attempt
from kvmlab.schemes.registry import CATALOGUE
from kvmlab.terminal import visible
from tests.facts.host_builder import Description, described, recorded_host
from tests.facts.mutations import mutated

DATA = Path(__file__).resolve().parents[1] / "data"
FILES = sorted((DATA / "hosts").glob("*.yaml"))
RECORDINGS = sorted((DATA / "facts").glob("*.json"))
QUICK, ALL = 300, 3000
STEP = HostStep("Touch.", Setting("/sys/x", None, "1"), (Command(("true",)),), ())
ENVIRONMENT = LocalEnvironment("/python3", "python", True, "/plotly.min.js", "8.1", "3.0", True)


@cache
def descriptions() -> tuple[Description, ...]:
    return tuple(map(described, FILES))


@cache
def recorded(path: Path) -> tuple[Reply, ...]:
    return RecordedRunner.load(path)._replies


def hostile_host(chance: random.Random) -> tuple[Host, tuple[str, ...]]:
    """Return a host of which a reply, its exit code or a VM is altered, and its VMs."""
    vms: tuple[str, ...] = ()
    if chance.random() < 0.8:
        description = chance.choice(descriptions())
        host = recorded_host(description)
        assert isinstance(host.runner, RecordedRunner)
        replies = host.runner._replies
        vms = tuple(description.get("vms", ()))
    else:
        replies = recorded(chance.choice(RECORDINGS))
    place = chance.randrange(len(replies)) if chance.random() < 0.2 else 0
    changed = [*replies]
    reply = replies[place]
    if chance.random() < 0.05:
        changed[place] = replace(reply, returncode=chance.choice((1, 127, 255, -9)))
    else:
        changed[place] = replace(reply, stdout=mutated(reply.stdout, chance))
    if vms and chance.random() < 0.3:
        vms = tuple(mutated(text, chance) for text in vms)
    runner = RecordedRunner(changed, name="hostile")
    return Host(
        spec="recorded", kind=HostKind.RECORDED, label="hostile", runner=runner,
        libvirt_uri="test:///default",
    ), vms  # fmt: skip


def use(host: Host, vms: tuple[str, ...], symptoms: Symptoms) -> bool:
    """Use a host as inspect, doctor, plan and adviser do; return whether it could be inspected."""
    try:
        with host:
            facts = inspect(host)
        domains = tuple(map(parse_domain_use, vms))
        running = tuple(map(parse_vm, vms))
    except KvmlabError as error:
        visible(str(error)).encode()
        return False
    facts = replace(facts, libvirt=replace(facts.libvirt, domains=domains))
    for step in _sound(facts, running, symptoms):
        try:
            step()
        except KvmlabError as error:
            str(error)
    return True


def _sound(
    facts: HostFacts, vms: tuple[RunningVm, ...], symptoms: Symptoms
) -> Iterator[Callable[[], object]]:
    yield lambda: visible(str(facts)).encode()
    yield facts._repr_html_
    yield lambda: json.dumps(facts.to_dict(), allow_nan=False)
    yield lambda: protected_interfaces(facts)
    names = tuple(link.name for link in facts.links) + tuple(port.address for port in facts.ports)
    yield lambda: check([replace(STEP, touches=names)], facts)
    yield lambda: judge(FindingsInput(facts, symptoms, environment=ENVIRONMENT, vms=vms)).to_dict()
    for scheme in CATALOGUE:
        yield lambda scheme=scheme: str(attempt(scheme, facts).plan)  # type: ignore[misc]
    yield lambda: str(advise(facts))
    yield lambda: str(advise(facts, load="latency", migration=True))


@pytest.mark.parametrize(
    "count", [QUICK, pytest.param(ALL, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_no_reply_of_a_host_makes_a_traceback(count: int) -> None:
    symptoms = parse_symptoms(parse_output((DATA / "doctor/symptoms-pf-down.txt").read_text()))
    inspected = 0
    for seed in range(count):
        chance = random.Random(seed)
        try:
            inspected += use(*hostile_host(chance), symptoms)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    # Most mutations are survived: what can be read is read.
    assert count * 0.3 < inspected < count * 0.95


@pytest.mark.parametrize(
    ("name", "parse"),
    [
        ("symptoms-pf-down.txt", lambda text: parse_symptoms(parse_output(text))),
        ("guest-virtio.txt", lambda text: parse_guest("vm", text)),
        ("domain-virtio.xml", parse_vm),
        ("domain-virtio.xml", parse_domain_use),
    ],
    ids=["symptoms", "guest", "running-vm", "domain-use"],
)
@pytest.mark.parametrize("count", [QUICK, pytest.param(ALL, marks=pytest.mark.slow)])
def test_what_the_doctor_reads(name: str, parse: Callable[[str], object], count: int) -> None:
    text = (DATA / "doctor" / name).read_text()
    for seed in range(count):
        try:
            parse(mutated(text, random.Random(seed)))
        except KvmlabError:
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
