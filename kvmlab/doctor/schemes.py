"""Which schemes a host can do: asked of the schemes themselves, so that both say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.doctor.model import SchemeFinding
from kvmlab.schemes.catalogue import CATALOGUE, attempt

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts


def judge_schemes(facts: HostFacts) -> tuple[SchemeFinding, ...]:
    """One finding for each scheme of the catalogue, in the article's order."""
    found = []
    for scheme in CATALOGUE:
        tried = attempt(scheme, facts)
        found.append(
            SchemeFinding(
                scheme=scheme.id,
                label=scheme.label,
                possible=tried.possible,
                rule=tried.rule,
                found=tried.message,
                fix=tried.todo,
            )
        )
    return tuple(found)
