"""The shared host, which lasts from `up` to `down`, and what is known of all hosts that run."""

from __future__ import annotations

import contextlib
from typing import Any

from kvmlab import waiting
from kvmlab.embedded import client
from kvmlab.embedded.choosing import check_memory, choose, difference
from kvmlab.embedded.client import KeptHost, Progress
from kvmlab.embedded.lease import Preparation, lease_from, quiet
from kvmlab.embedded.settings import Settings
from kvmlab.errors import EmbeddedError, HostError, KvmlabError, MachineDied, UsageError


def up(
    settings: Settings | None = None,
    *,
    preparation: Preparation | None = None,
    progress: Progress = quiet,
) -> dict[str, Any]:
    """Start the shared host, which lasts until `down` or a long idle time; returns its status.

    A shared host that is up already and fits is left as it is.

    Raises:
        UsageError: the shared host that is up was started with other settings.
        EmbeddedError: as for `acquire`.
    """
    settings = settings or Settings()
    spec = choose(settings, preparation.key if preparation else "", progress)
    for kept in client.running_hosts():
        if not kept.shared:
            continue
        other = difference(kept.spec, spec)
        if other:
            raise UsageError(
                f"The shared host that is up has {other}.",
                todo="End it first with `kvmlab host down`.",
            )
        progress("the shared host is up already")
        return describe(kept)
    check_memory()
    owned = client.start_keeper(spec, shared=True)
    lease = lease_from(owned.kept, owned, preparation, progress)
    try:
        lease._owned = None
        lease.release()
        owned.detach()
    except BaseException:
        owned.close()
        raise
    return describe(owned.kept)


def down(*, everything: bool = False) -> list[str]:
    """End the shared host, or ``everything``; returns the run directories of those that ended.

    Raises:
        EmbeddedError: one did not end.
    """
    ended = []
    for kept in client.running_hosts():
        if kept.shared or everything:
            end(kept)
            ended.append(str(kept.run_dir))
    return ended


def end(kept: KeptHost) -> None:
    """End a host and wait until nothing is left of it."""
    # It may go before it can answer; what counts is that it is gone.
    with contextlib.suppress(MachineDied, HostError):
        kept.ask("stop")

    def gone() -> bool:
        client.running_hosts()  # also removes what a killed keeper left
        return not kept.run_dir.exists()

    waiting.until(
        gone,
        timeout_sec=client.END_SEC,
        every_sec=0.05,
        what=f"The end of the host in {kept.run_dir}",
        error=EmbeddedError,
        todo=f"Kill its keeper: `fuser -k {kept.run_dir}/lock`.",
    )


def status() -> list[dict[str, Any]]:
    """All embedded hosts of this user that run, the shared one first."""
    return [describe(kept) for kept in client.running_hosts()]


def describe(kept: KeptHost) -> dict[str, Any]:
    """One running host, as told by its keeper."""
    spec = kept.spec
    try:
        told = kept.ask("status")
    except KvmlabError as error:
        told = {"error": error.message}
    return {
        "run_dir": str(kept.run_dir),
        "shared": kept.shared,
        "label": spec.label,
        "clock": spec.settings.clock.value,
        "accel": spec.accel.name,
        "accel_reason": spec.accel.reason,
        "qemu": str(spec.qemu),
        "image": spec.image_hash,
        "memory_mib": spec.settings.memory_mib,
        "cpus": spec.settings.cpus_used,
        "owner_pid": spec.owner_pid,
        "owner": spec.owner,
        "console": str(spec.console),
        "key": str(spec.keys.client),
        "known_hosts": str(spec.known_hosts),
        **told,
    }
