"""The shared host, from `up` to `down`, and the status of all hosts that run."""

from __future__ import annotations

import contextlib
from typing import Any

from kvmlab import deadline
from kvmlab.embedded import client
from kvmlab.embedded.client import Progress, RunningHost
from kvmlab.embedded.lease import Preparation, lease_from, quiet
from kvmlab.embedded.resolver import check_memory, difference, resolve_config
from kvmlab.embedded.settings import Settings
from kvmlab.errors import EmbeddedError, HostError, KvmlabError, MachineDied, UsageError


def up(
    settings: Settings | None = None,
    *,
    preparation: Preparation | None = None,
    progress: Progress = quiet,
) -> dict[str, Any]:
    """Start the shared host, which lasts until `down` or a long idle time; return its status.

    A shared host that is up already and fits is left as it is.

    Raises:
        UsageError: the shared host that is up was started with other settings.
        EmbeddedError: as for `acquire`.
    """
    settings = settings or Settings()
    config = resolve_config(settings, preparation.key if preparation else "", progress)
    for running in client.running_hosts():
        if not running.shared:
            continue
        other = difference(running.config, config)
        if other:
            raise UsageError(
                f"The shared host that is up has {other}.",
                todo="End it first with `kvmlab host down`.",
            )
        progress("the shared host is up already")
        return describe(running)
    check_memory()
    owned = client.start_supervisor(config, shared=True)
    lease = lease_from(owned.host, owned, preparation, progress)
    try:
        lease._owned = None
        lease.release()
        owned.detach()
    except BaseException:
        owned.close()
        raise
    return describe(owned.host)


def down(*, everything: bool = False) -> list[str]:
    """End the shared host, or ``everything``; return the run directories of those that ended.

    Raises:
        EmbeddedError: one did not end.
    """
    ended = []
    for running in client.running_hosts():
        if running.shared or everything:
            end(running)
            ended.append(str(running.run_dir))
    return ended


def end(running: RunningHost) -> None:
    """End a host and wait until nothing is left of it."""
    # It may end before it can answer.
    with contextlib.suppress(MachineDied, HostError):
        running.request("stop")

    def gone() -> bool:
        client.running_hosts()  # also removes what a killed supervisor left
        return not running.run_dir.exists()

    deadline.until(
        gone,
        timeout_sec=client.END_SEC,
        every_sec=0.05,
        what=f"The end of the host in {running.run_dir}",
        error=EmbeddedError,
        todo=f"Kill its supervisor: `fuser -k {running.run_dir}/lock`.",
    )


def status() -> list[dict[str, Any]]:
    """Return the status of this user's running hosts, the shared one first."""
    return [describe(running) for running in client.running_hosts()]


def describe(running: RunningHost) -> dict[str, Any]:
    """Return the status of one running host, in part from its supervisor."""
    config = running.config
    try:
        live = running.request("status")
    except KvmlabError as error:
        live = {"error": error.message}
    return {
        "run_dir": str(running.run_dir),
        "shared": running.shared,
        "label": config.label,
        "clock": config.settings.clock.value,
        "accel": config.accel.name,
        "accel_reason": config.accel.reason,
        "qemu": str(config.qemu),
        "image": config.image_hash,
        "memory_mib": config.settings.memory_mib,
        "cpus": config.settings.cpus_used,
        "owner_pid": config.owner_pid,
        "owner": config.owner,
        "console": str(config.console),
        "key": str(config.keys.client),
        "known_hosts": str(config.known_hosts),
        **live,
    }
