"""The adviser: schemes ranked for a host and a need, with reasons, evidence and XML."""

from kvmlab.advice.adviser import advise
from kvmlab.advice.model import (
    Advice,
    Exclusion,
    MigrationAnswer,
    Reason,
    Recommendation,
)
from kvmlab.advice.needs import GuestOs, Load, Need

__all__ = [
    "Advice",
    "Exclusion",
    "GuestOs",
    "Load",
    "MigrationAnswer",
    "Need",
    "Reason",
    "Recommendation",
    "advise",
]
