"""The lab: a host with its test VM and its cable, opened by one line."""

from kvmlab.lab.embedded_host import EMBEDDED_CABLE, connect, preparation
from kvmlab.lab.host_session import parse_vm
from kvmlab.lab.lab import EMBEDDED, Lab, open_lab, parse_clock, visit_lab
from kvmlab.lab.result_store import SavedResults

__all__ = [
    "EMBEDDED",
    "EMBEDDED_CABLE",
    "Lab",
    "SavedResults",
    "connect",
    "open_lab",
    "parse_clock",
    "parse_vm",
    "preparation",
    "visit_lab",
]
