"""Plugging a device into the VM, and proof that the back end asked for serves it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from kvmlab.changes.steps import AttachInterface
from kvmlab.errors import HotplugFailed, Unavailable
from kvmlab.facts import Rule

if TYPE_CHECKING:
    from kvmlab.domain import TestVM

_VHOST_NODE: Final = "/dev/vhost-net"


def plug_in(step: AttachInterface, vm: TestVM) -> float:
    """Attach the step's device; returns the seconds from the call to libvirt's event.

    Raises:
        HotplugFailed: libvirt or QEMU refused it, or no event came.
        Unavailable: vhost was asked for, and no worker of the kernel's serves the device.
    """
    before = len(vm.threads().vhost) if step.vhost_workers else 0
    started = time.monotonic()
    try:
        vm.attach(step.interface_xml)
    except HotplugFailed as error:
        if step.vhost_workers and not _has_vhost(vm):
            raise _no_vhost(vm, f"{_VHOST_NODE} is missing on {vm.host.label}.") from error
        raise
    attach_sec = time.monotonic() - started
    if step.vhost_workers:
        new = len(vm.threads().vhost) - before
        if new < step.vhost_workers:
            raise _no_vhost(
                vm,
                f"The interface was attached to {vm.name}, but {new} of {step.vhost_workers} "
                "vhost workers appeared: libvirt fell back to QEMU.",
            )
    return attach_sec


def _has_vhost(vm: TestVM) -> bool:
    return vm.host.run(("test", "-c", _VHOST_NODE), timeout_sec=60, check=False).returncode == 0


def _no_vhost(vm: TestVM, found: str) -> Unavailable:
    return Unavailable(
        f"{found} The kernel's back end of virtio was asked for.",
        rule=Rule.VHOST_NET_MISSING,
        todo="Load it on the host: `modprobe vhost_net`; QEMU must be allowed to open "
        f"{_VHOST_NODE}.",
    )
