"""The end of a post-copy that broke off: its memory follows the VM after all, or is lost."""

from __future__ import annotations

import time
from typing import Final

from kvmlab.changes.migration_calls import (
    SETTLE_SEC,
    ask_qemu,
    awaits_memory,
    call,
    find_active,
    is_in_post_copy,
    job_of,
    misses_memory,
    state_of,
)
from kvmlab.domain import TestVM
from kvmlab.errors import DomainNotFound, HostError, StepFailed
from kvmlab.hosts import Host, libvirt_client

_LOOK_SEC: Final = 1.0
#: The libvirt whose daemon dereferences a null pointer of VIR_MIGRATE_POSTCOPY_RESUME.
_DIES_OF_RESUME: Final = 11_003


def finish_post_copy(home: TestVM, there: Host, *, transport: str) -> str:
    """Let the rest of the memory follow the VM to ``there``; return why it is lost, "" if it isn't.

    Where it still moves, with nobody to wait for it, its end is waited for. Where the two QEMUs
    have lost their connection they connect anew at ``transport``; without one, libvirt is asked.

    Raises:
        StepFailed: none of it has moved for a minute, and both machines may still have their part.
    """
    left, deadline = None, time.monotonic() + SETTLE_SEC
    while True:
        away = find_active(there, home.name)
        at_home = is_in_post_copy(home)
        if away is None:
            return f"its QEMU on {there.label}, where it had gone on in post-copy, has ended"
        if state_of(away) == "running" and not awaits_memory(away):
            return ""  # also where nobody has told its host yet
        if not at_home and misses_memory(away):
            return (
                f"its QEMU on {home.host.label} has ended in post-copy, before all of its memory "
                f"had followed it to {there.label}"
            )
        reason = _reconnect(home, there, transport) if at_home else ""
        remaining = job_of(home).get("memory_remaining")
        if remaining != left:
            left, deadline = remaining, time.monotonic() + SETTLE_SEC
        elif time.monotonic() > deadline:
            break
        time.sleep(_LOOK_SEC)
    if not transport:
        raise StepFailed(
            f"The memory that {home.name} left behind does not follow it to {there.label}.",
            todo="It is still on both hosts, and stands still where it needs a page that is not "
            "there: end it on both, and start it anew.",
            evidence=reason,
        )
    return (
        f"post-copy broke off, and its QEMU on {there.label} takes no new connection for the "
        "memory that had not followed yet"
    )


def _reconnect(home: TestVM, there: Host, transport: str) -> str:
    """Let post-copy go on over a new connection, where it has lost its own; return why not.

    QEMU at the destination listens until all memory is there, and needs no request. One that does
    not listen any more would need "migrate-recover", for which there is no way through libvirt.
    """
    if not transport:
        return _resume(home, there)
    answer, error = ask_qemu(home, "query-migrate")
    if answer.get("status") == "postcopy-paused":
        uri = transport.replace("unix://", "unix:")
        _, error = ask_qemu(home, "migrate", uri=uri, resume=True)
    return error or f"QEMU: {answer.get('status')}"


def _resume(home: TestVM, there: Host) -> str:
    """Let libvirt go on with post-copy over a new connection; return why it does not."""
    library = libvirt_client.library()
    try:
        version = libvirt_client.call(there.libvirt.getLibVersion, host=there.label)
        if version // 1000 == _DIES_OF_RESUME:
            return f"The libvirtd of {there.label} is 11.3, which dies of such a request."
        flags = library.VIR_MIGRATE_LIVE | library.VIR_MIGRATE_POSTCOPY
        flags |= library.VIR_MIGRATE_POSTCOPY_RESUME
        call(home, home.handle.migrate3, there.libvirt, {}, flags)
    except (HostError, DomainNotFound) as error:
        return error.message
    return ""
