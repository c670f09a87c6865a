"""Changes to a host: plans, steps with their undo, the journal, the guard. Nothing else writes."""

from kvmlab.changes import operations
from kvmlab.changes.change import Change, in_place
from kvmlab.changes.channels import Channels, read_channels, set_channels
from kvmlab.changes.config_files import ConfigFile, install, uninstall
from kvmlab.changes.guard import Refusal, check, protected_interfaces
from kvmlab.changes.guest_state import SetGuestState
from kvmlab.changes.host_lock import LabState, break_lock, read_lab_state
from kvmlab.changes.host_snapshot import HostSnapshot
from kvmlab.changes.host_state import HostState
from kvmlab.changes.lab_lock import locked
from kvmlab.changes.nic import Nic
from kvmlab.changes.plan import Plan
from kvmlab.changes.ports import (
    VFIO,
    await_link,
    keep_port,
    put_back,
    take_port,
)
from kvmlab.changes.recovery import BRIDGE_MAC_PREFIX, Leftover, leftovers, restore
from kvmlab.changes.settings import read_settings
from kvmlab.changes.shared_steps import common_steps, prepared
from kvmlab.changes.steps import (
    AttachInterface,
    Command,
    ConfigureGuest,
    GuestSetting,
    HostStep,
    RestartVm,
    Setting,
    Step,
    TuneGuest,
)

__all__ = [
    "BRIDGE_MAC_PREFIX",
    "VFIO",
    "AttachInterface",
    "Change",
    "Channels",
    "Command",
    "ConfigFile",
    "ConfigureGuest",
    "GuestSetting",
    "HostSnapshot",
    "HostState",
    "HostStep",
    "LabState",
    "Leftover",
    "Nic",
    "Plan",
    "Refusal",
    "RestartVm",
    "SetGuestState",
    "Setting",
    "Step",
    "TuneGuest",
    "await_link",
    "break_lock",
    "check",
    "common_steps",
    "in_place",
    "install",
    "keep_port",
    "leftovers",
    "locked",
    "operations",
    "prepared",
    "protected_interfaces",
    "put_back",
    "read_channels",
    "read_lab_state",
    "read_settings",
    "restore",
    "set_channels",
    "take_port",
    "uninstall",
]
