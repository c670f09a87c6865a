"""The doctor: read a host once, then judge every rule. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.changes import leftovers
from kvmlab.doctor import (
    rules_host,
    rules_kernels,
    rules_local,
    rules_performance,
    rules_ports,
    rules_sriov,
    rules_vms,
)
from kvmlab.doctor.findings_input import FindingsInput, Judge
from kvmlab.doctor.guest import read_guest
from kvmlab.doctor.local_environment import read_local_environment
from kvmlab.doctor.model import Diagnosis, Finding
from kvmlab.doctor.running_vms import read_vms
from kvmlab.doctor.schemes import judge_schemes
from kvmlab.doctor.symptoms import read_symptoms
from kvmlab.errors import HostError
from kvmlab.facts import Rule, inspect

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Host

JUDGES: Final[tuple[Judge, ...]] = (
    *rules_host.JUDGES,
    *rules_ports.JUDGES,
    *rules_sriov.JUDGES,
    *rules_vms.JUDGES,
    *rules_performance.JUDGES,
    *rules_kernels.JUDGES,
    *rules_local.JUDGES,
)
#: Rules that only a plan or a VM in the making can meet.
ELSEWHERE: Final = frozenset(
    {
        Rule.EMBEDDED_KVM,
        Rule.EMBEDDED_ARCHITECTURE,
        Rule.CONNECTIONS,
        Rule.LAB_VM_IMAGE,
        Rule.NO_CONSENT,
        Rule.NOT_THE_LABS_DOMAIN,
        Rule.NOT_THE_NAMED_DOMAIN,
        Rule.VF_OPTION_UNSUPPORTED,
        Rule.TUNING_UNAVAILABLE,
    }
)


def examine(host: Host, *, facts: HostFacts | None = None, vm: TestVM | None = None) -> Diagnosis:
    """Judge ``host`` by every rule.

    Args:
        host: an open host.
        facts: an inspection of just now; one is made where it is left out.
        vm: a running VM to look into through its agent; without one its rules do not apply.

    Raises:
        HostUnreachable, CommandTimeout: the host cannot be read.
        OutputError: a tool printed something unknown.
    """
    return judge(read_findings_input(host, facts=facts, vm=vm))


def read_findings_input(
    host: Host, *, facts: HostFacts | None = None, vm: TestVM | None = None
) -> FindingsInput:
    """Read everything that the rules ask for, in a few round trips. Raises as `examine` does."""
    inspection = facts if facts is not None else inspect(host)
    vms, unread = read_vms(host)
    return FindingsInput(
        facts=inspection,
        symptoms=read_symptoms(host, inspection),
        vms=vms,
        vms_unread=unread,
        guest=read_guest(vm) if vm is not None else None,
        environment=read_local_environment(),
        leftovers=_leftovers(host),
    )


def judge(readings: FindingsInput) -> Diagnosis:
    """Return every rule's verdict in the order of :class:`Rule`; asks the host nothing more."""
    order = {rule: place for place, rule in enumerate(Rule)}
    findings: list[Finding] = [rule(readings) for rule in JUDGES]
    return Diagnosis(
        label=readings.facts.label,
        emulated=readings.facts.emulated,
        findings=tuple(sorted(findings, key=lambda finding: order[finding.rule])),
        schemes=judge_schemes(readings.facts),
    )


def _leftovers(host: Host) -> tuple[str, ...]:
    try:
        return tuple(left.what for left in leftovers(host))
    except HostError as error:
        return (f"Whether something was left could not be read: {error.message}",)
