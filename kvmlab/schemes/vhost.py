"""vhost_net: the back end of virtio in the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.errors import Unavailable
from kvmlab.facts import ModuleState, Rule

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts


def load_vhost(facts: HostFacts) -> tuple[HostStep, ...]:
    """Return the step that loads vhost_net; none where it is loaded.

    Raises:
        Unavailable: this kernel has no vhost_net.
    """
    state = facts.modules.get("vhost_net", ModuleState.MISSING)
    if state is ModuleState.MISSING:
        raise Unavailable(
            f"The kernel {facts.kernel.release} of {facts.label} has no vhost_net, so there is no "
            "/dev/vhost-net. libvirt would silently let QEMU move the packets.",
            rule=Rule.VHOST_NET_MISSING,
            todo="Install the kernel package that has it (cloud kernels often leave it out), then "
            "`modprobe vhost_net`.",
        )
    if state is not ModuleState.AVAILABLE:
        return ()
    return (
        HostStep(
            what="Load vhost_net: the kernel then offers /dev/vhost-net.",
            setting=Setting("/sys/module/vhost_net", None, "present"),
            do=(Command(("modprobe", "vhost_net")),),
            undo=(operations.unload_module("vhost_net"),),
            below_device=True,
        ),
    )
