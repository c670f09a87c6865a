"""The test VM: declared XML, lifecycle, hot-plug, guest agent."""

from kvmlab.domain.agent import GuestAgent
from kvmlab.domain.threads import VmThreads
from kvmlab.domain.vm import LAB_VM_NAME, TestVM

__all__ = ["LAB_VM_NAME", "GuestAgent", "TestVM", "VmThreads"]
