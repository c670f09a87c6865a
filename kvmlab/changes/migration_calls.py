"""Libvirt's view of a VM that migrates; a domain that has just ended is an answer, no error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from kvmlab.deadline import until
from kvmlab.domain import TestVM
from kvmlab.errors import (
    DomainNotFound,
    HostError,
    HostUnreachable,
    LibvirtFailed,
    StepFailed,
    Unavailable,
)
from kvmlab.hosts import Host, libvirt_client
from kvmlab.stored_files import parse_json

ACTIVE: Final = ("running", "idle", "paused", "in shutdown", "suspended")
POLL_SEC: Final = 0.25
#: A migration that nobody waits for is cancelled, or moves on, within this time.
SETTLE_SEC: Final = 60.0
#: Libvirt that is started anew with a VM in the middle of a migration, on a busy machine.
_RESTART_SEC: Final = 120.0


def call(vm: TestVM, function: Callable[..., Any], *args: Any) -> Any:
    """Call libvirt for the VM. Raises as `libvirt_client.call` does."""
    return libvirt_client.call(function, *args, what=f"migrate {vm.name}", host=vm.host.label)


def find_patiently(host: Host, name: str) -> TestVM:
    """Find the domain, also where libvirt is just being started again.

    Raises:
        DomainNotFound: libvirt answers, and does not know it.
        HostUnreachable, Unavailable: no answer for two minutes.
    """
    deadline = time.monotonic() + _RESTART_SEC
    while True:
        try:
            return TestVM.find(host, name)
        except (HostUnreachable, Unavailable):
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_SEC)


def find_active(host: Host, name: str) -> TestVM | None:
    """Return the active domain of that name."""
    try:
        vm = TestVM.find(host, name)
    except DomainNotFound:
        return None
    return vm if state_of(vm) in ACTIVE else None


def state_of(vm: TestVM) -> str:
    """Return the domain's state; "gone" for one that has just ended and left no definition."""
    try:
        return vm.state
    except DomainNotFound:
        return "gone"


def is_in_post_copy(home: TestVM) -> bool:
    """Return whether the VM went on at the destination, and left a part of its memory here."""
    library = libvirt_client.library()
    reasons = (library.VIR_DOMAIN_PAUSED_POSTCOPY, library.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)
    state, reason = _state_and_reason(home)
    return state == library.VIR_DOMAIN_PAUSED and reason in reasons


def awaits_memory(away: TestVM) -> bool:
    """Return whether the VM went on here, and libvirt still waits for a part of its memory."""
    library = libvirt_client.library()
    reasons = (library.VIR_DOMAIN_RUNNING_POSTCOPY, library.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
    state, reason = _state_and_reason(away)
    return state == library.VIR_DOMAIN_RUNNING and (reason in reasons or _is_arriving(away))


def _is_arriving(away: TestVM) -> bool:
    """Return whether the migration to here goes on; it ends a moment after its memory is there."""
    try:
        call(away, away.handle.jobStats, 0)
    except LibvirtFailed as error:
        return bool(error.code == libvirt_client.library().VIR_ERR_OPERATION_UNSUPPORTED)
    except DomainNotFound:
        return False
    return False


def misses_memory(away: TestVM) -> bool:
    """Return whether the VM went on here, and has lost its connection to the rest of its memory."""
    library = libvirt_client.library()
    failed = (library.VIR_DOMAIN_RUNNING, library.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
    return _state_and_reason(away) == failed


def _state_and_reason(vm: TestVM) -> tuple[int, int]:
    """Return libvirt's numbers of them; (-1, -1) for a domain that is gone."""
    try:
        state, reason = call(vm, vm.handle.state)
    except DomainNotFound:
        return -1, -1
    return state, reason


def destroy(vm: TestVM) -> None:
    """End the domain, if it runs."""
    try:
        vm.stop()
    except DomainNotFound:
        return
    except LibvirtFailed:
        if state_of(vm) in ACTIVE:
            raise


def job_of(vm: TestVM) -> Mapping[str, Any]:
    """Return libvirt's figures of the running job; empty without one, and at a destination."""
    try:
        job: Mapping[str, Any] = call(vm, vm.handle.jobStats, 0)
    except (LibvirtFailed, DomainNotFound):
        return {}
    return job


def abort_job(vm: TestVM) -> None:
    """Cancel the job, if there is one that can be."""
    try:
        call(vm, vm.handle.abortJob)
    except (LibvirtFailed, DomainNotFound, HostUnreachable):
        return  # it has just ended, or is in post-copy


def end_job(vm: TestVM) -> None:
    """Cancel a migration that nobody waits for any more, and wait for its end or for post-copy."""
    library = libvirt_client.library()

    def no_job() -> bool:
        kind = job_of(vm).get("type", library.VIR_DOMAIN_JOB_NONE)
        if kind == library.VIR_DOMAIN_JOB_NONE or is_in_post_copy(vm):
            return True
        abort_job(vm)
        return False

    if state_of(vm) in ACTIVE:
        until(
            no_job,
            timeout_sec=SETTLE_SEC,
            every_sec=POLL_SEC,
            what=f"The end of the migration of {vm.name}",
            error=StepFailed,
        )


def ask_qemu(vm: TestVM, name: str, **arguments: Any) -> tuple[Any, str]:
    """Give a command to the VM's QEMU; return its answer and its error, of which one is empty.

    While a domain migrates libvirt lets this through at the source only.
    """
    import libvirt_qemu

    command = json.dumps({"execute": name, "arguments": arguments})
    try:
        text = call(vm, libvirt_qemu.qemuMonitorCommand, vm.handle, command, 0)
    except (HostError, DomainNotFound) as error:
        return {}, error.message
    answer = parse_json(text)
    return answer.get("return", {}), str(answer.get("error", {}).get("desc", ""))
