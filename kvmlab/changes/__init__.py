"""Changes to a host: plans, steps with their undo, the journal, the guard. Nothing else writes."""

from kvmlab.changes.change import Change, in_place
from kvmlab.changes.channels import Channels, read_channels, set_channels
from kvmlab.changes.guard import Refusal, check, protected_interfaces
from kvmlab.changes.installing import ConfigFile, install, uninstall
from kvmlab.changes.lock import locked
from kvmlab.changes.nic import Nic
from kvmlab.changes.plan import Plan
from kvmlab.changes.ports import (
    VFIO,
    await_link,
    await_link_again,
    keep_port,
    put_back,
    take_port,
)
from kvmlab.changes.recovery import BRIDGE_MAC_PREFIX, Leftover, leftovers, restore
from kvmlab.changes.sharing import common_steps, prepared
from kvmlab.changes.steps import AttachInterface, Command, ConfigureGuest, HostStep, Setting, Step

__all__ = [
    "BRIDGE_MAC_PREFIX",
    "VFIO",
    "AttachInterface",
    "Change",
    "Channels",
    "Command",
    "ConfigFile",
    "ConfigureGuest",
    "HostStep",
    "Leftover",
    "Nic",
    "Plan",
    "Refusal",
    "Setting",
    "Step",
    "await_link",
    "await_link_again",
    "check",
    "common_steps",
    "in_place",
    "install",
    "keep_port",
    "leftovers",
    "locked",
    "prepared",
    "protected_interfaces",
    "put_back",
    "read_channels",
    "restore",
    "set_channels",
    "take_port",
    "uninstall",
]
