"""Findings on schemes, asked of the schemes themselves so that both say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.doctor.model import SchemeFinding
from kvmlab.schemes.feasibility import attempt
from kvmlab.schemes.registry import CATALOGUE

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts


def judge_schemes(facts: HostFacts) -> tuple[SchemeFinding, ...]:
    """Return one finding for each scheme of the catalogue, in the article's order."""
    findings = []
    for scheme in CATALOGUE:
        attempted = attempt(scheme, facts)
        findings.append(
            SchemeFinding(
                scheme=scheme.id,
                label=scheme.label,
                possible=attempted.possible,
                rule=attempted.rule,
                observed=attempted.message,
                fix=attempted.todo,
            )
        )
    return tuple(findings)
