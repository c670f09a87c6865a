"""Undo of a migration that was broken off: by the death of its controller, at every moment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kvmlab import Lab
from kvmlab.changes import leftovers, restore
from kvmlab.changes.second_host import FOLDER
from kvmlab.domain import TestVM
from kvmlab.errors import HostUnreachable
from kvmlab.hosts import open_second_host
from kvmlab.migration.second_host import LABEL
from tests.migration.dying_controller import MOMENTS
from tests.migration.host_state import state_of, uptime_of_vm

pytestmark = [pytest.mark.host, pytest.mark.minutes(3), pytest.mark.timeout(900)]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_controller(lab: Lab, repository: Path, moment: str) -> None:
    lease = lab._session.lease
    assert lease is not None
    uptime = uptime_of_vm(lab.vm)
    before = state_of(lab.host)
    request = {
        "address": lease.address,
        "port": lease.port,
        "user": lease.user,
        "key_path": str(lease.key_path),
        "known_hosts": str(lease.known_hosts),
        "spec": lab.host.spec,
        "moment": moment,
    }
    done = subprocess.run(
        (sys.executable, "-m", "tests.migration.dying_controller", json.dumps(request)),
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == -9, done.stderr[-3000:]
    assert leftovers(lab.host)
    restore(lab.host)
    assert leftovers(lab.host) == ()
    assert state_of(lab.host) == before
    # It is the same VM, not one that was started anew.
    assert uptime_of_vm(TestVM.find(lab.host)) > uptime
    with pytest.raises(HostUnreachable):
        open_second_host(lab.host, FOLDER, label=LABEL)
