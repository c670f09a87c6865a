"""A program that migrates the test VM, and kills itself at a moment: for tests of its undo."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kvmlab.domain import TestVM
from kvmlab.facts import inspect
from kvmlab.hosts import Host, HostKind, SshTarget, open_host
from kvmlab.lab.embedded_host import (
    EMBEDDED_CABLE,
    EMBEDDED_NIC_CABLE,
    SECOND_HOST_CABLE,
    SECOND_HOST_PF,
)
from kvmlab.migration import (
    MemoryLoad,
    MigrationOptions,
    SecondHost,
    plan_kind,
    plan_migration,
    written_memory,
)
from tests.migration.breakage import runs_in_post_copy

#: A moment, and the NIC that the VM has then.
MOMENTS: Final = {
    "host B is up": "virtio-vhost",
    "VF on its way out": "vf-teaming",
    "first round": "virtio-vhost",
    "arrived": "virtio-vhost",
    "arrived with a VF": "vf-teaming",
    "on its way home": "virtio-vhost",
    "in post-copy": "virtio-vhost",
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_on_the_way_home(there: Host, domain: str) -> None:
    """Kill this process once the VM leaves ``there``."""

    def watch() -> None:
        vm = TestVM.find(there, domain)
        while True:
            if vm.handle.jobStats(0).get("memory_processed", 0) > 1 << 20:
                die()
            time.sleep(0.05)

    threading.Thread(target=watch, daemon=True).start()


def migrate(host: Host, moment: str) -> None:
    """Migrate to host B and back, and die at ``moment``."""
    vm = TestVM.find(host)
    kind = MOMENTS[moment]
    pf = SECOND_HOST_PF if kind == "vf-teaming" else ""

    post_copy = moment == "in post-copy"
    options = MigrationOptions(bandwidth_mib=32, post_copy=True, post_copy_bandwidth_mib=4)

    def on_job(job: Mapping[str, Any]) -> None:
        if post_copy and runs_in_post_copy(there, vm.name):
            die()
        if moment == "VF on its way out" and job:
            die()
        if moment == "first round" and job.get("memory_processed", 0) > 1 << 20:
            die()

    facts = inspect(host, prove_kvm=False)
    with SecondHost(vm, facts, SECOND_HOST_CABLE, pf=pf) as there:
        if moment == "host B is up":
            die()
        facts = inspect(host, prove_kvm=False)
        nic = plan_kind(kind, facts, vm, cable=EMBEDDED_NIC_CABLE, pf=EMBEDDED_CABLE.port)
        load = MemoryLoad(16, 96) if post_copy else None
        with nic.applied(vm), written_memory(load, vm):
            plan = plan_migration(vm, there, options=options if post_copy else None)
            with plan.applied(on_job=on_job):
                if moment.startswith("arrived"):
                    die()
                die_on_the_way_home(there, vm.name)


def main() -> None:
    """Read the ssh target, the host's spec and the moment from the command line."""
    request = json.loads(sys.argv[1])
    target = SshTarget(
        request["address"],
        request["port"],
        request["user"],
        Path(request["key_path"]),
        Path(request["known_hosts"]),
    )
    with open_host(
        request["spec"],
        ssh=target,
        kind=HostKind.EMBEDDED,
        cable=EMBEDDED_CABLE,
        more_cables=(EMBEDDED_NIC_CABLE,),
        deadline_sec=60,
    ) as host:
        migrate(host, request["moment"])


if __name__ == "__main__":
    main()
