"""Changes to a host: plans, steps with their undo, the journal, the guard. Nothing else writes."""

from kvmlab.changes.change import Change
from kvmlab.changes.nic import Nic
from kvmlab.changes.plan import Plan
from kvmlab.changes.recovery import Leftover, leftovers, restore
from kvmlab.changes.steps import AttachInterface, Command, ConfigureGuest, HostStep, Setting, Step

__all__ = [
    "AttachInterface",
    "Change",
    "Command",
    "ConfigureGuest",
    "HostStep",
    "Leftover",
    "Nic",
    "Plan",
    "Setting",
    "Step",
    "leftovers",
    "restore",
]
