"""Which scheme for whom: ranked, with reasons, measured evidence and the XML to write."""

from kvmlab.advice.advising import advise
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
