"""The lab itself: a host with its test VM and its cable, opened by one line."""

from kvmlab.lab.cards import CARDS
from kvmlab.lab.embedding import EMBEDDED_WIRE, connect, preparation
from kvmlab.lab.keeping import Kept
from kvmlab.lab.lab import Lab
from kvmlab.lab.opening import EMBEDDED, as_clock, open_lab

__all__ = [
    "CARDS",
    "EMBEDDED",
    "EMBEDDED_WIRE",
    "Kept",
    "Lab",
    "as_clock",
    "connect",
    "open_lab",
    "preparation",
]
