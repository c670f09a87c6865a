"""Faults of the connection: cut or frozen, packets lost, the lab stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Final

from kvmlab.changes import restore
from kvmlab.changes.host_lock import read_lab_state
from kvmlab.deadline import until
from kvmlab.errors import KvmlabError
from kvmlab.hosts import Host, SshRunner
from tests.faults.scene import ASK_SEC, Fault, Scene, applied, breaking
from tests.faults.stranger import CABLE, SPEC, environ

#: The longest time until a silent lab's lock is released (twice 120 s).
_SILENCE_SEC: Final = 400.0


def _master(scene: Scene) -> subprocess.Popen[bytes]:
    assert isinstance(scene.host.runner, SshRunner)
    return scene.host.runner._master


def _cut(scene: Scene) -> None:
    _master(scene).kill()
    _master(scene).wait()


def ssh_cut_in_use(scene: Scene) -> str:
    message = applied(scene, scene.plan(), lambda: _cut(scene))
    scene.reopen()
    return message


def ssh_cut_before(moment: str) -> Fault:
    def fault(scene: Scene) -> str:
        message = applied(
            scene, scene.plan(), lambda: None, breaking(scene, moment, lambda: _cut(scene))
        )
        scene.reopen()
        return message

    return fault


#: Prints the sshd of a command's connection: an ancestor, with `timeout` between.
_SSHD: Final = """
process=$$
until read -r name <"/proc/$process/comm" && [ "${name#sshd}" != "$name" ]; do
    process=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$process/status")
done
echo "$process"
"""


def ssh_frozen_there(scene: Scene) -> str:
    """Freeze the host's end of the connection for good; the lock is released by itself."""
    own = scene.on_host("sh", "-c", _SSHD)
    assert scene.on_host("cat", f"/proc/{own}/comm").startswith("sshd")
    with scene.stranger.open() as other:

        def freeze() -> None:
            other.run(("kill", "-STOP", own), timeout_sec=ASK_SEC, root=True)

        message = applied(scene, scene.plan(), freeze)
        _await_free(other)
        # The host has ended it with the lock.
        other.run(("kill", "-9", own), timeout_sec=ASK_SEC, root=True, check=False)
    scene.reopen()
    return message


def _await_free(host: Host) -> None:
    until(
        lambda: not read_lab_state(host).holder,
        timeout_sec=_SILENCE_SEC,
        every_sec=2,
        what="the release of a silent lab's lock",
    )


def ssh_frozen_here(scene: Scene) -> str:
    """Stop the ssh of this machine, which would report that nobody answers."""
    master = _master(scene)
    try:
        return applied(scene, scene.plan(), lambda: master.send_signal(signal.SIGSTOP))
    finally:
        master.send_signal(signal.SIGCONT)
        scene.reopen()


_DROP: Final = """
iptables -I INPUT -i "$1" -j DROP && iptables -I OUTPUT -o "$1" -j DROP
sleep "$2"
iptables -D INPUT -i "$1" -j DROP
iptables -D OUTPUT -o "$1" -j DROP
"""


def packets_lost(seconds: int) -> Fault:
    """Drop all packets on the management interface, for so many seconds of the host."""

    def fault(scene: Scene) -> str:
        management = scene.before["management"]
        script = ("setsid", "sh", "-c", _DROP, "drop", management, str(seconds))

        def lose() -> None:
            scene.host.runner.spawn(script, root=True)
            until(lambda: not _answers(scene), timeout_sec=ASK_SEC, what="the loss of packets")

        message = applied(scene, scene.plan(), lose)
        until(lambda: _reopened(scene), timeout_sec=120, every_sec=2, what="packets again")
        # The host has not heard that the connection is over; until it is sure, it is held.
        _await_free(scene.host)
        return message

    return fault


def _answers(scene: Scene) -> bool:
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


_STOPPED: Final = """
import sys, kvmlab
with kvmlab.open_lab(
    sys.argv[1], cable=sys.argv[2], allow_changes=True, confirm_within_sec=0
) as lab:
    change = lab.plan(kvmlab.Virtio(backend="vhost")).apply(lab.vm)
    print("applied", flush=True)
    sys.stdin.readline()
    try:
        change.revert()
    except kvmlab.KvmlabError as error:
        print(error, flush=True)
"""


def lab_stopped(scene: Scene) -> str:
    """Stop the lab's process until another machine has restored its changes."""
    argv = (sys.executable, "-c", _STOPPED, SPEC, CABLE)
    with subprocess.Popen(
        argv, cwd=scene.repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "applied\n"
        process.send_signal(signal.SIGSTOP)
        _await_free(scene.host)
        elsewhere = scene.folder / f"other-{os.urandom(4).hex()}"
        with environ({"KVMLAB_STATE_HOME": str(elsewhere)}):
            assert restore(scene.host)
        process.send_signal(signal.SIGCONT)
        stdout, _ = process.communicate("\n", timeout=180)
    return stdout.strip()
