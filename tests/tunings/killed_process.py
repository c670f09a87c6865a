"""Apply tunings on an embedded host, and die: ``killed_process LOGIN NAME=VALUE...``.

LOGIN is JSON: how the host is reached by ssh. The host is another process's, which goes on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from kvmlab.clock import Clock
from kvmlab.domain import TestVM
from kvmlab.facts import inspect
from kvmlab.hosts import HostKind, SshTarget, open_host
from kvmlab.lab.embedded_host import EMBEDDED_CABLE
from kvmlab.schemes import Virtio
from kvmlab.tunings import tuned


def main(login: str, *names: str) -> None:
    words = json.loads(login)
    target = SshTarget(
        address=words["address"],
        port=words["port"],
        user=words["user"],
        key_path=Path(words["key_path"]),
        known_hosts=Path(words["known_hosts"]),
    )
    host = open_host(
        f"qemu+ssh://{target.user}@{target.address}:{target.port}/system",
        ssh=target,
        kind=HostKind.EMBEDDED,
        label="embedded host",
        clock=Clock.VIRTUAL,
        emulated="Embedded host.",
        cable=EMBEDDED_CABLE,
    )
    facts = inspect(host, prove_kvm=False)
    tuned(Virtio(backend="vhost"), *names).plan(facts, vm=(vm := TestVM.find(host))).apply(vm)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
