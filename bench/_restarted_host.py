"""A host that is switched off while a scheme is applied, and cold-booted.

The lab's changes ended with the host; the same state afterwards is somebody else's. Here it is an
administrator's, who has created as many VFs as the lab had.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bench._harness import cache_without_states
from kvmlab.changes import HostStep, Plan
from kvmlab.changes.host_lock import FOLDER, read_lab_state
from kvmlab.deadline import until
from kvmlab.domain import TestVM
from kvmlab.hosts import Host
from kvmlab.schemes import SriovVf
from tests.faults.host_state import read_state
from tests.faults.kill_points import FaultCase, after, killer
from tests.faults.scene import ASK_SEC, Scene
from tests.faults.stranger import CABLES, environ, stranger

WHERE: Final = "host restarted in use"
_SCHEME: Final = SriovVf()


def restarted_host(repository: Path, tell: Callable[[FaultCase], None]) -> None:
    """Restore with the journal here, here and on the host, and on the host alone."""
    with tempfile.TemporaryDirectory(prefix="kvmlab-anew-", dir="/var/tmp") as folder:
        one, two = Path(folder, "one"), Path(folder, "two")
        one.mkdir()
        two.mkdir()
        plan, journals = _died_in_use(one, repository)
        cold = cache_without_states(Path(folder))
        with environ(cold), stranger(two) as foreign, foreign.open() as host:
            vm = TestVM.ensure(host)
            _make_vfs(host, plan)
            before = read_state(host, vm)
            for name, here, there in (
                ("the host's journal gone", True, False),
                ("the host's journal kept", True, True),
                ("from another machine", False, True),
            ):
                state = two / f"state-{name.split()[-1]}"
                if here:
                    shutil.copytree(one / "state", state)
                if there:
                    _keep(host, journals)
                with environ({"KVMLAB_STATE_HOME": str(state)}):
                    tell(after(_SCHEME.id, f"{WHERE}: {name}", host, vm, before))


def _died_in_use(folder: Path, repository: Path) -> tuple[Plan, Mapping[str, str]]:
    """Run a host with a killed run on it to its end; return the plan and the host's journals."""
    with stranger(folder) as foreign:
        scene = Scene.on(foreign, folder, repository)
        plan = scene.plan(_SCHEME)
        with killer(repository) as killing:
            points = killing.apply(plan)["seen"]
            killing.apply(plan, points.index("in use"))
        journals = read_lab_state(scene.host).journals
        scene.host.close()
    return plan, journals


def _make_vfs(host: Host, plan: Plan) -> None:
    [setting] = (
        step.setting
        for step in plan.steps
        if isinstance(step, HostStep) and step.setting.path.endswith("/sriov_numvfs")
    )
    port = CABLES["p2p1"].port
    host.run(("ip", "link", "set", "dev", port, "up"), timeout_sec=ASK_SEC, root=True)
    host.run(("tee", setting.path), input_text=f"{setting.after}\n", timeout_sec=ASK_SEC, root=True)
    carrier = ("cat", f"/sys/class/net/{port}/carrier")
    until(
        lambda: host.run(carrier, timeout_sec=ASK_SEC, check=False).stdout.strip() == "1",
        timeout_sec=ASK_SEC,
        every_sec=0.5,
        what="the link of a port with new VFs",
    )


def _keep(host: Host, journals: Mapping[str, str]) -> None:
    """Write the journals to the host, as if its disk had kept them."""
    host.run(("rm", "-f", f"{FOLDER}/undone"), timeout_sec=ASK_SEC, root=True)
    host.run(("mkdir", "-p", f"{FOLDER}/journal"), timeout_sec=ASK_SEC, root=True)
    for name, text in journals.items():
        path = f"{FOLDER}/journal/{name}"
        host.run(("tee", path), input_text=text, timeout_sec=ASK_SEC, root=True)
