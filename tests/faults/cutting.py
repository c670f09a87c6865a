"""Faults of the way to a host: the connection cut or frozen, packets lost, the lab stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Final

from kvmlab.changes import restore
from kvmlab.changes.keeper import read_on_host
from kvmlab.errors import KvmlabError
from kvmlab.hosts import Host, SshRunner
from kvmlab.waiting import until
from tests.faults.scene import ASK_SEC, Fault, Scene, applied, breaking
from tests.faults.stranger import CABLE, SPEC, environ

#: What the lock on the host may take to be free when nothing is heard any more (twice 120 s).
_SILENCE_SEC: Final = 400.0


def _master(scene: Scene) -> subprocess.Popen[bytes]:
    assert isinstance(scene.host.runner, SshRunner)
    return scene.host.runner._master


def _cut(scene: Scene) -> None:
    _master(scene).kill()
    _master(scene).wait()


def ssh_cut_in_use(scene: Scene) -> str:
    said = applied(scene, scene.plan(), lambda: _cut(scene))
    scene.reopen()
    return said


def ssh_cut_before(moment: str) -> Fault:
    def fault(scene: Scene) -> str:
        said = applied(
            scene, scene.plan(), lambda: None, breaking(scene, moment, lambda: _cut(scene))
        )
        scene.reopen()
        return said

    return fault


def ssh_frozen_there(scene: Scene) -> str:
    """The host's end of the connection stops answering, for ever; its lock goes by itself."""
    own = scene.on_host("sh", "-c", "echo $PPID")
    assert scene.on_host("cat", f"/proc/{own}/comm").startswith("sshd")
    with scene.stranger.open() as other:

        def freeze() -> None:
            other.run(("kill", "-STOP", own), timeout_sec=ASK_SEC, root=True)

        said = applied(scene, scene.plan(), freeze)
        _await_free(other)
        other.run(("kill", "-9", own), timeout_sec=ASK_SEC, root=True)
    scene.reopen()
    return said


def _await_free(host: Host) -> None:
    until(
        lambda: not read_on_host(host).holder,
        timeout_sec=_SILENCE_SEC,
        every_sec=2,
        what="the end of the lock of a lab that is not heard",
    )


def ssh_frozen_here(scene: Scene) -> str:
    """The ssh of this machine stops, and with it what says that nobody answers any more."""
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
    """Nothing goes through the interface that manages the host, for so many of its seconds."""

    def fault(scene: Scene) -> str:
        management = scene.before["management"]
        script = ("setsid", "sh", "-c", _DROP, "drop", management, str(seconds))

        def lose() -> None:
            scene.host.runner.start(script, root=True)
            until(lambda: not _answers(scene), timeout_sec=ASK_SEC, what="the loss of packets")

        said = applied(scene, scene.plan(), lose)
        until(lambda: _reopened(scene), timeout_sec=120, every_sec=2, what="packets again")
        # The host has not heard that the connection is over; until it is sure, it is held.
        _await_free(scene.host)
        return said

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
from kvmlab.changes.keeper import Keeper
Keeper.take.__kwdefaults__["silence_sec"] = 30
with kvmlab.open_lab(sys.argv[1], wire=sys.argv[2], allow_changes=True) as lab:
    change = lab.plan(kvmlab.Virtio(backend="vhost")).apply(lab.vm)
    print("applied", flush=True)
    sys.stdin.readline()
    try:
        change.revert()
    except kvmlab.KvmlabError as error:
        print(error, flush=True)
"""


def lab_stopped(scene: Scene) -> str:
    """The lab's process is stopped until another machine has put back what it had changed."""
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
        told, _ = process.communicate("\n", timeout=180)
    return told.strip()
