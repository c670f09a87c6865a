"""Apply and undo the steps that change a VM: a hot-plugged device, a persistent definition."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from kvmlab.changes.guest_state import SetGuestState, undo_guest_state
from kvmlab.changes.migration_step import MigrateVm
from kvmlab.changes.migration_undo import Homecoming, bring_home
from kvmlab.changes.steps import (
    AttachInterface,
    DefineInterface,
    GuestSetting,
    RestartVm,
    Step,
)
from kvmlab.domain import TestVM
from kvmlab.domain.persistent_xml import controllers_of, defined_without, is_defined, same
from kvmlab.errors import (
    DomainNotFound,
    HostUnreachable,
    HotplugFailed,
    Refused,
    StepFailed,
    Unavailable,
)
from kvmlab.facts import Rule

if TYPE_CHECKING:
    from kvmlab.hosts import Host

_VHOST_NODE: Final = "/dev/vhost-net"
_BOOT_SEC: Final = 300
_GUEST_SEC: Final = 60


def attach(step: AttachInterface, vm: TestVM) -> float:
    """Hot-plug the step's device; return the seconds from the call to libvirt's event.

    Raises:
        HotplugFailed: libvirt or QEMU refused it, or no event came.
        Unavailable: vhost was requested, and no vhost worker serves the device.
    """
    workers_before = len(vm.threads().vhost) if step.vhost_workers else 0
    started = time.monotonic()
    try:
        vm.attach(step.interface_xml)
    except HotplugFailed as error:
        if step.vhost_workers and not _has_vhost(vm):
            raise _no_vhost(vm, f"{_VHOST_NODE} is missing on {vm.host.label}.") from error
        raise
    attach_sec = time.monotonic() - started
    if step.vhost_workers:
        workers = len(vm.threads().vhost) - workers_before
        if workers < step.vhost_workers:
            raise _no_vhost(
                vm,
                f"The interface was attached to {vm.name}, but {workers} of {step.vhost_workers} "
                "vhost workers appeared: libvirt fell back to QEMU.",
            )
    return attach_sec


def undo(
    step: Step, host: Host, vm: TestVM | None = None, *, settle: bool = False
) -> bool | Homecoming:
    """Undo a step of the VM; return False where there was nothing to undo.

    The undo of a migration says how the VM came home.

    Without ``vm`` the step's own domain is looked up. ``settle`` waits for the end of a hot-plug
    that may still be under way.

    Raises:
        HotplugFailed: the guest does not release the device.
        LibvirtFailed: libvirt rejects the definition.
    """
    if isinstance(step, DefineInterface):
        return undefine(step, host, vm)
    if isinstance(step, SetGuestState):
        return _undo_in_guest(step, host, vm)
    if isinstance(step, RestartVm):
        return _restart_back(step, host, vm)
    if isinstance(step, GuestSetting):
        return _write_back(step, host, vm)
    if isinstance(step, MigrateVm):
        return bring_home(step, host)
    return isinstance(step, AttachInterface) and _detach(step, host, vm, settle=settle)


def restart(step: RestartVm, vm: TestVM) -> None:
    """Start the VM anew with the step's definition, and wait for its agent.

    Raises:
        Refused: the domain is not the lab's own.
        LibvirtFailed: libvirt or QEMU rejects the definition.
        AgentTimeout: the VM's agent did not answer in time.
    """
    _start_with(step.new_xml, vm)


def _start_with(xml: str, vm: TestVM) -> None:
    if not vm.is_lab:
        raise Refused(
            f"{vm.name} would have to be started anew, and was not made by kvmlab.",
            rule=Rule.NOT_THE_LABS_DOMAIN,
            todo="Use the lab's own VM, or leave that tuning out.",
        )
    vm.stop()
    vm.redefine(xml)
    vm.start()
    vm.agent.ping(timeout_sec=_BOOT_SEC)


def _restart_back(step: RestartVm, host: Host, vm: TestVM | None) -> bool:
    """Start the VM with its old definition; return False where it runs with that."""
    machine = vm if vm is not None else TestVM.find(host, step.domain)
    if same(machine.xml(inactive=True), step.old_xml):
        # The definition is the last thing that changes before the VM starts.
        machine.start()
        return False
    _start_with(step.old_xml, machine)
    return True


def write_in_guest(path: str, text: str, vm: TestVM) -> None:
    """Write a file inside the VM, and read it again.

    Raises:
        StepFailed: the guest's kernel did not take the text.
    """
    argv = ("sh", "-c", 'echo "$2" > "$1"; cat "$1"', "write", path, text)
    done = vm.agent.run(argv, timeout_sec=_GUEST_SEC, check=False)
    if done.stdout.strip() != text:
        raise StepFailed(
            f"{path} inside {vm.name} reads {done.stdout.strip() or 'nothing'} after {text} was "
            "written.",
            evidence=done.stderr[-2000:],
        )


def _write_back(step: GuestSetting, host: Host, vm: TestVM | None) -> bool:
    """Write the old text inside the VM; return False where it stands there already."""
    try:
        machine = vm if vm is not None else TestVM.find(host, step.domain)
    except DomainNotFound:
        return False
    if machine.state != "running":
        return False  # a VM that starts has its own defaults
    now = machine.agent.run(("cat", step.path), timeout_sec=_GUEST_SEC, check=False).stdout.strip()
    if now == step.old:
        return False
    write_in_guest(step.path, step.old, machine)
    return True


def undefine(step: DefineInterface, host: Host, vm: TestVM | None = None) -> bool:
    """Remove a device from the persistent definition; return False where it was absent.

    The definition is then byte for byte what it was, unless somebody else changed it since; other
    people's changes stay.

    Raises:
        LibvirtFailed: libvirt rejects the definition.
    """
    try:
        machine = vm if vm is not None else TestVM.find(host, step.domain)
    except DomainNotFound:
        return False  # it was undefined, and its device with it
    visible = machine.xml(inactive=True)
    if not machine.is_persistent or not is_defined(visible, step.mac):
        return False
    controllers = controllers_of(step.before_xml) if step.before_xml else None
    without = defined_without(visible, step.mac, controllers=controllers)
    untouched = bool(step.before_xml) and same(without, step.before_xml)
    complete = machine.xml(inactive=True, secrets=True)
    machine.redefine(
        defined_without(complete, step.mac, controllers=controllers if untouched else None)
    )
    return True


def _undo_in_guest(step: SetGuestState, host: Host, vm: TestVM | None) -> bool:
    try:
        machine = vm if vm is not None else TestVM.find(host, step.domain)
    except DomainNotFound:
        return False
    # A VM that was shut off has forgotten it.
    return machine.state == "running" and undo_guest_state(step, machine)


def _detach(step: AttachInterface, host: Host, vm: TestVM | None, *, settle: bool) -> bool:
    """Unplug the interface; return False where it was absent."""
    try:
        machine = vm if vm is not None else TestVM.find(host, step.domain)
    except DomainNotFound:
        return False  # a transient domain that ended took its interface along
    try:
        return machine.detach(step.alias, settle=settle)
    except HostUnreachable:
        # libvirtd may have been restarted; the host opens a new connection to it.
        return TestVM.find(host, step.domain).detach(step.alias, settle=settle)


def _has_vhost(vm: TestVM) -> bool:
    return vm.host.run(("test", "-c", _VHOST_NODE), timeout_sec=60, check=False).returncode == 0


def _no_vhost(vm: TestVM, finding: str) -> Unavailable:
    return Unavailable(
        f"{finding} The kernel's virtio back end was requested.",
        rule=Rule.VHOST_NET_MISSING,
        todo="Load it on the host: `modprobe vhost_net`; QEMU must be allowed to open "
        f"{_VHOST_NODE}.",
    )
