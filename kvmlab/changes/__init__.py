"""Changes to a host: plans, steps with their undo, the journal, the guard. Nothing else writes."""

from kvmlab.changes.change import Change
from kvmlab.changes.guard import Refusal, check, protected_interfaces
from kvmlab.changes.lock import locked
from kvmlab.changes.nic import Nic
from kvmlab.changes.plan import Plan
from kvmlab.changes.ports import VFIO, keep_port, put_back, take_port
from kvmlab.changes.recovery import BRIDGE_MAC_PREFIX, Leftover, leftovers, restore
from kvmlab.changes.sharing import common_steps, prepared
from kvmlab.changes.steps import AttachInterface, Command, ConfigureGuest, HostStep, Setting, Step

__all__ = [
    "BRIDGE_MAC_PREFIX",
    "VFIO",
    "AttachInterface",
    "Change",
    "Command",
    "ConfigureGuest",
    "HostStep",
    "Leftover",
    "Nic",
    "Plan",
    "Refusal",
    "Setting",
    "Step",
    "check",
    "common_steps",
    "keep_port",
    "leftovers",
    "locked",
    "prepared",
    "protected_interfaces",
    "put_back",
    "restore",
    "take_port",
]
