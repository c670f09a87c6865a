"""The doctor: read a host once, then judge every rule. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvmlab.changes import leftovers
from kvmlab.doctor import judging_desk, judging_host, judging_ports, judging_sriov, judging_vms
from kvmlab.doctor.case import Case, Judge
from kvmlab.doctor.desk import read_desk
from kvmlab.doctor.domains import read_vms
from kvmlab.doctor.guest import read_guest
from kvmlab.doctor.model import Diagnosis, Finding
from kvmlab.doctor.schemes import judge_schemes
from kvmlab.doctor.symptoms import read_symptoms
from kvmlab.errors import HostError
from kvmlab.facts import Rule, inspect

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Host

JUDGES: Final[tuple[Judge, ...]] = (
    *judging_host.JUDGES,
    *judging_ports.JUDGES,
    *judging_sriov.JUDGES,
    *judging_vms.JUDGES,
    *judging_desk.JUDGES,
)
#: Rules that only a plan or a VM in the making can meet.
ELSEWHERE: Final = frozenset(
    {
        Rule.EMBEDDED_KVM,
        Rule.CONNECTIONS,
        Rule.LAB_VM_IMAGE,
        Rule.NO_CONSENT,
        Rule.NOT_THE_LABS_DOMAIN,
        Rule.NOT_THE_NAMED_DOMAIN,
    }
)


def examine(host: Host, *, facts: HostFacts | None = None, vm: TestVM | None = None) -> Diagnosis:
    """Look at ``host`` with every rule.

    Args:
        host: an open host.
        facts: an inspection of just now; one is made where it is left out.
        vm: a running VM to look into through its agent; without one its rules do not apply.

    Raises:
        HostUnreachable, CommandTimeout: the host cannot be read.
        OutputError: a tool printed something unknown.
    """
    return judge(read_case(host, facts=facts, vm=vm))


def read_case(host: Host, *, facts: HostFacts | None = None, vm: TestVM | None = None) -> Case:
    """Read everything that the rules ask for, in a few round trips. Raises as `examine` does."""
    seen = facts if facts is not None else inspect(host)
    vms, unread = read_vms(host)
    return Case(
        facts=seen,
        symptoms=read_symptoms(host, seen),
        vms=vms,
        vms_unread=unread,
        guest=read_guest(vm) if vm is not None else None,
        desk=read_desk(),
        leftovers=_leftovers(host),
    )


def judge(case: Case) -> Diagnosis:
    """The verdict of every rule, in the order of :class:`Rule`; asks the host nothing more."""
    order = {rule: place for place, rule in enumerate(Rule)}
    findings: list[Finding] = [rule(case) for rule in JUDGES]
    return Diagnosis(
        label=case.facts.label,
        emulated=case.facts.emulated,
        findings=tuple(sorted(findings, key=lambda found: order[found.rule])),
        schemes=judge_schemes(case.facts),
    )


def _leftovers(host: Host) -> tuple[str, ...]:
    try:
        return tuple(left.what for left in leftovers(host))
    except HostError as error:
        return (f"Whether something was left could not be read: {error.message}",)
