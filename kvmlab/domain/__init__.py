"""The test VM: declared XML, lifecycle, hot-plug, guest agent."""

from kvmlab.domain.agent import GuestAgent
from kvmlab.domain.description import LAB_NAMESPACE, LAB_VM_NAME, Domain, LabVm
from kvmlab.domain.diff import diff_of_attaching, unified
from kvmlab.domain.interface import HostDevice, Interface, PciAddress, alias_for
from kvmlab.domain.network import LAB_POOL, LAB_TAP_POOL, Network
from kvmlab.domain.nodedev import NodeDevice, NodeTree, node_device, node_tree
from kvmlab.domain.schema import validate
from kvmlab.domain.ssh_guest import SshGuest
from kvmlab.domain.threads import VmThreads
from kvmlab.domain.vm import TestVM

__all__ = [
    "LAB_NAMESPACE",
    "LAB_POOL",
    "LAB_TAP_POOL",
    "LAB_VM_NAME",
    "Domain",
    "GuestAgent",
    "HostDevice",
    "Interface",
    "LabVm",
    "Network",
    "NodeDevice",
    "NodeTree",
    "PciAddress",
    "SshGuest",
    "TestVM",
    "VmThreads",
    "alias_for",
    "diff_of_attaching",
    "node_device",
    "node_tree",
    "unified",
    "validate",
]
