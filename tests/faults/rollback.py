"""A host that undoes a change by itself: its controller is killed, cut off, frozen or shut out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kvmlab.changes import leftovers, restore
from kvmlab.changes.host_lock import FOLDER
from kvmlab.deadline import until
from kvmlab.domain import TestVM
from kvmlab.errors import KvmlabError
from kvmlab.hosts import Host
from tests.faults.host_state import differences, read_state
from tests.faults.kill_points import FaultCase
from tests.faults.scene import Scene
from tests.faults.stranger import CABLE, SPEC

CONFIRM_SEC: Final = 30
#: The timer, what asks for its end, and the time in which an emulated host undoes a scheme.
_UNDONE_SEC: Final = 400.0
#: Applies a scheme, or takes the port of its own connection into a bridge, and waits.
_LAB: Final = """
import sys, time, kvmlab
from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.changes.change import AppliedSteps
from kvmlab.hosts import script_text
spec, cable, confirm_sec, port = sys.argv[1:]
with kvmlab.open_lab(
    spec, cable=cable, allow_changes=True, confirm_within_sec=int(confirm_sec)
) as lab:
    # What counts holds maps and programs in the kernel of the host.
    meters = lab.host.runner.spawn(("sh", "-c", 'exec perl - "$@"', "meters.pl", "8"), root=True)
    meters.send(script_text("kvmlab.measure", "meters.pl").encode())
    while meters.next_line(timeout_sec=60) != "=== end":
        pass
    try:
        if port == "-":
            change = lab.plan(kvmlab.Virtio(backend="vhost")).apply(lab.vm)
        else:
            print("applied", flush=True)
            # A bridge that is down: nothing of what comes in at the port is received.
            bridge, mac = "kvmlab9", "02:6b:76:00:00:09"
            words = ("name", bridge, "address", mac, "type", "bridge")
            steps = (
                HostStep(
                    "Make a bridge.",
                    Setting(f"/sys/class/net/{bridge}/address", None, mac),
                    do=(Command(("ip", "link", "add", *words)),),
                    undo=(operations.delete_link(bridge),),
                ),
                HostStep(
                    "Put the port of the connection into it.",
                    Setting(f"/sys/class/net/{port}/master", None, bridge),
                    do=(Command(("ip", "link", "set", "dev", port, "master", bridge)),),
                    undo=(operations.leave_master(port),),
                ),
            )
            change = AppliedSteps(lab.vm, steps, scheme="own-port")
            change._guard_again = lambda: None
            change.apply()
        print("applied", flush=True)
        if sys.stdin.readline().strip() == "two days ahead":
            real = time.time
            time.time = lambda: real() + 2 * 86400
            print("moved", flush=True)
            sys.stdin.readline()
        change.revert()
    except kvmlab.KvmlabError as error:
        print(error, flush=True)
"""


@dataclass
class RunningLab:
    """A lab in another process that has applied a scheme, and how its host sees it."""

    process: subprocess.Popen[str]
    scene: Scene

    def children(self) -> list[int]:
        """Return its ssh processes."""
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def server(self) -> str:
        """Return the sshd of its connection on the host: the parent of what has the lock."""
        lock = self.scene.on_host("cut", "-d", " ", "-f", "3", f"{FOLDER}/beat")
        parent = f"/proc/{lock}/status"
        shell = self.scene.on_host("sed", "-n", "s/^PPid:[[:space:]]*//p", parent)
        assert self.scene.on_host("cat", f"/proc/{shell}/comm").startswith("sshd")
        return shell


@contextmanager
def running_lab(scene: Scene, *, port: str = "-") -> Iterator[RunningLab]:
    argv = (sys.executable, "-c", _LAB, SPEC, CABLE, str(CONFIRM_SEC), port)
    with subprocess.Popen(
        argv, cwd=scene.repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        children: list[int] = []
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line == "applied\n", line
            lab = RunningLab(process, scene)
            children = lab.children()
            yield lab
        finally:
            process.kill()
            _send(signal.SIGKILL, children)  # one that is stopped does not end with its parent


def _send(number: signal.Signals, processes: list[int]) -> None:
    """Send a signal to each that is still there: an ssh of one command ends when it likes."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


Cause = Callable[[RunningLab], object]


def _kill(lab: RunningLab) -> None:
    lab.process.kill()


def _cut(lab: RunningLab) -> None:
    _send(signal.SIGKILL, lab.children())


def _freeze(lab: RunningLab) -> None:
    lab.scene.on_host("kill", "-STOP", lab.server())


def _freeze_here(lab: RunningLab) -> None:
    _send(signal.SIGSTOP, lab.children())


def _move_clock_here_and_kill(lab: RunningLab) -> None:
    """Move the clock that kvmlab sees two days ahead: nothing is undone until it is killed."""
    assert lab.process.stdin is not None
    assert lab.process.stdout is not None
    lab.process.stdin.write("two days ahead\n")
    lab.process.stdin.flush()
    assert lab.process.stdout.readline() == "moved\n"
    scene = lab.scene
    end = time.monotonic() + 2 * CONFIRM_SEC
    while time.monotonic() < end:
        assert differences(scene.before, read_state(scene.host, scene.vm)), "undone while it lived"
        time.sleep(5)
    lab.process.kill()


def _kill_and_move_clock(lab: RunningLab) -> None:
    """Kill the lab, and move the host's clock two days ahead meanwhile."""
    lab.process.kill()
    lab.scene.on_host("date", "-s", "2 days")


#: What stops the confirmations, by the name of the fault.
CAUSES: Final[Mapping[str, Cause]] = {
    "unconfirmed: kvmlab killed": _kill,
    "unconfirmed: connection cut": _cut,
    "unconfirmed: connection frozen on the host": _freeze,
    "unconfirmed: connection frozen here (its ssh stopped)": _freeze_here,
    "unconfirmed: kvmlab killed, the host's clock two days ahead": _kill_and_move_clock,
    "unconfirmed: kvmlab killed, this machine's clock two days ahead": _move_clock_here_and_kill,
}
_CLOCK_HERE: Final = "unconfirmed: kvmlab killed, this machine's clock two days ahead"
OWN_PORT: Final = "unconfirmed: the changed port carried the connection"
RESTORE: Final = "unconfirmed: the timer fires during a restore"


@dataclass(frozen=True)
class Rollback:
    """A host that restored itself: the case, and the wall seconds from the fault until then."""

    case: FaultCase
    seconds: float


def roll_back(name: str, scene: Scene) -> Rollback:
    """Cause one fault, wait until the host has undone the change, and compare its state."""
    if name == OWN_PORT:
        return _own_port(scene)
    if name == RESTORE:
        return _during_restore(scene)
    with running_lab(scene) as lab:
        assert differences(scene.before, read_state(scene.host, scene.vm))
        assert _counting(scene), "no meters hold anything in the kernel"
        began = time.monotonic()
        CAUSES[name](lab)
        if name == _CLOCK_HERE:
            began = time.monotonic()  # what came before was no fault yet
        seconds = _await_undone(scene, began)
    if "host's clock" in name:
        scene.on_host("date", "-s", "2 days ago")
    return Rollback(_case(name, scene), seconds)


def _own_port(scene: Scene) -> Rollback:
    """Put the management interface into a bridge that is down: nothing reaches the host."""
    with running_lab(scene, port=str(scene.before["management"])) as lab:
        began = time.monotonic()
        assert lab.process.stdout is not None
        until(
            lambda: not _reaches(scene), timeout_sec=_UNDONE_SEC, what="the loss of the connection"
        )
        until(
            lambda: _reopened(scene),
            timeout_sec=_UNDONE_SEC,
            every_sec=1,
            what="the return of the management interface",
        )
        seconds = _await_undone(scene, began)
    return Rollback(_case(OWN_PORT, scene), seconds)


def _reaches(scene: Scene) -> bool:
    try:
        scene.host.run(("true",), timeout_sec=2)
    except KvmlabError:
        return False
    return True


def _reopened(scene: Scene) -> bool:
    try:
        scene.reopen()
    except KvmlabError:
        return False
    return True


def _during_restore(scene: Scene) -> Rollback:
    """Restore from just before the timer fires on: both want the lock, and the undo."""
    with running_lab(scene) as lab:
        began = time.monotonic()
        lab.process.kill()
        until(
            lambda: _silence(scene) >= CONFIRM_SEC - 3,
            timeout_sec=_UNDONE_SEC,
            every_sec=0.2,
            what="the last seconds before the timer fires",
        )
        # Where the host is first, its lock is taken until it has undone everything.
        until(lambda: _restored(scene), timeout_sec=_UNDONE_SEC, what="a restore")
        seconds = _await_undone(scene, began)
    undone = _last_lines(scene, "undone")
    how = "by the host" if "by the host itself" in undone else "by restore"
    return Rollback(_case(RESTORE, scene, how), seconds)


def _silence(scene: Scene) -> int:
    """Return the seconds of the host's clock since the last message of the lab."""
    look = 'read -r up _ </proc/uptime; read -r _ at _ <"$1"; echo $((${up%.*} - at))'
    return int(scene.on_host("sh", "-c", look, "sh", f"{FOLDER}/beat"))


def _restored(scene: Scene) -> bool:
    try:
        restore(scene.host)
    except KvmlabError:
        return False
    return True


def _counting(scene: Scene) -> list[str]:
    """Return the processes of meters that hold eBPF maps on the host."""
    look = (
        "for process in $(pgrep -x perl); do "
        "ls -l /proc/$process/fd | grep -q bpf-map && echo $process; done; true"
    )
    return scene.on_host("sh", "-c", look).split()


def _await_undone(scene: Scene, began: float) -> float:
    until(
        lambda: not differences(scene.before, _state(scene.host, scene.vm)),
        timeout_sec=_UNDONE_SEC,
        every_sec=1,
        what="the undo by the host",
    )
    return time.monotonic() - began


def _last_lines(scene: Scene, name: str) -> str:
    """Return the last three lines of a file of the host's own undo; none where it did nothing."""
    look = 'tail -n 3 "$1" 2>/dev/null || true'
    return scene.on_host("sh", "-c", look, "sh", f"{FOLDER}/{name}")


def _state(host: Host, vm: TestVM) -> dict[str, Any]:
    try:
        return read_state(host, vm)
    except KvmlabError as error:
        return {"unreadable": str(error)}


def _case(name: str, scene: Scene, how: str = "by the host") -> FaultCase:
    remains = differences(scene.before, read_state(scene.host, scene.vm))
    remains += [leftover.what for leftover in leftovers(scene.host)]
    remains += restore(scene.host)
    remains += [f"meters: {process}" for process in _counting(scene)]
    log = _last_lines(scene, "log")
    outcome = "not at all" if remains else how
    return FaultCase(name, "virtio-vhost", outcome, log, tuple(remains))


ROLLBACKS: Final = (*CAUSES, OWN_PORT, RESTORE)
