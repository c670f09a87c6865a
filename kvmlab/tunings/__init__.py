"""Tunings: settings beside a scheme, each an object with its values, its default and its undo."""

from kvmlab.tunings.base import Target, Tuning, TuningPlace
from kvmlab.tunings.registry import (
    TUNINGS,
    split_id,
    surveyed,
    tuned,
    tuned_scheme_from_text,
    tuning_from_text,
    values_of,
)
from kvmlab.tunings.tuned_scheme import TunedScheme

__all__ = [
    "TUNINGS",
    "Target",
    "TunedScheme",
    "Tuning",
    "TuningPlace",
    "split_id",
    "surveyed",
    "tuned",
    "tuned_scheme_from_text",
    "tuning_from_text",
    "values_of",
]
